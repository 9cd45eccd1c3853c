"""Targets: from what the model returns to one number per example, the function that is explained.

A target is a linear functional of the output (a logit, a difference of logits). A callable that is not linear (a
softmax probability) takes part as its tangent, like a smooth gate: the intercept is a bias source named ``target``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .capture import Graph, Node
from .errors import TargetError
from .linearize import Tape

__all__ = ["Functional", "Target", "Targets", "select", "several"]

Targets = Sequence["Target"] | Tensor | str | None
Target = str | int | tuple[int, ...] | Sequence[Any] | Tensor | Callable[[Any], Tensor] | None


@dataclass(frozen=True, eq=False)
class Functional:
    """``value = sum_i gradients[i] . output_i + intercept``: the last linear piece, of one unit per example.

    With a leading dimension of J targets: value and intercept ``(J, N)``, gradients ``(J, *output)``.
    """

    value: Tensor
    gradients: dict[Node, Tensor]
    intercept: Tensor
    chosen: Any

    def split(self, size: int) -> Iterator["Functional"]:
        """The same for ``size`` targets at a time."""
        for i in range(0, len(self.value), size):
            part = slice(i, i + size)
            gradients = {node: g[part] for node, g in self.gradients.items()}
            yield Functional(self.value[part], gradients, self.intercept[part], self.chosen[part])


def select(tape: Tape, graph: Graph, targets: Sequence[Target]) -> Functional:
    """The functional that each of the ``targets`` means for this batch.

    Raises:
        TargetError: one does not select exactly one number per example.
    """
    found = [_from_callable(tape, graph, t) if callable(t) else _from_index(tape, graph, t) for t in targets]
    gradients = {
        node: torch.stack([one.gradients.get(node, torch.zeros_like(value)) for one in found])
        for node, value in tape.active.items()
        if any(node in one.gradients for one in found)
    }
    value, intercept = (torch.stack([getattr(one, name) for one in found]) for name in ("value", "intercept"))
    return Functional(value, gradients, intercept, [one.chosen for one in found])


def several(tape: Tape, graph: Graph, targets: Any) -> list[Target]:
    """What ``targets=`` means, one by one: a sequence of targets, the columns of an ``(N, J)`` tensor, or ``"all"``.

    Raises:
        TargetError: it is none of these, or empty.
    """
    if isinstance(targets, str) and targets == "all":
        output = _one_output(tape, graph)
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


def _one_output(tape: Tape, graph: Graph) -> Tensor:
    tensors = [o for o in pytree.tree_leaves(tape.outputs) if isinstance(o, Tensor)]
    if graph.output_spec.num_leaves != 1 or not graph.output_spec.is_leaf() or not tensors:
        kind = getattr(graph.output_spec.type, "__name__", "object")
        raise TargetError(
            f"The model returns a {kind}, not one tensor. Give a callable target that selects a number per example "
            "from it, e.g. target=lambda out: out['logits'][:, 3]."
        )
    output = tensors[0]
    if output.dim() == 0 or output.shape[0] != tape.batch:
        raise TargetError(
            f"The model's output has shape {tuple(output.shape)}; its first dimension must be the {tape.batch} "
            "examples. Give a callable target that returns one number per example."
        )
    return output


def _from_index(tape: Tape, graph: Graph, target: Any) -> Functional:
    output = _one_output(tape, graph)
    index = _index(output, target)
    rows = torch.arange(tape.batch, device=output.device)
    value = output[(rows, *index)]
    node = graph.outputs[0]
    gradient = torch.zeros_like(output)
    gradient[(rows, *index)] = 1
    if node not in tape.active:  # the output does not depend on the input at all
        return Functional(value, {}, value.clone(), _describe(index))
    return Functional(value, {node: gradient}, torch.zeros_like(value), _describe(index))


def _describe(index: tuple[Tensor, ...]) -> list[Any]:
    """The chosen index of each example, as plain numbers."""
    if not index:
        return []
    rows = torch.stack(index, 1).tolist()
    return [row[0] if len(row) == 1 else tuple(row) for row in rows]


def _index(output: Tensor, target: Target) -> tuple[Tensor, ...]:
    """One index tensor of shape ``(N,)`` per trailing dimension of the output."""
    n, trailing = output.shape[0], output.shape[1:]
    if trailing.numel() == 1 and (target is None or target == "predicted"):
        return tuple(torch.zeros(n, dtype=torch.long, device=output.device) for _ in trailing)
    if target is None:
        raise TargetError(
            f"The model has {trailing.numel()} outputs per example (shape {tuple(trailing)}): say which one to "
            "explain, e.g. target='predicted' or target=3."
        )
    if isinstance(target, str):
        if target != "predicted" or len(trailing) != 1:
            remedy = "an index such as target=(3, 0, 0)" if target == "predicted" else "'predicted' or an index"
            raise TargetError(f"Target {target!r} is not defined for outputs of shape {tuple(trailing)}: use {remedy}.")
        return (output.argmax(1),)
    return _checked(_rows(target, n, len(trailing)).to(output.device), trailing)


def _rows(target: Any, n: int, dims: int) -> Tensor:
    """Indices as ``(N, dims)``, from an int, a tuple, a list or a tensor."""
    try:
        given = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(f"A target cannot be made of {target!r}: {error}.") from error
    if given.is_floating_point() or given.dtype == torch.bool or given.is_complex():
        raise TargetError(f"Target indices must be integers, not {given.dtype}.")
    if given.dim() == 0:
        given = given.reshape(1, 1).expand(n, 1)
    elif isinstance(target, tuple) and given.dim() == 1:
        given = given.expand(n, -1)
    elif given.dim() == 1:
        given = given[:, None]
    if given.dim() != 2 or given.shape[0] != n:
        raise TargetError(
            f"The target has {given.shape[0]} entries for a batch of {n}: give one index for all examples, or one for "
            "each."
        )
    if given.shape[1] != dims:
        raise TargetError(
            f"The target has {given.shape[1]} indices per example, but the output has {dims} dimensions besides the "
            f"batch: give a tuple of {dims}."
            if dims
            else "The model returns one number per example: leave the target out."
        )
    return given.long()


def _checked(rows: Tensor, trailing: torch.Size) -> tuple[Tensor, ...]:
    for dim, size in enumerate(trailing):
        wrong = (rows[:, dim] >= size) | (rows[:, dim] < -size)
        if wrong.any():
            raise TargetError(
                f"Target {int(rows[:, dim][wrong][0])} is out of range: dimension {dim + 1} of the output has {size} "
                "entries."
            )
    return tuple(rows[:, dim] % size for dim, size in enumerate(trailing))


def _from_callable(tape: Tape, graph: Graph, target: Callable[[Any], Tensor]) -> Functional:
    leaves = {node: value.detach().clone().requires_grad_() for node, value in tape.active.items()}
    flat = [
        leaves.get(node, value) if isinstance(node, Node) else value
        for node, value in zip(graph.outputs, tape.outputs, strict=True)
    ]
    try:
        value = target(pytree.tree_unflatten(flat, graph.output_spec))
    except Exception as error:  # it is the user's code: whatever it raises
        raise TargetError(
            f"The callable target failed on the model's output: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.shape != (tape.batch,) or not value.is_floating_point():
        got = f"a tensor of shape {tuple(value.shape)} and {value.dtype}" if isinstance(value, Tensor) else repr(value)
        raise TargetError(
            f"A callable target must return one floating-point number per example, shape ({tape.batch},), not {got}."
        )
    if not value.requires_grad:
        return Functional(value.detach(), {}, value.detach(), str(getattr(target, "__name__", "callable")))
    grads = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    gradients = dict(zip(leaves, grads, strict=True))
    products = [node.rows((g * leaves[node].detach())[None], tape.batch)[0] for node, g in gradients.items()]
    intercept = value.detach() - torch.stack([p.sum(1) for p in products]).sum(0)
    size = torch.stack([p.abs().sum(1) for p in products]).sum(0) + value.detach().abs()
    negligible = intercept.abs() <= 8 * torch.finfo(value.dtype).eps * size
    intercept = intercept.masked_fill(negligible, 0)
    return Functional(
        value.detach(),
        gradients,
        intercept,
        str(getattr(target, "__name__", "callable")),
    )
