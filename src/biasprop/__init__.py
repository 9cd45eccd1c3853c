"""biasprop: explain a network's prediction completely, ``f(x) = w.x + b``, with b attributed to the inputs.

import biasprop

explanation = biasprop.explain(model, x)
print(explanation)
"""

from . import metrics, operations, rules
from .archive import load
from .audit import Audit, audit
from .bias_free import (
    HomogeneousLift,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
    remove_bias,
)
from .captum import BiasBackprop
from .errors import (
    BiaspropError,
    CaptureError,
    CompletenessError,
    FileError,
    InputError,
    MissingExtra,
    NotHomogeneous,
    RuleError,
    SourceError,
    TargetError,
    UnsupportedOperation,
)
from .explainer import Explainer, explain, explainer
from .explanation import Explanation
from .homogeneity import Homogeneity, homogeneity
from .metrics import gini, sparsity_loss
from .regions import Regions
from .version import __version__
from .xgradient import XGradient

__all__ = [
    "Audit",
    "BiasBackprop",
    "BiaspropError",
    "CaptureError",
    "CompletenessError",
    "Explainer",
    "Explanation",
    "FileError",
    "Homogeneity",
    "HomogeneousLift",
    "InputError",
    "MissingExtra",
    "NotHomogeneous",
    "Regions",
    "RuleError",
    "SourceError",
    "TargetError",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
    "UnsupportedOperation",
    "XGradient",
    "__version__",
    "audit",
    "explain",
    "explainer",
    "gini",
    "homogeneity",
    "load",
    "metrics",
    "operations",
    "remove_bias",
    "rules",
    "sparsity_loss",
]
