"""The work itself: explain a block of a data set. The same function runs here and in each worker of Ray."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import Explainer, Explanation
from ..auditing import logits_of
from ..errors import CaptureError, CompletenessError, FileError, InputError, TargetError
from ..loading import Encoder, Example, Source, batches, load_model
from ..modes import DEFAULT, Linearization
from .columns import Keeping, columns_of, terms_of

__all__ = ["Asked", "Found", "Model", "Network", "Rows", "Worker"]

Network = nn.Module | str | Callable[[], Any]
"""A model, the SPEC of one, or a function that makes one, alone or with its tokenizer."""

OF_AN_EXAMPLE = (InputError, FileError, CompletenessError)
"""Errors that may be one example's own; all others stop the job."""


@dataclass(frozen=True)
class Model:
    """The network, as a worker gets it: to be made there, or sent.

    Attributes:
        network: see `Network`.
        device: where it runs in a worker; None: where it is.
        tokenizer: of a model of texts.
    """

    network: Network
    device: str | None = None
    tokenizer: Any = None

    def made(self, device: str | None = None) -> tuple[nn.Module, Encoder | None]:
        """The model, on ``device`` or its own, and what makes token ids of texts; the user's module is not moved.

        Raises:
            CaptureError: nothing of that kind can be made, or the device does not exist.
        """
        made, tokenizer = self.network, self.tokenizer
        if isinstance(made, str):
            made = load_model(made)
        elif not isinstance(made, nn.Module):
            made = made()
            made, tokenizer = made if isinstance(made, tuple) else (made, tokenizer)
        if not isinstance(made, nn.Module):
            raise CaptureError(f"The model must be a torch.nn.Module, and is a {type(made).__name__}.")
        made = _on(made, device or self.device, made is self.network)
        known = tokenizer is None or isinstance(tokenizer, Encoder)
        return made, tokenizer if known else Encoder(tokenizer, made)


def _on(model: nn.Module, device: str | None, is_users: bool) -> nn.Module:
    """On a device; of the user's module a copy, where it is on another."""
    try:
        there = {tensor.device for tensor in model.parameters()} <= {torch.empty(0, device=device).device}
        if device is None or there:
            return model
        return (deepcopy(model) if is_users else model).to(device)
    except (RuntimeError, AssertionError) as error:
        raise CaptureError(f"Cannot use the device {device!r}: {str(error).splitlines()[0]}") from error


@dataclass(frozen=True)
class Asked:
    """What is asked about each example; see `biasprop.explain` for the fields that bear its names.

    ``target`` may also be ``"label"``: the true class. ``terms``: whether the classes that ``w.x`` alone and ``b``
    alone predict are found as well, for about two gradients more.
    """

    target: Any = "predicted"
    rule: Any = "bias1"
    temperature: float = 1.0
    linearization: Linearization = DEFAULT
    handover: Any = None
    terms: bool = False
    keeping: Keeping = field(default_factory=Keeping)

    def explained(self, explainer: Explainer, x: Any, labels: Sequence[int | None]) -> Explanation[Any]:
        """A batch.

        Raises:
            InputError: the label is the target, and one is not known, or no output of the model.
        """
        if self.target != "label":
            return explainer(x, self.target, self.rule, self.temperature, handover=self.handover)
        if None in labels:
            raise InputError("The label is to be explained, and it is not known.")
        try:
            return explainer(x, torch.tensor(labels), self.rule, self.temperature, handover=self.handover)
        except TargetError as error:
            raise InputError(f"The label is to be explained: {error}") from error


@dataclass(frozen=True)
class Rows:
    """Some examples that were explained together: their ids, labels, feature names and columns."""

    ids: list[str]
    labels: list[int | None]
    columns: dict[str, Any]
    features: list[str] | None = None


@dataclass(frozen=True)
class Found:
    """What came of a block: rows by batch, and ``(id, reason)`` of the examples that could not be explained."""

    rows: list[Rows]
    errors: list[tuple[str, str]]


@dataclass(frozen=True)
class Worker:
    """Makes the function that explains blocks of a source; what is in it can be sent to another process."""

    model: Model
    source: Source
    asked: Asked
    batch_size: int = 8

    def __call__(self) -> Callable[[Any], Found]:
        """To be called once in each process."""
        model, encoder = self.model.made()
        explainer = Explainer(model, self.asked.linearization, check="once")
        return _Explaining(self, explainer, self.source.encoded(encoder), encoder)


class _Explaining:
    """One worker at work."""

    def __init__(self, worker: Worker, explainer: Explainer, source: Source, encoder: Encoder | None) -> None:
        self.asked, self.batch_size = worker.asked, worker.batch_size
        self.explainer, self.source, self.encoder = explainer, source, encoder

    def __call__(self, block: Any) -> Found:
        taken = self.source.take(block)
        found = Found([], [(one.id, one.error) for one in taken if one.item is None])
        for batch in self._batches(taken):
            self._add(batch, found)
        return found

    def _batches(self, taken: Sequence[Example]) -> Iterator[list[Example]]:
        """Those of a shape together, as `biasprop.loading.batches` puts them."""
        by_item = {id(one.item): one for one in taken}
        items = (one.item for one in taken if one.item is not None)
        pads = self.encoder is not None and self.encoder.pads
        for batch in batches(items, self.batch_size, pads):
            yield [by_item[id(item)] for item in batch]

    def _add(self, batch: list[Example], found: Found) -> None:
        """All of a batch; where it fails, each of its examples alone, so that a bad one takes no other with it."""
        try:
            found.rows.append(self._rows(batch))
        except OF_AN_EXAMPLE as error:
            if len(batch) == 1:
                found.errors.append((batch[0].id, str(error)))
                return
            for one in batch:
                self._add([one], found)

    def _rows(self, batch: list[Example]) -> Rows:
        items = [one.item for one in batch if one.item is not None]
        labels = [one.label for one in batch]
        x = self._together([item.x for item in items], [item.text for item in items])
        explanation = self.asked.explained(self.explainer, x, labels)
        columns = columns_of(explanation, items, self.asked.keeping, self.encoder)
        if self.asked.terms:
            columns.update(self._terms(x))
        return Rows([one.id for one in batch], labels, columns, items[0].feature_names)

    def _terms(self, x: Any) -> dict[str, Any]:
        linear, bias = map(logits_of, self.explainer.split(x))
        if not isinstance(linear, Tensor) or linear.dim() not in (1, 2):
            raise CaptureError("The classes of w.x and of b are of a classifier with logits (N, C) or (N,).")
        return terms_of(linear, bias)

    def _together(self, x: list[Tensor], texts: list[str | None]) -> Any:
        """What the model takes: a tensor, or of texts a mapping."""
        parameter = next(self.explainer.model.parameters(), torch.empty(0))
        known = [text for text in texts if text is not None]
        if self.encoder is not None and known:
            return {name: tensor.to(parameter.device) for name, tensor in self.encoder.batch(known).items()}
        batch = torch.stack(x)
        return batch.to(parameter.device, parameter.dtype if batch.is_floating_point() else None)
