"""What is asked of an explainer."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RuleError, SourceError
from ..kernels import Settings
from ..propagation import SourceFilter, Target, Targets
from ..rules import Rule, make_rule, name_of
from .inputs import Given

__all__ = ["Request", "Rules", "names_of", "rules_of"]

Rules = str | Rule | tuple[str | Rule, str | Rule]
"""A rule, or one above and one below a hand-over."""


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of an explainer, checked."""

    given: Given
    target: Target
    targets: Targets
    settings: Settings
    sources: SourceFilter
    zero_others: bool
    handover: tuple[str, ...]
    below: Settings | None

    @property
    def rule(self) -> str:
        """Its name, or two."""
        names = [name_of(one.rule) for one in (self.settings, self.below) if one is not None]
        return "/".join(names)


def rules_of(rule: Rules, temperature: float) -> tuple[Rule, Rule | None]:
    """The rule above a hand-over, and that below it where it is another.

    Raises:
        RuleError: there is no such rule, or there are more than two.
    """
    if isinstance(rule, str) and "/" in rule:
        rule = tuple(rule.split("/"))  # type: ignore[assignment]
    if not isinstance(rule, tuple):
        return make_rule(rule, temperature), None
    if len(rule) != 2:
        raise RuleError(f"A rule, or a pair of one above and one below a hand-over: not {len(rule)} of them.")
    return make_rule(rule[0], temperature), make_rule(rule[1])


def names_of(argument: str, names: str | Sequence[str] | None) -> tuple[str, ...]:
    """The tensors that an argument names: one, several, or none.

    Raises:
        SourceError: it names no tensor, but is something else.
    """
    found = [names] if isinstance(names, str) else [] if names is None else names
    if not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        raise SourceError(f"{argument} must be the name of a tensor, or several: not {names!r}.")
    return tuple(found)
