"""The local linear model of one operation at the current input: ``y = sum_i J_i u_i + intercept``.

Gradients and biases come with a leading dimension of J targets, ``(J, *shape)``; the piece is the same for all.

The sweep asks two things of a piece: to pull a gradient back to the operands (``g_u = J^T g_y``, the same for
every operation) and to distribute a bias to them (``beta_u[q] = sum_p alpha[p,q] beta_y[p]``), which is where the
kinds of spec section 4 differ:

- `Diagonal`: elementwise, one operand per unit, alpha = 1;
- `Routing`: selection and rearrangement, alpha is the Jacobian itself;
- `Components` (in `biasprop.joins`): a few operands per unit, elementwise, shared by the rule;
- `Stencil` (in `biasprop.stencil`): weighted sums over windows, shared by the rule.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from .rules import Rule

__all__ = ["Diagonal", "Gate", "Linked", "Piece", "Routing", "Settings", "pull_back", "scaled"]


@dataclass(frozen=True)
class Settings:
    """What distributing needs besides the piece: the rule, bytes for its temporaries, and which kernels."""

    rule: Rule
    memory_budget: int
    compiled: bool = True


@dataclass(frozen=True)
class Gate:
    """What directly follows an affine operation ``z``, folded into its layer: ``y = slope * z + shift``.

    A chain of elementwise affine operations (batch norm, scaling, shift) up to and including the first gate; with
    it the layer of spec section 2 is ``W = slope * A`` and ``h = slope * a + shift``. Both are broadcastable to the
    output; the slope of a ReLU is a mask.
    """

    slope: Tensor
    shift: Tensor | None

    def local_bias(self, own: Tensor) -> Tensor:
        """``h = slope * a + shift`` of the layer whose affine operation has the intercept ``a``."""
        own = scaled(self.slope, own)
        return own if self.shift is None else own + self.shift


def pull_back(output: Tensor | GradientEdge, operands: Sequence[Tensor], cotangents: Tensor) -> list[Tensor]:
    """``J^T cotangent`` for each operand and each of the cotangents, by autograd over this one operation."""

    def pull(cotangent: Tensor, batched: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            output,
            operands,
            cotangent,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
            is_grads_batched=batched,
        )

    if len(cotangents) == 1:
        return [pulled.unsqueeze(0) for pulled in pull(cotangents[0], False)]
    return list(pull(cotangents, True))


def scaled(slope: Tensor, values: Tensor) -> Tensor:
    """``slope * values``; a mask is not turned into numbers for that."""
    return torch.where(slope, values, values.new_zeros(())) if slope.dtype == torch.bool else slope * values


def _finite(values: Tensor) -> Tensor:
    """Masked units may be infinite or NaN; a layer's alpha must not be."""
    return values.nan_to_num(0, 0, 0) if values.is_floating_point() else values


class Piece(ABC):
    """One operation, linearised.

    It keeps what the sweep needs and no more: the way to the operands, not the output itself.
    """

    shape: torch.Size
    value: Tensor | None  # the output, until the next operations have taken it
    intercept: Tensor | None = None  # broadcastable to the output
    foldable: bool = False  # affine and elementwise: part of the layer of the affine operation before it

    def __init__(self, output: Tensor) -> None:
        """Of an operation with this output."""
        self.shape, self.value = output.shape, output.detach()

    def hand_over(self) -> Tensor:
        """The output, which is then no longer held here."""
        value, self.value = self.value, None
        assert value is not None
        return value

    @abstractmethod
    def gradient(self, g: Tensor) -> list[Tensor]:
        """``J^T g`` for each operand: ``(J, *shape)`` to ``(J, *operand)``."""

    @abstractmethod
    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """Beta of each operand, and what is lost because nothing is wired to a unit, shaped like beta."""


class Linked(Piece):
    """A piece that keeps the autograd graph of its one operation, from the output to its ``operands``."""

    def __init__(self, operands: Sequence[Tensor], output: Tensor) -> None:
        """``operands`` are leaves of the graph that leads to ``output``."""
        super().__init__(output)
        self.operands, self.edge = operands, get_gradient_edge(output)

    def gradient(self, g: Tensor) -> list[Tensor]:
        """By autograd."""
        return pull_back(self.edge, self.operands, g)


class Diagonal(Piece):
    """Elementwise on one operand: ``y = slope * u + intercept``; beta passes through unchanged.

    Exact for piecewise-linear gates; for smooth ones it is the tangent, whose intercept is a bias source.
    """

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        intercept: Tensor | Literal["tangent"] | None,
        slope: Tensor | None = None,
        foldable: bool = False,
    ) -> None:
        """``intercept`` is known, or None for zero, or that of the tangent; ``slope`` by autograd if not known."""
        super().__init__(output)
        self.foldable = foldable
        if slope is None:
            slope = pull_back(output, [operand], torch.ones_like(output)[None])[0][0]
        self.slope = slope
        if isinstance(intercept, str):
            self.intercept = output.detach() - slope * operand.detach()
        else:
            self.intercept = intercept

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``slope * g``."""
        return [scaled(self.slope, g)]

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """The bias moves on as it is."""
        return [beta], None

    def as_gate(self, then: Gate | None) -> Gate:
        """This operation followed by ``then``, as one slope and shift."""
        gate = Gate(self.slope, None)
        if self.intercept is not None:
            gate = Gate(_finite(self.slope), _finite(self.intercept))
        if then is None:
            return gate
        shift = then.shift if gate.shift is None else then.local_bias(gate.shift)
        return Gate(then.slope * gate.slope, shift)


class Routing(Linked):
    """Selection and rearrangement: every unit copies one operand; beta moves with the index, unconditionally."""

    def __init__(
        self,
        operands: Sequence[Tensor],
        output: Tensor,
        intercept: Tensor | None = None,
        wired: Tensor | None = None,
    ) -> None:
        """``wired`` is False at units that copy a constant (padding): their beta is lost."""
        super().__init__(operands, output)
        self.intercept, self.wired = intercept, wired

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """``J^T beta``."""
        lost = None if self.wired is None else beta.masked_fill(self.wired, 0)
        return self.gradient(beta), lost
