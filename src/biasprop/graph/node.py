"""A network as a graph: operations, the tensors that they compute, and who reads whom."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from ..errors import CaptureError, SourceError

__all__ = ["Graph", "Node", "abbreviate", "overwrite"]

CALLED = {"_native_batch_norm_legit_no_training": "batch_norm", "_softmax": "softmax", "_safe_softmax": "softmax"}
"""Operations that a person knows under another name."""


@dataclass(eq=False)
class Node:
    """One operation of the graph and the tensor that it computes.

    ``args`` and ``kwargs`` hold constants and other nodes; ``index`` selects one of several outputs. ``name`` is
    the path of the module that calls it when that is one of torch's own layers, else that path and the operation.
    ``batch_dim`` is the dimension of the examples (None: there is none), of which ``batch_inner`` entries lie between
    one example and the next (None: all of an example lie together); ``floating`` says whether it has a gradient.
    ``origin`` is the operation that it was taken out of, where one was taken apart.
    """

    name: str
    path: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    index: int | None = None
    batch_dim: int | None = 0
    floating: bool = True
    batch_inner: int | None = None
    origin: str = ""

    @property
    def packet(self) -> Any:
        """The operation without its overload, e.g. ``torch.ops.aten.conv2d``; any other function itself."""
        return getattr(self.function, "overloadpacket", self.function)

    @property
    def operation(self) -> str:
        """The name of the operation for a person, e.g. ``conv2d``."""
        name = self.origin or str(getattr(self.packet, "__name__", self.packet))
        return CALLED.get(name, name)

    @property
    def called(self) -> tuple[Any, ...]:
        """All that a person may name it by: its function, what it was taken out of, what it is."""
        own = str(getattr(self.packet, "__name__", self.packet))
        return self.function, self.packet, self.operation, own, CALLED.get(own, own)

    @cached_property
    def operands(self) -> list["Node"]:
        """Every node among the arguments, with repetitions, in order."""
        found: list[Node] = []
        map_aggregate((self.args, self.kwargs), lambda a: found.append(a) if isinstance(a, Node) else None)
        return found

    def __repr__(self) -> str:
        return f"{self.name} ({self.operation})"


@dataclass(eq=False)
class Graph:
    """A captured network: ``nodes`` in execution order, none of them dead, and how to read its parameters.

    A network that takes token ids begins at their embeddings: ``lookup`` leads from what the user gives to the
    ``inputs``, ``given`` says from which of the user's inputs each of them comes, and the first ``ids`` of the
    ``extras`` are the ids themselves. ``precision`` is the least that it is computed in, ``rounded`` one that the
    model's own code rounds to, and the graph does not. One that is ``stored`` comes from a file.
    """

    inputs: list[Node]
    extras: list[Node]
    parameters: dict[Node, str]
    constants: dict[str, Tensor]
    nodes: list[Node]
    outputs: list[Any]
    output_spec: pytree.TreeSpec
    batch: int | None
    lookup: "Graph | None" = None
    given: tuple[int, ...] = ()
    ids: int = 0
    precision: torch.dtype = torch.float32
    rounded: torch.dtype | None = None
    stored: bool = False

    def read_parameters(self, model: nn.Module) -> dict[Node, Tensor]:
        """The live parameters, buffers and constant tensors of ``model``, detached."""
        return {node: self._read(model, name).detach() for node, name in self.parameters.items()}

    def _read(self, model: nn.Module, name: str) -> Tensor:
        try:
            value = attrgetter(name)(model)
        except AttributeError:
            value = None
        if isinstance(value, Tensor):
            return value
        if name in self.constants:
            return self.constants[name]
        raise CaptureError(
            f"The model has no parameter {name!r} any more: its structure changed after it was captured. "
            "Make a new explainer."
        )

    def examples(self, inputs: Sequence[Tensor], extras: Sequence[Any]) -> int:
        """How many there are: an embedding may have them anywhere, ids have them in front."""
        first: Tensor = (extras if self.ids else inputs)[0]
        return first.shape[0]

    def dtypes(self, model: nn.Module) -> set[torch.dtype]:
        """Of its parameters, and of the casts that are written into it."""
        found = {value.dtype for value in self.read_parameters(model).values()}
        found |= {self.rounded} if self.rounded else set()
        for node in self.nodes:
            map_aggregate((node.args, node.kwargs), lambda a: found.add(a) if isinstance(a, torch.dtype) else None)
        return found

    def find(self, name: str) -> Node:
        """The tensor that a name means: an input, an operation, or the last output of a module.

        Raises:
            SourceError: there is none; the message lists what there is.
        """
        for node in [*self.inputs, *self.nodes]:
            if node.name == name:
                return node
        inside = [n for n in self.nodes if n.path == name or n.path.startswith(name + ".")]
        if inside:
            return inside[-1]
        names = [n.name for n in [*self.inputs, *self.nodes]]
        raise SourceError(f"No tensor of the network is called {name!r}. There are: {abbreviate(names)}.")

    @cached_property
    def last_readers(self) -> dict[Node, Node]:
        """For every node that is read the last one that does so, after which nobody needs its value."""
        return {operand: node for node in self.nodes for operand in node.operands if operand not in self.outputs}

    @cached_property
    def consumers(self) -> dict[Node, list[Node | None]]:
        """For every node the nodes that read it; ``None`` stands for the network's output."""
        readers: dict[Node, list[Node | None]] = {}
        for node in self.nodes:
            for operand in node.operands:
                readers.setdefault(operand, []).append(node)
        for output in self.outputs:
            if isinstance(output, Node):
                readers.setdefault(output, []).append(None)
        return readers


def leading_to(wanted: Iterable[Node], nodes: Sequence[Node]) -> list[Node]:
    """Those of the nodes that some of them depend on, and these themselves, in their order."""
    needed, found = set(wanted), []
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.operands)
            found.append(node)
    return found[::-1]


def abbreviate(names: Iterable[str], most: int = 40) -> str:
    """Names in a row, the middle left out where there are very many."""
    names = list(dict.fromkeys(names))
    if len(names) > most:
        names = [*names[: most // 2], "...", *names[-most // 2 :]]
    return ", ".join(names)


def overwrite(into: Tensor, values: Tensor) -> Tensor:
    """``into[...] = values`` as a function with a derivative, which ``aten.copy`` has not."""
    return torch.where(torch.ones_like(into, dtype=torch.bool), values, into)
