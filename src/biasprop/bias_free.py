"""Networks without a bias: modules that are homogeneous, and a bias-free copy of any model (spec section 8).

Uncentred batch norm divides by the root mean square and does not shift (Mohan, Kadkhodaie, Simoncelli &
Fernandez-Granda, ICLR 2020). Removing the biases of a *trained* network changes its function: it is a warm start for
training, not a replacement. The networks of Hesse, Schaub-Meyer & Roth (NeurIPS 2021) are trained without.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .capture import Graph, Node
from .errors import InputError
from .explainer import Explainer

__all__ = [
    "HomogeneousLift",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
    "remove_bias",
]


class _UncenteredBatchNorm(nn.Module):
    """``y = weight * x / sqrt(E[x^2] + eps)`` per channel; in eval mode with the running mean square.

    In eval mode it is linear: degree 1, no bias. The arguments are those of torch's batch norm; there is no bias.
    """

    dims: tuple[int, ...]
    running_mean_square: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """``momentum=None`` takes the average over all batches, as in torch."""
        super().__init__()
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if affine else None
        self.register_buffer("running_mean_square", torch.ones(num_features, device=device, dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, ...)`` to the same shape."""
        if x.dim() not in self.dims or x.shape[1] != self.num_features:
            allowed = " or ".join(f"{d}-dimensional" for d in self.dims)
            raise InputError(
                f"{type(self).__name__} takes {allowed} tensors of {self.num_features} channels, not {tuple(x.shape)}."
            )
        mean_square = self.running_mean_square
        if self.training:
            mean_square = x.square().mean([d for d in range(x.dim()) if d != 1])
            with torch.no_grad():
                self.num_batches_tracked += 1
                rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean_square.lerp_(mean_square.to(self.running_mean_square), rate)
        scale = torch.rsqrt(mean_square + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        y: Tensor = x * scale.reshape(-1, *[1] * (x.dim() - 2))
        return y

    def extra_repr(self) -> str:
        """As torch's."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> "_UncenteredBatchNorm":
        """From a batch norm: the same weight, and the mean square that follows from its mean and variance."""
        like = norm.running_var if norm.running_var is not None else norm.weight
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, like.device, like.dtype)
        with torch.no_grad():
            if made.weight is not None:
                made.weight.copy_(norm.weight)
                made.weight.requires_grad_(norm.weight.requires_grad)
            if norm.running_var is not None and norm.running_mean is not None:
                made.running_mean_square.copy_(norm.running_var + norm.running_mean.square())
            if norm.num_batches_tracked is not None:
                made.num_batches_tracked.copy_(norm.num_batches_tracked)
        return made.train(norm.training)


class UncenteredBatchNorm1d(_UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C)`` or ``(N, C, L)``."""

    dims = (2, 3)


class UncenteredBatchNorm2d(_UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C, H, W)``."""

    dims = (4,)


class UncenteredBatchNorm3d(_UncenteredBatchNorm):
    """Batch norm without centring and without bias, for ``(N, C, D, H, W)``."""

    dims = (5,)


class HomogeneousLift(nn.Module):
    """``F(x) = ||x|| f(x / ||x||)``: homogeneous of degree 1 whatever ``f`` is, exactly; 0 at 0.

    The norm is that of each example. ``f`` must be trained this way: the lift of a trained ``f`` is another function.
    """

    def __init__(self, f: nn.Module) -> None:
        """``f`` takes one tensor with the batch first and returns one."""
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """``(N, ...)`` to what ``f`` returns."""
        norm = torch.linalg.vector_norm(x.flatten(1), dim=1)
        factor = torch.where(norm > 0, norm.reciprocal(), 0.0)
        y: Tensor = self.f(x * factor.reshape(-1, *[1] * (x.dim() - 1)))
        scaled: Tensor = y * norm.reshape(-1, *[1] * (y.dim() - 1))
        return scaled


NORMS: Sequence[tuple[type[nn.modules.batchnorm._BatchNorm], type[_UncenteredBatchNorm]]] = (
    (nn.BatchNorm1d, UncenteredBatchNorm1d),
    (nn.BatchNorm2d, UncenteredBatchNorm2d),
    (nn.BatchNorm3d, UncenteredBatchNorm3d),
)


def remove_bias(model: nn.Module, x: Tensor | tuple[Tensor, ...] | None = None) -> nn.Module:
    """A copy of ``model`` without additive constants; ``model`` itself is left as it is.

    Biases of layers become None; batch norm becomes uncentred, with the mean square ``var + mean^2`` that its running
    statistics imply; parameters of any module whose name says that they are a bias (``bias``, ``bias1a``,
    ``in_proj_bias``) become buffers of zeros, which no training brings back. With an example ``x`` the network is also
    captured, and every other parameter that it merely adds (a bare parameter, a positional embedding) is treated so.

    A trained network without its biases is another function: train it further (a warm start).

    Args:
        model: any module.
        x: input, or a tuple of inputs; the model must then be in eval mode.

    Returns:
        The copy. What breaks homogeneity and cannot be removed is named in a warning (with ``x``; see `homogeneity`).

    Warns:
        UserWarning: nothing was there to remove, or something is left.
    """
    made = copy.deepcopy(model)
    removed = _remove_from_modules(made)
    left = [name for name, module in made.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if left:
        warnings.warn(
            f"Left, because it is no BatchNorm1d, 2d or 3d: the running mean of {', '.join(left)}.", stacklevel=2
        )
    if x is not None:
        removed += _remove_added_parameters(made, x)
        _warn_of_the_rest(made, x)
    if not removed:
        warnings.warn("The model has no bias to remove: the copy is the same network.", stacklevel=2)
    return made


def _remove_from_modules(model: nn.Module) -> int:
    made: dict[nn.Module, nn.Module] = {}  # one for each, also where it is used twice
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            for kind, uncentred in NORMS:
                if isinstance(child, kind):
                    made[child] = made[child] if child in made else uncentred.of(child)
                    setattr(module, name, made[child])
    removed = len(made)
    if any(isinstance(model, kind) for kind, _ in NORMS):
        raise InputError("The model is a batch norm itself: use UncenteredBatchNorm1d, 2d or 3d.")
    read = {part for module in model.modules() if isinstance(module, READERS) for part in module.modules()}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if "bias" not in name:
                continue
            removed += 1
            if name == "bias" and isinstance(module, OPTIONAL_BIAS) and module not in read:
                module.register_parameter("bias", None)
            else:
                _replace_by_zeros(module, name, parameter)
    return removed


# Modules whose forward takes a bias of None, except within those that read the biases of their parts themselves.
OPTIONAL_BIAS = (nn.Linear, nn.LayerNorm, nn.modules.conv._ConvNd)
READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def _replace_by_zeros(module: nn.Module, name: str, parameter: Tensor) -> None:
    """A buffer in the place of a parameter or buffer."""
    if name in module._parameters:
        del module._parameters[name]
        module.register_buffer(name, torch.zeros_like(parameter.detach()))
    else:
        setattr(module, name, torch.zeros_like(parameter))


def _remove_added_parameters(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> int:
    """Zeros for the parameters whose every use is to be added to what depends on the input."""
    explainer = Explainer(model)
    inputs, extras = explainer.check(x, None)
    graph = explainer.graph(inputs, extras)
    removed = 0
    for node, name in graph.parameters.items():
        path, _, attribute = name.rpartition(".")
        try:
            module = model.get_submodule(path)
        except AttributeError:
            continue
        value = getattr(module, attribute, None)
        if isinstance(value, Tensor) and value.is_floating_point() and value.any() and _is_merely_added(graph, node):
            _replace_by_zeros(module, attribute, value)
            removed += 1
    return removed


def _is_merely_added(graph: Graph, constant: Node) -> bool:
    """Whether a constant reaches what depends on the input only as a term of a sum."""
    depends, moved = set(graph.inputs), {constant}
    uses = []
    for node in graph.nodes:
        operands = node.operands()
        if any(o in moved for o in operands):
            if any(o in depends for o in operands):
                uses.append(node)
                depends.add(node)
            elif len(operands) == 1 and node.operation in MOVES:
                moved.add(node)
            else:
                return False
        elif any(o in depends for o in operands):
            depends.add(node)
    return bool(uses) and all(node.operation in ("add", "sub", "rsub", "cat", "concat") for node in uses)


MOVES = frozenset(
    [
        "view",
        "reshape",
        "permute",
        "transpose",
        "unsqueeze",
        "squeeze",
        "expand",
        "slice",
        "select",
        "clone",
        "contiguous",
        "alias",
    ]
)


def _warn_of_the_rest(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> None:
    from .homogeneity import homogeneity

    report = homogeneity(model, x)
    if report.breakers:
        warnings.warn("Left, because it cannot be removed: " + "; ".join(map(str, report.breakers)), stacklevel=3)
