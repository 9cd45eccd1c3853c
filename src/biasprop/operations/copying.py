"""Selection and rearrangement: beta moves with the index (mathematics, section 4, last row)."""

from functools import partial

from torch import Tensor

from ..graph import overwrite
from ..kernels.autograd import forget
from ..local_models import Identity, LocalModel, Routing
from . import degrees
from .call import Call
from .family import Family

BY_VALUE = frozenset(["sort", "topk", "kthvalue", "median"])
"""Operations that do not merely put their operand's entries elsewhere."""

AS_IT_IS = frozenset(["clone", "contiguous", "alias", "lift_fresh_copy", "_to_copy", "to"])
"""Operations that leave every entry where it is, so that a layer and the gate behind them are still one."""

__all__ = ["FAMILIES", "concatenation", "insertion", "placement", "routing", "scattering"]


def routing(call: Call) -> LocalModel:
    """Every unit copies one operand: max pool, reshape, permute, slice, gather, expand, nearest upsampling."""
    leaves = call.leaves()
    output = call(*leaves)
    if call.node.operation in AS_IT_IS and output.dtype == leaves[0].dtype:
        return Identity(leaves[0], output, call.without_values())
    return _copied(call, leaves, output)


def insertion(call: Call) -> LocalModel:
    """Routing that may bring in constants: pad, where, masked fill. They are bias sources.

    A unit that copies a constant has nothing wired to it; what bias reaches it is unattributed.
    """
    leaves = call.leaves()
    output = call(*leaves)
    constant = call.at(0.0)
    wired = None if (copied := call.at(1.0) != constant).all() else copied
    return _copied(call, leaves, output, constant if constant.any() else None, wired)


def concatenation(call: Call) -> LocalModel:
    """Tensors side by side, constants among them."""
    leaves = call.leaves()
    output = call(*leaves)
    return _copied(call, leaves, output) if output.numel() == sum(u.numel() for u in leaves) else insertion(call)


def _copied(
    call: Call, leaves: list[Tensor], output: Tensor, constant: Tensor | None = None, wired: Tensor | None = None
) -> Routing:
    """Of operands their shapes alone are kept, where PyTorch's own derivative takes no more."""
    if call.trusted:
        forget(leaves, output)
    return Routing(leaves, output, constant, wired, None if call.node.operation in BY_VALUE else call.without_values())


def placement(call: Call) -> LocalModel:
    """Values put at indices, without adding up."""
    if call.argument(3, "accumulate", False):
        raise call.unsupported("it adds up where indices repeat.")
    return insertion(call)


def scattering(call: Call) -> LocalModel:
    """Values put at indices in place of what was there; not combined with it (``reduce=``)."""
    if call.kwargs.get("reduce") is not None:
        raise call.unsupported(f"reduce={call.kwargs['reduce']!r} combines values instead of replacing them.")
    return insertion(call)


def _of(*positions: int) -> partial[degrees.Degree]:
    return partial(degrees.common, positions=positions)


FAMILIES = (
    Family(
        routing,
        degrees.kept,
        "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin max min topk sort median kthvalue view "
        "_unsafe_view reshape view_as flatten unflatten permute transpose t mT swapaxes movedim numpy_T squeeze "
        "unsqueeze expand expand_as repeat repeat_interleave tile split split_with_sizes chunk tensor_split "
        "unsafe_split unsafe_chunk unbind slice select narrow index index_select gather take_along_dim roll flip clone "
        "contiguous alias lift_fresh_copy _to_copy to dropout feature_dropout alpha_dropout feature_alpha_dropout "
        "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
        "_upsample_nearest_exact3d pixel_shuffle pixel_unshuffle channel_shuffle unfold diagonal tril triu "
        "broadcast_to as_strided type_as",
    ),
    Family(concatenation, _of(0), "cat concat stack"),
    Family(insertion, degrees.padded, "pad constant_pad_nd"),
    Family(insertion, degrees.kept, "im2col"),
    Family(insertion, _of(1, 2), "where"),
    Family(insertion, _of(0, 2), "masked_fill masked_scatter"),
    Family(insertion, _of(0, 3), "index_fill"),
    Family(insertion, _of(0, 1), "slice_scatter select_scatter diagonal_scatter", others=(overwrite,)),
    Family(insertion, degrees.filled, "fill"),
    Family(scattering, _of(0, 3), "scatter"),
    Family(placement, _of(0, 2), "index_put"),
)
