"""``biasprop compile``: the kernels of the CPU, before they are needed."""

from typer import Typer

from ...kernels import compile_ahead
from ..screen import say

__all__ = ["compile_kernels", "register"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command("compile", epilog="Example: biasprop compile")(compile_kernels)


def compile_kernels() -> None:
    """Compile the kernels of this processor now, half a minute, so that no first explanation has to.

    For images of containers, or before something is timed; an upgrade of biasprop or Numba compiles them anew.
    """
    say(f"The kernels are compiled, and kept in {compile_ahead()}.")
