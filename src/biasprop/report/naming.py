"""What things are called: the equation, targets, features, sources, the method."""

from collections.abc import Sequence
from typing import Any

from ..results import Decomposition, Part, Tokenizer, token_texts

__all__ = ["equation", "equation_of", "feature_name", "method_of", "named_target", "source_name"]


def equation(explanation: Decomposition[Any], example: int) -> str:
    """``f(x) = 12.34 = w.x 1.60 + b 10.74 (b is 87 % of f)``."""
    numbers = (explanation.output, explanation.bias, explanation.bypassed)
    return equation_of(*(one[example].item() for one in numbers))


def equation_of(f: float, b: float, past: float = 0.0) -> str:
    """The same of f(x), b, and what goes past a hidden tensor."""
    share = f" (b is {100 * b / f:z.0f} % of f)" if f else ""
    rest = f" + bypassed {past:.4g}" if past else ""
    return f"f(x) = {f:.4g} = w.x {f - b - past:.4g} + b {b:.4g}{rest}{share}"


def named_target(
    explanation: Decomposition[Any],
    example: int,
    label: int | str | None = None,
    tokenizer: Tokenizer | None = None,
) -> str:
    """``siamang 41 %, labelled gibbon`` where the outputs have names, else ``output 369 (41 %)``; empty for no choice.

    Args:
        explanation: of one target.
        example: which of the batch.
        label: the true class, its index or its name; it is said where it is not the target.
        tokenizer: of a language model: says how the token is written that continues the text.
    """
    names = explanation.classes
    target = explanation.target
    chosen = target[example] if isinstance(target, list) and target else target if isinstance(target, str) else None
    true = _class_name(label, names)
    probability = explanation.probability
    share = "" if probability is None else f"{100 * probability[example].item():.0f} %"
    other = "" if true is None or chosen is None or true == _class_name(chosen, names) else f", labelled {true}"
    if chosen is None or isinstance(chosen, str):
        return f"{chosen or ''}{other}"
    if isinstance(chosen, tuple) and tokenizer is not None and not names:
        said = [repr(token_texts(chosen[-1:], tokenizer)[0]), share]
    elif isinstance(chosen, int) and 0 <= chosen < len(names):
        said = [str(names[chosen]), share]
    else:
        said = [f"output {chosen}", f"({share})" * bool(share)]
    return f"{' '.join(filter(None, said))}{other}"


def _class_name(label: Any, names: Sequence[str]) -> str | None:
    if label is None or isinstance(label, str):
        return label
    return str(names[label]) if isinstance(label, int) and 0 <= label < len(names) else str(label)


def feature_name(part: Part, flat: int, feature_names: Sequence[str] = ()) -> str:
    """A feature's own name, or the tensor's with an index."""
    shape = part.shape
    if len(shape) == 1 and len(feature_names) == shape[0]:
        return str(feature_names[flat])
    index: list[int] = []
    for size in reversed(shape):
        index.append(flat % size)
        flat //= size
    return f"{part.name}[{', '.join(str(i) for i in reversed(index))}]"


def source_name(name: str, operation: str) -> str:
    """``features.0 (conv2d)`` where the path ends in a number, which says nothing on its own; else the path."""
    says_nothing = name.rpartition(".")[2].isdecimal()
    return f"{name} ({operation})" if says_nothing and operation else name


def method_of(explanation: Decomposition[Any]) -> str:
    """Rule, temperature where it matters, linearization and hand-over."""
    temperature = explanation.temperature
    scaled = [f"T = {temperature:g}"] if temperature not in (None, 1) else []
    handed = [f"handed over at {explanation.handover}"] if explanation.handover else []
    return ", ".join([explanation.rule, *scaled, explanation.linearization, *handed])
