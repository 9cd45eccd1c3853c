"""One attributed tensor: an input, or a hidden tensor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from .targets import by_example

__all__ = ["Part"]


@dataclass(frozen=True, eq=False)
class Part:
    """One attributed tensor: its ``value``, its gradient ``weight`` and its ``beta``.

    ``value`` has any shape, with the examples along ``batch_dim``, ``batch_inner`` entries apart (None: the entries of
    each lie together); ``weight`` and ``beta`` are ``(J, *shape)`` for J targets. ``handed`` is what has come to it as
    mass of the weight part, ``(J, *shape)``, where there was a hand-over; ``weight`` is then what is left of it.
    """

    name: str
    value: Tensor
    weight: Tensor
    beta: Tensor
    batch_dim: int = 0
    is_input: bool = True
    batch_inner: int | None = None
    handed: Tensor | None = None

    @property
    def product(self) -> Tensor:
        """``w * x``, or what came of it by a hand-over, ``(J, *shape)``."""
        product = self.weight * self.value
        return product if self.handed is None else product + self.handed

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(size for dim, size in enumerate(self.value.shape) if dim != self.batch_dim)

    def by_example(self, values: Tensor, batch: int) -> Tensor:
        """A tensor like the weight with one row for each example, ``(J, batch, rest)``."""
        return by_example(values, self.batch_dim, batch, self.batch_inner)

    def of_target(self, j: int) -> "Part":
        """For the ``j``-th target alone."""
        return self._each(lambda values: values[j : j + 1])

    def of_example(self, i: int, batch: int) -> "Part":
        """For the ``i``-th example alone, as a batch of one."""

        def pick(values: Tensor, dim: int) -> Tensor:
            inner = values.shape[dim] // batch if self.batch_inner is None else self.batch_inner
            apart: Tensor = values.unflatten(dim, (-1, batch, inner))
            return apart.select(dim + 1, i).flatten(dim, dim + 1)

        cut = self._each(lambda values: pick(values, 1 + self.batch_dim))
        return replace(cut, batch_inner=None, value=pick(self.value, self.batch_dim))

    def _each(self, cut: Callable[[Tensor], Tensor]) -> "Part":
        """With everything that is ``(J, *shape)`` cut."""
        handed = None if self.handed is None else cut(self.handed)
        return replace(self, weight=cut(self.weight), beta=cut(self.beta), handed=handed)
