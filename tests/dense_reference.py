"""A dense float64 reference of spec sections 2, 3, 10 and 11, from the equations; no code of biasprop in it.

A network is a list of nodes over flat vectors, one example at a time. Every operation is an explicit matrix,
so that each line can be read next to the equation that it implements. Node 0 is the input, the last node is
the output.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Shape = tuple[int, ...]
Gate = Callable[[Array], tuple[Array, Array]]
"""``z -> (c, d)``, the slope and the intercept at z: ``psi(z) = c * z + d``."""


def identity(z: Array) -> tuple[Array, Array]:
    return np.ones_like(z), np.zeros_like(z)


def leaky_relu(slope: float | Array) -> Gate:
    """ReLU is slope 0; PReLU is an array of slopes, one per unit."""
    return lambda z: (np.where(z > 0, 1.0, slope), np.zeros_like(z))


def hard_tanh(low: float, high: float) -> Gate:
    def gate(z: Array) -> tuple[Array, Array]:
        c = ((z > low) & (z < high)).astype(np.float64)
        return c, np.clip(z, low, high) - c * z

    return gate


@dataclass(frozen=True)
class Step:
    """One layer at the current input: ``y = W u + h``.

    ``moves`` is alpha itself for operations that have one component per unit; no rule applies to them.
    """

    y: Array
    W: Array
    h: Array
    support: Mask | None = None
    wired: Mask | None = None
    moves: Array | None = None


@dataclass(frozen=True)
class Affine:
    """``psi(A u + a)``, the layer of section 2. ``wired`` is the in-bounds receptive field of each unit."""

    A: Array
    a: Array
    wired: Mask
    gate: Gate = identity

    def folded(self, scale: Array, shift: Array) -> "Affine":
        """With the batch norm that follows folded in, so that its shift is part of the layer's own bias h."""
        return replace(self, A=scale[:, None] * self.A, a=scale * self.a + shift)

    def linearize(self, u: Array) -> Step:
        c, d = self.gate(self.A @ u + self.a)
        W, h = c[:, None] * self.A, c * self.a + d
        # Structural support is that of A: a gate that is shut now does not change what is connected.
        return Step(W @ u + h, W, h, self.A != 0, self.wired)


@dataclass(frozen=True)
class Diagonal:
    """``psi(scale * u + shift)``: a gate, constant operand or batch norm with no affine op to fold into."""

    scale: Array
    shift: Array
    gate: Gate = identity

    def linearize(self, u: Array) -> Step:
        c, d = self.gate(self.scale * u + self.shift)
        W, h = np.diag(c * self.scale), c * self.shift + d
        return Step(W @ u + h, W, h, moves=np.eye(len(u)))


@dataclass(frozen=True)
class Route:
    """Unit p is input ``index[p]``, or the constant ``h[p]`` where the index is -1 (padding)."""

    index: Sequence[int]
    h: Array

    def linearize(self, u: Array) -> Step:
        W = np.zeros((len(self.index), len(u)))
        for p, q in enumerate(self.index):
            if q >= 0:
                W[p, q] = 1
        return Step(W @ u + self.h, W, self.h, moves=W)


@dataclass(frozen=True)
class MaxPool:
    """Routing by the current argmax; the first wins a tie, as in torch."""

    windows: Sequence[Sequence[int]]

    def linearize(self, u: Array) -> Step:
        winners = [window[int(np.argmax(u[window]))] for window in self.windows]
        seen = np.zeros((len(self.windows), len(u)), dtype=bool)
        for p, window in enumerate(self.windows):
            seen[p, list(window)] = True
        return replace(Route(winners, np.zeros(len(winners))).linearize(u), wired=seen)


@dataclass(frozen=True)
class Gated:
    """``(A u + a) * phi(G u + g)``, the gate held at its present value (section 10)."""

    A: Array
    a: Array
    G: Array
    g: Array
    phi: Callable[[Array], Array]

    def linearize(self, u: Array) -> Step:
        c = self.phi(self.G @ u + self.g)
        W, h = c[:, None] * self.A, c * self.a
        return Step(W @ u + h, W, h, self.A != 0, self.A != 0)


@dataclass(frozen=True)
class Normed:
    """``(u - mean) / sigma * weight + bias`` of rows u and their means: sigma is held (section 10)."""

    weight: Array
    bias: Array
    eps: float

    def linearize(self, u: Array) -> Step:
        rows, width = len(u) // (len(self.weight) + 1), len(self.weight)
        joint = join(rows * width, (1, -1)).A
        of_mean = np.kron(np.eye(rows), np.ones((width, 1)))
        A = np.concatenate([joint[:, : rows * width], -of_mean], 1)
        centred = (A @ u).reshape(rows, width)
        scale = self.weight / np.sqrt((centred**2).mean(1, keepdims=True) + self.eps)
        W, h = scale.reshape(-1, 1) * A, np.tile(self.bias, rows)
        return Step(W @ u + h, W, h, A != 0, A != 0)


@dataclass(frozen=True)
class Attention:
    """``P V`` of queries, keys and values, each ``(tokens, width)`` in a row: P is held (section 10)."""

    tokens: int

    def linearize(self, u: Array) -> Step:
        q, k, v = u.reshape(3, self.tokens, -1)
        scores = np.exp(q @ k.T / np.sqrt(q.shape[1]))
        P = np.kron(scores / scores.sum(1, keepdims=True), np.eye(v.shape[1]))
        W = np.concatenate([np.zeros((v.size, 2 * v.size)), P], 1)
        return Step(W @ u, W, np.zeros(v.size), W != 0, W != 0)


@dataclass(frozen=True)
class Products:
    """Unit p is the sum of ``u[q] u[r]`` over its terms: each factor has ``share`` of the derivative (section 10).

    1 is the tangent, whose intercept is minus the product; with 1/2 there is none.
    """

    terms: Sequence[Sequence[tuple[int, int]]]
    share: float

    def linearize(self, u: Array) -> Step:
        W, y = np.zeros((len(self.terms), len(u))), np.zeros(len(self.terms))
        for p, terms in enumerate(self.terms):
            for q, r in terms:
                y[p] += u[q] * u[r]
                W[p, q] += self.share * u[r]
                W[p, r] += self.share * u[q]
        return Step(y, W, (1 - 2 * self.share) * y, W != 0, W != 0)


Layer = Affine | Diagonal | Route | MaxPool | Gated | Normed | Attention | Products


@dataclass(frozen=True)
class Node:
    """A layer and the nodes that it reads, concatenated in this order."""

    parents: tuple[int, ...]
    layer: Layer


@dataclass
class Result:
    """What the reference says of one example; ``hits`` counts the units by fallback (1 to 4; 0 is none)."""

    f: float
    w: Array
    b: float
    beta: Array
    unattributed: float
    hits: Counter[int] = field(default_factory=Counter)
    weight: Array | None = None


def explain(
    nodes: Sequence[Node], x: Array, t: Array, rule: str, temperature: float, cut: int | None = None, below: str = ""
) -> Result:
    """Explain ``f = t . output``: forward pass, chain rule, then the sweep of section 2.

    Below the output of node number ``cut`` (from 1) all of it is shared like bias, by another rule (section 11).
    """
    values, jacobians, steps = [x], [np.eye(len(x))], []
    for node in nodes:
        steps.append(node.layer.linearize(np.concatenate([values[i] for i in node.parents])))
        values.append(steps[-1].y)
        jacobians.append(steps[-1].W @ np.concatenate([jacobians[i] for i in node.parents]))
    handed = [np.zeros((2, len(v))) for v in values]  # weight part and bias part
    g = [np.zeros_like(v) for v in values]
    beta = [np.zeros_like(v) for v in values]
    g[-1] = t.astype(np.float64)
    hits: Counter[int] = Counter()
    unattributed = 0.0
    depends = [np.ones(len(x), dtype=bool)]  # section 10: which units depend on x at all
    for node, step in zip(nodes, steps, strict=True):
        taking = np.concatenate([depends[j] for j in node.parents])
        depends.append((_wired(step) & taking).any(1))
    for i in reversed(range(len(nodes))):
        step, u = steps[i], np.concatenate([values[j] for j in nodes[i].parents])
        if i + 1 == cut:  # g v + beta = g J x + (g b_v + beta)
            linear = jacobians[cut] @ x
            handed[cut] = np.stack([g[cut] * linear, g[cut] * (values[cut] - linear) + beta[cut]])
            g[cut], beta[cut] = np.zeros_like(g[cut]), np.zeros_like(g[cut])
        combined = beta[i + 1] + g[i + 1] * step.h
        taking = np.concatenate([depends[j] for j in nodes[i].parents])
        step_taking = _without(step, taking, depends[i + 1])
        alpha = _alpha(step_taking, u, combined, rule, temperature, hits)
        lost = alpha.sum(1) == 0
        unattributed += combined[lost].sum()
        if cut is not None:
            alpha_below = _alpha(step_taking, u, np.abs(handed[i + 1]).sum(0), below, 1.0, Counter())
            unattributed += handed[i + 1][:, alpha_below.sum(1) == 0].sum()
            for part in (0, 1):
                sent = [h[part] for h in handed]
                _send(sent, nodes[i].parents, alpha_below.T @ handed[i + 1][part])
                for h, one in zip(handed, sent, strict=True):
                    h[part] = one
        if step.moves is not None:
            hits[4] += int((combined[lost] != 0).sum())
        _send(g, nodes[i].parents, step.W.T @ g[i + 1])
        _send(beta, nodes[i].parents, alpha.T @ combined)
    f = float(t @ values[-1])
    weight, bias = g[0] * x + handed[0][0], beta[0] + handed[0][1]
    return Result(f, g[0], f - float(weight.sum()), bias, float(unattributed), hits, weight)


def _wired(step: Step) -> Mask:
    if step.wired is not None:
        return step.wired
    assert step.moves is not None
    return step.moves != 0


def _without(step: Step, taking: Mask, depends: Mask) -> Step:
    """A unit that depends on x shares among the operands that do; the others take no part."""
    if step.moves is not None:
        return step
    assert step.support is not None
    part = taking[None] | ~depends[:, None]
    return replace(step, W=step.W * part, support=step.support & part, wired=_wired(step) & part)


def _send(accumulated: list[Array], parents: tuple[int, ...], message: Array) -> None:
    """A tensor with several consumers adds up what each sends it."""
    ends = np.cumsum([len(accumulated[j]) for j in parents])[:-1]
    for j, part in zip(parents, np.split(message, ends), strict=True):
        accumulated[j] = accumulated[j] + part


def _alpha(step: Step, u: Array, combined: Array, rule: str, temperature: float, hits: Counter[int]) -> Array:
    """All of alpha; rows without mass stay zero, so that ``hits`` counts only fallbacks that matter."""
    if step.moves is not None:
        return step.moves
    assert step.support is not None
    assert step.wired is not None
    alpha = np.zeros_like(step.W)
    for p in np.flatnonzero(combined):
        m = step.W[p] * u
        row, fallback = _by_rule(m, step.h[p], step.y[p], rule, temperature), 0
        if row is None:
            # The order of section 3; only option 3 can fail while there are non-zero components.
            candidates = enumerate((m != 0, step.support[p], step.wired[p]), start=1)
            fallback, chosen = next(((k, mask) for k, mask in candidates if mask.any()), (4, step.wired[p]))
            row = chosen / max(chosen.sum(), 1)
        alpha[p] = row
        hits[fallback] += 1
    return alpha


def _by_rule(m: Array, h: float, y: float, rule: str, temperature: float) -> Array | None:
    """Eq. 15-20 for one unit, or None where they say 0/0."""
    live = m != 0
    if rule == "bias3":
        positive = np.maximum(m, 0)
        return positive / positive.sum() if positive.sum() > 0 else None
    if not live.any():
        return None
    score = -np.sign(h) * m if rule == "bias1" else y / live.sum() - m
    exponent = np.where(live, score / temperature, -np.inf)
    e = np.exp(exponent - exponent.max())
    return e / e.sum()


# Matrices, by index loops. Shapes are (channels, *spatial); a flat index is row-major over that shape.


def positions(out: int, kernel: int, stride: int, padding: int, dilation: int) -> list[int]:
    """Where the ``kernel`` taps of output ``out`` fall along one axis; may be out of bounds."""
    return [out * stride - padding + k * dilation for k in range(kernel)]


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv(
    weight: Array, shape: Shape, stride: Shape, padding: Shape, dilation: Shape, groups: int
) -> tuple[Array, Mask, Shape]:
    """``A``, ``wired`` and the output shape of a convolution in any number of dimensions."""
    kernel = weight.shape[2:]
    spatial = tuple(map(out_size, shape[1:], kernel, stride, padding, dilation))
    out = (weight.shape[0], *spatial)
    A = np.zeros((int(np.prod(out)), int(np.prod(shape))))
    wired = np.zeros(A.shape, dtype=bool)
    for p in np.ndindex(out):
        group = p[0] // (weight.shape[0] // groups)
        axes = list(map(positions, p[1:], kernel, stride, padding, dilation))
        for channel, *tap in np.ndindex(weight.shape[1:]):
            at = [axis[k] for axis, k in zip(axes, tap, strict=True)]
            if all(0 <= i < size for i, size in zip(at, shape[1:], strict=True)):
                q = (group * weight.shape[1] + channel, *at)
                row, column = np.ravel_multi_index(p, out), np.ravel_multi_index(q, shape)
                A[row, column] += weight[(p[0], channel, *tap)]
                wired[row, column] = True
    return A, wired, out


def windows(
    shape: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> tuple[list[list[int]], Shape]:
    """Flat indices of the in-bounds window of each pooled unit, in row-major order, and the output shape."""
    out = (shape[0], *map(out_size, shape[1:], kernel, stride, padding, dilation))
    taps = zip(out[1:], kernel, stride, padding, dilation, strict=True)
    axes = [[positions(o, *how) for o in range(n)] for n, *how in taps]
    return list(_gather(shape, out, axes)), out


def adaptive_windows(shape: Shape, spatial: Shape) -> tuple[list[list[int]], Shape]:
    """As `windows`, for adaptive pooling: from floor(o n / m) up to ceil((o + 1) n / m)."""
    out = (shape[0], *spatial)
    axes = [
        [list(range(o * n // m, -(-(o + 1) * n // m))) for o in range(m)]
        for n, m in zip(shape[1:], spatial, strict=True)
    ]
    return list(_gather(shape, out, axes)), out


def _gather(shape: Shape, out: Shape, axes: list[list[list[int]]]) -> Iterator[list[int]]:
    for channel, *p in np.ndindex(out):
        taps = product(*(axis[o] for axis, o in zip(axes, p, strict=True)))
        inside = [t for t in taps if all(0 <= i < n for i, n in zip(t, shape[1:], strict=True))]
        yield [int(np.ravel_multi_index((channel, *t), shape)) for t in inside]


def average(within: list[list[int]], inputs: int, divisor: int | None = None) -> Affine:
    """Mean over each window; ``divisor`` is the kernel's size where padding counts."""
    A = np.zeros((len(within), inputs))
    for p, window in enumerate(within):
        A[p, window] = 1 / (divisor or len(window))
    return Affine(A, np.zeros(len(within)), A != 0)


def join(units: int, signs: Sequence[int] = (1, 1)) -> Affine:
    """Signed sum of tensors: the stacked identity, over their concatenation."""
    A = np.concatenate([sign * np.eye(units) for sign in signs], axis=1)
    return Affine(A, np.zeros(units), A != 0)
