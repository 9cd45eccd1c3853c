"""The short text of an explanation: what a person can repeat to a colleague."""

from typing import Any

from ..results import Decomposition, Tokenizer, tokens_of
from .naming import equation, method_of, named_target
from .received import largest_received
from .token_table import token_table

__all__ = ["summarize"]


def summarize(
    explanation: Decomposition[Any],
    examples: int = 3,
    features: int = 5,
    tokenizer: Tokenizer | None = None,
) -> str:
    """See `biasprop.Explanation.summary`."""
    if explanation.several:
        return _several(explanation, examples, features, tokenizer)
    n = len(explanation)
    lines = [f"Explanation of {n} prediction{'s' if n != 1 else ''} ({method_of(explanation)})"]
    for i in range(min(n, examples)):
        chosen = named_target(explanation, i, tokenizer=tokenizer)
        lines.append(f"  example {i}{f', {chosen}' if chosen else ''}: {equation(explanation, i)}")
        lines += [f"    {line}" for line in _received(explanation, i, features, tokenizer)]
        lost, kept = explanation.unattributed[i].item(), explanation.withheld[i].item()
        lines += [f"    {lost:.4g} of b reaches no input (unattributed)"] if lost else []
        lines += [f"    {kept:.4g} of b withheld: its sources were left out"] if kept else []
    if n > examples:
        lines.append(f"  ... and {n - examples} more")
    worst = explanation.completeness_error.max().item()
    lines.append(f"  complete to {worst:.1e}: sum(w*x) + sum(beta) = f(x)")
    return "\n".join(lines)


def _several(explanation: Decomposition[Any], examples: int, features: int, tokenizer: Tokenizer | None) -> str:
    """One text for each target, the first few."""
    targets = explanation.output.shape[1]
    shown = [explanation.for_target(j) for j in range(min(targets, 3))]
    texts = [summarize(one, examples, features, tokenizer) for one in shown]
    more = [f"... and {targets - 3} more targets"] if targets > 3 else []
    return "\n".join([f"{targets} targets", *texts, *more])


def _received(explanation: Decomposition[Any], example: int, count: int, tokenizer: Tokenizer | None) -> list[str]:
    """The tokens of texts, and the largest features of everything else."""
    texts = tokens_of(explanation.parts, explanation.ids, explanation.axis)
    lines = []
    for text in texts:
        lines += [f"{explanation.parts[text.parts[0]].name}:"] if len(texts) > 1 else []
        lines += token_table(text, example, tokenizer)
    found = largest_received(explanation, example, count, texts=False)
    width = max((len(one.name) for one in found), default=0)
    return lines + [
        f"{one.name:<{width}}  {one.attribution:+.4g} = w*x {one.weight_attribution:+.4g}, beta "
        f"{one.bias_attribution:+.4g}"
        for one in found
    ]
