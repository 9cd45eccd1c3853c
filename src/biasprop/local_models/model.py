"""The local linear model of one operation at the current input: ``y = sum_i J_i u_i + a``.

The sweep asks two things of it: to pull a gradient back to the operands (``g_u = J^T g_y``, the same for every
operation) and to distribute a bias to them (``beta_u[q] = sum_p alpha[p,q] beta_y[p]``), which is where the kinds
differ. Gradients and biases come with a leading dimension of J targets; the model is the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ..kernels import Settings
from ..kernels.autograd import pull_back
from ..kernels.slope import Slope

__all__ = ["Distributed", "Kept", "Linked", "LocalModel", "value_of"]

Distributed = tuple[list[Tensor], Tensor | None]
"""Beta of each operand, ``(J, *operand)``, and what is lost where nothing is wired to a unit, ``(J, *output)``."""

Kept = Tensor | Callable[[], Tensor]
"""A tensor that is kept, or how to make it again of others that are."""


def value_of(kept: Kept) -> Tensor:
    """The tensor itself."""
    return kept if isinstance(kept, Tensor) else kept()


class LocalModel(ABC):
    """One operation, linearised.

    It keeps what the sweep needs and no more: the way to the operands, not the output itself.

    Attributes:
        shape: of the output.
        dtype: of the output.
        intercept: ``a``, broadcastable to the output; None for 0. It is a bias source.
        by_rule: whether a rule shares out the bias, so that slope and local bias of the layer matter.
        has_constants: whether some units may depend on no operand at all.
        holds: whether the operands are kept here.
        cheap: whether making the output again takes next to nothing, and it is not kept here.
        joins: whether it adds up several tensors of the output's size.
        fresh: whether gradients and betas of the operands are tensors that nobody else reads: they may be written to.
        passes: whether they are so if those of the output are.
        depends: which entries of each operand depend on the network's input (None: all); the others take no part.
    """

    shape: torch.Size
    dtype: torch.dtype
    intercept: Tensor | None = None
    depends: Sequence[Tensor | None] = ()
    by_rule: bool = True
    has_constants: bool = False
    holds: bool = False
    cheap: bool = False
    joins: bool = False
    fresh: bool = False
    passes: bool = False

    def __init__(self, output: Tensor) -> None:
        """Of an operation with this output."""
        self.shape, self.dtype = output.shape, output.dtype
        self._output: Tensor | None = output.detach()

    def release(self) -> Tensor:
        """The output, once: it is then no longer held here, but by the operations that read it."""
        output, self._output = self._output, None
        assert output is not None
        return output

    def reached(self, depends: Sequence[Tensor | None]) -> Tensor | None:
        """Which units depend on the network's input, where some entries of the operands do not; None for all.

        Element by element, unless a kind knows better.
        """
        masks = [mask for mask in depends if mask is not None]
        if len(masks) < len(depends):
            return None
        return reduce(torch.logical_or, masks).broadcast_to(self.shape)

    def keep(self, operands: Sequence[Kept]) -> None:
        """Of operands that can be made again only keep how; most kinds keep none, or need the tensors themselves."""
        return

    def output(self, operands: Sequence[Tensor]) -> Tensor:
        """``sum_i J_i u_i + a``, which it has been."""
        output = self.push(operands)
        return output if self.intercept is None else output + self.intercept

    @abstractmethod
    def gradient(self, g: Tensor) -> list[Tensor]:
        """``J^T g`` for each operand: ``(J, *shape)`` to ``(J, *operand)``."""

    def overwrite(self, g: Tensor) -> list[Tensor]:
        """The same of a gradient that nobody else reads: it may be written to."""
        return self.gradient(g)

    def push(self, tangents: Sequence[Tensor | None]) -> Tensor:
        """``J t`` from a tangent for each operand (None: 0), at least one: the transpose of the gradient."""
        given = next(t for t in tangents if t is not None)
        with torch.enable_grad():
            g = given.new_zeros(1, *self.shape).requires_grad_()
            pairs = zip(self.gradient(g), tangents, strict=True)
            some = [(pulled, t) for pulled, t in pairs if t is not None and pulled.requires_grad]
        if not some:
            return g.detach()[0]
        pulled, along = zip(*some, strict=True)
        return torch.autograd.grad(pulled, g, [t[None] for t in along])[0][0]

    @abstractmethod
    def distribute(self, beta: Tensor, slope: Slope, h: Tensor | None, settings: Settings) -> Distributed:
        """Share the accumulated bias of each unit among its operands (mathematics, section 2, step 2).

        Args:
            beta: ``(J, *shape)``.
            slope: of the gate behind the operation: the layer is ``W = slope * A``.
            h: local bias of the layer where it is open, broadcastable to the output; None for 0.
            settings: the rule, memory budget and kernels.
        """


class Linked(LocalModel):
    """A model that keeps the autograd graph of its one operation, from the output to its ``operands``."""

    def __init__(self, operands: Sequence[Tensor], output: Tensor) -> None:
        """``operands`` are leaves of the graph that leads to ``output``."""
        super().__init__(output)
        self.operands, self.edge = operands, get_gradient_edge(output)

    def gradient(self, g: Tensor) -> list[Tensor]:
        """By autograd."""
        return pull_back(self.edge, self.operands, g)
