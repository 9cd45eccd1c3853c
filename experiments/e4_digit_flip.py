"""E4: digit flip on MNIST, Fig. 3 of the BBp paper (the protocol of Shrikumar et al. 2017)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import biasprop
from biasprop.metrics import digit_flip

from .intervals import box, median_interval, share_interval
from .maps import picture_of
from .methods import COLOURS, LABELS, make_methods
from .study import Experiment, Outcome, Study
from .subjects import MNIST, Subject
from .training import Training, accuracy

__all__ = ["EXPERIMENT"]

METHODS = (
    "random",
    "w*x",
    "ig5",
    "ig10",
    "deeplift",
    "fullgrad",
    "bias1",
    "bias2",
    "bias3",
    "w*x+bias1",
    "w*x+bias2",
    "w*x+bias3",
)


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        networks: the paper's reference is black, the zero of inputs from 0 to 1; beside it the same network trained on
            inputs minus their mean, where the bias is larger.
        methods: on the networks with biases; X-Gradient comes from the same training without biases.
        pairs: source and target class.
        images: at most so many of each class; None: all of the test set.
        batch: images at once.
    """

    networks: tuple[Training, ...] = (MNIST, replace(MNIST, centring="mean"))
    methods: tuple[str, ...] = METHODS
    pairs: tuple[tuple[int, int], ...] = ((8, 3), (8, 6), (9, 1), (4, 1))
    images: int | None = None
    batch: int = 100


def run(study: Study[Config]) -> Outcome:
    """Every method on every pair."""
    config = study.config
    figures: dict[str, Any] = {"networks": {}}
    pictures: dict[str, Figure] = {}
    for training in config.networks:
        regular, free = study.pair((training, None))
        title = {"black": "inputs from 0 to 1", "mean": "inputs minus their mean"}[training.centring]
        found: dict[str, Any] = {"training": regular.origin, "accuracy": {}, "pairs": {}, "b": {}}
        figures["networks"][title] = found
        for name, subject in (("with bias", regular), ("without bias", free)):
            key = f"accuracy, {title}, {name}"
            found["accuracy"][name] = study.part(key, accuracy, subject.model, *subject.first(len(subject)))
        for source, target in config.pairs:
            pair = f"{source} -> {target}"
            x, labels = regular.first(len(regular))
            images = x[labels == source][: config.images]
            found["b"][pair] = study.part(f"{title}, {pair}: b", _bias, regular, images, source, target)
            found["pairs"][pair] = {}
            for subject, name in [*((regular, name) for name in config.methods), (free, "xgradient")]:
                key = f"{title}, {pair}: {name}"
                arguments = (subject, name, images, source, target, config.batch, study.seed)
                found["pairs"][pair][name] = study.part(key, _flip, *arguments)
        slug = training.centring
        pictures[f"boxes-{slug}"] = _draw(found["pairs"], title)
        pictures[f"example-{slug}"] = _example(regular, free, config)
    return Outcome(figures, pictures)


def _bias(subject: Subject, x: Tensor, source: int, target: int) -> tuple[float, float, float]:
    """Which part of the log-odds is bias, ``(b_source - b_target) / (f_source - f_target)``, in percent: median."""
    linear, bias = biasprop.Explainer(subject.model).split(x)
    odds, part = ((y[:, source] - y[:, target]).double() for y in (linear + bias, bias))
    return median_interval((100 * part / odds).numpy())


def _flip(subject: Subject, name: str, x: Tensor, source: int, target: int, batch: int, seed: int) -> dict[str, Any]:
    method = make_methods(subject, [name], baseline=subject.black, seed=seed)[name]
    flips, on_black = [], []
    for some in x.split(batch):
        both = [method(some, torch.full((len(some),), c)) for c in (source, target)]
        black = subject.black.item()
        flips.append(digit_flip(subject.model, some, source, target, both[0], both[1], reference=black))
        difference = (both[0] - both[1]).double().abs()
        on_black.append((difference * (some == black)).sum((1, 2, 3)) / difference.sum((1, 2, 3)))
    change = torch.cat([f.change for f in flips]).numpy()
    flipped = int(sum(int(f.flipped.sum()) for f in flips))
    return {
        "images": len(x),
        "box": box(change),
        "median": median_interval(change),
        "flipped": share_interval(flipped, len(x)),
        "on black": 100 * torch.cat(on_black).mean().item(),
    }


def _draw(pairs: dict[str, Any], title: str) -> Figure:
    figure = Figure(figsize=(16, 9), layout="constrained")
    axes = figure.subplots(2, len(pairs), sharey="row")
    for column, (pair, found) in zip(axes.T, pairs.items(), strict=True):
        names, at = list(found), range(len(found))
        boxes = column[0].bxp(
            [{**found[n]["box"], "fliers": []} for n in names],
            positions=at,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            medianprops={"color": "black"},
        )
        for patch, name in zip(boxes["boxes"], names, strict=True):
            patch.set_facecolor(COLOURS[name])
        column[0].set_title(pair.replace("->", "\N{RIGHTWARDS ARROW}"), fontsize=14)
        column[0].set_xlabel("change of the log-odds")
        rates = [found[n]["flipped"] for n in names]
        errors = [[r[0] - r[1] for r in rates], [r[2] - r[0] for r in rates]]
        column[1].barh(at, [r[0] for r in rates], xerr=errors, capsize=2, color=[COLOURS[n] for n in names])
        column[1].set_xlim(0, 100)
        column[1].set_xlabel("flipped, %")
        for axis in column:
            axis.set_yticks(at, [LABELS[n] for n in names])
            axis.spines[["top", "right"]].set_visible(False)
            axis.axvline(0, color="#555555", linewidth=0.8)
    for axis in axes[:, 0]:
        axis.invert_yaxis()
    figure.suptitle(
        f"Digit flip on MNIST ({title}): erase what speaks for one class and against the other (more is better)",
        fontsize=15,
    )
    return figure


def _example(regular: Subject, free: Subject, config: Config) -> Figure:
    """One digit of each pair: the difference of two classes' attributions, and the image after erasing."""
    names = [*config.methods, "xgradient"]
    figure = Figure(figsize=(1.5 * len(names) + 1.5, 1.55 * 2 * len(config.pairs)), layout="constrained")
    axes = figure.subplots(2 * len(config.pairs), len(names) + 1)
    everything, labels = regular.first(2000)
    for row, (source, target) in enumerate(config.pairs):
        x = everything[labels == source][:1]
        image = picture_of(regular, x[0])
        axes[2 * row, 0].imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes[2 * row, 0].set_title(f"{source} to {target}")
        for column, name in enumerate(names, 1):
            subject = free if name == "xgradient" else regular
            method = make_methods(subject, [name], baseline=subject.black)[name]
            both = [method(x, torch.tensor([c])) for c in (source, target)]
            difference = (both[0] - both[1])[0].sum(0)
            limit = max(float(difference.abs().quantile(0.995)), 1e-12)
            threshold = difference.flatten().topk(round(0.2 * difference.numel()) + 1).values[-1].clamp_min(0)
            axes[2 * row, column].imshow(difference, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes[2 * row + 1, column].imshow(image * (difference <= threshold).numpy(), cmap="gray_r", vmin=0, vmax=1)
            if row == 0:
                axes[0, column].set_title(LABELS[name].replace(", ", "\n"), fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    figure.suptitle(
        "Difference of the two classes' attributions (each map divided by its own 99.5 % magnitude; red speaks for the "
        "first class), and the digit after erasing",
        fontsize=12,
    )
    return figure


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        "**The paper** shows box plots without figures and claims that bias attributions are class sensitive and "
        "comparable to integrated gradients and DeepLIFT.",
        "",
        "Median change of the log-odds (95 % interval) and share of the images that flip; last, the share of the "
        "difference of the two maps that lies on black pixels, where erasing changes nothing (mean over the pairs).",
    ]
    for title, found in figures["networks"].items():
        pairs = found["pairs"]
        accuracies = [f"{found['accuracy'][name]:.2f} %" for name in ("with bias", "without bias")]
        lines += [
            "",
            f"MNIST, {title}, all {sum(next(iter(p.values()))['images'] for p in pairs.values())} test images of the "
            f"source classes; DeepLIFT's network ({found['training']}); accuracy {accuracies[0]}, trained without "
            f"biases {accuracies[1]}. Share of b in the log-odds, median: "
            + ", ".join(f"{pair}: {b[0]:.0f} %" for pair, b in found["b"].items())
            + ".",
            "",
            f"| method | {' | '.join(pairs)} | on black, % |",
            f"|---|{'---|' * (len(pairs) + 1)}",
        ]
        for name in next(iter(pairs.values())):
            of_pairs = [of_pair[name] for of_pair in pairs.values()]
            cells = [
                f"{f['median'][0]:.1f} ({f['median'][1]:.1f} to {f['median'][2]:.1f}); {f['flipped'][0]:.0f} %"
                for f in of_pairs
            ]
            black = sum(f["on black"] for f in of_pairs) / len(of_pairs)
            lines.append(f"| {LABELS[name]} | {' | '.join(cells)} | {black:.0f} |")
    lines += ["", _why(figures)]
    return "\n".join(lines)


def _why(figures: dict[str, Any]) -> str:
    """What differs from the paper's claim, with the share of b that explains it."""
    shares = [b[0] for found in figures["networks"].values() for b in found["b"].values()]
    return (
        "**What differs and why.** The complete attribution `w*x + beta` does what the paper claims: it moves the "
        "log-odds "
        "as far as one input * gradient, and nearly as far as integrated gradients and DeepLIFT. `beta` alone "
        "does not: it "
        "flips next to no image and is mostly worse than random. The test of why is above: on these networks b is only "
        f"{max(shares):.0f} to {min(shares):.0f} % of the log-odds, and of the opposite sign. It takes back where the "
        "strokes give (see the blue strokes in the picture), so erasing what it says speaks for a class leaves "
        "the evidence "
        "there. The paper does not say how its network was trained or how large its biases were; a map of the "
        "bias cannot "
        "be more class sensitive than the bias."
    )


EXPERIMENT = Experiment(
    title="MNIST digit flip (BBp paper, Fig. 3)",
    config=Config(),
    smoke=Config(
        networks=(MNIST,), methods=("w*x", "ig5", "deeplift", "fullgrad", "bias1"), pairs=((8, 3), (4, 1)), images=20
    ),
    run=run,
    report=report,
)
