"""How good a method is on a network: keep and remove curves, insertion and deletion; measured once for all."""

from typing import Any

from torch import Tensor

from biasprop.metrics import insertion_and_deletion, keep_and_remove

from .methods import make_methods
from .study import Study
from .subjects import Subject

__all__ = ["METRICS", "quality"]

METRICS = {"KPM": True, "KNM": False, "KAM": True, "RAM": False, "insertion": True, "deletion": False}
"""And whether higher is better."""


def quality(study: Study[Any], subject: Subject, name: str, images: int, batch: int) -> dict[str, float]:
    """The areas of a method, of the true class of so many test images from everywhere in the test set."""
    key = f"{subject.key}, {images} images, {name}"
    found: dict[str, float] = study.shared("quality", key, _quality, subject, name, images, batch, study.seed)
    return found


def _quality(subject: Subject, name: str, images: int, batch: int, seed: int) -> dict[str, float]:
    method = make_methods(subject, [name], seed=seed)[name]
    pairs = [(x, y, method(x, y)) for x, y in subject.loader(batch, images, spread=True)]
    loader = [(x, y) for x, y, _ in pairs]
    made = {x.data_ptr(): attribution for x, _, attribution in pairs}

    def again(x: Tensor, _: Tensor) -> Tensor:
        """Both metrics ask for the same attributions."""
        return made[x.data_ptr()]

    curves = keep_and_remove(subject.scorer, loader, again)
    shown = insertion_and_deletion(subject.scorer, loader, again)
    areas = (curves.kpm, curves.knm, curves.kam, curves.ram, shown.insertion_area, shown.deletion_area)
    return dict(zip(METRICS, areas, strict=True))
