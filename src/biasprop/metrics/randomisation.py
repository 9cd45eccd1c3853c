"""Does a map depend on what the network has learnt (Adebayo et al., NeurIPS 2018), and on the class?"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..progress import track
from .method import Attribution, map_in_patches

__all__ = ["Randomisation", "class_sensitivity", "parameter_randomisation"]

Make = Callable[[nn.Module], Attribution]
"""The method for a network, e.g. ``lambda model: lambda x, y: biasprop.explain(model, x, y).attribution``."""


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How like the map is to that of the trained network, as layers lose what they have learnt, from the top down.

    Attributes:
        layers: in the order in which they are randomised, each besides those before it.
        correlation: Spearman's, mean over the examples, ``(layers,)`` float64: 0 is better, 1 means that the map does
            not look at what these layers have learnt.
    """

    layers: tuple[str, ...]
    correlation: Tensor

    def __str__(self) -> str:
        return f"correlation {float(self.correlation[-1]):.2f} once all {len(self.layers)} layers are randomised"


def parameter_randomisation(
    model: nn.Module, x: Tensor, classes: Tensor, make: Make, *, patch: int = 1, seed: int = 0, progress: bool = True
) -> Randomisation:
    """Cascading randomisation (MPRT): layers from the last to the first get the parameters of a new network.

    Args:
        model: in eval mode; a copy is randomised.
        x: images ``(N, C, H, W)``.
        classes: explained, ``(N,)``.
        make: the method for a network.
        patch: side of the squares over which maps are summed first.
        seed: of the new parameters.
        progress: show a bar, on a terminal.

    Raises:
        InputError: no layer can be randomised, or attributions do not fit.
    """
    changed = copy.deepcopy(model)
    layers = [(name, m) for name, m in changed.named_modules() if hasattr(m, "reset_parameters") and _learns(m)]
    if not layers:
        raise InputError("No layer of the model has reset_parameters(): there is nothing to randomise.")
    before = map_in_patches(make(model)(x, classes), x, patch)
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _, layer in track(list(reversed(layers)), "randomisation", progress):
            layer.reset_parameters()
            found.append(_spearman(before, map_in_patches(make(changed)(x, classes), x, patch)).mean())
    return Randomisation(tuple(name for name, _ in reversed(layers)), torch.stack(found).cpu())


def class_sensitivity(
    loader: Iterable[tuple[Tensor, Tensor, Tensor]], attribute: Attribution, *, patch: int = 1, progress: bool = True
) -> Tensor:
    """Spearman's correlation of the maps of two classes of each image, ``(N,)`` float64: lower is better.

    1 means that the map is the same whatever class is asked for (Sixt, Granz & Landgraf, ICML 2020).

    Args:
        loader: batches ``(x, classes, other classes)``, e.g. the most and the least likely ones.
        attribute: the method.
        patch: side of the squares over which maps are summed first.
        progress: show a bar, on a terminal.

    Raises:
        InputError: attributions do not fit, or there is no example.
    """
    found = []
    for x, one, other in track(loader, "class sensitivity", progress):
        maps = [map_in_patches(attribute(x, classes), x, patch) for classes in (one, other)]
        found.append(_spearman(*maps))
    if not found:
        raise InputError("The loader holds no example.")
    return torch.cat(found).cpu()


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _spearman(first: Tensor, second: Tensor) -> Tensor:
    """Of the ranks of each example, ``(N,)``; 0 where a map is constant."""
    ranks = [values.double().flatten(1).argsort(1).argsort(1).double() for values in (first, second)]
    constant = torch.stack([(v.flatten(1) == v.flatten(1)[:, :1]).all(1) for v in (first, second)]).any(0)
    a, b = (r - r.mean(1, keepdim=True) for r in ranks)
    size: Tensor = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return ((a * b).sum(1) / size.clamp_min(1e-30)).masked_fill(constant, 0)
