"""The main line: capture, linearise, select the target, sweep, result."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from os import PathLike
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..allocation import keep_freed_memory
from ..errors import BiaspropError, InputError
from ..graph import ONE_AT_A_TIME, Graph, Node, Weights, capture, ids_of, looked_up
from ..kernels import Settings
from ..loading import output_names
from ..modes import DEFAULT, Linearization, modes_of, rewrite
from ..operations import Operations
from ..processes import require_threads
from ..progress import in_parts
from ..propagation import (
    AUTO,
    Asked,
    Functional,
    Network,
    SourceFilter,
    Swept,
    Tape,
    Target,
    Targets,
    bias_sources,
    choose,
    deepest_layout,
    first_of,
    hand_over,
    in_pieces,
    is_one_piece,
    is_separable,
    linearize,
    outputs_of,
    select,
    size_of,
    split,
    sweep,
    together,
)
from ..results import BiasSource, Sources, require_complete
from ..results.targets import X
from ..rules import Rule, temperature_of
from .again import Again
from .agreement import require_agreement
from .captures import Captures
from .explanation import Explanation
from .fingerprint import fingerprint
from .inputs import Given, checked
from .request import Request, Rules, names_of, rules_of
from .texts import texts_of

__all__ = ["MEMORY_BUDGET", "Check", "Explainer", "captured"]

MEMORY_BUDGET = 512 * 2**20
"""Bytes that the temporaries of the sweep may take beyond what the gradient itself needs."""

Check = Literal["always", "once", "never"]
"""How often a captured graph is compared with the model."""


class Explainer:
    """Explains one model many times; captures it once for each shape of input.

    The weights are read afresh at each call, so a model that has been trained further is explained as it is now.
    A model whose *structure* has changed needs a new explainer.
    """

    def __init__(
        self,
        model: nn.Module,
        linearization: Linearization = DEFAULT,
        operations: Operations | None = None,
        memory_budget: int = MEMORY_BUDGET,
        compiled: bool = True,
        check: Check = "always",
    ) -> None:
        """See `biasprop.explain` for the arguments."""
        if check not in get_args(Check):
            raise InputError(f"check must be 'always', 'once' or 'never', not {check!r}.")
        if not isinstance(memory_budget, int) or memory_budget < 1:
            raise InputError(f"memory_budget must be a positive number of bytes, not {memory_budget!r}.")
        keep_freed_memory()
        self.model = model
        self.operations = dict(operations or {})
        self.modes = modes_of(linearization)
        self.memory_budget = memory_budget
        self.compiled, self.compare = compiled, check
        self.captures = Captures(model, self.operations, check != "never")
        self._rewritten: dict[Graph, Graph] = {}
        self._agreed: dict[Graph, Weights] = {}
        self._layouts: dict[Graph, Node] = {}
        self._sizes: dict[Graph, int] = {}

    def linearized(self, linearization: Linearization) -> "Explainer":
        """An explainer in another linearization that shares what was captured, which is what costs at the first call.

        Raises:
            InputError: there is no such linearization.
        """
        made = copy(self)
        made.captures = self.captures
        made.modes, made._rewritten, made._agreed = modes_of(linearization), {}, {}
        made._layouts, made._sizes = {}, {}
        return made

    def save(self, path: str | PathLike[str]) -> None:
        """Write what has been captured to a file, for `load`: the operations, and none of the weights.

        Raises:
            CaptureError: something that the model does cannot be written down.
            FileError: the folder cannot be written to.
        """
        self.captures.save(path)

    def load(self, path: str | PathLike[str]) -> "Explainer":
        """Take what `save` wrote for this model, instead of capturing it; returns this explainer.

        Nothing in the file is run but operations that biasprop knows, and the first explanation of each graph compares
        it with the model, whatever ``check`` is.

        Raises:
            FileError: the file is missing or damaged, of another model, or holds an operation that is not known.
        """
        self.captures.load(path)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without what was captured, which it captures anew."""
        return {**vars(self), "captures": None, "_rewritten": {}, "_agreed": {}, "_layouts": {}, "_sizes": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.captures = Captures(self.model, self.operations, self.compare != "never")

    def fingerprint(self, example: Any, additional_forward_args: Any = None) -> str:
        """SHA-256 of the network as ``example`` is explained: its operations, its constants, the weights as they are.

        The same in every process, on every device, and for every size of the batch; a graph may be made for one size,
        so give one example. `linearization` makes a difference.
        """
        graph = self.graph(self.check(example, additional_forward_args))
        return fingerprint(graph, self.model, self.operations)

    def __repr__(self) -> str:
        count = len(self.captures)
        return f"Explainer({type(self.model).__name__}, captured for {count} shape{'s' * (count != 1)} of input)"

    def __call__(
        self,
        x: X,
        target: Target = "predicted",
        rule: Rules = "bias1",
        temperature: float = 1.0,
        *,
        targets: Targets = None,
        additional_forward_args: Any = None,
        sources: SourceFilter = None,
        zero_others: bool = False,
        at: str | Sequence[str] | None = None,
        handover: str | Sequence[str] | None = None,
    ) -> Explanation[X]:
        """Explain ``x``; the arguments, the result and the errors are those of `explain`."""
        first, second = rules_of(rule, temperature)
        above, below = self._settings(first), None if second is None else self._settings(second)
        given = self.check(x, additional_forward_args)
        where = names_of("handover", handover)
        request = Request(given, target, targets, above, sources, zero_others, where, below)
        return self._explained(request, *names_of("at", at))

    def _settings(self, rule: Rule) -> Settings:
        return Settings(rule, self.memory_budget, self.compiled)

    def _explained(self, request: Request, *at: str) -> Explanation[Any]:
        """The explanation at hidden tensors, or at the inputs."""
        with _exactly(request.given):
            return self._inside(request, *at)

    def _inside(self, request: Request, *at: str) -> Explanation[Any]:
        """The same, where gradients are on."""
        given = request.given
        graph = self._graph(given)
        network = self._network(graph, given)
        cut, below = [graph.find(name) for name in dict.fromkeys(at)], self._below(graph, network, request.handover)
        asked = Asked(network, request.target, request.targets, texts_of(given, graph, network[0]))
        batches = in_pieces(graph, asked, self._size(graph, network))
        try:
            swept, outputs = together(graph, self._each(graph, batches, request, cut, below))
        except BiaspropError:
            if len(batches) == 1:
                raise
            swept, outputs = self._swept(graph, asked, request, cut, below)  # whose errors speak of the whole batch
        where = ", ".join(node.name for node in below if node not in graph.inputs)
        explanation: Explanation[Any] = Explanation.of(
            swept,
            rule=request.rule,
            temperature=temperature_of(request.settings.rule),
            single=len(cut or graph.inputs) == 1 if at or graph.lookup else given.single,
            again=Again(self._explained, self._outputs, request),
            linearization=str(self.modes),
            ids=() if at else ids_of(graph, network[0], given.inputs, given.extras),
            handover=where,
            classes=output_names(self.model),
            every_source=partial(self._sources, request) if where and not at else None,  # a cut has those above alone
        )
        require_complete(explanation)
        self._compare(graph, given, outputs, explanation.magnitude)
        return explanation

    def _each(
        self, graph: Graph, batches: Sequence[Asked], request: Request, cut: Sequence[Node], below: Sequence[Node]
    ) -> list[tuple[Swept, list[Any]]]:
        """`_swept` of each piece of a batch."""
        done = []
        for one in in_parts(batches, "explaining"):
            done.append(self._swept(graph, one, request, cut, below))
        return done

    def _swept(
        self, graph: Graph, asked: Asked, request: Request, cut: Sequence[Node], below: Sequence[Node]
    ) -> tuple[Swept, list[Any]]:
        """The sweep over a batch or a piece of one, and what the network returns there."""
        tape = linearize(graph, *asked.network, self.operations, cut, below)
        functional = select(tape, asked.target, asked.targets, asked.texts)
        choice = choose(request.sources, tape.names, request.zero_others)
        handover = hand_over(below, tape, choice, request.below)
        return sweep(tape, functional, request.settings, choice, handover), tape.outputs

    def _size(self, graph: Graph, network: Network) -> int:
        """Bytes of the largest tensor of an example, found once; 0 for what is not to be taken in pieces."""
        if is_one_piece(graph, network):
            return 0
        if graph not in self._sizes:
            try:
                few = linearize(graph, *first_of(graph, network), self.operations)
                self._sizes[graph] = size_of(few) if is_separable(graph, network) else 0
            except (BiaspropError, RuntimeError, ValueError, IndexError):  # the whole batch will say what is wrong
                self._sizes[graph] = 0
        return self._sizes[graph]

    def _below(self, graph: Graph, network: Network, names: Sequence[str]) -> list[Node]:
        """The tensors at which to hand over; what ``"auto"`` is, is found once for each graph."""
        if AUTO in names and graph not in self._layouts:
            found = deepest_layout(linearize(graph, *first_of(graph, network), self.operations))
            self._layouts[graph] = found or graph.inputs[0]  # where there is none, no hand-over
        return list(dict.fromkeys(self._layouts[graph] if name == AUTO else graph.find(name) for name in names))

    def _compare(self, graph: Graph, given: Given, computed: Any, size: Tensor) -> None:
        """With the model itself, as often as is asked for."""
        seen = self._agreed.get(graph)
        unseen = graph.stored and seen is None  # what comes from a file is compared in any case
        if not unseen and (self.compare == "never" or (self.compare == "once" and seen == Weights(self.model))):
            return
        terms = size.reshape(len(size), -1).amax(1)
        require_agreement(given.model, graph, given.inputs, given.extras, computed, terms)
        self._agreed[graph] = Weights(self.model)

    def _network(self, graph: Graph, given: Given) -> Network:
        """The weights as they are now, and what the graph runs on."""
        parameters = graph.read_parameters(self.model)
        return (parameters, *looked_up(graph, parameters, given.inputs, given.extras))

    def split(self, x: Tensor | tuple[Tensor, ...], additional_forward_args: Any = None) -> tuple[Any, Any]:
        """``(J x, b)`` for every output at once: one forward-mode product (mathematics, section 6).

        Returns:
            Two structures like the model's output: the part that is linear in ``x``, and the bias
            ``b = f(x) - J x``.
        """
        given = self.check(x, additional_forward_args)
        with _exactly(given):
            graph = self._graph(given)
            f, jx = split(graph, *self._network(graph, given))
            bias = pytree.tree_map(torch.sub, f, jx)
            self._compare(graph, given, f, _terms(jx, bias, len(given)))
        return jx, bias

    def sources(
        self, x: Tensor | tuple[Tensor, ...], target: Target = "predicted", additional_forward_args: Any = None
    ) -> Sources:
        """The table of bias sources alone, at the cost of one gradient: nothing is attributed to the input.

        The same amounts as in `Explanation.sources`.
        """
        given = self.check(x, additional_forward_args)
        with _exactly(given):
            tape, functional = self._functional(given, target)
            table = Sources.outward(bias_sources(tape, functional), functional.axis, functional.value)
            self._compare(tape.graph, given, tape.outputs, table.amounts.abs().sum(-1))
        return table

    def output(self, x: Any, target: Target = "predicted", additional_forward_args: Any = None) -> Tensor:
        """f(x) of the target, ``(N,)``: what attributions add up to."""
        given = self.check(x, additional_forward_args)
        with _exactly(given):
            functional = self._functional(given, target)[1]
            return functional.axis.outward(functional.value)

    def _sources(self, request: Request) -> tuple[Tensor, list[BiasSource]]:
        """f(x) of the targets ``(J, N)``, and the whole table that goes with it."""
        with _exactly(request.given):
            tape, functional = self._functional(request.given, request.target, request.targets)
            return functional.value, bias_sources(tape, functional)

    def _outputs(self, request: Request) -> Tensor:
        """What targets are chosen from."""
        with _exactly(request.given):
            return outputs_of(self._functional(request.given, request.target)[0])

    def _functional(self, given: Given, target: Target, targets: Targets = None) -> tuple[Tape, Functional]:
        """The network linearised at the inputs, and what is explained."""
        graph = self._graph(given)
        network = self._network(graph, given)
        tape = linearize(graph, *network, self.operations)
        return tape, select(tape, target, targets, texts_of(given, graph, network[0]))

    def check(self, x: Any, extras: Any = None) -> Given:
        """Inputs and extra arguments, checked; the inputs detached from any graph of the caller's."""
        require_threads()
        return checked(self.model, x, extras)

    def graph(self, given: Given) -> Graph:
        """The graph for inputs of these shapes in this linearization, captured at the first call."""
        with _exactly(given):
            return self._graph(given)

    def _graph(self, given: Given) -> Graph:
        graph = self.captures.of(given)
        found = self._rewritten.get(graph)
        if found is None:
            with ONE_AT_A_TIME:
                found = self._rewritten.get(graph) or rewrite(graph, self.modes, self.operations)
                kept = {old: new for old, new in self._rewritten.items() if old in self.captures}
                self._agreed = {new: weights for new, weights in self._agreed.items() if new in kept.values()}
                self._layouts = {new: node for new, node in self._layouts.items() if new in kept.values()}
                self._sizes = {new: size for new, size in self._sizes.items() if new in kept.values()}
                self._rewritten = {**kept, graph: found}
        return found


def captured(model: nn.Module, x: Any, extras: Any = None) -> tuple[Given, Graph]:
    """What the user gives, checked, and the graph that it goes through: to look at, as nothing is explained."""
    require_threads()
    given = checked(model, x, extras)
    with _exactly(given):
        return given, capture(given.model, given.inputs, given.extras)


def _terms(linear: Any, bias: Any, batch: int) -> Tensor:
    """The absolute terms of the largest output, ``(N,)``, or the same for all where outputs are not of examples."""
    sizes = [a.abs() + b.abs() for a, b in zip(*map(pytree.tree_leaves, (linear, bias)), strict=True)]
    rows = [t.reshape(batch, -1).amax(1) if t.dim() and len(t) == batch else t.amax().expand(batch) for t in sizes]
    return torch.stack(rows).amax(0)


@contextmanager
def _exactly(given: Given) -> Iterator[None]:
    """Gradients on whatever the caller has switched off; autocast off: the network is explained in its precision."""
    device = given.inputs[0].device
    real = torch.device(device) if torch.empty(0).is_meta else nullcontext()  # tensors with values
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False), real:
        yield
