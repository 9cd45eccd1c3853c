"""What every experiment shares: its settings, its parts that are not computed twice, its results."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from matplotlib.figure import Figure
from rich.console import Console

from biasprop import InputError
from biasprop.files import make_folder, write_atomically

from .subjects import Checkpoint, Pair, Source, Subject, of_checkpoint, of_training, without_bias

__all__ = ["Experiment", "Outcome", "Study", "execute", "read_results"]

C = TypeVar("C")


@dataclass(frozen=True)
class Outcome:
    """What an experiment found: figures for JSON, and pictures by name.

    ``photographs`` are pictures that show images which may be used but not passed on: they stay out of the repository.
    """

    figures: dict[str, Any]
    pictures: dict[str, Figure] = field(default_factory=dict)
    photographs: dict[str, Figure] = field(default_factory=dict)

    def show(self, subject: Subject, name: str, figure: Figure) -> None:
        """Add a picture with images of a subject."""
        (self.pictures if subject.shareable else self.photographs)[name] = figure


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """One table or figure of a paper.

    Attributes:
        title: one line.
        config: what it does by default: a dataclass.
        smoke: the same in seconds.
        run: does it.
        report: from its figures to Markdown: the paper's and ours, and what differs and why.
    """

    title: str
    config: C
    smoke: C
    run: "Callable[[Study[C]], Outcome]"
    report: Callable[[dict[str, Any]], str]


@dataclass
class Study(Generic[C]):
    """One run of an experiment."""

    name: str
    config: C
    seed: int
    smoke: bool
    results: Path
    runs: Path
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides about the figures."""
        return {"config": json.loads(json.dumps(asdict(self.config))), "seed": self.seed, "smoke": self.smoke}  # type: ignore[call-overload]

    @property
    def _file(self) -> Path:
        return self.runs / f"{self.name}.parts.json"

    def resume(self) -> None:
        """Take up the parts of an earlier run with the same settings."""
        if self._file.exists():
            saved = json.loads(self._file.read_text(encoding="utf-8"))
            if saved["settings"] == self.settings:
                self.parts = saved["parts"]

    def part(self, key: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """``compute(*arguments)``, plain values: computed once, kept in the runs folder."""
        if key not in self.parts:
            Console(stderr=True, highlight=False).print(f"{self.name}: {key}", markup=False)
            self.parts[key] = json.loads(json.dumps(compute(*arguments)))
            _write_json(self._file, {"settings": self.settings, "parts": self.parts})
        return self.parts[key]

    def shared(self, store: str, key: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """The same for a result that several experiments use; it depends on the seed and on what the key says."""
        path = self.runs / f"{store}.parts.json"
        key = f"{'smoke, ' * self.smoke}seed {self.seed}: {key}"
        saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if key not in saved:
            Console(stderr=True, highlight=False).print(f"{self.name}: {key}", markup=False)
            saved[key] = json.loads(json.dumps(compute(*arguments)))
            _write_json(path, saved)
        return saved[key]

    def subject(self, source: Source) -> Subject:
        """A network and its test data; trained now if it is not yet."""
        if isinstance(source, Checkpoint):
            return of_checkpoint(source)
        source = replace(source, seed=self.seed)
        if self.smoke:
            source = replace(source, epochs=1, limit=256)
        return of_training(source, self.runs)

    def pair(self, pair: Pair) -> tuple[Subject, Subject]:
        """A network with biases and one without."""
        regular, free = pair
        if free is None:
            if isinstance(regular, Checkpoint):
                raise InputError(f"Name the network without biases that goes with {regular.model}.")
            free = without_bias(regular)
        return self.subject(regular), self.subject(free)


def execute(study: Study[Any], experiment: Experiment[Any]) -> dict[str, Any]:
    """Run, and write ``NAME.json`` and ``NAME-*.png`` into the results folder."""
    make_folder(study.results)
    make_folder(study.runs)
    study.resume()
    torch.manual_seed(study.seed)
    outcome = experiment.run(study)
    made = {
        "experiment": experiment.title,
        **study.settings,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "photographs": sorted(outcome.photographs),
        "figures": outcome.figures,
    }
    drawn = {f"{study.name}-{name}.png": figure for name, figure in outcome.pictures.items()}
    drawn |= {f"photo-{study.name}-{name}.png": figure for name, figure in outcome.photographs.items()}
    for pattern in (f"{study.name}-*.png", f"photo-{study.name}-*.png"):
        for old in study.results.glob(pattern):
            if old.name not in drawn:
                old.unlink()
    for name, figure in drawn.items():
        write_atomically(study.results / name, partial(figure.savefig, dpi=100))
    _write_json(study.results / f"{study.name}.json", made)
    return made


def read_results(folder: Path, name: str) -> dict[str, Any] | None:
    """What `execute` wrote, if it did."""
    path = folder / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))
