"""The local linear model of one operation at the current input: ``y = sum_i J_i u_i + intercept``.

The sweep asks two things of a piece: to pull a gradient back to the operands (``g_u = J^T g_y``, the same for
every operation) and to distribute a bias to them (``beta_u[q] = sum_p alpha[p,q] beta_y[p]``), which is where the
kinds of spec section 4 differ:

- `Diagonal`: elementwise, one operand per unit, alpha = 1;
- `Routing`: selection and rearrangement, alpha is the Jacobian itself;
- `Components`: a few operands per unit, elementwise (sums and products of tensors), shared by the rule;
- `Stencil` (in `biasprop.stencil`): weighted sums over windows, shared by the rule.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .rules import Rule
from .shares import shares

__all__ = ["Components", "Diagonal", "Gate", "Piece", "Routing", "Settings", "pull_back"]


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
    it the layer of spec section 2 is ``W = slope * A`` and ``h = slope * a + shift``.
    """

    slope: Tensor
    shift: Tensor | None

    def local_bias(self, own: Tensor | None) -> Tensor:
        """``h = slope * a + shift`` of the layer whose affine operation has the intercept ``a``."""
        if own is None:
            return torch.zeros_like(self.slope) if self.shift is None else self.shift
        return self.slope * own if self.shift is None else self.slope * own + self.shift


def pull_back(output: Tensor, operands: Sequence[Tensor], cotangent: Tensor) -> list[Tensor]:
    """``J^T cotangent`` for each operand, by autograd over this one operation."""
    pulled = torch.autograd.grad(
        output,
        operands,
        cotangent.to(output.dtype),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return list(pulled)


def _finite(values: Tensor) -> Tensor:
    """Masked units may be infinite or NaN; a layer's alpha must not be."""
    return values.nan_to_num(0, 0, 0)


class Piece(ABC):
    """One operation, linearised. ``output`` carries the autograd graph of this operation over ``operands`` only."""

    output: Tensor
    operands: list[Tensor]
    intercept: Tensor | None = None
    foldable: bool = False  # affine and elementwise: part of the layer of the affine operation before it

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``J^T g`` for each operand."""
        return pull_back(self.output, self.operands, g)

    @abstractmethod
    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """Beta of each operand, and what is lost because nothing is wired to a unit, shaped like the output."""


class Diagonal(Piece):
    """Elementwise on one operand: ``y = slope * u + intercept``; beta passes through unchanged.

    Exact for piecewise-linear gates; for smooth ones it is the tangent, whose intercept is a bias source.
    """

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        intercept: Tensor | Literal["tangent"] | None,
        foldable: bool = False,
    ) -> None:
        """``intercept`` is known, or None for zero, or that of the tangent: ``y - slope * u``."""
        self.operands = [operand]
        self.output = output
        self.foldable = foldable
        (self.slope,) = pull_back(output, [operand], torch.ones_like(output))
        if isinstance(intercept, str):
            self.intercept = output.detach() - self.slope * operand.detach()
        else:
            self.intercept = intercept

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``slope * g``."""
        return [self.slope * g]

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


class Routing(Piece):
    """Selection and rearrangement: every unit copies one operand; beta moves with the index, unconditionally."""

    def __init__(
        self,
        operands: list[Tensor],
        output: Tensor,
        intercept: Tensor | None = None,
        wired: Tensor | None = None,
    ) -> None:
        """``wired`` is False at units that copy a constant (padding): their beta is lost."""
        self.operands, self.output, self.intercept, self.wired = operands, output, intercept, wired

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """``J^T beta``."""
        lost = None if self.wired is None else beta.masked_fill(self.wired, 0)
        return self.gradient(beta), lost


class Components(Piece):
    """Elementwise on several operands: ``y = sum_i a_i u_i + intercept`` with one component per operand and unit.

    Sums are the paper's stacked identity. A product ``u v`` is its tangent: both components are ``u v``, the
    intercept is ``-u v``, and every rule gives half to each factor.
    """

    def __init__(self, operands: list[Tensor], output: Tensor, shapes: list[torch.Size], halves: bool) -> None:
        """``operands`` are broadcast to the output's shape, from ``shapes``; ``halves``: zero weights count too."""
        self.operands, self.output, self.shapes, self.halves = operands, output, shapes, halves
        self.partials = pull_back(output, operands, torch.ones_like(output))

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``a_i * g``, summed over the dimensions along which the operand was broadcast."""
        return [(a * g).sum_to_size(shape) for a, shape in zip(self.partials, self.shapes, strict=True)]

    def distribute(self, beta: Tensor, gate: Gate | None, settings: Settings) -> tuple[list[Tensor], Tensor | None]:
        """Shared by the rule, a block of units at a time."""
        shape = self.output.shape
        h = torch.zeros((), device=beta.device) if self.intercept is None else self.intercept
        h = h if gate is None else gate.local_bias(self.intercept)
        having = beta.reshape(-1).nonzero().squeeze(1)  # half of the units of a ReLU network have no bias

        def units(values: Tensor) -> Tensor:
            return values.detach().broadcast_to(shape).reshape(-1)[having]

        mass, h = units(beta), units(h).to(beta.dtype)
        values, weights = [units(u) for u in self.operands], [units(a) for a in self.partials]
        slope = None if gate is None else units(gate.slope)
        out = [torch.zeros_like(beta).reshape(-1) for _ in values]
        step = max(1, settings.memory_budget // (16 * len(values) * beta.element_size()))
        for i in range(0, mass.numel(), step):
            block = slice(i, i + step)
            a = torch.stack([w[block] for w in weights], -1)
            m = a * torch.stack([v[block] for v in values], -1)
            if slope is not None:
                m = m * slope[block].unsqueeze(-1)
            wired = torch.ones_like(a, dtype=torch.bool)
            alpha = shares(settings.rule, m, h[block], mass[block], wired if self.halves else a != 0, wired)
            for k, received in enumerate(out):
                received[having[block]] = alpha[:, k] * mass[block]
        return [
            o.reshape(self.output.shape).sum_to_size(shape) for o, shape in zip(out, self.shapes, strict=True)
        ], None
