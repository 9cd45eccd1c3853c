"""Attributions of a whole data set as Parquet: begin or go on, block by block, until all of it is done."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..attribution import Explainer
from ..engines import Engine, Pool, blocks_of, is_ray_dataset, run
from ..errors import InputError, TargetError
from ..files import locked, make_folder
from ..loading import Classes, Encoder, Example, Item, Preparation, RowSource, Source, source_of
from ..modes import DEFAULT, Linearization
from ..progress import counting
from ..rules import Rule, name_of
from ..version import __version__
from .attributions import Attributions
from .columns import Keeping
from .folder import Folder, Writer
from .manifest import Manifest
from .worker import Asked, Found, Model, Network, Worker

__all__ = ["Job", "attribute"]

AT_ONCE = 4  # batches of the model in a block


@dataclass(frozen=True)
class Job:
    """All that is asked for: of which model, which data, what, and where the work is done.

    Attributes:
        model: the network.
        data: the data set, by position; or a ``ray.data.Dataset``.
        asked: about each example.
        pool: where.
        batch_size: examples that the model takes at once.
        strict: whether a bad record stops the job.
        retry: whether those that could not be explained are tried again.
        progress: whether it is shown how far it is.
    """

    model: Model
    data: Any
    asked: Asked
    preparation: Preparation
    classes: Classes | None = None
    pool: Pool = field(default_factory=Pool)
    batch_size: int = 8
    strict: bool = False
    retry: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"batch_size must be a positive whole number, not {self.batch_size!r}.")

    def run(self, out: Path) -> Attributions:
        """Begin, or go on; see `attribute`."""
        folder = Folder(make_folder(out))
        with locked(folder.manifest_path):
            self._run(folder)
        return Attributions(folder)

    def _run(self, folder: Folder) -> None:
        source = self._source(folder.path)
        folder.begin(self._manifest(source, folder.manifest().example["shape"] if folder.exists else None))
        if self.retry:
            folder.forget_errors()
        done = folder.done()
        writer = Writer(folder, folder.schema())
        blocks: Any
        if isinstance(source, RowSource):
            total, blocks, source = self.data.count(), self.data, replace(source, done=done)
        else:
            total = len(source)
            blocks = blocks_of((k for k in range(total) if source.id(k) not in done), AT_ONCE * self.batch_size)
        worker = Worker(self.model, source, self.asked, self.batch_size)
        with counting(total, "explaining", self.progress, "the same call goes on") as more:
            more(len(done))
            try:
                for found in run(worker, blocks, self.pool, AT_ONCE * self.batch_size):
                    self._require_good(found)
                    writer.add(found)
                    more(sum(len(some.ids) for some in found.rows) + len(found.errors))
            finally:  # what is done is kept, also when a later example is bad or the user interrupts
                writer.write()

    def _require_good(self, found: Found) -> None:
        if self.strict and found.errors:
            name, reason = found.errors[0]
            found.errors.clear()  # to be tried again
            raise InputError(f"{name}: {reason}")

    def _source(self, skip: Path) -> Source:
        if is_ray_dataset(self.data):
            columns = self.data.schema().names
            if "id" not in columns:
                raise InputError(
                    f"The Ray data set needs a column 'id' that tells its rows apart; it has {', '.join(columns)}."
                )
            return RowSource(self.preparation, "id", self.classes or Classes())
        return source_of(self.data, self.preparation, self.classes, skip)

    def _manifest(self, source: Source, shape: list[int] | None) -> Manifest:
        """What the job is, once the network has been captured for an example: nothing starts that cannot work.

        ``shape``: of the example that the job began with, which need no longer be the first.
        """
        model, encoder = self.model.made("cpu" if self.pool.engine == "ray" else None)
        source = source.encoded(encoder)
        first = self._first(source)
        assert first.item is not None
        explainer = Explainer(model, self.asked.linearization, check="once")
        shape = list(first.item.x.shape) if shape is None else shape
        x = _alike(first.item, shape, explainer, encoder)
        return Manifest(
            version=__version__,
            network=explainer.fingerprint(x),
            data=source.name,
            settings=self._settings(explainer, encoder),
            example={"shape": shape, "text": first.item.text is not None},
            features=first.item.feature_names,
            classes=source.classes,
        )

    def _first(self, source: Source) -> Example:
        """The first example that can be read."""
        if is_ray_dataset(self.data):
            batches: Iterable[Any] = (self.data.take_batch(1, batch_format="numpy"),)
        else:
            batches = ([k] for k in range(len(source)))
        reason = "it is empty"
        for batch in batches:
            for example in source.take(batch):
                if example.item is not None:
                    return example
                reason = example.error
                if self.strict:
                    raise InputError(f"{example.id}: {example.error}")
        raise InputError(f"No example of the data set can be explained: {reason}.")

    def _settings(self, explainer: Explainer, encoder: Encoder | None) -> dict[str, Any]:
        """Everything that changes results, as plain values; how they are called is for people to read."""
        prepared = asdict(replace(self.preparation, encoder=None, rows=slice(None)))
        del prepared["encoder"], prepared["rows"]
        handover = self.asked.handover
        settings = {
            "target": _target(self.asked.target),
            "rule": _rule(self.asked.rule),
            "temperature": self.asked.temperature,
            "linearization": str(explainer.modes),
            "handover": [handover] if isinstance(handover, str) else list(handover or ()),
            "terms": self.asked.terms,
            "keeping": asdict(self.asked.keeping),
            "preparation": prepared,
            "tokenizer": None if encoder is None else _vocabulary(encoder.tokenizer),
        }
        return dict(json.loads(json.dumps(settings)))


def attribute(
    dataset: Any,
    model: Network,
    out: str | PathLike[str],
    *,
    target: Any = "predicted",
    rule: Any = "bias1",
    temperature: float = 1.0,
    linearization: Linearization = DEFAULT,
    handover: str | Sequence[str] | None = None,
    terms: bool = False,
    map_size: int = 56,
    half: bool = False,
    sources: bool = True,
    preparation: Preparation | None = None,
    classes: Sequence[str] | None = None,
    tokenizer: Any = None,
    batch_size: int = 8,
    device: str | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    gpus: float = 0.0,
    strict: bool = False,
    retry: bool = False,
    progress: bool = True,
) -> Attributions:
    """Explain every example of a data set, into a folder of Parquet files (docs/scale.md has their columns).

    Whatever interrupts it, the same call goes on where it stopped, also when the data set has grown: no example is lost
    and none is there twice.

    Args:
        dataset: a path, or several: images, folders of them, ``.npz``, ``.csv``, ``.parquet``, ``.txt``, a folder of
            ``datasets.Dataset.save_to_disk``; a ``torch.utils.data.Dataset`` or another object with ``len`` and an
            example at each index; or a ``ray.data.Dataset`` with a column ``id``.
        model: a module in eval mode, a SPEC such as ``"torchvision:resnet50"``, or a function that makes the model,
            with its tokenizer if it has one, in each worker.
        out: the folder.
        target: ``"predicted"``, ``"label"`` (the true class), an index, or a tuple of indices.
        rule: as in `explain`; likewise ``temperature``, ``linearization`` and ``handover``.
        terms: also keep which class ``w.x`` alone and ``b`` alone predict.
        map_size: of images, the longest side of a map at most: attributions are summed over patches. 0 keeps none.
        half: keep attributions in float16, not float32.
        sources: keep the amount of each bias source; with a hand-over that costs a gradient.
        preparation: how images, tables and texts become tensors; default: as for networks trained on ImageNet.
        classes: their names.
        tokenizer: what makes token ids of texts.
        batch_size: examples that the model takes at once.
        device: where the model runs; default: where it is, with ``gpus`` a GPU.
        engine: ``"local"``, or ``"ray"``: actors on this machine or on the cluster that Ray is connected to.
        workers: of Ray, how many; default: one for each CPU, or share of a GPU.
        gpus: of each worker of Ray; may be a fraction.
        strict: stop at the first example that cannot be explained; else it is named in a table, and ``retry`` tries it.
        progress: show how far it is.

    Returns:
        The `Attributions` in the folder.

    Raises:
        InputError: the data set cannot be read, or the folder is of another job.
        FileError: the folder cannot be used, or another job is using it.
        MissingExtra: pyarrow, Ray or another package is not installed.
        BiaspropError: the model cannot be explained; see `explain`.
    """
    asked = Asked(target, rule, temperature, linearization, handover, terms, Keeping(map_size, half, sources))
    names = None if classes is None else Classes(list(classes), {name: i for i, name in enumerate(classes)})
    made, pool = Model(model, device or ("cuda" if gpus else None), tokenizer), Pool(engine, workers, gpus)
    job = Job(made, dataset, asked, preparation or Preparation(), names, pool, batch_size, strict, retry, progress)
    return job.run(Path(out))


def _alike(item: Item, shape: Sequence[int], explainer: Explainer, encoder: Encoder | None) -> Any:
    """An example that is the same whatever the data begin with, but for its shape."""
    parameter = next(explainer.model.parameters(), torch.empty(0))
    if item.text is not None and encoder is not None:
        ids = torch.ones(1, 2, dtype=torch.long, device=parameter.device)
        return {name: ids.clone() for name in encoder.batch(["a"])}
    return torch.zeros(1, *shape).to(parameter.device, parameter.dtype if item.x.is_floating_point() else item.x.dtype)


def _target(target: Any) -> Any:
    index = target if isinstance(target, tuple | list) else (target,)
    if target in ("predicted", "label") or (index and all(type(one) is int for one in index)):
        return list(target) if isinstance(target, tuple | list) else target
    raise TargetError(
        f"The target of a data set must be 'predicted', 'label', an index or a tuple of them, not {target!r}."
    )


def _rule(rule: Any) -> str:
    """Its name; of a rule of the user's own also what it holds."""
    if isinstance(rule, tuple):
        return "/".join(map(_rule, rule))
    if isinstance(rule, str):
        return rule
    held = vars(rule) if isinstance(rule, Rule) and hasattr(rule, "__dict__") else {}
    return f"{name_of(rule)} {sorted(held.items())}" if held else name_of(rule)


def _vocabulary(tokenizer: Any) -> str:
    words: Callable[[], dict[str, int]] = tokenizer.get_vocab
    return hashlib.sha256(json.dumps(sorted(words().items())).encode()).hexdigest()
