"""The main line: `explain` and `Explainer`, what they return, and Captum's face of it.

Uses everything below: `biasprop.graph`, `biasprop.operations`, `biasprop.propagation`, `biasprop.results`,
`biasprop.report`.
"""

from .captum import BiasBackprop, CaptumMethod, from_captum, visible_to_noise_tunnel
from .explanation import Explanation, load
from .inputs import as_tuple, check_input
from .main_line import MEMORY_BUDGET, Explainer, captured
from .one_call import explain, explainer
from .quantus import quantus_explain

__all__ = [
    "MEMORY_BUDGET",
    "BiasBackprop",
    "CaptumMethod",
    "Explainer",
    "Explanation",
    "as_tuple",
    "captured",
    "check_input",
    "explain",
    "explainer",
    "from_captum",
    "load",
    "quantus_explain",
    "visible_to_noise_tunnel",
]
