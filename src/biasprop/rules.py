"""The three rules for alpha (spec section 3; Wang, Zhou & Bilmes, ICML 2019, Eq. 15-20).

A rule looks at the *components* ``m[p, q] = W[p, q] u[q]`` of a unit ``p`` and at its local bias ``h[p]``, and says
which share ``alpha[p, q]`` of the unit's bias goes to each operand ``q``. Only non-zero components take part.
What happens to a unit without any is not the rule's business: see `biasprop.shares`.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .errors import RuleError

__all__ = ["BUILT_IN", "Compensation", "EqualShare", "PositiveShare", "Rule", "make_rule"]


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


def _softmax_over_nonzero(scores: Tensor, m: Tensor) -> Tensor:
    scores = scores.masked_fill_(m == 0, -math.inf)
    if scores.stride(-1) != 1:  # a few operands, one behind the other in memory
        return torch.softmax(scores.movedim(-1, 0), 0).movedim(0, -1)
    return torch.softmax(scores, -1)


def _check_temperature(temperature: float) -> None:
    if not isinstance(temperature, int | float) or not 1e-30 <= temperature <= 1e30:
        raise RuleError(f"The temperature must be a positive number (1e-30 to 1e30), not {temperature!r}.")


@dataclass(frozen=True)
class Compensation:
    """Option 1, ``"bias1"`` (Eq. 15-17): softmax over q of ``-sign(h[p]) m[p,q] / T``.

    Operands that pull against the unit's bias are the ones it compensates. With ``sign(0) = 0`` a unit without a
    local bias shares equally among its non-zero components.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `Rule.alpha`."""
        return _softmax_over_nonzero(m * (h.sign() / -self.temperature).unsqueeze(-1), m)


@dataclass(frozen=True)
class EqualShare:
    """Option 2, ``"bias2"`` (Eq. 18): softmax over q of ``(y[p]/n[p] - m[p,q]) / T``.

    The first term is the same for every q and cancels, so alpha = softmax(-m / T): it equals option 1 wherever
    h > 0. That is a fact of the paper's formula, not a choice of ours.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `Rule.alpha`."""
        return _softmax_over_nonzero(m / -self.temperature, m)


@dataclass(frozen=True)
class PositiveShare:
    """Option 3, ``"bias3"`` (Eq. 19-20): ``max(m[p,q], 0) / sum_r max(m[p,r], 0)``.

    A unit with no positive component shares equally among its non-zero ones (0/0 in the paper; spec section 3).
    """

    def alpha(self, m: Tensor, h: Tensor) -> Tensor:
        """See `Rule.alpha`."""
        positive = m.clamp_min(0)
        total = positive.sum(-1, keepdim=True)
        none = total == 0
        if none.any():
            positive = torch.where(none, (m != 0).to(m.dtype), positive)
            total = torch.where(none, positive.sum(-1, keepdim=True), total)
        return positive / total


BUILT_IN = (Compensation, EqualShare, PositiveShare)
"""The paper's rules: alpha sums to 1 by construction, and compiled kernels know them."""


def make_rule(rule: "str | Rule", temperature: float = 1.0) -> Rule:
    """A rule from its name or the user's own rule object.

    Raises:
        RuleError: the name is unknown, the object has no ``alpha``, or the temperature is not a positive number.
    """
    _check_temperature(temperature)
    match rule:
        case "bias1":
            return Compensation(temperature)
        case "bias2":
            return EqualShare(temperature)
        case "bias3":
            return PositiveShare()
    if isinstance(rule, Rule) and not isinstance(rule, type):
        if temperature != 1.0:
            raise RuleError("A rule object carries its own temperature: leave temperature=1.0.")
        return rule
    raise RuleError(
        f"Unknown rule {rule!r}. Use 'bias1' (compensation), 'bias2' (equal share), 'bias3' (positive share), or an "
        "object with a method alpha(m, h); see biasprop.rules.Rule."
    )
