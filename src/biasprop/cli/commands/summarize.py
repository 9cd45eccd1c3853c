"""``biasprop summarize``: what the attributions of a data set say together."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from ...datasets import summarize as run
from ...files import write_atomically
from ..screen import say

__all__ = ["register", "summarize"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(epilog="Example: biasprop summarize maps --by label")(summarize)


def summarize(
    folder: Annotated[Path, Argument(help="What 'biasprop map' has written.")],
    by: Annotated[str, Option(help="Classes: 'target', those explained, or 'label', the true ones.")] = "target",
    most: Annotated[int, Option(help="How many examples that stand out are named.", min=0)] = 5,
) -> None:
    """Sum up attributions: mean maps and shares of the bias by class, sources, what stands out.

    Writes summary.json and summary.png into the folder.
    """
    found = run(folder, by, most)
    text = json.dumps(found.figures(), indent=1)
    write_atomically(folder / "summary.json", lambda file: file.write_text(text, encoding="utf-8"))
    write_atomically(folder / "summary.png", partial(found.plot().savefig, dpi=110))
    say(found)
    say(f"summary.json and summary.png in {folder}")
