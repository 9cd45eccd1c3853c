"""Small networks with random parameters, each with its description for the dense reference."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import dense_reference as dense
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import biasprop

Fold = nn.Module | tuple[np.ndarray, np.ndarray] | None
"""A batch norm, or the scale and shift of a constant elementwise map, that folds into the affine op."""


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


@dataclass
class Sketch:
    """The reference's description of a network, drawn from the modules in the order of forward."""

    shapes: list[tuple[int, ...]]
    nodes: list[dense.Node] = field(default_factory=list)

    def put(self, parents: int | tuple[int, ...], layer: dense.Layer, shape: tuple[int, ...]) -> int:
        self.nodes.append(dense.Node(parents if isinstance(parents, tuple) else (parents,), layer))
        self.shapes.append(shape)
        return len(self.nodes)

    def layer(
        self,
        parents: int | tuple[int, ...],
        affine: dense.Affine,
        shape: tuple[int, ...],
        gate: nn.Module | None,
        fold: Fold = None,
    ) -> int:
        """An affine op, what folds into it and the gate that directly consumes it."""
        if fold is not None:
            affine = affine.folded(*scale_shift(fold, shape))
        return self.put(parents, replace(affine, gate=as_gate(gate, shape)), shape)

    def linear(self, u: int, module: nn.Linear, gate: nn.Module | None = None, fold: Fold = None) -> int:
        A = array(module.weight)
        a = np.zeros(len(A)) if module.bias is None else array(module.bias)
        return self.layer(u, dense.Affine(A, a, np.ones(A.shape, dtype=bool)), (len(A),), gate, fold)

    def conv(self, u: int, module: nn.Module, gate: nn.Module | None = None, fold: Fold = None) -> int:
        padding = module.padding
        if padding == "same":
            padding = tuple((k - 1) * d // 2 for k, d in zip(module.kernel_size, module.dilation, strict=True))
        how = (module.stride, padding, module.dilation, module.groups)
        if isinstance(module, nn.ConvTranspose2d):
            # The adjoint of the convolution that has the same weight and goes the other way.
            out = tuple(module(torch.zeros(1, *self.shapes[u], dtype=torch.float64)).shape[1:])
            A, wired, _ = dense.conv(array(module.weight), out, *how)
            A, wired = A.T, wired.T
        else:
            A, wired, out = dense.conv(array(module.weight), self.shapes[u], *how)
        bias = torch.zeros(out[0]) if module.bias is None else module.bias
        return self.layer(u, dense.Affine(A, per_unit(bias, out), wired), out, gate, fold)

    def average(self, u: int, module: nn.Module, gate: nn.Module | None = None, fold: Fold = None) -> int:
        shape, divisor = self.shapes[u], None
        if isinstance(module, nn.AvgPool2d):
            within, out = dense.windows(shape, *map(pair, (module.kernel_size, module.stride, module.padding, 1)))
            divisor = int(np.prod(pair(module.kernel_size))) if module.count_include_pad else None
        else:
            within, out = dense.adaptive_windows(shape, pair(module.output_size))
        return self.layer(u, dense.average(within, int(np.prod(shape)), divisor), out, gate, fold)

    def max_pool(self, u: int, module: nn.MaxPool2d) -> int:
        how = map(pair, (module.kernel_size, module.stride, module.padding, module.dilation))
        within, out = dense.windows(self.shapes[u], *how)
        return self.put(u, dense.MaxPool(within), out)

    def join(self, u: int, v: int, gate: nn.Module | None = None, fold: Fold = None, sign: int = 1) -> int:
        shape = self.shapes[u]
        return self.layer((u, v), dense.join(int(np.prod(shape)), (1, sign)), shape, gate, fold)

    def diagonal(self, u: int, scale: object, shift: object, gate: nn.Module | None = None) -> int:
        shape = self.shapes[u]
        units = int(np.prod(shape))
        ones = np.ones(units)
        return self.put(u, dense.Diagonal(scale * ones, shift * ones, as_gate(gate, shape)), shape)

    def norm(self, u: int, bn: nn.Module, gate: nn.Module | None = None) -> int:
        """A batch norm that has nothing to fold into."""
        return self.diagonal(u, *scale_shift(bn, self.shapes[u]), gate)

    def gate(self, u: int, gate: nn.Module) -> int:
        """A gate that is not part of an affine layer: what reaches it passes through."""
        return self.diagonal(u, 1, 0, gate)

    def cat(self, *parents: int) -> int:
        channels = sum(self.shapes[u][0] for u in parents)
        shape = (channels, *self.shapes[parents[0]][1:])
        units = int(np.prod(shape))
        return self.put(parents, dense.Route(range(units), np.zeros(units)), shape)

    def pad(self, u: int, module: nn.ConstantPad2d) -> int:
        index = torch.arange(int(np.prod(self.shapes[u]))).reshape(self.shapes[u])
        index = F.pad(index, module.padding, value=-1)
        h = np.where(index.flatten() < 0, float(module.value), 0.0)
        return self.put(u, dense.Route(index.flatten().tolist(), h), tuple(index.shape))


def pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value, value)


def per_unit(per_channel: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return np.repeat(array(per_channel), int(np.prod(shape[1:])))


def scale_shift(fold: Fold, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(fold, tuple):
        return fold
    scale = fold.weight / (fold.running_var + fold.eps).sqrt()
    return per_unit(scale, shape), per_unit(fold.bias - fold.running_mean * scale, shape)


def as_gate(module: nn.Module | None, shape: tuple[int, ...]) -> dense.Gate:
    if module is None:
        return dense.identity
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return dense.hard_tanh(module.min_val, module.max_val)
    if isinstance(module, nn.PReLU):
        return dense.leaky_relu(per_unit(module.weight.expand(shape[0]), shape))
    return dense.leaky_relu(getattr(module, "negative_slope", 0.0))


class Model(nn.Module):
    """A network that describes itself to the reference; ``shape`` is that of one example."""

    shape: tuple[int, ...]

    linearization = "frozen"

    def describe(self, s: Sketch) -> None:
        raise NotImplementedError

    def prepare(self) -> None:
        """Changes to the random parameters."""

    def examples(self) -> Tensor:
        return torch.randn(3, *self.shape)


class Mlp(Model):
    shape = (6,)

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(6, 9), nn.Linear(9, 8, bias=False), nn.Linear(8, 4)])
        self.gates = nn.ModuleList([first, second])

    def forward(self, x: Tensor) -> Tensor:
        for fc, gate in zip(self.fc, self.gates, strict=False):
            x = gate(fc(x))
        return self.fc[2](x)

    def describe(self, s: Sketch) -> None:
        u = 0
        for fc, gate in zip(self.fc, self.gates, strict=False):
            u = s.linear(u, fc, gate)
        s.linear(u, self.fc[2])


class Cnn(Model):
    shape = (2, 10, 9)

    def __init__(self, count_include_pad: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, (3, 4), stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=(2, 1), dilation=(2, 1), groups=2)
        self.bn2 = nn.BatchNorm2d(6)
        self.leaky = nn.LeakyReLU(0.2)
        self.average = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=count_include_pad)
        self.adaptive = nn.AdaptiveAvgPool2d((2, 1))
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.leaky(self.bn2(self.conv2(x)))
        return self.fc(self.adaptive(self.average(x)).flatten(1))

    def describe(self, s: Sketch) -> None:
        u = s.max_pool(s.conv(0, self.conv1, self.relu, self.bn1), self.pool)
        u = s.conv(u, self.conv2, self.leaky, self.bn2)
        s.linear(s.average(s.average(u, self.average), self.adaptive), self.fc)


class Residual(Model):
    """A block with a projected skip, then one with an identity skip."""

    shape = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, padding="same", bias=False), nn.BatchNorm2d(3)
        self.down, self.bn3 = nn.Conv2d(2, 3, 1, stride=2, bias=False), nn.BatchNorm2d(3)
        self.conv4, self.bn4 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.relu, self.pool, self.fc = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.bn3(self.down(x))
        y = self.relu(y)
        y = self.relu(self.bn4(self.conv4(y)) + y)
        return self.fc(self.pool(y).flatten(1))

    def describe(self, s: Sketch) -> None:
        u = s.conv(s.conv(0, self.conv1, self.relu, self.bn1), self.conv2, fold=self.bn2)
        u = s.join(u, s.conv(0, self.down, fold=self.bn3), self.relu)
        u = s.join(s.conv(u, self.conv4, fold=self.bn4), u, self.relu)
        s.linear(s.average(u, self.pool), self.fc)


class Reused(Model):
    shape = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head, self.relu = nn.Linear(5, 5), nn.Linear(5, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.fc(self.relu(self.fc(x)))))

    def describe(self, s: Sketch) -> None:
        s.linear(s.linear(s.linear(0, self.fc, self.relu), self.fc, self.relu), self.head)


class Norms(Model):
    """Batch norms that fold into a difference and an average, and ones that cannot fold."""

    shape = (2, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.ModuleList([nn.BatchNorm2d(c) for c in (2, 3, 3, 3, 3)])
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.average = nn.AvgPool2d(2, stride=1)
        self.relu, self.tanh, self.fc = nn.ReLU(), nn.Hardtanh(-0.7, 0.6), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.bn[0](x))
        a = self.average(self.relu(y))
        y = self.relu(self.bn[1](a))
        z = self.tanh(self.bn[2](a))
        y = self.relu(self.bn[3](y - z))
        y = self.tanh(self.bn[4](self.average(y)))
        return self.fc(y.flatten(1))

    def describe(self, s: Sketch) -> None:
        a = s.average(s.conv(s.norm(0, self.bn[0]), self.conv, self.relu), self.average)
        u, v = s.norm(a, self.bn[1], self.relu), s.norm(a, self.bn[2], self.tanh)
        u = s.join(u, v, self.relu, self.bn[3], sign=-1)
        s.linear(s.average(u, self.average, self.tanh, self.bn[4]), self.fc)


class Forks(Model):
    """Routing and lone gates: on the input, after a max pool, on a tensor that has another consumer."""

    shape = (2, 5, 4)

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv1 = nn.ConstantPad2d((1, 0, 2, 1), 0.5), nn.Conv2d(2, 3, 3)
        self.zero_pad, self.conv2 = nn.ConstantPad2d(1, 0.0), nn.Conv2d(3, 3, 3)
        self.max, self.bn, self.tanh = nn.MaxPool2d(2, stride=1), nn.BatchNorm2d(6), nn.Hardtanh(-1, 0.4)
        self.relu, self.fc = nn.ReLU(), nn.Linear(6 * 5 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.pad(self.tanh(x)))
        y = torch.cat([self.conv2(self.zero_pad(self.relu(y))), y], 1)
        y = self.tanh(self.bn(self.max(y)))
        return self.fc(y.flatten(1))

    def describe(self, s: Sketch) -> None:
        y = s.conv(s.pad(s.gate(0, self.tanh), self.pad), self.conv1)
        u = s.cat(s.conv(s.pad(s.gate(y, self.relu), self.zero_pad), self.conv2), y)
        s.linear(s.norm(s.max_pool(u, self.max), self.bn, self.tanh), self.fc)


class Constants(Model):
    """Bare parameters and constants as sources; a hinge ``1 - relu(1 - x)``.

    Section 4 says of batch norm only that it folds into the affine op that feeds it; here every elementwise
    map with constant coefficients does, so that ``x @ A.T + a`` is the same layer as ``linear(x, A, a)``.
    """

    shape = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 6, bias=False), nn.Linear(6, 6), nn.Linear(6, 3)
        self.offset, self.relu = nn.Parameter(torch.randn(6)), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc1(1 - self.relu(1 - x)) + self.offset
        z = self.relu(0.5 - self.fc2(y))
        return self.fc3(self.relu(self.relu(y) - z + self.offset))

    def describe(self, s: Sketch) -> None:
        one, offset = np.ones(6), array(self.offset)
        y = s.linear(s.diagonal(s.diagonal(0, -1, 1, self.relu), -1, 1), self.fc1, fold=(one, offset))
        z = s.linear(y, self.fc2, self.relu, fold=(-one, 0.5 * one))
        s.linear(s.join(s.gate(y, self.relu), z, self.relu, fold=(one, offset), sign=-1), self.fc3)


class Transposed(Model):
    """Transposed convolution whose stride exceeds its kernel, so that some units are wired to nothing."""

    shape = (4, 3, 2)

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=3, padding=1, output_padding=1, groups=2)
        self.conv, self.relu, self.fc = nn.Conv2d(4, 2, 3, padding=1), nn.ReLU(), nn.Linear(56, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(self.relu(self.up(x)))).flatten(1))

    def describe(self, s: Sketch) -> None:
        s.linear(s.conv(s.conv(0, self.up, self.relu), self.conv, self.relu), self.fc)


class Spans(Model):
    """Convolutions in one and three dimensions."""

    shape = (2, 3, 4, 5)

    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv3d(2, 2, (2, 3, 3), stride=(1, 2, 1), padding=(0, 1, 1), dilation=(2, 1, 1))
        self.conv1 = nn.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2)
        self.relu, self.fc = nn.ReLU6(), nn.Linear(15, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv1(self.relu(self.conv3(x)).flatten(2))).flatten(1))

    def describe(self, s: Sketch) -> None:
        u = s.conv(0, self.conv3, self.relu)
        s.shapes[u] = (2, int(np.prod(s.shapes[u][1:])))
        s.linear(s.conv(u, self.conv1, self.relu), self.fc)


class Black(Model):
    """An image on an exactly black background, which only biases light up; some weights are exactly zero.

    No max pool: the background is a plateau, and ties are decided by the rounding of the convolution.
    """

    shape = (1, 9, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.relu, self.pool, self.fc = nn.ReLU(), nn.AvgPool2d(2), nn.Linear(16, 3)

    def prepare(self) -> None:
        self.conv1.weight[:, :, 0] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.conv2(self.relu(self.conv1(x))))).flatten(1))

    def describe(self, s: Sketch) -> None:
        u = s.conv(s.conv(0, self.conv1, self.relu), self.conv2, self.relu)
        s.linear(s.average(u, self.pool), self.fc)

    def examples(self) -> Tensor:
        x = torch.zeros(3, *self.shape)
        x[:2, :, 3:6, 2:5] = torch.rand(2, 1, 3, 3)
        return x


class ZeroRows(Model):
    """Filters and a row of weights that are all zero, or made so by their batch norm; their shifts stay."""

    shape = (2, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4), nn.ReLU()
        self.fc1, self.fc2 = nn.Linear(64, 5), nn.Linear(5, 3)

    def prepare(self) -> None:
        self.conv.weight[3, :, 0] = 0
        for layer, row in ((self.conv, 1), (self.bn, 2), (self.fc1, 2)):
            layer.weight[row] = 0
            layer.bias[row] = 0.7
        self.bn.bias[1] = self.bn.running_mean[1] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.relu(self.fc1(self.relu(self.bn(self.conv(x))).flatten(1))))

    def describe(self, s: Sketch) -> None:
        s.linear(s.linear(s.conv(0, self.conv, self.relu, self.bn), self.fc1, self.relu), self.fc2)


class Overpadded(Model):
    """So much padding that some windows of the convolution see nothing of the image."""

    shape = (2, 4, 3)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(2, 3, 3, stride=2, padding=4), nn.ReLU(), nn.Linear(75, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(x)).flatten(1))

    def describe(self, s: Sketch) -> None:
        s.linear(s.conv(0, self.conv, self.relu), self.fc)


class Transformer(Model):
    """One block of attention and one of a gated MLP, with norms before and a GELU behind, frozen."""

    shape = (3, 4)

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.up, self.gate, self.down = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 4)
        self.inner, self.head = nn.Linear(12, 6), nn.Linear(6, 3)

    def prepare(self) -> None:
        for norm in (self.norm1, self.norm2):
            norm.weight.uniform_(0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm1(x)
        x = x + self.out(F.scaled_dot_product_attention(self.q(z), self.k(z), self.v(z)))
        z = self.norm2(x)
        x = x + self.down(F.silu(self.gate(z)) * self.up(z))
        return self.head(F.gelu(self.inner(x.flatten(1))))

    def describe(self, s: Sketch) -> None:
        z = self.normed(s, 0, self.norm1)
        parts = [s.put(z, self.of_tokens(one), (3, 4)) for one in (self.q, self.k, self.v)]
        y = s.put(s.put(tuple(parts), dense.Attention(3), (3, 4)), self.of_tokens(self.out), (3, 4))
        x = s.join(0, y)
        z = self.normed(s, x, self.norm2)
        up, gate = self.of_tokens(self.up), self.of_tokens(self.gate)
        y = s.put(z, dense.Gated(up.A, up.a, gate.A, gate.a, lambda g: g / (1 + np.exp(-g))), (3, 5))
        x = s.join(x, s.put(y, self.of_tokens(self.down), (3, 4)))
        inner = dense.Affine(array(self.inner.weight), array(self.inner.bias), np.ones((6, 12), dtype=bool), chord)
        s.linear(s.put(x, inner, (6,)), self.head)

    def normed(self, s: Sketch, u: int, norm: nn.LayerNorm) -> int:
        mean = s.put(u, dense.average([list(range(4 * k, 4 * k + 4)) for k in range(3)], 12), (3,))
        return s.put((u, mean), dense.Normed(array(norm.weight), array(norm.bias), norm.eps), (3, 4))

    def of_tokens(self, module: nn.Linear) -> dense.Affine:
        A = np.kron(np.eye(3), array(module.weight))
        return dense.Affine(A, np.tile(array(module.bias), 3), A != 0)


def chord(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of GELU, from its value 0 at 0."""
    return array(F.gelu(torch.from_numpy(z))) / z, np.zeros_like(z)


class Multiplied(Model):
    """A matrix product and a product of two activations, with a tangent or half of one."""

    shape = (3, 4)

    def __init__(self, linearization: str) -> None:
        super().__init__()
        self.linearization, self.relu = linearization, nn.ReLU()
        self.one, self.two, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.relu(self.one(x)), self.two(x)
        return self.head(((a * b) @ b.mT).flatten(1))

    def describe(self, s: Sketch) -> None:
        share = {"tangent": 1.0, "half": 0.5}[self.linearization]
        one, two = (Transformer.of_tokens(self, module) for module in (self.one, self.two))
        a, b = s.put(0, replace(one, gate=dense.leaky_relu(0.0)), (3, 4)), s.put(0, two, (3, 4))
        product = s.put((a, b), dense.Products([[(p, 12 + p)] for p in range(12)], share), (3, 4))
        terms = [[(4 * i + c, 12 + 4 * j + c) for c in range(4)] for i in range(3) for j in range(3)]
        s.linear(s.put((product, b), dense.Products(terms, share), (9,)), self.head)


MODELS: dict[str, Callable[[], Model]] = {
    "relu": lambda: Mlp(nn.ReLU(), nn.ReLU()),
    "leaky": lambda: Mlp(nn.LeakyReLU(0.1), nn.LeakyReLU(0.3)),
    "prelu": lambda: Mlp(nn.PReLU(init=-0.2), nn.PReLU(8)),
    "hardtanh": lambda: Mlp(nn.Hardtanh(-0.5, 0.8), nn.ReLU6()),
    "cnn-include-pad": lambda: Cnn(True),
    "cnn-exclude-pad": lambda: Cnn(False),
    "residual": Residual,
    "reused": Reused,
    "norms": Norms,
    "forks": Forks,
    "constants": Constants,
    "transposed": Transposed,
    "spans": Spans,
    "black": Black,
    "zero-rows": ZeroRows,
    "overpadded": Overpadded,
    "transformer": Transformer,
    "products, tangent": lambda: Multiplied("tangent"),
    "products, half": lambda: Multiplied("half"),
}


@dataclass(frozen=True)
class Case:
    explainer: biasprop.Explainer
    nodes: list[dense.Node]
    x: Tensor


@cache
def make(name: str) -> Case:
    """A model with random parameters, captured once: capturing takes longer than all the rest."""
    before = torch.get_rng_state()
    torch.manual_seed(sorted(MODELS).index(name))
    model = MODELS[name]().double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_var.uniform_(0.3, 2)
                for tensor in (module.running_mean, module.weight, module.bias):
                    tensor.normal_(std=0.7)
            elif isinstance(module, nn.PReLU):
                module.weight.add_(torch.randn_like(module.weight) * 0.1)
            elif getattr(module, "bias", None) is not None:
                module.weight.mul_(1.5)
                module.bias.normal_(std=0.5)
        model.prepare()
    x = model.examples().double()
    torch.set_rng_state(before)
    sketch = Sketch([model.shape])
    model.describe(sketch)
    return Case(biasprop.explainer(model, x, linearization=model.linearization), sketch.nodes, x)
