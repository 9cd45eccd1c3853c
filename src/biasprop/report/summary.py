"""The short text of an explanation: what a person can repeat to a colleague."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..results import Decomposition, Part, Tokenizer, in_patches, map_of, tokens_of
from .naming import equation, feature_name, method_of, named_target
from .style import CELLS
from .token_table import token_table

__all__ = ["summarize"]


def summarize(
    explanation: Decomposition[Any],
    feature_names: Sequence[str] | None = None,
    examples: int = 3,
    features: int = 5,
    tokenizer: Tokenizer | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """See `biasprop.Explanation.summary`."""
    if explanation.several:
        return _several(explanation, feature_names, examples, features, tokenizer, classes)
    n = len(explanation)
    lines = [f"Explanation of {n} prediction{'s' if n != 1 else ''} ({method_of(explanation)})"]
    for i in range(min(n, examples)):
        chosen = named_target(explanation, i, classes)
        lines.append(f"  example {i}{f', {chosen}' if chosen else ''}: {equation(explanation, i)}")
        lines += [f"    {line}" for line in _received(explanation, i, feature_names, features, tokenizer)]
        lost, kept = explanation.unattributed[i].item(), explanation.withheld[i].item()
        lines += [f"    {lost:.4g} of b reaches no input (unattributed)"] if lost else []
        lines += [f"    {kept:.4g} of b withheld: its sources were left out"] if kept else []
    if n > examples:
        lines.append(f"  ... and {n - examples} more")
    worst = explanation.completeness_error.max().item()
    lines.append(f"  complete to {worst:.1e}: sum(w*x) + sum(beta) = f(x)")
    return "\n".join(lines)


def _several(
    explanation: Decomposition[Any],
    names: Sequence[str] | None,
    examples: int,
    features: int,
    tokenizer: Tokenizer | None,
    classes: Sequence[str] | None,
) -> str:
    """One text for each target, the first few."""
    targets = explanation.output.shape[1]
    shown = [explanation.for_target(j) for j in range(min(targets, 3))]
    texts = [summarize(one, names, examples, features, tokenizer, classes) for one in shown]
    more = [f"... and {targets - 3} more targets"] if targets > 3 else []
    return "\n".join([f"{targets} targets", *texts, *more])


def _received(
    explanation: Decomposition[Any],
    example: int,
    names: Sequence[str] | None,
    count: int,
    tokenizer: Tokenizer | None,
) -> list[str]:
    """The tokens of texts, and the largest features of everything else."""
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    lines = []
    for text in texts:
        lines += [f"{explanation.parts[text.parts[0]].name}:"] if len(texts) > 1 else []
        lines += token_table(text, example, tokenizer)
    embedded = {i for text in texts for i in text.parts}
    others = [part for i, part in enumerate(explanation.parts) if i not in embedded]
    return lines + _largest(others, example, len(explanation), names, count)


def _largest(parts: Sequence[Part], example: int, examples: int, names: Sequence[str] | None, count: int) -> list[str]:
    """The features, or patches of an image, with the largest complete attribution."""
    found: list[tuple[str, float, float]] = []
    for part in parts:
        labels, w, beta = _patches(part, examples) if _is_image(part) else _features(part, examples, names)
        w, beta = w[example], beta[example]
        top = (w + beta).abs().topk(min(count, w.numel())).indices.tolist()
        found += [(labels(k), w[k].item(), beta[k].item()) for k in top]
    found = sorted(found, key=lambda one: -abs(one[1] + one[2]))[:count]
    width = max((len(label) for label, _, _ in found), default=0)
    return [f"{label:<{width}}  {w + b:+.4g} = w*x {w:+.4g}, beta {b:+.4g}" for label, w, b in found]


Received = tuple[Callable[[int], str], Tensor, Tensor]
"""What a number is called; ``w * x`` and ``beta``, ``(N, numbers)``."""


def _features(part: Part, examples: int, names: Sequence[str] | None) -> Received:
    w, beta = (part.by_example(values, examples)[0] for values in (part.product, part.beta))
    return lambda k: feature_name(part, k, names), w, beta


def _patches(part: Part, examples: int) -> Received:
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
