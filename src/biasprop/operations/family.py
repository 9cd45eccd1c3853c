"""What a family of operations is, and the table of all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import torch

from .call import Linearization
from .degrees import DegreeRule

__all__ = ["Family", "table_of"]


@dataclass(frozen=True)
class Family:
    """A kind of operation, said once: how it is linearised, how it scales, and the operations that belong to it.

    Attributes:
        linearize: from a call to its local linear model; parameters of a family are bound with ``functools.partial``.
        degree: from the degrees of the operands to that of the result.
        names: of ATen operations, with an overload where they differ (``max.other``), separated by blanks.
        others: functions that are no ATen operations.
    """

    linearize: Linearization
    degree: DegreeRule
    names: str = ""
    others: tuple[Callable[..., Any], ...] = ()

    @property
    def kind(self) -> Callable[..., Any]:
        """The linearisation without the parameters that are bound."""
        return _function(self.linearize)

    @property
    def name(self) -> str:
        """Of the linearisation."""
        return str(self.kind.__name__)

    @property
    def treatment(self) -> str:
        """How it is linearised, in a sentence."""
        return _first_paragraph(self.linearize)

    @property
    def scaling(self) -> str:
        """Its degree, in a few words."""
        return _first_paragraph(self.degree)


def _function(made: Callable[..., Any]) -> Callable[..., Any]:
    return made.func if isinstance(made, partial) else made


def _first_paragraph(made: Any) -> str:
    return " ".join((_function(made).__doc__ or "").strip().split("\n\n")[0].split())


def table_of(families: Iterable[Family]) -> Mapping[Any, Family]:
    """ATen operation (or overload, or function) -> its family; what an older torch does not have is left out."""
    aten = {
        attrgetter(name)(torch.ops.aten): family
        for family in families
        for name in family.names.split()
        if hasattr(torch.ops.aten, name.split(".")[0])
    }
    return MappingProxyType(aten | {function: family for family in families for function in family.others})
