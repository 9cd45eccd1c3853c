"""Audit: how much of a classifier's predictions is bias, over a whole labelled data set.

The paper's Table 1 for any network (Wang, Zhou & Bilmes, ICML 2019): the accuracy of ``f = w.x + b``, of ``w.x`` alone
and of ``b`` alone, where each is taken for *all* classes (``J x`` by one forward-mode product, ``b = f - J x``); how
large ``b`` is beside the predicted logit; and which layers' biases it comes from.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, default_collate

from ..attribution import Explainer
from ..engines import Engine, Pool, blocks_of, is_ray_dataset, run
from ..errors import InputError
from ..files import locked, write_atomically
from ..loading import Preparation, Source, source_of
from ..progress import counting, track
from ..report.page import html_of_overall
from ..version import __version__
from .examining import Examining, examine
from .findings import Findings
from .gallery import galleries_of
from .ledger import Ledger
from .page import overall_of
from .picture import draw_audit
from .state import read_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Audit", "audit", "audit_source"]

AT_ONCE = 2  # batches of the model in a block


class Audit(Findings):
    """What an audit found; see `biasprop.auditing.findings.Findings` for what it holds."""

    @classmethod
    def of(cls, state: str | PathLike[str], errors: Sequence[tuple[str, str]] = ()) -> "Audit":
        """What the state of an audit holds, as far as it has come.

        Args:
            state: the file, see `audit`.
            errors: of examples that were left out, which the state does not hold.

        Raises:
            FileError: it is missing, damaged, or not the state of an audit.
        """
        return cls(**{**vars(read_state(Path(state)).entry.findings()), "errors": tuple(errors)})

    def plot(self, title: str | None = None) -> "Figure":
        """Accuracy of the terms, distribution of the bias share, bias mass by source.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return draw_audit(self, title)

    def html(
        self,
        path: str | PathLike[str] | None = None,
        *,
        title: str = "audit",
        classes: Sequence[str] = (),
        model: nn.Module | Explainer | None = None,
        data: Dataset[Any] | Source | None = None,
        most: int = 8,
        progress: bool = True,
    ) -> str:
        """The audit as a page, one file: what the parts predict, how much is bias, where it comes from, classes.

        An audit keeps no maps. With ``model`` and ``data``, the examples that stand out are explained once more, and
        open in the page: those that only ``w.x`` or only ``b`` gets right, and those of most bias.

        Args:
            path: where to write it, atomically; None: nowhere.
            title: of the page.
            classes: names of the classes.
            model: the network that was audited, or an `Explainer` of it.
            data: the data set, in the order in which it was audited.
            most: how many examples of each kind can be opened.
            progress: show a bar, on a terminal.

        Returns:
            The page.

        Raises:
            InputError: only one of model and data is given, or they are not those of the audit.
            MissingExtra: Pillow is not installed, for images.
            FileError: the folder cannot be written to.
        """
        if (model is None) != (data is None):
            raise InputError("Examples are explained once more for the page: give both model and data, or neither.")
        galleries = []
        if model is not None and data is not None:
            explainer = model if isinstance(model, Explainer) else Explainer(model)
            galleries = galleries_of(self, explainer, _positioned(data), classes, most, progress)
        page = html_of_overall(overall_of(self, title, classes, galleries), __version__)
        if path is not None:
            write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))
        return page


def audit(
    model: nn.Module | Explainer,
    loader: Iterable[tuple[Tensor, Any]] | Dataset[Any],
    *,
    state: str | PathLike[str] | None = None,
    progress: bool = True,
    batch_size: int = 16,
    engine: Engine = "local",
    workers: int | None = None,
    gpus: float = 0.0,
) -> Audit:
    """Audit a classifier on labelled data, in one pass that holds one batch at a time.

    Args:
        model: a classifier in eval mode, from ``x`` to logits ``(N, C)``, or to one logit ``(N,)`` or ``(N, 1)`` whose
            sign decides between class 0 and 1; or an `Explainer` of one.
        loader: batches ``(x, labels)`` in a fixed order (``shuffle=False``), ``labels`` ``(N,)`` integers; or a
            ``torch.utils.data.Dataset`` of ``(x, label)``, of which examples that cannot be read or explained are left
            out, and named in `Audit.errors`.
        state: a file to keep what is done in. An audit that was interrupted goes on from it, with no example lost or
            taken twice, and one that is finished is not run again. The model's weights and operations, what it says of
            the first example, and every example are compared with those of the file. Nobody else may use it meanwhile.
        progress: show a bar, on a terminal.
        batch_size: of a data set: examples that the model takes at once.
        engine: ``"local"``, or ``"ray"`` for a data set, or a `DataLoader` of one in its order: workers on this machine
            or on a cluster. Their findings add up to those of the local engine exactly, as long as each of them
            computes with as many threads.
        workers: of Ray; default: one for each CPU, or for each share of a GPU.
        gpus: that each worker takes.

    Returns:
        The `Audit`.

    Raises:
        InputError: there is no example, a label is not a class, the state belongs to another model or other data, or
            Ray's workers cannot read the data by position.
        TargetError: the model's output is not that of a classifier.
        FileError: the state cannot be read or written, or another audit is using it.
        EngineError: a worker failed.
        BiaspropError: the model cannot be explained; see `explain`.
    """
    if is_ray_dataset(loader):
        raise InputError(
            "An audit reads its data by position, which a Ray data set does not offer: give a "
            "torch.utils.data.Dataset of (x, label); engine='ray' shares it among workers."
        )
    explainer = model if isinstance(model, Explainer) else Explainer(model)
    pool = Pool(engine, workers, gpus)
    if pool.engine == "ray":
        loader, batch_size = _by_position(loader, batch_size)
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        make = partial(_on, "cuda", explainer) if gpus else partial(_same, explainer)
        return audit_source(explainer, make, source_of(loader, Preparation()), state, pool, batch_size, progress)
    path = None if state is None else Path(state)
    with nullcontext() if path is None else locked(path):
        return _audited(explainer, loader, Ledger(path), progress)


def audit_source(
    explainer: Explainer,
    make: Callable[[], Explainer],
    source: Source,
    state: str | PathLike[str] | None,
    pool: Pool,
    batch_size: int = 16,
    progress: bool = True,
) -> Audit:
    """Audit a data set that is read by position; ``make`` makes the explainer in each worker.

    The errors are those of `audit`.
    """
    path = None if state is None else Path(state)
    with nullcontext() if path is None else locked(path):
        return _examined(explainer, make, source, Ledger(path), pool, batch_size, progress)


def _examined(
    explainer: Explainer,
    make: Callable[[], Explainer],
    source: Source,
    ledger: Ledger,
    pool: Pool,
    batch_size: int,
    progress: bool,
) -> Audit:
    """All that the ledger has not yet, block by block; a block is the same whatever was done before."""
    work = Examining(make, source, batch_size, ledger.done)
    errors: list[tuple[str, str]] = []
    if len(source):
        _require_first(explainer, source, ledger)
    try:
        with counting(len(source), "auditing", progress, "the same call goes on" if ledger.path else "") as more:
            for found in run(work, blocks_of(range(len(source)), AT_ONCE * batch_size), pool):
                ledger.skip(found.skipped, found.digest)
                for entry in found.entries:
                    ledger.add(entry)
                errors += found.errors
                more(found.skipped + sum(map(len, found.entries)) + len(found.errors))
    finally:  # what is done is kept, also when a later example is bad or the user interrupts
        ledger.write()
    return _closed(ledger, errors)


def _require_first(explainer: Explainer, source: Source, ledger: Ledger) -> None:
    """The network of the ledger, and what it says of the first example that is done."""
    if ledger.first is None:
        found = next((one for k in range(len(source)) for one in source.take([k]) if one.item is not None), None)
        if found is None or found.item is None:
            raise InputError(f"No example of the data set can be read: {source.take([0])[0].error}")
        ledger.require_network(explainer.fingerprint(_on_device(found.item.x[None], explainer)))
        return
    (first,) = source.take([ledger.first]) if ledger.first < len(source) else [None]
    if first is None or first.item is None or first.label is None:
        raise InputError(f"The audit in {ledger.path} holds examples that these data do not: they are other data.")
    x = _on_device(first.item.x[None], explainer)
    ledger.require_network(explainer.fingerprint(x))
    ledger.require_first(examine(explainer, x, torch.tensor([first.label]), torch.tensor([ledger.first])))


def _on_device(x: Tensor, explainer: Explainer) -> Tensor:
    parameter = next(explainer.model.parameters(), None)
    return x if parameter is None else x.to(parameter.device)


def _audited(explainer: Explainer, loader: Iterable[tuple[Tensor, Any]], ledger: Ledger, progress: bool) -> Audit:
    """The same of batches, in their order."""
    start = 0
    try:
        for batch in track(loader, "auditing", progress):
            x, labels = _checked(batch, explainer.model)
            if len(x) and not start:
                ledger.require_network(explainer.fingerprint(x[:1]))
            if ledger.first is not None and start <= ledger.first < start + len(x):
                k = ledger.first - start
                ledger.require_first(examine(explainer, x[k : k + 1], labels[k : k + 1], torch.tensor([ledger.first])))
            count = len(x)
            x, labels, positions = ledger.without_done(x, labels, start)
            start += count
            if len(x):
                ledger.add(examine(explainer, x, labels, positions))
    finally:
        ledger.write()
    return _closed(ledger, [])


def _closed(ledger: Ledger, errors: list[tuple[str, str]]) -> Audit:
    found = ledger.close()
    return Audit(**{**vars(found), "errors": tuple(sorted(errors))})


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


def _by_position(loader: Any, batch_size: int) -> tuple[Any, int]:
    """The data set of a loader that goes through it in order."""
    if isinstance(loader, DataLoader):
        plain = isinstance(loader.sampler, SequentialSampler) and loader.collate_fn is default_collate
        if not plain or isinstance(loader.dataset, IterableDataset):
            raise InputError(
                "Ray's workers read a data set by position: give the DataLoader without a sampler, shuffle or "
                "collate_fn of its own, or the data set itself."
            )
        return loader.dataset, loader.batch_size or batch_size
    if not isinstance(loader, Dataset) or isinstance(loader, IterableDataset):
        raise InputError(
            f"Ray's workers read a data set by position: give a torch.utils.data.Dataset of (x, label), not a "
            f"{type(loader).__name__}."
        )
    return loader, batch_size


def _positioned(data: Dataset[Any] | Source) -> Source:
    """A data set as a source; one that is a source already stays."""
    return data if isinstance(data, Source) else source_of(data, Preparation())


def _same(explainer: Explainer) -> Explainer:
    return explainer


def _on(device: str, explainer: Explainer) -> Explainer:
    explainer.model.to(device)
    return explainer
