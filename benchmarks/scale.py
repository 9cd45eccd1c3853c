"""Whole data sets: what the engines cost beside a bare loop, and memory over the number of records.

    python -m benchmarks.scale                     # both, 20 minutes
    python -m benchmarks.scale --examples 400      # the overhead on fewer photos

SqueezeNet 1.1 on photos of BIASPROP_DATA, which are taken as often as is needed. The bare loop reads the photos, too,
and explains them in batches of 8. Ray has a worker for each core, of one thread; its start counts. The memory of a job
of 10 000 photos of 64 px is the resident set of the process, taken each second. Writes ``scale.json`` and ``scale.png``
to ``--output``.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import biasprop
from benchmarks.cost import DATA, network
from biasprop.loading import Preparation, batches, read

MANY, SIZE = 10_000, 64  # of the job whose memory is watched


def squeezenet() -> torch.nn.Module:
    """The trained network."""
    return network("squeezenet1_1")


def photos(folder: Path, count: int) -> Path:
    """A folder of so many, links to those there are."""
    found = sorted((DATA / "imagenet").glob("*.jpg"))
    made = folder / f"photos{count}"
    made.mkdir(exist_ok=True)
    for k in range(count):
        link = made / f"{k:06d}.jpg"
        if not link.exists():
            link.symlink_to(found[k % len(found)])
    return made


def bare(folder: Path, _: Path) -> None:
    """What a user would write."""
    explainer = biasprop.explainer(squeezenet(), torch.zeros(1, 3, 224, 224), check="once")
    for batch in batches(read([folder], Preparation()), 8):
        explainer(torch.stack([item.x for item in batch]))


def engine(name: Any) -> Callable[[Path, Path], None]:
    """A job on an engine."""

    def run(folder: Path, out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        biasprop.attribute(folder, squeezenet if name == "ray" else squeezenet(), out, engine=name, progress=False)

    return run


def overhead(folder: Path, examples: int, repetitions: int) -> list[dict[str, Any]]:
    """Seconds of each, interleaved."""
    runs = {"bare loop": bare, "local": engine("local"), "ray": engine("ray")}
    seconds: dict[str, list[float]] = {}
    source = photos(folder, examples)
    for _ in range(repetitions):
        for name, run in runs.items():
            started = time.perf_counter()
            run(source, folder / "out")
            seconds.setdefault(name, []).append(time.perf_counter() - started)
            print(name, f"{seconds[name][-1]:.1f} s", flush=True)
    return [{"engine": k, "examples": examples, "seconds": median(some), "runs": some} for k, some in seconds.items()]


def resident() -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def watched(found: list[tuple[float, float]]) -> Iterator[None]:
    """Seconds and MiB, each second."""
    over, started = threading.Event(), time.monotonic()

    def watch() -> None:
        while not over.wait(1.0):
            found.append((time.monotonic() - started, resident()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def memory(folder: Path) -> list[tuple[float, float]]:
    """Of a job on many small photos."""
    found: list[tuple[float, float]] = []
    how = Preparation(resize=SIZE, crop=SIZE)
    with watched(found):
        biasprop.attribute(photos(folder, MANY), squeezenet(), folder / "many", preparation=how, batch_size=32)
    return found


def draw(rows: list[dict[str, Any]], held: list[tuple[float, float]], path: Path) -> None:
    """Bars of the seconds, and memory over time."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    drawn = bars.bar([row["engine"] for row in rows], [row["seconds"] for row in rows], color="#01665e")
    bars.bar_label(drawn, [f"{row['seconds']:.0f} s, {row['seconds'] / rows[0]['seconds']:.2f}" for row in rows])
    bars.set_ylabel(f"seconds for {rows[0]['examples']} photos of 224 px")
    bars.margins(y=0.12)
    bars.set_title("SqueezeNet 1.1, two cores, from start to end")
    if held:
        lines.plot([seconds for seconds, _ in held], [mib for _, mib in held])
        lines.set_ylim(bottom=0)
        lines.set_xlabel("seconds")
        lines.set_ylabel("MiB resident")
        lines.set_title(f"a job of {MANY} photos of {SIZE} px, local engine")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--examples", type=int, default=1600)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--no-memory", action="store_true", help="only the overhead")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = [] if arguments.no_memory else memory(folder)
        rows = overhead(folder, arguments.examples, arguments.repetitions)
    table = Table("engine", "seconds", "over the bare loop", title=f"{arguments.examples} photos of 224 px")
    for row in rows:
        table.add_row(row["engine"], f"{row['seconds']:.1f}", f"{row['seconds'] / rows[0]['seconds']:.3f}")
    Console().print(table)
    content = {"overhead": rows, "memory": held, "cores": os.cpu_count(), "torch": torch.__version__}
    (arguments.output / "scale.json").write_text(json.dumps(content, indent=1))
    draw(rows, held, arguments.output / "scale.png")


if __name__ == "__main__":
    main()
