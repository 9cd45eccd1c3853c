"""Audit: how much of a classifier's predictions is bias, over a whole labelled data set.

The paper's Table 1 for any network (Wang, Zhou & Bilmes, ICML 2019): the accuracy of ``f = w.x + b``, of ``w.x`` alone
and of ``b`` alone, where each is taken for *all* classes (``J x`` by one forward-mode product, ``b = f - J x``); how
large ``b`` is beside the predicted logit; and which layers' biases it comes from.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .archive import read_tensors, write_tensors
from .checks import check_labels
from .errors import CompletenessError, FileError, InputError, TargetError
from .explainer import Explainer
from .progress import track
from .terms import TERMS, predicted_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Audit", "audit"]

FORMAT = "biasprop-audit-1"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
EVERY = 10.0  # seconds between two writes of the state


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found, over N examples and S bias sources.

    Attributes:
        labels: the true classes, ``(N,)`` int64.
        classes: the classes that ``w.x + b``, ``w.x`` alone and ``b`` alone predict, ``(N, 3)`` int64.
        outputs: the predicted logit f, ``(N,)`` float64.
        biases: its bias b, ``(N,)`` float64.
        amounts: sum over the examples of each source's amount, ``(S,)`` float64; they add up to ``biases.sum()``.
        masses: the same of the amounts' magnitudes.
        sources: name and operation of each source.
    """

    labels: Tensor
    classes: Tensor
    outputs: Tensor
    biases: Tensor
    amounts: Tensor
    masses: Tensor
    sources: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> dict[str, float]:
        """Of ``w.x + b``, ``w.x alone`` and ``b alone``, from 0 to 1."""
        right = (self.classes == self.labels[:, None]).double().mean(0)
        return dict(zip(TERMS, right.tolist(), strict=True))

    @property
    def agreement(self) -> dict[str, float]:
        """How often each part alone predicts what the network predicts, from 0 to 1; no label is needed for it."""
        same = (self.classes == self.classes[:, :1]).double().mean(0)
        return dict(zip(TERMS, same.tolist(), strict=True))

    def interval(self, share: float, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's confidence interval for a share of the examples."""
        n, z = len(self), NormalDist().inv_cdf(0.5 + confidence / 2)
        centre, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))

    @property
    def shares(self) -> Tensor:
        """b over the predicted logit, ``(M,)``: of the examples whose logit is not 0."""
        there = self.outputs != 0
        return self.biases[there] / self.outputs[there]

    def quantiles(self) -> dict[float, float]:
        """Of the shares; NaN where there are none."""
        values = self.shares if len(self.shares) else torch.full((1,), torch.nan, dtype=torch.float64)
        ordered = values.sort().values  # torch.quantile takes 16 million at most
        at = [round(q * (len(ordered) - 1)) for q in QUANTILES]
        return dict(zip(QUANTILES, ordered[at].tolist(), strict=True))

    def summary(self) -> str:
        """The lines a person can repeat to a colleague."""
        both, linear, bias = (f"{100 * value:.1f} %" for value in self.accuracy.values())
        median = self.quantiles()[0.5]
        known = not math.isnan(median)
        share = f"b is a median {100 * median:.0f} % of the predicted logit" if known else "every predicted logit is 0"
        return (
            f"{len(self)} examples: the network is right on {both}, w.x alone on {linear}, b alone on {bias}; {share}."
        )

    def __str__(self) -> str:
        lines = [f"{'':<12}{'accuracy, %':>12}{'95 % interval':>18}{'agrees with the network, %':>30}"]
        for name in TERMS:
            low, high = self.interval(self.accuracy[name])
            interval = f"{100 * low:.1f} to {100 * high:.1f}"
            lines.append(
                f"{name:<12}{100 * self.accuracy[name]:>12.1f}{interval:>18}{100 * self.agreement[name]:>30.1f}"
            )
        cells = ", ".join(f"{100 * q:g} %: {value:.2f}" for q, value in self.quantiles().items())
        lines += ["", f"b / predicted logit, quantiles: {cells}"]
        if self.sources:
            width = max(len(name) for name, _ in self.sources)
            lines += ["", f"{'bias source':<{width}}{'share of the bias mass, %':>28}{'mean amount':>14}"]
        order = self.masses.argsort(descending=True).tolist()
        total = max(self.masses.sum().item(), torch.finfo(torch.float64).tiny)
        for i in order[:10]:
            share, mean = 100 * self.masses[i].item() / total, self.amounts[i].item() / len(self)
            lines.append(f"{self.sources[i][0]:<{width}}{share:>28.1f}{mean:>14.4g}")
        more = [f"... and {len(order) - 10} more"] if len(order) > 10 else []
        return "\n".join([*lines, *more, "", self.summary()])

    def __repr__(self) -> str:
        return f"Audit({self.summary()})"

    def figures(self) -> dict[str, Any]:
        """All of it but the single examples, as plain numbers for JSON."""
        n = len(self)
        return {
            "examples": n,
            "accuracy": self.accuracy,
            "interval": {name: self.interval(value) for name, value in self.accuracy.items()},
            "agreement": self.agreement,
            "bias over predicted logit": {
                f"{q:g}": None if math.isnan(value) else value for q, value in self.quantiles().items()
            },
            "sources": [
                {"name": name, "operation": operation, "mean amount": amount / n, "mean magnitude": mass / n}
                for (name, operation), amount, mass in zip(
                    self.sources, self.amounts.tolist(), self.masses.tolist(), strict=True
                )
            ],
            "summary": self.summary(),
        }

    def plot(self, title: str | None = None) -> "Figure":
        """Accuracy of the parts, distribution of the bias share, bias mass by source. See `plot.plot_audit`."""
        from .plot import plot_audit

        return plot_audit(self, title)


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
            taken twice, and one that is finished is not run again. The model's weights, what it says of the first
            example, and every example are compared with those of the file.
        progress: show a bar, on a terminal.

    Returns:
        The `Audit`.

    Raises:
        InputError: there is no example, a label is not a class, or the state belongs to other weights or data.
        TargetError: the model's output is not that of a classifier.
        FileError: the state cannot be read or written.
        BiaspropError: the model cannot be explained; see `explain`.
    """
    explainer = model if isinstance(model, Explainer) else Explainer(model)
    ledger = _Ledger(_digest(explainer.model), None if state is None else Path(state))
    try:
        for batch in track(loader, "auditing", progress):
            x, labels = ledger.skip(*_checked(batch, explainer.model), lambda *first: _examine(explainer, *first))
            if len(x):
                ledger.add(_examine(explainer, x, labels))
    finally:  # what is done is kept, also when a later example is bad or the user interrupts
        ledger.write()
    return ledger.close()


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


def _examine(explainer: Explainer, x: Tensor, labels: Tensor) -> "_Entry":
    """One batch: what each part predicts, the predicted logit and its bias, and where that comes from."""
    linear, bias = explainer.split(x)
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
    return _Entry(
        {name: t.cpu() for name, t in found.items()},
        {(s.name, s.operation): (a.sum(), a.abs().sum()) for s, a in zip(sources, amounts, strict=True)},
        x,
    )


def _digest(model: nn.Module) -> str:
    """Of the weights: an audit is resumed with the same network only."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_raw(tensor))
    return digest.hexdigest()


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@dataclass(frozen=True, eq=False)
class _Entry:
    """What was found of consecutive examples: tensors ``(N, ...)``, and of each source amount and mass."""

    tensors: dict[str, Tensor]
    sources: dict[tuple[str, str], tuple[Tensor, Tensor]]
    x: Tensor | None = None
    digest: str = ""


class _Ledger:
    """The entries so far, in the order of the examples; each with a digest of all examples up to there."""

    def __init__(self, model: str, path: Path | None) -> None:
        """Goes on from what is in the file, if there is one."""
        self.model, self.path = model, path
        self.entries: list[_Entry] = []
        self.resumed = 0
        self.skipped = (0, "")
        if path is not None and path.exists():
            self._resume(path)
        self.saved, self.time, self.pause = len(self.entries), time.monotonic(), EVERY

    def skip(self, x: Tensor, labels: Tensor, examine: "Callable[[Tensor, Tensor], _Entry]") -> tuple[Tensor, Tensor]:
        """Without the examples that are done; these, and what the network says of the first, must be as they were."""
        seen, digest = self.skipped
        old = min(self.resumed - seen, len(x))
        if old and not seen:
            before, now = (e.tensors["outputs"][0] for e in (self.entries[0], examine(x[:1], labels[:1])))
            if not torch.isclose(before, now, rtol=1e-3, atol=1e-5):
                raise InputError(
                    f"The audit in {self.path} is of another network (its first logit was {before:.6g}, and is "
                    f"{now:.6g}) or other data: remove the file or choose another."
                )
        if old:
            self.skipped = seen + old, _followed(digest, x[:old], labels[:old])
            if self.skipped[0] == self.resumed and self.skipped[1] != self.entries[0].digest:
                raise InputError(
                    f"The first {self.resumed} examples are not those of the audit in {self.path}. Keep the loader's "
                    "order (shuffle=False, no random augmentation), remove the file, or choose another."
                )
        return x[old:], labels[old:]

    def add(self, entry: _Entry) -> None:
        """All of a batch or, whatever interrupts this, nothing."""
        assert entry.x is not None
        before = self.entries[-1].digest if self.entries else ""
        digest = _followed(before, entry.x, entry.tensors["labels"])
        self.entries.append(_Entry(entry.tensors, entry.sources, None, digest))
        if time.monotonic() - self.time > self.pause:
            started = time.monotonic()
            self.write()
            self.time = time.monotonic()
            self.pause = max(EVERY, 20 * (self.time - started))

    def write(self) -> None:
        """What is new, atomically."""
        if self.path is None or len(self.entries) == self.saved:
            return
        found = self.audit()
        tensors = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "sources"}
        header = {"model": self.model, "data": self.entries[-1].digest, "sources": found.sources}
        write_tensors(self.path, FORMAT, tensors, header)
        self.saved = len(self.entries)

    def audit(self) -> Audit:
        """What was found so far."""
        tensors = {name: torch.cat([e.tensors[name] for e in self.entries]) for name in self.entries[0].tensors}
        totals: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        for entry in self.entries:
            for source, (amount, mass) in entry.sources.items():
                before = totals.get(source, (0, 0))
                totals[source] = before[0] + amount, before[1] + mass
        nothing = torch.zeros(0, dtype=torch.float64)
        amounts, masses = (torch.stack([t[i] for t in totals.values()]) if totals else nothing for i in (0, 1))
        return Audit(**tensors, amounts=amounts, masses=masses, sources=tuple(totals))

    def close(self) -> Audit:
        """The audit, if the loader came as far as the file."""
        if not self.entries:
            raise InputError("The loader holds no example.")
        if self.skipped[0] < self.resumed:
            raise InputError(
                f"The data hold {self.skipped[0]} examples, but the audit in {self.path} had come to {self.resumed}: "
                "these are other data. Remove the file or choose another."
            )
        return self.audit()

    def _resume(self, path: Path) -> None:
        header, tensors = read_tensors(path, FORMAT)
        try:
            self._take(header, tensors, path)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileError(f"{path} is not a complete audit: {error!r}. Remove it or choose another.") from error

    def _take(self, header: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
        if header["model"] != self.model:
            raise InputError(
                f"The audit in {path} is of a model with other weights: remove the file or choose another."
            )
        amounts, masses = tensors.pop("amounts"), tensors.pop("masses")
        names = [(name, operation) for name, operation in header["sources"]]
        sources = {name: (a, m) for name, a, m in zip(names, amounts, masses, strict=True)}
        self.entries.append(_Entry(tensors, sources, None, header["data"]))
        self.resumed = len(tensors["labels"])


def _followed(digest: str, x: Tensor, labels: Tensor) -> str:
    """The digest after further examples; batches make no difference."""
    for example, label in zip(x, labels, strict=True):
        digest = hashlib.sha256(f"{digest} {int(label)}".encode() + _raw(example)).hexdigest()
    return digest
