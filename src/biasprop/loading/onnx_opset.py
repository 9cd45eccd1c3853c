"""ONNX files of newer versions of its operations, written as in the version that onnx2torch knows.

Most operations only got more types of numbers since. A file that uses what is really new is refused: by onnx's checker,
which finds the attribute or input that the older version does not have, or for want of a converter.
"""

from collections.abc import Callable
from typing import Any

from ..extras import require

__all__ = ["lower"]

NEWEST = 17
"""The version of operations that onnx2torch knows all common ones of."""


def lower(model: Any) -> None:
    """Change the file's graph, in place, so that it says the same in the older version."""
    to_array, make_attribute = (
        require("onnx.numpy_helper", "onnx").to_array,
        require("onnx.helper", "onnx").make_attribute,
    )
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        n.output[0]: a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.t.dims
    }
    newer = model.opset_import[0].version > NEWEST
    for node in model.graph.node:
        second = constants.get(node.input[1]) if len(node.input) == 2 else None
        if node.op_type == "Reshape" and (second is None or to_array(second).all()):
            _drop(node, lambda a: a.name == "allowzero")  # means nothing where no size is written as 0
        if newer and node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            _drop(node, lambda a: a.name == "noop_with_empty_axes" and a.i == 0)
            if second is not None:  # since 18 the axes are an input, before they were an attribute
                node.attribute.append(make_attribute("axes", to_array(second).tolist()))
                del node.input[1:]
    if newer:
        model.opset_import[0].version = NEWEST


def _drop(node: Any, unwanted: Callable[[Any], bool]) -> None:
    kept = [attribute for attribute in node.attribute if not unwanted(attribute)]
    del node.attribute[:]
    node.attribute.extend(kept)
