"""Operations whose value is constant to the first order, and those that have no local model yet."""

from functools import partial
from typing import Any

import torch

from ..errors import UnsupportedOperation
from ..local_models import LocalModel
from . import degrees
from .call import Call
from .family import Family

__all__ = ["FAMILIES", "constant", "refused", "rewritten", "unknown_operation"]


def constant(call: Call) -> None:
    """Its value does not depend on x, or not to the first order: it counts as bias."""


def refused(call: Call) -> LocalModel:
    """No local model yet: refused by name."""
    raise unknown_operation(call)


def rewritten(call: Call) -> LocalModel:
    """Taken apart when the model is captured, or held, by its mode (mathematics, section 10)."""
    raise unknown_operation(call)


def unknown_operation(call: Call) -> UnsupportedOperation:
    """The error for an operation that is in no family."""
    node = call.node
    entry = f"operations={{torch.ops.{node.packet}: "
    if _may_be_elementwise(call):
        remedy = f"If it works elementwise, pass {entry}biasprop.operations.gate}}; otherwise give it a local model"
    else:
        remedy = f"It does not work elementwise: give it, {entry}...}}, a local model"
    return UnsupportedOperation(
        f"Operation {node.packet} at {node.name!r} (module {node.path or 'the model itself'!r}) has no local model "
        f"yet: its share of the explanation is unknown. {remedy} of your own (see biasprop.operations), or write the "
        "module without it."
    )


def _may_be_elementwise(call: Call) -> bool:
    """What torch says of its own operations; any other one may be that returns what has the shape of its operands."""
    function: Any = call.node.function
    if getattr(function, "namespace", "") == "aten":
        return torch.Tag.pointwise in function.tags
    try:
        with torch.no_grad():
            shape = call(*call.operands).shape
        return bool(shape == torch.broadcast_shapes(*(u.shape for u in call.operands)))
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False


FAMILIES = (
    Family(constant, degrees.kept, "detach"),
    Family(constant, degrees.zero, "zeros_like new_zeros"),
    Family(
        constant,
        degrees.zeroth,
        "ones_like full_like empty_like new_ones new_full new_empty sym_size argmax argmin argsort logical_not "
        "logical_and logical_or bitwise_not bitwise_and bitwise_or isnan any all",
    ),
    Family(constant, degrees.comparison, "gt ge lt le eq ne"),
    Family(rewritten, degrees.kept, "cumsum norm linalg_vector_norm std"),
    Family(rewritten, partial(degrees.to_the, exponent=2), "var"),
    Family(refused, degrees.contracted, "mv dot"),
    Family(rewritten, degrees.contracted, "einsum outer"),
    Family(rewritten, degrees.bounded, "softmax _softmax _safe_softmax log_softmax _log_softmax logsumexp"),
    Family(
        rewritten,
        degrees.normalised,
        "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm",
    ),
    Family(rewritten, degrees.attention, "scaled_dot_product_attention"),
)
