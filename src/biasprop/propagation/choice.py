"""Which bias sources take part (mathematics, section 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import SourceError
from ..graph import Node, abbreviate

__all__ = ["EVERY", "TARGET", "Choice", "SourceFilter", "choose"]

SourceFilter = str | Sequence[str] | Callable[[str, str], bool] | None

TARGET = "target"
"""Name and operation of the bias source that a target has which is not linear in the output."""


@dataclass(frozen=True)
class Choice:
    """Sources by a predicate ``(name, operation) -> bool``.

    ``zero_others``: the others also count as 0 in the sign of a unit's local bias, which option 1 looks at.
    """

    predicate: Callable[[str, str], bool]
    zero_others: bool = False

    def takes(self, name: str, operation: str) -> bool:
        """Whether this source is attributed; otherwise its bias is withheld."""
        return self.predicate(name, operation)

    def counts(self, node: Node) -> bool:
        """Whether the intercept of an operation counts in the local bias of its layer."""
        return not self.zero_others or self.predicate(node.name, node.operation)


EVERY = Choice(lambda name, operation: True)


def choose(sources: SourceFilter, names: Sequence[str], zero_others: bool = False) -> Choice:
    """The choice that the user's ``sources=`` means, among those of these ``names``.

    Raises:
        SourceError: it is no name, pattern or predicate, or a pattern matches nothing.
    """
    if sources is None:
        return EVERY
    if callable(sources):
        return Choice(sources, zero_others)
    patterns = [sources] if isinstance(sources, str) else sources
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise SourceError(f"sources must be names, patterns or a predicate (name, operation) -> bool, not {sources!r}.")
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in [*names, TARGET]):
            raise SourceError(f"No bias source matches {pattern!r}. There are: {abbreviate(names)}.")
    return Choice(lambda name, operation: any(_matches(name, p) for p in patterns), zero_others)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
