"""The stencil's spread on NVIDIA GPUs, in Triton: streaming, in gather form, without atomics.

Two kernels, both deterministic. `normalise` takes a block of units and runs over their windows once: the greatest
score and the sum of Eq. 16, 18 or 19, and which of the fallbacks applies (mathematics, section 3). `collect` takes a
block of operands and runs over the units that read them: each component is made again, its share multiplied by the
bias over the sum, and added up in registers, for several targets at once.
"""

import math
from typing import assert_never

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..rules import Form, Proportional, Softmax, form_of
from .layout import Layout, Settings
from .slope import Slope

__all__ = ["collect", "normalise", "readers", "spread"]

# Which operands of a unit share its bias: by the rule, or all with a non-zero component, or weight, or wire, or none.
RULE, NONZERO, SUPPORT, WIRED, NONE = (tl.constexpr(code) for code in range(5))
TILE = 4096  # components at once
TARGETS = 4  # at once


@triton.jit  # type: ignore[untyped-decorator]
def normalise(  # type: ignore[no-untyped-def]
    u,
    windows,
    weight,
    score,
    greatest,
    divisor,
    kind,
    G,
    C,
    S,
    N,
    L,
    T,
    POSITIVE: tl.constexpr,
    SHARED: tl.constexpr,
    BL: tl.constexpr,
    BO: tl.constexpr,
    BK: tl.constexpr,
):
    """For each unit: the greatest score, the sum of its shares, and how it shares.

    N is the O of the layout. u ``(B, G, C, S)``, windows ``(L, T)``, weight ``(G, 1 or L, O, C * T)``; score,
    greatest, divisor and kind ``(B, G, O, L)``. A program has ``BL`` positions and ``BO`` outputs of one owner (an
    example's group).
    """
    blocks = tl.cdiv(L, BL)
    owner = (tl.program_id(0) // blocks).to(tl.int64)
    p = (tl.program_id(0) % blocks) * BL + tl.arange(0, BL)
    o = tl.program_id(1) * BO + tl.arange(0, BO)
    g, K = owner % G, C * T
    unit = (owner * N + o[None, :]) * L + p[:, None]
    there = (p < L)[:, None] & (o < N)[None, :]
    s = tl.load(score + unit, mask=there, other=float("nan"))
    is_open = s == s
    s = tl.where(is_open, s, 0.0)
    top = tl.full((BL, BO), float("-inf"), tl.float32)
    total = tl.zeros((BL, BO), tl.float32)
    nonzero = tl.zeros((BL, BO), tl.float32)
    support = tl.zeros((BL, BO), tl.float32)
    wired = tl.zeros((BL, BO), tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        at = tl.load(windows + p[:, None] * T + (k % T)[None, :], mask=(p < L)[:, None] & (k < K)[None, :], other=-1)
        inside = at >= 0
        v = tl.load(u + (owner * C + (k // T)[None, :]) * S + at, mask=inside, other=0.0)
        if SHARED:
            row = (g * N + o[None, :, None]) * K + k[None, None, :]
            w = tl.load(weight + row, mask=(o < N)[None, :, None] & (k < K)[None, None, :], other=0.0)
        else:
            row = ((g * L + p[:, None, None]) * N + o[None, :, None]) * K + k[None, None, :]
            w = tl.load(weight + row, mask=there[:, :, None] & (k < K)[None, None, :], other=0.0)
        product = v[:, None, :] * w
        active = (product != 0) & is_open[:, :, None]
        x = product * s[:, :, None]
        if POSITIVE:
            total += tl.sum(tl.maximum(x, 0.0), axis=2)
        else:
            x = tl.where(active, x, float("-inf"))
            new = tl.maximum(top, tl.max(x, axis=2))
            shift = tl.where(new == float("-inf"), 0.0, new)
            total = total * tl.exp2(top - shift) + tl.sum(tl.exp2(x - shift[:, :, None]), axis=2)
            top = new
        nonzero += tl.sum(active.to(tl.float32), axis=2)
        support += tl.sum(((w != 0) & inside[:, None, :]).to(tl.float32), axis=2)
        wired += tl.sum(inside.to(tl.float32), axis=1)[:, None]
    how = tl.where(wired > 0, WIRED, NONE)
    how = tl.where(support > 0, SUPPORT, how)
    how = tl.where(nonzero > 0, NONZERO, how)
    how = tl.where(total > 0, RULE, how)
    by = tl.where(how == RULE, total, tl.where(how == NONZERO, nonzero, tl.where(how == SUPPORT, support, wired)))
    tl.store(greatest + unit, tl.where(top == float("-inf"), 0.0, top), mask=there)
    tl.store(divisor + unit, tl.where(how == NONE, 1.0, by), mask=there)
    tl.store(kind + unit, how, mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def collect(  # type: ignore[no-untyped-def]
    u,
    inverse,
    weight,
    score,
    greatest,
    divisor,
    kind,
    beta,
    received,
    J,
    B,
    G,
    C,
    S,
    N,
    L,
    T,
    E,
    POSITIVE: tl.constexpr,
    SHARED: tl.constexpr,
    BS: tl.constexpr,
    BC: tl.constexpr,
    BO: tl.constexpr,
    BJ: tl.constexpr,
):
    """For each operand: ``sum_p alpha[p, q] beta[p]`` over the units that read it.

    inverse ``(S, E)`` of `readers`; beta ``(J, B, G, O, L)``, received ``(J, B, G, C, S)``; the rest as in `normalise`.
    A program has ``BS`` positions and ``BC`` channels of one owner, for ``BJ`` targets.
    """
    blocks = tl.cdiv(S, BS)
    owner = (tl.program_id(0) // blocks).to(tl.int64)
    q = (tl.program_id(0) % blocks) * BS + tl.arange(0, BS)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    j = (tl.program_id(2) * BJ + tl.arange(0, BJ)).to(tl.int64)
    g, K = owner % G, C * T
    here = (q < S)[:, None] & (c < C)[None, :]
    operand = (owner * C + c[None, :]) * S + q[:, None]
    v = tl.load(u + operand, mask=here, other=0.0)
    sums = tl.zeros((BJ, BS, BC), tl.float32)
    for e in range(E):
        entry = tl.load(inverse + q * E + e, mask=q < S, other=-1)
        reads = entry >= 0
        p, t = tl.where(reads, entry // T, 0), tl.where(reads, entry % T, 0)
        for o0 in range(0, N, BO):
            o = o0 + tl.arange(0, BO)
            unit = (owner * N + o[None, :]) * L + p[:, None]
            there = reads[:, None] & (o < N)[None, :]
            mass = tl.load(
                beta + j[:, None, None] * (B * G * N * L) + unit[None, :, :],
                mask=(j < J)[:, None, None] & there[None, :, :],
                other=0.0,
            )
            if tl.max(tl.abs(mass)) > 0:
                s = tl.load(score + unit, mask=there, other=0.0)
                top = tl.load(greatest + unit, mask=there, other=0.0)
                by = tl.load(divisor + unit, mask=there, other=1.0)
                how = tl.load(kind + unit, mask=there, other=NONE)
                position = 0 if SHARED else p[:, None, None]
                row = ((g * (1 if SHARED else L) + position) * N + o[None, None, :]) * K
                w = tl.load(
                    weight + row + c[None, :, None] * T + t[:, None, None],
                    mask=there[:, None, :] & (c < C)[None, :, None],
                    other=0.0,
                )
                product = v[:, :, None] * w
                x = product * tl.where(s == s, s, 0.0)[:, None, :]
                share = tl.maximum(x, 0.0) if POSITIVE else tl.exp2(tl.minimum(x - top[:, None, :], 0.0))
                share = tl.where((how == RULE)[:, None, :], share, 1.0)
                share = tl.where(product != 0, share, 0.0)
                share = tl.where((how == SUPPORT)[:, None, :], (w != 0).to(tl.float32), share)
                share = tl.where((how == WIRED)[:, None, :], 1.0, share)
                share = tl.where((how == NONE)[:, None, :], 0.0, share / by[:, None, :])
                sums += tl.sum(share[None, :, :, :] * mass[:, :, None, :], axis=3)
    out = received + j[:, None, None] * (B * G * C * S) + operand[None, :, :]
    tl.store(out, sums, mask=(j < J)[:, None, None] & here[None, :, :])


def readers(windows: Tensor, size: int) -> Tensor:
    """Who reads each position: int32 ``(S, E)`` of ``l * T + t``, -1 where a position has fewer readers."""
    flat = windows.flatten().long()
    entries = torch.arange(len(flat), device=flat.device)[flat >= 0]
    order = flat[entries].argsort(stable=True)
    entries = entries[order]
    positions = flat[entries]
    counts = torch.bincount(positions, minlength=size)
    rank = torch.arange(len(entries), device=flat.device) - (counts.cumsum(0) - counts)[positions]
    inverse = flat.new_full((size, max(1, int(counts.max()))), -1, dtype=torch.int32)
    inverse[positions, rank] = entries.to(torch.int32)
    return inverse


def spread(
    layout: Layout, u: Tensor, slope: Slope, h: Tensor, beta: Tensor, settings: Settings
) -> tuple[Tensor, Tensor | None]:
    """See `biasprop.kernels.spread`; float32 on a GPU and rules that have a form."""
    batch, groups, channels, size = layout.operand
    outputs, positions = layout.output[2:]
    targets, taps = len(beta), layout.windows.shape[1]
    windows = layout.windows.to(u.device)
    score = slope.dense(beta.new_ones(()), layout.output)
    score = score.masked_fill(score == 0, math.nan)
    form: Form | None = form_of(settings.rule)
    match form:
        case Softmax(scale, signed):
            positive, factor = False, scale / math.log(2)
            score = score * h.sign() * factor if signed else score * factor
        case Proportional():
            positive = True
        case None:
            raise TypeError(f"{settings.rule!r} has no form: it is for biasprop.kernels.streaming.")
        case _:
            assert_never(form)
    u, weight, score, mass = (t.contiguous() for t in (u, layout.weight, score, beta))
    greatest, divisor = torch.empty_like(score), torch.empty_like(score)
    kind = torch.empty_like(score, dtype=torch.int32)
    received = beta.new_empty(targets, *layout.operand)
    options = {"POSITIVE": positive, "SHARED": layout.weight.shape[1] == 1}
    sizes = (groups, channels, size, outputs, positions, taps)
    rows, owners = min(16, triton.next_power_of_2(positions)), batch * groups
    columns = min(256 // rows, max(4, triton.next_power_of_2(outputs)))
    normalise[(owners * triton.cdiv(positions, rows), triton.cdiv(outputs, columns))](
        u, windows, weight, score, greatest, divisor, kind, *sizes,
        **options, BL=rows, BO=columns, BK=TILE // 256,
    )  # fmt: skip
    inverse = readers(windows, size)
    at_once = 1 if targets == 1 else TARGETS
    rows = min(16, triton.next_power_of_2(size))
    columns = min(256 // rows, max(4, triton.next_power_of_2(channels)))
    collect[(owners * triton.cdiv(size, rows), triton.cdiv(channels, columns), triton.cdiv(targets, at_once))](
        u, inverse, weight, score, greatest, divisor, kind, mass, received, targets, batch, *sizes, inverse.shape[1],
        **options, BS=rows, BC=columns, BO=TILE // 256 // at_once, BJ=at_once,
    )  # fmt: skip
    lost = torch.where(kind == NONE.value, beta, 0)
    return received, lost if lost.any() else None
