"""What a rule is, and what is asked of one: its form, its name, its temperature.

A rule looks at the *components* ``m[p, q] = W[p, q] u[q]`` of a unit ``p`` and at its local bias ``h[p]``, and says
which share ``alpha[p, q]`` of the unit's bias goes to each operand ``q``. Only non-zero components take part.
What happens to a unit without any is not the rule's business: see `biasprop.rules.shares`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ..errors import RuleError
from .forms import Form

__all__ = ["ByForm", "Rule", "check_temperature", "form_of", "name_of", "temperature_of"]


@runtime_checkable
class Rule(Protocol):
    """What a rule of the user's own must offer: one method."""

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """The shares of each unit.

        Args:
            m: components, shape ``(*units, K)``, float32 or float64; a component that does not take part is 0.
            h: local biases, shape ``units``.

        Returns:
            Shape ``(*units, K)``: 0 where ``m`` is 0, and summing to 1 over the last dimension (entries may be
            negative). Units whose components are all 0 are ignored; anything may be returned for them.
        """


class ByForm(ABC):
    """A rule that is one of the forms: alpha sums to 1 by construction, and the compiled kernels know it.

    A subclass gives `form`; its ``name`` and ``temperature``, where it has them, are what explanations record.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def form(self) -> Form:
        """The form of alpha, with this rule's parameters."""

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `Rule.alpha`."""
        return self.form.alpha(m, h)


def form_of(rule: Rule) -> Form | None:
    """The form of a rule; None for one that is known by its ``alpha`` alone, and takes the streaming kernels."""
    if isinstance(rule, ByForm) and type(rule).alpha is ByForm.alpha:
        return rule.form
    return None


def name_of(rule: Rule) -> str:
    """What an explanation calls its rule: ``"bias1"``, or the name of the user's own class."""
    return str(getattr(rule, "name", type(rule).__name__))


def temperature_of(rule: Rule) -> float | None:
    """T of a rule that has one."""
    temperature = getattr(rule, "temperature", None)
    return None if temperature is None else float(temperature)


def check_temperature(temperature: float) -> None:
    """Raise ``RuleError`` unless this is a positive number that float32 can divide by."""
    if not isinstance(temperature, int | float) or not 1e-30 <= temperature <= 1e30:
        raise RuleError(f"The temperature must be a positive number (1e-30 to 1e30), not {temperature!r}.")
