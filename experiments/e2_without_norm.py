"""E2 again, on VGG-11 without batch norm."""

from dataclasses import replace
from typing import Any

from . import e2_maps
from .study import Experiment
from .subjects import PLAIN_CIFAR, PLAIN_FASHION

__all__ = ["EXPERIMENT"]


def report(figures: dict[str, Any]) -> str:
    """The table of E2, and how far the shares are from the paper's on images of about this size."""
    lines = ["Above the published shares on STL-10:", ""]
    for title, row in figures["networks"].items():
        summed = e2_maps.distances(row, "STL-10", "w*x/pixels, channels summed")
        largest = e2_maps.distances(row, "STL-10", "gradient/pixels, largest channel")
        lines.append(
            f"- {title}: {summed} with gradient * input and the sum over channels, {largest} with the gradient and the "
            "largest channel."
        )
    return "\n".join([e2_maps.table(figures), "", *lines])


EXPERIMENT: Experiment[e2_maps.Config] = replace(
    e2_maps.EXPERIMENT,
    title="The same without batch norm (BBp paper, section 4.1)",
    config=replace(e2_maps.Config(), networks=(PLAIN_FASHION, PLAIN_CIFAR)),
    smoke=replace(e2_maps.EXPERIMENT.smoke, networks=(PLAIN_FASHION,)),
    report=report,
)
