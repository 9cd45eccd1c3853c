"""Compiled by Numba for the CPU, float32 and float64 from one source.

- `stencils`: what the units of a stencil send to their windows, by options 1 and 2;
- `products`: the messages from shares and masses;
- `rows`: windows and units as rows, and messages back to the operand;
- `sums`: sums and products of a few tensors;
- `powers`: ``2 ** x``; `vectors`: registers full of numbers, and what else is computed with them;
- `parallel`: how loops are compiled; `keeping`: how long that is kept; `subnormals`: which numbers count as zero.
"""

from .keeping import kept_in
from .rows import scatter
from .stencils import WIDE, messages
from .sums import POSITIVE, SOFTMAX, TOGETHER, components
from .vectors import LANES

__all__ = [
    "KERNELS",
    "LANES",
    "POSITIVE",
    "SOFTMAX",
    "TOGETHER",
    "WIDE",
    "components",
    "kept_in",
    "messages",
    "scatter",
]

KERNELS = (messages, scatter, components)
"""All of them, each to be called with a dtype first."""
