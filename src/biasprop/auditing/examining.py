"""One batch of an audit: what each term predicts, the predicted logit and its bias, and where that comes from."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..attribution import Explainer
from ..errors import CompletenessError, InputError, TargetError
from ..loading import Example, Source, batches
from ..metrics.method import check_labels
from .entry import Entry, digest_of
from .terms import logits_of, predicted_classes

__all__ = ["Examined", "Examining", "examine"]


def examine(explainer: Explainer, x: Tensor, labels: Tensor, positions: Tensor) -> Entry:
    """Examples ``x`` with their true classes and positions in the data set.

    Raises:
        TargetError: the model's output is not that of a classifier.
        InputError: a label is not one of its classes, or an example is bad.
        CompletenessError: the sources do not add up to the bias.
    """
    linear, bias = map(logits_of, explainer.split(x))
    if not isinstance(linear, Tensor) or linear.dim() not in (1, 2) or len(linear) != len(x):
        shape = tuple(linear.shape) if isinstance(linear, Tensor) else type(linear).__name__
        raise TargetError(
            f"An audit is of a classifier with logits (N, C), (N, 1) or (N,); this model returns {shape}."
        )
    single = linear.dim() == 1 or linear.shape[1] == 1
    check_labels(labels, 2 if single else linear.shape[1])
    classes = predicted_classes(linear, bias)
    chosen = torch.zeros_like(classes[:, :1]) if single else classes[:, :1]
    output, b = (term.reshape(len(x), -1).gather(1, chosen)[:, 0] for term in (linear + bias, bias))
    sources = explainer.sources(x, None if linear.dim() == 1 else chosen[:, 0])
    size = output.abs() + b.abs() + sources.amounts.abs().sum(1)
    error = (sources.amounts.sum(1) - b).abs() / torch.where(size > 0, size, 1)
    if not error.max() <= (1e-7 if b.dtype == torch.float64 else 2e-3):
        raise CompletenessError(
            f"The bias sources miss b = f - J x by {error.max().item():.1e} of the logit. A rule of your own, or a "
            "custom autograd function, gives another derivative backwards than forwards."
        )
    found = {"positions": positions, "labels": labels, "classes": classes.cpu()}
    found |= {"outputs": output.double().cpu(), "biases": b.double().cpu()}
    return Entry.of(found, {(s.name, s.operation): s.amount.double().cpu() for s in sources}, x)


@dataclass
class Examined:
    """What came of a block: entries, how many examples were done before, their digest, and what could not be read."""

    entries: list[Entry] = field(default_factory=list)
    skipped: int = 0
    digest: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Examining:
    """Makes the function that examines blocks of a source, in whatever process.

    Attributes:
        explainer: makes the explainer there.
        source: the data set.
        batch_size: examples that the model takes at once.
        done: positions that are done; they are read, to see that they are the same.
    """

    explainer: Callable[[], Explainer]
    source: Source
    batch_size: int
    done: Container[int] = ()

    def __call__(self) -> Callable[[Sequence[int]], Examined]:
        """To be called once in each process."""
        explainer = self.explainer()
        return lambda block: self._block(explainer, [int(k) for k in block])

    def _block(self, explainer: Explainer, block: Sequence[int]) -> Examined:
        found = Examined()
        taken = dict(zip(block, self.source.take(block), strict=True))
        found.errors += [(one.id, one.error) for one in taken.values() if one.item is None]
        for x, labels, positions in self._batches(taken, explainer):
            old = torch.tensor([one in self.done for one in positions.tolist()], dtype=torch.bool)
            found.skipped += int(old.sum())
            found.digest += digest_of(positions[old], x[old], labels[old])
            if not old.all():
                self._examine(explainer, (x[~old], labels[~old], positions[~old]), taken, found)
        return found

    def _examine(
        self, explainer: Explainer, batch: tuple[Tensor, ...], taken: dict[int, Example], found: Examined
    ) -> None:
        """A batch; where it fails, without the examples whose numbers cannot be explained."""
        try:
            found.entries.append(examine(explainer, *batch))
        except InputError:
            reasons = [_reason(explainer, one) for one in batch[0].split(1)]
            if not any(reasons):
                raise
            good = torch.tensor([not reason for reason in reasons])
            ids = [taken[one].id for one in batch[2].tolist()]
            found.errors += [(one, reason) for one, reason in zip(ids, reasons, strict=True) if reason]
            if good.any():
                found.entries.append(examine(explainer, *(part[good.to(part.device)] for part in batch)))

    def _batches(self, taken: dict[int, Example], explainer: Explainer) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """``x``, labels and positions of those of a shape that follow each other."""
        parameter = next(explainer.model.parameters(), torch.empty(0))
        of = {id(one.item): (position, one) for position, one in taken.items()}
        for batch in batches((one.item for one in taken.values() if one.item is not None), self.batch_size):
            some = [of[id(item)] for item in batch]
            labels = [_label(one) for _, one in some]
            x = torch.stack([item.x for item in batch]).to(parameter.device)
            yield x, torch.tensor(labels), torch.tensor([position for position, _ in some])


def _reason(explainer: Explainer, x: Tensor) -> str:
    """Why an example cannot be explained, if it is bad of itself."""
    try:
        explainer.check(x)
    except InputError as error:
        return str(error)
    return ""


def _label(one: Example) -> int:
    if one.label is None:
        item: Any = one.item
        what = "has no label" if item.label is None else f"has the label {item.label!r}, which is no class"
        raise InputError(
            f"{item.name} of {item.path} {what}. Name the array or column that holds it with --labels; images take it "
            "from their sub-folder, or with --classes from the id that their name begins with."
        )
    return one.label
