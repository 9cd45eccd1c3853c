"""The sweep: one pass from the output to the inputs that carries ``(g, beta)`` for every tensor, or mass alone.

Both have a leading dimension of J targets: alpha depends on the input alone, and serves all of them. At each step
the invariant ``f(x) = sum over the cut (g . v + beta) + unattributed + withheld`` holds (mathematics, section 1), so
stopping at hidden tensors gives their attributions (the paper's Lemma 1), and so does handing over: below these
tensors there is no gradient, and both parts of the attribution are distributed like bias (section 11).
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..allocation import keep_freed_memory
from ..errors import SourceError
from ..graph import Node
from ..kernels import Settings
from ..kernels.slope import Slope
from ..progress import in_parts
from ..results import BiasSource, Part, TargetAxis
from ..results.targets import like_tensor
from ..rules import shares
from .choice import EVERY, TARGET, Choice
from .functional import Functional
from .handover import NOWHERE, Handover
from .passage import Carried, Passage, Reached, join
from .sources import product_of, source_of
from .tape import Step, Tape, rows

__all__ = ["Swept", "sweep"]

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
    done = join(passages)
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


def _part(node: Node, reached: Reached, is_input: bool) -> Part:
    value, g, beta, handed = reached
    return Part(node.name, value, g, beta, node.batch_dim or 0, is_input, node.batch_inner, handed)


def _reached(passage: Passage, node: Node) -> Reached:
    if node not in passage.reached:
        raise SourceError(
            f"The output does not depend on the input through {node.name!r} (or only through another of the "
            "tensors named): there is nothing to attribute to it."
        )
    return passage.reached[node]


def _bytes_of_target(tape: Tape, handover: Handover) -> int:
    """What a sweep holds of one target where it holds most.

    Gradient and bias wait at each tensor that other readers have not reached yet, as beside a residual branch. A step
    holds what came to its output, what option 3 divides of it, and what its operands get, which autograd stacks anew.
    (Where option 3 is 0/0, what is left of the bias comes beside that.) What is handed over are two more masses at each
    tensor.
    """
    sizes = {node: value.numel() for node, value in (tape.kept | tape.active).items()}
    sizes |= {step.node: step.local.shape.numel() for step in tape.steps}
    waiting, most = dict.fromkeys(tape.active), 1
    for step in reversed(tape.steps):
        if step.node in waiting:
            del waiting[step.node]
            own, received = sizes[step.node], sum(sizes[node] for node in step.operands)
            beside = 2 * sum(sizes[node] for node in waiting)
            most = max(most, beside + max(3 * own + received, own + 3 * received))
            waiting |= dict.fromkeys(step.operands)
    width = max(value.element_size() for value in tape.kept.values())
    return (5 if handover.at else 2) * width * most // 2


def _pass(
    tape: Tape, functional: Functional, settings: Settings, choice: Choice, handover: Handover, last: bool
) -> Passage:
    """Algorithm 1 of the paper, in the order of mathematics, section 2."""
    passage = Passage(torch.zeros_like(functional.value), torch.zeros_like(functional.value))
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
        passage.reached[node] = _arrived(value, carried.get(node, Carried({frozenset(): (nothing, nothing)})))
    passage.sources.reverse()
    return passage


def _arrived(value: Tensor, here: Carried) -> Reached:
    """All gradients, all of the bias, and what was handed over of the weight part."""
    linear, bias = (None, None) if here.handed is None else here.handed.chunk(2)
    gradients, betas = [g for g, _ in here.open.values()], [beta for _, beta in here.open.values()]
    betas += [] if bias is None else [bias]
    beta = reduce(torch.add, betas)
    return value, reduce(torch.add, gradients) if gradients else torch.zeros_like(beta), beta, linear


def _begin(
    passage: Passage, tape: Tape, functional: Functional, settings: Settings, choice: Choice
) -> dict[Node, Carried]:
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
    return {node: Carried({frozenset(): (g, betas[node])}) for node, g in gradients.items()}


def _hand_over(passage: Passage, node: Node, here: Carried, handover: Handover) -> Carried:
    """``g * v + beta`` becomes mass: its weight part ``g * (J_v x)``, its bias part ``g * b_v + beta`` (section 11)."""
    at, batch = handover.at[node], passage.unattributed.shape[1]
    done = Carried({}, here.handed)
    for passed, (g, beta) in here.open.items():
        share = handover.share(passed)
        linear, bias, chosen = (share * product_of(g, part) for part in (at.linear, at.bias, at.chosen))
        done.join(Carried({}, torch.cat([linear, chosen + share * beta])))
        total, taken = (rows(part, node, batch).sum(2) for part in (bias, chosen))
        passage.enter(f"{node.name} and before", HANDED_OVER, total)
        passage.withheld = passage.withheld + (total - taken)
        if share < 1:
            done.join(Carried({passed | {node}: ((1 - share) * g, (1 - share) * beta)}))
    return done


def _combine(passage: Passage, step: Step, here: Carried, choice: Choice) -> None:
    """``beta_y + g_y * h``: the operation's own bias joins what has come so far (section 2, step 1)."""
    if step.local.intercept is None:
        return
    h, taken = step.local.intercept, choice.takes(step.node.name, step.node.operation)
    for passed, (g, beta) in here.open.items():
        source, amount = source_of(step, g, passage.unattributed.shape[1])
        passage.enter(source.name, source.operation, source.amount)
        if taken:
            here.open[passed] = (
                g,
                torch.addcmul(beta, g, h, out=here.room(beta)) if amount is None else amount.add_(beta),
            )
        else:
            passage.withheld = passage.withheld + source.amount


def _shared(
    passage: Passage,
    step: Step,
    here: Carried,
    layer: tuple[Slope, Tensor | None],
    settings: Settings,
    handover: Handover,
) -> list[Carried]:
    """Each operand has its gradients, and its share by alpha of the masses (section 2, step 2)."""
    gradients = {passed: g for passed, (g, _) in here.open.items()}
    masses = _distributed(passage, step, here, layer, settings, handover)
    pull = step.local.overwrite if here.fresh else step.local.gradient
    pulled = {passed: pull(g) for passed, g in gradients.items()}
    fresh = step.local.fresh or (step.local.passes and here.fresh)
    shares = []
    for k, (betas, handed) in enumerate(masses):
        opened = {passed: (pulled[passed][k], beta) for passed, beta in zip(gradients, betas, strict=True)}
        shares.append(Carried(opened, handed, fresh))
    return shares


def _distributed(
    passage: Passage,
    step: Step,
    here: Carried,
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
