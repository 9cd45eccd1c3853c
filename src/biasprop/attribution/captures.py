"""The graphs of one model as it is: captured once for each shape of input, for explainers in any linearization."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn

from ..errors import FileError
from ..files import read_tensors, write_tensors
from ..graph import (
    ONE_AT_A_TIME,
    Graph,
    as_plain,
    capture,
    from_embeddings,
    from_plain,
    looked_up,
    recorded,
    refuse_random,
    require_separate,
    restored,
)
from ..operations import TABLE, Operations, by_name, decompositions
from ..progress import waiting
from .agreement import warn_of_gradients
from .inputs import Given, signature

__all__ = ["Captures"]

GRAPHS = 32  # that are kept
FORMAT = "biasprop-graphs-1"


class Captures:
    """The captured graphs of ``model``, whatever linearization they are then rewritten for."""

    def __init__(self, model: nn.Module, operations: Operations, warn: bool) -> None:
        """``warn`` where a gradient that autograd takes is not the graph's."""
        self.model, self.operations, self.warn = model, operations, warn
        self.graphs: dict[Any, Graph] = {}
        self.stored: dict[Any, Graph] = {}  # of a file, not used yet

    def __len__(self) -> int:
        return len(self.graphs | self.stored)

    def __contains__(self, graph: Graph) -> bool:
        return graph in self.graphs.values()

    def of(self, given: Given) -> Graph:
        """The graph for inputs of these shapes, captured at the first call.

        Raises:
            CaptureError: the model is in training mode or cannot be captured.
            UnsupportedOperation: an operation mixes the examples of a batch.
        """
        key = signature(given)
        found = _for(key, given, self.graphs)
        if found is None:
            with ONE_AT_A_TIME:  # another thread may have captured it meanwhile
                found = _for(key, given, self.graphs) or self._from_file(key, given) or self._captured(key, given)
        return found

    def _from_file(self, key: Any, given: Given) -> Graph | None:
        """One that was stored, which is held to what a captured one is."""
        graph = _for(key, given, self.stored)
        if graph is not None:
            refuse_random(graph.nodes, self.model)
            self._require_separate(graph, given)
            self._keep(key, graph)
        return graph

    @torch.no_grad()
    def _require_separate(self, graph: Graph, given: Given) -> None:
        parameters = graph.read_parameters(self.model)
        require_separate(graph, parameters, *looked_up(graph, parameters, given.inputs, given.extras))

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of them to a file.

        Raises:
            CaptureError: something in one cannot be kept.
            FileError: the folder cannot be written to.
        """
        records = [(as_plain(key), *recorded(graph)) for key, graph in (self.stored | self.graphs).items()]
        tensors = {f"{i}.{name}": t for i, (_, _, held) in enumerate(records) for name, t in held.items()}
        graphs = [{"key": key, "graph": header} for key, header, _ in records]
        write_tensors(path, FORMAT, tensors, {"of": self._of(), "graphs": graphs})

    def load(self, path: str | PathLike[str]) -> None:
        """Take those of a file.

        Raises:
            FileError: the file is damaged, or of another model.
        """
        header, tensors = read_tensors(path, FORMAT)
        operations = by_name(TABLE, self.operations)
        found = {}
        try:
            if header["of"] != self._of():
                raise FileError(_difference(header["of"], self._of()))
            for i, record in enumerate(header["graphs"]):
                own = {n.removeprefix(f"{i}."): t for n, t in tensors.items() if n.startswith(f"{i}.")}
                found[from_plain(record["key"])] = restored(record["graph"], own, operations.get)
        except FileError as error:
            raise FileError(f"Cannot use {path}: {error} Capture the model again.") from error
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            why = str(error).strip() or type(error).__name__
            raise FileError(f"Cannot use {path}: {why}. It must be a file that `Explainer.save` wrote.") from error
        with ONE_AT_A_TIME:
            self.stored |= found

    def _of(self) -> dict[str, Any]:
        """What a graph belongs to: the kind of model, its tensors, and which operations are not taken apart."""
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        shapes = {name: f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for name, t in tensors.items()}
        return {"model": type(self.model).__name__, "tensors": shapes, "operations": sorted(map(str, self.operations))}

    def _captured(self, key: Any, given: Given) -> Graph:
        apart = {op: made for op, made in decompositions().items() if not _named(op, self.operations)}
        with waiting("capturing the model"):
            graph = from_embeddings(capture(given.model, given.inputs, given.extras, apart), given.floating)
            self._require_separate(graph, given)
        if self.warn and graph.lookup is None:
            warn_of_gradients(given.model, graph, given.inputs, given.extras)
        self._keep(key, graph)
        return graph

    def _keep(self, key: Any, graph: Graph) -> None:
        if len(self.graphs) >= GRAPHS:
            self.graphs.pop(next(iter(self.graphs)))
        self.graphs[key if graph.batch is None else (key, graph.batch)] = graph


def _for(key: Any, given: Given, graphs: Mapping[Any, Graph]) -> Graph | None:
    """The one for inputs of these shapes, whatever their batch, or for this one."""
    return graphs.get(key) or graphs.get((key, len(given)))


def _difference(found: Any, expected: dict[str, Any]) -> str:
    """Between the model that a file is of and this one."""
    if found["model"] != expected["model"]:
        return f"it is of a {found['model']}, and the model is a {expected['model']}."
    if found["operations"] != expected["operations"]:
        return f"it was captured with operations={found['operations']}, not {expected['operations']}."
    pairs = {*found["tensors"].items()} ^ {*expected["tensors"].items()}
    name = min(name for name, _ in pairs)
    now, then = (one["tensors"].get(name, "absent") for one in (expected, found))
    return f"it is of another model: {name!r} is {then} there and {now} here."


def _named(op: Any, operations: Operations) -> bool:
    """Whether the user says what an operation is: it is then not taken apart."""
    return op in operations or op.overloadpacket in operations
