"""The command line: ``biasprop explain``, ``biasprop audit``, ``biasprop demo``, ``biasprop xdnn``.

Each module of `biasprop.cli.commands` is a subcommand; a further one is a further file there. Nothing here is imported
from typer or rich before they are known to be installed.
"""

import sys
from collections.abc import Callable

from ..errors import BiaspropError
from ..extras import require

__all__ = ["guarded", "main"]


def main() -> None:
    """Run the command line."""
    guarded(_run)


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


def _run() -> None:
    for module in ("typer", "rich", "PIL", "matplotlib"):
        require(module, "cli")
    from .application import application

    application()()
