"""Compiled by Numba for the CPU, float32 and float64 from one source.

- `messages`: what the units of a stencil send to their windows, by options 1 and 2;
- `components`: sums and products of a few tensors;
- `vectors`: the numbers that both compute with; `parallel`: how their loops are compiled.
"""

from .components import POSITIVE, SOFTMAX, components
from .messages import LANES, messages, scatter

__all__ = ["LANES", "POSITIVE", "SOFTMAX", "components", "messages", "scatter"]
