"""Sums without rounding, so that parts of a data set add up to the same in any order and any split.

A sum of float64 is a whole number of 2^-1074, the smallest of them; Python's integers hold it exactly.
"""

import math
import re

import torch
from torch import Tensor

__all__ = ["exact", "read_exact", "rounded", "written"]

UNIT = 1074
FORM = re.compile(r"(-?[0-9a-f]{1,600})p([0-9]{1,4})")


def exact(values: Tensor) -> int:
    """The sum of finite values, in units of 2^-1074."""
    total = 0
    for value in values.double().flatten().tolist():
        mantissa, exponent = math.frexp(value)
        shift = exponent - 53 + UNIT
        whole = int(math.ldexp(mantissa, 53))
        total += whole << shift if shift >= 0 else whole >> -shift  # of a subnormal number these bits are 0
    return total


def rounded(totals: list[int]) -> Tensor:
    """The nearest float64 of each sum."""
    return torch.tensor([total / (1 << UNIT) for total in totals], dtype=torch.float64)


def written(total: int) -> str:
    """As text, ``mantissa p exponent`` in hexadecimal and decimal digits."""
    shift = (total & -total).bit_length() - 1 if total else 0
    return f"{total >> shift:x}p{shift}"


def read_exact(text: object) -> int:
    """What `written` wrote.

    Raises:
        ValueError: it is something else.
    """
    found = FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[2]) > 4096:
        raise ValueError(f"{str(text)[:40]!r} is no exact sum")
    return int(found[1], 16) << int(found[2])
