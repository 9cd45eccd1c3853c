"""How each kind of operation scales (mathematics, section 8; Hesse, Schaub-Meyer & Roth, NeurIPS 2021).

A tensor of the network has degree ``k`` if it becomes ``a^k`` times itself when the inputs become ``a`` times
themselves, for every ``a > 0``. Inputs have degree 1, constants degree 0, and zero any degree. Each family of
operations says what degree it gives and, where it gives none, why. The docstrings of these functions are what the table
of operations says under *degree*.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph import Node
from .call import Arguments

__all__ = ["Broken", "Degree", "DegreeRule", "Scaling"]

Degree = float | None
"""A number, or None for what is zero everywhere and so has every degree."""


class Broken(Exception):
    """No degree, for a reason; ``instead`` is what it would have if that were mended."""

    def __init__(self, reason: str, instead: Degree) -> None:
        self.reason, self.instead = reason, instead


@dataclass(frozen=True)
class Scaling(Arguments):
    """One call whose arguments are constants (evaluated) or nodes that depend on the inputs, with their degrees."""

    known: Mapping[Node, Degree]

    def degree(self, value: Any) -> Degree:
        """Of an argument: a node, a tensor, a number, or a list of these that have one degree in common."""
        if isinstance(value, Node):
            return self.known[value]
        if isinstance(value, list | tuple):
            return self.common(value)
        if value is None or (isinstance(value, Tensor) and not value.any()):
            return None
        return None if not isinstance(value, Tensor) and value == 0 else 0.0

    def common(self, values: Iterable[Any]) -> Degree:
        """The degree of a sum, or of tensors side by side: all that are not zero must have the same."""
        values = list(values)
        degrees = [self.degree(v) for v in values]
        active = {d for v, d in zip(values, degrees, strict=True) if isinstance(v, Node) and d is not None}
        constants = {d for v, d in zip(values, degrees, strict=True) if not isinstance(v, Node) and d is not None}
        return joined(active, constants, "adds a constant to what has degree {}")

    def product(self, values: Iterable[Any]) -> Degree:
        """The degree of a product: the sum of the factors'."""
        degrees = [self.degree(v) for v in values]
        return None if None in degrees else sum(d for d in degrees if d is not None)


DegreeRule = Callable[[Scaling], Degree]


def joined(active: set[float], constants: set[float], reason: str) -> Degree:
    """The one degree of all that is not zero.

    Raises:
        Broken: there are several.
    """
    found = active | constants
    if len(found) <= 1:
        return next(iter(found), None)
    listed = " and ".join(f"{d:g}" for d in sorted(active))
    raise Broken(f"brings together degrees {listed}" if len(active) > 1 else reason.format(listed), max(active))


def kept(call: Scaling) -> Degree:
    """that of its operand"""
    return call.degree(call.args[0])


def common(call: Scaling, positions: tuple[int, ...]) -> Degree:
    """the one that its operands have in common"""
    return call.common([call.argument(position) for position in positions])


def product(call: Scaling) -> Degree:
    """the sum of its factors'"""
    return call.product(call.args[:2])


def quotient(call: Scaling) -> Degree:
    """the difference of the two"""
    above, below = call.degree(call.args[0]), call.degree(call.args[1])
    if call.kwargs.get("rounding_mode"):
        return bounded(call)
    return None if above is None else above - (below or 0.0)


def contracted(call: Scaling) -> Degree:
    """the sum of its factors'"""
    return call.product(call.args[1] if isinstance(call.args[0], str) else call.args[:2])


def with_bias(call: Scaling, factors: tuple[int, int], bias: int) -> Degree:
    """that of its input, if it has no bias"""
    degree = call.product([call.args[factors[0]], call.argument(factors[1], "weight")])
    added = call.degree(call.argument(bias, "bias"))
    if added is None or degree is None or added == degree:
        return added if degree is None else degree
    raise Broken(f"its bias is a constant, and its input has degree {degree:g}", degree)


def plus_product(call: Scaling, inverse: bool = False) -> Degree:
    """that of its first operand and of the product, if these are the same"""
    first, one, two = (call.degree(call.argument(i)) for i in range(3))
    second = None if one is None or (two is None and not inverse) else one + (-1 if inverse else 1) * (two or 0.0)
    depends = isinstance(call.args[0], Node), any(isinstance(a, Node) for a in call.args[1:3])
    pairs = [(d, active) for d, active in zip((first, second), depends, strict=True) if d is not None]
    active, constants = ({d for d, depends in pairs if depends is which} for which in (True, False))
    return joined(active, constants, "adds a constant to what has degree {}")


def interpolated(call: Scaling) -> Degree:
    """that of its ends, if these and the weight's product with them have the same"""
    weight = call.degree(call.argument(2, "weight"))
    ends = call.common(call.args[:2])
    if weight in (0.0, None) or ends is None:
        return ends
    raise Broken(f"its weight has degree {weight:g}, and its ends {ends:g}", ends)


def batch_norm(call: Scaling) -> Degree:
    """that of its input, if it does not shift"""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    _, weight, bias, mean, variance = call.args[:5]
    eps = next((a for a in reversed(call.args) if isinstance(a, float)), 0.0)
    zero = torch.zeros_like(mean if isinstance(mean, Tensor) else variance)
    scale = (1.0 if weight is None else weight) / (variance + eps).sqrt()
    if ((zero if bias is None else bias) - (zero if mean is None else mean) * scale).any():
        raise Broken("it shifts by its bias and its running mean", degree)
    return degree


def bounded(call: Scaling) -> Degree:
    """0, if its input has degree 0: it saturates or switches on a scale of its own"""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    raise Broken(f"it has no degree on an input of degree {degree:g}", 0.0)


def curved(call: Scaling) -> Degree:
    """0, if its input has degree 0: it is curved or clipped at a scale of its own"""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    raise Broken(f"it is curved or clipped at a scale of its own, and its input has degree {degree:g}", degree)


def clamped(call: Scaling, low: int | None = None, high: int | None = None) -> Degree:
    """that of its input, if its bounds are 0 or infinite"""
    bounds = [call.argument(at, name) for at, name in ((low, "min"), (high, "max")) if at is not None]
    fine = all(b is None or call.degree(b) is None or (isinstance(b, float) and math.isinf(b)) for b in bounds)
    return kept(call) if fine else curved(call)


def threshold(call: Scaling) -> Degree:
    """that of its input, if threshold and value are 0"""
    return kept(call) if call.argument(1, "threshold") == call.argument(2, "value") == 0 else curved(call)


def power(call: Scaling) -> Degree:
    """that of its base, times a constant exponent"""
    base, exponent = call.args[:2]
    if isinstance(base, Node) and isinstance(exponent, int | float):
        return to_the(call, exponent)
    degree = next((d for d in map(call.degree, (exponent, base)) if d not in (0.0, None)), 0.0)
    if degree:
        raise Broken(f"it has no degree with a base or an exponent of degree {degree:g}", 0.0)
    return 0.0


def to_the(call: Scaling, exponent: float) -> Degree:
    """that of its operand, times the exponent"""
    degree = call.degree(call.args[0])
    return degree if degree is None else degree * exponent


def zeroth(_: Scaling) -> Degree:
    """0: the same at every scale"""
    return 0.0


def zero(_: Scaling) -> Degree:
    """every one: it is zero"""
    return None


def comparison(call: Scaling) -> Degree:
    """0, if both sides have the same"""
    try:
        call.common(call.args[:2])
    except Broken as broken:
        raise Broken(f"compares what scales differently: {broken.reason}", 0.0) from None
    return 0.0


def padded(call: Scaling) -> Degree:
    """that of its input, if it brings in no constant"""
    mode = call.argument(2, "mode", "constant")
    value = call.argument(3, "value") if isinstance(mode, str) else mode
    return call.common([call.args[0], value]) if mode == "constant" or not isinstance(mode, str) else kept(call)


def filled(call: Scaling) -> Degree:
    """that of its value"""
    return call.degree(call.args[1])


def normalised(call: Scaling) -> Degree:
    """0, were it not for its eps"""
    degree = call.degree(call.args[0])
    eps = next((a for a in reversed([*call.args, *call.kwargs.values()]) if isinstance(a, float)), None)
    if degree in (0.0, None) or eps == 0:
        return 0.0
    size = "its eps" if eps is None else f"eps = {eps:g}"
    raise Broken(f"without {size} it would have degree 0, whatever its input", 0.0)


def attention(call: Scaling) -> Degree:
    """that of the values, if the scores have degree 0"""
    query, key, value = (call.degree(a) for a in call.args[:3])
    score = None if query is None or key is None else query + key
    if score not in (0.0, None):
        raise Broken(f"softmax of scores of degree {score:g}", value)
    return value


def unknown(call: Scaling) -> Degree:
    """not known"""
    degrees = [call.degree(o) for o in call.node.operands if o in call.known]
    if all(d in (0.0, None) for d in degrees):
        return 0.0
    raise Broken("it is not known how this operation scales", max(d for d in degrees if d is not None))
