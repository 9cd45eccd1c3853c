"""The state of a model's weights: whether they are the same tensors, unchanged since."""

from weakref import ref

from torch import nn

__all__ = ["Weights"]


class Weights:
    """Of a model at one moment, without keeping the tensors alive."""

    def __init__(self, model: nn.Module) -> None:
        held = (of.values() for module in model.modules() for of in (module._parameters, module._buffers))
        self.tensors = [(ref(t), t._version) for tensors in held for t in tensors if t is not None]

    def __eq__(self, other: object) -> bool:
        """Whether they are the same tensors, unchanged; those that are gone are the same as nothing."""
        if not isinstance(other, Weights) or len(self.tensors) != len(other.tensors):
            return False
        pairs = zip(self.tensors, other.tensors, strict=True)
        return all(one() is not None and one() is two() and v == w for (one, v), (two, w) in pairs)

    __hash__ = None  # type: ignore[assignment]
