"""``biasprop report``: the interactive page of an audit, or of the attributions of a data set."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, Typer

from ...auditing import Audit
from ...datasets import summarize
from ...errors import FileError
from ...loading import Classes, source_of
from ..groups import with_groups
from ..options import ReadingOptions
from ..screen import say, shown

__all__ = ["register", "report"]

LARGEST = 2**26  # bytes of an audit.json


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(epilog="Example: biasprop report maps photos/")(report)


@with_groups
def report(
    folder: Annotated[Path, Argument(help="What 'biasprop audit' or 'biasprop map' has written.")],
    data: Annotated[
        list[Path] | None, Argument(help="Of attributions: the data set, so that examples are shown with their photos.")
    ] = None,
    *,
    by: Annotated[
        str, Option(help="Attributions: classes are 'target', those explained, or 'label', the true ones.")
    ] = "target",
    most: Annotated[int, Option(help="Attributions: how many examples of each kind can be opened.", min=0)] = 8,
    reading: ReadingOptions,
) -> None:
    """Make one page of an audit, or of the attributions of a data set: report.html in the folder.

    It needs no network and no server: accuracies, how much is bias, where it comes from, classes, examples to open.
    An audit keeps no maps, so that its examples are only there if the audit itself makes the page: audit --html.
    """
    page = folder / "report.html"
    if (folder / "manifest.json").is_file():
        source = source_of([Path(os.path.abspath(path)) for path in data], reading.preparation()) if data else None
        found = summarize(folder, by, most)
        found.html(page, source)
        say(found.headline())
    elif (folder / "audit.safetensors").is_file():
        say(_of_audit(folder, page))
    else:
        raise FileError(f"{folder} holds neither attributions (manifest.json) nor an audit (audit.safetensors).")
    say(f"{page}")


def _of_audit(folder: Path, page: Path) -> str:
    about = _about(folder / "audit.json")
    names = about.get("classes")
    names = [str(one) for one in names] if isinstance(names, list) else []
    left = about.get("errors")
    left = [one for one in left if isinstance(one, dict)] if isinstance(left, list) else []
    errors = [(str(one.get("id")), str(one.get("reason"))) for one in left]
    audit = Audit.of(folder / "audit.safetensors", errors)
    data = about.get("data")
    places = [Path(str(one)).name for one in data] if isinstance(data, list) else []
    title = f"{about.get('model', 'audit')} on {', '.join(places[:3])}" if places else "audit"
    audit.html(page, title=shown(title), classes=[Classes([one]).name(0) for one in names])
    return audit.summary()


def _about(path: Path) -> dict[str, Any]:
    """What the audit is of; nothing where it was interrupted before it was written."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"Cannot read {path}: {error}. Run the audit again, which writes it anew.") from error
    return found if isinstance(found, dict) else {}
