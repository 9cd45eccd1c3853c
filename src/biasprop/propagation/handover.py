"""Hand-over: below some tensors all of an attribution is shared like bias (mathematics, section 11).

At a tensor ``v = J_v x + b_v`` the attribution ``g_v * v + beta_v`` becomes mass that alpha distributes: the weight
part ``g_v * (J_v x)``, which sums to ``w.x``, and the bias part ``g_v * b_v + beta_v``, which sums to ``b``. Of several
tensors it is the mean of what each of them gives, in one sweep: a gradient is kept apart by the tensors that it has
passed, and is dropped where it has passed them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import SourceError
from ..graph import Node
from ..kernels import Settings
from ..local_models import Stencil
from .choice import EVERY, Choice
from .forward import pushed
from .tape import Step, Tape

__all__ = ["AUTO", "NOWHERE", "Handover", "Split", "deepest_layout", "hand_over"]

AUTO = "auto"
"""The deepest tensor below the last weighted layer that is laid out like the input of a convolutional stack."""

PLACES = 7
"""So many places along a signal, squared in an image or a volume, must a tensor have to be laid out like the input."""

DENSE = ("linear", "addmm", "mm", "matmul", "bmm", "baddbmm")
"""Operations with weights, beside convolutions."""


@dataclass(frozen=True, eq=False)
class Split:
    """A tensor v at which to hand over: ``v = linear + bias``.

    Attributes:
        linear: ``J_v x``.
        bias: ``b_v``.
        chosen: what the bias sources that take part add to v: ``b_v`` where all of them do.
    """

    linear: Tensor
    bias: Tensor
    chosen: Tensor


@dataclass(frozen=True, eq=False)
class Handover:
    """Where an attribution is handed over, and how it goes on.

    Attributes:
        at: the tensors, of which each counts the same; an input among them stands for no hand-over.
        count: how many these are, with the inputs.
        below: with the rule for what has been handed over; None for the same as above.
    """

    at: Mapping[Node, Split] = field(default_factory=dict)
    count: int = 1
    below: Settings | None = None

    def share(self, passed: frozenset[Node]) -> float:
        """How much is handed over, at one more tensor, of what has passed these: in the end as much at each of them."""
        return 1 / (self.count - len(passed))


NOWHERE = Handover()


def hand_over(wanted: Sequence[Node], tape: Tape, choice: Choice = EVERY, below: Settings | None = None) -> Handover:
    """The hand-over at some tensors, at this input.

    Args:
        wanted: the tensors, whose values the tape keeps; an input among them stands for no hand-over.
        tape: the linearised network.
        choice: which bias sources take part.
        below: settings for what has been handed over.

    Raises:
        SourceError: one of them does not depend on the inputs.
    """
    inputs = tape.graph.inputs
    nodes = [node for node in wanted if node not in inputs]
    active = {step.node for step in tape.steps}
    for node in nodes:
        if node not in active:
            raise SourceError(f"No attribution goes through {node.name!r}: there is nothing to hand over.")
    if not nodes:
        return NOWHERE
    parts = pushed(tape, nodes, {node: tape.kept[node] for node in inputs})
    biases = [tape.kept[node] - linear for node, linear in zip(nodes, parts, strict=True)]
    chosen = biases if choice is EVERY else pushed(tape, nodes, {}, _chosen(tape, choice))
    at = {
        node: Split(linear, bias, some) for node, linear, bias, some in zip(nodes, parts, biases, chosen, strict=True)
    }
    return Handover(at, len(wanted), below)


def _chosen(tape: Tape, choice: Choice) -> dict[Node, Tensor]:
    """The intercepts of the bias sources that take part; a masked -inf is no bias."""
    return {
        step.node: step.local.intercept.nan_to_num(0, 0, 0)
        for step in tape.steps
        if step.local.intercept is not None and choice.takes(step.node.name, step.node.operation)
    }


def deepest_layout(tape: Tape) -> Node | None:
    """The last tensor that is still laid out like the input of a convolutional stack; None where there is none.

    Channels first, then space, and behind it no layer that shares its weights between positions: patches that become
    tokens are no such layout, nor are tables, or series that are read row by row. The last weighted layer is always
    above it: it tells the classes apart, and what it takes away from one counts there. A tensor with fewer than
    `PLACES`, where an earlier one has more, says too little about where.
    """
    dims = {tape.kept[node].dim() for node in tape.graph.inputs if tape.kept[node].dim() > 2}
    weighted = [k for k, step in enumerate(tape.steps) if _convolves(step) or step.node.operation in DENSE]
    first = next((k for k, step in enumerate(tape.steps) if _convolves(step)), len(tape.steps))
    found: list[Step] = []  # from the last one up
    for k, step in reversed(list(enumerate(tape.steps[: max(weighted, default=0)]))):
        shape = step.local.shape
        laid_out = len(shape) in dims and step.node.batch_dim == 0
        if laid_out and shape[2:].numel() > 1 and k >= first:
            found.append(step)
        between = shape[2:] if len(shape) in dims else shape[1:-1]
        if not found and isinstance(step.local, Stencil) and torch.Size(between).numel() > 1:
            return None
    spaces = [step.local.shape[2:] for step in found]
    most = max((space.numel() for space in spaces), default=0)
    enough = (space.numel() >= min(PLACES ** min(len(space), 2), most) for space in spaces)
    return next((step.node for step, is_enough in zip(found, enough, strict=True) if is_enough), None)


def _convolves(step: Step) -> bool:
    return step.node.operation.startswith("conv")
