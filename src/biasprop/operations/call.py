"""One operation at the current input: its function, its evaluated arguments and the operands to attribute to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

from ..errors import InputError, UnsupportedOperation
from ..graph import Node
from ..local_models import LocalModel

__all__ = ["Arguments", "Call", "Linearization", "without_batch"]


@dataclass(frozen=True)
class Arguments:
    """``function(*args, **kwargs)`` with a `Node` left wherever a tensor depends on the attributed inputs."""

    node: Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def argument(self, position: int, name: str = "", default: Any = None) -> Any:
        """An argument by position or name; a `Node` where it is an operand."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def is_operand(self, position: int, name: str) -> bool:
        """Whether an argument depends on the attributed inputs."""
        return isinstance(self.argument(position, name), Node)


@dataclass(frozen=True)
class Call(Arguments):
    """A call at the current input.

    ``operands`` are the values of the nodes left open, in order of appearance (a node that appears twice is two
    operands). ``trusted`` is False where the user says what family the operation belongs to: that is then tried.
    """

    operands: list[Tensor]
    trusted: bool = True

    def __call__(self, *operands: Tensor) -> Tensor:
        """Run the operation on other operands."""
        left = iter(operands)
        args, kwargs = map_aggregate((self.args, self.kwargs), lambda a: next(left) if isinstance(a, Node) else a)
        out = self.node.function(*args, **kwargs)
        return out if self.node.index is None else out[self.node.index]  # type: ignore[no-any-return]

    def without_values(self) -> "Call":
        """The same, to be run on other operands: those at the current input are not kept for it."""
        return replace(self, operands=[])

    def value(self) -> Tensor:
        """The output, outside of any autograd graph."""
        with torch.no_grad():
            return self(*(u.detach() for u in self.operands))

    def leaves(self) -> list[Tensor]:
        """The operands as fresh leaves of an autograd graph of their own."""
        return [u.detach().requires_grad_() for u in self.operands]

    def at(self, value: float) -> Tensor:
        """The output with every operand set to a constant: at 0, what the operation adds by itself."""
        with torch.no_grad():
            return self(*(torch.full_like(u, value) for u in self.operands))

    def unsupported(self, why: str) -> UnsupportedOperation:
        """The error for a call that its family cannot treat."""
        return UnsupportedOperation(
            f"No local model for operation {self.node.operation!r} at {self.node.name!r}: {why} Give one with "
            f"operations={{torch.ops.{str(self.node.function).replace('.default', '')}: ...}}; see the documentation "
            "of biasprop.operations."
        )


def without_batch(call: Call) -> InputError:
    """The error for an operation that got one example where it takes a batch of them."""
    shape = tuple(call.operands[0].shape)
    return InputError(
        f"There is no dimension of examples at {call.node!r}: what it gets has shape {shape}. If x is a single "
        "example, make it a batch of one with x[None]; if the model sums over its batch, write it "
        "without that."
    )


Linearization = Callable[[Call], LocalModel | None]
"""From a call to its local linear model; None where its value does not depend on the inputs to the first order."""
