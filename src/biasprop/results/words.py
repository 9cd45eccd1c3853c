"""Words of a text: tokens put together again, as the tokenizer has taken them apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import InputError

__all__ = ["Tokenizer", "Words", "spans", "token_texts", "word_texts"]

GOES_ON = "##"  # WordPiece marks what continues a word
BEGINS = ("Ġ", "▁")  # byte-level BPE and SentencePiece mark what begins one


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    @property
    def pad_token_id(self) -> int | None:
        """Of what fills up shorter texts, if there is one."""

    @property
    def all_special_ids(self) -> list[int]:
        """Of the tokens that stand for no piece of the text."""

    def get_vocab(self) -> dict[str, int]:
        """The ids by their tokens."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """The tokens as the vocabulary spells them."""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens as the text spells them."""


@dataclass(frozen=True, eq=False)
class Words:
    """The words of one example, with the sums of what their tokens have received.

    Attributes:
        texts: the words, as the text spells them.
        positions: of the tokens of each.
        weight_attribution: sums of ``w * x``, ``(W,)``; with J targets ``(J, W)``.
        bias_attribution: sums of ``beta``.
    """

    texts: list[str]
    positions: list[list[int]]
    weight_attribution: Tensor
    bias_attribution: Tensor

    @property
    def attribution(self) -> Tensor:
        """Sums of ``w * x + beta``."""
        return self.weight_attribution + self.bias_attribution

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Words({len(self)}: {' '.join(self.texts[:8])}{' ...' * (len(self) > 8)})"


def spans(ids: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """The positions of the tokens of each word, in order.

    Raises:
        InputError: it is no tokenizer.
    """
    tokens = _tokens(ids, tokenizer)
    marker = _marker(tokenizer)
    special = set(tokenizer.all_special_ids)
    words: list[list[int]] = []
    may_go_on = False
    for position, (number, token) in enumerate(zip(ids, tokens, strict=True)):
        alone = number in special or _is_space(token, marker, tokenizer)
        if may_go_on and not alone and _goes_on(token, marker):
            words[-1].append(position)
        else:
            words.append([position])
        may_go_on = not alone
    return words


def word_texts(ids: Sequence[int], words: Sequence[Sequence[int]], tokenizer: Tokenizer) -> list[str]:
    """What each of the words, given by positions, says."""
    tokens = _tokens(ids, tokenizer)
    return [_spelled([tokens[k] for k in word], tokenizer) for word in words]


def token_texts(ids: Sequence[int], tokenizer: Tokenizer | None) -> list[str]:
    """What each token says; without a tokenizer, its id."""
    if tokenizer is None:
        return [str(one) for one in ids]
    return word_texts(ids, [[k] for k in range(len(ids))], tokenizer)


def _tokens(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    if not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise InputError(
            f"The tokenizer must be one of transformers, such as AutoTokenizer gives, not a {type(tokenizer).__name__}."
        )
    found = tokenizer.convert_ids_to_tokens(list(ids))
    return [token or str(number) for token, number in zip(found, ids, strict=True)]  # a model may have more ids


def _spelled(tokens: list[str], tokenizer: Tokenizer) -> str:
    """As in the text; as in the vocabulary where that is not to be seen: white space, parts of a letter."""
    text = tokenizer.convert_tokens_to_string(tokens).strip()
    return "".join(tokens) if not text or "\ufffd" in text else text


def _marker(tokenizer: Tokenizer) -> str:
    """How the tokenizer marks words: what most tokens of its vocabulary begin with, of the known markers."""
    vocabulary = tokenizer.get_vocab()
    counts = Counter({m: sum(t.startswith(m) for t in vocabulary) for m in (GOES_ON, *BEGINS)})
    marker, count = counts.most_common(1)[0]
    return marker if count else ""


def _goes_on(token: str, marker: str) -> bool:
    return bool(marker) and token.startswith(marker) == (marker == GOES_ON)


def _is_space(token: str, marker: str, tokenizer: Tokenizer) -> bool:
    """The end of a line and the like, which is no part of a word; a marker alone begins the word that follows."""
    return bool(token.strip(marker or None)) and tokenizer.convert_tokens_to_string([token]).isspace()
