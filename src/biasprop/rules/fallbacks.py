"""From a rule to shares that always add up: alpha with every fallback of mathematics, section 3.

When a rule is 0/0 the paper is silent; here, in this order: a unit with no non-zero component shares equally over
its *structural support* (operands with a non-zero weight), one without support over everything *wired* to it, and
what is wired to nothing is *lost*, that is, returned as unattributed.
"""

import torch
from torch import Tensor

from ..errors import RuleError
from .rule import Rule, form_of

__all__ = ["shares"]


def shares(rule: Rule, m: Tensor, h: Tensor, mass: Tensor, support: Tensor, wired: Tensor) -> Tensor:
    """Alpha of each unit, complete: every row sums to 1, or to 0 where there is no mass or nothing is wired.

    Args:
        rule: which rule.
        m: components, ``(*units, K)``.
        h: local biases, ``units``.
        mass: whether there is anything to be shared (not 0), ``units``; 0 spares the search for a fallback.
        support: bool, broadcastable to ``m``: the weight is not zero (and the operand is in bounds).
        wired: bool, broadcastable to ``m``: the operand is in the unit's receptive field.

    Returns:
        ``(*units, K)``.

    Raises:
        RuleError: a rule of the user's own whose alpha does not sum to 1 over the non-zero components.
    """
    empty = ~m.any(-1, keepdim=True)
    form = form_of(rule)
    alpha = _checked(rule, rule.alpha(m.clone(), h), m, empty) if form is None else form.alpha(m, h)
    if not empty.any():
        return alpha
    if not (empty.squeeze(-1) & (mass != 0)).any():
        return alpha.masked_fill(empty, 0)
    fallback = torch.where(support.any(-1, keepdim=True), support, wired).to(m.dtype)
    fallback = fallback / fallback.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(empty, fallback, alpha)


def _checked(rule: Rule, alpha: Tensor, m: Tensor, empty: Tensor) -> Tensor:
    name = type(rule).__name__
    if not isinstance(alpha, Tensor) or alpha.shape != m.shape:
        raise RuleError(f"The rule {name} must return a tensor of shape {tuple(m.shape)}, like its components.")
    alpha = alpha.to(m.dtype).masked_fill(m == 0, 0)
    total = alpha.sum(-1, keepdim=True)
    tolerance = 1e-4 if m.dtype == torch.float32 else 1e-9
    wrong = ~((total - 1).abs() <= tolerance * (1 + alpha.abs().sum(-1, keepdim=True))) & ~empty
    if wrong.any():
        raise RuleError(
            f"The rule {name} is not a split: its alpha sums to {total[wrong][0].item():.6g} over the non-zero "
            "components of a unit, and must sum to 1 (and be 0 where m is 0)."
        )
    return alpha
