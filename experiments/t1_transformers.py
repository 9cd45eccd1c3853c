"""T1: maps of transformers: which patches or tokens a prediction rests on, and how much of it is bias in each mode."""

from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

import biasprop
from biasprop.metrics import erasure
from biasprop.progress import track

from .intervals import mean_interval
from .maps import Array
from .players import VALUES, ImagePlayers, TokenPlayers, areas, gradient
from .sentences import Sentences, encoded, fine_tuned, read_sentences, tokenizer_of
from .study import Experiment, Outcome, Study
from .subjects import CIFAR_VIT, FASHION_VIT, Source, Subject
from .training import accuracy
from .transformer_maps import RULES, Case, make_maps, predicted
from .transformer_pictures import show

__all__ = ["EXPERIMENT"]

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
        if isinstance(case.players, TokenPlayers):
            arguments = (case.players, explainers, config, study.seed)
            erased = study.part(f"{case.title}: erasure", _erased, *arguments)
            outcome.figures["networks"][case.title]["erasure"] = _summary_of_erasure(erased)
        show(outcome, case, explainers["frozen"], config.shown, config.ig)
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
    players, target = case.players, predicted(case.players, batch)
    found, modes = make_maps(players, explainers, batch, target, config.ig)
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


def _erased(
    players: TokenPlayers, explainers: dict[str, biasprop.Explainer], config: Config, seed: int
) -> dict[str, Any]:
    """ERASER's two numbers of every method and replacement, per example: 1, 5, 10, 20, 50 % of the tokens."""
    found: dict[str, Any] = {}
    for i, batch in enumerate(track(players.batches(config.batch), "erasure")):
        target, there = predicted(players, batch), players.present(batch)
        maps, _ = make_maps(players, explainers, batch, target, config.ig)
        scores = {name: players.scores(values) for name, values in maps.items()}
        scores["random"] = torch.rand(there.shape, generator=torch.Generator().manual_seed(seed + i))
        for name, score in scores.items():
            for where in players.replacements:
                kept = found.setdefault(name, {}).setdefault(where, {"comprehensiveness": [], "sufficiency": []})
                made = erasure(partial(_probability, players, batch, target, where), score, there)
                for key, values in kept.items():
                    values += getattr(made, key).tolist()
    return {"random": found.pop("random")} | found


@torch.no_grad()
def _probability(players: TokenPlayers, batch: Any, target: Tensor, where: str, shown: Tensor) -> Tensor:
    return VALUES["probability"](players.logits(batch, shown, where), target)


def _summary_of_erasure(found: dict[str, Any]) -> dict[str, Any]:
    """Means with their intervals, by method, and by replacement and number."""
    return {
        name: {f"{key}, {where}": mean_interval(v) for where, both in row.items() for key, v in both.items()}
        for name, row in found.items()
    }


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
    target, features = predicted(players, batch), players.features(batch)
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
        if "erasure" in row:
            lines += [*_table_of_erasure(row["erasure"]), ""]
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


def _table_of_erasure(rows: dict[str, Any]) -> list[str]:
    columns = list(next(iter(rows.values())))
    lines = [
        "ERASER (DeYoung et al., ACL 2020), the mean over 1, 5, 10, 20 and 50 % of the tokens: by how much the "
        "probability falls without the first tokens (comprehensiveness: higher is better), and with them alone "
        "(sufficiency: lower is better).",
        "",
        f"| method | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    best = {key: (max if key.startswith("compr") else min)(row[key][0] for row in rows.values()) for key in columns}
    for name, row in rows.items():
        marks = ["**" * (row[key][0] == best[key]) for key in columns]
        cells = [
            f"{m}{row[k][0]:.3f}{m} ({row[k][1]:.3f} to {row[k][2]:.3f})" for m, k in zip(marks, columns, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
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
