"""Networks without a bias: is it really gone, a copy without it, and what such networks allow (mathematics, section 8).

Uses `biasprop.operations`, where each operation says how it scales, and `biasprop.attribution`, which captures models.
"""

from .bias_free import remove_bias
from .degrees import Breaker
from .judgement import Homogeneity, homogeneity
from .modules import HomogeneousLift, UncenteredBatchNorm1d, UncenteredBatchNorm2d, UncenteredBatchNorm3d
from .x_gradient import XGradient

__all__ = [
    "Breaker",
    "Homogeneity",
    "HomogeneousLift",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
    "XGradient",
    "homogeneity",
    "remove_bias",
]
