"""What the features of a row, the patches of an image, the tokens of a text have received, the largest first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..results import Decomposition, Part, Tokenizer, in_patches, map_of, token_texts, tokens_of
from .naming import feature_name
from .style import CELLS

__all__ = ["Received", "largest_received"]


class Received(NamedTuple):
    """What one feature, patch or token has received.

    Attributes:
        name: of a feature its own, or the tensor's with an index; of a patch its rows and columns; of a token its text.
        attribution: ``w * x + beta``.
        weight_attribution: ``w * x``.
        bias_attribution: ``beta``.
    """

    name: str
    attribution: float
    weight_attribution: float
    bias_attribution: float


Amounts = tuple[Callable[[int], str], Tensor, Tensor]
"""What a number is called; ``w * x`` and ``beta``, ``(N, numbers)``."""


def largest_received(
    explanation: Decomposition[Any],
    example: int,
    count: int,
    tokenizer: Tokenizer | None = None,
    texts: bool = True,
) -> list[Received]:
    """The largest by the magnitude of their attribution; see `biasprop.Explanation.top`.

    ``texts``: whether tokens are listed, too, or only what is no embedding of tokens.
    """
    found_texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    embedded = {i for text in found_texts for i in text.parts}
    n = len(explanation)
    listed: list[Amounts] = []
    for i, part in enumerate(explanation.parts):
        if i not in embedded:
            listed.append(_patches(part, n) if _is_image(part) else _features(part, n, explanation.features))
    for text in found_texts if texts else ():
        written = token_texts(text.ids[example].flatten().tolist(), tokenizer)
        kinds = (text.weight_attribution, text.bias_attribution)
        w, beta = (kind.flatten(1) for kind in kinds)
        listed.append((written.__getitem__, w, beta))
    found: list[Received] = []
    for name, w, beta in listed:
        w, beta = w[example], beta[example]
        total = w + beta
        top = total.abs().topk(min(count, w.numel())).indices.tolist()
        found += [Received(name(k), total[k].item(), w[k].item(), beta[k].item()) for k in top]
    return sorted(found, key=lambda one: -abs(one.attribution))[:count]


def _features(part: Part, examples: int, names: Sequence[str]) -> Amounts:
    w, beta = (part.by_example(values, examples)[0] for values in (part.product, part.beta))
    return lambda k: feature_name(part, k, names), w, beta


def _patches(part: Part, examples: int) -> Amounts:
    """As large as those of the picture."""
    height, width = part.shape[1:]
    size = max(1, round(max(height, width) / CELLS))
    columns = -(-width // size)
    kinds = (map_of(part, examples, kind) for kind in (part.product, part.beta))
    w, beta = (in_patches(kind, size)[0].flatten(1) for kind in kinds)

    def label(k: int) -> str:
        row, column = size * (k // columns), size * (k % columns)
        rows, across = (f"{a}-{min(a + size, end) - 1}" for a, end in ((row, height), (column, width)))
        return f"row {row}, column {column}" if size == 1 else f"rows {rows}, columns {across}"

    return label, w, beta


def _is_image(part: Part) -> bool:
    return len(part.shape) == 3 and min(part.shape[1:]) > 1
