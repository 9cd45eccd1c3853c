"""One attributed tensor: an input, or a hidden tensor."""

from dataclasses import dataclass, replace

from torch import Tensor

from .targets import by_example

__all__ = ["Part"]


@dataclass(frozen=True, eq=False)
class Part:
    """One attributed tensor: its ``value``, its gradient ``weight`` and its ``beta``.

    ``value`` has any shape, with the examples along ``batch_dim``, ``batch_inner`` entries apart (None: the entries of
    each lie together); ``weight`` and ``beta`` are ``(J, *shape)`` for J
    targets.
    """

    name: str
    value: Tensor
    weight: Tensor
    beta: Tensor
    batch_dim: int = 0
    is_input: bool = True
    batch_inner: int | None = None

    @property
    def product(self) -> Tensor:
        """``w * x``, ``(J, *shape)``."""
        return self.weight * self.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(size for dim, size in enumerate(self.value.shape) if dim != self.batch_dim)

    def by_example(self, values: Tensor, batch: int) -> Tensor:
        """A tensor like the weight with one row for each example, ``(J, batch, rest)``."""
        return by_example(values, self.batch_dim, batch, self.batch_inner)

    def of_target(self, j: int) -> "Part":
        """For the ``j``-th target alone."""
        return replace(self, weight=self.weight[j : j + 1], beta=self.beta[j : j + 1])

    def of_example(self, i: int, batch: int) -> "Part":
        """For the ``i``-th example alone, as a batch of one."""

        def pick(values: Tensor, dim: int) -> Tensor:
            inner = values.shape[dim] // batch if self.batch_inner is None else self.batch_inner
            apart: Tensor = values.unflatten(dim, (-1, batch, inner))
            return apart.select(dim + 1, i).flatten(dim, dim + 1)

        weight, beta = (pick(values, 1 + self.batch_dim) for values in (self.weight, self.beta))
        return replace(self, batch_inner=None, value=pick(self.value, self.batch_dim), weight=weight, beta=beta)
