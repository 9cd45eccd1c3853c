"""The tokens of a text as printed lines: ``w.x``, ``beta`` and their sum."""

from collections.abc import Sequence

from ..results import Tokenizer, Tokens, token_texts
from .printable import shown

__all__ = ["token_table"]

MOST = 20  # so many tokens are printed: all of a short text in order, of a long one the largest


def token_table(text: Tokens, example: int, tokenizer: Tokenizer | None = None, most: int = MOST) -> list[str]:
    """One example's tokens, in their order, or the ``most`` largest where there are more; the lines add up.

    Tokens that have received nothing, such as masked padding, are counted and not listed.

    Args:
        text: attributions of one target.
        example: which of the batch.
        tokenizer: says how the tokens are written; without it they are given by their ids.
        most: how many lines.
    """
    ids = text.ids[example].flatten().tolist()
    w, beta = (kind[example].flatten().tolist() for kind in (text.weight_attribution, text.bias_attribution))
    found = [k for k in range(len(ids)) if w[k] or beta[k]]
    largest = sorted(found, key=lambda k: -abs(w[k] + beta[k]))[:most]
    listed = largest if len(found) > most else found
    names = [shown(name) for name in token_texts([ids[k] for k in listed], tokenizer)]
    if len(found) > most:  # out of their order: with their places
        names = [f"{name} [{k}]" for name, k in zip(names, listed, strict=True)]
    rows = [(name, w[k], beta[k]) for name, k in zip(names, listed, strict=True)]
    rest = [k for k in found if k not in set(listed)]
    if rest:
        rows.append((f"... {len(rest)} more", sum(w[k] for k in rest), sum(beta[k] for k in rest)))
    nothing = len(ids) - len(found)
    return [*_aligned(rows), *([f"{nothing} token{'s' * (nothing != 1)} received nothing"] if nothing else [])]


def _aligned(rows: Sequence[tuple[str, float, float]]) -> list[str]:
    width = max([len(name) for name, _, _ in rows] + [len("token")])
    head = f"{'token':<{width}}{'w*x':>12}{'beta':>12}{'sum':>12}"
    return [head, *(f"{name:<{width}}{w:>+12.4g}{beta:>+12.4g}{w + beta:>+12.4g}" for name, w, beta in rows)]
