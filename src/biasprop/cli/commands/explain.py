"""``biasprop explain``: explain images, arrays, rows or texts with a model, print what one can repeat, draw it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from typer import BadParameter, Option, Typer

from ...attribution import Explainer
from ...files import make_folder
from ...loading import (
    Classes,
    Encoder,
    Item,
    batches,
    has_texts,
    read,
    require_logits,
    text_items,
)
from ...modes import DEFAULT, Linearization
from ..explained import Explained
from ..groups import with_groups
from ..options import (
    BatchSize,
    ClassNames,
    Device,
    InputsOrTexts,
    KeptOptions,
    Mode,
    ModelOptions,
    ReadingOptions,
    Texts,
    difference_of,
    target_of,
)
from ..outputs import Sources, folded
from ..screen import shown

__all__ = ["explain", "register"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(
        epilog="Example: biasprop explain photos/ --model torchvision:resnet50 --classes imagenet_classes.txt --html"
    )(explain)


@with_groups
def explain(
    inputs: InputsOrTexts = None,
    *,
    network: ModelOptions,
    text: Texts = None,
    target: Annotated[
        str, Option(help="Which output: 'predicted', a class, an index such as 3 or 0,1, or a difference, 'a - b'.")
    ] = "predicted",
    rule: Annotated[
        str,
        Option(
            help="bias1 (compensation), bias2 (equal share), bias3 (positive share); bias1/bias3: below a hand-over."
        ),
    ] = "bias1",
    temperature: Annotated[float, Option(help="T of bias1 and bias2.")] = 1.0,
    linearization: Mode = DEFAULT,
    handover: Annotated[
        list[str] | None,
        Option(help="Below this tensor share all of the attribution by alpha; auto; repeat for a mean."),
    ] = None,
    sources: Annotated[list[str] | None, Option(help="Only bias sources that match, e.g. 'features.*'.")] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder for pictures and summary.json.")] = Path(
        "biasprop-out"
    ),
    top: Annotated[
        int, Option(help="Also explain the likeliest other classes of each input, so many in all.", min=1)
    ] = 1,
    kept: KeptOptions,
    classes: ClassNames = None,
    reading: ReadingOptions,
    batch_size: BatchSize = 4,
    device: Device = "cpu",
) -> None:
    """Explain predictions: how much comes from the inputs through the weights, and how much through the bias."""
    paths, texts = inputs or [], text or []
    if not paths and not texts:
        raise BadParameter("there is nothing to explain: give files, or --text")
    how = reading.preparation()
    files = Sources.of(paths, output, *network.files, classes)
    files.refuse(output / "summary.json")
    total = len(texts) + len(read(paths, how, output))
    folder = make_folder(output)
    explainer = Explainer(network.load(device), linearization=cast(Linearization, linearization))
    encoder = network.encoder(explainer.model) if texts or has_texts(paths) else None
    how = replace(how, encoder=encoder)
    names = Classes.read(classes) if classes else network.classes(explainer.model)
    index = difference_of(target, names) or target_of(target, names, "predicted")
    found = Explained(output, names, kept, encoder, index == "predicted", top)
    items = _unique(chain(text_items(texts, how), read(paths, how, folder)), found.taken(files))
    try:
        with _bar() as progress:
            task = progress.add_task("capturing the network", total=total)
            for batch in batches(items, batch_size, encoder is not None and encoder.pads):
                x = _together(batch, encoder, device)
                if not found.rows:
                    if network.is_hf:
                        require_logits(explainer.model, x)
                    explainer.graph(explainer.check(x))
                    progress.update(task, description="explaining")
                explanation = explainer(x, index, rule, temperature, sources=sources, handover=handover)
                found.count_correct(explainer, x, batch)
                for i, item in enumerate(batch):
                    found.add(explanation, i, item)
                    progress.advance(task)
    finally:  # what is done is kept, also when a later input is bad
        found.write()
    found.report()


def _bar() -> Progress:
    """On standard error, gone when done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _together(batch: list[Item], encoder: Encoder | None, device: str) -> Any:
    """What the model takes of a batch: a tensor, or of texts a mapping."""
    texts = [item.text for item in batch if item.text is not None]
    if encoder is None or not texts:
        return torch.stack([item.x for item in batch]).to(device)
    return {name: tensor.to(device) for name, tensor in encoder.batch(texts).items()}


def _unique(items: Iterator[Item], taken: Callable[[str], bool]) -> Iterator[Item]:
    """Files of one name in several folders get a number, so that no result overwrites another, or an input."""
    given: dict[str, int] = {}
    for item in items:
        plain = _file_name(item.name)
        number = given.get(folded(plain), 0) + 1
        while folded(name := plain if number == 1 else f"{plain}_{number}") in given or taken(name):
            number += 1
        given[folded(plain)] = number
        given.setdefault(folded(name), 1)
        yield replace(item, name=name)


def _file_name(name: str) -> str:
    """A name that every disk and terminal takes; room is left for a number and an ending."""
    plain = "".join("_" if shown(letter) != letter else letter for letter in name)
    return plain.encode()[:200].decode(errors="ignore")
