"""Explain: model and x -> captured graph -> linearised tape -> sweep -> `Explanation`."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .capture import Graph, Node, abbreviate, capture, require_eval
from .checks import check_input, require_complete
from .errors import InputError, SourceError, TargetError
from .explanation import Explanation, Part, Sources
from .linearize import Tape, linearize, run
from .operations import Operation
from .pieces import Settings
from .rules import Rule, make_rule
from .sweep import Swept, bias_sources, sweep
from .target import Functional, Target, Targets, select, several

__all__ = ["MEMORY_BUDGET", "Explainer", "explain", "explainer"]

MEMORY_BUDGET = 512 * 2**20
"""Bytes that the temporaries of the sweep may take beyond what the gradient itself needs."""

GRAPHS = 32  # captured graphs that one explainer keeps

SourceFilter = str | Sequence[str] | Callable[[str, str], bool] | None


def explain(
    model: nn.Module,
    x: Tensor | tuple[Tensor, ...],
    target: Target = "predicted",
    rule: str | Rule = "bias1",
    temperature: float = 1.0,
    *,
    targets: Targets = None,
    additional_forward_args: Any = None,
    sources: SourceFilter = None,
    zero_others: bool = False,
    operations: Mapping[Any, Operation] | None = None,
    memory_budget: int = MEMORY_BUDGET,
    compiled: bool = True,
) -> Explanation:
    """Explain a prediction exactly: ``f(x) = sum(w * x) + sum(beta)``, with ``beta`` the bias of each input feature.

    The one-call form of `Explainer`: captures the model (0.5 to 10 s for an ImageNet network) and explains ``x``.

    Args:
        model: any ``torch.nn.Module`` in eval mode; nothing is left on it.
        x: input, or a tuple of inputs, of shape ``(N, ...)`` and the model's floating dtype and device.
        target: which number of the output to explain: ``"predicted"`` (largest of ``(N, C)``), an int, a tuple
            indexing the trailing dimensions, a list or tensor with an index per example, or a callable
            ``output -> (N,)``.
        rule: ``"bias1"`` (compensation), ``"bias2"`` (equal share), ``"bias3"`` (positive share), or a
            `biasprop.rules.Rule`; Eq. 15-20 of Wang, Zhou & Bilmes, ICML 2019.
        temperature: T of options 1 and 2, in units of the components; > 0.
        targets: instead of ``target``, several in one sweep: a list of targets, an ``(N, J)`` tensor of indices (e.g.
            ``logits.topk(5).indices``), or ``"all"`` outputs. The results gain a dimension of J after the batch.
        additional_forward_args: passed on to the model and not attributed; what they add counts as bias.
        sources: only these bias sources are attributed: names, ``fnmatch`` patterns, or a predicate
            ``(name, operation) -> bool``; the rest is returned as ``withheld``. Maps of disjoint sets add up.
        zero_others: let the sources left out also count as zero in the sign that option 1 looks at; then maps of
            disjoint sets no longer add up.
        operations: rules for further operations, ``{torch.ops.ns.name: rule}``; see `biasprop.operations`.
        memory_budget: bytes of temporaries beyond what the gradient needs.
        compiled: use compiled kernels where there are any (float32 on the CPU), instead of plain PyTorch.

    Returns:
        The `Explanation`. Half-precision models are explained in float32.

    Raises:
        BiaspropError: a member of the family, saying what is wrong, where, and what to do.
    """
    return Explainer(model, operations=operations, memory_budget=memory_budget, compiled=compiled)(
        x,
        target,
        rule,
        temperature,
        targets=targets,
        additional_forward_args=additional_forward_args,
        sources=sources,
        zero_others=zero_others,
    )


def explainer(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    additional_forward_args: Any = None,
    *,
    operations: Mapping[Any, Operation] | None = None,
    memory_budget: int = MEMORY_BUDGET,
    compiled: bool = True,
) -> "Explainer":
    """An `Explainer` that has captured ``model`` for inputs like ``example`` and is called many times.

    Raises:
        CaptureError: the model is in training mode or cannot be captured.
    """
    made = Explainer(model, operations=operations, memory_budget=memory_budget, compiled=compiled)
    inputs, extras = made.check(example, additional_forward_args)
    made.graph(inputs, extras)
    return made


class Explainer:
    """Explains one model many times; captures it once for each shape of input.

    The weights are read afresh at each call, so a model that has been trained further is explained as it is now.
    A model whose *structure* has changed needs a new explainer.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        operations: Mapping[Any, Operation] | None = None,
        memory_budget: int = MEMORY_BUDGET,
        compiled: bool = True,
    ) -> None:
        """See `explain` for the arguments."""
        if not isinstance(memory_budget, int) or memory_budget < 1:
            raise InputError(f"memory_budget must be a positive number of bytes, not {memory_budget!r}.")
        self.model = model
        self.operations = dict(operations or {})
        self.memory_budget = memory_budget
        self.compiled = compiled
        self._graphs: dict[Any, Graph] = {}

    def __call__(
        self,
        x: Tensor | tuple[Tensor, ...],
        target: Target = "predicted",
        rule: str | Rule = "bias1",
        temperature: float = 1.0,
        *,
        targets: Targets = None,
        additional_forward_args: Any = None,
        sources: SourceFilter = None,
        zero_others: bool = False,
        at: str | Sequence[str] | None = None,
    ) -> Explanation:
        """Explain ``x``; the arguments are those of `explain`.

        Args:
            x: as in `explain`.
            target: as in `explain`.
            rule: as in `explain`.
            temperature: as in `explain`.
            targets: as in `explain`.
            additional_forward_args: as in `explain`.
            sources: as in `explain`.
            zero_others: as in `explain`.
            at: attribute to these hidden tensors instead of to the inputs; see `Explanation.at`.
        """
        settings = Settings(make_rule(rule, temperature), self.memory_budget, self.compiled)
        if targets is not None and not (isinstance(target, str) and target == "predicted"):
            raise TargetError("Give target= or targets=, not both.")
        inputs, extras = self.check(x, additional_forward_args)

        def explain_at(*names: str) -> Explanation:
            graph = self.graph(inputs, extras)
            cut = list(dict.fromkeys(graph.find(name) for name in names))
            functional, swept = self._sweep(graph, inputs, extras, target, targets, settings, cut, sources, zero_others)

            def facing_out(values: Tensor, batch_dim: int = 0) -> Tensor:
                """From the sweep's order, targets first, to the user's: after the batch, or none."""
                return values[0] if targets is None else values.movedim(0, batch_dim + 1)

            def part(node: Node) -> Part:
                value, weight, beta = swept.reached[node]
                dim = node.batch_dim or 0
                return Part(node.name, value, facing_out(weight, dim), facing_out(beta, dim), dim, node in graph.inputs)

            output = facing_out(functional.value)
            explanation = Explanation(
                parts=tuple(part(node) for node in cut or graph.inputs),
                single=len(cut) == 1 if cut else isinstance(x, Tensor),
                output=output,
                unattributed=facing_out(swept.unattributed),
                withheld=facing_out(swept.withheld),
                bypassed=facing_out(_bypassed(swept, graph, cut, functional.value)),
                sources=Sources([replace(s, amount=facing_out(s.amount)) for s in swept.sources], output),
                rule=rule if isinstance(rule, str) else type(rule).__name__,
                temperature=temperature,
                target=functional.chosen[0] if targets is None else functional.chosen,
                again=explain_at,
            )
            require_complete(explanation)
            return explanation

        return explain_at(*((at,) if isinstance(at, str) else at or ()))

    def _sweep(
        self,
        graph: Graph,
        inputs: tuple[Tensor, ...],
        extras: tuple[Any, ...],
        target: Target,
        targets: Targets,
        settings: Settings,
        cut: list[Node],
        sources: SourceFilter,
        zero_others: bool,
    ) -> tuple[Functional, Swept]:
        """Linearise at the inputs, choose the functionals, sweep back to the cut for as many at a time as fit."""
        with torch.inference_mode(False), torch.enable_grad(), _full_precision(inputs):
            parameters = graph.read_parameters(self.model)

            def tape() -> Tape:
                return linearize(graph, parameters, inputs, extras, self.operations, cut)

            first = tape()
            functional = select(first, graph, [target] if targets is None else several(first, graph, targets))
            if not functional.value.isfinite().all():
                raise InputError("The network's output is not finite on this input: there is nothing to explain.")
            chosen = _chooser(sources, [s.node.name for s in first.steps])
            parts: list[Swept] = []
            for some in functional.split(_targets_at_once(first, settings)):
                used_up = first if not parts else tape()
                with torch.no_grad():
                    parts.append(sweep(used_up, graph, some, settings, cut, chosen, zero_others))
            swept = Swept.join(parts)
        for node in cut:
            if node not in swept.reached:
                raise SourceError(
                    f"The output does not depend on the input through {node.name!r} (or only through another of the "
                    "tensors named): there is nothing to attribute to it."
                )
        return functional, swept

    def split(self, x: Tensor | tuple[Tensor, ...], additional_forward_args: Any = None) -> tuple[Any, Any]:
        """``(J x, b)`` for every output at once: one forward-mode product (spec section 6).

        Returns:
            Two structures like the model's output: the part that is linear in ``x``, and the bias
            ``b = f(x) - J x``.
        """
        inputs, extras = self.check(x, additional_forward_args)
        graph = self.graph(inputs, extras)
        parameters = graph.read_parameters(self.model)
        with torch.inference_mode(False), torch.no_grad(), _full_precision(inputs), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's forward mode compiles its formulas with a deprecated call
            raised = tuple(i.to(torch.promote_types(i.dtype, torch.float32)) for i in inputs)
            f, jx = torch.func.jvp(lambda *u: run(graph, parameters, u, extras), raised, raised)[:2]
        return jx, pytree.tree_map(lambda a, b: a - b, f, jx)

    def sources(
        self,
        x: Tensor | tuple[Tensor, ...],
        target: Target = "predicted",
        additional_forward_args: Any = None,
    ) -> Sources:
        """The table of bias sources alone, at the cost of one gradient: nothing is attributed to the input.

        The same amounts as in `Explanation.sources`.
        """
        inputs, extras = self.check(x, additional_forward_args)
        graph = self.graph(inputs, extras)
        with torch.inference_mode(False), torch.enable_grad(), _full_precision(inputs):
            tape = linearize(graph, graph.read_parameters(self.model), inputs, extras, self.operations)
            functional = select(tape, graph, [target])
            with torch.no_grad():
                rows = [replace(source, amount=source.amount[0]) for source in bias_sources(tape, functional)]
        return Sources(rows, functional.value[0])

    def check(self, x: Any, extras: Any) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        """Inputs and extra arguments as tuples, checked; the inputs detached from any graph of the caller's."""
        require_eval(self.model)
        inputs = x if isinstance(x, tuple) else (x,)
        if not inputs:
            raise InputError("There is no input: give a tensor, or a tuple of tensors.")
        more = () if extras is None else extras if isinstance(extras, tuple) else (extras,)
        for i, tensor in enumerate(inputs):
            check_input(tensor, "The input" if len(inputs) == 1 else f"Input {i}", self.model)
        if len({t.shape[0] for t in inputs}) > 1:
            raise InputError(f"The inputs have different batch sizes: {[t.shape[0] for t in inputs]}.")
        with torch.inference_mode(False):
            return tuple(_detached(t) for t in inputs), tuple(pytree.tree_map_only(Tensor, _detached, more))

    def graph(self, inputs: tuple[Tensor, ...], extras: tuple[Any, ...]) -> Graph:
        """The captured graph for inputs of these shapes, captured at the first call."""
        # Shapes besides the batch, dtypes, structure, and every constant that the graph would hold fixed.
        leaves, structure = pytree.tree_flatten((inputs, extras))
        key = (
            str(structure),
            *(
                (
                    "tensor",
                    a.shape[1:] if a.dim() and a.shape[0] == inputs[0].shape[0] else a.shape,
                    a.dtype,
                    str(a.device),
                )
                if isinstance(a, Tensor)
                else (type(a).__name__, repr(a))
                for a in leaves
            ),
        )
        graph = self._graphs.get(key) or self._graphs.get((key, inputs[0].shape[0]))
        if graph is None:
            with _full_precision(inputs):
                graph = capture(self.model, inputs, extras)
            if len(self._graphs) >= GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key if graph.batch is None else (key, graph.batch)] = graph
        return graph


def _detached(tensor: Tensor) -> Tensor:
    """A copy: an explanation stays what it is when the caller goes on to change x."""
    return tensor.detach().clone()


def _full_precision(inputs: tuple[Tensor, ...]) -> AbstractContextManager[None]:
    """Autocast off: the network is explained in its own precision."""
    return torch.autocast(inputs[0].device.type, enabled=False)


def _chooser(sources: SourceFilter, names: list[str]) -> Callable[[str, str], bool]:
    if sources is None:
        return lambda name, operation: True
    if callable(sources):
        return sources
    patterns = [sources] if isinstance(sources, str) else sources
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise SourceError(f"sources must be names, patterns or a predicate (name, operation) -> bool, not {sources!r}.")
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in [*names, "target"]):
            raise SourceError(f"No bias source matches {pattern!r}. There are: {abbreviate(names)}.")
    return lambda name, operation: any(_matches(name, p) for p in patterns)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _targets_at_once(tape: Tape, settings: Settings) -> int:
    """So many that gradient, bias and what is made of them fit into the budget, at the largest tensor."""
    largest = max((s.piece.shape.numel() for s in tape.steps), default=1)
    size = max(value.element_size() for value in tape.kept.values())
    return max(1, settings.memory_budget // (6 * size * largest))


def _bypassed(swept: Swept, graph: Graph, cut: list[Node], like: Tensor) -> Tensor:
    """What reaches the inputs without passing the hidden cut; zero when it is one (Lemma 1)."""
    total = torch.zeros_like(like)
    for node in graph.inputs if cut else ():
        if node not in cut:
            value, g, beta = swept.reached[node]
            total = total + node.per_example(g * value + beta, like.shape[1])
    return total
