"""biasprop: explain a network's prediction completely, ``f(x) = w.x + b``, with b attributed to the inputs.

import biasprop

explanation = biasprop.explain(model, x)
print(explanation)
"""

from . import metrics, operations, rules
from .attribution import BiasBackprop, Explainer, Explanation, explain, explainer, load, quantus_explain
from .auditing import Audit, audit
from .datasets import Attributions, Summary, attribute, summarize
from .errors import (
    BiaspropError,
    CaptureError,
    CompletenessError,
    EngineError,
    FileError,
    ForkError,
    InputError,
    MissingExtra,
    NotHomogeneous,
    RuleError,
    SourceError,
    TargetError,
    UnsupportedOperation,
)
from .homogeneous import (
    Homogeneity,
    HomogeneousLift,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
    XGradient,
    homogeneity,
    remove_bias,
)
from .metrics import gini, sparsity_loss
from .results import Regions
from .version import __version__

__all__ = [
    "Attributions",
    "Audit",
    "BiasBackprop",
    "BiaspropError",
    "CaptureError",
    "CompletenessError",
    "EngineError",
    "Explainer",
    "Explanation",
    "FileError",
    "ForkError",
    "Homogeneity",
    "HomogeneousLift",
    "InputError",
    "MissingExtra",
    "NotHomogeneous",
    "Regions",
    "RuleError",
    "SourceError",
    "Summary",
    "TargetError",
    "UncenteredBatchNorm1d",
    "UncenteredBatchNorm2d",
    "UncenteredBatchNorm3d",
    "UnsupportedOperation",
    "XGradient",
    "__version__",
    "attribute",
    "audit",
    "explain",
    "explainer",
    "gini",
    "homogeneity",
    "load",
    "metrics",
    "operations",
    "quantus_explain",
    "remove_bias",
    "rules",
    "sparsity_loss",
    "summarize",
]
