"""Where bias enters: the table of bias sources (mathematics, section 5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from numpy import ndindex
from torch import Tensor

from ..errors import SourceError
from .targets import TargetAxis

__all__ = ["BiasSource", "Sources", "table_of"]


@dataclass(frozen=True, eq=False)
class BiasSource:
    """One place where bias enters: ``amount = <g, h>`` of the operation ``name``.

    In a sweep ``(J, N)``; in a table of `Sources` ``(N,)``, or ``(N, J)`` with several targets.
    """

    name: str
    operation: str
    amount: Tensor


def table_of(tables: Sequence[Sequence[BiasSource]], like: Sequence[Tensor], dim: int) -> list[BiasSource]:
    """One table of several, whose amounts ``(J, N)`` are put one behind the other along ``dim``.

    A source that is not in one of them has 0 there, in the shape of what is ``like`` its amounts.
    """
    rows = {source.name: source for table in (max(tables, key=len), *tables) for source in table}
    amounts = [{source.name: source.amount for source in table} for table in tables]
    zeros = [torch.zeros_like(one) for one in like]
    return [
        replace(row, amount=torch.cat([some.get(name, zero) for some, zero in zip(amounts, zeros, strict=True)], dim))
        for name, row in rows.items()
    ]


class Sources(Sequence[BiasSource]):
    """The bias sources of a batch, in the network's order; their amounts add up to b.

    ``amounts`` has shape ``(N, number of sources)``, or ``(N, J, number of sources)`` with several targets.
    """

    def __init__(self, table: Sequence[BiasSource], like: Tensor) -> None:
        """``like`` is the output, for a network without any source."""
        self._table = tuple(table)
        self.amounts = torch.stack([s.amount for s in table], -1) if table else like.new_zeros(*like.shape, 0)

    @classmethod
    def outward(cls, table: Sequence[BiasSource], axis: TargetAxis, value: Tensor) -> "Sources":
        """From amounts and f(x) ``(J, N)``."""
        return cls([replace(s, amount=axis.outward(s.amount)) for s in table], axis.outward(value))

    @property
    def names(self) -> list[str]:
        """The name of each source."""
        return [source.name for source in self._table]

    @property
    def operations(self) -> list[str]:
        """The operation of each source."""
        return [source.operation for source in self._table]

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[BiasSource]:
        return iter(self._table)

    @overload
    def __getitem__(self, key: int | str) -> BiasSource: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[BiasSource]: ...
    def __getitem__(self, key: int | str | slice) -> BiasSource | Sequence[BiasSource]:
        """A source by position or by name."""
        if isinstance(key, str):
            found = [source for source in self._table if source.name == key]
            if not found:
                raise SourceError(f"No bias source is called {key!r}. There are: {', '.join(self.names)}.")
            return found[0]
        return self._table[key]

    def __str__(self) -> str:
        width = max([len(n) for n in self.names] + [6])
        kinds = max([len(o) for o in self.operations] + [9])
        columns = list(ndindex(*self.amounts.shape[:-1]))[:4]
        titles = [f"example {c[0]}" if len(c) == 1 else f"{c[0]}, target {c[1]}" for c in columns]
        lines = [f"{'source':<{width}}  {'operation':<{kinds}}" + "".join(f"{t:>14}" for t in titles)]
        for source in self._table:
            amounts = "".join(f"{source.amount[c].item():>14.5g}" for c in columns)
            lines.append(f"{source.name:<{width}}  {source.operation:<{kinds}}{amounts}")
        totals = "".join(f"{self.amounts[c].sum().item():>14.5g}" for c in columns)
        return "\n".join([*lines, f"{'b':<{width}}  {'sum':<{kinds}}{totals}"])

    def __repr__(self) -> str:
        return str(self)
