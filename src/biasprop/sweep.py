"""The sweep: one pass from the output to the inputs that carries ``(g, beta)`` for every tensor.

Both have a leading dimension of J targets: alpha depends on the input alone, and serves all of them. At each step
the invariant ``f(x) = sum over the cut (g . v + beta) + unattributed + withheld`` holds (spec section 1), so stopping
at hidden tensors gives their attributions (the paper's Lemma 1).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .capture import Graph, Node
from .linearize import Step, Tape
from .pieces import Diagonal, Gate, Settings
from .shares import shares
from .target import Functional

__all__ = ["BiasSource", "Swept", "bias_sources", "sweep"]


@dataclass(frozen=True, eq=False)
class BiasSource:
    """One place where bias enters: ``amount = <g, h>`` of the operation ``name``.

    In a sweep ``(J, N)``; in an `Explanation` ``(N,)``, or ``(N, J)`` with several targets.
    """

    name: str
    operation: str
    amount: Tensor


@dataclass(eq=False)
class Swept:
    """What the sweep leaves at the cut: ``(v, g, beta)`` of each tensor, and what did not arrive, ``(J, N)``."""

    reached: dict[Node, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    sources: list[BiasSource] = field(default_factory=list)
    unattributed: Tensor = field(default_factory=lambda: torch.zeros(()))
    withheld: Tensor = field(default_factory=lambda: torch.zeros(()))

    @staticmethod
    def join(parts: "Sequence[Swept]") -> "Swept":
        """Sweeps of one input for some targets each, as one for all of these; what one does not reach is 0 there."""
        if len(parts) == 1:
            return parts[0]

        def join(tensors: list[Tensor | None]) -> Tensor:
            shape = next(t.shape[1:] for t in tensors if t is not None)
            sizes = [len(part.unattributed) for part in parts]
            like = parts[0].unattributed
            return torch.cat(
                [like.new_zeros(n, *shape) if t is None else t for t, n in zip(tensors, sizes, strict=True)]
            )

        reached = {}
        for node, (value, _, _) in {n: r for part in parts for n, r in part.reached.items()}.items():
            found = [part.reached.get(node, (value, None, None)) for part in parts]
            reached[node] = (value, join([g for _, g, _ in found]), join([beta for _, _, beta in found]))
        longest = max(parts, key=lambda part: len(part.sources))
        rows = {s.name: s for part in (longest, *parts) for s in part.sources}
        amounts = [{s.name: s.amount for s in part.sources} for part in parts]
        sources = [replace(s, amount=join([some.get(name) for some in amounts])) for name, s in rows.items()]
        unattributed, withheld = (torch.cat([getattr(p, n) for p in parts]) for n in ("unattributed", "withheld"))
        return Swept(reached, sources, unattributed, withheld)


def sweep(
    tape: Tape,
    graph: Graph,
    functional: Functional,
    settings: Settings,
    cut: Collection[Node],
    chosen: Callable[[str, str], bool] = lambda name, operation: True,
    zero_others: bool = False,
) -> Swept:
    """Carry gradient and bias from the functional back to the cut and the inputs.

    Args:
        tape: the linearised network; its steps are used up, so that memory is freed as the sweep passes.
        graph: the captured network.
        functional: what is explained.
        settings: the rule and the memory budget.
        cut: tensors at which to stop; the inputs are always among them.
        chosen: whether a bias source ``(name, operation)`` takes part (spec section 5).
        zero_others: let the others also count as 0 in the sign that option 1 looks at.
    """
    swept = Swept(unattributed=torch.zeros_like(functional.value), withheld=torch.zeros_like(functional.value))
    carried: dict[Node, tuple[Tensor, Tensor]] = {}
    gates: dict[Node, Gate] = {}
    readers = _readers(tape, graph)
    batch = tape.batch
    _start(swept, carried, tape, functional, settings, chosen)
    while tape.steps:
        step = tape.steps.pop()
        if step.node not in carried:
            continue
        g, beta = carried.pop(step.node)
        gate = gates.pop(step.node, None)
        if step.node in cut:
            swept.reached[step.node] = (tape.kept[step.node], g, beta)
            continue
        piece = step.piece
        if piece.intercept is not None:
            amount, source = _amount(step, g, batch)
            swept.sources.append(source)
            if chosen(source.name, source.operation):
                beta = amount.add_(beta)
            else:
                swept.withheld = swept.withheld + source.amount
                if zero_others:
                    piece.intercept = None
        if isinstance(piece, Diagonal) and len(readers[step.operands[0]]) == 1:
            gates[step.operands[0]] = piece.as_gate(gate if piece.foldable else None)
        received, lost = piece.distribute(beta, gate, settings)
        if lost is not None:
            swept.unattributed = swept.unattributed + step.node.per_example(lost, batch)
        _hand_on(carried, step, piece.gradient(g), received)
    for node in graph.inputs:
        value, targets = tape.kept[node], len(functional.value)
        nothing = value.new_zeros(targets, *value.shape)
        swept.reached[node] = (value, *carried.get(node, (nothing, nothing)))
    swept.sources.reverse()
    return swept


def bias_sources(tape: Tape, functional: Functional) -> list[BiasSource]:
    """Only the amounts ``<g, h>`` of the sources, which need the gradient and no alpha."""
    carried = dict(functional.gradients)
    found = [BiasSource("target", "target", functional.intercept)] if functional.intercept.any() else []
    while tape.steps:
        step = tape.steps.pop()
        g = carried.pop(step.node, None)
        if g is None:
            continue
        if step.piece.intercept is not None:
            found.append(_amount(step, g, tape.batch)[1])
        for node, pulled in zip(step.operands, step.piece.gradient(g), strict=True):
            carried[node] = carried[node] + pulled if node in carried else pulled
    return found[::-1]


def _amount(step: Step, g: Tensor, batch: int) -> tuple[Tensor, BiasSource]:
    """``g * h`` of an operation, of each unit and of each example."""
    assert step.piece.intercept is not None
    amount = g * step.piece.intercept
    if not step.piece.intercept.isfinite().all():
        amount = torch.where(g == 0, 0, amount)  # a masked -inf or NaN is no bias
    return amount, BiasSource(step.node.name, step.node.operation, step.node.per_example(amount, batch))


def _readers(tape: Tape, graph: Graph) -> dict[Node, list[Node | None]]:
    """Who reads each tensor, as far as gradients go: comparisons and indices do not count."""
    differentiable = {step.node for step in tape.steps}
    return {
        node: [r for r in readers if r is None or r in differentiable] for node, readers in graph.consumers().items()
    }


def _start(
    swept: Swept,
    carried: dict[Node, tuple[Tensor, Tensor]],
    tape: Tape,
    functional: Functional,
    settings: Settings,
    chosen: Callable[[str, str], bool],
) -> None:
    """The functional is a layer of one unit per example: its intercept is shared among the outputs."""
    carried.update({node: (g, torch.zeros_like(g)) for node, g in functional.gradients.items()})
    intercept = functional.intercept
    if not intercept.any():
        return
    swept.sources.append(BiasSource("target", "target", intercept))
    if not chosen("target", "target"):
        swept.withheld = swept.withheld + intercept
    elif not carried:
        swept.unattributed = swept.unattributed + intercept
    else:
        nodes = list(carried)
        g = torch.cat([n.rows(carried[n][0], tape.batch) for n in nodes], 2)
        v = torch.cat([n.rows(tape.active[n][None], tape.batch) for n in nodes], 2)
        wired = torch.ones_like(g, dtype=torch.bool)
        messages = shares(settings.rule, g * v, intercept, intercept, g != 0, wired) * intercept.unsqueeze(-1)
        sizes = [tape.active[n].numel() // tape.batch for n in nodes]
        for node, message in zip(nodes, messages.split(sizes, 2), strict=True):
            carried[node] = (carried[node][0], node.unrows(message, tape.active[node].shape))


def _hand_on(
    carried: dict[Node, tuple[Tensor, Tensor]], step: Step, gradients: list[Tensor], received: list[Tensor]
) -> None:
    """A tensor with several consumers adds up what each sends it."""
    for node, g, beta in zip(step.operands, gradients, received, strict=True):
        if node in carried:
            g, beta = carried[node][0] + g, carried[node][1] + beta
        carried[node] = (g, beta)
