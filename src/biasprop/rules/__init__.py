"""The rules for alpha: which share of a unit's bias goes to each of its operands (mathematics, section 3).

Everything that is known of a rule is here: its formula, its name, its temperature, and the *form* that the compiled
kernels match on. Uses `biasprop.errors` alone. A rule of one's own is an object with a method ``alpha(m, h)``, or a
subclass of `ByForm`, which the compiled kernels then know too.
"""

from .built_in import NAMES, Compensation, EqualShare, PositiveShare, make_rule
from .fallbacks import shares
from .forms import Form, Proportional, Softmax
from .rule import ByForm, Rule, form_of, name_of, temperature_of

__all__ = [
    "NAMES",
    "ByForm",
    "Compensation",
    "EqualShare",
    "Form",
    "PositiveShare",
    "Proportional",
    "Rule",
    "Softmax",
    "form_of",
    "make_rule",
    "name_of",
    "shares",
    "temperature_of",
]
