"""Local linear models: what one operation is at the current input, ``y = sum_i J_i u_i + a`` (mathematics, section 4).

One class for each kind; an operation family says which kind an operation is, a kernel does the expensive step.
Uses `biasprop.kernels`, and knows nothing of operations or networks.

- `Diagonal`: elementwise, one operand per unit, alpha = 1; `Chord`: of a smooth gate held; `Identity`: a copy;
- `Routing`: selection and rearrangement, alpha is the Jacobian itself;
- `Components`: a few operands per unit, elementwise, shared by the rule;
- `Stencil`: weighted sums over windows, shared by the rule;
- `Contraction`: batched matrix products of which both factors may be operands, shared by the rule.

`Remade` is an operand that a model does not keep, since it can be made again of what others keep.
"""

from .components import Components
from .contraction import Contraction
from .diagonal import Chord, Diagonal, Identity
from .model import Kept, Linked, LocalModel
from .remade import Remade
from .routing import Routing
from .stencil import Stencil

__all__ = [
    "Chord",
    "Components",
    "Contraction",
    "Diagonal",
    "Identity",
    "Kept",
    "Linked",
    "LocalModel",
    "Remade",
    "Routing",
    "Stencil",
]
