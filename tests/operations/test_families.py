"""Every operation family: complete, w = gradient, b = f - J x, sources add up, examples independent."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_complete, assert_exact, build, randomise
from torch import nn

import biasprop
from biasprop.modes import modes_of, rewrite
from biasprop.propagation import linearize
from biasprop.propagation.forward import pushed


class Wrap(nn.Module):
    """conv -> the operation under test -> linear, so that bias arrives at it from above and below."""

    def __init__(self, function, channels=4, size=6, out=None):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        with torch.no_grad():
            width = function(torch.zeros(2, channels, size, size)).flatten(1).shape[1]
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.function(self.conv(x)).flatten(1))


K = torch.linspace(-1, 1, 6)


M = torch.linspace(-1, 1, 30).reshape(6, 5)


CASES = {
    "relu": torch.relu,
    "in place": lambda z: F.relu_(z * 1.0),
    "leaky relu": lambda z: F.leaky_relu(z, 0.2),
    "prelu": lambda z: F.prelu(z, torch.tensor([0.1, 0.2, 0.3, -0.4], dtype=z.dtype)),
    "relu6": F.relu6,
    "hardtanh": lambda z: F.hardtanh(z, -0.3, 0.2),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "abs": torch.abs,
    "clamp": lambda z: z.clamp(-0.2, 0.3),
    "clamp min": lambda z: z.clamp_min(0.1),
    "square": lambda z: z**2,
    "exp": torch.exp,
    "round": lambda z: torch.round(z) + z,
    "reciprocal": lambda z: 1 / (z + 5),
    "threshold": lambda z: F.threshold(z, 0.1, -0.5),
    "max with constant": lambda z: torch.maximum(z, torch.tensor(0.1, dtype=z.dtype)),
    "shift": lambda z: z + 0.3,
    "one minus relu": lambda z: 1 - torch.relu(1 - z),
    "scale": lambda z: -z * 2.5 / 3,
    "scale by a tensor": lambda z: z * K.to(z) + K[:4, None, None].to(z) * z,
    "scale by whole numbers": lambda z: z * torch.arange(-2, 4) / torch.tensor([[1], [2], [3], [1], [2], [3]]),
    "scale by a mask": lambda z: z * (K > 0),
    "scaled upwards": lambda z: z.mean((2, 3), keepdim=True) * K.to(z) + z.mean((2, 3), keepdim=True) / (K.to(z) + 2),
    "broadcast constant": lambda z: z.mean((2, 3), keepdim=True) + K.to(z),
    "residual": lambda z: torch.relu(z) + z,
    "difference": lambda z: torch.relu(z) - 0.5 * z.flip(3),
    "weighted sum": lambda z: torch.add(torch.relu(z), z, alpha=-0.7),
    "weighted constant": lambda z: torch.add(z, K.to(z), alpha=-0.7),
    "weighted subtraction": lambda z: torch.sub(K.to(z), z, alpha=0.3) + torch.sub(z.relu(), z, alpha=2),
    "weighted number": lambda z: torch.ops.aten.add.Scalar(z, 0.5, 2) - torch.ops.aten.sub.Scalar(z, 0.2, -3) / 4,
    "reversed subtraction": lambda z: torch.rsub(z, z.relu(), alpha=0.4) + torch.rsub(z, 1),
    "batch norm": lambda z: F.batch_norm(z, K[:4].to(z), K[:4].to(z) + 2, K[2:].to(z), K[1:5].to(z), eps=0.1),
    "batch norm without weights": lambda z: F.batch_norm(z, K[:4].to(z), K[:4].to(z) + 2),
    "batch norm without shift": lambda z: F.batch_norm(z, 0 * K[:4].to(z), K[:4].to(z) + 2, K[2:].to(z)),
    "batch norm of an exported graph": lambda z: torch.ops.aten._native_batch_norm_legit_no_training(
        z, K[2:].to(z), K[1:5].to(z), K[:4].to(z), K[:4].to(z) + 2, 0.1, 0.3
    )[0],
    "sum with itself": lambda z: z + z,
    "broadcast sum": lambda z: torch.relu(z) + z.mean((2, 3), keepdim=True),
    "product": lambda z: z * torch.sigmoid(z.mean((2, 3), keepdim=True)),
    "square by product": lambda z: z * z,
    "quotient": lambda z: z / (2 + torch.sigmoid(z.flip(2))),
    "maximum": lambda z: torch.maximum(z, z.flip(3) * 0.9),
    "max pool": lambda z: F.max_pool2d(z, 3, 2, 1),
    "max pool 1d": lambda z: F.max_pool1d(z.flatten(2), 3, 2, 1, dilation=2),
    "adaptive max pool": lambda z: F.adaptive_max_pool2d(z, (2, 4)),
    "amax": lambda z: z.amax((2, 3)),
    "max over dim": lambda z: z.max(1)[0],
    "top k": lambda z: z.flatten(2).topk(5, 2)[0],
    "sort": lambda z: z.sort(3)[0],
    "average pool": lambda z: F.avg_pool2d(z, 3, 2, 1),
    "average pool, padding not counted": lambda z: F.avg_pool2d(z, 3, 2, 1, count_include_pad=False),
    "average pool, ceil": lambda z: F.avg_pool2d(z, (4, 3), 3, (2, 1), ceil_mode=True),
    "average pool, divisor": lambda z: F.avg_pool2d(z, 2, divisor_override=3),
    "average pool 1d": lambda z: F.avg_pool1d(z.flatten(2), 5, 3, 2),
    "average pool 3d": lambda z: F.avg_pool3d(z[:, None], 2),
    "adaptive average pool": lambda z: F.adaptive_avg_pool2d(z, (4, 5)),
    "adaptive average pool up": lambda z: F.adaptive_avg_pool2d(z, 7),
    "mean": lambda z: z.mean((2, 3)),
    "mean over channels": lambda z: z.mean(1, keepdim=True),
    "sum": lambda z: z.sum((1, 3)),
    "bilinear": lambda z: F.interpolate(z, scale_factor=2, mode="bilinear"),
    "bilinear, aligned": lambda z: F.interpolate(z, size=(9, 4), mode="bilinear", align_corners=True),
    "bicubic": lambda z: F.interpolate(z, size=(9, 4), mode="bicubic"),
    "linear upsampling": lambda z: F.interpolate(z.flatten(2), scale_factor=1.5, mode="linear"),
    "nearest": lambda z: F.interpolate(z, scale_factor=2),
    "nearest exact": lambda z: F.interpolate(z, size=(9, 4), mode="nearest-exact"),
    "matmul": lambda z: z @ M.to(z),
    "matmul from the left": lambda z: M.T.to(z) @ z,
    "matrix times vector": lambda z: z @ K.to(z),
    "conv 1d": lambda z: F.conv1d(z.flatten(2), torch.ones(2, 4, 3, dtype=z.dtype), torch.ones(2, dtype=z.dtype)),
    "conv 3d": lambda z: F.conv3d(z[:, None], torch.linspace(-1, 1, 16, dtype=z.dtype).reshape(2, 1, 2, 2, 2)),
    "same padding": lambda z: F.conv2d(z, torch.linspace(-1, 1, 64, dtype=z.dtype).reshape(4, 4, 2, 2), padding="same"),
    "transposed": lambda z: F.conv_transpose2d(
        z,
        torch.linspace(-1, 1, 72, dtype=z.dtype).reshape(4, 2, 3, 3),
        stride=2,
        padding=1,
        output_padding=1,
        groups=2,
    ),
    "permute": lambda z: z.permute(0, 3, 1, 2).reshape(len(z), -1),
    "cat": lambda z: torch.cat([z, torch.relu(z), torch.ones(len(z), 2, 6, 6, dtype=z.dtype)], 1),
    "stack": lambda z: torch.stack([z, z * 2], 1),
    "split": lambda z: torch.cat(z.split([1, 3], 1)[::-1], 1),
    "chunk": lambda z: z.chunk(2, 1)[0] - z.chunk(2, 1)[1],
    "unbind": lambda z: z.unbind(1)[2],
    "slices": lambda z: z[:, 1:, ::2, -3:],
    "index": lambda z: z[:, [0, 0, 3]],
    "gather": lambda z: z.gather(3, torch.tensor([0, 0, 5]).expand(len(z), 4, 6, 3)),
    "expand": lambda z: z.mean(1, keepdim=True).expand(-1, 3, -1, -1),
    "repeat": lambda z: z.repeat(1, 2, 1, 1),
    "roll and flip": lambda z: z.roll(1, 2).flip(1),
    "pad": lambda z: F.pad(z, (1, 2, 0, 1), value=0.7),
    "reflect": lambda z: F.pad(z, (1, 2, 0, 1), mode="reflect"),
    "where": lambda z: torch.where(z > 0, z, 0.1 * z),
    "where constant": lambda z: torch.where(z > 0, z, 0.4),
    "masked fill": lambda z: z.masked_fill(torch.eye(6, dtype=torch.bool), -0.3),
    "assignment": lambda z: torch.cat([z[:, :1] * 0 + 0.5, z[:, 1:]], 1),
    "pixel shuffle": lambda z: F.pixel_shuffle(z, 2),
    "dropout in eval": lambda z: F.dropout(z, 0.5, training=False),
    "detach": lambda z: z + z.detach(),
    "cast": lambda z: z.to(torch.float64) * 2,
    "zeros like": lambda z: z + torch.zeros_like(z) + torch.ones_like(z),
    "softmax gate by hand": lambda z: z / (z.abs() + 1),
    "sinh, atan, rrelu": lambda z: torch.sinh(z) + torch.atan(z) + F.rrelu(z, training=False),
    "glu": lambda z: F.glu(z, 1),
    "softmax": lambda z: z.softmax(-1),
    "log softmax": lambda z: z.log_softmax(1),
    "logsumexp": lambda z: z.logsumexp((1, 2)),
    "layer norm": lambda z: F.layer_norm(z, (6, 6), K.to(z).expand(6, 6), K.to(z)[:, None].expand(6, 6)),
    "group norm": lambda z: F.group_norm(z, 2, torch.arange(4).to(z), torch.arange(4).to(z) / 7),
    "instance norm": lambda z: F.instance_norm(z, weight=torch.arange(4).to(z), bias=torch.arange(4).to(z) / 7),
    "rms norm": lambda z: F.rms_norm(z, (6,), K.to(z)),
    "normalize": lambda z: F.normalize(z, dim=1),
    "norms": lambda z: torch.cat([z.norm(dim=1), z.norm(1, 2), z.norm(3, 2), z.norm(torch.inf, 2)], 1),
    "std and var": lambda z: z.std((2, 3)) + z.var((2, 3), correction=0) + torch.var_mean(z, (2, 3))[0],
    "cumsum": lambda z: z.cumsum(2),
    "prod": lambda z: z.prod(1),
    "einsum": lambda z: torch.einsum("nchw,nchv,ck->nkwv", z, z, M[:4].to(z)),
    "matmul of two": lambda z: z @ z.mT,
    "bmm": lambda z: torch.bmm(z[:, 0], z[:, 1]),
    "a matrix for each example": lambda z: (z.detach() > 0).to(z) @ z,
    "broadcast product": lambda z: z[:, :1] @ z,
    "baddbmm": lambda z: torch.baddbmm(z[:, 0], z[:, 1], z[:, 2], beta=0.5, alpha=2.0),
    "attention": lambda z: F.scaled_dot_product_attention(z, z.flip(1), z + 1),
    "causal attention": lambda z: F.scaled_dot_product_attention(z, z, z, is_causal=True, scale=0.3),
    "masked attention": lambda z: F.scaled_dot_product_attention(z, z, z, torch.eye(6).roll(1, 0).tril() == 0),
    "grouped queries": lambda z: F.scaled_dot_product_attention(z, z[:, :2], z[:, 2:], enable_gqa=True),
    "attention with a bias": lambda z: F.scaled_dot_product_attention(z, z, z, attn_mask=M[:, :1].to(z) + z[:, :1]),
    "linear attention": lambda z: (F.elu(z) + 1) @ ((F.elu(z).mT + 1) @ z) / (F.elu(z) + 1).sum((2, 3), keepdim=True),
    "bilinear form": lambda z: F.bilinear(z, z.flip(1), torch.arange(108).reshape(3, 6, 6).to(z) / 100, K[:3].to(z)),
    "cosine similarity": lambda z: F.cosine_similarity(z, z.flip(1), dim=2),
    "pairwise distance": lambda z: F.pairwise_distance(z, z.flip(1)),
    "index add": lambda z: z.index_add(1, torch.tensor([0, 2, 0]), z[:, 1:], alpha=2.0),
    "scatter add": lambda z: z.scatter_add(2, (torch.arange(216).reshape(1, 4, 9, 6) % 6)[:, :, :6].expand_as(z), z),
    "addcmul": lambda z: torch.addcmul(z, z.flip(2), z.flip(3), value=0.5),
    "fold": lambda z: F.fold(F.unfold(z, 3, 1, 1, 2), (6, 6), 3, 1, 1, 2),
    "type as": lambda z: z.type_as(M.double()) * 2,
    "powers": lambda z: z.pow(3) + (z + 9).pow(-0.5) + (z + 9).sqrt().reciprocal(),
}


@cache
def captured(name):
    """An explainer and three examples: capturing takes longer than all the rest."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = randomise(Wrap(CASES[name])).double()
        x = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    return biasprop.explainer(model, x, linearization="tangent"), x


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
@pytest.mark.parametrize("name", CASES)
def test_family(name, rule):
    explainer, x = captured(name)
    explanation = assert_exact(explainer, x, 1, rule=rule)
    alone = explainer(x[1:2], 1, rule=rule)
    torch.testing.assert_close(alone.bias_attribution[0], explanation.bias_attribution[1], rtol=0, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_family_pushes_tangents_as_forward_mode_does(name):
    explainer, x = captured(name)
    graph = explainer.graph(explainer.check(x))
    tape = linearize(graph, graph.read_parameters(explainer.model), (x,))
    (found,) = pushed(tape, graph.outputs, {graph.inputs[0]: x})
    torch.testing.assert_close(found, explainer.split(x)[0])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", ["frozen", pytest.param("half", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_family_in_other_modes(name, mode):
    explainer, x = captured(name)
    graph = explainer.graph(explainer.check(x))
    if rewrite(graph, modes_of(mode)) is graph:
        return  # the same graph in every mode
    assert_complete(explainer.linearized(mode), x, 1, mode)


@pytest.mark.parametrize("name", ["pad", "where constant", "masked fill", "cat"])
def test_bias_at_constants_is_unattributed_never_lost(name):
    explainer, x = captured(name)
    explanation = explainer(x, 0)
    assert (explanation.unattributed != 0).all()
    assert explanation.completeness_error.max() < 1e-11


def test_product_gives_half_to_each_factor():
    class Product(nn.Module):
        def forward(self, a, b):
            return a * b

    a, b = torch.tensor([[2.0, -3.0, 0.0]]), torch.tensor([[5.0, 1.0, 4.0]])
    for rule in ("bias1", "bias2", "bias3"):
        explanation = biasprop.explain(Product().eval(), (a, b), lambda y: y.sum(1), rule=rule, linearization="tangent")
        for beta in explanation.bias_attribution:
            torch.testing.assert_close(beta, -a * b / 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda z: F.max_pool2d(F.pad(z, (1, 1, 1, 1), value=-float("inf")), 2),
        lambda z: z.masked_fill(torch.eye(6, dtype=torch.bool), -float("inf")).amax((2, 3)),
        lambda z: torch.where(z > 0, torch.log(z), z),
        lambda z: torch.max(z, torch.full_like(z, 0.3)),
        lambda z: torch.cat([z[:, :1], z[:, 1:]], 1).transpose(0, 1).transpose(0, 1),
        lambda z: torch.lerp(z, z.flip(3), 0.3),
        lambda z: torch.addcmul(z, z.flip(2), z.flip(3), value=0.5),
        lambda z: torch.addcdiv(z, z.flip(2), 2 + z.square()),
        lambda z: F.feature_alpha_dropout(z, 0.5, training=False),
        lambda z: F.interpolate(z[:, None], size=(3, 9, 4), mode="nearest-exact"),
    ],
)
def test_infinite_padding_masked_logarithms_and_overloads(function):
    model, x = build(function)
    assert_exact(model, x, lambda y: y.sum(1))


def test_slice_assignment():
    class Assigns(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 4)

        def forward(self, x):
            out = torch.ones(len(x), 6, dtype=x.dtype)
            out[:, :2] = self.a(x)
            out[:, 2:5] = torch.relu(self.b(x))[:, 1:]
            return out * 2

    assert_exact(randomise(Assigns()).double(), torch.randn(3, 3).double(), lambda y: y.sum(1))
