"""Operations that are taken apart when a model is captured, each into simpler ones that have a local model.

What an operation of several steps means to an attribution, its steps say: layer norm is a centring, a product with a
statistic, a scale and a shift; attention is a product of probabilities and values (mathematics, section 10). Each
function takes the arguments of its ATen operation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["decompositions"]

aten = torch.ops.aten


def layer_norm(
    u: Tensor, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn: bool = True
) -> Tensor:
    """Centred, divided by the standard deviation, scaled and shifted."""
    return _affine(_standardised(u, range(-len(shape), 0), eps), weight, bias)


def group_norm(
    u: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn: bool = True
) -> Tensor:
    """Layer norm over groups of channels and all positions."""
    grouped = u.unflatten(1, (groups, -1))
    normed = _standardised(grouped, range(2, grouped.dim()), eps).flatten(1, 2)
    return _affine(normed, *(_by_channel(p, u.dim()) for p in (weight, bias)))


def instance_norm(
    u: Tensor,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    own: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Tensor:
    """Layer norm over the positions of each channel; batch norm where it keeps statistics."""
    if not own:
        return F.batch_norm(u, mean, variance, weight, bias, False, momentum, eps)
    return _affine(_standardised(u, range(2, u.dim()), eps), *(_by_channel(p, u.dim()) for p in (weight, bias)))


def rms_norm(u: Tensor, shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """Divided by the root of the mean square, and scaled."""
    eps = torch.finfo(u.dtype).eps if eps is None else eps
    square = (u * u).mean(list(range(-len(shape), 0)), True)
    return _affine(u * torch.rsqrt(square + eps), weight, None)


def _standardised(u: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    centred = u - u.mean(list(dims), True)
    return centred * torch.rsqrt((centred * centred).mean(list(dims), True) + eps)


def _affine(u: Tensor, weight: Any, bias: Any) -> Tensor:
    u = u if weight is None else u * weight
    return u if bias is None else u + bias


def _by_channel(parameter: Any, dims: int) -> Any:
    return None if parameter is None else parameter.reshape(-1, *[1] * (dims - 2))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(scale q k^T + mask) v``; a query to which everything is masked gets 0."""
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = (query @ key.transpose(-1, -2)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if causal:
        seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        scores = scores.masked_fill(seen.logical_not(), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf) if mask.dtype == torch.bool else scores + mask
    shares = aten._safe_softmax(scores, -1)
    out = (torch.dropout(shares, dropout, True) if dropout else shares) @ value
    if out.dim() != 4:
        return out
    return out.transpose(1, 2).contiguous().transpose(1, 2)  # as the fused kernels lay it out: it may be viewed so


def logsumexp(u: Tensor, dims: Any, keepdim: bool = False) -> Tensor:
    """Its tangent: the mean of u weighted by the softmax, and the rest, which is held."""
    dims = [dims] if isinstance(dims, int) else list(dims)
    top = u.amax(dims, True)
    top = torch.where(top.isfinite(), top, 0).detach()
    powers = (u - top).exp()
    total = powers.sum(dims, True)
    shares = (powers / total).detach()
    linear = (shares * u.masked_fill(shares == 0, 0)).sum(dims, True)
    out = linear + (total.log() + top - linear).detach()
    return out if keepdim else out.squeeze(dims)


def log_softmax(u: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """``u - logsumexp(u)``."""
    u = u.to(dtype) if isinstance(dtype, torch.dtype) else u
    return u - logsumexp(u, dim, True)


def vector_norm(u: Tensor, order: Any = 2, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The root of the sum of squares, or of other powers."""
    u = u if dtype is None else u.to(dtype)
    dims = list(range(u.dim())) if dims is None or dims == [] else dims
    order = 2 if order is None else order
    if math.isinf(order):
        return u.abs().amax(dims, keepdim) if order > 0 else u.abs().amin(dims, keepdim)
    if order == 0:
        return (u != 0).to(u.dtype).sum(dims, keepdim)
    if order == 1:
        return u.abs().sum(dims, keepdim)
    if order == 2:
        return (u * u).sum(dims, keepdim).sqrt()
    return u.abs().pow(order).sum(dims, keepdim).pow(1 / order)


def variance(
    u: Tensor, dims: Any = None, unbiased: Any = True, keepdim: bool = False, *, correction: Any = 1
) -> Tensor:
    """The mean square of what is centred."""
    if isinstance(dims, bool):  # var(u, unbiased)
        dims, unbiased = None, dims
    dims = list(range(u.dim())) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    correction = 1 if correction is None else correction
    count = math.prod(u.shape[d] for d in dims) - (correction if unbiased else 0)
    centred = u - u.mean(dims, True)
    spread: Tensor = (centred * centred).sum(dims, keepdim) / count
    return spread


def deviation(u: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The root of the variance."""
    return variance(u, *args, **kwargs).sqrt()


def variance_and_mean(u: Tensor, dims: Any = None, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """The mean, and the mean square of what is centred."""
    keepdim = kwargs.get("keepdim", args[1] if len(args) > 1 else False)
    over = list(range(u.dim())) if dims is None or dims == [] else dims
    return variance(u, dims, *args, **kwargs), u.mean(over, keepdim)


def gated_linear_unit(u: Tensor, dim: int = -1) -> Tensor:
    """``a * sigmoid(b)`` of the two halves."""
    a, b = u.chunk(2, dim)
    return a * b.sigmoid()


def cumulative_sum(u: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """A product with a triangular matrix; of whole numbers in float64, which has matrix products everywhere."""
    u = _counted(u, dtype)
    size, kind = u.shape[dim], u.dtype if u.is_floating_point() else torch.float64
    ones = torch.ones(size, size, dtype=kind, device=u.device).triu()
    return (u.to(kind).movedim(dim, -1) @ ones).movedim(-1, dim).to(u.dtype)


def _counted(u: Tensor, dtype: Any) -> Tensor:
    """In the type in which torch sums and multiplies along a dimension."""
    if dtype is not None:
        return u.to(dtype)
    return u if u.is_floating_point() else u.long()


def product_along(u: Tensor, dim: int, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """One factor after the other."""
    factors = _counted(u, dtype).unbind(dim)
    out = factors[0]
    for factor in factors[1:]:
        out = out * factor
    return out.unsqueeze(dim) if keepdim else out


def index_add(u: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Plus a product with the matrix of zeros and ones that the index is."""
    places = torch.arange(u.shape[dim], device=u.device)
    matrix = (places[:, None] == index[None]).to(u.dtype)
    added = (source.movedim(dim, -1) @ matrix.T).movedim(-1, dim)
    return u + (added if alpha == 1 else alpha * added)


def scatter_add(u: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Plus, along the dimension, a product with a matrix for each of the other positions."""
    moved, rest = index.movedim(dim, -1), u.movedim(dim, -1)
    if moved.shape[:-1] != rest.shape[:-1]:
        return aten.scatter_add.default(u, dim, index, source)  # type: ignore[no-any-return]
    places = torch.arange(rest.shape[-1], device=u.device)
    matrix = (places[:, None] == moved.unsqueeze(-2)).to(u.dtype)
    values = source.movedim(dim, -1)[..., : moved.shape[-1]]
    return u + (matrix @ values.unsqueeze(-1)).squeeze(-1).movedim(-1, dim)


def scaled_sum(u: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta u + alpha a @ b``."""
    product = a @ b
    return (u if beta == 1 else u * beta) + (product if alpha == 1 else product * alpha)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """A product, broadcast."""
    return a[:, None] * b


def bilinear(u: Tensor, v: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    """``sum_ij u_i W_ij v_j + bias``: a linear layer, and a product with the other factor."""
    outs, width, other = weight.shape
    rows = F.linear(u, weight.transpose(1, 2).reshape(outs * other, width)).unflatten(-1, (outs, other))
    out: Tensor = (rows * v.unsqueeze(-2)).sum(-1)
    return out if bias is None else out + bias


def scaled_product_added(u: Tensor, a: Tensor, b: Tensor, *, value: Any = 1) -> Tensor:
    """``u + value a b``."""
    product = a * b
    return u + (product if value == 1 else value * product)


def type_as(u: Tensor, other: Tensor) -> Tensor:
    """A cast: of the other tensor, its type alone."""
    return u.to(other.dtype)


def fold(u: Tensor, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """A transposed convolution that puts each row where it belongs."""
    taps = math.prod(kernel)
    channels = u.shape[1] // taps
    lengths = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    spare = [
        n - ((length - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, length, k, d, p, s in zip(size, lengths, kernel, dilation, padding, stride, strict=True)
    ]
    one = torch.eye(taps, dtype=u.dtype, device=u.device).reshape(taps, 1, *kernel)
    weight = one.repeat(channels, 1, 1, 1)
    return F.conv_transpose2d(u.unflatten(2, lengths), weight, None, stride, padding, spare, channels, dilation)


def einsum(equation: str, operands: Sequence[Tensor], path: Any = None) -> Tensor:
    """Batched matrix products, two operands at a time."""
    terms, out = _spelled_out(equation.replace(" ", ""), operands)
    left, term = operands[0], terms[0]
    for i, (right, other) in enumerate(zip(operands[1:], terms[1:], strict=True)):
        later = set(out).union(*terms[i + 2 :])
        left, term = _contracted(left, term, right, other, later)
    left, term = _diagonal(left, term)
    surplus = [d for d, name in enumerate(term) if name not in out]
    left = left.sum(surplus) if surplus else left
    kept = [name for name in term if name in out]
    return left.permute([kept.index(name) for name in out])


def _spelled_out(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], str]:
    """A letter for every dimension, those of the ellipsis included."""
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in equation]
    dots = [t.dim() - len(term.replace("...", "")) for t, term in zip(operands, terms, strict=True)]
    names = "".join(spare[: max(dots, default=0)])
    full = [t.replace("...", names[len(names) - n :] if n else "") for t, n in zip(terms, dots, strict=True)]
    if not arrow:
        letters = "".join(full)
        out = names + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in names))
    return full, out.replace("...", names)


def _diagonal(u: Tensor, term: str) -> tuple[Tensor, str]:
    """Where a letter stands twice, the diagonal."""
    for name in dict.fromkeys(term):
        while term.count(name) > 1:
            first, second = term.index(name), term.rindex(name)
            u = u.diagonal(0, first, second)
            term = "".join(c for d, c in enumerate(term) if d not in (first, second)) + name
    return u, term


def _contracted(a: Tensor, left: str, b: Tensor, right: str, later: set[str]) -> tuple[Tensor, str]:
    """Two operands become one, ``(batch, of the left alone, of the right alone)``."""
    (a, left), (b, right) = _diagonal(a, left), _diagonal(b, right)
    for term, other in ((left, right), (right, left)):
        surplus = [d for d, c in enumerate(term) if c not in other and c not in later]
        if surplus and term is left:
            a, left = a.sum(surplus), "".join(c for d, c in enumerate(left) if d not in surplus)
        elif surplus:
            b, right = b.sum(surplus), "".join(c for d, c in enumerate(right) if d not in surplus)
    both = [c for c in left if c in right]
    batch, over = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    a = a.permute([left.index(c) for c in (*batch, *rows, *over)])
    b = b.permute([right.index(c) for c in (*batch, *over, *columns)])
    sizes = [max_size(m, n) for m, n in zip(a.shape[: len(batch)], b.shape[: len(batch)], strict=True)]
    heights, widths = a.shape[len(batch) : len(batch) + len(rows)], b.shape[len(batch) + len(over) :]
    k = math.prod(a.shape[len(batch) + len(rows) :])
    product = a.reshape(*a.shape[: len(batch)], math.prod(heights), k) @ b.reshape(
        *b.shape[: len(batch)], k, math.prod(widths)
    )
    return product.reshape(*sizes, *heights, *widths), "".join([*batch, *rows, *columns])


def max_size(one: Any, other: Any) -> Any:
    """Of two sizes that are broadcast, the one that is not 1."""
    return other if isinstance(one, int) and one == 1 else one


OURS: dict[str, Callable[..., Any]] = {
    "layer_norm.default": layer_norm,
    "group_norm.default": group_norm,
    "instance_norm.default": instance_norm,
    "rms_norm.default": rms_norm,
    "scaled_dot_product_attention.default": attention,
    "logsumexp.default": logsumexp,
    "log_softmax.int": log_softmax,
    "_log_softmax.default": log_softmax,
    "linalg_vector_norm.default": vector_norm,
    "norm.Scalar": vector_norm,
    "norm.ScalarOpt_dim": vector_norm,
    "norm.ScalarOpt_dim_dtype": vector_norm,
    **{f"var.{overload}": variance for overload in ("default", "dim", "correction")},
    **{f"std.{overload}": deviation for overload in ("default", "dim", "correction")},
    **{f"var_mean.{overload}": variance_and_mean for overload in ("default", "dim", "correction")},
    "glu.default": gated_linear_unit,
    "cumsum.default": cumulative_sum,
    "prod.dim_int": product_along,
    "index_add.default": index_add,
    "scatter_add.default": scatter_add,
    "baddbmm.default": scaled_sum,
    "outer.default": outer,
    "bilinear.default": bilinear,
    "einsum.default": einsum,
    "type_as.default": type_as,
    "addcmul.default": scaled_product_added,
    "col2im.default": fold,
}
"""Operations that are taken apart by a function of ours."""

TORCHS = [
    "cosine_similarity.default",
    "pairwise_distance.default",
    "lstm.input",
    "gru.input",
    "rnn_tanh.input",
    "rnn_relu.input",
    "lstm_cell.default",
    "gru_cell.default",
    "rnn_tanh_cell.default",
    "rnn_relu_cell.default",
    "linalg_norm.default",
]
"""Operations that PyTorch itself says how to take apart."""


@cache
def decompositions() -> Mapping[Any, Callable[..., Any]]:
    """ATen overload -> the function that takes it apart; what an older torch does not have is left out."""
    torchs = torch.export.default_decompositions()
    found = {op: made for name, made in OURS.items() if (op := _overload(name)) is not None}
    found |= {op: torchs[op] for op in map(_overload, TORCHS) if op in torchs}
    return MappingProxyType(found)


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet, None), overload, None)
