"""Degrees of homogeneity, operation by operation (spec section 8; Hesse, Schaub-Meyer & Roth, NeurIPS 2021).

A tensor of the network has degree ``k`` if it becomes ``a^k`` times itself when the inputs become ``a`` times
themselves, for every ``a > 0``. Inputs have degree 1, constants degree 0, and zero any degree. Each family of
operations says what degree it gives and, where it gives none, why; the propagation then goes on as if that had been
mended, so that every operation that breaks homogeneity is found and not only the first.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from .capture import Graph, Node

__all__ = ["Breaker", "Degree", "propagate"]

Degree = float | None
"""A number, or None for what is zero everywhere and so has every degree."""


@dataclass(frozen=True)
class Breaker:
    """An operation that breaks homogeneity: where (module path), what, and why."""

    name: str
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.operation}): {self.reason}"


class _Broken(Exception):
    """No degree, for a reason; ``instead`` is what it would have if that were mended."""

    def __init__(self, reason: str, instead: Degree) -> None:
        self.reason, self.instead = reason, instead


@dataclass(frozen=True)
class _Scaling:
    """One call whose arguments are constants (evaluated) or nodes that depend on the inputs, with their degrees."""

    node: Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    known: Mapping[Node, Degree]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

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
        found = active | constants
        if len(found) <= 1:
            return next(iter(found), None)
        instead = max(active)
        if len(active) > 1:
            raise _Broken(f"brings together degrees {_listed(active)}", instead)
        raise _Broken(f"adds a constant to what has degree {_listed(active)}", instead)


Rule = Callable[[_Scaling], Degree]


def _listed(degrees: Iterable[float]) -> str:
    return " and ".join(f"{d:g}" for d in sorted(degrees))


def _keep(call: _Scaling) -> Degree:
    """Linear without a constant, or linear on each side of 0, or a selection: the degree of the operand."""
    return call.degree(call.args[0])


def _is_node(value: Any) -> bool:
    return isinstance(value, Node)


def _sum(call: _Scaling) -> Degree:
    return call.common(call.args[:2])


def _cat(call: _Scaling) -> Degree:
    return call.common(call.args[0])


def _product(call: _Scaling) -> Degree:
    first, second = call.degree(call.args[0]), call.degree(call.args[1])
    return None if first is None or second is None else first + second


def _quotient(call: _Scaling) -> Degree:
    above, below = call.degree(call.args[0]), call.degree(call.args[1])
    if call.kwargs.get("rounding_mode"):
        return _bounded(call)
    return None if above is None else above - (below or 0.0)


def _affine(weight: int, bias: int) -> Rule:
    def rule(call: _Scaling) -> Degree:
        """A product with a weight, and a bias that must have the product's degree."""
        factors = [call.degree(call.args[0]), call.degree(call.argument(weight, "weight"))]
        degree = None if None in factors else sum(d for d in factors if d is not None)
        added = call.degree(call.argument(bias, "bias"))
        if added is None or degree is None or added == degree:
            return added if degree is None else degree
        raise _Broken(f"its bias is a constant, and its input has degree {degree:g}", degree)

    return rule


def _addmm(call: _Scaling) -> Degree:
    factors = [call.degree(call.args[1]), call.degree(call.args[2])]
    degree = None if None in factors else sum(d for d in factors if d is not None)
    added = call.degree(call.args[0])
    if added is None or degree is None or added == degree:
        return added if degree is None else degree
    raise _Broken(f"its bias is a constant, and its input has degree {degree:g}", degree)


def _batch_norm(call: _Scaling) -> Degree:
    """In eval mode a scale and a shift: homogeneous if the shift, bias and running mean together, is zero."""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    _, weight, bias, mean, variance = call.args[:5]
    eps = next((a for a in reversed(call.args) if isinstance(a, float)), 0.0)
    zero = torch.zeros_like(mean if isinstance(mean, Tensor) else variance)
    scale = (1.0 if weight is None else weight) / (variance + eps).sqrt()
    if ((zero if bias is None else bias) - (zero if mean is None else mean) * scale).any():
        raise _Broken("it shifts by its bias and its running mean", degree)
    return degree


def _bounded(call: _Scaling) -> Degree:
    """What saturates or switches on a scale of its own (sigmoid, softmax): only of degree 0."""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    raise _Broken(f"it has no degree on an input of degree {degree:g}", 0.0)


def _gate(call: _Scaling) -> Degree:
    """What is like ReLU for large inputs and curved or clipped otherwise (GELU, ReLU6): only of degree 0."""
    degree = call.degree(call.args[0])
    if degree in (0.0, None):
        return 0.0
    raise _Broken(f"it is curved or clipped at a scale of its own, and its input has degree {degree:g}", degree)


def _clamp(call: _Scaling) -> Degree:
    low = call.argument(1, "max" if "max" in call.node.operation else "min")
    high = call.argument(2, "max") if call.node.operation in ("clamp", "hardtanh") else None
    fine = all(b is None or call.degree(b) is None or (isinstance(b, float) and math.isinf(b)) for b in (low, high))
    return _keep(call) if fine else _gate(call)


def _threshold(call: _Scaling) -> Degree:
    return _keep(call) if call.argument(1, "threshold") == call.argument(2, "value") == 0 else _gate(call)


def _extremum(call: _Scaling) -> Degree:
    others = [a for a in call.args[:2] if isinstance(a, Node | Tensor)]
    return call.common(others)


def _power(call: _Scaling) -> Degree:
    base, exponent = call.args[:2]
    if isinstance(base, Node) and isinstance(exponent, int | float):
        degree = call.degree(base)
        return degree if degree is None else degree * exponent
    return _bounded(call)


def _to_the(exponent: float) -> Rule:
    def rule(call: _Scaling) -> Degree:
        """A power."""
        degree = call.degree(call.args[0])
        return degree if degree is None else degree * exponent

    return rule


def _of_degree_zero(_: _Scaling) -> Degree:
    """The sign, an index, a comparison with 0: the same at every scale."""
    return 0.0


def _comparison(call: _Scaling) -> Degree:
    try:
        call.common(call.args[:2])
    except _Broken as broken:
        raise _Broken(f"compares what scales differently: {broken.reason}", 0.0) from None
    return 0.0


def _where(call: _Scaling) -> Degree:
    return call.common(call.args[1:3])


def _masked(call: _Scaling) -> Degree:
    return call.common([call.args[0], call.args[2]])


def _pad(call: _Scaling) -> Degree:
    mode = call.argument(2, "mode", "constant")
    value = call.argument(3, "value") if isinstance(mode, str) else mode
    return call.common([call.args[0], value]) if mode == "constant" or not isinstance(mode, str) else _keep(call)


def _written(call: _Scaling) -> Degree:
    """Something written into something: ``x[...] = value``."""
    return call.common([a for a in pytree.tree_leaves(call.args, is_leaf=_is_node) if isinstance(a, Node | Tensor)])


def _filled(call: _Scaling) -> Degree:
    return call.degree(call.args[1])


def _normalisation(call: _Scaling) -> Degree:
    """Layer, group and root-mean-square norm would have degree 0, were it not for ``eps``."""
    degree = call.degree(call.args[0])
    eps = next((a for a in reversed([*call.args, *call.kwargs.values()]) if isinstance(a, float)), None)
    if degree in (0.0, None) or eps == 0:
        return 0.0
    size = "its eps" if eps is None else f"eps = {eps:g}"
    raise _Broken(f"without {size} it would have degree 0, whatever its input", 0.0)


def _attention(call: _Scaling) -> Degree:
    query, key, value = (call.degree(a) for a in call.args[:3])
    score = None if query is None or key is None else query + key
    if score not in (0.0, None):
        raise _Broken(f"softmax of scores of degree {score:g}", value)
    return value


def _matrix_product(call: _Scaling) -> Degree:
    tensors = call.args[1] if isinstance(call.args[0], str) else call.args[:2]
    degrees = [call.degree(t) for t in tensors]
    return None if None in degrees else sum(d for d in degrees if d is not None)


FAMILIES: Mapping[Rule, str] = MappingProxyType(
    {
        _affine(1, 2): "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
        _addmm: "addmm",
        _matrix_product: "matmul mm bmm mv dot einsum outer",
        _product: "mul multiply",
        _quotient: "div divide true_divide",
        _sum: "add sub rsub",
        _cat: "cat concat stack",
        _extremum: "maximum minimum fmax fmin",
        _batch_norm: "batch_norm",
        _keep: "relu leaky_relu prelu abs neg max_pool1d max_pool2d max_pool3d max_pool1d_with_indices "
        "max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum cumsum "
        "amax amin max min topk sort median kthvalue norm linalg_vector_norm std "
        "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d upsample_nearest1d "
        "upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
        "view _unsafe_view reshape view_as flatten unflatten permute transpose t mT numpy_T swapaxes movedim squeeze "
        "unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile split split_with_sizes chunk "
        "tensor_split unsafe_split unsafe_chunk unbind slice select narrow index index_select gather take_along_dim "
        "roll flip clone contiguous alias detach lift_fresh_copy _to_copy to dropout feature_dropout alpha_dropout "
        "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
        "pixel_shuffle pixel_unshuffle channel_shuffle unfold diagonal tril triu as_strided",
        _clamp: "clamp clamp_min clamp_max hardtanh",
        _threshold: "threshold",
        _gate: "relu6 gelu silu hardswish elu selu celu mish softplus hardshrink softshrink",
        _bounded: "sigmoid hardsigmoid tanh softmax _softmax log_softmax _log_softmax log_sigmoid exp expm1 log log1p "
        "sin cos erf round floor ceil trunc remainder fmod logsumexp cosh sinh tan atan",
        _power: "pow",
        _to_the(2): "square var",
        _to_the(0.5): "sqrt",
        _to_the(-0.5): "rsqrt",
        _to_the(-1): "reciprocal",
        _of_degree_zero: "sign argmax argmin argsort zeros_like ones_like full_like empty_like new_zeros new_ones "
        "new_full new_empty sym_size logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or isnan any "
        "all",
        _comparison: "gt ge lt le eq ne",
        _where: "where",
        _masked: "masked_fill",
        _filled: "fill",
        _pad: "pad constant_pad_nd",
        _written: "slice_scatter select_scatter index_put index_fill masked_scatter scatter diagonal_scatter overwrite",
        _normalisation: "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm "
        "_fused_rms_norm",
        _attention: "scaled_dot_product_attention",
    }
)
"""The families, and the ATen operations that belong to each."""

TABLE: Mapping[str, Rule] = MappingProxyType({name: rule for rule, names in FAMILIES.items() for name in names.split()})


def propagate(
    graph: Graph, parameters: Mapping[Node, Tensor], extras: tuple[Any, ...] = ()
) -> tuple[list[Degree], list[Breaker]]:
    """The degree of each output of the network, as if mended, and the operations that break homogeneity.

    Args:
        graph: the captured network.
        parameters: values of its parameters; a bias that is zero breaks nothing.
        extras: values of the further arguments, which do not scale with the inputs.
    """
    values: dict[Node, Any] = {**parameters, **dict(zip(graph.extras, pytree.tree_leaves(extras), strict=True))}
    known: dict[Node, Degree] = dict.fromkeys(graph.inputs, 1.0)
    breakers: list[Breaker] = []
    for node in graph.nodes:
        args, kwargs = map_aggregate((node.args, node.kwargs), lambda a: values.get(a, a) if isinstance(a, Node) else a)
        if not any(operand in known for operand in node.operands()):
            out = node.function(*args, **kwargs)
            values[node] = out if node.index is None else out[node.index]
            continue
        try:
            known[node] = _rule(node)(_Scaling(node, args, kwargs, known))
        except _Broken as broken:
            known[node] = broken.instead
            breakers.append(Breaker(node.name, node.operation, broken.reason))
    outputs = [known.get(o, 0.0) if isinstance(o, Node) else 0.0 for o in graph.outputs]
    return outputs, breakers


def _rule(node: Node) -> Rule:
    def unknown(call: _Scaling) -> Degree:
        degrees = [call.degree(o) for o in call.node.operands() if o in call.known]
        if all(d in (0.0, None) for d in degrees):
            return 0.0
        raise _Broken("it is not known how this operation scales", max(d for d in degrees if d is not None))

    return TABLE.get(node.operation, unknown)
