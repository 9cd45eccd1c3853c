"""The short text of an explanation: what a person can repeat to a colleague."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..results import Decomposition, Part, Tokenizer, in_patches, map_of, tokens_of
from .style import CELLS
from .token_table import token_table

__all__ = ["equation", "feature_name", "method_of", "named_target", "summarize"]


def equation(explanation: Decomposition[Any], example: int) -> str:
    """``f(x) = 12.34 = w.x 1.60 + b 10.74 (b is 87 % of f)``."""
    f, b = explanation.output[example].item(), explanation.bias[example].item()
    past = explanation.bypassed[example].item()
    share = f" (b is {100 * b / f:z.0f} % of f)" if f else ""
    rest = f" + bypassed {past:.4g}" if past else ""
    return f"f(x) = {f:.4g} = w.x {f - b - past:.4g} + b {b:.4g}{rest}{share}"


def named_target(explanation: Decomposition[Any], example: int, classes: Sequence[str] | None = None) -> str:
    """``siamang 41 %`` where the outputs have names, else ``output 369``; empty where nothing was to be chosen."""
    target = explanation.target
    chosen = target[example] if isinstance(target, list) and target else target if isinstance(target, str) else None
    if isinstance(chosen, int) and classes is not None and chosen < len(classes):
        probability = explanation.probability
        share = "" if probability is None else f" {100 * probability[example].item():.0f} %"
        return f"{classes[chosen]}{share}"
    return "" if chosen is None else chosen if isinstance(chosen, str) else f"output {chosen}"


def feature_name(part: Part, flat: int, feature_names: Sequence[str] | None = None) -> str:
    """A feature's own name, or the tensor's with an index."""
    shape = part.shape
    if feature_names is not None and len(shape) == 1 and len(feature_names) == shape[0]:
        return str(feature_names[flat])
    index: list[int] = []
    for size in reversed(shape):
        index.append(flat % size)
        flat //= size
    return f"{part.name}[{', '.join(str(i) for i in reversed(index))}]"


def summarize(
    explanation: Decomposition[Any],
    feature_names: Sequence[str] | None = None,
    examples: int = 3,
    features: int = 5,
    tokenizer: Tokenizer | None = None,
) -> str:
    """See `biasprop.Explanation.summary`."""
    if explanation.several:
        return _several(explanation, feature_names, examples, features, tokenizer)
    n = len(explanation)
    lines = [f"Explanation of {n} prediction{'s' if n != 1 else ''} ({method_of(explanation)})"]
    for i in range(min(n, examples)):
        target = explanation.target
        chosen = target[i] if isinstance(target, list) and target else target if isinstance(target, str) else ""
        lines.append(f"  example {i}{f', target {chosen}' if chosen != '' else ''}: {equation(explanation, i)}")
        lines += [f"    {line}" for line in _received(explanation, i, feature_names, features, tokenizer)]
        lost, kept = explanation.unattributed[i].item(), explanation.withheld[i].item()
        lines += [f"    {lost:.4g} of b reaches no input (unattributed)"] if lost else []
        lines += [f"    {kept:.4g} of b withheld: its sources were left out"] if kept else []
    if n > examples:
        lines.append(f"  ... and {n - examples} more")
    worst = explanation.completeness_error.max().item()
    lines.append(f"  complete to {worst:.1e}: sum(w*x) + sum(beta) = f(x)")
    return "\n".join(lines)


def method_of(explanation: Decomposition[Any]) -> str:
    """Rule, temperature where it matters, linearization and hand-over."""
    temperature = explanation.temperature
    scaled = [f"T = {temperature:g}"] if temperature not in (None, 1) else []
    handed = [f"handed over at {explanation.handover}"] if explanation.handover else []
    return ", ".join([explanation.rule, *scaled, explanation.linearization, *handed])


def _several(
    explanation: Decomposition[Any],
    names: Sequence[str] | None,
    examples: int,
    features: int,
    tokenizer: Tokenizer | None,
) -> str:
    """One text for each target, the first few."""
    targets = explanation.output.shape[1]
    shown = [explanation.for_target(j) for j in range(min(targets, 3))]
    texts = [summarize(one, names, examples, features, tokenizer) for one in shown]
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
