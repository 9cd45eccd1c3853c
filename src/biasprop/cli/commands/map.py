"""``biasprop map``: the attributions of a whole data set, as Parquet."""

import os
from pathlib import Path
from typing import Annotated, cast

from typer import Option, Typer

from ...datasets import Asked, Job, Keeping, Model, summarize
from ...loading import Classes
from ...modes import DEFAULT, Linearization
from ..groups import with_groups
from ..networks import Made
from ..options import BatchSize, ClassNames, DataSet, Mode, ModelOptions, PoolOptions, ReadingOptions, target_of
from ..outputs import Sources
from ..screen import say

__all__ = ["map_", "register"]


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command("map", epilog="Example: biasprop map photos/ --model torchvision:resnet50 --out maps --terms")(map_)


@with_groups
def map_(
    data: DataSet,
    network: ModelOptions,
    *,
    output: Annotated[Path, Option("--output", "--out", "-o", help="Folder; the same command goes on in it.")],
    target: Annotated[
        str, Option(help="Which output: 'predicted', 'label' (the true class), a class, or an index such as 3 or 0,1.")
    ] = "predicted",
    rule: Annotated[str, Option(help="bias1, bias2 or bias3; bias1/bias3: another below a hand-over.")] = "bias1",
    temperature: Annotated[float, Option(help="T of bias1 and bias2.")] = 1.0,
    linearization: Mode = DEFAULT,
    handover: Annotated[list[str] | None, Option(help="A tensor, or auto; repeat for a mean.")] = None,
    terms: Annotated[bool, Option("--terms", help="Also keep the classes that w.x and b alone predict.")] = False,
    map_size: Annotated[int, Option(help="Images: longest side of a map at most; 0 keeps none.", min=0)] = 56,
    half: Annotated[bool, Option("--half", help="Keep attributions in float16.")] = False,
    no_sources: Annotated[bool, Option("--no-sources", help="Do not keep where the bias comes from.")] = False,
    labels: Annotated[str | None, Option(help="The array or column of labels.")] = None,
    classes: ClassNames = None,
    strict: Annotated[bool, Option("--strict", help="Stop at the first example that cannot be explained.")] = False,
    retry: Annotated[bool, Option("--retry", help="Try those again that could not be explained before.")] = False,
    reading: ReadingOptions,
    batch_size: BatchSize = 8,
    pool: PoolOptions,
) -> None:
    """Explain every example of a data set, into Parquet files that pandas, Polars and DuckDB read.

    Goes on where an interrupted run stopped, and takes up data that were added since.
    """
    Sources.of(data, output, *network.files, classes).refuse(output / "manifest.json")
    names = Classes.read(classes) if classes is not None else None
    asked = Asked(
        target=target_of(target, names or Classes(), "predicted", "label"),
        rule=rule,
        temperature=temperature,
        linearization=cast(Linearization, linearization),
        handover=handover,
        terms=terms,
        keeping=Keeping(map_size, half, not no_sources),
    )
    made = Made(network.absolute(), os.getcwd())
    given = [Path(os.path.abspath(path)) for path in data]
    job = Job(
        Model(made.with_encoder, pool.where),
        given,
        asked,
        reading.preparation(labels),
        names,
        pool.pool(),
        batch_size,
        strict,
        retry,
    )
    found = job.run(output)
    rows, failed = found.folder.counts()
    if rows:
        say(summarize(found).headline())
    said = f"{rows} example{'s' * (rows != 1)} in {output / 'attributions'}"
    say(f"{said}, {failed} error{'s' * (failed != 1)} in {output / 'errors'}" if failed else said)
    for name, reason in found.errors[:3]:
        say(f"  {name}: {reason}")
