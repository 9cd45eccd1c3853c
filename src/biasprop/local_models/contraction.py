"""Batched matrix products: attention's probabilities and values, and whatever multiplies two activations."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..kernels import Layout, Settings, spread
from ..kernels.proportional import spread_equally, spread_positive
from ..kernels.slope import Slope
from ..kernels.weighted import Product
from ..rules import Proportional, form_of
from .model import Distributed, Linked

__all__ = ["Contraction"]


class Contraction(Linked):
    """``y[i,d] = sum_j A[i,j] V[j,d]``, batched: the components of a unit are its L products ``A[i,j] V[j,d]``.

    With one operand the other factor is held, and ``h = 0``. With two, each product stands there twice, once for either
    factor, which share it equally whatever the rule; the tangent's intercept is ``-y``, and half of the Jacobian has
    none (mathematics, section 10).
    """

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        output: Tensor,
        operands: tuple[bool, bool],
        intercept: Tensor | None = None,
        scale: float = 1.0,
    ) -> None:
        """Factors ``(*, n, k)`` and ``(*, k, m)``, leaves of ``output`` where they are ``operands``.

        The components are ``scale * left[i,j] * right[j,d]``.
        """
        super().__init__([f for f, open_ in zip((left, right), operands, strict=True) if open_], output)
        self.factors = left.detach(), right.detach()
        self.open, self.intercept, self.scale = operands, intercept, scale

    def reached(self, depends: Sequence[Tensor | None]) -> Tensor | None:
        """The units with a product of which a factor depends on the network's input."""
        if any(mask is None for mask in depends):
            return None
        masks, found = iter(depends), torch.zeros((), dtype=torch.bool)
        left, right = ((f != 0).to(f.dtype) for f in self.factors)
        for side, open_ in enumerate(self.open):
            if open_:
                mask = next(masks)
                assert mask is not None
                product = mask.to(right) @ right if side == 0 else left @ mask.to(left)
                found = found.to(product.device) | (product > 0)
        return found

    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """Each open factor as the operand of a stencil whose weight is the other one."""
        left, right = self.factors
        scaled_left, scaled_right = (f if self.scale == 1 else f * self.scale for f in self.factors)
        masks = iter(self.depends or [None] * len(self.operands))
        sides: list[tuple[Tensor, Tensor, bool]] = []
        if self.open[0]:
            sides.append((*_taking_part(left, scaled_right, next(masks), -2), True))
        if self.open[1]:
            sides.append((*_taking_part(right, scaled_left, next(masks), -1), False))
        share = beta / len(sides)
        both = [self._one_side(*side, share, slope, h, settings) for side in sides]
        lost = [found for _, found in both if found is not None]
        return [received for received, _ in both], torch.stack(lost).sum(0) if lost else None

    def _one_side(
        self,
        u: Tensor,
        weight: Tensor,
        turned: bool,
        beta: Tensor,
        slope: Slope,
        h: Tensor | None,
        settings: Settings,
    ) -> tuple[Tensor, Tensor | None]:
        """What an operand receives, and what nothing of it could."""
        if settings.compiled and isinstance(form_of(settings.rule), Proportional):
            product = Product(weight, u.shape, turned)
            positive, rest = spread_positive(product, u, slope, beta)
            if rest is None:
                return positive, None
            equal, left = spread_equally(product, u, slope, rest)
            return positive.add_(equal), left
        # To the left factor through the transposed product: y^T = V^T A^T.
        turn = partial(torch.transpose, dim0=-1, dim1=-2) if turned else _same
        batch = self.shape[:-2]
        wide, matrix = (turn(t).expand(*batch, *turn(t).shape[-2:]) for t in (u, weight))
        (k, m), n, groups = wide.shape[-2:], matrix.shape[-2], batch.numel()
        layout = Layout(
            (1, groups, k, m),
            (1, groups, n, m),
            matrix.reshape(groups, 1, n, k),
            torch.arange(m, dtype=torch.int32)[:, None],
        )
        units = partial(_units, shape=self.shape, turn=turn, layout=layout)
        received, lost = spread(
            layout,
            wide.reshape(layout.operand),
            slope.each(units),
            units(beta.new_zeros(()) if h is None else h),
            turn(beta).reshape(len(beta), *layout.output),
            settings,
        )
        received = turn(received.reshape(len(beta), *wide.shape)).sum_to_size(len(beta), *_padded(u, len(batch)))
        received = received.reshape(len(beta), *u.shape)
        lost = None if lost is None else turn(lost.reshape(len(beta), *batch, n, m))
        return received, lost


def _taking_part(u: Tensor, weight: Tensor, depends: Tensor | None, along: int) -> tuple[Tensor, Tensor]:
    """Without the entries of an operand that are constant: zeros, and no weight where a whole row of it is."""
    if depends is None:
        return u, weight
    depends = depends.broadcast_to(u.shape)
    rows = depends.any(-1 if along == -1 else -2)  # (*, k): of the right factor its rows, of the left its columns
    rows = rows.unsqueeze(-2 if along == -1 else -1)
    return u.masked_fill(depends.logical_not(), 0), torch.where(rows, weight, 0)


def _same(values: Tensor) -> Tensor:
    return values


def _units(values: Tensor, shape: torch.Size, turn: Callable[[Tensor], Tensor], layout: Layout) -> Tensor:
    return turn(values.broadcast_to(shape)).reshape(layout.output)


def _padded(u: Tensor, batch: int) -> list[int]:
    """The shape of a factor with as many dimensions in front as the product has."""
    return [1] * (batch + 2 - u.dim()) + list(u.shape)
