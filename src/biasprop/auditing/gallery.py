"""The gallery of an audit's page: examples that stand out, explained again, since an audit keeps no maps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..attribution import Explainer, Explanation
from ..errors import InputError
from ..loading import Example, Source
from ..progress import track
from ..report.page import Card, content_of
from .findings import Findings
from .terms import logits_of

__all__ = ["galleries_of"]

CELLS = 56
"""Along the longer side of a map: half of what the page of a single photo has, for there are many of them."""


def galleries_of(
    audit: Findings,
    explainer: Explainer,
    source: Source,
    names: Sequence[str] = (),
    most: int = 8,
    progress: bool = True,
) -> list[tuple[str, list[Card]]]:
    """A gallery for each kind of `Findings.standing_out`; each card opens the page of its example.

    There, the class that the network predicts and the true one can be seen side by side.

    Args:
        audit: what was found.
        explainer: of the network.
        source: the data set.
        names: of the classes.
        most: examples of each kind.
        progress: show a bar.

    Raises:
        InputError: the data or the network are others than those of the audit.
    """
    kinds = audit.standing_out(most)
    wanted = sorted({row for rows in kinds.values() for row in rows})
    cards: dict[int, Card] = {}
    single = None
    for row in track(wanted, "explaining", progress):
        one = _example(audit, row, source)
        single = _is_single(explainer, one) if single is None else single
        cards[row] = _card(audit, row, one, explainer, names, single)
    return [(kind, [cards[row] for row in rows]) for kind, rows in kinds.items() if rows]


def _example(audit: Findings, row: int, source: Source) -> Example:
    position = row if audit.positions is None else int(audit.positions[row])
    one = source.take([position])[0] if position < len(source) else Example(str(position), error="there is none")
    if one.item is None:
        raise InputError(f"Example {position} of the audit cannot be read from these data: {one.error}")
    return one


def _card(audit: Findings, row: int, one: Example, explainer: Explainer, names: Sequence[str], single: bool) -> Card:
    assert one.item is not None
    explanation = _explained(explainer, _batch(one, explainer), audit.classes[row, 0], audit.labels[row], single)
    output, expected = explanation.output.flatten()[0].item(), audit.outputs[row].item()
    if abs(output - expected) > 1e-5 + 1e-3 * abs(expected):  # as a ledger that goes on
        raise InputError(
            f"The logit of {one.id} was {expected:.6g} in the audit, and is {output:.6g}: these are other data, or "
            "another network."
        )
    predicted, label = (_name(int(index), names) for index in (audit.classes[row, 0], audit.labels[row]))
    said = f"{one.id}: {predicted}" + (f", labelled {label}" if label != predicted else "")
    page = content_of(
        explanation,
        0,
        title=said,
        classes=list(names) or None,
        feature_names=one.item.feature_names,
        image=one.item.picture,
        cells=CELLS,
    )
    share = f", b {100 * audit.biases[row].item() / expected:z.0f} %" if expected else ""
    return Card(f"{said}{share}", page.overlay, page)


def _batch(one: Example, explainer: Explainer) -> Tensor:
    """The example alone, where the model is."""
    assert one.item is not None
    parameter = next(explainer.model.parameters(), None)
    return one.item.x[None] if parameter is None else one.item.x[None].to(parameter.device)


def _is_single(explainer: Explainer, one: Example) -> bool:
    """Whether the model gives one logit, ``(N,)`` or ``(N, 1)``, whose sign decides."""
    logits = logits_of(explainer.split(_batch(one, explainer))[0])
    return bool(logits.dim() == 1 or logits.shape[1] == 1)


def _explained(explainer: Explainer, x: Tensor, predicted: Tensor, label: Tensor, single: bool) -> Explanation[Tensor]:
    """Of the predicted class and the true one; of a single logit, of that."""
    if single:
        return explainer(x)
    wanted = [predicted, label] if predicted != label else [predicted]
    return explainer(x, targets=torch.stack(wanted)[None].to(x.device))


def _name(index: int, names: Sequence[str]) -> str:
    return names[index].split(",")[0] if index < len(names) else f"class {index}"
