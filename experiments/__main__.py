"""``python -m experiments run e4``: redo a table or figure; ``python -m experiments page``: write README.md."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from biasprop import InputError
from biasprop.cli import guarded

from .configuration import configured
from .page import page_of
from .study import Experiment, Study, execute, read_results

HERE = Path(__file__).parent
MODULES = {
    "e1": "e1_table1",
    "e1n": "e1_without_norm",
    "e2": "e2_maps",
    "e2n": "e2_without_norm",
    "e3": "e3_layers",
    "e4": "e4_digit_flip",
    "x1": "x1_accuracy",
    "x2": "x2_quality",
    "x3": "x3_axioms",
    "x4": "x4_contrast",
    "x5": "x5_prior",
    "t1": "t1_transformers",
    "h1": "h1_rules",
    "scoreboard": "scoreboard",
}

app = typer.Typer(
    help="The experiments of both papers, redone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def find(name: str) -> Experiment[Any]:
    """An experiment by its name.

    Raises:
        InputError: there is none.
    """
    if name not in MODULES:
        raise InputError(f"There is no experiment {name!r}; there are {', '.join(MODULES)}, or all.")
    found: Experiment[Any] = import_module(f"{__package__}.{MODULES[name]}").EXPERIMENT
    return found


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(help=f"Which: {', '.join(MODULES)}, or all.")],
    smoke: Annotated[bool, typer.Option("--smoke", help="In seconds, only to see that it runs.")] = False,
    config: Annotated[Path | None, typer.Option(help="A JSON file of settings that replace the default.")] = None,
    seed: Annotated[int, typer.Option(help="Of training and of everything drawn at random.")] = 0,
    results: Annotated[Path, typer.Option(help="Folder for NAME.json and pictures.")] = HERE / "results",
    runs: Annotated[Path, typer.Option(help="Folder for networks, checkpoints and finished parts.")] = HERE / "runs",
) -> None:
    """Redo experiments from nothing, or go on where they stopped; what is finished is not run again."""
    if smoke and results == HERE / "results":
        raise InputError("A smoke run is not a result: give it a folder of its own with --results and --runs.")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in MODULES if names == ["all"] else names:
        experiment = find(name)
        settings = configured(experiment.smoke if smoke else experiment.config, config)
        found = execute(Study(name, settings, seed, smoke, results, runs), experiment)
        console = Console(soft_wrap=True, highlight=False, markup=False)
        console.print(f"{experiment.title}\n\n{experiment.report(found['figures'])}\n\n{name}.json in {results}")


@app.command()
def page(
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = HERE / "results",
    output: Annotated[Path, typer.Option(help="The page.")] = HERE / "README.md",
) -> None:
    """Write the results page from the results."""
    there = {name: read_results(results, name) for name in MODULES}
    text = page_of({name: (find(name), found) for name, found in there.items() if found is not None}, results, output)
    output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    guarded(app)
