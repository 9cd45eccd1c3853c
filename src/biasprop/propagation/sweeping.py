"""The sweep: one pass from the output to the inputs that carries ``(g, beta)`` for every tensor, or mass alone.

Both have a leading dimension of J targets: alpha depends on the input alone, and serves all of them. At each step
the invariant ``f(x) = sum over the cut (g . v + beta) + unattributed + withheld`` holds (mathematics, section 1), so
stopping at hidden tensors gives their attributions (the paper's Lemma 1), and so does handing over: below these
tensors there is no gradient, and both parts of the attribution are distributed like bias (section 11).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from ..allocation import keep_freed_memory
from ..errors import SourceError
from ..graph import Node
from ..kernels import Settings
from ..kernels.extremes import is_finite
from ..kernels.slope import Slope
from ..progress import in_parts
from ..results import BiasSource, Part, TargetAxis, table_of
from ..results.targets import like_tensor
from ..rules import shares
from .choice import EVERY, TARGET, Choice
from .functional import Functional
from .handover import NOWHERE, Handover
from .tape import Step, Tape, rows

__all__ = ["Swept", "bias_sources", "sweep"]

HANDED_OVER = "handover"
"""The operation of the bias source that stands for all biases below a hand-over."""


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep brings to the inputs, or to the cut, and what did not arrive there; all for J targets.

    Attributes:
        axis: the targets.
        value: f(x), ``(J, N)``.
        probability: of the targets among the classes, ``(J, N)``; None where they are no classes.
        parts: the tensors that were reached.
        sources: where bias entered.
        unattributed: bias that reached no input, ``(J, N)``.
        withheld: bias of sources that do not take part, ``(J, N)``.
        bypassed: what of f(x) reaches the inputs past the cut, ``(J, N)``; zero where it is one (Lemma 1).
    """

    axis: TargetAxis
    value: Tensor
    probability: Tensor | None
    parts: tuple[Part, ...]
    sources: list[BiasSource]
    unattributed: Tensor
    withheld: Tensor
    bypassed: Tensor


_Reached = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Value of a tensor, and what has come to it: gradient, bias and what was handed over of the weight part."""


@dataclass(eq=False)
class _Passage:
    """What one pass for some of the targets has gathered so far."""

    unattributed: Tensor
    withheld: Tensor
    reached: dict[Node, _Reached] = field(default_factory=dict)
    sources: list[BiasSource] = field(default_factory=list)

    def enter(self, name: str, operation: str, amount: Tensor) -> None:
        """Bias of a source, ``(J, N)``; what has passed different hand-overs enters one after the other, as one row."""
        if self.sources and self.sources[-1].name == name:
            amount = self.sources.pop().amount + amount
        self.sources.append(BiasSource(name, operation, amount))


@dataclass(eq=False)
class _Carried:
    """What has come to a tensor so far.

    Attributes:
        open: gradient and bias, ``(J, *shape)`` each, by the hand-overs that they have passed.
        handed: weight part and bias part of what has been handed over, ``(2 J, *shape)``; None above all hand-overs.
        fresh: whether nobody else reads these tensors.
    """

    open: dict[frozenset[Node], tuple[Tensor, Tensor]]
    handed: Tensor | None = None
    fresh: bool = False

    def join(self, other: "_Carried") -> None:
        """A tensor with several consumers adds up what each sends it; in place of what is fresh, which is used up."""
        alike = self.open.keys() == other.open.keys() and (self.handed is None) == (other.handed is None)
        self.fresh = alike or (self.fresh and other.fresh)  # sums are new
        for passed, (g, beta) in other.open.items():
            here = self.open.get(passed)
            self.open[passed] = (g, beta) if here is None else (other.plus(g, here[0]), other.plus(beta, here[1]))
        if other.handed is not None:
            self.handed = other.handed if self.handed is None else other.plus(other.handed, self.handed)

    def plus(self, own: Tensor, other: Tensor) -> Tensor:
        """The sum of one of these tensors and another."""
        return torch.add(own, other, out=self.room(own))

    def room(self, own: Tensor) -> Tensor | None:
        """Where the next value of one of these tensors may be written: in its place, if nobody else reads it."""
        return own if self.fresh and 0 not in own.stride() else None


@torch.no_grad()
def sweep(
    tape: Tape, functional: Functional, settings: Settings, choice: Choice = EVERY, handover: Handover = NOWHERE
) -> Swept:
    """Carry gradient and bias from the functional back to the cut and the inputs.

    Args:
        tape: the linearised network; it is used up, so that memory is freed as the sweep passes.
        functional: what is explained; of its targets as many at a time as fit into the budget.
        settings: the rule, the memory budget and the kernels.
        choice: which bias sources take part.
        handover: below which tensors there is no gradient.

    Raises:
        SourceError: a tensor of the cut is not reached.
    """
    each = _bytes_of_target(tape, handover)
    groups = list(functional.chunks(max(1, settings.memory_budget // each)))
    if functional.value.is_cpu:
        keep_freed_memory(min(settings.memory_budget, max(len(some.value) for some in groups) * each))
    passages = []
    for some in in_parts(groups, "explaining"):
        passages.append(_pass(tape, some, settings, choice, handover, last=some is groups[-1]))
    done = _join(passages)
    inputs = tape.graph.inputs
    bypassed = torch.zeros_like(functional.value)
    for node in inputs if tape.cut else ():
        if node not in tape.cut:
            value, g, beta, handed = done.reached[node]
            arrived = g * value + beta if handed is None else g * value + beta + handed
            bypassed = bypassed + rows(arrived, node, tape.batch).sum(2)
    parts = tuple(_part(node, _reached(done, node), node in inputs) for node in tape.cut or inputs)
    value, chance = functional.value, functional.probability
    return Swept(functional.axis, value, chance, parts, done.sources, done.unattributed, done.withheld, bypassed)


def _part(node: Node, reached: _Reached, is_input: bool) -> Part:
    value, g, beta, handed = reached
    return Part(node.name, value, g, beta, node.batch_dim or 0, is_input, node.batch_inner, handed)


def _reached(passage: _Passage, node: Node) -> _Reached:
    if node not in passage.reached:
        raise SourceError(
            f"The output does not depend on the input through {node.name!r} (or only through another of the "
            "tensors named): there is nothing to attribute to it."
        )
    return passage.reached[node]


def _bytes_of_target(tape: Tape, handover: Handover) -> int:
    """What gradient and bias of one target, and what is made of them, take at the largest tensor.

    What is handed over are two more masses at each tensor.
    """
    largest = max((step.local.shape.numel() for step in tape.steps), default=1)
    size = max(value.element_size() for value in tape.kept.values())
    return (10 if handover.at else 4) * size * largest


def _pass(
    tape: Tape, functional: Functional, settings: Settings, choice: Choice, handover: Handover, last: bool
) -> _Passage:
    """Algorithm 1 of the paper, in the order of mathematics, section 2."""
    passage = _Passage(torch.zeros_like(functional.value), torch.zeros_like(functional.value))
    carried = _begin(passage, tape, functional, settings, choice)
    for step in tape.backwards(last):
        if step.node not in carried:
            continue
        here = carried.pop(step.node)
        if step.node in tape.cut:
            passage.reached[step.node] = _arrived(tape.kept[step.node], here)
            continue
        if step.node in handover.at:
            here = _hand_over(passage, step.node, here, handover)
        _combine(passage, step, here, choice)
        layer = step.layer(choice) if step.local.by_rule else (Slope(), None)
        for node, share in zip(step.operands, _shared(passage, step, here, layer, settings, handover), strict=True):
            if node in carried:
                carried[node].join(share)
            else:
                carried[node] = share
    for node in tape.graph.inputs:
        value = tape.kept[node]
        nothing = value.new_zeros(len(functional.value), *value.shape)
        passage.reached[node] = _arrived(value, carried.get(node, _Carried({frozenset(): (nothing, nothing)})))
    passage.sources.reverse()
    return passage


def _arrived(value: Tensor, here: _Carried) -> _Reached:
    """All gradients, all of the bias, and what was handed over of the weight part."""
    linear, bias = (None, None) if here.handed is None else here.handed.chunk(2)
    gradients, betas = [g for g, _ in here.open.values()], [beta for _, beta in here.open.values()]
    betas += [] if bias is None else [bias]
    beta = reduce(torch.add, betas)
    return value, reduce(torch.add, gradients) if gradients else torch.zeros_like(beta), beta, linear


def _begin(
    passage: _Passage, tape: Tape, functional: Functional, settings: Settings, choice: Choice
) -> dict[Node, _Carried]:
    """The functional is a layer of one unit per example: its intercept is shared among the outputs."""
    gradients, intercept = functional.gradients, functional.intercept
    betas = {node: torch.zeros_like(g) for node, g in gradients.items()}
    if intercept.any():
        passage.enter(TARGET, TARGET, intercept)
        if not choice.takes(TARGET, TARGET):
            passage.withheld = passage.withheld + intercept
        elif not gradients:
            passage.unattributed = passage.unattributed + intercept
        else:
            nodes = list(gradients)
            g = torch.cat([rows(gradients[n], n, tape.batch) for n in nodes], 2)
            v = torch.cat([rows(tape.active[n][None], n, tape.batch) for n in nodes], 2)
            wired = torch.ones_like(g, dtype=torch.bool)
            messages = shares(settings.rule, g * v, intercept, intercept, g != 0, wired) * intercept.unsqueeze(-1)
            sizes = [tape.active[n].numel() // tape.batch for n in nodes]
            for n, message in zip(nodes, messages.split(sizes, 2), strict=True):
                betas[n] = like_tensor(message, n.batch_dim, tape.active[n].shape, n.batch_inner)
    return {node: _Carried({frozenset(): (g, betas[node])}) for node, g in gradients.items()}


def _hand_over(passage: _Passage, node: Node, here: _Carried, handover: Handover) -> _Carried:
    """``g * v + beta`` becomes mass: its weight part ``g * (J_v x)``, its bias part ``g * b_v + beta`` (section 11)."""
    at, batch = handover.at[node], passage.unattributed.shape[1]
    done = _Carried({}, here.handed)
    for passed, (g, beta) in here.open.items():
        share = handover.share(passed)
        linear, bias, chosen = (share * _product(g, part) for part in (at.linear, at.bias, at.chosen))
        done.join(_Carried({}, torch.cat([linear, chosen + share * beta])))
        total, taken = (rows(part, node, batch).sum(2) for part in (bias, chosen))
        passage.enter(f"{node.name} and before", HANDED_OVER, total)
        passage.withheld = passage.withheld + (total - taken)
        if share < 1:
            done.join(_Carried({passed | {node}: ((1 - share) * g, (1 - share) * beta)}))
    return done


def _combine(passage: _Passage, step: Step, here: _Carried, choice: Choice) -> None:
    """``beta_y + g_y * h``: the operation's own bias joins what has come so far (section 2, step 1)."""
    if step.local.intercept is None:
        return
    h, taken = step.local.intercept, choice.takes(step.node.name, step.node.operation)
    for passed, (g, beta) in here.open.items():
        source, amount = _source(step, g, passage.unattributed.shape[1])
        passage.enter(source.name, source.operation, source.amount)
        if taken:
            here.open[passed] = (
                g,
                torch.addcmul(beta, g, h, out=here.room(beta)) if amount is None else amount.add_(beta),
            )
        else:
            passage.withheld = passage.withheld + source.amount


def _shared(
    passage: _Passage,
    step: Step,
    here: _Carried,
    layer: tuple[Slope, Tensor | None],
    settings: Settings,
    handover: Handover,
) -> list[_Carried]:
    """Each operand has its gradients, and its share by alpha of the masses (section 2, step 2)."""
    gradients = {passed: g for passed, (g, _) in here.open.items()}
    masses = _distributed(passage, step, here, layer, settings, handover)
    pull = step.local.overwrite if here.fresh else step.local.gradient
    pulled = {passed: pull(g) for passed, g in gradients.items()}
    fresh = step.local.fresh or (step.local.passes and here.fresh)
    shares = []
    for k, (betas, handed) in enumerate(masses):
        opened = {passed: (pulled[passed][k], beta) for passed, beta in zip(gradients, betas, strict=True)}
        shares.append(_Carried(opened, handed, fresh))
    return shares


def _distributed(
    passage: _Passage,
    step: Step,
    here: _Carried,
    layer: tuple[Slope, Tensor | None],
    settings: Settings,
    handover: Handover,
) -> list[tuple[list[Tensor], Tensor | None]]:
    """What each operand receives of the biases, and of what has been handed over; these are used up."""
    betas, handed = [beta for _, beta in here.open.values()], here.handed
    here.open, here.handed = {}, None  # memory is freed before gradients take theirs
    calls = [(settings, betas)]
    if handed is not None:
        calls = [*calls, (handover.below, [handed])] if handover.below else [(settings, [*betas, handed])]
    masses: list[list[Tensor]] = [[] for _ in step.operands]
    for how, some in calls:
        if some:
            received, lost = step.local.distribute(some[0] if len(some) == 1 else torch.cat(some), *layer, how)
            if lost is not None:
                left = rows(lost, step.node, passage.unattributed.shape[1]).sum(2)
                passage.unattributed = passage.unattributed + left.unflatten(0, (-1, len(passage.unattributed))).sum(0)
            for found, share in zip(masses, received, strict=True):
                found += share.split([len(mass) for mass in some]) if len(some) > 1 else [share]
    return [(found, None) if handed is None else (found[:-1], found[-1]) for found in masses]


def _product(g: Tensor, part: Tensor) -> Tensor:
    """``g * part``; where nothing depends on it, infinity or NaN is nothing."""
    product = g * part
    return product if is_finite(part) else torch.where(g == 0, 0, product)


def _source(step: Step, g: Tensor, batch: int) -> tuple[BiasSource, Tensor | None]:
    """``<g, h>`` of an operation and each example; and ``g * h``, which need not be made where h repeats itself."""
    h, node, product = step.local.intercept, step.node, None
    assert h is not None
    repeated = [d for d in range(1, g.dim()) if d != 1 + (node.batch_dim or 0) and _size(h, d - g.dim()) < g.shape[d]]
    if repeated and is_finite(h):
        amount = g.sum(repeated, keepdim=True) * h
    else:
        amount = product = _product(g, h)  # a masked -inf or NaN is no bias
    return BiasSource(node.name, node.operation, rows(amount, node, batch).sum(2)), product


def _size(values: Tensor, dim: int) -> int:
    """Along a dimension, counted from the last; 1 where there is none."""
    return values.shape[dim] if -dim <= values.dim() else 1


@torch.no_grad()
def bias_sources(tape: Tape, functional: Functional) -> list[BiasSource]:
    """Only the amounts ``<g, h>`` of the sources, which need the gradient and no alpha; the tape is used up."""
    carried = dict(functional.gradients)
    found = [BiasSource(TARGET, TARGET, functional.intercept)] if functional.intercept.any() else []
    for step in tape.backwards():
        g = carried.pop(step.node, None)
        if g is None:
            continue
        if step.local.intercept is not None:
            found.append(_source(step, g, tape.batch)[0])
        for node, pulled in zip(step.operands, step.local.gradient(g), strict=True):
            carried[node] = carried[node] + pulled if node in carried else pulled
    return found[::-1]


def _join(passages: Sequence[_Passage]) -> _Passage:
    """Passes over one input for some targets each, as one for all of these; what one does not reach is 0 there."""
    if len(passages) == 1:
        return passages[0]

    def join(tensors: list[Tensor | None]) -> Tensor:
        shape = next(t.shape[1:] for t in tensors if t is not None)
        sizes = [len(one.unattributed) for one in passages]
        like = passages[0].unattributed
        return torch.cat([like.new_zeros(n, *shape) if t is None else t for t, n in zip(tensors, sizes, strict=True)])

    reached = {}
    for node, (value, _, _, _) in {n: r for one in passages for n, r in one.reached.items()}.items():
        found = [one.reached.get(node, (value, None, None, None)) for one in passages]
        _, g, beta, handed = zip(*found, strict=True)
        over = None if all(one is None for one in handed) else join(list(handed))
        reached[node] = (value, join(list(g)), join(list(beta)), over)
    sources = table_of([one.sources for one in passages], [one.unattributed for one in passages], 0)
    unattributed, withheld = (torch.cat([getattr(one, n) for one in passages]) for n in ("unattributed", "withheld"))
    return _Passage(unattributed, withheld, reached, sources)
