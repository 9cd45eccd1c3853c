"""What the scoreboard measures of one method on one network, in plain values, where it can one for each example."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

import biasprop
from biasprop.metrics import (
    class_sensitivity,
    digit_flip,
    grid_pointing_game,
    parameter_randomisation,
    symmetric_relevance_gain,
)

from .methods import Method, make_methods
from .subjects import Subject

__all__ = ["Judged", "flips", "gains", "pointing", "randomisation", "sensitivity"]


@dataclass(frozen=True)
class Judged:
    """A network and how much of it is judged.

    Attributes:
        subject: the network and its test images.
        images: for the relevance gain, from everywhere in the test set.
        patch: side of the squares of the coarser gain.
        steps: of the relevance gain.
        sure: so many of these images, those that the network is surest of, make the grids of the pointing game; 0: the
            network takes no larger images.
        compared: images for the maps of different classes.
        randomised: images for the randomisation of layers.
        batch: images at once.
        seed: of random attributions.
    """

    subject: Subject
    images: int
    patch: int
    steps: int
    sure: int
    compared: int
    randomised: int
    batch: int
    seed: int

    def method(self, name: str, model: nn.Module | None = None) -> Method:
        """Of the network, or of one like it."""
        if model is None or model is self.subject.model:
            return make_methods(self.subject, [name], seed=self.seed, explain=self.explain)[name]
        return make_methods(replace(self.subject, model=model), [name], seed=self.seed)[name]

    @cached_property
    def explain(self) -> biasprop.Explainer:
        """One for all, as the capture takes longest."""
        return biasprop.Explainer(self.subject.model)

    def batches(self, images: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, as many as these or all, and all logits."""
        for x, _ in self.subject.loader(self.batch, self.images if images is None else images, spread=True):
            yield x, self.subject.model(x).detach()


def gains(judged: Judged, method: Method) -> dict[str, list[float]]:
    """Symmetric relevance gains of the predicted class, and how far the attribution is from adding up to its logit.

    Returns:
        ``gap``, relative to the logit, and the gains by the size of the patches and what replaces a pixel.
    """
    loader, made, gap = [], {}, []
    for x, logits in judged.batches():
        target = logits.argmax(1)
        found = made[x.data_ptr()] = method(x, target)
        value = logits.gather(1, target[:, None])[:, 0].double()
        gap += ((found.double().sum((1, 2, 3)) - value).abs() / value.abs()).tolist()
        loader.append((x, target))
    measured = {"gap": gap}
    for size, unit in ((1, "pixels"), (judged.patch, f"{judged.patch} x {judged.patch}")):
        gain = symmetric_relevance_gain(
            judged.subject.scorer, loader, lambda x, _: made[x.data_ptr()], patch=size, steps=judged.steps
        )
        measured |= {f"{unit}, {replacement}": values.tolist() for replacement, values in gain.of.items()}
    return measured


def pointing(judged: Judged, method: Method) -> list[float]:
    """Grid pointing game, 2 x 2, of the images that the network is surest of."""
    batches = list(judged.batches())
    x, probability = (torch.cat(some) for some in zip(*((x, y.softmax(1)) for x, y in batches), strict=True))
    sure = probability.amax(1).topk(judged.sure).indices
    found = grid_pointing_game(x[sure], probability[sure].argmax(1), method, seed=judged.seed)
    return found.share.tolist()


def sensitivity(judged: Judged, method: Method) -> dict[str, list[float]]:
    """Correlation of the map of the most likely class with those of the second and of the least likely one."""
    made: dict[tuple[int, int], Tensor] = {}

    def once(x: Tensor, target: Tensor) -> Tensor:
        key = (x.data_ptr(), target.data_ptr())
        if key not in made:
            made[key] = method(x, target)
        return made[key]

    found = {}
    classes = [(x, *y.topk(2).indices.T, y.argmin(1)) for x, y in judged.batches(judged.compared)]
    for other, loader in (
        ("second class", [(x, one, second) for x, one, second, _ in classes]),
        ("last class", [(x, one, last) for x, one, _, last in classes]),
    ):
        found[other] = class_sensitivity(loader, once, patch=judged.patch).tolist()
    return found


def randomisation(judged: Judged, name: str) -> list[float]:
    """Correlation of the map with that of the network whose layers are randomised, from the last to the first."""
    x, logits = next(judged.batches())
    x, target = x[: judged.randomised], logits[: judged.randomised].argmax(1)
    model = judged.subject.model
    made: dict[nn.Module, Method] = {}

    def of(changed: nn.Module) -> Method:
        """Made once for the network and once for its copy, whose weights change."""
        if changed not in made:
            made[changed] = judged.method(name, changed)
        return made[changed]

    found = parameter_randomisation(model, x, target, of, patch=judged.patch, seed=judged.seed)
    return found.correlation.tolist()


def flips(judged: Judged, name: str, pairs: Any, images: int) -> list[float]:
    """Digit flip, change of the log-odds, of up to ``images`` images of each pair of classes."""
    subject = judged.subject
    x, labels = subject.first(len(subject))
    method = make_methods(subject, [name], subject.black, judged.seed, judged.explain)[name]
    changes = []
    for source, target in pairs:
        some = x[labels == source][:images]
        both = [method(some, torch.full((len(some),), c)) for c in (source, target)]
        flip = digit_flip(subject.model, some, source, target, both[0], both[1], reference=subject.black.item())
        changes += flip.change.double().tolist()
    return changes
