"""Every operation that biasprop can explain, by family (the table of spec section 4).

An *operation rule* is a function from a `Call` (the operation at the current input) to a `Piece` (its local linear
model). Most of PyTorch is covered by a handful of families, so teaching biasprop an operation is usually one line::

    from biasprop import explain, operations

    explain(model, x, operations={torch.ops.mylib.swoosh: operations.gate})

`TABLE` is read-only: what a user adds travels as an argument, never as global state.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import torch

from ..capture import Node, overwrite
from ..errors import UnsupportedOperation
from .average import adaptive_average_pool, average_pool, interpolation, reduction
from .call import Call, Operation
from .elementwise import affine, gate, homogeneous_gate, product
from .linear import addmm, convolution, linear, matmul
from .routing import insertion, routing

__all__ = [
    "CONSTANT",
    "FAMILIES",
    "TABLE",
    "Call",
    "Operation",
    "adaptive_average_pool",
    "addmm",
    "affine",
    "average_pool",
    "convolution",
    "find_rule",
    "gate",
    "homogeneous_gate",
    "insertion",
    "interpolation",
    "linear",
    "matmul",
    "product",
    "reduction",
    "routing",
]

FAMILIES: Mapping[Operation, str] = MappingProxyType(
    {
        linear: "linear",
        addmm: "addmm",
        matmul: "matmul mm",
        convolution: "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
        average_pool: "avg_pool1d avg_pool2d avg_pool3d",
        adaptive_average_pool: "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
        reduction: "mean sum",
        interpolation: "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d",
        affine: "add sub rsub neg batch_norm _native_batch_norm_legit_no_training",
        product: "mul div",
        homogeneous_gate: "relu leaky_relu prelu abs",
        gate: "relu6 hardtanh hardswish hardsigmoid elu selu celu gelu silu mish sigmoid tanh softplus log_sigmoid "
        "hardshrink softshrink threshold clamp clamp_min clamp_max max.other min.other "
        "maximum minimum fmax fmin exp expm1 log log1p "
        "sqrt rsqrt square reciprocal pow sin cos erf sign round floor ceil trunc remainder fmod addcmul addcdiv "
        "lerp",
        routing: "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
        "max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin max min topk "
        "sort median kthvalue view _unsafe_view reshape view_as flatten unflatten permute transpose t mT swapaxes "
        "movedim numpy_T squeeze unsqueeze expand expand_as repeat repeat_interleave tile split split_with_sizes "
        "chunk tensor_split unsafe_split unsafe_chunk unbind slice select narrow index index_select gather "
        "take_along_dim roll flip clone contiguous alias lift_fresh_copy _to_copy to dropout feature_dropout "
        "alpha_dropout feature_alpha_dropout reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
        "replication_pad2d replication_pad3d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d pixel_shuffle "
        "pixel_unshuffle channel_shuffle unfold diagonal tril triu broadcast_to as_strided",
        insertion: "pad constant_pad_nd cat concat stack where masked_fill slice_scatter select_scatter index_put "
        "index_fill fill masked_scatter scatter diagonal_scatter",
    }
)
"""The families and the ATen operations that belong to each."""

TABLE: Mapping[Any, Operation] = MappingProxyType(
    {
        attrgetter(name)(torch.ops.aten): family
        for family, names in FAMILIES.items()
        for name in names.split()
        if hasattr(torch.ops.aten, name.split(".")[0])
    }
    | {overwrite: insertion}
)
"""ATen operation -> its rule."""

CONSTANT = frozenset(
    getattr(torch.ops.aten, name)
    for name in [
        "detach",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "sym_size",
        "argmax",
        "argmin",
        "argsort",
    ]
)
"""Operations whose result does not depend on the values of the input: to the first order it is a constant."""


def find_rule(node: Node, extra: Mapping[Any, Operation]) -> Operation | None:
    """The rule of a node's operation; None if its result is constant.

    Raises:
        UnsupportedOperation: there is none; the message names the operation and its module path.
    """
    function: Callable[..., Any] = node.function
    packet = getattr(function, "overloadpacket", function)
    for table in (extra, TABLE):
        if (rule := table.get(function) or table.get(packet)) is not None:
            return rule
    if packet in CONSTANT:
        return None
    raise UnsupportedOperation(
        f"Operation {packet} at {node.name!r} (module {node.path or 'the model itself'!r}) has no rule, so its share "
        "of the explanation is unknown. If it works elementwise, pass "
        f"operations={{torch.ops.{packet}: biasprop.operations.gate}}; otherwise give it a rule of your own "
        "(see biasprop.operations), or write the module without it."
    )
