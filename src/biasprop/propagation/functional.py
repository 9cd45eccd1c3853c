"""From what the model returns to one number per example, the function that is explained.

A target is a linear functional of the output (a logit, a difference of logits). A callable that is not linear (a
softmax probability) takes part as its tangent, like a smooth gate: the intercept is a bias source named ``target``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import InputError, TargetError
from ..graph import Node
from ..kernels.extremes import is_finite
from ..results import TargetAxis
from .outputs import described_output, example_of
from .selection import Target, Targets, Texts, chosen_index, described
from .tape import Tape, rows

__all__ = ["Functional", "outputs_of", "select"]


@dataclass(frozen=True, eq=False)
class Functional:
    """``value = sum_i gradients[i] . output_i + intercept``: the last linear piece, of one unit per example.

    With a leading dimension of J targets: value and intercept ``(J, N)``, gradients ``(J, *output)``. ``axis`` says
    what the targets are, and ``probability`` ``(J, N)`` what the softmax over the classes makes of them.
    """

    value: Tensor
    gradients: dict[Node, Tensor]
    intercept: Tensor
    axis: TargetAxis
    probability: Tensor | None = None

    def chunks(self, size: int) -> Iterator["Functional"]:
        """The same for at most ``size`` targets at a time, about as many each time."""
        targets = len(self.value)
        count = -(-targets // size)
        for k in range(count):
            part = slice(targets * k // count, targets * (k + 1) // count)
            gradients = {node: g[part] for node, g in self.gradients.items()}
            yield Functional(self.value[part], gradients, self.intercept[part], self.axis)


@dataclass(frozen=True, eq=False)
class _One:
    """The functional of one target: value and intercept ``(N,)``, gradients like the outputs."""

    value: Tensor
    gradients: dict[Node, Tensor]
    intercept: Tensor
    chosen: Any
    probability: Tensor | None = None


def select(
    tape: Tape,
    target: Target = "predicted",
    targets: Targets = None,
    texts: Texts | None = None,
) -> Functional:
    """The functional that the target means for this batch, or each of several of them.

    Where a language model gives logits for each position of one of the ``texts``, a target without a position is of the
    next token.

    Raises:
        TargetError: one does not select exactly one number per example, or ``target`` and ``targets`` are both given.
        InputError: that number is not finite.
    """
    if targets is not None and not (isinstance(target, str) and target == "predicted"):
        raise TargetError("Give target= or targets=, not both.")
    wanted = [target] if targets is None else _several(tape, targets)
    found = [_from_callable(tape, t) if callable(t) else _from_index(tape, t, texts) for t in wanted]
    gradients = {
        node: torch.stack([one.gradients.get(node, torch.zeros_like(value)) for one in found])
        for node, value in tape.active.items()
        if any(node in one.gradients for one in found)
    }
    value, intercept = (torch.stack([getattr(one, name) for one in found]) for name in ("value", "intercept"))
    if not is_finite(value):
        raise InputError("The network's output is not finite on this input: there is nothing to explain.")
    axis = TargetAxis(tuple(one.chosen for one in found), several=targets is not None)
    shares = [one.probability for one in found if one.probability is not None and is_finite(one.probability)]
    return Functional(value, gradients, intercept, axis, torch.stack(shares) if len(shares) == len(found) else None)


def _several(tape: Tape, targets: Any) -> list[Target]:
    """What ``targets=`` means, one by one: a sequence of targets, the columns of an ``(N, J)`` tensor, or ``"all"``."""
    if isinstance(targets, str) and targets == "all":
        output = _one_output(tape)[0]
        return list(product(*(range(size) for size in output.shape[1:]))) if output.dim() > 1 else [None]
    if isinstance(targets, Tensor) and targets.dim() == 2 and len(targets) == tape.batch:
        targets = list(targets.unbind(1))
    if isinstance(targets, Tensor) and targets.dim() == 1:
        targets = targets.tolist()
    if not isinstance(targets, Sequence) or isinstance(targets, str) or not targets:
        raise TargetError(
            f"targets must be a list of targets, an (N, J) tensor with a column for each, or 'all', not {targets!r}."
        )
    return list(targets)


def outputs_of(tape: Tape) -> Tensor:
    """What targets are chosen from: the one tensor that the model returns, or its ``logits``.

    Raises:
        TargetError: there is none.
    """
    return _one_output(tape)[0]


def _has_position(target: Any) -> bool:
    return isinstance(target, tuple) or (isinstance(target, Tensor) and target.dim() == 2)


def _one_output(tape: Tape) -> tuple[Tensor, Any]:
    """The one tensor that the model returns, or the ``logits`` of a mapping, and its node."""
    spec = tape.graph.output_spec
    tensors = [o for o in pytree.tree_leaves(tape.outputs) if isinstance(o, Tensor)]
    which = 0
    if spec.num_leaves != 1 or not spec.is_leaf() or not tensors:
        returned = pytree.tree_unflatten(tape.outputs, spec)
        logits = returned.get("logits") if isinstance(returned, Mapping) else None
        places = [i for i, o in enumerate(tape.outputs) if o is logits and isinstance(o, Tensor)]
        which, tensors = (places[0], [tape.outputs[places[0]]]) if places else (0, [])
    if not tensors:
        raise TargetError(
            f"The model returns {described_output(returned)}, not one tensor. Give a callable target that selects a "
            f"number per example from it, e.g. target=lambda out: {example_of(returned, tape.batch)}."
        )
    output = tensors[0]
    if output.dim() == 0 or output.shape[0] != tape.batch:
        raise TargetError(
            f"The model's output has shape {tuple(output.shape)}; its first dimension must be the {tape.batch} "
            "examples. Give a callable target that returns one number per example; or, if x is a single example, make "
            "it a batch of one with x[None]."
        )
    if output.numel() == 0:
        raise TargetError(f"The model's output has shape {tuple(output.shape)}: it holds no number to explain.")
    return output, tape.graph.outputs[which]


def _from_index(tape: Tape, target: Any, texts: Texts | None) -> _One:
    output, node = _one_output(tape)
    end = texts.get(tuple(output.shape[1:])) if texts and not _has_position(target) else None
    rows = torch.arange(tape.batch, device=output.device)
    if end is not None:
        index = (end, *chosen_index(output[rows, end], target))
        classes: Tensor | None = output[rows, end]
    else:
        index = chosen_index(output, target)
        classes = output if output.dim() == 2 and output.shape[1] > 1 else None
    value = output[(rows, *index)]
    probability = None if classes is None else classes.softmax(1)[rows, index[-1]]
    gradient = torch.zeros_like(output)
    gradient[(rows, *index)] = 1
    if node not in tape.active:  # the output does not depend on the input at all
        return _One(value, {}, value.clone(), described(index), probability)
    return _One(value, {node: gradient}, torch.zeros_like(value), described(index), probability)


def _from_callable(tape: Tape, target: Callable[[Any], Tensor]) -> _One:
    leaves = {node: value.detach().clone().requires_grad_() for node, value in tape.active.items()}
    flat = [
        leaves.get(node, value) if isinstance(node, Node) else value
        for node, value in zip(tape.graph.outputs, tape.outputs, strict=True)
    ]
    name = str(getattr(target, "__name__", "callable"))
    value = _called(target, pytree.tree_unflatten(flat, tape.graph.output_spec), tape.batch)
    if not value.requires_grad:
        return _One(value.detach(), {}, value.detach(), name)
    grads = _gradients(value, list(leaves.values()))
    gradients, value = dict(zip(leaves, grads, strict=True)), value.detach()
    products = [rows((g * leaves[n].detach())[None], n, tape.batch)[0] for n, g in gradients.items()]
    intercept = value - torch.stack([p.sum(1) for p in products]).sum(0)
    size = torch.stack([p.abs().sum(1) for p in products]).sum(0) + value.abs()
    negligible = intercept.abs() <= 8 * torch.finfo(value.dtype).eps * size
    return _One(value, gradients, intercept.masked_fill(negligible, 0), name)


def _gradients(value: Tensor, leaves: list[Tensor]) -> Sequence[Tensor]:
    try:
        return torch.autograd.grad(value.sum(), leaves, allow_unused=True, materialize_grads=True)
    except Exception as error:  # it is the user's code, run backwards
        raise TargetError(f"The callable target has no gradient: {type(error).__name__}: {error}") from error


def _called(target: Callable[[Any], Tensor], output: Any, batch: int) -> Tensor:
    """What the user's callable makes of the output, checked."""
    try:
        value = target(output)
    except Exception as error:  # it is the user's code: whatever it raises
        raise TargetError(
            f"The callable target failed on the model's output: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.shape != (batch,) or not value.is_floating_point():
        got = f"a tensor of shape {tuple(value.shape)} and {value.dtype}" if isinstance(value, Tensor) else repr(value)
        raise TargetError(
            f"A callable target must return one floating-point number per example, shape ({batch},), not {got}."
        )
    return value
