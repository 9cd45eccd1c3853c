"""Every operation family: complete, w = gradient, b = f - J x, sources add up, examples independent."""

import operator

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_exact, randomise
from torch import nn

import biasprop
from biasprop import UnsupportedOperation, operations


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
    "broadcast constant": lambda z: z.mean((2, 3), keepdim=True) + K.to(z),
    "residual": lambda z: torch.relu(z) + z,
    "difference": lambda z: torch.relu(z) - 0.5 * z.flip(3),
    "weighted sum": lambda z: torch.add(torch.relu(z), z, alpha=-0.7),
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
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("rule", ["bias1", "bias3"])
@pytest.mark.parametrize("name", CASES)
def test_family(name, rule):
    model = randomise(Wrap(CASES[name])).double()
    x = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    explanation = assert_exact(model, x, 1, rule=rule)
    alone = biasprop.explain(model, x[1:2], 1, rule=rule)
    torch.testing.assert_close(alone.bias_attribution[0], explanation.bias_attribution[1], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["pad", "where constant", "masked fill", "cat"])
def test_bias_at_constants_is_unattributed_never_lost(name):
    explanation = biasprop.explain(randomise(Wrap(CASES[name])).double(), torch.randn(2, 3, 6, 6).double(), 0)
    assert (explanation.unattributed != 0).all()
    assert explanation.completeness_error.max() < 1e-11


def test_product_gives_half_to_each_factor():
    class Product(nn.Module):
        def forward(self, a, b):
            return a * b

    a, b = torch.tensor([[2.0, -3.0, 0.0]]), torch.tensor([[5.0, 1.0, 4.0]])
    for rule in ("bias1", "bias2", "bias3"):
        explanation = biasprop.explain(Product().eval(), (a, b), lambda y: y.sum(1), rule=rule)
        for beta in explanation.bias_attribution:
            torch.testing.assert_close(beta, -a * b / 2)


def test_unsupported_operation_is_named_with_its_module_path():
    class Inner(nn.Module):
        def forward(self, z):
            return torch.cumsum(z, 1)

    model = nn.Sequential(nn.Linear(3, 3), Inner()).eval()
    with pytest.raises(UnsupportedOperation, match=r"cumsum.*1\.cumsum"):
        biasprop.explain(model, torch.randn(1, 3), 0)


def test_attention_product_is_refused_not_guessed():
    class Attention(nn.Module):
        def forward(self, z):
            return (z[..., None] @ z[:, None]).flatten(1)

    with pytest.raises(UnsupportedOperation, match="matmul"):
        biasprop.explain(Attention().eval(), torch.randn(2, 3), 0)


def test_operation_that_mixes_examples_is_refused():
    class Mixes(nn.Module):
        def forward(self, z):
            return z - z.mean(0)

    with pytest.raises(UnsupportedOperation, match="mixes the examples"):
        biasprop.explain(Mixes().eval(), torch.randn(4, 3), 0)


def test_a_rule_for_a_new_operation_is_one_line():
    model = nn.Sequential(nn.Linear(4, 4), Erfinv(), nn.Linear(4, 2)).double().eval()
    x = torch.rand(2, 4).double() / 4
    with pytest.raises(UnsupportedOperation, match="erfinv"):
        biasprop.explain(model, x, 0)
    explanation = biasprop.explain(model, x, 0, operations={torch.ops.aten.erfinv: operations.gate})
    assert explanation.completeness_error.max() < 1e-12
    assert "1.erfinv" in explanation.sources.names


class Erfinv(nn.Module):
    def forward(self, z):
        return torch.erfinv(z.tanh() * 0.5)


def test_every_family_is_documented():
    for family in operations.FAMILIES:
        assert family.treatment
        assert family.scaling
        for name in family.names.split():
            assert operations.TABLE[operator.attrgetter(name)(torch.ops.aten)] is family
