"""Is a network nonnegatively homogeneous, ``F(a x) = a^k F(x)`` for ``a > 0``, and if not, because of what?

Found twice: from the graph, which names every operation that breaks it (`biasprop.homogeneous.degrees`), and by trying,
in float64 (mathematics, section 8). A homogeneous network has no bias, and its integrated gradients from the zero
baseline are ``x * dF/dx / k`` (Hesse, Schaub-Meyer & Roth, NeurIPS 2021): see `biasprop.XGradient`.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..attribution import captured
from .degrees import Breaker, propagate

__all__ = ["SCALES", "Homogeneity", "homogeneity"]

SCALES = (1e-3, 0.5, 2.0, 1e3)
"""What the input is scaled by to try it."""

TOLERANCE = 1e-9  # relative, in float64
TOLERANCE_IN_ITS_OWN_PRECISION = 1e-3


@dataclass(frozen=True)
class Homogeneity:
    """What `homogeneity` found.

    Attributes:
        degree: k, or None where the network has none.
        breakers: the operations that break homogeneity, in the network's order.
        errors: for each scale a, ``max |F(a x) - a^k F(x)|`` relative to ``max |a^k F(x)|``, with the degree that the
            network has, or would have without its breakers; in float64, on a copy of the model, unless the model's
            own code fixes another precision.
        tolerance: the error at which it still holds.
    """

    degree: float | None
    breakers: tuple[Breaker, ...]
    errors: dict[float, float] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    @property
    def homogeneous(self) -> bool:
        """Whether both ways say so."""
        return self.degree is not None and self.holds

    @property
    def holds(self) -> bool:
        """Whether it held at every scale that was tried."""
        return max(self.errors.values(), default=0.0) <= self.tolerance

    @property
    def agree(self) -> bool:
        """Whether graph and trial agree."""
        return (self.degree is not None) == self.holds

    def __repr__(self) -> str:
        count = len(self.breakers)
        degree = f"degree {self.degree:g}" if self.homogeneous else f"none, {count} breaker{'s' * (count != 1)}"
        return f"Homogeneity({degree}, tried to {max(self.errors.values(), default=0.0):.1e})"

    def __str__(self) -> str:
        worst = max(self.errors.values(), default=0.0)
        if self.homogeneous:
            return f"Homogeneous of degree {self.degree:g}: F(a x) = a^{self.degree:g} F(x), tried to {worst:.1e}."
        count = len(self.breakers)
        lines = [f"Not homogeneous: {count} operation{'s' * (count != 1)} break{'s' * (count == 1)} it"]
        lines += [f"  {breaker}" for breaker in self.breakers]
        if self.degree is not None:
            lines = [f"By its graph homogeneous of degree {self.degree:g}, but not when tried"]
        lines.append(f"  tried at a = {', '.join(f'{a:g}' for a in self.errors)}: F(a x) misses by up to {worst:.2g}")
        if not self.breakers or self.holds:
            lines.append("  graph and trial disagree: at this input the breaking operations do nothing")
        return "\n".join(lines)


def homogeneity(model: nn.Module, x: Tensor | tuple[Tensor, ...], additional_forward_args: Any = None) -> Homogeneity:
    """Whether ``model`` is nonnegatively homogeneous in its inputs, and what breaks it.

    Args:
        model: any ``torch.nn.Module`` in eval mode; nothing is left on it.
        x: input, or a tuple of inputs, of shape ``(N, ...)``; values where the network does something (not zeros).
        additional_forward_args: passed on, and not scaled.

    Raises:
        CaptureError: the model is in training mode or cannot be captured.
        InputError: x does not fit the model.
    """
    given, graph = captured(model, x, additional_forward_args)
    inputs, extras = given.inputs, given.extras
    parameters = graph.read_parameters(model)
    with torch.inference_mode(False), torch.no_grad():
        degrees, breakers = propagate(graph, parameters, extras)
        kinds = sorted({d for d in degrees if d is not None})
        if len(kinds) > 1:
            listed = " and ".join(f"{d:g}" for d in kinds)
            breakers = [*breakers, Breaker("output", "output", f"its parts have degrees {listed}")]
        k = kinds[-1] if kinds else 1.0
        try:
            exact = copy.deepcopy(model).double()
            errors, tolerance = _try(exact, k, *pytree.tree_map_only(Tensor, _double, (inputs, extras))), TOLERANCE
        except RuntimeError:  # a precision is written into the model's own code
            errors, tolerance = _try(model, k, inputs, extras), TOLERANCE_IN_ITS_OWN_PRECISION
    return Homogeneity(None if breakers else k, tuple(breakers), errors, tolerance)


def _try(model: nn.Module, k: float, inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> dict[float, float]:
    """The error at each scale, of the model itself."""

    def outputs(scale: float) -> list[Tensor]:
        flat = pytree.tree_leaves(model(*(scale * i for i in inputs), *extras))
        return [o.double() for o in flat if isinstance(o, Tensor)]

    once = outputs(1.0)
    return {a: _miss(outputs(a), [a**k * o for o in once]) for a in SCALES}


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _miss(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest error of an output, relative to its largest value."""
    pairs = zip(found, expected, strict=True)
    return max(((f - e).abs().max() / e.abs().max().clamp_min(1e-300)).item() for f, e in pairs)
