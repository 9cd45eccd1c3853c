"""How good is an attribution? The metrics that the papers of both systems publish, for any attribution method.

Keep and remove curves (KPM, KNM, KAM, RAM; Hesse, Schaub-Meyer & Roth, NeurIPS 2021, after Lundberg et al. 2020), the
relative difference of two attributions, the overlap of their most important features, insertion and deletion (Petsiuk
et al. 2018) and their difference (symmetric relevance gain), the grid pointing game, comprehensiveness and sufficiency
of tokens, randomisation of the network, sensitivity to the class, DeepLIFT's digit flip (Shrikumar et al. 2017), and
how sparse an attribution is. Nothing depends on the size of the batches.
"""

from .agreement import Overlap, relative_difference, top_overlap
from .curves import FRACTIONS, Curves, keep_and_remove
from .eraser import Erasure, erasure
from .flip import Flip, digit_flip
from .gain import Gain, symmetric_relevance_gain
from .insertion import Insertion, insertion_and_deletion
from .pointing import Pointing, grid_pointing_game
from .randomisation import Randomisation, class_sensitivity, parameter_randomisation
from .replacement import blurred, mean_colour
from .sparsity import gini, sparsity_loss

__all__ = [
    "FRACTIONS",
    "Curves",
    "Erasure",
    "Flip",
    "Gain",
    "Insertion",
    "Overlap",
    "Pointing",
    "Randomisation",
    "blurred",
    "class_sensitivity",
    "digit_flip",
    "erasure",
    "gini",
    "grid_pointing_game",
    "insertion_and_deletion",
    "keep_and_remove",
    "mean_colour",
    "parameter_randomisation",
    "relative_difference",
    "sparsity_loss",
    "symmetric_relevance_gain",
    "top_overlap",
]
