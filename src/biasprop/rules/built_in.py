"""The three rules of the paper (Wang, Zhou & Bilmes, ICML 2019, Eq. 15-20), and how one asks for them by name."""

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ..errors import RuleError
from .forms import Proportional, Softmax
from .rule import ByForm, Rule, check_temperature

__all__ = ["NAMES", "Compensation", "EqualShare", "PositiveShare", "make_rule"]

NAMES: dict[str, type[ByForm]] = {}
"""The rules that have a name; filled in this module, where each is defined."""

R = TypeVar("R", bound=type[ByForm])


def _named(rule: R) -> R:
    NAMES[rule.name] = rule
    return rule


@_named
@dataclass(frozen=True)
class Compensation(ByForm):
    """Option 1, ``"bias1"`` (compensation, Eq. 15-17): softmax over q of ``-sign(h[p]) m[p,q] / T``.

    Operands that pull against the unit's bias are the ones it compensates. With ``sign(0) = 0`` a unit without a
    local bias shares equally among its non-zero components.
    """

    name: ClassVar[str] = "bias1"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def form(self) -> Softmax:
        """``-sign(h) m / T``."""
        return Softmax(-1 / self.temperature, signed=True)


@_named
@dataclass(frozen=True)
class EqualShare(ByForm):
    """Option 2, ``"bias2"`` (equal share, Eq. 18): softmax over q of ``(y[p]/n[p] - m[p,q]) / T``.

    The first term is the same for every q and cancels, so alpha = softmax(-m / T): it equals option 1 wherever
    h > 0. That is a fact of the paper's formula, not a choice of ours.
    """

    name: ClassVar[str] = "bias2"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def form(self) -> Softmax:
        """``-m / T``."""
        return Softmax(-1 / self.temperature, signed=False)


@_named
@dataclass(frozen=True)
class PositiveShare(ByForm):
    """Option 3, ``"bias3"`` (positive share, Eq. 19-20): ``max(m[p,q], 0) / sum_r max(m[p,r], 0)``.

    A unit with no positive component shares equally among its non-zero ones (0/0 in the paper; mathematics,
    section 3).
    """

    name: ClassVar[str] = "bias3"

    @property
    def form(self) -> Proportional:
        """``max(m, 0)``."""
        return Proportional()


def make_rule(rule: str | Rule, temperature: float = 1.0) -> Rule:
    """A rule from its name or the user's own rule object.

    Raises:
        RuleError: the name is unknown, the object has no ``alpha``, or the temperature is not a positive number, or
            is given for a rule that has none.
    """
    check_temperature(temperature)
    if isinstance(rule, str) and rule in NAMES:
        kind = NAMES[rule]
        if hasattr(kind, "temperature"):
            return kind(temperature=temperature)  # type: ignore[call-arg]
        if temperature != 1.0:
            raise RuleError(f"The rule {rule!r} has no temperature: leave temperature=1.0.")
        return kind()
    if isinstance(rule, Rule) and not isinstance(rule, type):
        if temperature != 1.0:
            raise RuleError("A rule object carries its own temperature: leave temperature=1.0.")
        return rule
    known = ", ".join(
        f"{name!r} ({(kind.__doc__ or '').partition('(')[2].partition(',')[0]})" for name, kind in NAMES.items()
    )
    raise RuleError(
        f"Unknown rule {rule!r}. Use {known}, or an object with a method alpha(m, h); see biasprop.rules.Rule."
    )
