"""The slope of a gate, unit by unit.

No mask is made of a ReLU: it is open where its output is positive, and that output is kept anyway, by what reads it.
(PyTorch's operations with Boolean masks are five to thirty times slower than those with numbers, on the CPU.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Slope", "unrepeated"]


def unrepeated(values: Tensor) -> Tensor:
    """One of the entries along each dimension in which they are all the same, being one in memory."""
    for dim, (size, stride) in enumerate(zip(values.shape, values.stride(), strict=True)):
        values = values.narrow(dim, 0, 1) if stride == 0 and size > 1 else values
    return values


@dataclass(frozen=True, eq=False)
class Slope:
    """``scale`` where ``output`` is positive, 0 elsewhere.

    Attributes:
        scale: broadcastable to the units; None for 1.
        output: of the ReLU, its dtype that of the units; None where there is none, and nothing is closed.
    """

    scale: Tensor | None = None
    output: Tensor | None = None

    def times(self, values: Tensor) -> Tensor:
        """``slope * values``, ``(J, *units)``; nothing comes through where it is closed, infinities neither."""
        return self.opened(self.scaled(values))

    def overwrite(self, values: Tensor) -> Tensor:
        """The same in place of the values, if they are numbers of their own in memory."""
        if 0 in values.stride() or (self.scale is not None and self.scale.dtype != values.dtype):
            return self.times(values)
        if self.scale is not None:
            values.mul_(self.scale)
        if self.output is not None:
            torch.ops.aten.threshold_backward.grad_input(values, self.output, 0, grad_input=values)
        return values

    def scaled(self, values: Tensor) -> Tensor:
        """``scale * values``, open or not; what broadcasts stays small."""
        return values if self.scale is None else self.scale * values

    def write(self, values: Tensor, into: Tensor) -> None:
        """``slope * values``, ``units``, into memory that is there."""
        scaled = self.scaled(values)
        if self.output is None:
            into.copy_(scaled)
        else:
            torch.ops.aten.threshold_backward.grad_input(scaled, self.output, 0, grad_input=into)

    def opened(self, values: Tensor) -> Tensor:
        """The values where it is open, 0 elsewhere."""
        return values if self.output is None else torch.ops.aten.threshold_backward.default(values, self.output, 0)

    def dense(self, factor: Tensor, shape: Sequence[int]) -> Tensor:
        """``slope * factor`` at each unit, in one pass where both repeat along dimensions."""
        product = factor if self.scale is None else unrepeated(self.scale) * unrepeated(factor)
        return self.opened(product.broadcast_to(shape))

    def each(self, change: Callable[[Tensor], Tensor]) -> "Slope":
        """That of units in another shape."""
        parts = (None if one is None else change(one) for one in (self.scale, self.output))
        return Slope(*parts)

    def before(self, gate: "Slope") -> "Slope":
        """Of this one and a gate right behind it."""
        scales = [one.scale for one in (self, gate) if one.scale is not None]
        outputs = [one.output for one in (self, gate) if one.output is not None]
        if len(outputs) == 2:  # a chain of gates
            scales.append(self.opened(torch.ones_like(outputs[0])))
        scale = None
        for one in scales:
            scale = one if scale is None else scale * one
        return Slope(scale, outputs[-1] if outputs else None)

    def of(self, some: slice) -> "Slope":
        """That of some of the units along the last dimension."""
        scale, output = self.scale, self.output
        if scale is not None and scale.dim() and scale.shape[-1] != 1:
            scale = scale[..., some]
        return Slope(scale, None if output is None else output[..., some])

    def finite(self) -> "Slope":
        """Masked units may be infinite or NaN; a layer's alpha must not be."""
        return Slope(None if self.scale is None else self.scale.nan_to_num(0, 0, 0), self.output)
