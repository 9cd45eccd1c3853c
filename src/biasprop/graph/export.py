"""Capture: an unmodified model becomes a small functional graph of operations.

``torch.export`` sees operations, not modules, so in-place and functional calls, reused modules, residual sums
and bare parameters need no special treatment. The graph holds no weights: they are read from the live model at
each run. See mathematics, section 9.
"""

import inspect
from collections.abc import Mapping
from operator import getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.node import Node as FxNode
from torch.fx.node import map_aggregate

from ..errors import CaptureError
from .node import Graph, Node, overwrite
from .refusals import reason_of, refuse_hidden_blocks, refuse_random, require_eval
from .tracing import alone, shared_copy

__all__ = ["capture"]


def capture(model: nn.Module, inputs: tuple[Tensor, ...], extras: tuple[Any, ...] = ()) -> Graph:
    """Capture ``model`` as called by ``model(*inputs, *extras)``, for any batch size where the model allows it.

    Raises:
        CaptureError: the model is in training mode or ``torch.export`` cannot trace it.
    """
    require_eval(model)
    args = (*inputs, *extras)
    batch = inputs[0].shape[0]
    # A first dimension of 1 would be taken for a constant, so a single example is shown twice.
    doubled = tuple(torch.cat([a, a]) if _is_batched(a, batch) else a for a in args) if batch == 1 else args
    with alone():
        program = _export(shared_copy(model), doubled, tuple(inputs), fall_back_to=args)
    graph = _to_graph(program, len(inputs))
    refuse_random(graph.nodes, model)
    return graph


def _is_batched(value: Any, batch: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == batch


def _export(
    model: nn.Module, args: tuple[Any, ...], inputs: tuple[Tensor, ...], fall_back_to: tuple[Any, ...]
) -> ExportedProgram:
    """Export with a dynamic batch; with the batch as given for a model whose forward fixes it."""
    size = args[0].shape[0]
    dynamic = _nest(model, [{0: Dim.AUTO} if _is_batched(a, size) else None for a in args])
    failure: Exception | None = None
    for attempt, shapes in ((args, dynamic), (fall_back_to, None)):
        try:
            with torch.enable_grad():
                exported = torch.export.export(model, attempt, dynamic_shapes=shapes)
                refuse_hidden_blocks(exported, len(inputs))
                program: ExportedProgram = exported.run_decompositions({})
        except CaptureError:
            raise
        except Exception as error:
            failure = failure or error
            continue
        if shapes is None or size == inputs[0].shape[0] or _batch_symbols(program, len(inputs)):
            return program
    assert failure is not None
    raise CaptureError(reason_of(failure, model, fall_back_to)) from failure


def _nest(model: nn.Module, shapes: list[Any]) -> tuple[Any, ...]:
    """Shapes in the structure of forward's signature: what goes into ``*args`` is a tuple of its own."""
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        own = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*shapes[:own], tuple(shapes[own:]))
    return tuple(shapes)


def _batch_symbols(program: ExportedProgram, count: int) -> set[Any]:
    """The symbols that stand for the batch size in the shapes of the graph."""
    named = {s.arg.name for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT}
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in named]
    sizes = [n.meta["val"].shape[0] for n in placeholders[:count]]
    return set().union(*(s.node.expr.free_symbols for s in sizes if isinstance(s, torch.SymInt)))


def _to_graph(program: ExportedProgram, count: int) -> Graph:
    symbols = _batch_symbols(program, count)
    specs = {s.arg.name: s for s in program.graph_signature.input_specs}
    made: dict[FxNode, Any] = {}
    users: list[Node] = []
    parameters: dict[Node, str] = {}
    nodes: list[Node] = []
    outputs: tuple[Any, ...] = ()
    for fx in program.graph.nodes:
        if fx.op == "placeholder":
            node = made[fx] = Node(fx.name, "", _placeholder)
            spec = specs[fx.name]
            if spec.kind is InputKind.USER_INPUT:
                users.append(node)
            else:
                parameters[node] = str(spec.target)
        elif fx.op == "call_function":
            node = made[fx] = _to_node(fx, made, symbols)
            nodes.append(node)
        elif fx.op == "output":
            outputs = _map(fx.args[0], made)
    kinds = [s.kind for s in program.graph_signature.output_specs]
    chosen = [o for o, kind in zip(outputs, kinds, strict=True) if kind is OutputKind.USER_OUTPUT]
    inputs, extras = users[:count], users[count:]
    batch = None if symbols else int(_static_batch(program, inputs[0].name))
    alive = _alive(nodes, chosen)
    _make_names_unique(alive)
    constants = {name: value for name, value in program.constants.items() if isinstance(value, Tensor)}
    return Graph(inputs, extras, parameters, constants, alive, chosen, program.call_spec.out_spec, batch)


def _placeholder() -> None:
    """The operation of an input node: it has none."""


def _map(argument: Any, made: Mapping[FxNode, Any]) -> Any:
    return map_aggregate(argument, lambda a: made[a] if isinstance(a, FxNode) else a)


def _to_node(fx: FxNode, made: Mapping[FxNode, Any], symbols: set[Any]) -> Node:
    function: Any = fx.target
    args, kwargs, index = _map(fx.args, made), _map(fx.kwargs, made), None
    if function is getitem:  # one of several outputs: the operation itself, with an index
        whole, index = args
        function, args, kwargs = whole.function, whole.args, whole.kwargs
    if function is torch.ops.aten.copy.default:
        function, args, kwargs = overwrite, args[:2], {}
    path, name = _name(fx)
    value = fx.meta.get("val")
    shape = getattr(value, "shape", ())
    floating = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    sizes = [s.node.expr.free_symbols if isinstance(s, torch.SymInt) else set() for s in shape]
    dims = [dim for dim, found in enumerate(sizes) if found & symbols]
    batch_dim = (dims[0] if dims else None) if symbols else 0
    return Node(name, path, function, tuple(args), dict(kwargs), index, batch_dim, floating)


def _name(fx: FxNode) -> tuple[str, str]:
    """Module path, and the name: the path (``@1`` on the second call) of a layer of torch's own."""
    stack = list(fx.meta.get("nn_module_stack", {}).items())
    if not stack or "_empty" in stack[-1][0]:
        return "", fx.name
    key, (path, kind) = stack[-1]
    call = "@" + key.rsplit("@", 1)[1] if "@" in key else ""
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if kind.startswith("torch.nn.modules") and path:
        return path, path + call
    return path, f"{path}.{fx.name}" if path else fx.name


def _static_batch(program: ExportedProgram, name: str) -> int:
    return next(int(n.meta["val"].shape[0]) for n in program.graph.nodes if n.name == name)


def _alive(nodes: list[Node], outputs: list[Any]) -> list[Node]:
    """The nodes that the output depends on."""
    needed = {o for o in outputs if isinstance(o, Node)}
    alive = []
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.operands())
            alive.append(node)
    return alive[::-1]


def _make_names_unique(nodes: list[Node]) -> None:
    seen: dict[str, int] = {}
    for node in nodes:
        seen[node.name] = seen.get(node.name, 0) + 1
        if seen[node.name] > 1:
            node.name = f"{node.name}.{node.operation}_{seen[node.name] - 1}"
