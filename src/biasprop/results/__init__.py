"""What an explanation is: attributed tensors, bias sources, sums over regions, and the file that keeps them.

Uses `biasprop.errors` and `biasprop.files` alone: a result is made of tensors, and knows nothing of networks. How it is
shown to a person is in `biasprop.report`, on top of it.
"""

from .archive import read_decomposition, write_decomposition
from .completeness import require_complete
from .decomposition import Decomposition
from .maps import enlarged, in_patches, map_of
from .part import Part
from .regions import Regions, patches, sum_regions
from .sources import BiasSource, Sources, table_of
from .targets import TargetAxis
from .tokens import Tokens, tokens_of
from .words import Tokenizer, Words, token_texts

__all__ = [
    "BiasSource",
    "Decomposition",
    "Part",
    "Regions",
    "Sources",
    "TargetAxis",
    "Tokenizer",
    "Tokens",
    "Words",
    "enlarged",
    "in_patches",
    "map_of",
    "patches",
    "read_decomposition",
    "require_complete",
    "sum_regions",
    "table_of",
    "token_texts",
    "tokens_of",
    "write_decomposition",
]
