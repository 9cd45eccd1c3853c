"""Files that are never half-written and never silently wrong: atomic writing, locks, tensors with a checksum.

Uses `biasprop.errors` alone. What is in a file, its reader knows: `biasprop.results.archive` and
`biasprop.auditing.state`.
"""

from .atomic import make_folder, remove_leftovers, write_atomically
from .checksum import add_tensor
from .locks import locked
from .tensors import read_tensors, write_tensors

__all__ = [
    "add_tensor",
    "locked",
    "make_folder",
    "read_tensors",
    "remove_leftovers",
    "write_atomically",
    "write_tensors",
]
