"""Sizes in a network that came from ONNX, as Python's numbers.

ONNX computes sizes with tensors: the shape of x, one entry of it, that and -1 in a row, then a reshape by them.
``torch.export`` cannot see through a tensor's values; so what is a size here becomes a number that is known while the
network is captured, and the operations that take one take numbers. The weights are not touched.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["plain_sizes"]

MOST = 64  # a tensor with more numbers than this is no row of sizes


def plain_sizes(module: fx.GraphModule, batch: int = 0, by_example: frozenset[str] = frozenset()) -> fx.GraphModule:
    """The same network, with every size a number.

    Args:
        module: what onnx2torch made.
        batch: the batch size that the file fixes, if any.
        by_example: the reshapings of tensors whose first dimension is the batch: one that keeps it is to keep any.
    """
    constants: dict[fx.Node, Tensor] = {}
    sizes: dict[fx.Node, Any] = {}
    for node in list(module.graph.nodes):
        value = _constant(module, node, constants)
        if value is not None:
            constants[node] = value
            if value.dim() <= 1:
                sizes[node] = value.tolist()
        if node.op == "call_module":
            made = _replace(module, node, sizes, batch if node.target in by_example else 0)
            for known in (constants, sizes):
                if made is not None and node in known:
                    known[made] = known[node]
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _replace(module: fx.GraphModule, node: fx.Node, sizes: dict[fx.Node, Any], batch: int) -> fx.Node | None:
    """Note which size the node stands for, or let another that takes numbers for sizes be in its place."""
    called = module.get_submodule(str(node.target))
    kind = type(called).__name__
    options = {name: getattr(called, attribute) for name, attribute in READ.get(kind, {}).items()}
    rest: list[Any] = list(node.args)
    named: dict[str, Any] = dict(node.kwargs)
    x: Any = rest.pop(0) if rest else None
    known = all(argument is None or argument in sizes for argument in (*rest, *named.values()))
    rest = [sizes.get(argument, argument) for argument in rest]
    named = {name: sizes.get(argument, argument) for name, argument in named.items()}
    with module.graph.inserting_before(node):
        if kind == "OnnxShape" and node not in sizes:
            sizes[node] = module.graph.call_function(shape_of, (x,), options)
        elif kind in COMPUTED and known and x in sizes and node not in sizes:
            sizes[node] = module.graph.call_function(COMPUTED[kind], (sizes[x], *rest), {**named, **options})
        elif kind in TAKING and known and (rest or named):
            if kind == "OnnxReshape" and batch and isinstance(rest[0], list) and rest[0][:1] == [batch]:
                rest[0] = [0, *rest[0][1:]]  # 0 is ONNX's word for: as it was
            replaced = module.graph.call_function(TAKING[kind], (x, *rest), {**named, **options})
            node.replace_all_uses_with(replaced)
            return replaced
    return None


def _constant(module: fx.GraphModule, node: fx.Node, constants: dict[fx.Node, Tensor]) -> Tensor | None:
    """The node's value where it is a few numbers that do not depend on x, so that it may be sizes."""
    value: Any = None
    if node.op == "get_attr":
        value = _attribute(module, str(node.target))
    elif node.op == "call_module":
        called = module.get_submodule(str(node.target))
        kind = type(called).__name__
        if kind == "OnnxConstant":
            value = getattr(called, "value", None)
        elif kind in FOLDED and node.args and not node.kwargs and all(a in constants for a in node.args):
            arguments = [constants[a] for a in node.args if isinstance(a, fx.Node)]
            if kind == "OnnxSlice":  # onnx2torch's own indexes with lists, which PyTorch reads otherwise since 2.9
                value = sliced(arguments[0], *(argument.tolist() for argument in arguments[1:]))
            elif kind != "OnnxConstantOfShape" or 0 <= math.prod(arguments[0].tolist()) <= MOST:
                value = called(*arguments)
    return value if isinstance(value, Tensor) and value.numel() <= MOST else None


def _attribute(module: nn.Module, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def shape_of(x: Tensor, start: int, end: int | None) -> list[int]:
    """``Shape``."""
    return list(x.shape[start:end])


def pick(sizes: list[int], index: Any) -> Any:
    """``Gather``: one size, or several."""
    return [sizes[i] for i in index] if isinstance(index, list) else sizes[index]


def joined(*rows: list[int]) -> list[int]:
    """``Concat``."""
    return [size for row in rows for size in row]


def as_row(size: Any) -> list[int]:
    """``Unsqueeze`` of one size."""
    return [size]


def out_of_row(sizes: list[int], axes: Any = None) -> int:
    """``Squeeze`` of a row of one."""
    assert not axes or list(axes) == [0]
    (size,) = sizes
    return size


def unchanged(sizes: Any) -> Any:
    """``Cast``, ``Identity``."""
    return sizes


def cut(sizes: list[int], starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> list[int]:
    """``Slice``."""
    assert not axes or list(axes) == [0]
    return sizes[slice(starts[0], ends[0], steps[0] if steps else None)]


def reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``Reshape``: 0 is the size that x has there."""
    return x.reshape([x.shape[i] if isinstance(size, int) and size == 0 else size for i, size in enumerate(shape)])


def expanded(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``Expand``, which broadcasts both ways."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape)))


def sliced(x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    """``Slice``, forwards or backwards."""
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        dim, wanted = (axes[i] if axes else i) % x.dim(), slice(start, end, steps[i] if steps else 1)
        if wanted.step < 0:
            x = x.index_select(dim, torch.tensor(range(x.shape[dim])[wanted], device=x.device))
        else:
            x = x[(slice(None),) * dim + (wanted,)]
    return x


def squeezed(x: Tensor, axes: Any = None) -> Tensor:
    """``Squeeze``."""
    return x.squeeze(tuple(axes)) if axes else x.squeeze()


def padded(x: Tensor, pads: list[int], constant_value: Any = None, *, mode: str) -> Tensor:
    """``Pad``: ONNX counts from the first dimension, PyTorch from the last."""
    half = len(pads) // 2
    turned = [size for pair in zip(pads[:half][::-1], pads[half:][::-1], strict=True) for size in pair]
    if mode == "constant":
        value = constant_value[0] if isinstance(constant_value, list) else constant_value
        return nn.functional.pad(x, turned, mode, value)
    if any(turned[-4:]):
        raise NotImplementedError(f"{mode} padding of the batch or the channels")
    return nn.functional.pad(x, turned[:-4], mode)


def resized(
    x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None, *, mode: str, align_corners: bool | None
) -> Tensor:
    """``Resize`` of the spatial dimensions."""
    if (scales and list(scales[:2]) != [1, 1]) or roi:
        raise NotImplementedError("a resizing of the batch or the channels, or of a part")
    spatial = x.dim() - 2
    name = mode if mode == "nearest" else {("linear", 1): "linear", ("linear", 2): "bilinear"}.get((mode, spatial))
    if name is None:
        raise NotImplementedError(f"{mode} resizing in {spatial} dimensions")
    size, factor = (list(given[2:]) if given else None for given in (sizes, scales))
    return nn.functional.interpolate(x, size, factor, name, align_corners)


COMPUTED: dict[str, Callable[..., Any]] = {
    "OnnxCast": unchanged,
    "OnnxConcat": joined,
    "OnnxGather": pick,
    "OnnxIdentity": unchanged,
    "OnnxSlice": cut,
    "OnnxSqueezeDynamicAxes": out_of_row,
    "OnnxUnsqueezeStaticAxes": as_row,
}
"""Operations on sizes that give sizes, by onnx2torch's name."""

FOLDED = frozenset(
    [
        "OnnxBinaryMathOperation",
        "OnnxCast",
        "OnnxConcat",
        "OnnxConstantOfShape",
        "OnnxGather",
        "OnnxIdentity",
        "OnnxReshape",
        "OnnxSlice",
        "OnnxSqueezeDynamicAxes",
        "OnnxTranspose",
        "OnnxUnsqueezeStaticAxes",
    ]
)
"""Operations that are done at once on constants: all give few numbers for few."""

TAKING: dict[str, Callable[..., Any]] = {
    "OnnxExpand": expanded,
    "OnnxPadDynamic": padded,
    "OnnxReshape": reshaped,
    "OnnxResize": resized,
    "OnnxSlice": sliced,
    "OnnxSqueezeDynamicAxes": squeezed,
}
"""Operations on a tensor that take sizes after it."""

READ = {
    "OnnxPadDynamic": {"mode": "mode"},
    "OnnxResize": {"mode": "onnx_mode", "align_corners": "align_corners"},
    "OnnxShape": {"start": "_start", "end": "_end"},
}
"""What else of the module the function needs: its name there, by its name here."""
