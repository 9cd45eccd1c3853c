"""What an explanation costs, in gradients, beside what a user would pick instead.

    python benchmarks/cost.py                  # the whole table
    python benchmarks/cost.py --quick          # small networks only, a minute
    python benchmarks/cost.py --only mlp       # these anew; the rest stays what it was in --output

One *gradient* is a forward pass and the gradient of the input, of the same batch, with frozen parameters. Everything
is measured in one process, in interleaved repetitions; a figure is the median over repetitions of the ratio to the
mean of the gradients just before and just after, each of so many calls as fill 50 ms. Explainers compare the graph with
the model once (``check="once"``); comparing each time costs ``check`` more, a forward pass. Memory is counted twice:
all tensors that are alive at once, as PyTorch's allocator counts them, and what the process holds, with the buffers of
libraries and what the C library keeps. Writes ``cost.json``, ``cost.png`` and ``cost.md``, a table, to ``--output``.
Trained weights and images are found through BIASPROP_DATA.
"""

import argparse
import ctypes
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import DeepLift, IntegratedGradients
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision import models
from transformers import BertConfig, BertForSequenceClassification

import biasprop
from biasprop.loading import Preparation, read

DATA = Path(os.environ.get("BIASPROP_DATA", Path(__file__).parents[2] / "shared" / "data"))
BIAS = ("bias1", "bias2", "bias3")
HANDED = ("bias1, hand-over", "bias3, hand-over")
OTHERS = ("input * gradient", "IG, 50 steps", "DeepLIFT")
TEN = ("10 gradients", "bias1, 10 targets", "bias3, 10 targets")
ALL = ("bias1, all targets", "bias3, all targets")
METHODS = (*BIAS, *HANDED, *OTHERS, "check")
TOKENS = 128  # of a sentence
LONG = 10  # seconds: what takes longer is measured twice
SHORT = 0.05  # seconds: what takes less is called until they have passed
SINGLE = 200  # repetitions, where calls are measured one by one
ONE_BY_ONE = ", one by one"


@dataclass(frozen=True)
class Work:
    """A network and a batch of inputs of it.

    ``size``: pixels or tokens; 0 for a table. ``single``: each call follows one gradient, and one follows it, so that
    their caches are as cold; what is called in a loop has everything at hand.
    """

    network: str
    size: int = 224
    batch: int = 1
    dtype: torch.dtype = torch.float32
    methods: tuple[str, ...] = METHODS
    single: bool = False

    @property
    def name(self) -> str:
        """With its precision, where that is not float32, and how it is called."""
        precision = "" if self.dtype == torch.float32 else f", {str(self.dtype).removeprefix('torch.')}"
        return self.network + precision + (ONE_BY_ONE if self.single else "")


@dataclass
class Figures:
    """One row: ratio to a gradient, and MiB above what was held before, for one method.

    ``tensors``: alive at once; ``memory``: of the process, None where it does not tell.
    """

    network: str
    size: int
    batch: int
    method: str
    gradients: float
    tensors: float
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
    """SqueezeNet 1.1 with its trained weights, an MLP and the rest with random ones; frozen, eval mode."""
    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Linear(100, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
        model: nn.Module = nn.Sequential(*layers)
    elif name == "bert-base":
        settings: dict[str, Any] = {"num_labels": 10}
        model = randomise(BertForSequenceClassification(BertConfig(**settings)))
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
    """Real images at any size, random rows for the MLP, random words for BERT."""
    if name == "mlp":
        return torch.randn(batch, 100)
    if name == "bert-base":
        return torch.randint(1000, 30000, (batch, size))
    images = read(sorted((DATA / "imagenet").glob("*.jpg"))[:batch], Preparation(size * 8 // 7, size))
    return torch.stack([item.x for item in images])


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Of images, rows, or the embeddings of words."""
    if isinstance(model, BertForSequenceClassification):
        return model(**({"inputs_embeds": x} if x.is_floating_point() else {"input_ids": x})).logits  # type: ignore[no-any-return]
    return model(x)  # type: ignore[no-any-return]


def gradient(model: nn.Module, x: Tensor, targets: Tensor | None = None) -> Tensor:
    """The unit: forward and input gradient of the predicted class; of several classes as one batched backward pass."""
    embedded = x if x.is_floating_point() else model.get_input_embeddings()(x)  # type: ignore[operator]
    u = embedded.detach().clone().requires_grad_()
    logits = logits_of(model, u)
    if targets is None:
        return torch.autograd.grad(logits.amax(1).sum(), u)[0]
    one_hot = F.one_hot(targets.T, logits.shape[1]).to(logits)
    return torch.autograd.grad(logits, u, one_hot, is_grads_batched=True)[0]


def methods(model: nn.Module, x: Tensor, explainer: biasprop.Explainer) -> dict[str, Callable[[], Any]]:
    """What is compared, each as a call without arguments."""
    logits = logits_of(model, x)
    target, ten = logits.argmax(1), logits.topk(min(10, logits.shape[1])).indices
    ig, deep_lift = IntegratedGradients(model), DeepLift(model)
    return {
        **{rule: partial(explainer, x, target, rule) for rule in BIAS},
        **{name: partial(explainer, x, target, name[:5], handover="auto") for name in HANDED},
        "10 gradients": partial(gradient, model, x, ten),
        **{f"{rule}, 10 targets": partial(explainer, x, rule=rule, targets=ten) for rule in BIAS},
        **{f"{rule}, all targets": partial(explainer, x, rule=rule, targets="all") for rule in BIAS},
        "check": lambda: logits_of(model, x),
        "input * gradient": lambda: x * gradient(model, x),
        "IG, 50 steps": lambda: ig.attribute(x, target=target, n_steps=50, internal_batch_size=len(x)),
        "DeepLIFT": lambda: deep_lift.attribute(x, target=target),
    }


def timed(call: Callable[[], Any], least: float = SHORT) -> float:
    """Seconds of one call, the mean of so many as take ``least`` seconds, a GPU's work included."""
    start, number, passed = time.perf_counter(), 0, 0.0
    while not number or passed < least:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        number, passed = number + 1, time.perf_counter() - start
    return passed / number


def peak_of_tensors(call: Callable[[], Any], device: str = "cpu") -> float:
    """MiB of all tensors alive at once, above what was held before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    steps = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: float(e["ts"]))
    totals = [float(step["args"]["Total Allocated"]) for step in steps]
    return (max(totals) - totals[0] + float(steps[0]["args"]["Bytes"])) / 2**20


def peak_memory(call: Callable[[], Any], device: str = "cpu") -> float | None:
    """MiB of the process above what it held before; None where the kernel does not tell (only Linux does)."""
    if device == "cuda":
        return None
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


def measure(work: Work, repetitions: int, device: str = "cpu") -> list[Figures]:
    """All methods on one network and batch, interleaved; each call between two gradients."""
    model = network(work.network).to(device, work.dtype)
    x = batch_of(work.network, work.size, work.batch).to(device)
    x = x.to(work.dtype) if x.is_floating_point() else x
    captured = time.perf_counter()
    explainer = biasprop.explainer(model, x, check="once")
    captured = time.perf_counter() - captured
    calls, first = {}, {}
    for method, call in methods(model, x, explainer).items():
        if method in work.methods:
            try:
                first[method] = timed(call, 0)
                calls[method] = call
            except Exception as error:  # DeepLIFT does not run on every network
                print(f"{method} does not run on {work.name}: {str(error).splitlines()[0][:100]}")
    unit = partial(gradient, model, x)
    ratios: dict[str, list[float]] = {method: [] for method in calls}
    least = 0.0 if work.single else SHORT
    before = timed(unit, least)
    for k in range(SINGLE if work.single else repetitions):
        for method, call in calls.items():
            if k > 1 and first[method] > LONG:
                continue
            seconds, after = timed(call, least), timed(unit, least)
            ratios[method].append(2 * seconds / (before + after))
            before = after
    memory = {m: (peak_of_tensors(call, device), peak_memory(call, device)) for m, call in calls.items()}
    key = (work.name, work.size, work.batch)
    rows = [Figures(*key, m, median(ratios[m]), *memory[m], captured, first[m]) for m in calls]
    return [Figures(*key, "gradient", 1.0, peak_of_tensors(unit, device), peak_memory(unit, device)), *rows]


def draw(rows: list[Figures], path: Path) -> None:
    """Bars of the cost by network; lines of the cost by image size and by batch."""
    figure = Figure(figsize=(17, 4.6), layout="constrained")
    bars, sizes, batches = figure.subplots(1, 3, width_ratios=[3.4, 1, 1])
    main = {r.network: r.size for r in reversed(rows) if r.batch == 1}  # the first size of each
    names = [name for name in dict.fromkeys(r.network for r in rows if r.batch == 1) if not name.endswith(ONE_BY_ONE)]
    for k, method in enumerate(METHODS[:-1]):
        found = {
            r.network: r.gradients for r in rows if r.method == method and r.batch == 1 and r.size == main[r.network]
        }
        places = [i + 0.1 * (k - 3.5) for i, n in enumerate(names) if n in found]
        heights = [found[n] for n in names if n in found]
        drawn = bars.bar(places, heights, 0.095, label=method)
        bars.bar_label(drawn, fmt="%.1f", fontsize=6, padding=2)
    bars.set_yscale("log")
    bars.set_ylim(top=600)
    bars.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
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
    columns = [m for m in (*METHODS, *TEN, *ALL) if any(r.method == m for r in rows)]
    table = Table(
        "network", "size", "batch", "gradient", *columns, "capture, first call", title="gradients (MiB of tensors)"
    )
    for key in dict.fromkeys((r.network, r.size, r.batch) for r in rows):
        found = {r.method: r for r in rows if (r.network, r.size, r.batch) == key}
        cells = [
            "-" if m not in found else f"{found[m].gradients:.1f} ({found[m].tensors:.0f})"
            for m in ("gradient", *columns)
        ]
        seconds = f"{found['bias1'].capture_seconds:.1f} s, {found['bias1'].first_seconds:.1f} s"
        table.add_row(key[0], str(key[1]), str(key[2]), *cells, seconds)
    Console(width=220).print(table)


def markdown(rows: list[Figures]) -> str:
    """The table of `show` for a page, batch by batch; sizes other than the first of a network are left to the plot."""
    columns = [m for m in (*METHODS, *TEN) if any(r.method == m for r in rows)]
    lines = ["| network | batch | gradient | " + " | ".join(columns) + " |", "|---" * (len(columns) + 3) + "|"]
    main = {r.network: r.size for r in reversed(rows)}
    for key in dict.fromkeys((r.network, r.batch) for r in rows if r.size == main[r.network]):
        found = {r.method: r for r in rows if (r.network, r.batch) == key and r.size == main[r.network]}
        cells = ["" if m not in found else f"{found[m].gradients:.1f}" for m in columns]
        cells = [cell + (_memory(found[m]) if m in found else "") for m, cell in zip(columns, cells, strict=True)]
        first = f"1{_memory(found['gradient'])}"
        lines.append(f"| {key[0]}, {main[key[0]]} | {key[1]} | {first} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _memory(row: Figures) -> str:
    """In brackets; less than 5 MiB is left out."""
    parts = [f"{mib:.0f}" for mib in (row.tensors, row.memory) if mib is not None]
    return f" ({', '.join(parts)})" if row.tensors >= 5 else ""


def measured_before(path: Path, networks: Sequence[str]) -> list[Figures]:
    """What was measured of other networks, in the same folder."""
    if not networks or not path.exists():
        return []
    return [
        row for row in (Figures(**one) for one in json.loads(path.read_text())["rows"]) if _base(row) not in networks
    ]


def _base(row: Figures) -> str:
    return row.network.partition(",")[0]


def plan(quick: bool, batches: Sequence[int]) -> list[Work]:
    """What is measured."""
    few = tuple(m for m in METHODS if not m.startswith("IG"))  # 50 at any batch
    if quick:
        return [Work("mlp", 0), Work("squeezenet1_1")]
    found = []
    for batch in batches:
        alone = (*METHODS, *TEN) if batch == 1 else few
        found += [Work(name, batch=batch, methods=alone) for name in ("resnet50", "vgg16")]
        found += [Work("squeezenet1_1", batch=batch, methods=alone)]
    found += [Work("mlp", 0, batch, methods=(*METHODS, *TEN)) for batch in (1, 64)]
    found += [Work("mlp", 0, batch, methods=(*BIAS, *HANDED), single=True) for batch in (1, 64)]
    found += [Work("resnet50", dtype=torch.float64, methods=BIAS)]
    transformer = (*BIAS, "check", *TEN)
    found += [Work("vit_b_16", methods=transformer), Work("bert-base", TOKENS, methods=transformer)]
    found += [Work("squeezenet1_1", size, methods=("bias1", "bias3")) for size in (64, 128, 320, 448)]
    found += [Work("squeezenet1_1", 224, batch, methods=("bias1", "bias3")) for batch in (2, 4)]
    return [*found, Work("squeezenet1_1", methods=ALL)]  # last: so much memory disturbs what comes after


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small networks, batch 1")
    parser.add_argument("--only", nargs="+", help="these networks alone")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Captum's
    wanted = [w for w in plan(arguments.quick, arguments.batches) if not arguments.only or w.network in arguments.only]
    rows = measured_before(arguments.output / "cost.json", arguments.only or [])
    with Progress(transient=True) as progress:
        for work in progress.track(wanted, description="measuring"):
            rows += measure(work, arguments.repetitions, arguments.device)
    show(rows)
    arguments.output.mkdir(parents=True, exist_ok=True)
    cpu = platform.processor() or platform.machine()
    machine = {"cpu": cpu, "threads": torch.get_num_threads(), "device": device_name(arguments.device)}
    versions = {"torch": torch.__version__, "biasprop": version("biasprop"), "python": platform.python_version()}
    content = {"machine": machine, "versions": versions, "rows": [asdict(r) for r in rows]}
    (arguments.output / "cost.json").write_text(json.dumps(content, indent=1))
    (arguments.output / "cost.md").write_text(markdown(rows))
    draw(rows, arguments.output / "cost.png")


def device_name(device: str) -> str:
    """What a GPU is called."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


if __name__ == "__main__":
    main()
