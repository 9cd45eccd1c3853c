"""What cannot be captured faithfully, found in the model before its capture and in what ``torch.export`` made of it."""

import re
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.node import Node as FxNode
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from ..errors import CaptureError
from .node import Node

__all__ = ["reason_of", "refuse_hidden_blocks", "refuse_random", "require_eval", "require_module"]

ON_DATA = re.compile(r"data.?dependent|_local_scalar_dense|\.item\(\)|numpy\(\)|unbacked|dynamic shape|nonzero", re.I)


def require_module(model: Any) -> None:
    """Raise ``CaptureError`` for what is no module, or one that ``torch.export`` cannot take."""
    if not isinstance(model, nn.Module):
        raise CaptureError(f"The model must be a torch.nn.Module, not {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise CaptureError(
            f"{type(model).__name__} is TorchScript, which cannot be captured: give the module that it was made from."
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise CaptureError(f"{type(model).__name__} distributes a model and is none: give model.module.")


def require_eval(model: nn.Module) -> None:
    """Raise ``CaptureError`` where a module in training mode makes the output depend on chance or on the batch.

    Other modules may be in training mode; what a forward of one's own does in it, the graph shows.
    """
    require_module(model)
    for name, module in model.named_modules():
        if module.training and _differs_in_training(module):
            raise CaptureError(
                f"The model is in training mode (first at {name or type(model).__name__!r}): dropout and batch norm "
                "would make the explanation depend on chance and on the batch. Call model.eval() first."
            )


def _differs_in_training(module: nn.Module) -> bool:
    match module:
        case _DropoutNd():
            return module.p > 0
        case nn.RNNBase() | nn.MultiheadAttention():
            return module.dropout > 0
        case _BatchNorm():
            return True
        case _NormBase():
            return bool(module.track_running_stats)
        case _:
            return isinstance(module, nn.RReLU)


def in_training(model: nn.Module) -> str:
    """What to add to a message where a module in training mode is the likely cause."""
    return " The model is in training mode: call model.eval()." if any(m.training for m in model.modules()) else ""


def refuse_random(nodes: list[Node], model: nn.Module) -> None:
    """Raise ``CaptureError`` for an operation whose result is another one each time."""
    for node in nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.function, "tags", ()) and _is_random(node):
            raise CaptureError(
                f"{node.operation} at {node.name!r} draws random numbers: the model's output is another one each "
                "time, and no explanation is of all of them. Switch it off (F.dropout takes training=self.training), "
                f"or draw before and pass the numbers as an argument.{in_training(model)}"
            )


def _is_random(node: Node) -> bool:
    schema = node.function._schema.arguments  # type: ignore[attr-defined]
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    given |= dict(zip((a.name for a in schema), node.args, strict=False)) | node.kwargs
    off = any(given.get(name) is False for name in ("train", "training"))
    return not off and all(given.get(name) != 0 for name in ("p", "dropout_p", "dropout"))


def refuse_hidden_blocks(program: ExportedProgram, count: int) -> None:
    """Blocks that decomposition would dissolve although they change the gradient or the precision, and control flow.

    Args:
        program: as exported, not yet decomposed.
        count: how many of its first inputs are attributed; a block that does not read them is harmless.
    """
    specs = program.graph_signature.input_specs
    users = [s.arg.name for s in specs if s.kind is InputKind.USER_INPUT][:count]
    reached: set[FxNode] = set()
    for fx in program.graph.nodes:
        if fx.name in users or any(o in reached for o in fx.all_input_nodes):
            if isinstance(fx.meta.get("val"), torch.Tensor | list | tuple) or fx.op != "call_function":
                reached.add(fx)
            _refuse_block(fx)
        _refuse_control_flow(fx, program)


def _refuse_block(fx: FxNode) -> None:
    name = str(fx.target)
    where = next((path for path, _ in reversed(fx.meta.get("nn_module_stack", {}).values()) if path), "the model")
    if "set_grad_enabled" in name and fx.args[:1] == (False,):
        raise CaptureError(
            f"forward switches gradients off with torch.no_grad() (at {where!r}): "
            "what is constant there is lost in capture. Write .detach() on the tensors that are meant."
        )
    if "autocast" in name and True in fx.args[:4]:
        raise CaptureError(
            f"forward switches autocast on (at {where!r}), which capture does not keep. Take it out of forward and "
            "explain the model in its own precision."
        )


def _refuse_control_flow(fx: FxNode, program: ExportedProgram) -> None:
    name, blocks = str(fx.target), [str(o.target) for o in fx.all_input_nodes if o.op == "get_attr"]
    inside = any(isinstance(getattr(program.graph_module, block, None), nn.Module) for block in blocks)
    if inside and "set_grad_enabled" not in name and "autocast" not in name:
        raise CaptureError(
            f"forward has control flow that depends on data ({name}, as of torch.cond): the graph has no single "
            "linear piece to explain. Use torch.where."
        )


def reason_of(failure: Exception, model: nn.Module, args: tuple[Any, ...]) -> str:
    """Why a capture failed, for a person who has not written ``torch.export``."""
    shapes = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, torch.Tensor))
    try:
        with torch.no_grad():
            model(*args)
    except Exception as error:  # the user's model: whatever it raises
        return f"The model itself fails on inputs of shape {shapes}: {_line(error)}"
    name = type(model).__name__
    if any(ON_DATA.search(f"{type(e).__name__} {e}") for e in (failure, failure.__cause__) if e):
        return (
            f"torch.export cannot capture {name}: {_line(failure)} forward depends on values of the data (Python 'if' "
            "on a tensor, .item(), .data, NumPy): write that part with tensor operations such as torch.where."
        )
    return f"torch.export cannot capture {name} (inputs of shape {shapes}): {_line(failure)}"


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__
