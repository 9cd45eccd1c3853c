"""Compiled by Numba for the CPU, float32 and float64 from one source.

- `stencils`: what the units of a stencil send to their windows, by options 1 and 2;
- `sums`: sums and products of a few tensors;
- `vectors`: the numbers that both compute with; `parallel`: how their loops are compiled.
"""

from .stencils import LANES, messages, scatter
from .sums import POSITIVE, SOFTMAX, TOGETHER, components

__all__ = ["LANES", "POSITIVE", "SOFTMAX", "TOGETHER", "components", "messages", "scatter"]
