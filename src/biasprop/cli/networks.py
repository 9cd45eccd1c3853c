"""The network of a command line, made in whatever process does the work."""

import os
import sys
from dataclasses import dataclass

from torch import nn

from ..attribution import Explainer
from ..loading import Encoder
from ..modes import DEFAULT, Linearization
from .options import ModelOptions

__all__ = ["Made"]


@dataclass(frozen=True)
class Made:
    """What is needed to make it there.

    Attributes:
        network: the options, with absolute paths.
        folder: where the command was given; modules are looked for there, too.
        device: where the explainer's model runs.
        linearization: of the explainer.
    """

    network: ModelOptions
    folder: str
    device: str = "cpu"
    linearization: Linearization = DEFAULT

    def __call__(self) -> Explainer:
        """An explainer."""
        self._look_here()
        return Explainer(self.network.load(self.device), linearization=self.linearization)

    def with_encoder(self) -> tuple[nn.Module, Encoder | None]:
        """The model on the CPU, and what makes token ids of texts."""
        self._look_here()
        model = self.network.load()
        return model, self.network.encoder(model) if self.network.is_hf and self.network.has_tokenizer else None

    def _look_here(self) -> None:
        if self.folder not in sys.path and os.path.isdir(self.folder):
            sys.path.insert(0, self.folder)
