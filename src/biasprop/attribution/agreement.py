"""Whether what is explained is what the model computes: its own output, and its own gradient, beside the graph's.

Capture sees what ``forward`` does once, with stand-ins for tensors. Where ``forward`` does something else at another
batch size, with gradients switched on, or after a change of the model, the graph is of another function.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import BiaspropError, CaptureError
from ..graph import Graph, capture, coarsest, compute_dtype, run

__all__ = ["require_agreement", "warn_of_gradients"]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Of the largest output of an example: what the order of sums may change, in the precision of the model."""

CANCELLED = 64  # units in the last place of the terms that an output is the sum of


def require_agreement(
    model: nn.Module,
    graph: Graph,
    inputs: tuple[Tensor, ...],
    extras: tuple[Any, ...],
    computed: Any,
    size: Tensor,
) -> None:
    """Run the model itself, once, and compare.

    Args:
        model: the user's.
        graph: captured from it.
        inputs: what is explained; each of shape ``(N, ...)``.
        extras: further arguments.
        computed: what the graph computes of them, in the structure of the model's output.
        size: the sum of the absolute terms of an explained output, ``(N,)``.

    Raises:
        CaptureError: the model gives something else; the message says how far off and what is likely to be the cause.
    """
    own, dtype = _called(model, inputs, extras), coarsest({i.dtype for i in inputs} | graph.dtypes(model))
    miss = _miss(own, computed, dtype, size)
    if miss is not None:
        cause = _cause(model, dtype, inputs, extras)
        raise CaptureError(f"The captured graph is not what {type(model).__name__} computes: {miss}. {cause}")


def _called(model: nn.Module, inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> Any:
    """What the model returns; it may write into its arguments."""
    with torch.no_grad():
        return model(*pytree.tree_map_only(Tensor, torch.clone, (*inputs, *extras)))


def _numbers(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _miss(own: Any, computed: Any, dtype: torch.dtype, size: Tensor | None = None) -> str | None:
    """How far off, in words; None where they agree."""
    expected, found = _numbers(own), _numbers(computed)
    if [tuple(t.shape) for t in expected] != [tuple(t.shape) for t in found]:
        return f"shapes {[tuple(t.shape) for t in found]} instead of {[tuple(t.shape) for t in expected]}"
    for e, f in zip(expected, found, strict=True):
        e, f = e.detach().to(f.dtype), f.detach()
        rows = e.shape[0] if size is not None and e.dim() and e.shape[0] == len(size) else 1
        e, f = e.reshape(rows, -1), f.reshape(rows, -1)
        if e.numel() == 0:
            continue
        largest = e.abs().nan_to_num(0, 0, 0).amax(1)
        allowed = TOLERANCE.get(dtype, 1e-4) * largest
        if size is not None:
            terms = size if rows == len(size) else size.amax()[None]
            allowed = allowed + CANCELLED * torch.finfo(f.dtype).eps * terms.to(f.dtype)
        apart = torch.where((e == f) | (e.isnan() & f.isnan()), 0, (e - f).abs()).nan_to_num(torch.inf).amax(1)
        if bool((apart > allowed).any()):
            worst = int((apart / allowed.clamp_min(torch.finfo(f.dtype).tiny)).argmax())
            at = int((e[worst] - f[worst]).abs().nan_to_num(torch.inf).argmax())
            return f"an output is {f[worst, at]:.6g} in the graph and {e[worst, at]:.6g} in the model"
    return None


def _cause(model: nn.Module, dtype: torch.dtype, inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> str:
    """Found by trying: what makes the model say something else."""
    own = _called(model, inputs, extras)
    if _miss(own, _called(model, inputs, extras), dtype):
        return "Its output is another one each time: switch off what draws random numbers or keeps a state."
    for count in _other_sizes(len(inputs[0])) if not extras else ():
        again = _called(model, tuple(torch.cat([i] * count)[:count] for i in inputs), ())
        both = min(count, len(inputs[0]))
        if _miss([t[:both] for t in _numbers(own)], [t[:both] for t in _numbers(again)], dtype):
            return (
                f"forward does something else for a batch of {count} than of {len(inputs[0])}: it looks at the batch "
                "size. Write it so that each output belongs to one example."
            )
    try:
        with torch.enable_grad():
            fresh = capture(model, inputs, extras)
            again = run(fresh, fresh.read_parameters(model), inputs, extras)
        if _miss(own, again, dtype) is None:
            return (
                "The model was changed after it was captured (a hook, a replaced layer, eps, a number of Python's): "
                "make a new explainer."
            )
    except BiaspropError:
        pass
    return (
        "forward does something else while it is captured: a branch on torch.compiler.is_exporting(), on the batch "
        "size or on x.requires_grad, autocast inside, or values computed outside of PyTorch."
    )


def _other_sizes(batch: int) -> tuple[int, ...]:
    return 1 if batch > 1 else 2, 2 * batch


def warn_of_gradients(model: nn.Module, graph: Graph, inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> None:
    """Warn where autograd, run on the model itself, gives another gradient than the graph's derivative.

    Both are of one random direction of the output. Precisions below float32 are not compared.

    Raises:
        CaptureError: with gradients switched on the model computes something else.
    """
    dtype = coarsest({i.dtype for i in inputs} | graph.dtypes(model))
    if compute_dtype(dtype) != dtype:
        return
    own = _gradients(model, inputs, extras)
    if own is None:
        return
    parameters = graph.read_parameters(model)
    ours = _gradients(lambda *args: run(graph, parameters, args[: len(inputs)], args[len(inputs) :]), inputs, extras)
    if ours is None:
        return
    miss = _miss(own[0], ours[0], dtype)
    if miss is not None:
        once, twice = (_called(model, inputs, extras) for _ in range(2))
        if _miss(once, own[0], dtype) is None or _miss(once, twice, dtype) is not None:
            return  # also without gradients, or each time: `require_agreement` says so
        raise CaptureError(
            f"The captured graph is not what {type(model).__name__} computes where gradients are on: {miss}. forward "
            "branches on x.requires_grad or torch.is_grad_enabled()."
        )
    apart = torch.stack([(a - b).norm() for a, b in zip(own[1], ours[1], strict=True)]).norm()
    size = torch.stack([g.norm() for g in ours[1]]).norm()
    if bool(apart > 1e-3 * size) and bool(size.isfinite()):
        share = float(apart / size.clamp_min(1e-300))
        warnings.warn(
            f"The gradient that autograd gives for {type(model).__name__} is not the derivative of what it computes "
            f"({100 * share:.3g} % off): it has an autograd.Function with a backward of its own, or a backward hook. "
            "w is the derivative of what it computes.",
            stacklevel=4,
        )


def _gradients(
    function: Callable[..., Any], inputs: tuple[Tensor, ...], extras: tuple[Any, ...]
) -> tuple[list[Tensor], Sequence[Tensor]] | None:
    """Outputs, and the gradient of the inputs along a fixed direction; None where autograd cannot give it."""
    leaves = tuple(i.clone().requires_grad_() for i in inputs)
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.enable_grad():
            arguments = tuple(leaf.clone() for leaf in leaves)  # which the model may write into
            outputs = _numbers(function(*arguments, *pytree.tree_map_only(Tensor, torch.clone, extras)))
            products = [(o * torch.randn(o.shape, generator=generator).to(o)).sum() for o in outputs if o.requires_grad]
            if not products:
                return None
            gradients = torch.autograd.grad(products, leaves, allow_unused=True, materialize_grads=True)
    except RuntimeError:  # of the model: inference tensors, or no derivative
        return None
    return [o.detach() for o in outputs], gradients
