"""``biasprop explain``: explain images, arrays or table rows with a model, print what a person can repeat, draw it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from typer import BadParameter, Option

from ..errors import FileError, InputError
from ..explainer import Explainer
from ..explanation import Explanation
from ..files import make_folder, write_atomically
from ..summary import equation
from .classes import Classes
from .inputs import Item, batches, count, read
from .models import load_model
from .options import (
    BatchSize,
    ClassNames,
    Crop,
    Device,
    Drop,
    Grey,
    Inputs,
    Key,
    Mean,
    Model,
    Resize,
    Rows,
    Std,
    Weights,
    preparation,
)

__all__ = ["explain"]

LINES = 20  # so many inputs are printed one by one; summary.json has all


@dataclass
class Totals:
    """What is summed up over all inputs."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    correct: dict[str, int] = field(default_factory=lambda: {"w.x + b": 0, "w.x alone": 0, "b alone": 0})
    labelled: int = 0

    def lines(self) -> list[str]:
        """The summary: a few lines a person can repeat to a colleague."""
        f = np.array([row["output"] for row in self.rows])
        b = np.array([row["bias"] for row in self.rows])
        worst = max(row["completeness_error"] for row in self.rows)
        share = np.median(100 * b[f != 0] / f[f != 0]) if (f != 0).any() else 0.0
        lines = [
            f"{len(self.rows)} prediction{'s' if len(self.rows) > 1 else ''} explained: b is "
            f"{'a median ' if len(self.rows) > 1 else ''}{share:.0f} % of the output; complete to {worst:.0e} at worst."
        ]
        if self.labelled:
            shares = ", ".join(f"{100 * n / self.labelled:.1f} % with {name}" for name, n in self.correct.items())
            lines.append(f"Accuracy on {self.labelled} labelled inputs: {shares}.")
        return lines


def explain(
    inputs: Inputs,
    model: Model,
    weights: Weights = None,
    target: Annotated[str, Option(help="Which output: 'predicted' or an index such as 3 or 0,1.")] = "predicted",
    rule: Annotated[str, Option(help="bias1 (compensation), bias2 (equal share), bias3 (positive share).")] = "bias1",
    temperature: Annotated[float, Option(help="T of bias1 and bias2.")] = 1.0,
    sources: Annotated[list[str] | None, Option(help="Only bias sources that match, e.g. 'features.*'.")] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder for pictures and summary.json.")] = Path(
        "biasprop-out"
    ),
    pictures: Annotated[int | None, Option(help="Draw at most so many inputs; default: all.", min=0)] = None,
    patch: Annotated[int | None, Option(help="Side of the patches in pixels.", min=1)] = None,
    save: Annotated[bool, Option("--save", help="Also save each explanation as .safetensors.")] = False,
    classes: ClassNames = None,
    resize: Resize = 256,
    crop: Crop = 224,
    mean: Mean = "0.485,0.456,0.406",
    std: Std = "0.229,0.224,0.225",
    grey: Grey = False,
    key: Key = None,
    rows: Rows = ":",
    drop: Drop = None,
    batch_size: BatchSize = 4,
    device: Device = "cpu",
) -> None:
    """Explain predictions: how much comes from the inputs through the weights, and how much through the bias."""
    console, progress_console = Console(highlight=False, soft_wrap=True), Console(stderr=True)
    how = preparation(resize, crop, mean, std, grey, key, rows, drop)
    folder = make_folder(output)
    names = Classes.read(classes)
    if folder.resolve() in [path.resolve() for path in inputs]:
        raise FileError(f"The output folder {folder} is also the input: choose another with --output.")
    total = count(inputs, how, folder)
    explainer = Explainer(load_model(model, weights, device))
    totals = Totals()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=progress_console, transient=True) as progress:
            task = progress.add_task("explaining", total=total)
            for batch in batches(_unique(read(inputs, how, folder), folder), batch_size):
                x = torch.stack([item.x for item in batch]).to(device)
                explanation = explainer(x, _target(target), rule, temperature, sources=sources)
                _count_correct(totals, explainer, x, [names.label(item) for item in batch])
                for i, item in enumerate(batch):
                    row = _report(
                        explanation, i, item, names, folder, patch, draw=pictures is None or len(totals.rows) < pictures
                    )
                    totals.rows.append(row)
                    if len(totals.rows) <= LINES:
                        console.print(f"{item.name}: {row['target']}, {row['equation']}", markup=False)
                    if save:
                        explanation.example(i).save(folder / f"{item.name}.safetensors")
                    progress.advance(task)
    finally:  # what is done is kept, also when a later input is bad
        if totals.rows:
            _write_summary(folder, totals)
    if not totals.rows:
        raise InputError("No input was selected: check --rows.")
    console.print("\n".join(totals.lines()), markup=False)
    drawn = len(totals.rows) if pictures is None else min(pictures, len(totals.rows))
    console.print(f"{drawn} picture{'s' if drawn != 1 else ''} and summary.json in {folder}", markup=False)


def _unique(items: Iterator[Item], folder: Path) -> Iterator[Item]:
    """Files of one name in several folders get a number, so that no result overwrites another, or an input."""
    taken: set[str] = set()
    for item in items:
        name, number = item.name, 1
        while name in taken or (folder / f"{name}.png").resolve() == item.path.resolve():
            number += 1
            name = f"{item.name}_{number}"
        taken.add(name)
        yield replace(item, name=name)


def _report(
    explanation: Explanation, i: int, item: Item, names: Classes, folder: Path, patch: int | None, draw: bool
) -> dict[str, Any]:
    """One row of the summary; draws the picture."""
    chosen = explanation.target[i] if isinstance(explanation.target, list) and explanation.target else 0
    label = names.label(item)
    row = {
        "name": item.name,
        "target": names.name(chosen),
        "output": explanation.output[i].item(),
        "bias": explanation.bias[i].item(),
        "unattributed": explanation.unattributed[i].item(),
        "completeness_error": explanation.completeness_error[i].item(),
        "equation": equation(explanation, i),
        **({"label": names.name(label)} if label is not None else {}),
    }
    if draw:
        title = f"{item.name}: {row['target']}"
        figure = explanation.plot(i, image=item.picture, feature_names=item.feature_names, patch=patch, title=title)
        write_atomically(folder / f"{item.name}.png", partial(figure.savefig, dpi=110))
    return row


def _count_correct(totals: Totals, explainer: Explainer, x: Tensor, labels: list[int | None]) -> None:
    """Which class each part of the network alone would predict (the paper's Table 1), where labels are known."""
    known = [i for i, label in enumerate(labels) if label is not None]
    if not known:
        return
    linear, bias = explainer.split(x[known])
    if not isinstance(linear, Tensor) or linear.dim() != 2:
        return  # not a classifier
    truth = torch.tensor([labels[i] for i in known], device=x.device)
    for name, logits in (("w.x + b", linear + bias), ("w.x alone", linear), ("b alone", bias)):
        totals.correct[name] += int((logits.argmax(1) == truth).sum())
    totals.labelled += len(known)


def _write_summary(folder: Path, totals: Totals) -> None:
    accuracy = {name: n / totals.labelled for name, n in totals.correct.items()} if totals.labelled else None
    content = json.dumps(
        {"summary": totals.lines(), "accuracy": accuracy, "inputs": totals.rows}, indent=1, ensure_ascii=False
    )
    write_atomically(folder / "summary.json", lambda file: file.write_text(content, encoding="utf-8"))


def _target(text: str) -> Any:
    if text == "predicted":
        return text
    try:
        index = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadParameter(f"--target must be 'predicted' or an index such as 3 or 0,1, not {text!r}") from error
    return index[0] if len(index) == 1 else index
