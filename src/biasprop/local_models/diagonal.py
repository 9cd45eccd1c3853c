"""Gates and other elementwise operations on one operand."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..kernels import Settings
from ..kernels.autograd import pull_back
from ..kernels.extremes import is_finite
from ..kernels.slope import Slope
from .model import Distributed, LocalModel

__all__ = ["Chord", "Diagonal", "Identity"]


class Diagonal(LocalModel):
    """Elementwise on one operand: ``y = slope * u + intercept``; beta passes through unchanged.

    Exact for piecewise-linear gates; for smooth ones it is the tangent, whose intercept is a bias source. ``affine``
    says that it is no gate but part of the layer before it (batch norm, scaling, shift).
    """

    by_rule = False
    passes = True

    def __init__(
        self,
        operand: Tensor,
        output: Tensor,
        intercept: Tensor | Literal["tangent"] | None,
        slope: Slope | Tensor | None = None,
        affine: bool = False,
    ) -> None:
        """``intercept`` is known, or None for zero, or that of the tangent; ``slope`` by autograd if not known."""
        super().__init__(output)
        self.affine, self.operand_dtype = affine, operand.dtype
        if slope is None:
            slope = pull_back(output, [operand], torch.ones_like(output)[None])[0][0]
        self.slope = slope if isinstance(slope, Slope) else Slope(slope.to(output.dtype))
        self.cheap = self.slope.output is None
        self.finite = affine or self.slope.scale is None or is_finite(self.slope.scale)
        if isinstance(intercept, str):
            intercept = output.detach() - self.slope.times(operand.detach())
        self.intercept = intercept

    def gradient(self, g: Tensor) -> list[Tensor]:
        """``slope * g``; where nothing comes, as steep as it may be (the root of 0 below a clamp), nothing goes."""
        return [self._times(g).to(self.operand_dtype)]

    def overwrite(self, g: Tensor) -> list[Tensor]:
        """In place."""
        return [self.slope.overwrite(g).to(self.operand_dtype)] if self.finite else self.gradient(g)

    def _times(self, g: Tensor) -> Tensor:
        product = self.slope.times(g)
        return product if self.finite else torch.where(g == 0, 0, product)

    def push(self, tangents: Sequence[Tensor | None]) -> Tensor:
        """The same again: a diagonal matrix is its own transpose."""
        (tangent,) = tangents
        assert tangent is not None
        return self._times(tangent[None])[0].to(self.dtype)

    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """The bias moves on as it is."""
        return [beta.to(self.operand_dtype)], None


class Chord(Diagonal):
    """A smooth gate held, whose slope is found when the sweep comes by: until then only its operand takes memory."""

    holds = True
    cheap = True

    def __init__(self, operand: Tensor, output: Tensor, intercept: Tensor | None, slope: Callable[[], Tensor]) -> None:
        """``slope`` finds that of each entry."""
        LocalModel.__init__(self, output)
        self.affine, self.operand_dtype, self.intercept, self._find = False, operand.dtype, intercept, slope

    @cached_property
    def slope(self) -> Slope:  # type: ignore[override]
        """Of the line from the gate's value at 0."""
        return Slope(self._find())

    @cached_property
    def finite(self) -> bool:  # type: ignore[override]
        """Whether the slope is."""
        assert self.slope.scale is not None
        return is_finite(self.slope.scale)


class Identity(Diagonal):
    """A copy: every entry stays where it is, and a layer and the gate behind it are still one."""

    def __init__(self, operand: Tensor, output: Tensor, again: Callable[..., Tensor]) -> None:
        """``again`` makes the copy of another tensor."""
        super().__init__(operand, output, None, Slope(), affine=True)
        self.again = again

    def reached(self, depends: Sequence[Tensor | None]) -> Tensor | None:
        """Where the operand does, in the order in memory that the copy has."""
        (mask,) = depends
        return None if mask is None else self.again(mask.broadcast_to(self.shape)).bool()

    def push(self, tangents: Sequence[Tensor | None]) -> Tensor:
        """A copy as well: what follows may look at the order in memory."""
        return self.again(*tangents)
