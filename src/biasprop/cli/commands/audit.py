"""``biasprop audit``: how much of a classifier's predictions is bias, over labelled data."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from typer import Option, Typer

from ...auditing import Audit, audit_source
from ...files import make_folder, write_atomically
from ...loading import Classes, source_of
from ...modes import DEFAULT, Linearization
from ..groups import with_groups
from ..networks import Made
from ..options import BatchSize, ClassNames, Inputs, Mode, ModelOptions, PoolOptions, ReadingOptions
from ..outputs import Sources
from ..screen import say, shown

__all__ = ["audit", "register"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(
        epilog="Example: biasprop audit validation/ --model torchvision:resnet50 --classes imagenet_classes.txt"
    )(audit)


@with_groups
def audit(
    data: Inputs,
    network: ModelOptions,
    *,
    labels: Annotated[
        str | None, Option(help="Arrays: the array of labels (default for --key x_test: y_test). Tables: the column.")
    ] = None,
    output: Annotated[
        Path,
        Option("--output", "-o", help="Folder for audit.json, audit.png and the state to go on from."),
    ] = Path("biasprop-audit"),
    linearization: Mode = DEFAULT,
    classes: ClassNames = None,
    reading: ReadingOptions,
    batch_size: BatchSize = 16,
    html: Annotated[
        bool, Option("--html", help="Also report.html, a page on which examples that stand out open with their maps.")
    ] = False,
    pool: PoolOptions,
) -> None:
    """Audit a classifier: accuracy of w.x + b, of w.x alone and of b alone, and where b comes from.

    Goes on where an interrupted audit stopped; the same command a second time only reads the data again.
    """
    how = reading.preparation(labels)
    sources = Sources.of(data, output, *network.files, classes)
    sources.refuse(*(output / name for name in ("audit.json", "audit.png", "audit.safetensors", "report.html")))
    names = Classes.read(classes) if classes is not None else Classes.of_folders(data, output)
    folder = make_folder(output)
    local = pool.pool().engine == "local"
    given = source_of([path if local else Path(os.path.abspath(path)) for path in data], how, names, folder)
    make = Made(network.absolute(), os.getcwd(), pool.where, cast(Linearization, linearization))
    explainer = make() if local else replace(make, device="cpu")()
    worker = (lambda: explainer) if local else make
    found = audit_source(explainer, worker, given, folder / "audit.safetensors", pool.pool(), batch_size)
    title = _title(network.model, data)
    _write(found, folder, title, {"model": network.model, "data": [str(path) for path in data], "classes": names.names})
    if html:
        called = [names.name(i) for i in range(len(names.names))]
        found.html(folder / "report.html", title=title, classes=called, model=explainer, data=given)
    say(found)
    for name, reason in found.errors[:3]:
        say(f"left out: {name}: {reason}")
    say(f"{'audit.json, audit.png and report.html' if html else 'audit.json and audit.png'} in {folder}")


def _title(model: str, data: Sequence[Path]) -> str:
    """Of the network and the data."""
    places = [shown(path.name) for path in data]
    return f"{shown(model)} on {', '.join(places[:3])}{' and more' * (len(places) > 3)}"


def _write(found: Audit, folder: Path, title: str, about: dict[str, Any]) -> None:
    """The figures and the picture."""
    text = json.dumps({**about, **found.figures()}, indent=1)
    write_atomically(folder / "audit.json", lambda file: file.write_text(text, encoding="utf-8"))
    figure = found.plot(title)
    write_atomically(folder / "audit.png", partial(figure.savefig, dpi=110))
