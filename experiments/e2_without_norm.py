"""E2 again, on VGG-11 without batch norm."""

from dataclasses import replace

from . import e2_maps
from .subjects import PLAIN_CIFAR, PLAIN_FASHION

__all__ = ["EXPERIMENT"]

EXPERIMENT = replace(
    e2_maps.EXPERIMENT,
    title="The same without batch norm (BBp paper, section 4.1)",
    config=replace(e2_maps.Config(), networks=(PLAIN_FASHION, PLAIN_CIFAR)),
    smoke=replace(e2_maps.EXPERIMENT.smoke, networks=(PLAIN_FASHION,)),
)
