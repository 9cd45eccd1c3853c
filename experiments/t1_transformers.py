"""T1: maps of transformers: which patches or tokens a prediction rests on, and how much of it is bias in each mode."""

from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

import biasprop
from biasprop.progress import track
from biasprop.report import COLOURS

from .intervals import mean_interval
from .maps import Array, picture_of, scale_bar, size_of
from .players import VALUES, ImagePlayers, Players, TokenPlayers, areas, gradient, integrated_gradients
from .sentences import Sentences, encoded, fine_tuned, read_sentences, tokenizer_of
from .study import Experiment, Outcome, Study
from .subjects import CIFAR_VIT, FASHION_VIT, Source, Subject
from .training import accuracy

__all__ = ["EXPERIMENT"]

MODES: tuple[Literal["tangent", "half", "frozen"], ...] = ("tangent", "half", "frozen")
RULES = ("bias1", "bias2", "bias3")
SHOWN = {
    "gradient * input": "gradient\n* input",
    "IG": "integrated\ngradients",
    "frozen: w*x": "frozen\nw*x",
    "frozen: w*x + beta, bias1": "frozen\nw*x + beta",
}
"""Of the pictures; IG from the first baseline."""


PAIRS = (
    ("tangent: w*x + beta, bias1", "gradient * input"),
    ("half: w*x + beta, bias1", "half: w*x"),
    ("frozen: w*x + beta, bias1", "frozen: w*x"),
    ("frozen: w*x + beta, bias1", "half: w*x + beta, bias1"),
    ("frozen: w*x + beta, bias1", None),
)
"""Methods whose gains are compared example by example; None: IG from the first baseline."""


@dataclass(frozen=True)
class Config:
    """What is compared.

    Attributes:
        networks: transformers, trained elsewhere or here.
        examples: of each test set, from everywhere in it.
        steps: of the insertion and deletion curves.
        ig: steps of integrated gradients.
        longest: tokens of a sentence, at most.
        shown: images or sentences of a picture.
        batch: examples at once.
        repetitions: of each method that is timed.
    """

    networks: tuple[Source | Sentences, ...] = (CIFAR_VIT, FASHION_VIT, Sentences())
    examples: int = 100
    steps: int = 10
    ig: int = 50
    longest: int = 24
    shown: int = 6
    batch: int = 20
    repetitions: int = 3


@dataclass(frozen=True)
class Case:
    """A network, its examples and their classes, and how it came to be."""

    title: str
    players: Players
    labels: Tensor
    facts: dict[str, Any]
    subject: Subject | None = None

    @property
    def explainers(self) -> dict[str, biasprop.Explainer]:
        """One for each mode."""
        frozen = biasprop.Explainer(self.players.model, check="once")
        return {mode: frozen.linearized(mode) for mode in MODES}


def run(study: Study[Config]) -> Outcome:
    """Areas of all methods on all networks, the bias in all modes, and what they cost."""
    config = study.config
    outcome = Outcome({**{key: getattr(config, key) for key in ("examples", "steps", "ig", "longest")}, "networks": {}})
    for source in config.networks:
        case = _sentences(study, source) if isinstance(source, Sentences) else _images(study, source)
        explainers = case.explainers
        parts = [
            study.part(f"{case.title}: batch {i}", _measured, case, explainers, batch, config, study.seed + i)
            for i, batch in enumerate(case.players.batches(config.batch))
        ]
        outcome.figures["networks"][case.title] = {
            **case.facts,
            "replacements": list(case.players.replacements),
            **_summary([part["areas"] for part in parts]),
            "modes": _modes([part["modes"] for part in parts]),
            "cost": study.part(f"{case.title}: cost", _costs, case, explainers, config),
        }
        _show(outcome, case, explainers, config)
    return outcome


def _images(study: Study[Config], source: Source) -> Case:
    subject = study.subject(source)
    x, labels = subject.first(study.config.examples, spread=True)
    facts: dict[str, Any] = {"origin": subject.origin, "player": "patch of 4 x 4 pixels", "count": len(x)}
    facts["accuracy"] = study.part(f"{subject.title}: accuracy", _image_accuracy, subject)
    facts["accuracy of"] = f"{len(subject)} test images"
    return Case(subject.title, ImagePlayers(subject, x), labels, facts, subject)


def _image_accuracy(subject: Subject) -> float:
    return accuracy(subject.model, *subject.first(len(subject)))


def _sentences(study: Study[Config], source: Sentences) -> Case:
    """The first sentences that are short enough, from everywhere in the development set."""
    config = study.config
    source = replace(source, seed=study.seed)
    if study.smoke:
        source = replace(source, limit=64)
    model, tokenizer = fine_tuned(source, study.runs), tokenizer_of(source)
    texts, labels = read_sentences("dev")
    short = [i for i, text in enumerate(texts) if len(tokenizer(text)["input_ids"]) <= config.longest]
    chosen = short[:: max(1, len(short) // config.examples)][: config.examples]
    chosen[config.shown :] = sorted(chosen[config.shown :], key=lambda i: len(texts[i]))  # batches of like lengths
    facts: dict[str, Any] = {"origin": source.describe(), "player": "token", "count": len(chosen)}
    facts["accuracy"] = study.part("SST-2: accuracy", _text_accuracy, model, tokenizer, texts, labels)
    facts["accuracy of"] = f"{len(texts)} dev sentences"
    players = TokenPlayers(model, tokenizer, tuple(texts[i] for i in chosen))
    return Case("MiniLM, SST-2", players, labels[chosen], facts)


@torch.no_grad()
def _text_accuracy(model: Any, tokenizer: Any, texts: list[str], labels: Tensor) -> float:
    right = 0
    for i in track(range(0, len(texts), 32), "dev accuracy"):
        said = model(**encoded(tokenizer, texts[i : i + 32])).argmax(1)
        right += int((said == labels[i : i + 32]).sum())
    return 100 * right / len(texts)


def _measured(
    case: Case, explainers: dict[str, biasprop.Explainer], batch: Any, config: Config, seed: int
) -> dict[str, Any]:
    """Areas of every method on a batch, and the bias of every mode, per example."""
    players, target = case.players, _predicted(case.players, batch)
    found, modes = _maps(players, explainers, batch, target, config.ig)
    scores = {name: players.scores(values) for name, values in found.items()}
    some = next(iter(scores.values()))
    scores = {"random": torch.rand(some.shape, generator=torch.Generator().manual_seed(seed))} | scores
    measured = {
        name: {
            replacement: {
                value: {kind: area.tolist() for kind, area in both.items()}
                for value, both in areas(players, batch, target, score, replacement, config.steps).items()
            }
            for replacement in players.replacements
        }
        for name, score in track(scores.items(), "insertion and deletion")
    }
    return {"areas": measured, "modes": modes}


@torch.no_grad()
def _predicted(players: Players, batch: Any) -> Tensor:
    return players.output(batch, players.features(batch)).argmax(1)


def _maps(
    players: Players, explainers: dict[str, biasprop.Explainer], batch: Any, target: Tensor, steps: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The map of every method by name, and of every mode the bias and whether the explanation is complete."""
    features = players.features(batch)
    maps = {"gradient * input": features * gradient(players, batch, features, target)}
    for name, baseline in players.baselines(batch).items():
        maps[f"IG, {steps} steps, from {name}"] = integrated_gradients(players, batch, target, baseline, steps)
    modes: dict[str, Any] = {}
    for mode, explain in explainers.items():
        for rule in RULES if mode == "frozen" else RULES[:1]:
            made: Any = explain(batch, target, rule)
            if mode != "tangent" and rule == "bias1":  # in tangent mode it is the gradient times the input
                maps[f"{mode}: w*x"] = made.weight_attribution
            maps[f"{mode}: w*x + beta, {rule}"] = made.attribution
            row = modes.setdefault(mode, {"share": (made.bias / made.output).tolist(), "unattributed": [], "error": []})
            row["unattributed"] += made.unattributed.abs().tolist()
            row["error"] += made.completeness_error.tolist()
            row["output"] = made.output.tolist()
    return maps, modes


def _summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the examples, with intervals: of insertion minus deletion, and of its differences in pairs."""
    replacements = list(next(iter(parts[0].values())))
    methods: dict[str, Any] = {}
    gains: dict[tuple[str, str], dict[str, Array]] = {}
    for name in parts[0]:
        methods[name] = {}
        for where in replacements:
            for value in VALUES:
                kinds = {
                    kind: np.concatenate([part[name][where][value][kind] for part in parts])
                    for kind in ("insertion", "deletion")
                }
                gain = gains.setdefault((where, value), {})[name] = kinds["insertion"] - kinds["deletion"]
                methods[name][f"{where}, {value}"] = {
                    **{kind: float(area.mean()) for kind, area in kinds.items()},
                    "gain": mean_interval(gain),
                }
    best = next(name for name in methods if name.startswith("IG"))
    paired = {
        f"`{one}` minus `{other or best}`": {
            f"{where}, {value}": mean_interval(of[one] - of[other or best]) for (where, value), of in gains.items()
        }
        for one, other in PAIRS
    }
    return {"methods": methods, "paired": paired}


def _modes(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Share of b in the logit, what reached no input, and the largest error, of each mode."""
    found = {}
    for mode in parts[0]:
        row = {key: np.concatenate([part[mode][key] for part in parts]) for key in parts[0][mode]}
        found[mode] = {
            "b over logit, median": float(np.median(row["share"])),
            "logit, median": float(np.median(row["output"])),
            "unattributed, median": float(np.median(row["unattributed"])),
            "unattributed, largest": float(row["unattributed"].max()),
            "completeness error, largest": float(row["error"].max()),
        }
    return found


def _costs(case: Case, explainers: dict[str, biasprop.Explainer], config: Config) -> dict[str, Any]:
    """Time of each mode and rule in gradients: medians of interleaved repetitions in this process, after a warm-up."""
    players, batch = case.players, case.players.batches(config.batch)[0]
    target, features = _predicted(players, batch), players.features(batch)
    times: dict[str, list[float]] = {}
    for repetition in range(config.repetitions + 1):
        timed: dict[str, Any] = {"a gradient": lambda: gradient(players, batch, features, target)}
        for mode, explain in explainers.items():
            for rule in RULES if mode == "frozen" else RULES[:1]:
                timed[f"{mode}, {rule}"] = lambda explain=explain, rule=rule: explain(batch, target, rule)
        for name, method in timed.items():
            start = perf_counter()
            method()
            if repetition:
                times.setdefault(name, []).append(perf_counter() - start)
    medians = {name: median(values) for name, values in times.items()}
    unit = medians.pop("a gradient")
    per = {"seconds of a gradient, per example": unit / len(target)}
    return per | {name: value / unit for name, value in medians.items()}


def _show(outcome: Outcome, case: Case, explainers: dict[str, biasprop.Explainer], config: Config) -> None:
    """A picture of the first examples, of images one for each class."""
    players = case.players
    if case.subject is not None:
        assert isinstance(players, ImagePlayers)
        classes = case.labels.tolist()
        chosen = sorted(classes.index(label) for label in sorted(set(classes))[: config.shown])
        outcome.show(
            case.subject, case.subject.slug, _images_and_maps(case.subject, players.x[chosen], case, explainers, config)
        )
        return
    batch = players.batches(config.shown)[0]
    outcome.pictures["minilm_sst_2"] = _sentences_and_maps(players, batch, case, explainers, config)


def _pictured(
    players: Players, explainers: dict[str, biasprop.Explainer], batch: Any, config: Config
) -> tuple[dict[str, Tensor], Tensor]:
    """The maps of the picture by their labels, and the predicted classes."""
    target = _predicted(players, batch)
    maps, _ = _maps(players, {"frozen": explainers["frozen"]}, batch, target, config.ig)
    first = next(name for name in maps if name.startswith("IG"))
    return {label: maps[first if name == "IG" else name] for name, label in SHOWN.items()}, target


def _images_and_maps(
    subject: Subject, x: Tensor, case: Case, explainers: dict[str, biasprop.Explainer], config: Config
) -> Figure:
    """A column per image: the image and, below it, the sums of its maps in each patch, on the image in grey."""
    maps, target = _pictured(case.players, explainers, x, config)
    figure = Figure(figsize=(1.5 * len(x) + 1.2, 1.5 * (1 + len(maps)) + 1.1), layout="constrained")
    axes = figure.subplots(1 + len(maps), len(x), squeeze=False)
    for i, column in enumerate(axes.T):
        picture = picture_of(subject, x[i])
        column[0].imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        column[0].set_title(f'"{subject.name(int(target[i]))}"', fontsize=11)
        for axis, values in zip(column[1:], maps.values(), strict=True):
            axis.imshow(_on_grey(case.players.scores(values[i : i + 1]).double().numpy(), picture))
    for axis, label in zip(axes[:, 0], ("image", *maps), strict=True):
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=11)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    scale_bar(figure, axes, "sum in a patch, over the map's size; red adds to the logit, blue takes away")
    figure.suptitle(f"{case.title}: maps of the predicted class", fontsize=14)
    return figure


def _on_grey(scores: Array, picture: Array) -> Array:
    """The colour of every patch, times the image in light grey: ``(1, P)`` and ``(H, W)`` or ``(H, W, 3)``."""
    grey = 1 - picture if picture.ndim == 2 else picture.mean(2)
    side = round(scores.size**0.5)
    values = np.clip(scores / size_of(scores), -1, 1).reshape(side, side)
    of_pixels = values.repeat(len(grey) // side, 0).repeat(grey.shape[1] // side, 1)
    colours = np.asarray(colormaps[COLOURS]((of_pixels + 1) / 2))[..., :3]
    return np.asarray(colours * (0.65 + 0.35 * grey[..., None]))


def _sentences_and_maps(
    players: Players, batch: Any, case: Case, explainers: dict[str, biasprop.Explainer], config: Config
) -> Figure:
    """A block of lines per sentence, a line per method, the words on the colour of their tokens."""
    assert isinstance(players, TokenPlayers)
    maps, target = _pictured(players, explainers, batch, config)
    there = players.present(batch)
    scores = {label.replace("\n", " "): players.scores(values).double() for label, values in maps.items()}
    figure = Figure(figsize=(14, 0.32 * len(target) * (len(scores) + 1) + 1.3), layout="constrained")
    axis = figure.subplots()
    line = 0.0
    widest = 0.0
    for i in range(len(target)):
        tokens = players.tokenizer.convert_ids_to_tokens(batch["input_ids"][i][there[i]])
        for label, score in scores.items():
            values = score[i][there[i]].numpy()
            widest = max(widest, _line_of_tokens(axis, line, tokens, values / size_of(values)))
            axis.text(-1, line, label, ha="right", va="center", fontsize=9)
            line += 1
        said = ("negative", "positive")[int(target[i])]
        axis.text(-19, line - (len(scores) + 1) / 2, f'"{said}"', ha="right", va="center", fontsize=11)
        line += 0.8
    axis.set(xlim=(-27, widest), ylim=(line - 0.8, -0.8))
    axis.axis("off")
    scale_bar(figure, axis, "each map divided by its own size; red adds to the logit, blue takes away")
    figure.suptitle(f"{case.title}: maps of the predicted class", fontsize=14)
    return figure


def _line_of_tokens(axis: Axes, line: float, tokens: list[str], values: Array) -> float:
    """Draw them, each as wide as it has letters; where the line ends."""
    x = 0.0
    for token, value in zip(tokens, values, strict=True):
        word = token.removeprefix("##")
        x += 0.3 * (word == token)  # parts of a word touch
        width = len(word) + 0.8
        shade = colormaps[COLOURS](float(np.clip(value, -1, 1) + 1) / 2)
        axis.add_patch(Rectangle((x, line - 0.44), width, 0.88, color=shade, linewidth=0))
        dark = float(np.dot(shade[:3], (0.299, 0.587, 0.114))) < 0.5
        axis.text(
            x + width / 2,
            line,
            word.replace("$", r"\$"),
            ha="center",
            va="center",
            fontsize=9,
            family="monospace",
            color="white" if dark else "black",
        )
        x += width
    return x


def report(figures: dict[str, Any]) -> str:
    """For the results page."""
    lines = [
        "Neither paper has this. *Gain* is the area under the insertion curve minus that under the deletion curve "
        f"({figures['steps']} steps; the symmetric relevance gain): patches or tokens in the order of the sum of the "
        "map in them, of the predicted class; 0 is a random order, higher is better. It is measured on the class's "
        "*probability*, as insertion and deletion are elsewhere on this page: bounded, so that no single example "
        "decides; and on its *logit*, which is what the maps add up to. What is taken away is replaced: in images by "
        "the mean colour (zero, as the network sees it) or by a blur; in sentences by `[MASK]`, or it is hidden from "
        "attention. In brackets the 95 % interval (bootstrap over the examples); differences are "
        "paired. IG whose baseline is also the replacement of a column may be favoured in that column.",
        "",
    ]
    for title, row in figures["networks"].items():
        lines += [*_gains(title, row), ""]
    return "\n".join([*lines, *_table_of_modes(figures), "", _verdict(figures), "", _limits(figures)])


def _gains(title: str, row: dict[str, Any]) -> list[str]:
    columns = list(next(iter(row["methods"].values())))
    best = {column: max(found[column]["gain"][0] for found in row["methods"].values()) for column in columns}
    lines = [
        f"**{title}** ({row['origin']}; {row['accuracy']:.1f} % of {row['accuracy of']} right; {row['count']} "
        f"examples, player: a {row['player']})",
        "",
        f"| method | {' | '.join(f'gain, {column}' for column in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for name, found in row["methods"].items():
        cells = []
        for column in columns:
            mean, low, high = found[column]["gain"]
            mark = "**" * (mean == best[column])
            cells.append(f"{mark}{mean:.3f}{mark} ({low:.3f} to {high:.3f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, found in row["paired"].items():
        values = [found[column] for column in columns]
        cells = [f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" for mean, low, high in values]
        lines.append(f"| *{name}* | {' | '.join(cells)} |")
    return lines


def _table_of_modes(figures: dict[str, Any]) -> list[str]:
    lines = [
        "What is bias, and what it costs:",
        "",
        "| network | mode | b over logit, median | logit, median | unattributed, median (largest) "
        "| completeness error, largest | cost in gradients |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, row in figures["networks"].items():
        for mode, found in row["modes"].items():
            cost = ", ".join(
                f"{rule} {row['cost'][f'{mode}, {rule}']:.1f}" for rule in RULES if f"{mode}, {rule}" in row["cost"]
            )
            lines.append(
                f"| {title} | {mode} | {100 * found['b over logit, median']:.0f} % | {found['logit, median']:.2f} "
                f"| {found['unattributed, median']:.2g} ({found['unattributed, largest']:.2g}) "
                f"| {found['completeness error, largest']:.0e} | {cost} |"
            )
    return lines


def _verdict(figures: dict[str, Any]) -> str:
    """Which methods order best, and what beta adds: read from the figures."""
    lines = []
    for title, row in figures["networks"].items():
        said = []
        for where in row["replacements"]:
            column = f"{where}, probability"
            means = {name: found[column]["gain"][0] for name, found in row["methods"].items()}
            order = sorted(means, key=lambda name: -means[name])
            rules = [means[name] for name in means if name.startswith("frozen: w*x + beta")]
            added = [
                _said(found[column], pair.split("`")[3])
                for pair, found in row["paired"].items()
                if "beta" not in pair.split("`")[3] and "IG" not in pair
            ]
            said.append(
                f"with {where}, `{order[0]}` orders best ({means[order[0]]:.3f}), then `{order[1]}` "
                f"({means[order[1]]:.3f}); beta {', '.join(added)}; the three rules differ by up to "
                f"{max(rules) - min(rules):.3f}"
            )
        lines.append(f"- {title}: {'; '.join(said)}.")
    return "\n".join(["**What came out** (gain in probability):", "", *lines])


def _said(interval: list[float], name: str) -> str:
    """What a paired difference says of beta."""
    mean, low, high = interval
    word = "improves" if low > 0 else "worsens" if high < 0 else "makes no clear difference to"
    return f"{word} `{name}` ({mean:+.3f})"


def _limits(figures: dict[str, Any]) -> str:
    read = any(row["player"] == "token" for row in figures["networks"].values())
    sentences = f"Sentences have at most {figures['longest']} tokens." if read else ""
    return (
        "`frozen: w*x` is the map of CP-LRP, `half: w*x` that of AttnLRP's uniform rule; in tangent mode `w*x` is "
        "gradient * input. The maps with beta are complete: with what is unattributed they add up to the logit. What "
        "is unattributed has no way back to an input: bias at units that no input reaches, such as a class token "
        "before the first attention. A gain measures how well a map *orders* players; it does not measure whether its "
        "amounts are right, and it depends on the replacement: both are given. A logit's curve may rise when patches "
        f"are taken away. {sentences}"
    ).strip()


EXPERIMENT = Experiment(
    title="Maps of transformers",
    config=Config(),
    smoke=Config(networks=(FASHION_VIT,), examples=4, steps=2, ig=2, shown=2, batch=2, repetitions=1),
    run=run,
    report=report,
)
