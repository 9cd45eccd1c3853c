"""What must hold of an input before it is explained."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..graph import require_eval
from ..kernels.extremes import is_finite

__all__ = ["Given", "as_tuple", "check_input", "checked", "signature"]


PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PASSED_ON = ("token_type_ids", "position_ids")  # ids that say nothing of the content
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One or several, or None, as a tuple."""
    return () if value is None else value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, eq=False)
class Given:
    """What the user gives, checked: the model is called as ``model(*inputs, *extras)``.

    Attributes:
        model: the user's, or a view of it that takes arguments by position which it takes by name.
        inputs: what is attributed to, each ``(N, ...)``: numbers, or token ids.
        extras: further arguments.
        names: of the inputs and the extras, where they were given by name.
        single: whether there is one input, not in a tuple.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    extras: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    single: bool = True

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def floating(self) -> list[bool]:
        """Which inputs are numbers; the others are ids."""
        return [x.is_floating_point() for x in self.inputs]


def checked(model: nn.Module, x: Any, extras: Any = None) -> Given:
    """Inputs and extra arguments, checked; the inputs detached from any graph of the caller's.

    Raises:
        CaptureError: the model is in training mode.
        InputError: an input does not fit the model.
    """
    require_eval(model)
    if isinstance(x, Mapping):
        return _by_name(model, dict(x), extras)
    name = getattr(model, "main_input_name", None)  # of a model of transformers
    if isinstance(name, str) and isinstance(x, Tensor) and not x.is_floating_point() and extras is None:
        return _by_name(model, {name: x}, extras)
    inputs = x if isinstance(x, tuple) else (x,)
    if not inputs:
        raise InputError("There is no input: give a tensor, a tuple of tensors, or what a tokenizer returns.")
    inputs, others = _detached_all(model, inputs, as_tuple(extras))
    _require_batch(inputs, others, model)
    return Given(model, inputs, others, single=not isinstance(x, tuple))


def _detached_all(
    model: nn.Module, inputs: tuple[Any, ...], extras: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    for i, tensor in enumerate(inputs):
        check_input(tensor, "The input" if len(inputs) == 1 else f"Input {i}", model)
    if len({t.shape[0] for t in inputs}) > 1:
        raise InputError(f"The inputs have different batch sizes: {[t.shape[0] for t in inputs]}.")
    with torch.inference_mode(False):
        detached = tuple(_detached(t) for t in inputs)
        return detached, tuple(pytree.tree_map_only(Tensor, _detached, extras)) if extras else ()


def _by_name(model: nn.Module, x: dict[str, Any], extras: Any) -> Given:
    """A mapping of keyword arguments, such as a tokenizer returns: token ids and numbers are attributed to."""
    if extras is not None:
        raise InputError("Give further arguments in the mapping that x is, not in additional_forward_args.")
    attributed = [name for name, value in x.items() if _is_attributed(name, value)]
    if not attributed:
        raise InputError(
            f"Nothing in {sorted(x)} can be attributed to: x must hold input_ids, or a tensor of floating point."
        )
    rest = [name for name in x if name not in attributed]
    values = [x[name] for name in rest]
    if "use_cache" not in x and "use_cache" in inspect.signature(type(model).forward).parameters:
        rest, values = [*rest, "use_cache"], [*values, False]  # what is kept for the next token is no output
    inputs, others = _detached_all(model, tuple(x[name] for name in attributed), tuple(values))
    names = (*attributed, *rest)
    return Given(_taking_positions(model, names), inputs, others, names, single=len(inputs) == 1)


def _is_attributed(name: str, value: Any) -> bool:
    if not isinstance(value, Tensor) or value.dtype == torch.bool or "mask" in name:
        return False
    return value.is_floating_point() or (name.endswith("ids") and name not in PASSED_ON)


def _taking_positions(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """A view of the model that is called by position; it shares all that the model holds."""
    kind: Any = type(model)
    view: nn.Module = object.__new__(_by_position(kind, names))
    view.__dict__.update(vars(model))
    return view


@lru_cache(maxsize=32)
def _by_position(kind: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """The class of such views, which takes transformers a millisecond to make."""

    class ByPosition(kind):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any) -> Any:
            return super().forward(**dict(zip(names, args, strict=True)))

    ByPosition.__name__ = kind.__name__
    ByPosition.__qualname__ = kind.__qualname__
    return ByPosition


def _detached(tensor: Tensor) -> Tensor:
    """A copy: an explanation stays what it is when the caller goes on to change x."""
    return tensor.detach().clone()


def signature(given: Given) -> tuple[Any, ...]:
    """What a captured graph is fixed to: names, shapes besides the batch, dtypes, structure, and every constant."""
    leaves, structure = pytree.tree_flatten((given.inputs, given.extras))
    return given.names, str(structure), *(_signature(leaf, len(given)) for leaf in leaves)


def _signature(leaf: Any, batch: int) -> tuple[Any, ...]:
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__, repr(leaf)
    shape = leaf.shape[1:] if leaf.dim() and leaf.shape[0] == batch else leaf.shape
    return "tensor", shape, leaf.dtype, str(leaf.device)


def check_input(tensor: Any, what: str, model: nn.Module) -> None:
    """Raise ``InputError`` unless this is a finite dense floating tensor of the model's dtype and device."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"{what} must be a torch.Tensor, not {type(tensor).__name__}: use torch.as_tensor(...).")
    _require_dense(tensor, what)
    if tensor.dtype not in PRECISIONS and not _are_ids(tensor, model):
        raise InputError(f"{what} must be floating point, not {tensor.dtype}: {_floating_advice(tensor, model)}")
    if tensor.dim() == 0 or tensor.shape[0] == 0 or tensor.numel() == 0:
        raise InputError(f"{what} has shape {tuple(tensor.shape)}: it must hold at least one example, (N, ...).")
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is not None and parameter.device != tensor.device:
        raise InputError(f"{what} is on {tensor.device}, the model on {parameter.device}: move one with .to(device).")
    if not tensor.is_floating_point():
        return
    if parameter is not None and parameter.dtype != tensor.dtype:
        raise InputError(f"{what} is {tensor.dtype}, the model {parameter.dtype}: use x.to({parameter.dtype}).")
    if not is_finite(tensor):
        bad = (~tensor.isfinite()).reshape(tensor.shape[0], -1).any(1).nonzero()[0].item()
        raise InputError(f"{what} holds NaN or infinite values (first in example {bad}): replace or drop them.")


def _are_ids(tensor: Tensor, model: nn.Module) -> bool:
    """Whether integers are meant to be looked up."""
    integers = tensor.dtype in (torch.int32, torch.int64)
    return integers and any(isinstance(module, nn.Embedding) for module in model.modules())


def _require_dense(tensor: Tensor, what: str) -> None:
    """Of what kind a tensor is, before anything is asked of it that only ordinary ones answer."""
    if tensor.is_nested:
        remedy = "a nested tensor has examples of several sizes: explain them one by one, or x.to_padded_tensor(0.0)"
    elif tensor.is_meta:
        remedy = "build it with values, on the model's device"
    elif tensor.layout is not torch.strided:
        remedy = "use x.to_dense()"
    elif tensor.is_quantized:
        remedy = "use x.dequantize()"
    else:
        return
    raise InputError(f"{what} must be an ordinary dense tensor: {remedy}.")


def _floating_advice(tensor: Tensor, model: nn.Module) -> str:
    """What to do about an input of another type: not the same for pixels, for tokens and for complex numbers."""
    if tensor.is_complex():
        return "give real and imaginary part as two channels, torch.view_as_real(x)."
    if tensor.is_floating_point():
        return "use x.float()."
    if any(isinstance(module, nn.Embedding) for module in model.modules()):
        return "token ids are integers of 64 or 32 bits, x.long()."
    if any(isinstance(module, nn.EmbeddingBag) for module in model.modules()):
        return (
            "an EmbeddingBag sums the vectors that it looks up and cannot be attributed to: use nn.Embedding and a sum."
        )
    return "use x.float() after scaling it."


def _require_batch(inputs: tuple[Tensor, ...], extras: tuple[Any, ...], model: nn.Module) -> None:
    """One example without a batch, of the shape that the model's first layer takes, on which the model fails."""
    first = next((m for m in model.modules() if isinstance(m, WEIGHTED)), None)
    x = inputs[0]
    if first is None or len(inputs) > 1 or x.shape[0] != _channels(first) or x.dim() != _dimensions(first):
        return
    try:
        with torch.no_grad():
            model(x, *extras)
    except Exception as error:  # whatever the user's code raises
        raise InputError(
            f"The input of shape {tuple(x.shape)} has no dimension of examples: make it a batch of one with x[None]. "
            f"(As it is, the model fails: {(str(error).splitlines() or [type(error).__name__])[0][:200]})"
        ) from error


def _channels(layer: nn.Module) -> Any:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _dimensions(layer: nn.Module) -> int:
    """Of one example for this layer."""
    return 1 if isinstance(layer, nn.Linear) else 1 + len(layer.kernel_size)  # type: ignore[arg-type]
