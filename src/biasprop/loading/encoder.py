"""Texts as a model of language takes them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["Encoder"]


class Encoder:
    """Texts as a model takes them: token ids, with the mask that tells them from padding."""

    def __init__(self, tokenizer: Any, model: nn.Module | None = None) -> None:
        """``tokenizer`` and ``model`` of transformers: either may say how many tokens are taken, or both."""
        self.tokenizer = tokenizer
        taken = (_positions(model), getattr(tokenizer, "model_max_length", None))
        self.longest = min((n for n in taken if isinstance(n, int) and n > 0), default=None)

    def ids(self, text: str, where: str) -> Tensor:
        """The ids of one text, ``(L,)``.

        Raises:
            InputError: the text is empty, or longer than the model takes.
        """
        if not text.strip():
            raise InputError(f"{where} is an empty text: there is nothing to explain.")
        ids = torch.tensor(self.tokenizer(text, verbose=False)["input_ids"], dtype=torch.long)
        if self.longest is not None and len(ids) > self.longest:
            raise InputError(
                f"{where} has {len(ids)} tokens, and the model takes {self.longest} at most. Shorten it, or explain "
                "it in pieces: nothing is cut off silently."
            )
        if not len(ids):
            raise InputError(f"{where} has no token in the tokenizer's vocabulary.")
        return ids

    @property
    def pads(self) -> bool:
        """Whether several texts can be taken at once."""
        return self.tokenizer.pad_token_id is not None

    def batch(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """All that the model is called with, by name; shorter texts are padded on the right, and masked there."""
        return dict(self.tokenizer(list(texts), padding=self.pads, padding_side="right", return_tensors="pt"))


def _positions(model: nn.Module | None) -> int | None:
    """How many positions a model has, without those in front that RoBERTa's kind keeps for padding."""
    config = getattr(model, "config", None)
    config = getattr(config, "get_text_config", lambda: config)()
    count = getattr(config, "max_position_embeddings", None)
    if model is None or not isinstance(count, int):
        return None
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    kept = [t.padding_idx for t in tables if isinstance(t, nn.Embedding) and t.padding_idx is not None]
    return count - (max(kept) + 1 if kept else 0)
