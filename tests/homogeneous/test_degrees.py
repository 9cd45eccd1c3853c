"""The degree that each operation says it has, against what it does; and degrees on their way through a network."""

from operator import attrgetter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from biasprop import homogeneity, operations
from biasprop.attribution import captured
from biasprop.homogeneous.degrees import propagate

aten = torch.ops.aten


class Call(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


W1, W2, W3 = (torch.linspace(-1, 1, 2 * 3 * 2**d, dtype=torch.float64).reshape(2, 3, *[2] * d) for d in (1, 2, 3))
TURNED1, TURNED2, TURNED3 = (w.transpose(0, 1) for w in (W1, W2, W3))
INDEX = torch.tensor([0, 2])


def one(u):
    """One spatial dimension."""
    return u.flatten(2)


def three(u):
    """Three spatial dimensions."""
    return u.unflatten(3, (2, 3))


def matrix(u):
    """A tensor of two dimensions, the examples first."""
    return u.flatten(1)


# Operations that take more than one tensor, as functions of u, (2, 3, 6, 6): what is of degree 1.
CALLS = {
    "linear": lambda u: F.linear(u, torch.ones(2, 6).to(u)),
    "addmm": lambda u: torch.addmm(torch.ones(2).to(u), matrix(u), torch.ones(108, 2).to(u)),
    "mm": lambda u: torch.mm(matrix(u), torch.ones(108, 2).to(u)),
    "matmul": lambda u: u @ u.transpose(2, 3),
    "bmm": lambda u: torch.bmm(one(u), one(u).transpose(1, 2)),
    "mv": lambda u: torch.mv(matrix(u), torch.ones(108).to(u)),
    "einsum": lambda u: torch.einsum("nchw,nchv->nwv", u, u),
    "conv1d": lambda u: F.conv1d(one(u), W1.to(u)),
    "conv2d": lambda u: F.conv2d(u, W2.to(u)),
    "conv3d": lambda u: F.conv3d(three(u), W3.to(u)),
    "conv_transpose1d": lambda u: F.conv_transpose1d(one(u), TURNED1.to(u)),
    "conv_transpose2d": lambda u: F.conv_transpose2d(u, TURNED2.to(u)),
    "conv_transpose3d": lambda u: F.conv_transpose3d(three(u), TURNED3.to(u)),
    "avg_pool1d": lambda u: F.avg_pool1d(one(u), 2),
    "avg_pool2d": lambda u: F.avg_pool2d(u, 2),
    "avg_pool3d": lambda u: F.avg_pool3d(three(u), 2),
    "adaptive_avg_pool1d": lambda u: F.adaptive_avg_pool1d(one(u), 4),
    "adaptive_avg_pool2d": lambda u: F.adaptive_avg_pool2d(u, 4),
    "adaptive_avg_pool3d": lambda u: F.adaptive_avg_pool3d(three(u), 2),
    "max_pool1d": lambda u: F.max_pool1d(one(u), 2),
    "max_pool2d": lambda u: F.max_pool2d(u, 2),
    "max_pool3d": lambda u: F.max_pool3d(three(u), 2),
    "adaptive_max_pool2d": lambda u: F.adaptive_max_pool2d(u, 4),
    "upsample_linear1d": lambda u: F.interpolate(one(u), scale_factor=2, mode="linear"),
    "upsample_bilinear2d": lambda u: F.interpolate(u, scale_factor=2, mode="bilinear"),
    "upsample_trilinear3d": lambda u: F.interpolate(three(u), scale_factor=2, mode="trilinear"),
    "upsample_bicubic2d": lambda u: F.interpolate(u, scale_factor=2, mode="bicubic"),
    "upsample_nearest1d": lambda u: F.interpolate(one(u), scale_factor=2),
    "upsample_nearest2d": lambda u: F.interpolate(u, scale_factor=2),
    "upsample_nearest3d": lambda u: F.interpolate(three(u), scale_factor=2),
    "_upsample_nearest_exact1d": lambda u: F.interpolate(one(u), size=50, mode="nearest-exact"),
    "_upsample_nearest_exact2d": lambda u: F.interpolate(u, size=(9, 4), mode="nearest-exact"),
    "_upsample_nearest_exact3d": lambda u: F.interpolate(three(u), size=(4, 5, 6), mode="nearest-exact"),
    "reflection_pad2d": lambda u: F.pad(u, (1, 1, 1, 1), mode="reflect"),
    "replication_pad2d": lambda u: F.pad(u, (1, 1, 1, 1), mode="replicate"),
    "constant_pad_nd": lambda u: F.pad(u, (1, 1)),
    "constant_pad_nd by 1": lambda u: F.pad(u, (1, 1), value=1.0),
    "batch_norm": lambda u: F.batch_norm(u, torch.zeros(3).to(u), torch.ones(3).to(u)),
    "_native_batch_norm_legit_no_training": lambda u: aten._native_batch_norm_legit_no_training(
        u, None, None, torch.zeros(3).to(u), torch.ones(3).to(u), 0.1, 1e-5
    )[0],
    "batch_norm shifted": lambda u: F.batch_norm(u, torch.ones(3).to(u), torch.ones(3).to(u)),
    "layer_norm": lambda u: F.layer_norm(u, (6, 6)),
    "group_norm": lambda u: F.group_norm(u, 3),
    "scaled_dot_product_attention": lambda u: F.scaled_dot_product_attention(u, u, u),
    "add": lambda u: u + u.flip(3),
    "add a constant": lambda u: u + 1,
    "sub": lambda u: u - u.flip(3),
    "rsub": lambda u: torch.rsub(u, 1),
    "mul": lambda u: u * u.flip(3),
    "div": lambda u: u / (u.flip(3).abs() + u.abs()),
    "div by a constant": lambda u: u / 3,
    "div rounded": lambda u: torch.div(u, 0.1, rounding_mode="floor"),
    "max.other": lambda u: torch.max(u, u.flip(3)),
    "max.other of a constant": lambda u: torch.max(u, torch.full_like(u, 0.3)),
    "min.other": lambda u: torch.min(u, u.flip(3)),
    "maximum": lambda u: torch.maximum(u, u.flip(3)),
    "minimum of a constant": lambda u: torch.minimum(u, torch.full_like(u, 0.3)),
    "fmax": lambda u: torch.fmax(u, u.flip(3)),
    "fmin": lambda u: torch.fmin(u, u.flip(3)),
    "addcmul": lambda u: torch.addcmul(u * u, u, u.flip(3)),
    "addcmul of two degrees": lambda u: torch.addcmul(u, u, u.flip(3)),
    "addcdiv": lambda u: torch.addcdiv(u, u * u, u.abs() + u.flip(3).abs()),
    "addcdiv of two degrees": lambda u: torch.addcdiv(u, u, u.abs() + u.flip(3).abs()),
    "lerp": lambda u: torch.lerp(u, u.flip(3), 0.3),
    "lerp of a constant": lambda u: torch.lerp(u, torch.ones_like(u), 0.3),
    "lerp by itself": lambda u: torch.lerp(u, u.flip(3), u),
    "clamp": lambda u: u.clamp(-0.3, 0.3),
    "clamp at 0": lambda u: u.clamp(min=0),
    "clamp_min": lambda u: torch.clamp_min(u, 0.2),
    "clamp_max": lambda u: torch.clamp_max(u, 0.2),
    "clamp_max at 0": lambda u: torch.clamp_max(u, 0.0),
    "hardtanh": lambda u: F.hardtanh(u, -0.5, 0.5),
    "threshold": lambda u: F.threshold(u, 0.2, 0.0),
    "threshold at 0": lambda u: F.threshold(u, 0.0, 0.0),
    "leaky_relu": lambda u: F.leaky_relu(u, 0.3),
    "prelu": lambda u: F.prelu(u, torch.full((3,), 0.2).to(u)),
    "pow": lambda u: u**3,
    "pow of a constant": lambda u: 2.0**u,
    "remainder": lambda u: torch.remainder(u, 0.3),
    "fmod": lambda u: torch.fmod(u, 0.3),
    "softmax": lambda u: u.softmax(1),
    "log_softmax": lambda u: u.log_softmax(1),
    "logsumexp": lambda u: u.logsumexp(1),
    "cumsum": lambda u: u.cumsum(1),
    "norm": lambda u: torch.linalg.vector_norm(u, dim=1),
    "std": lambda u: u.std(1),
    "var": lambda u: u.var(1),
    "mean": lambda u: u.mean((2, 3)),
    "sum": lambda u: u.sum(1),
    "amax": lambda u: u.amax(1),
    "amin": lambda u: u.amin(1),
    "max over dim": lambda u: u.max(1)[0],
    "topk": lambda u: u.topk(2, 1)[0],
    "sort": lambda u: u.sort(1)[0],
    "median": lambda u: u.median(1)[0],
    "kthvalue": lambda u: u.kthvalue(2, 1)[0],
    "cat": lambda u: torch.cat([u, -u], 1),
    "cat with a constant": lambda u: torch.cat([u, torch.ones_like(u)], 1),
    "stack": lambda u: torch.stack([u, -u], 1),
    "where": lambda u: torch.where(u > 0, u, 0.1 * u),
    "where with a constant": lambda u: torch.where(u > 0, u, torch.ones_like(u)),
    "where above a constant": lambda u: torch.where(u > 0.5, u, 0.1 * u),
    "masked_fill": lambda u: u.masked_fill(u > 0, 0.0),
    "masked_fill by 1": lambda u: u.masked_fill(u > 0, 1.0),
    "index_fill": lambda u: u.index_fill(1, INDEX, 0.0),
    "scatter": lambda u: u.scatter(1, torch.zeros(2, 1, 6, 6, dtype=torch.long), u[:, 1:2]),
    "slice_scatter": lambda u: torch.slice_scatter(u, u[:, :2], 1, 0, 2),
    "select_scatter by 1": lambda u: torch.select_scatter(u, torch.ones(2, 6, 6).to(u), 1, 0),
    "index_put": lambda u: u.index_put((torch.arange(2),), u.flip(3)),
    "gather": lambda u: u.gather(1, torch.zeros(2, 1, 6, 6, dtype=torch.long)),
    "index_select": lambda u: u.index_select(1, INDEX),
    "index": lambda u: u[:, [0, 0, 2]],
    "roll": lambda u: u.roll(1, 2),
    "flip": lambda u: u.flip(3),
    "unfold": lambda u: u.unfold(3, 2, 1),
    "diagonal": lambda u: u.diagonal(0, 2, 3),
    "pixel_shuffle": lambda u: F.pixel_shuffle(u[:, :1].expand(2, 4, 6, 6), 2),
    "feature_alpha_dropout": lambda u: F.feature_alpha_dropout(u, 0.5, training=False),
    "dropout": lambda u: F.dropout(u, 0.5, training=False),
    "argmax": lambda u: u.argmax(1) * 1.0,
    "gt": lambda u: (u > u.flip(3)) * 1.0,
    "gt a constant": lambda u: (u > 0.3) * 1.0,
    "zeros_like": lambda u: torch.zeros_like(u),
    "ones_like": lambda u: torch.ones_like(u),
}
UNARY = [
    "neg",
    "relu",
    "abs",
    "relu6",
    "gelu",
    "silu",
    "hardswish",
    "elu",
    "selu",
    "celu",
    "mish",
    "softplus",
    "hardshrink",
    "softshrink",
    "sigmoid",
    "hardsigmoid",
    "tanh",
    "log_sigmoid",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "atan",
    "erf",
    "round",
    "floor",
    "ceil",
    "trunc",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sign",
    "detach",
    "tril",
    "triu",
]
POSITIVE = {"log", "log1p", "sqrt", "rsqrt"}
ALONE = {name: (lambda u, f=getattr(aten, name): f(u)) for name in UNARY}


FAST = {name for name in CALLS if name.split()[0] in ("max.other", "lerp", "addcmul", "addcdiv", "where", "clamp")}
FAST |= {"_upsample_nearest_exact3d", "feature_alpha_dropout", "pow of a constant"}


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in [*CALLS, *UNARY]]
)
def test_graph_and_trial_agree_on_every_operation(name):
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    x = x.abs() + 0.1 if name in POSITIVE else x
    report = homogeneity(Call((CALLS | ALONE)[name]).eval(), x)
    assert report.agree, str(report)
    assert report.homogeneous == (not report.breakers)


def test_most_of_the_table_is_tried():
    """Names with the function in front of what is said of its arguments."""
    tried = {name.split()[0] for name in CALLS} | set(UNARY)
    assert all(attrgetter(name)(aten) for name in tried)
    families = [family for family in operations.FAMILIES if family.names and not tried & set(family.names.split())]
    assert {family.names for family in families} == {"fill", "convolution", "im2col"}


def test_degrees_go_on_behind_what_breaks_them():
    """Every breaker is found, not only the first."""
    model = Call(lambda x: torch.sigmoid(F.relu(x + 1) * x) + F.gelu(x).abs()).eval()
    graph = captured(model, torch.randn(2, 3))[1]
    degrees, breakers = propagate(graph, graph.read_parameters(model))
    assert [b.operation for b in breakers] == ["add", "sigmoid", "gelu", "add"]
    assert "adds a constant to what has degree 1" in str(breakers[0])
    assert degrees == [1.0]
