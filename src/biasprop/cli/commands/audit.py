"""``biasprop audit``: how much of a classifier's predictions is bias, over labelled data."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import torch
from torch import Tensor
from typer import Option, Typer

from ...attribution import Explainer
from ...auditing import Audit
from ...auditing import audit as run
from ...errors import InputError
from ...files import make_folder, write_atomically
from ...loading import Classes, Preparation, batches, read
from ...modes import DEFAULT, Linearization
from ..groups import with_groups
from ..options import BatchSize, ClassNames, Device, Inputs, Mode, ModelOptions, ReadingOptions
from ..outputs import Sources
from ..screen import say, shown

__all__ = ["audit", "register"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command()(audit)


class _Labelled:
    """Batches ``(x, labels)`` of the inputs, in their order."""

    def __init__(self, inputs: Sequence[Path], how: Preparation, classes: Classes, size: int, output: Path) -> None:
        self.inputs, self.how, self.classes, self.size, self.output = inputs, how, classes, size, output

    def __len__(self) -> int:
        return -(-len(read(self.inputs, self.how, self.output)) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches(read(self.inputs, self.how, self.output), self.size):
            labels = [self.classes.label(item) for item in batch]
            if None in labels:
                item = batch[labels.index(None)]
                what = "has no label" if item.label is None else f"has the label {item.label!r}, which is no class"
                raise InputError(
                    f"{item.name} of {item.path} {what}. Name the array "
                    "or column that holds it with --labels; images take it from their sub-folder, or with --classes "
                    "from the id that their name begins with."
                )
            yield torch.stack([item.x for item in batch]), torch.tensor(labels)


@with_groups
def audit(
    data: Inputs,
    network: ModelOptions,
    *,
    labels: Annotated[
        str | None, Option(help="Arrays: the array of labels (default for --key x_test: y_test). Tables: the column.")
    ] = None,
    output: Annotated[
        Path, Option("--output", "-o", help="Folder for audit.json, audit.png and the state to go on from.")
    ] = Path("biasprop-audit"),
    linearization: Mode = DEFAULT,
    classes: ClassNames = None,
    reading: ReadingOptions,
    batch_size: BatchSize = 16,
    device: Device = "cpu",
) -> None:
    """Audit a classifier: accuracy of w.x + b, of w.x alone and of b alone, and where b comes from.

    Goes on where an interrupted audit stopped; the same command a second time only reads the data again.
    """
    how = reading.preparation(labels)
    sources = Sources.of(data, output, *network.files, classes)
    sources.refuse(*(output / name for name in ("audit.json", "audit.png", "audit.safetensors")))
    names = Classes.read(classes) if classes is not None else Classes.of_folders(data, output)
    folder = make_folder(output)
    loader = _Labelled(data, how, names, batch_size, folder)
    explainer = Explainer(network.load(device), linearization=cast(Linearization, linearization))
    found = run(explainer, loader, state=folder / "audit.safetensors")
    _write(found, folder, network.model, data)
    say(found)
    say(f"audit.json and audit.png in {folder}")


def _write(found: Audit, folder: Path, model: str, data: Sequence[Path]) -> None:
    """The figures and the picture."""
    text = json.dumps({"model": model, "data": [str(path) for path in data], **found.figures()}, indent=1)
    write_atomically(folder / "audit.json", lambda file: file.write_text(text, encoding="utf-8"))
    places = [shown(path.name) for path in data]
    figure = found.plot(f"{shown(model)} on {', '.join(places[:3])}{' and more' * (len(places) > 3)}")
    write_atomically(folder / "audit.png", partial(figure.savefig, dpi=110))
