"""Homogeneity by graph and by trial: what breaks it is named."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomise
from torch import nn

import biasprop
from biasprop import UncenteredBatchNorm2d, homogeneity


class Function(nn.Module):
    """conv without bias -> the function -> linear without bias."""

    def __init__(self, function, **modules):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)
        with torch.no_grad():
            width = self.function(self, torch.ones(2, 4, 6, 6)).flatten(1).shape[1]
        self.head = nn.Linear(width, 3, bias=False)

    def forward(self, x):
        return self.head(self.function(self, self.conv(x)).flatten(1))


def squeeze_and_excite(self, u):
    gate = u.mean((2, 3), keepdim=True)
    return u * torch.sigmoid(self.one(F.relu(self.two(gate))))


def attention(self, u):
    tokens = u.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def attention_by_hand(self, u):
    tokens = u.flatten(2).transpose(1, 2)
    return torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens


def parameter(size):
    return nn.Parameter(torch.linspace(-1, 1, size))


# name: (function of the module and a tensor of degree 1, further modules, the degree or None, what breaks it)
FUNCTIONS = {
    "nothing": (lambda m, u: u, {}, 1, ()),
    "relu": (lambda m, u: F.relu(u), {}, 1, ()),
    "leaky relu": (lambda m, u: F.leaky_relu(u, 0.2), {}, 1, ()),
    "prelu": (lambda m, u: m.a(u), {"a": nn.PReLU(4)}, 1, ()),
    "abs": (lambda m, u: u.abs(), {}, 1, ()),
    "max pool": (lambda m, u: F.max_pool2d(u, 2), {}, 1, ()),
    "average pool": (lambda m, u: F.avg_pool2d(u, 3, 1, 1), {}, 1, ()),
    "adaptive pool": (lambda m, u: F.adaptive_avg_pool2d(u, 2), {}, 1, ()),
    "resize": (lambda m, u: F.interpolate(u, scale_factor=2, mode="bilinear"), {}, 1, ()),
    "skip": (lambda m, u: u + F.relu(u), {}, 1, ()),
    "concatenation": (lambda m, u: torch.cat([u, F.relu(-u)], 1), {}, 1, ()),
    "scaling": (lambda m, u: u * 3 / 7, {}, 1, ()),
    "zero padding": (lambda m, u: F.pad(u, (1, 1, 1, 1)), {}, 1, ()),
    "maximum of two": (lambda m, u: torch.maximum(u, u.flip(1)), {}, 1, ()),
    "clamp at 0": (lambda m, u: u.clamp(min=0), {}, 1, ()),
    "where positive": (lambda m, u: torch.where(u > 0, u, 0.1 * u), {}, 1, ()),
    "squared relu": (lambda m, u: F.relu(u) ** 2, {}, 2, ()),
    "product": (lambda m, u: u * F.relu(u), {}, 2, ()),
    "cubes by products": (lambda m, u: u * u * u, {}, 3, ()),
    "root": (lambda m, u: F.relu(u).sqrt(), {}, 0.5, ()),
    "over its norm": (lambda m, u: u / u.flatten(1).norm(dim=1)[:, None, None, None], {}, 0, ()),
    "square over norm": (lambda m, u: u * u / u.flatten(1).norm(dim=1)[:, None, None, None], {}, 1, ()),
    "linear attention": (lambda m, u: (u.flatten(2) @ u.flatten(2).transpose(1, 2)) @ u.flatten(2), {}, 3, ()),
    "softmax of degree 0": (
        lambda m, u: (
            u * torch.softmax((u / u.flatten(1).norm(dim=1)[:, None, None, None]).mean((2, 3)), 1)[..., None, None]
        ),
        {},
        1,
        (),
    ),
    "layer norm without eps": (lambda m, u: m.n(u), {"n": nn.LayerNorm([4, 6, 6], eps=0.0, bias=False)}, 0, ()),
    "layer norm without eps, with bias": (lambda m, u: m.n(u), {"n": nn.LayerNorm([4, 6, 6], eps=0.0)}, 0, ()),
    "uncentred batch norm": (lambda m, u: m.n(u), {"n": UncenteredBatchNorm2d(4)}, 1, ()),
    "layer norm": (lambda m, u: m.n(u), {"n": nn.LayerNorm([4, 6, 6])}, None, ("layer_norm",)),
    "rms norm": (lambda m, u: m.n(u), {"n": nn.RMSNorm([4, 6, 6], eps=1e-3)}, None, ("rms_norm", "add")),
    "group norm": (lambda m, u: m.n(u), {"n": nn.GroupNorm(2, 4)}, None, ("group_norm",)),
    "batch norm": (lambda m, u: m.n(u), {"n": nn.BatchNorm2d(4)}, None, ("batch_norm",)),
    "gelu": (lambda m, u: F.gelu(u), {}, None, ("gelu",)),
    "silu": (lambda m, u: F.silu(u), {}, None, ("silu",)),
    "relu6": (lambda m, u: F.relu6(u), {}, None, ("relu6", "hardtanh")),
    "hard tanh": (lambda m, u: F.hardtanh(u), {}, None, ("hardtanh",)),
    "clamp at 1": (lambda m, u: u.clamp(max=1), {}, None, ("clamp",)),
    "tanh": (lambda m, u: u.tanh(), {}, None, ("tanh",)),
    "softmax": (lambda m, u: u.softmax(1), {}, None, ("softmax",)),
    "squeeze and excitation": (
        squeeze_and_excite,
        {"one": nn.Conv2d(2, 4, 1, bias=False), "two": nn.Conv2d(4, 2, 1, bias=False)},
        None,
        ("sigmoid",),
    ),
    "attention": (attention, {}, None, ("scaled_dot_product_attention",)),
    "attention by hand": (attention_by_hand, {}, None, ("softmax",)),
    "1 - relu(1 - x)": (lambda m, u: 1 - F.relu(1 - u), {}, None, ("rsub", "sub")),
    "bias": (lambda m, u: m.c(u), {"c": nn.Conv2d(4, 4, 1)}, None, ("conv2d",)),
    "degrees 1 and 2": (lambda m, u: u + u * u, {}, None, ("add",)),
    "degrees side by side": (lambda m, u: torch.cat([u, u * u], 1), {}, None, ("cat",)),
    "padding with 1": (lambda m, u: F.pad(u, (1, 1, 1, 1), value=1.0), {}, None, ("pad", "constant_pad_nd")),
    "where above 1": (lambda m, u: torch.where(u > 1, u, 0.1 * u), {}, None, ("gt",)),
    "exp": (lambda m, u: (-u).exp(), {}, None, ("exp",)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(name):
    function, modules, degree, breaking = FUNCTIONS[name]
    model = randomise(Function(function, **modules))
    report = homogeneity(model, torch.randn(2, 3, 6, 6))
    assert report.degree == degree
    assert report.agree
    assert report.homogeneous == (degree is not None)
    assert {b.operation for b in report.breakers} <= set(breaking)
    assert bool(report.breakers) == (degree is None)
    assert str(report).startswith("Homogeneous" if report.homogeneous else "Not homogeneous")


def test_several_inputs_and_arguments_that_do_not_scale():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3, bias=False)

        def forward(self, a, b, mask=None):
            out = self.linear(a) + b
            return out if mask is None else out * mask

    a, b = torch.randn(2, 4), torch.randn(2, 3)
    assert homogeneity(Two().eval(), (a, b)).degree == 1
    assert homogeneity(Two().eval(), (a, b), torch.rand(2, 3)).degree == 1
    assert homogeneity(Two().eval(), a, b).degree is None


def test_outputs_of_different_degrees():
    class Both(nn.Module):
        def forward(self, x):
            return {"one": x.sum(1), "two": (x * x).sum(1)}

    report = homogeneity(Both().eval(), torch.randn(2, 4))
    assert report.degree is None
    assert report.agree
    assert "degrees 1 and 2" in str(report)


def test_an_unknown_operation_is_named():
    report = homogeneity(Function(lambda m, u: torch.erfinv(u.tanh() * 0.5)).eval(), torch.randn(2, 3, 6, 6))
    assert "not known" in str(report) or "tanh" in str(report)
    report = homogeneity(Function(lambda m, u: torch.lgamma(u.abs() + u.abs())).eval(), torch.randn(2, 3, 6, 6))
    assert [b.operation for b in report.breakers] == ["lgamma"]


def test_a_training_mode_model_is_refused():
    with pytest.raises(biasprop.CaptureError, match=r"training mode .*Call model\.eval\(\) first"):
        homogeneity(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), torch.randn(2, 3))


class Written(nn.Module):
    def forward(self, x):
        y = x.clone()
        y[:, 0] = 1
        return y


class Recurrent(nn.Module):
    """Its initial state is float32, whatever the input is."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0][:, -1]


def test_a_constant_written_in_place_and_a_precision_written_in_the_code():
    report = homogeneity(Written().eval(), torch.randn(2, 4))
    assert report.degree is None
    assert report.agree
    report = homogeneity(Recurrent().eval(), torch.randn(2, 5, 4))
    assert report.degree is None
    assert report.agree
    assert "lstm" in str(report)
