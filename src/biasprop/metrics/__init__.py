"""How good is an attribution? The metrics that the papers of both systems publish, for any attribution method.

Keep and remove curves (KPM, KNM, KAM, RAM; Hesse, Schaub-Meyer & Roth, NeurIPS 2021, after Lundberg et al. 2020), the
relative difference of two attributions, the overlap of their most important features, insertion and deletion (Petsiuk
et al. 2018), DeepLIFT's digit flip (Shrikumar et al. 2017), and how sparse an attribution is. Nothing depends on the
size of the batches.
"""

from .agreement import Overlap, relative_difference, top_overlap
from .curves import FRACTIONS, Curves, keep_and_remove
from .flip import Flip, digit_flip
from .insertion import Insertion, insertion_and_deletion
from .replacement import blurred
from .sparsity import gini, sparsity_loss

__all__ = [
    "FRACTIONS",
    "Curves",
    "Flip",
    "Insertion",
    "Overlap",
    "blurred",
    "digit_flip",
    "gini",
    "insertion_and_deletion",
    "keep_and_remove",
    "relative_difference",
    "sparsity_loss",
    "top_overlap",
]
