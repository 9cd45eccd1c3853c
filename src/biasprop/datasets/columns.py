"""What is kept of each example: numbers, the two parts of its attribution, and where its bias comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..attribution import Explanation
from ..auditing import predicted_classes
from ..errors import InputError
from ..loading import Encoder, Item
from ..results import in_patches, map_of, token_texts, tokens_of

__all__ = ["NUMBERS", "Keeping", "columns_of"]

NUMBERS = ("output", "bias", "unattributed", "completeness_error", "probability")
"""Columns of one float64 for each example."""


@dataclass(frozen=True)
class Keeping:
    """What is kept beside the numbers.

    Attributes:
        map_size: of images: the longest side of a map at most; attributions are summed over patches, which keeps their
            sum. 0 keeps no attribution of images.
        half: attributions in float16 instead of float32.
        sources: the amount of each bias source.
    """

    map_size: int = 56
    half: bool = False
    sources: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.map_size, int) or isinstance(self.map_size, bool) or self.map_size < 0:
            raise InputError(f"map_size must be a whole number of pixels, 0 for none, and is {self.map_size!r}.")

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """Of the attributions."""
        return np.float16 if self.half else np.float32


def columns_of(
    explanation: Explanation[Any], items: Sequence[Item], keeping: Keeping, encoder: Encoder | None = None
) -> dict[str, Any]:
    """A batch of examples, column by column; each column is as long as the batch.

    Attributions are lists of arrays: ``attribution`` (``w * x + beta``) and ``bias_attribution`` (``beta``), of the
    same shape: the patches of an image, the features of a row, the tokens of a text.
    """
    numbers = {name: getattr(explanation, name) for name in NUMBERS}
    return {
        **_targets(explanation.target, len(explanation)),
        **{name: None if value is None else value.double().cpu().numpy() for name, value in numbers.items()},
        **_attributions(explanation, items, keeping, encoder),
        **(_sources(explanation) if keeping.sources else {}),
    }


def terms_of(linear: Tensor, bias: Tensor) -> dict[str, NDArray[np.int64]]:
    """The classes that ``w.x`` alone and ``b`` alone predict, of all logits ``(N, C)``."""
    classes = predicted_classes(linear, bias).cpu().numpy()
    return {"class_of_weights": classes[:, 1], "class_of_bias": classes[:, 2]}


def _targets(target: Any, count: int) -> dict[str, Any]:
    """Of an index ``(position, class)`` the last is the class; what is in front, the position."""
    chosen = target if isinstance(target, list) else [()] * count
    indices = [one if isinstance(one, tuple) else (one,) for one in chosen] or [()] * count
    return {
        "target": [index[-1] if index else None for index in indices],
        "position": [list(index[:-1]) or None for index in indices],
    }


def _attributions(
    explanation: Explanation[Any], items: Sequence[Item], keeping: Keeping, encoder: Encoder | None
) -> dict[str, Any]:
    if len(explanation.parts) != 1:
        raise InputError(f"A data set's examples must be one tensor each, and these are {len(explanation.parts)}.")
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    if texts:
        return _of_tokens(texts[0].attribution, texts[0].bias_attribution, texts[0].ids, items, keeping, encoder)
    part = explanation.parts[0]
    kinds = (part.product + part.beta, part.beta)
    if len(part.shape) < 2:
        whole, bias = (part.by_example(kind, len(explanation))[0] for kind in kinds)
    elif keeping.map_size == 0:
        return {"attribution": None, "bias_attribution": None}
    else:
        patch = -(-max(part.shape[1:]) // keeping.map_size)
        whole, bias = (in_patches(map_of(part, len(explanation), kind), patch)[0] for kind in kinds)
    return {"attribution": _arrays(whole, keeping), "bias_attribution": _arrays(bias, keeping)}


def _of_tokens(
    whole: Tensor, bias: Tensor, ids: Tensor, items: Sequence[Item], keeping: Keeping, encoder: Encoder | None
) -> dict[str, Any]:
    """Without padding, which stands behind the tokens and has received nothing."""
    lengths = [len(item.x) for item in items]
    cut = {
        "attribution": [_array(row[:n], keeping) for row, n in zip(whole, lengths, strict=True)],
        "bias_attribution": [_array(row[:n], keeping) for row, n in zip(bias, lengths, strict=True)],
    }
    tokenizer = None if encoder is None else encoder.tokenizer
    rows = zip(ids.tolist(), lengths, strict=True)
    return {**cut, "tokens": [token_texts(row[:n], tokenizer) for row, n in rows]}


def _arrays(values: Tensor, keeping: Keeping) -> list[NDArray[Any]]:
    return list(_array(values, keeping))


def _array(values: Tensor, keeping: Keeping) -> NDArray[Any]:
    limit = float(np.finfo(keeping.dtype).max)
    array: NDArray[Any] = values.detach().double().clamp(-limit, limit).cpu().numpy().astype(keeping.dtype)
    return array


def _sources(explanation: Explanation[Any]) -> dict[str, Any]:
    """One table for the whole batch: ``source_amounts`` has a row for each example."""
    found = explanation.sources
    return {"source_names": found.names, "source_amounts": found.amounts.double().cpu().numpy()}
