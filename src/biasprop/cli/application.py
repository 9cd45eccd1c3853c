"""The typer application: every module of a package that offers ``register(app)`` is a subcommand."""

import importlib
import pkgutil
from types import ModuleType
from typing import Annotated

import typer

from ..version import __version__
from . import commands

__all__ = ["application", "subcommands"]


def application() -> typer.Typer:
    """The command line with all its subcommands."""
    app = typer.Typer(name="biasprop", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_biasprop)
    for subcommand in subcommands():
        subcommand.register(app)
    return app


def subcommands() -> list[ModuleType]:
    """The modules of `biasprop.cli.commands`, in alphabetical order; each has ``register(app: typer.Typer)``."""
    return [importlib.import_module(f"{commands.__name__}.{m.name}") for m in pkgutil.iter_modules(commands.__path__)]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"biasprop {__version__}")
        raise typer.Exit


def _biasprop(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Explain a network's prediction completely: f(x) = w.x + b, with b attributed to the inputs."""
