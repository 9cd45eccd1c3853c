"""What an explanation costs, in gradients, beside what a user would pick instead.

    python benchmarks/cost.py                  # the whole table: about a quarter of an hour on two cores
    python benchmarks/cost.py --quick          # small networks only, a minute

One *gradient* is a forward pass and the gradient of the input, of the same batch, with frozen parameters. Everything
is measured in one process, in interleaved repetitions; a figure is the median over repetitions of the ratio to the
gradient of the same repetition. Writes ``cost.json`` and ``cost.png`` to ``--output``. Trained weights and images are
found through BIASPROP_DATA.
"""

import argparse
import ctypes
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from captum.attr import DeepLift, IntegratedGradients
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

import biasprop
from biasprop.loading import Preparation, read

DATA = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))
BIAS = ("bias1", "bias2", "bias3")
METHODS = (*BIAS, "input * gradient", "IG, 50 steps", "DeepLIFT")
TARGETS = ("bias1, 10 targets", "bias1, all targets")


@dataclass
class Figures:
    """One row: median ratio to a gradient, and peak memory above what was held before, for one method."""

    network: str
    size: int
    batch: int
    method: str
    gradients: float
    memory: float | None
    capture_seconds: float | None = None
    first_seconds: float | None = None


def randomise(model: nn.Module) -> nn.Module:
    """Random biases and batch-norm statistics, so that no bias is trivially zero."""
    with torch.no_grad():
        for module in model.modules():
            if (
                isinstance(module, nn.BatchNorm2d)
                and module.running_mean is not None
                and module.running_var is not None
            ):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
            bias = getattr(module, "bias", None)
            if isinstance(bias, Tensor):
                bias.normal_(0, 0.1)
    return model


def network(name: str) -> nn.Module:
    """VGG-16 and ResNet-50 with random weights, SqueezeNet 1.1 with its trained ones, an MLP; frozen, eval mode."""
    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Linear(100, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
        model: nn.Module = nn.Sequential(*layers)
    else:
        model = models.get_model(name, weights=None)
        if name == "squeezenet1_1":
            model.load_state_dict(load_file(DATA / "squeezenet1_1.safetensors"))
        else:
            randomise(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # DeepLIFT's hooks cannot follow in-place changes
    return model.eval().requires_grad_(False)


def batch_of(name: str, size: int, batch: int) -> Tensor:
    """Real images at any size; random rows for the MLP."""
    if name == "mlp":
        return torch.randn(batch, 100)
    images = read(sorted((DATA / "imagenet").glob("*.jpg"))[:batch], Preparation(size * 8 // 7, size))
    return torch.stack([item.x for item in images])


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    """The unit: forward and input gradient of the predicted class."""
    u = x.clone().requires_grad_()
    return torch.autograd.grad(model(u).amax(1).sum(), u)[0]


def methods(model: nn.Module, x: Tensor, explainer: biasprop.Explainer) -> dict[str, Callable[[], Any]]:
    """What is compared, each as a call without arguments."""
    logits = model(x)
    target, ten = logits.argmax(1), logits.topk(10).indices
    ig, deep_lift = IntegratedGradients(model), DeepLift(model)
    return {
        **{rule: partial(explainer, x, target, rule) for rule in BIAS},
        "bias1, 10 targets": partial(explainer, x, targets=ten),
        "bias1, all targets": partial(explainer, x, targets="all"),
        "input * gradient": lambda: x * gradient(model, x),
        "IG, 50 steps": lambda: ig.attribute(x, target=target, n_steps=50, internal_batch_size=len(x)),
        "DeepLIFT": lambda: deep_lift.attribute(x, target=target),
    }


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory(call: Callable[[], Any]) -> float | None:
    """MiB above what the process held before; None where the kernel does not tell (only Linux does)."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier calls freed must not hide what this one takes
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None

    def field(name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    before = field("VmRSS")
    call()
    return field("VmHWM") - before


def measure(name: str, size: int, batch: int, repetitions: int, chosen: tuple[str, ...]) -> list[Figures]:
    """All methods on one network and batch, interleaved."""
    model, x = network(name), batch_of(name, size, batch)
    captured = time.perf_counter()
    explainer = biasprop.explainer(model, x)
    captured = time.perf_counter() - captured
    calls, first = {}, {}
    for method, call in methods(model, x, explainer).items():
        if method in chosen:
            try:
                first[method] = timed(call)
                calls[method] = call
            except Exception as error:  # DeepLIFT does not run on every network
                print(f"{method} does not run on {name}: {str(error).splitlines()[0][:100]}")
    ratios: dict[str, list[float]] = {method: [] for method in calls}
    for _ in range(repetitions):
        for method, call in calls.items():
            one = min(timed(lambda: gradient(model, x)) for _ in range(2))
            ratios[method].append(timed(call) / one)
    memory = {method: peak_memory(call) for method, call in calls.items()}
    unit = peak_memory(lambda: gradient(model, x))
    rows = [Figures(name, size, batch, m, median(ratios[m]), memory[m], captured, first[m]) for m in calls]
    return [Figures(name, size, batch, "gradient", 1.0, unit), *rows]


def draw(rows: list[Figures], path: Path) -> None:
    """Bars of the cost by network; lines of the cost by image size and by batch."""
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    bars, sizes, batches = figure.subplots(1, 3, width_ratios=[2, 1, 1])
    names = list(dict.fromkeys(r.network for r in rows if r.batch == 1))
    for k, method in enumerate(METHODS):
        found = {r.network: r.gradients for r in rows if r.method == method and r.batch == 1 and r.size in (0, 224)}
        places = [i + 0.13 * (k - 2.5) for i, n in enumerate(names) if n in found]
        heights = [found[n] for n in names if n in found]
        drawn = bars.bar(places, heights, 0.12, label=method)
        bars.bar_label(drawn, fmt="%.1f", fontsize=7, padding=2)
    bars.set_yscale("log")
    bars.set_ylim(top=600)
    bars.set_xticks(range(len(names)), names)
    bars.set_ylabel("gradients")
    bars.set_title("cost of one explanation, batch 1")
    bars.legend(fontsize=8, ncols=2)
    for axis, field, title in ((sizes, "size", "image size"), (batches, "batch", "batch")):
        for method in ("bias1", "bias3"):
            other = "batch" if field == "size" else "size"
            fixed = 1 if other == "batch" else 224
            of = [r for r in rows if r.network == "squeezenet1_1" and r.method == method and getattr(r, other) == fixed]
            points = sorted({getattr(r, field): r.gradients for r in of}.items())
            axis.plot([p for p, _ in points], [g for _, g in points], "o-", label=method)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(title)
        axis.set_ylabel("gradients")
        axis.set_title(f"SqueezeNet 1.1, by {title}")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def show(rows: list[Figures]) -> None:
    """The table on the terminal: gradients, and peak MiB behind them."""
    columns = [m for m in (*METHODS, *TARGETS) if any(r.method == m for r in rows)]
    table = Table("network", "size", "batch", "gradient", *columns, "capture, first call", title="gradients (peak MiB)")
    for key in dict.fromkeys((r.network, r.size, r.batch) for r in rows):
        found = {r.method: r for r in rows if (r.network, r.size, r.batch) == key}
        cells = [
            "-" if m not in found else f"{found[m].gradients:.1f} ({found[m].memory or 0:.0f})"
            for m in ("gradient", *columns)
        ]
        seconds = f"{found['bias1'].capture_seconds:.1f} s, {found['bias1'].first_seconds:.1f} s"
        table.add_row(key[0], str(key[1]), str(key[2]), *cells, seconds)
    Console(width=220).print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small networks, batch 1")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Captum's
    networks = ["mlp", "squeezenet1_1"] if arguments.quick else ["mlp", "squeezenet1_1", "resnet50", "vgg16"]
    batches = [1] if arguments.quick else arguments.batches
    plan: list[tuple[str, int, int, tuple[str, ...]]] = []
    for batch in batches:
        for name in networks:
            few = METHODS if batch == 1 else tuple(m for m in METHODS if not m.startswith("IG"))  # 50 at any batch
            many = TARGETS if name in ("mlp", "squeezenet1_1") else TARGETS[:1]
            plan.append((name, 0 if name == "mlp" else 224, batch, (*few, *many) if batch == 1 else few))
    if not arguments.quick:
        plan += [("squeezenet1_1", size, 1, ("bias1", "bias3")) for size in (64, 128, 320, 448)]
        plan += [("squeezenet1_1", 224, batch, ("bias1", "bias3")) for batch in (2, 4)]
    rows: list[Figures] = []
    with Progress(transient=True) as progress:
        for name, size, batch, chosen in progress.track(plan, description="measuring"):
            rows += measure(name, size, batch, arguments.repetitions, chosen)
    show(rows)
    arguments.output.mkdir(parents=True, exist_ok=True)
    machine = {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    versions = {"torch": torch.__version__, "biasprop": version("biasprop"), "python": platform.python_version()}
    content = {"machine": machine, "versions": versions, "rows": [asdict(r) for r in rows]}
    (arguments.output / "cost.json").write_text(json.dumps(content, indent=1))
    draw(rows, arguments.output / "cost.png")


if __name__ == "__main__":
    main()
