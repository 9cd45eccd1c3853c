"""`BiasBackprop`: the same explanation behind Captum's attribution interface (duck-typed, Captum is not imported)."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modes import DEFAULT, Linearization
from ..operations import Operations
from ..propagation import SourceFilter, Target
from ..rules import name_of
from .main_line import MEMORY_BUDGET, Check, Explainer
from .request import Rules, rules_of

__all__ = ["BiasBackprop", "CaptumMethod", "from_captum", "visible_to_noise_tunnel"]


def visible_to_noise_tunnel(method: Callable[..., Any]) -> Callable[..., Any]:
    """``captum.attr.NoiseTunnel`` looks for ``attribute.__wrapped__``."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return call


class CaptumMethod:
    """What Captum's tools look for in an attribution method, besides ``attribute``."""

    multiplies_by_inputs = True
    forward_func: nn.Module

    def has_convergence_delta(self) -> bool:
        """True: ``attribute`` can return one."""
        return True

    def get_name(self) -> str:
        """As Captum's methods do."""
        return type(self).__name__


class BiasBackprop(CaptumMethod):
    """Bias back-propagation (Wang, Zhou & Bilmes, ICML 2019) with Captum's semantics.

    Works inside ``captum.attr.NoiseTunnel``, ``captum.metrics.infidelity`` and ``sensitivity_max``. There is no
    baseline: the attributions sum to f(x), not to a difference.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rules = "bias1",
        temperature: float = 1.0,
        *,
        sources: SourceFilter = None,
        zero_others: bool = False,
        handover: str | Sequence[str] | None = None,
        linearization: Linearization = DEFAULT,
        operations: Operations | None = None,
        memory_budget: int = MEMORY_BUDGET,
        check: Check = "always",
    ) -> None:
        """The arguments are those of `biasprop.explain`.

        With ``sources`` the attributions add up to f(x) without what the other sources add.

        Raises:
            RuleError: there is no such rule.
        """
        self.forward_func = model
        self.rule, self.below = rules_of(rule, temperature)
        self.sources, self.zero_others, self.handover = sources, zero_others, handover
        self._explainer = Explainer(model, linearization, operations, memory_budget, check=check)

    def __repr__(self) -> str:
        return f"BiasBackprop({type(self.forward_func).__name__}, rule={name_of(self.rule)!r})"

    @visible_to_noise_tunnel
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        component: Literal["total", "weight", "bias"] = "total",
        **others: Any,
    ) -> Any:
        """Attributions like ``inputs``: a tensor for a tensor, a tuple for a tuple.

        Args:
            inputs: as in `biasprop.explain`.
            target: as in Captum; None for a model with one output per example. (Not ``"predicted"`` by default:
                Captum has no such target.)
            additional_forward_args: passed on, not attributed.
            return_convergence_delta: also return ``sum(w*x) + sum(beta) + unattributed - f(x)``, ``(N,)``; what was
                withheld counts as attributed.
            component: ``"total"`` for ``w * x + beta``, ``"weight"`` for ``w * x``, ``"bias"`` for ``beta``.
            others: what other methods of Captum take and this one has no use for; refused, by name.

        Raises:
            BiaspropError: as `biasprop.explain`; InputError for an unknown component or argument.
        """
        if others:
            raise InputError(f"BiasBackprop takes no {' or '.join(sorted(others))}: {_why(*others)}")
        if component not in ("total", "weight", "bias"):
            raise InputError(f"Unknown component {component!r}: use 'total', 'weight' or 'bias'.")
        explanation = self._explainer(
            inputs,
            from_captum(target),
            self.rule if self.below is None else (self.rule, self.below),
            additional_forward_args=additional_forward_args,
            sources=self.sources,
            zero_others=self.zero_others,
            handover=self.handover,
        )
        attribution = {
            "total": explanation.attribution,
            "weight": explanation.weight_attribution,
            "bias": explanation.bias_attribution,
        }[component]
        if not return_convergence_delta:
            return attribution
        return attribution, explanation.residual

    def compute_convergence_delta(
        self,
        attributions: Tensor | tuple[Tensor, ...],
        start_point: Any,
        end_point: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """``sum(attributions) - f(end_point)``, ``(N,)``.

        Args:
            attributions: of ``end_point``, as `attribute` gives them.
            start_point: of Captum's signature; must be None.
            end_point: the inputs.
            target: as in `attribute`.
            additional_forward_args: passed on.

        Raises:
            InputError: a start point is given.
        """
        if start_point is not None:
            raise InputError(f"BiasBackprop takes no start_point: {_why('baselines')} Give None.")
        each = attributions if isinstance(attributions, tuple) else (attributions,)
        total = torch.stack([one.flatten(1).sum(1) for one in each]).sum(0)
        return total - self._explainer.output(end_point, from_captum(target), additional_forward_args).to(total)


def _why(*names: str) -> str:
    """What to do without an argument of other methods."""
    if "baselines" in names or "n_steps" in names:
        return "there is no baseline and no path; w * x + beta adds up to f(x) itself, not to a difference of two."
    return "see its signature."


def from_captum(target: Any) -> Target:
    """Captum also takes a list of tuples, and a tensor of one element for the whole batch."""
    return int(target) if isinstance(target, Tensor) and target.numel() == 1 else target
