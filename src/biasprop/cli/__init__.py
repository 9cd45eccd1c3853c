"""The command line: ``biasprop explain``, ``biasprop audit``, ``biasprop demo``, ``biasprop xdnn``.

Each module of `biasprop.cli.commands` is a subcommand; a further one is a further file there. Nothing here is imported
from typer or rich before they are known to be installed.
"""

import sys
from collections.abc import Callable

from ..errors import BiaspropError
from ..extras import require
from .screen import say

__all__ = ["guarded", "main"]


def main() -> None:
    """Run the command line."""
    guarded(_run)


def guarded(command: Callable[[], object]) -> None:
    """Run a command; errors of ours are one message, no traceback, exit status 2."""
    try:
        command()
    except BiaspropError as error:
        say(f"error: {error}", sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        say("error: Out of memory. Take fewer inputs at once (--batch-size) or smaller ones.", sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(f"interrupted {error}".strip(), file=sys.stderr)
        sys.exit(130)


def _out_of_memory(error: Exception) -> bool:
    """PyTorch has an error of its own for GPUs, and none for the CPU."""
    said = "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or said


def _run() -> None:
    for module in ("typer", "rich", "PIL", "matplotlib"):
        require(module, "cli")
    from .application import application

    application()()
