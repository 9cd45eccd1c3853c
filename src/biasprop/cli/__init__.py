"""The command line: ``biasprop explain``, ``biasprop audit``, ``biasprop demo``, ``biasprop xdnn``."""

import sys
from collections.abc import Callable

import typer

from ..errors import BiaspropError
from .audit import audit
from .demo import demo
from .explain import explain
from .xdnn import xdnn

__all__ = ["app", "guarded", "main"]

app = typer.Typer(
    name="biasprop",
    help="Explain a network's prediction completely: f(x) = w.x + b, with b attributed to the inputs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(explain)
app.command()(audit)
app.command()(demo)
app.add_typer(xdnn, name="xdnn")


def main() -> None:
    """Run the command line."""
    guarded(app)


def guarded(command: Callable[[], object]) -> None:
    """Run a command; errors of ours are one message, no traceback, exit status 2."""
    try:
        command()
    except BiaspropError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
