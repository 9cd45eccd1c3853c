"""Which networks are explained: one of every family of torchvision, timm and transformers, each in its own process.

    python -m benchmarks.coverage                                 # everything: hours on two cores; goes on where it was
    python -m benchmarks.coverage --precision float32             # a fraction of that; float64 can follow
    python -m benchmarks.coverage --group timm --only 'resnet*'   # of one group, by name or family
    python -m benchmarks.coverage --mode tangent --again          # one linearisation, also where there is a result
    python -m benchmarks.coverage --dry                           # only build the networks and run them forward
    python -m benchmarks.coverage --no-run --table docs/coverage.md  # the page, from the results there are

Each network has random weights (see ``networks.py``) and explains two examples in float32 and in float64, in each of
the linearisations, and frozen with a hand-over. Results are lines of JSON in ``--out``; of the same network, mode and
precision the last line counts. Asked for tangents, w must be what autograd gives: for ids, at the output of the
embedding that reads them.
Run it from the root of the repository as a module: as a script its name hides the package ``coverage`` from numba.
"""

import argparse
import copy
import io
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count, product
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

import biasprop

from .networks import GROUPS, Network, Subject, build, forward, leading, subjects

DRY = "forward"  # the mode in which nothing is explained
HANDED = "hand-over"  # frozen, handed over at "auto"
MODES = ("frozen", "tangent", "half", HANDED)
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
EXPLAINED, RUNS = "explained", "runs"
UNFIT = "the network does not run in this precision"

Task = tuple[str, str]
"""Mode and precision."""


@dataclass
class Row:
    """What became of one network in one mode and precision.

    Attributes:
        status: ``explained``, or why not.
        completeness: the largest completeness error.
        gradient: how far w is from autograd's gradient, relative to it; in tangent mode.
        handover: where it was handed over, in that mode; empty where there is no such tensor.
        totals: how far the sums of the parts are from w.x and b without, relative to the magnitudes.
        seconds: of the explanation, without the capture.
    """

    group: str
    family: str
    model: str
    mode: str
    precision: str
    status: str = ""
    input: str = ""
    target: str = ""
    settings: str = ""
    parameters: int = 0
    completeness: float | None = None
    gradient: float | None = None
    handover: str = ""
    totals: float | None = None
    seconds: float = 0.0
    versions: str = ""

    @property
    def subject(self) -> Subject:
        """The network."""
        return Subject(self.group, self.family, self.model)

    @property
    def task(self) -> Task:
        """What was asked of it."""
        return self.mode, self.precision


Results = dict[tuple[Subject, Task], Row]


# in the process of one network


class Lookup(TorchFunctionMode):
    """Makes the vectors that are looked up for ``ids`` a leaf, to take the gradient at."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__()
        self.ids = ids
        self.vectors: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is nn.functional.embedding and self.vectors is None and torch.equal(args[0], self.ids):
            self.vectors = result.detach().requires_grad_()
            return self.vectors
        return result


def autograd(network: Network) -> Tensor | None:
    """The gradient of the target by x, or by the vectors of the ids; None where no module looks these up."""
    if isinstance(network.x, dict):
        with Lookup(network.x["input_ids"]) as lookup:
            output = network.model(**network.x)
        u = lookup.vectors
        if u is None:
            return None
    else:
        u = network.x.clone().requires_grad_()
        output = network.model(u)
    number = leading(output).amax(1) if isinstance(network.target, str) else network.target(output)
    gradient: Tensor = torch.autograd.grad(number.sum(), u)[0]
    return gradient


def deviation(network: Network, weight: Any) -> float | None:
    """w from autograd's gradient, relative to it in the maximum norm; None where there is none of the same tensor."""
    found = [t for t in pytree.tree_leaves(weight) if isinstance(t, Tensor)]
    try:
        gradient = autograd(network)
    except Exception:  # an operation without a derivative, or one that forbids it
        return None
    if gradient is None or len(found) != 1 or found[0].shape != gradient.shape:
        return None
    return float((found[0] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-30))


def misplaced(network: Network, explainer: Any, explanation: Any) -> float:
    """How far w.x and b are from those without a hand-over, relative to what is distributed."""
    plain = explainer(network.x, network.target)
    return float(((explanation.bias - plain.bias).abs() / plain.magnitude.clamp(min=1e-30)).max())


def attempt(network: Network, explainer: Any, row: Row) -> None:
    """One explanation, or in the dry mode a forward pass, written into the row."""
    start = time.perf_counter()
    try:
        if row.mode == DRY:
            forward(network.model, network.x)
            row.status = RUNS
        else:
            if row.mode == HANDED:
                explanation = explainer(network.x, network.target, handover="auto")
                row.handover, row.totals = explanation.handover, misplaced(network, explainer, explanation)
            else:
                explanation = explainer.linearized(row.mode)(network.x, network.target)
            row.completeness = float(explanation.completeness_error.max())
            row.status = EXPLAINED
        row.seconds = time.perf_counter() - start
        if row.mode == "tangent":
            row.gradient = deviation(network, explanation.weight)
    except Exception as error:  # the library's own, and what should have been one
        row.status = reason(error)


def uncaptured(network: Network, explainer: Any) -> str:
    """Why the network cannot be captured; empty where it can."""
    try:
        explainer.graph(explainer.check(network.x))
    except Exception as error:
        return reason(error)
    return ""


def in_precision(network: Network, precision: str) -> Network | None:
    """A copy in this precision; None where the network does not run in it, or its output is not finite."""
    dtype = PRECISIONS[precision]
    model = network.model if dtype == torch.float32 else copy.deepcopy(network.model).to(dtype)
    x = network.x if isinstance(network.x, dict) else network.x.to(dtype)
    try:
        finite = bool(leading(forward(model, x)).isfinite().all())
    except Exception:  # somewhere it casts to a precision of its own
        return None
    return Network(model, x, network.target, network.about) if finite else None


def reason(error: BaseException) -> str:
    """The first line of what an error says, after its class."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:500]}"


def examine(subject: Subject, tasks: Sequence[Task]) -> Iterator[Row]:
    """The rows of one network, as they come: float32 first, which is fast. It is captured once in each precision."""
    try:
        network = build(subject)
    except Exception as error:
        for task in tasks:
            yield blank(subject, task, f"the network does not run: {reason(error)}")
        return
    for precision in sorted({precision for _, precision in tasks}):
        one = in_precision(network, precision)
        modes = [mode for mode, of in tasks if of == precision]
        broken = UNFIT
        if one is not None:
            explainer = biasprop.Explainer(one.model)
            broken = "" if modes == [DRY] else uncaptured(one, explainer)
        for mode in modes:
            row = blank(subject, (mode, precision), broken)
            row.input, row.target, row.parameters = network.shapes, network.about, network.parameters
            if one is not None and not broken:
                attempt(one, explainer, row)
            yield row


def blank(subject: Subject, task: Task, status: str) -> Row:
    """A row without figures."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("biasprop", "torch", subject.group))
    return Row(subject.group, subject.family, subject.name, *task, status, settings=subject.settings, versions=versions)


def child(subject: Subject, tasks: Sequence[Task], file: Path, gigabytes: float) -> None:
    """Examine one network and append to the file, within a limit of memory."""
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    warnings.simplefilter("ignore")
    for row in examine(subject, tasks):
        append(file, row)


# results


def append(file: Path, row: Row) -> None:
    """One line more."""
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(row)) + "\n")


def results(folder: Path) -> Results:
    """The last result of each network in each mode and precision."""
    files = [folder / f"{group}.jsonl" for group in GROUPS]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    rows = [Row(**json.loads(line)) for line in lines]
    return {(row.subject, row.task): row for row in rows}


# the process that starts the others


def processes(jobs: int) -> ForkServerContext:
    """Where processes come from that have imported all they need, which takes longer than many a network."""
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    context = get_context("forkserver")
    context.set_forkserver_preload([*GROUPS, "benchmarks.networks"])
    return context


def examined(
    subject: Subject, tasks: Sequence[Task], context: ForkServerContext, arguments: argparse.Namespace
) -> list[Row]:
    """The rows of one network from a process of its own; those that it did not come to say what became of it."""
    file: Path = arguments.out / f"{subject.group}.jsonl"
    seen = file.stat().st_size if file.exists() else 0
    process = context.Process(target=child, args=(subject, tasks, file, arguments.memory))
    process.start()
    process.join(arguments.timeout)
    fate = f"its process ended with status {process.exitcode}"
    if process.exitcode is None:
        process.kill()
        process.join()
        fate = f"not done after {arguments.timeout:.0f} s"
    with file.open() if file.exists() else io.StringIO() as lines:
        lines.seek(seen)
        written = [Row(**json.loads(line)) for line in lines]
    rows = {row.task: row for row in written if row.subject == subject}
    for task in tasks:
        if task not in rows:
            rows[task] = blank(subject, task, fate)
            append(file, rows[task])
    return [rows[task] for task in tasks]


def run(arguments: argparse.Namespace, tasks: Sequence[Task]) -> None:
    """Every network that has no result yet, as many at once as there are jobs."""
    chosen = [s for group in arguments.group or GROUPS for s in subjects(group, arguments.out)]
    chosen = [s for s in chosen if s.matches(arguments.only)]
    there = {} if arguments.again else results(arguments.out)
    missing = {s: [task for task in tasks if (s, task) not in there] for s in chosen}
    todo = [s for s in chosen if missing[s]]
    counted = count(len(chosen) - len(todo) + 1)
    context = processes(arguments.jobs)

    def one(subject: Subject) -> None:
        start = time.perf_counter()
        rows = examined(subject, missing[subject], context, arguments)
        taken = time.perf_counter() - start
        say = f"[{next(counted)}/{len(chosen)}] {subject}, {taken:.0f} s: {verdict(rows)} {worst(rows, 'completeness')}"
        print(say, file=sys.stderr, flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, todo))


# the page


def worst(rows: Sequence[Row], quantity: str) -> str:
    """The largest of this in each precision; a dash where it has none, a question mark where it was not measured."""
    found = []
    for precision in PRECISIONS:
        of = [row for row in rows if row.precision == precision]
        values = [value for row in of if (value := getattr(row, quantity)) is not None]
        found.append(f"{max(values):.0e}" if values else "–" if of else "?")
    return " / ".join(found) if any(one not in "–?" for one in found) else ""


def verdict(rows: Sequence[Row]) -> str:
    """Yes, or why not: said once, where modes and precisions agree."""
    fit = [row for row in rows if row.status != UNFIT] or rows
    reasons: dict[str, list[Row]] = {}
    for row in fit:
        if row.status not in (EXPLAINED, RUNS):
            reasons.setdefault(row.status, []).append(row)
    if not reasons:
        return "yes"
    if [len(of) for of in reasons.values()] == [len(fit)]:
        return next(iter(reasons))
    return "; ".join(f"{', '.join(f'{r.mode} {r.precision}' for r in of)}: {why}" for why, of in reasons.items())


def cell(words: str) -> str:
    """As it may stand in a table of Markdown."""
    return words.replace("|", "\\|").replace("<", "&lt;")


def line(cells: Sequence[str]) -> str:
    """A row of a table of Markdown."""
    return f"| {' | '.join(map(cell, cells))} |"


def summary(group: str, networks: Sequence[Sequence[Row]]) -> str:
    """One line on a group: how many networks are explained in each mode, and the worst figures."""
    counts = []
    for mode in MODES:
        of = [[row for row in rows if row.mode == mode] for rows in networks]
        explained = sum(bool(rows) and verdict(rows) == "yes" for rows in of)
        counts.append(f"{explained} of {len(networks)}" if any(of) else "?")
    every = [row for rows in networks for row in rows]
    return line([group, *counts, *(worst(every, of) for of in ("completeness", "gradient", "totals"))])


def detail(rows: Sequence[Row]) -> str:
    """One line on a network."""
    first = rows[0]
    model = f"`{first.model}`" + (f" ({first.settings})" if first.settings else "")
    shapes = next((row.input for row in rows if row.input), "")
    handed = next((row for row in rows if row.mode == HANDED), None)
    where = [] if handed is None else [f"`{handed.handover}`" if handed.handover else "nowhere"]
    answer = verdict(rows)
    answer = answer if len(answer) <= 160 else answer[:160].rsplit(" ", 1)[0] + " …"
    figures = [worst([row for row in rows if row.mode == mode], "completeness") for mode in MODES]
    figures[-1] = " ".join([figures[-1], *(f"at {place}" for place in where)])
    return line([first.family, model, shapes, answer, *figures, worst(rows, "gradient"), worst(rows, "totals")])


def page(rows: Sequence[Row]) -> str:
    """The tables in Markdown: a summary, then a row per network."""
    networks: dict[str, dict[Subject, list[Row]]] = {group: {} for group in GROUPS}
    for row in rows:
        networks[row.group].setdefault(row.subject, []).append(row)
    networks = {group: of for group, of in networks.items() if of}
    versions = sorted({part for row in rows for part in row.versions.split(", ")})
    gradient = "w off autograd's gradient"
    totals = "totals off those without"
    heads = ["group", *MODES, "completeness error", gradient, totals]
    lines = [
        "# Networks that are explained",
        "",
        "One small network of every family, with random weights, on two examples. The columns of the modes hold the",
        "largest completeness error; the last column compares w with autograd's gradient, relative to it, in tangent",
        "mode, and then the totals of a hand-over at `auto` with the `w.x` and `b` without. Pairs are of float32",
        "/ float64: – where the network itself does not run in that precision, ? where that has not been measured yet.",
        "In float64 w may be off by more than 1e-10 where the model itself rounds to single precision inside, which",
        "autograd's gradient does and the explanation does not. Generated by",
        "`python -m benchmarks.coverage --table docs/coverage.md`, with",
        f"{', '.join(versions)}.",
        "",
        line(heads),
        "|---" * len(heads) + "|",
        *(summary(group, list(of.values())) for group, of in networks.items()),
    ]
    heads = ["family", "model", "input", "explained", *MODES, gradient, totals]
    for group, of in networks.items():
        lines += ["", f"## {group}", "", line(heads), "|---" * len(heads) + "|", *map(detail, of.values())]
    return "\n".join(lines) + "\n"


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--group", action="append", choices=GROUPS, help="repeatable; by default all")
    parser.add_argument("--mode", action="append", choices=MODES, help="repeatable; by default all")
    parser.add_argument("--precision", action="append", choices=list(PRECISIONS), help="repeatable; by default both")
    parser.add_argument("--only", default="*", help="pattern of names or families")
    parser.add_argument("--again", action="store_true", help="also where there is a result")
    parser.add_argument("--dry", action="store_true", help="only build and run forward")
    parser.add_argument("--no-run", action="store_true", help="only the page")
    parser.add_argument("--table", type=Path, help="write the page here")
    parser.add_argument("--out", type=Path, default=Path("build/coverage"))
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one network")
    parser.add_argument("--jobs", type=int, default=1, help="networks at once")
    parser.add_argument("--memory", type=float, default=12, help="GiB for one network")
    return parser.parse_args()


def main() -> None:
    """Run what has no result yet, write the page."""
    arguments = parsed()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.no_run:
        modes = [DRY] if arguments.dry else arguments.mode or MODES
        run(arguments, list(product(modes, arguments.precision or PRECISIONS)))
    if arguments.table:
        arguments.table.write_text(page([row for row in results(arguments.out).values() if row.mode in MODES]))


if __name__ == "__main__":
    main()
