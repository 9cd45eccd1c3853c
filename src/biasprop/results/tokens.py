"""Attributions of a text: those of the embeddings, summed to one number for each token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .part import Part
from .targets import TargetAxis
from .words import Tokenizer, Words, spans, word_texts

__all__ = ["Tokens", "cut_ids", "distinct", "tokens_of"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The attributions of one text input; they add up to what its embeddings have received.

    Attributes:
        ids: of the tokens, ``(N, L)``.
        weight_attribution: ``w * x`` summed over the embedding, ``(N, L)``; with J targets ``(N, J, L)``.
        bias_attribution: ``beta`` summed likewise.
        parts: which of the explanation's tensors are embeddings of these ids: several where they are looked up in
            several tables, whose attributions are then added.
    """

    ids: Tensor
    weight_attribution: Tensor
    bias_attribution: Tensor
    parts: tuple[int, ...] = (0,)

    @property
    def attribution(self) -> Tensor:
        """``w * x + beta``, the complete attribution of each token."""
        return self.weight_attribution + self.bias_attribution

    def words(self, tokenizer: Tokenizer) -> list[Words]:
        """The tokens of each example merged to words, with the sums of their attributions.

        A word goes on where the tokenizer says so (``##`` of WordPiece; no ``Ġ`` or ``▁`` in front, of the others);
        special tokens are words of their own, and where a tokenizer marks nothing every token is. Padding is left out
        where it has received nothing, so that the words add up to what the tokens do.

        Args:
            tokenizer: the one that has made the ids, of transformers.

        Raises:
            InputError: it is no tokenizer.
        """
        return [self.words_of(i, tokenizer) for i in range(len(self.ids))]

    def words_of(self, example: int, tokenizer: Tokenizer) -> Words:
        """The same of one example."""
        ids = self.ids[example].flatten().tolist()
        kinds = (self.weight_attribution[example], self.bias_attribution[example])
        w, beta = (values.flatten(-self.ids[example].dim()) for values in kinds)
        empty = ((w == 0) & (beta == 0)).reshape(-1, len(ids)).all(0).tolist()
        found = spans(ids, tokenizer)
        kept = [span for span in found if not all(ids[k] == tokenizer.pad_token_id and empty[k] for k in span)] or found
        sums = (torch.stack([values[..., span].sum(-1) for span in kept], -1) for values in (w, beta))
        return Words(word_texts(ids, kept, tokenizer), kept, *sums)

    def __repr__(self) -> str:
        n, *rest = self.ids.shape
        return f"Tokens({' x '.join(map(str, rest))} tokens, {n} example{'s' * (n != 1)})"


def tokens_of(parts: Sequence[Part], ids: Sequence[Tensor | None], axis: TargetAxis) -> tuple[Tokens, ...]:
    """The texts among the attributed tensors, in their order; those that share their ids are one.

    Without those of which a tensor does not hold one embedding for each id: the model adds or leaves out tokens.
    """
    found = []
    for text in distinct(ids):
        chosen = tuple(i for i, one in enumerate(ids) if one is text)
        if all(parts[i].value.numel() == text.numel() * parts[i].value.shape[-1] for i in chosen):
            found.append(_summed(parts, chosen, text, axis))
    return tuple(found)


def _summed(parts: Sequence[Part], chosen: tuple[int, ...], ids: Tensor, axis: TargetAxis) -> Tokens:
    def add(of: Callable[[Part], Tensor]) -> Tensor:
        """Over the embedding of each token, from ``(J, N, L * D)``."""
        rows = [parts[i].by_example(of(parts[i]), len(ids)) for i in chosen]
        return axis.outward(torch.stack([one.reshape(len(one), *ids.shape, -1).sum(-1) for one in rows]).sum(0))

    return Tokens(ids, add(lambda part: part.product), add(lambda part: part.beta), chosen)


def distinct(ids: Sequence[Tensor | None]) -> list[Tensor]:
    """The texts, by what they are and not by what they say: of two that say the same, each has its attributions."""
    return list({id(one): one for one in ids if one is not None}.values())


def cut_ids(ids: Sequence[Tensor | None], i: int) -> tuple[Tensor | None, ...]:
    """The ids of one example; those that were the same stay the same."""
    cut = {id(one): one[i : i + 1] for one in distinct(ids)}
    return tuple(None if one is None else cut[id(one)] for one in ids)
