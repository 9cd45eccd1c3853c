"""biasprop: explain a network's prediction completely, ``f(x) = w.x + b``, with b attributed to the inputs.

import biasprop

explanation = biasprop.explain(model, x)
print(explanation)
"""

from . import operations, rules
from .archive import load
from .captum import BiasBackprop
from .errors import (
    BiaspropError,
    CaptureError,
    CompletenessError,
    FileError,
    InputError,
    RuleError,
    SourceError,
    TargetError,
    UnsupportedOperation,
)
from .explainer import Explainer, explain, explainer
from .explanation import Explanation
from .regions import Regions

__all__ = [
    "BiasBackprop",
    "BiaspropError",
    "CaptureError",
    "CompletenessError",
    "Explainer",
    "Explanation",
    "FileError",
    "InputError",
    "Regions",
    "RuleError",
    "SourceError",
    "TargetError",
    "UnsupportedOperation",
    "explain",
    "explainer",
    "load",
    "operations",
    "rules",
]
