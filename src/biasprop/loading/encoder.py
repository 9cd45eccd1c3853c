"""Texts as a model of language takes them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["Encoder"]


class Encoder:
    """Texts as a model takes them: token ids, with the mask that tells them from padding."""

    def __init__(self, tokenizer: Any, config: Any = None) -> None:
        """``tokenizer`` of transformers; the ``config`` of the model may say how many tokens it takes."""
        self.tokenizer = tokenizer
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        taken = (getattr(config, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None))
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
