"""A bias-free copy of any model (mathematics, section 8).

Removing the biases of a *trained* network changes its function: it is a warm start for training, not a replacement. The
networks of Hesse, Schaub-Meyer & Roth (NeurIPS 2021) are trained without.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import captured
from ..errors import InputError
from ..graph import Graph, Node, walk
from ..operations import family_of
from ..operations.copying import concatenation, routing
from ..operations.elementwise import affine
from .judgement import homogeneity
from .modules import UncenteredBatchNorm, UncenteredBatchNorm1d, UncenteredBatchNorm2d, UncenteredBatchNorm3d

__all__ = ["remove_bias"]

NORMS: Sequence[tuple[type[nn.modules.batchnorm._BatchNorm], type[UncenteredBatchNorm]]] = (
    (nn.BatchNorm1d, UncenteredBatchNorm1d),
    (nn.BatchNorm2d, UncenteredBatchNorm2d),
    (nn.BatchNorm3d, UncenteredBatchNorm3d),
)


def remove_bias(
    model: nn.Module, x: Tensor | tuple[Tensor, ...] | None = None, additional_forward_args: Any = None
) -> nn.Module:
    """A copy of ``model`` without additive constants; ``model`` itself is left as it is.

    Biases of layers become None; batch norm becomes uncentred, with the mean square ``var + mean^2`` that its running
    statistics imply; parameters of any module whose name says that they are a bias (``bias``, ``bias1a``,
    ``in_proj_bias``) become buffers of zeros, which no training brings back. With an example ``x`` the network is also
    captured, and every other parameter that it merely adds (a bare parameter, a positional embedding) is treated so.

    A trained network without its biases is another function: train it further (a warm start).

    Args:
        model: any module.
        x: input, or a tuple of inputs; the model must then be in eval mode.
        additional_forward_args: with ``x``: passed on to the model; what it adds of them is no constant of the model.

    Returns:
        The copy. What breaks homogeneity and cannot be removed is named in a warning (with ``x``; see `homogeneity`).

    Warns:
        UserWarning: nothing was there to remove, or something is left.
    """
    made = copy.deepcopy(model)
    removed = _remove_from_modules(made)
    left = [name for name, module in made.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if left:
        warnings.warn(
            f"Left, because it is no BatchNorm1d, 2d or 3d: the running mean of {', '.join(left)}.", stacklevel=2
        )
    if x is not None:
        removed += _remove_added_parameters(made, x, additional_forward_args)
        _warn_of_the_rest(made, x, additional_forward_args)
    if not removed:
        warnings.warn("The model has no bias to remove: the copy is the same network.", stacklevel=2)
    return made


def _remove_from_modules(model: nn.Module) -> int:
    made: dict[nn.Module, nn.Module] = {}  # one for each, also where it is used twice
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            for kind, uncentred in NORMS:
                if isinstance(child, kind):
                    made[child] = made[child] if child in made else uncentred.of(child)
                    setattr(module, name, made[child])
    removed = len(made)
    if any(isinstance(model, kind) for kind, _ in NORMS):
        raise InputError("The model is a batch norm itself: use UncenteredBatchNorm1d, 2d or 3d.")
    read = {part for module in model.modules() if isinstance(module, READERS) for part in module.modules()}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if "bias" not in name:
                continue
            removed += 1
            if name == "bias" and isinstance(module, OPTIONAL_BIAS) and module not in read:
                module.register_parameter("bias", None)
            else:
                _replace_by_zeros(module, name, parameter)
    return removed


# Modules whose forward takes a bias of None, except within those that read the biases of their parts themselves.
OPTIONAL_BIAS = (nn.Linear, nn.LayerNorm, nn.modules.conv._ConvNd)
READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def _replace_by_zeros(module: nn.Module, name: str, parameter: Tensor) -> None:
    """A buffer in the place of a parameter or buffer."""
    if name in module._parameters:
        del module._parameters[name]
        module.register_buffer(name, torch.zeros_like(parameter.detach()))
    else:
        setattr(module, name, torch.zeros_like(parameter))


def _remove_added_parameters(model: nn.Module, x: Tensor | tuple[Tensor, ...], more: Any) -> int:
    """Zeros for the parameters whose every use is to be added to what depends on the input."""
    graph = captured(model, x, more)[1]
    removed = 0
    for node, name in graph.parameters.items():
        path, _, attribute = name.rpartition(".")
        try:
            module = model.get_submodule(path)
        except AttributeError:
            continue
        value = getattr(module, attribute, None)
        if isinstance(value, Tensor) and value.is_floating_point() and value.any() and _is_merely_added(graph, node):
            _replace_by_zeros(module, attribute, value)
            removed += 1
    return removed


def _is_merely_added(graph: Graph, constant: Node) -> bool:
    """Whether a constant reaches what depends on the input only as a term of a sum, or beside it.

    On the way it may be rearranged: the zeros that take its place are then still zeros.
    """
    uses: list[bool] = []

    def visit(node: Node, values: Mapping[Node, Any]) -> str:
        """What is known of a node: that it is the constant, that it depends on the input, or neither."""
        kinds = {values[o] for o in node.operands}
        family = family_of(node)[0]
        if "constant" in kinds and kinds == {"constant"} and family.kind is routing and len(node.operands) == 1:
            return "constant"
        if "constant" in kinds:
            uses.append("depends" in kinds and family.kind in (affine, concatenation))
        return "depends" if "depends" in kinds else "other"

    values = dict.fromkeys([*graph.parameters, *graph.extras], "other") | {constant: "constant"}
    walk(graph, values | dict.fromkeys(graph.inputs, "depends"), visit)
    return bool(uses) and all(uses)


def _warn_of_the_rest(model: nn.Module, x: Tensor | tuple[Tensor, ...], more: Any) -> None:
    report = homogeneity(model, x, more)
    if report.breakers:
        warnings.warn("Left, because it cannot be removed: " + "; ".join(map(str, report.breakers)), stacklevel=3)
