"""Audit: how much of a classifier's predictions is bias, over a whole labelled data set.

The paper's Table 1 for any network (Wang, Zhou & Bilmes, ICML 2019): the accuracy of ``f = w.x + b``, of ``w.x`` alone
and of ``b`` alone, where each is taken for *all* classes (``J x`` by one forward-mode product, ``b = f - J x``); how
large ``b`` is beside the predicted logit; and which layers' biases it comes from.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..attribution import Explainer
from ..errors import CompletenessError, InputError, TargetError
from ..files import locked
from ..metrics.method import check_labels
from ..progress import track
from .findings import Findings
from .ledger import Entry, Ledger
from .picture import draw_audit
from .terms import logits_of, predicted_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Audit", "audit"]


class Audit(Findings):
    """What an audit found; see `biasprop.auditing.findings.Findings` for what it holds."""

    def plot(self, title: str | None = None) -> "Figure":
        """Accuracy of the terms, distribution of the bias share, bias mass by source.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return draw_audit(self, title)


def audit(
    model: nn.Module | Explainer,
    loader: Iterable[tuple[Tensor, Any]],
    *,
    state: str | PathLike[str] | None = None,
    progress: bool = True,
) -> Audit:
    """Audit a classifier on labelled data, in one pass that holds one batch at a time.

    Args:
        model: a classifier in eval mode, from ``x`` to logits ``(N, C)``, or to one logit ``(N,)`` or ``(N, 1)`` whose
            sign decides between class 0 and 1; or an `Explainer` of one.
        loader: batches ``(x, labels)`` in a fixed order (``shuffle=False``), ``labels`` ``(N,)`` integers.
        state: a file to keep what is done in. An audit that was interrupted goes on from it, with no example lost or
            taken twice, and one that is finished is not run again. The model's weights and operations, what it says of
            the first example, and every example are compared with those of the file. Nobody else may use it meanwhile.
        progress: show a bar, on a terminal.

    Returns:
        The `Audit`.

    Raises:
        InputError: there is no example, a label is not a class, or the state belongs to another model or other data.
        TargetError: the model's output is not that of a classifier.
        FileError: the state cannot be read or written, or another audit is using it.
        BiaspropError: the model cannot be explained; see `explain`.
    """
    explainer = model if isinstance(model, Explainer) else Explainer(model)
    path = None if state is None else Path(state)
    with nullcontext() if path is None else locked(path):
        return _audited(explainer, loader, Ledger(path), progress)


def _audited(explainer: Explainer, loader: Iterable[tuple[Tensor, Any]], ledger: Ledger, progress: bool) -> Audit:
    """All that the ledger has not yet."""
    known = ledger.path is None
    try:
        for batch in track(loader, "auditing", progress):
            x, labels = _checked(batch, explainer.model)
            if len(x) and not known:
                ledger.require_network(explainer.fingerprint(x[:1]))
                known = True
            x, labels = ledger.skip(x, labels, lambda *first: _examine(explainer, *first))
            if len(x):
                ledger.add(_examine(explainer, x, labels))
    finally:  # what is done is kept, also when a later example is bad or the user interrupts
        ledger.write()
    return ledger.close(Audit)


def _checked(batch: Any, model: nn.Module) -> tuple[Tensor, Tensor]:
    """A batch on the model's device."""
    try:
        x, labels = batch
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"The loader must give (x, labels) with a whole number per example, not {type(batch).__name__}: {error}"
        ) from error
    if not isinstance(x, Tensor) or x.dim() == 0 or labels.shape != x.shape[:1] or labels.is_floating_point():
        got = f"{tuple(x.shape)} and labels {tuple(labels.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"The loader must give (x, labels) with a whole number per example, not {got}.")
    parameter = next(model.parameters(), None)
    return x if parameter is None else x.to(parameter.device), labels.long().cpu()


def _examine(explainer: Explainer, x: Tensor, labels: Tensor) -> Entry:
    """One batch: what each term predicts, the predicted logit and its bias, and where that comes from."""
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
    found = {"labels": labels, "classes": classes, "outputs": output.double(), "biases": b.double()}
    amounts = [source.amount.double().cpu() for source in sources]
    return Entry(
        {name: t.cpu() for name, t in found.items()},
        {(s.name, s.operation): (a.sum(), a.abs().sum()) for s, a in zip(sources, amounts, strict=True)},
        x,
    )
