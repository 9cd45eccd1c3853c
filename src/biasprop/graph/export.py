"""Capture: an unmodified model becomes a small functional graph of operations.

``torch.export`` sees operations, not modules, so in-place and functional calls, reused modules, residual sums
and bare parameters need no special treatment. The graph holds no weights: they are read from the live model at
each run. See mathematics, section 9.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from operator import getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.node import Node as FxNode
from torch.fx.node import map_aggregate

from ..errors import CaptureError
from .node import Graph, Node, leading_to, overwrite
from .precision import coarsest, raised
from .refusals import reason_of, refuse_hidden_blocks, refuse_random, require_eval
from .tracing import alone, shared_copy

__all__ = ["Apart", "capture", "placeholder"]

Apart = Mapping[Any, Callable[..., Any]]
"""Overload of an operation -> a function of the same arguments, of other operations."""


def capture(
    model: nn.Module, inputs: tuple[Tensor, ...], extras: tuple[Any, ...] = (), apart: Apart | None = None
) -> Graph:
    """Capture ``model`` as called by ``model(*inputs, *extras)``, for any batch size where the model allows it.

    ``apart`` says which operations are taken apart, and into what: functions of the same arguments.

    Raises:
        CaptureError: the model is in training mode or ``torch.export`` cannot trace it.
    """
    require_eval(model)
    args = (*inputs, *extras)
    batch = inputs[0].shape[0]
    # A first dimension of 1 would be taken for a constant, so a single example is shown twice.
    doubled = tuple(torch.cat([a, a]) if _is_batched(a, batch) else a for a in args) if batch == 1 else args
    with alone():
        program, origins = _export(shared_copy(model), doubled, tuple(inputs), args, apart or {})
        graph = _to_graph(program, origins, _Places(program, len(inputs)))
        if graph.batch is not None:  # which dimension is the batch, another batch shows
            places = _Places(program, len(inputs), _widened(model, args, batch, apart or {}))
            graph = _to_graph(program, origins, places)
    refuse_random(graph.nodes, model)
    if any(t.dtype == torch.float64 for t in (*inputs, *model.parameters(), *_outputs(program))):
        _keep_double(graph)
    return graph


def _outputs(program: ExportedProgram) -> list[Tensor]:
    """What stands for the outputs in the exported program."""
    nodes = [n for n in program.graph.output_node().all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
    return [n.meta["val"] for n in nodes]


def _keep_double(graph: Graph) -> None:
    """A network with anything in double precision is explained in it, also where its code rounds on the way."""
    graph.precision, found = torch.float64, set()

    def kept(argument: Any) -> Any:
        if isinstance(argument, torch.dtype) and argument.is_floating_point:
            found.add(argument)
        return raised(argument, graph.precision) if isinstance(argument, torch.dtype) else argument

    for node in graph.nodes:
        if node.floating:
            node.args, node.kwargs = map_aggregate((node.args, node.kwargs), kept)
    graph.rounded = coarsest(found) if found else None


def _widened(model: nn.Module, args: tuple[Any, ...], batch: int, apart: Apart) -> ExportedProgram | None:
    """What one more example makes of the program; None where the model does not take it."""
    more = tuple(torch.cat([a, a[:1]]) if _is_batched(a, batch) else a for a in args)
    try:
        with torch.enable_grad():
            made: ExportedProgram = torch.export.export(shared_copy(model), more).run_decompositions(dict(apart))
            return made
    except Exception:  # whatever the model or torch.export raises
        return None


def _is_batched(value: Any, batch: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == batch


def _export(
    model: nn.Module, args: tuple[Any, ...], inputs: tuple[Tensor, ...], fall_back_to: tuple[Any, ...], apart: Apart
) -> tuple[ExportedProgram, dict[str, str]]:
    """Export with a dynamic batch; with the batch as given for a model whose forward fixes it.

    Also the names of what was taken apart, in the exported graph, with the operation of each.
    """
    size = args[0].shape[0]
    dynamic = _nest(model, [{0: Dim.AUTO} if _is_batched(a, size) else None for a in args])
    failure: Exception | None = None
    for attempt, shapes in ((args, dynamic), (fall_back_to, None)):
        try:
            with torch.enable_grad():
                exported = torch.export.export(model, attempt, dynamic_shapes=shapes)
                refuse_hidden_blocks(exported, len(inputs))
                program: ExportedProgram = exported.run_decompositions(dict(apart))
        except CaptureError:
            raise
        except Exception as error:
            failure = failure or error
            continue
        if shapes is None or size == inputs[0].shape[0] or _batch_symbols(program, len(inputs)):
            taken = {n.name: n.target for n in exported.graph.nodes if n.target in apart}
            return program, {name: op.overloadpacket.__name__ for name, op in taken.items()}
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


class _Places:
    """Where the examples are in each tensor of a program: the sizes that go with the batch."""

    def __init__(self, program: ExportedProgram, count: int, widened: ExportedProgram | None = None) -> None:
        """``widened`` is the same program for one more example, for one that has no symbol for the batch."""
        self.count, self.symbols = count, _batch_symbols(program, count)
        self.others: dict[str, Any] = {}
        pairs = [] if widened is None else list(zip(program.graph.nodes, widened.graph.nodes, strict=False))
        if all(a.name == b.name and a.target == b.target for a, b in pairs):
            self.others = {a.name: getattr(b.meta.get("val"), "shape", ()) for a, b in pairs}
        names = [s.arg.name for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
        values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.name in names[:1]}
        self.batch = next(iter(values.values())).shape[0]

    def of(self, node: Node, fx: FxNode) -> tuple[int | None, int | None]:
        """The dimension of the examples, and how far apart they are in it."""
        shape = getattr(fx.meta.get("val"), "shape", ())
        if not self.symbols and len(self.others.get(fx.name, ())) != len(shape):
            return 0, None
        dim = next((d for d in range(len(shape)) if self._varies(fx, d)), None)
        if dim is None or str(shape[dim]) == str(self.batch):  # there is none, or the examples are it
            return dim, None if dim is None else 1
        read = fx.args[0].all_input_nodes if fx.target is getitem else fx.all_input_nodes  # type: ignore[union-attr]
        for before, operand in zip(read, dict.fromkeys(node.operands), strict=False):
            if operand.batch_inner is not None and operand.batch_dim is not None:
                there = before.meta["val"].shape
                if str(there[operand.batch_dim]) == str(shape[dim]):
                    return dim, operand.batch_inner
                if fx.target is torch.ops.aten.repeat_interleave.self_int:  # copies of a row side by side
                    return dim, operand.batch_inner * int(fx.args[1])  # type: ignore[arg-type]
                behind = int(math.prod(there[operand.batch_dim + 1 :]))
                return dim, operand.batch_inner * behind // int(math.prod(shape[dim + 1 :]))
        return dim, None

    def _varies(self, fx: FxNode, dim: int) -> bool:
        size = fx.meta["val"].shape[dim]
        if self.symbols:
            return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols & self.symbols)
        return bool(size != self.others[fx.name][dim])


def _to_graph(program: ExportedProgram, origins: Mapping[str, str], places: _Places) -> Graph:
    count, symbols = places.count, places.symbols
    specs = {s.arg.name: s for s in program.graph_signature.input_specs}
    made: dict[FxNode, Any] = {}
    users: list[Node] = []
    parameters: dict[Node, str] = {}
    nodes: list[Node] = []
    outputs: tuple[Any, ...] = ()
    for fx in program.graph.nodes:
        if fx.op == "placeholder":
            node = made[fx] = Node(fx.name, "", placeholder)
            node.batch_dim, node.batch_inner = places.of(node, fx)
            spec = specs[fx.name]
            if spec.kind is InputKind.USER_INPUT:
                users.append(node)
            else:
                parameters[node] = str(spec.target)
        elif fx.op == "call_function":
            node = made[fx] = _to_node(fx, made)
            node.batch_dim, node.batch_inner = places.of(node, fx)
            node.origin = next((origins[s.name] for s in fx.meta.get("from_node", ())[-1:] if s.name in origins), "")
            nodes.append(node)
        elif fx.op == "output":
            outputs = _map(fx.args[0], made)
    kinds = [s.kind for s in program.graph_signature.output_specs]
    chosen = [o for o, kind in zip(outputs, kinds, strict=True) if kind is OutputKind.USER_OUTPUT]
    inputs, extras = users[:count], users[count:]
    batch = None if symbols else int(_static_batch(program, inputs[0].name))
    alive = leading_to([o for o in chosen if isinstance(o, Node)], nodes)
    _make_names_unique(alive)
    constants = {name: value for name, value in program.constants.items() if isinstance(value, Tensor)}
    return Graph(inputs, extras, parameters, constants, alive, chosen, program.call_spec.out_spec, batch)


def placeholder() -> None:
    """The operation of an input node: it has none."""


def _map(argument: Any, made: Mapping[FxNode, Any]) -> Any:
    return map_aggregate(argument, lambda a: made[a] if isinstance(a, FxNode) else a)


def _to_node(fx: FxNode, made: Mapping[FxNode, Any]) -> Node:
    function: Any = fx.target
    args, kwargs, index = _map(fx.args, made), _map(fx.kwargs, made), None
    if function is getitem:  # one of several outputs: the operation itself, with an index
        whole, index = args
        function, args, kwargs = whole.function, whole.args, whole.kwargs
    if function is torch.ops.aten.copy.default:
        function, args, kwargs = overwrite, args[:2], {}
    path, name = _name(fx)
    value = fx.meta.get("val")
    floating = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    return Node(name, path, function, tuple(args), dict(kwargs), index, None, floating)


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


def _make_names_unique(nodes: list[Node]) -> None:
    """The last operation of a layer, which gives its output, keeps the layer's name; those before it are numbered."""
    seen: dict[str, int] = {}
    last = {node.name: node for node in nodes}
    for node in nodes:
        name = node.name
        if last[name] is not node:
            node.name = f"{name}.{node.operation}_{seen.get(name, 0)}"
            seen[name] = seen.get(name, 0) + 1
