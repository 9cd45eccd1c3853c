"""The page of an audit."""

from collections.abc import Sequence

import numpy as np

from ..report.page import Card, Overall
from .findings import Findings
from .terms import TERMS

__all__ = ["overall_of"]

CLASSES = 50


def overall_of(
    audit: Findings, title: str, names: Sequence[str] = (), galleries: Sequence[tuple[str, Sequence[Card]]] = ()
) -> Overall:
    """What the page shows.

    Args:
        audit: what was found.
        title: of the page.
        names: of the classes.
        galleries: examples that stand out, see `gallery`.
    """
    n = max(len(audit), 1)
    order = audit.masses.argsort(descending=True).tolist()
    return Overall(
        title=title,
        headline=audit.summary(),
        facts=[("examples", str(len(audit)))],
        accuracies=[(name, value, *audit.interval(value)) for name, value in audit.accuracy.items()],
        shares=audit.shares.numpy(),
        sources=[(*audit.sources[i], audit.masses[i].item() / n, audit.amounts[i].item() / n) for i in order],
        heads=("class", "examples", *(f"right: {name}" for name in TERMS), "b / f"),
        classes=_classes(audit, names),
        galleries=galleries,
        errors=audit.errors,
    )


def _classes(audit: Findings, names: Sequence[str]) -> list[tuple[str, ...]]:
    """By the true class, the largest first: how often each part is right, and the median of b / f."""
    found, counts = audit.labels.unique(return_counts=True)
    rows = []
    for k in counts.argsort(descending=True, stable=True)[:CLASSES].tolist():
        label = int(found[k])
        inside = audit.labels == label
        right = (audit.classes[inside] == label).double().mean(0).tolist()
        there = inside & (audit.outputs != 0)
        share = float(np.median((audit.biases[there] / audit.outputs[there]).numpy())) if there.any() else 0.0
        name = names[label].split(",")[0] if 0 <= label < len(names) else str(label)
        known = f"{100 * share:z.0f} %" if there.any() else ""
        rows.append((name, str(int(counts[k])), *(f"{100 * value:.0f} %" for value in right), known))
    return rows
