"""Which mode each operation is linearised in: one for all, and others for single operations or modules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import InputError
from ..graph import Graph, Node, abbreviate

__all__ = ["DEFAULT", "Linearization", "Mode", "Modes", "modes_of"]

Mode = Literal["frozen", "tangent", "half"]

DEFAULT: Mode = "frozen"

Linearization = Mode | Mapping[Any, Mode]
"""A mode, or the modes of single operations and module paths; the default holds for the rest."""


@dataclass(frozen=True)
class Modes:
    """The mode of all operations but the ``exceptions``: by module path, tensor name or operation."""

    rest: Mode = DEFAULT
    exceptions: Mapping[Any, Mode] | None = None

    def __str__(self) -> str:
        if not self.exceptions:
            return self.rest
        return ", ".join([self.rest, *(f"{key} {mode}" for key, mode in self.exceptions.items())])

    def of(self, node: Node) -> Mode:
        """The mode of an operation; the longest path that fits comes first, then the operation."""
        given = self.exceptions or {}
        within = [key for key in given if isinstance(key, str) and _is_within(node, key)]
        if within:
            return given[max(within, key=len)]
        keys = (key for key in node.called if key in given)
        return given[first] if (first := next(keys, None)) is not None else self.rest

    def require_known(self, graph: Graph) -> None:
        """Raise ``InputError`` for an exception that nothing in the graph is."""
        for key in self.exceptions or {}:
            if not any(key in n.called or (isinstance(key, str) and _is_within(n, key)) for n in graph.nodes):
                names = sorted({n.operation for n in graph.nodes} | {n.path for n in graph.nodes if n.path})
                raise InputError(
                    f"linearization names {key!r}, which is no operation and no module of this network. There are: "
                    f"{abbreviate(names)}."
                )


def modes_of(linearization: Linearization) -> Modes:
    """The modes that the user means.

    Raises:
        InputError: a mode is unknown.
    """
    if isinstance(linearization, Mapping):
        given = dict(linearization)
        rest = given.pop("default", DEFAULT)
    else:
        given, rest = {}, linearization
    for mode in (rest, *given.values()):
        if mode not in get_args(Mode):
            known = ", ".join(repr(one) for one in get_args(Mode))
            raise InputError(
                f"linearization must be one of {known}, or a mapping from operations or module paths (and 'default') "
                f"to these, not {mode!r}."
            )
    return Modes(rest, given)


def _is_within(node: Node, path: str) -> bool:
    return bool(path) and (path in (node.path, node.name) or node.path.startswith(f"{path}."))
