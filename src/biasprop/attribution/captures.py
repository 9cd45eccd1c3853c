"""The graphs of one model as it is: captured once for each shape of input, for explainers in any linearization."""

from typing import Any

import torch
from torch import nn

from ..graph import ONE_AT_A_TIME, Graph, capture, from_embeddings, looked_up, require_separate
from ..operations import Operations, decompositions
from .agreement import warn_of_gradients
from .inputs import Given, signature

__all__ = ["Captures"]

GRAPHS = 32  # that are kept


class Captures:
    """The captured graphs of ``model``, whatever linearization they are then rewritten for."""

    def __init__(self, model: nn.Module, operations: Operations, warn: bool) -> None:
        """``warn`` where a gradient that autograd takes is not the graph's."""
        self.model, self.operations, self.warn = model, operations, warn
        self.graphs: dict[Any, Graph] = {}

    def __len__(self) -> int:
        return len(self.graphs)

    def __contains__(self, graph: Graph) -> bool:
        return graph in self.graphs.values()

    def of(self, given: Given) -> Graph:
        """The graph for inputs of these shapes, captured at the first call.

        Raises:
            CaptureError: the model is in training mode or cannot be captured.
            UnsupportedOperation: an operation mixes the examples of a batch.
        """
        key = signature(given)
        found = self._found(key, len(given))
        if found is None:
            with ONE_AT_A_TIME:  # another thread may have captured it meanwhile
                found = self._found(key, len(given)) or self._captured(key, given)
        return found

    def _found(self, key: Any, batch: int) -> Graph | None:
        return self.graphs.get(key) or self.graphs.get((key, batch))

    def _captured(self, key: Any, given: Given) -> Graph:
        apart = {op: made for op, made in decompositions().items() if not _named(op, self.operations)}
        graph = from_embeddings(capture(given.model, given.inputs, given.extras, apart), given.floating)
        with torch.no_grad():
            parameters = graph.read_parameters(self.model)
            inputs, extras = looked_up(graph, parameters, given.inputs, given.extras)
            require_separate(graph, parameters, inputs, extras)
        if self.warn and graph.lookup is None:
            warn_of_gradients(given.model, graph, given.inputs, given.extras)
        if len(self.graphs) >= GRAPHS:
            self.graphs.pop(next(iter(self.graphs)))
        self.graphs[key if graph.batch is None else (key, graph.batch)] = graph
        return graph


def _named(op: Any, operations: Operations) -> bool:
    """Whether the user says what an operation is: it is then not taken apart."""
    return op in operations or op.overloadpacket in operations
