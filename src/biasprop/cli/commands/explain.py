"""``biasprop explain``: explain images, arrays, rows or texts with a model, print what one can repeat, draw it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from torch import Tensor
from typer import BadParameter, Option, Typer

from ...attribution import Explainer, Explanation
from ...auditing import TERMS, logits_of, predicted_classes
from ...errors import InputError
from ...files import make_folder, write_atomically
from ...loading import (
    Classes,
    Encoder,
    Item,
    batches,
    has_texts,
    output_names,
    read,
    require_logits,
    text_items,
)
from ...modes import DEFAULT, Linearization
from ...report import equation
from ...results import token_texts, tokens_of
from ..groups import with_groups
from ..options import (
    BatchSize,
    ClassNames,
    Device,
    InputsOrTexts,
    Mode,
    ModelOptions,
    ReadingOptions,
    Texts,
    difference_of,
    target_of,
)
from ..outputs import Sources, folded
from ..screen import say, shown

__all__ = ["explain", "register"]

LINES = 20  # so many inputs are printed one by one; summary.json has all


def register(app: Typer) -> None:
    """Add the subcommand."""
    app.command(
        epilog="Example: biasprop explain photos/ --model torchvision:resnet50 --classes imagenet_classes.txt --html"
    )(explain)


@with_groups
def explain(
    inputs: InputsOrTexts = None,
    *,
    network: ModelOptions,
    text: Texts = None,
    target: Annotated[
        str, Option(help="Which output: 'predicted', a class, an index such as 3 or 0,1, or a difference, 'a - b'.")
    ] = "predicted",
    rule: Annotated[
        str,
        Option(
            help="bias1 (compensation), bias2 (equal share), bias3 (positive share); bias1/bias3: below a hand-over."
        ),
    ] = "bias1",
    temperature: Annotated[float, Option(help="T of bias1 and bias2.")] = 1.0,
    linearization: Mode = DEFAULT,
    handover: Annotated[
        list[str] | None,
        Option(help="Below this tensor share all of the attribution by alpha; auto; repeat for a mean."),
    ] = None,
    sources: Annotated[list[str] | None, Option(help="Only bias sources that match, e.g. 'features.*'.")] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder for pictures and summary.json.")] = Path(
        "biasprop-out"
    ),
    pictures: Annotated[int | None, Option(help="Draw at most so many inputs; default: all.", min=0)] = None,
    patch: Annotated[int | None, Option(help="Side of the patches in pixels.", min=1)] = None,
    html: Annotated[
        bool, Option("--html", help="Also an interactive page of each, with the likeliest classes.")
    ] = False,
    save: Annotated[bool, Option("--save", help="Also save each explanation as .safetensors.")] = False,
    classes: ClassNames = None,
    reading: ReadingOptions,
    batch_size: BatchSize = 4,
    device: Device = "cpu",
) -> None:
    """Explain predictions: how much comes from the inputs through the weights, and how much through the bias."""
    paths, texts = inputs or [], text or []
    if not paths and not texts:
        raise BadParameter("there is nothing to explain: give files, or --text")
    how = reading.preparation()
    files = Sources.of(paths, output, *network.files, classes)
    files.refuse(output / "summary.json")
    total = len(texts) + len(read(paths, how, output))
    folder = make_folder(output)
    explainer = Explainer(network.load(device), linearization=cast(Linearization, linearization))
    encoder = network.encoder(explainer.model) if texts or has_texts(paths) else None
    how = replace(how, encoder=encoder)
    names = Classes.read(classes) if classes else Classes(output_names(explainer.model))
    index = difference_of(target, names) or target_of(target, names, "predicted")
    found = _Results(output, names, pictures, patch, save, html, encoder, index == "predicted")
    items = _unique(chain(text_items(texts, how), read(paths, how, folder)), found.taken(files))
    try:
        with _bar() as progress:
            task = progress.add_task("capturing the network", total=total)
            for batch in batches(items, batch_size, encoder is not None and encoder.pads):
                x = _together(batch, encoder, device)
                if not found.rows:
                    if network.is_hf:
                        require_logits(explainer.model, x)
                    explainer.graph(explainer.check(x))
                    progress.update(task, description="explaining")
                explanation = explainer(x, index, rule, temperature, sources=sources, handover=handover)
                found.count_correct(explainer, x, batch)
                for i, item in enumerate(batch):
                    found.add(explanation, i, item)
                    progress.advance(task)
    finally:  # what is done is kept, also when a later input is bad
        found.write()
    found.report()


def _bar() -> Progress:
    """On standard error, gone when done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _together(batch: list[Item], encoder: Encoder | None, device: str) -> Any:
    """What the model takes of a batch: a tensor, or of texts a mapping."""
    texts = [item.text for item in batch if item.text is not None]
    if encoder is None or not texts:
        return torch.stack([item.x for item in batch]).to(device)
    return {name: tensor.to(device) for name, tensor in encoder.batch(texts).items()}


@dataclass
class _Results:
    """What is written and printed of each input, and what is summed up over all of them.

    ``predicted``: whether the class is explained that the network predicts.
    ``correct``: on how many of the ``labelled`` inputs each of the `TERMS` predicts the label.
    """

    folder: Path
    names: Classes
    pictures: int | None
    patch: int | None
    save: bool
    html: bool
    encoder: Encoder | None = None
    predicted: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    correct: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TERMS, 0))
    labelled: int = 0

    def taken(self, files: Sources) -> Callable[[str], bool]:
        """Whether writing an input's results under a name would destroy a file that is read."""
        kinds = [".png"] * (self.pictures != 0) + [".safetensors"] * self.save + [".html"] * self.html
        return lambda name: any(self.folder / f"{name}{kind}" in files for kind in kinds)

    def count_correct(self, explainer: Explainer, x: Any, batch: list[Item]) -> None:
        """Which class each part of the network alone would predict (the paper's Table 1), where labels are known."""
        labels = [self.names.label(item) for item in batch]
        known = [i for i, label in enumerate(labels) if label is not None]
        if not known:
            return
        linear, bias = map(logits_of, explainer.split(x[known]))
        if not isinstance(linear, Tensor) or linear.dim() != 2:
            return  # not a classifier
        truth = torch.tensor([labels[i] for i in known], device=x.device)
        right = (predicted_classes(linear, bias) == truth[:, None]).sum(0)
        for name, n in zip(TERMS, right.tolist(), strict=True):
            self.correct[name] += n
        self.labelled += len(known)

    def add(self, explanation: Explanation[Any], i: int, item: Item) -> None:
        """Example ``i``, which explains the item: a row of the summary, a line, a picture, a file."""
        chosen = explanation.target[i] if isinstance(explanation.target, list) and explanation.target else 0
        label, chance = self.names.label(item), explanation.probability
        row: dict[str, Any] = {
            "name": item.name,
            "target": explanation.target if isinstance(explanation.target, str) else self._output_name(chosen, item),
            **({} if chance is None else {"probability": chance[i].item()}),
            "output": explanation.output[i].item(),
            "bias": explanation.bias[i].item(),
            "unattributed": explanation.unattributed[i].item(),
            "completeness_error": explanation.completeness_error[i].item(),
            "equation": equation(explanation, i),
            **({"label": self.names.name(label)} if label is not None else {}),
            **self._words(explanation.example(i), item),
        }
        title = shown(f"{item.name}: {self._said(row)}")
        if self.pictures is None or len(self.rows) < self.pictures:
            figure = explanation.plot(i, title=title, **self._look(item))
            write_atomically(self.folder / f"{item.name}.png", partial(figure.savefig, dpi=110))
        self.rows.append(row)
        if len(self.rows) <= LINES:
            say(f"{title}, {row['equation']}")
            self._say_largest(row.get("words", []))
        if self.html:
            explanation.html(self.folder / f"{item.name}.html", i, title=title, **self._page_look(item))
        if self.save:
            explanation.example(i).save(self.folder / f"{item.name}.safetensors")

    def _output_name(self, chosen: Any, item: Item) -> str:
        """What the explained output means: a class, or the token that continues a text."""
        if self.encoder is None or item.text is None or not isinstance(chosen, tuple):
            return self.names.name(chosen)
        return self.names.name(chosen[-1]) if self.names.names else token_texts(chosen[-1:], self.encoder.tokenizer)[0]

    def _said(self, row: dict[str, Any]) -> str:
        """The class or the next token, how sure the network is, and the label where it is another."""
        if not self.names.names and "text" not in row:
            return str(row["target"])
        chance = f" {100 * row['probability']:.0f} %" if "probability" in row else ""
        other = f", labelled {row['label']}" if row.get("label", row["target"]) != row["target"] else ""
        return f"{'predicted ' * self.predicted}{row['target']}{chance}{other}"

    def _look(self, item: Item) -> dict[str, Any]:
        """How it is drawn."""
        if self.encoder is not None and item.text is not None:
            return {"tokenizer": self.encoder.tokenizer}
        names = None if item.feature_names is None else [shown(name) for name in item.feature_names]
        return {"image": item.picture, "feature_names": names, "patch": self.patch}

    def _page_look(self, item: Item) -> dict[str, Any]:
        """How its page looks."""
        names = [self.names.name(i) for i in range(len(self.names.names))] or None
        tokenizer = None if self.encoder is None or item.text is None else self.encoder.tokenizer
        return {"image": item.picture, "features": item.feature_names, "classes": names, "tokenizer": tokenizer}

    def _words(self, one: Explanation[Any], item: Item) -> dict[str, Any]:
        """Of a text: itself, and what its words have received."""
        if self.encoder is None or item.text is None:
            return {}
        rows = []
        for text in tokens_of(one.parts, one.ids, one.axis):
            words = text.words_of(0, self.encoder.tokenizer)
            amounts = zip(words.texts, words.weight_attribution.tolist(), words.bias_attribution.tolist(), strict=True)
            rows += [{"word": word, "weight": w, "bias": beta} for word, w, beta in amounts]
        return {"text": item.text, "words": rows}

    def _say_largest(self, words: list[dict[str, Any]], most: int = 6) -> None:
        """The words that have received most."""
        order = sorted(words, key=lambda word: -abs(word["weight"] + word["bias"]))[:most]
        if order:
            say("  " + ", ".join(f"{shown(word['word'])} {word['weight'] + word['bias']:+.3g}" for word in order))

    def write(self) -> None:
        """summary.json, if there is anything to sum up."""
        if not self.rows:
            return
        accuracy = {name: n / self.labelled for name, n in self.correct.items()} if self.labelled else None
        content = {"summary": self.lines(), "accuracy": accuracy, "inputs": self.rows}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        encoded = text.encode("utf-8", "backslashreplace")  # of names that are not Unicode: as JSON writes it, \udcff
        write_atomically(self.folder / "summary.json", lambda file: file.write_bytes(encoded))

    def report(self) -> None:
        """The last lines on the screen.

        Raises:
            InputError: there was no input.
        """
        if not self.rows:
            raise InputError("No input was selected: check --rows.")
        say("\n".join(self.lines()))
        drawn = len(self.rows) if self.pictures is None else min(self.pictures, len(self.rows))
        say(f"{drawn} picture{'s' if drawn != 1 else ''} and summary.json in {self.folder}")

    def lines(self) -> list[str]:
        """The summary: a few lines a person can repeat to a colleague."""
        f = np.array([row["output"] for row in self.rows])
        b = np.array([row["bias"] for row in self.rows])
        worst = max(row["completeness_error"] for row in self.rows)
        share = np.median(100 * b[f != 0] / f[f != 0]) if (f != 0).any() else 0.0
        lines = [
            f"{len(self.rows)} prediction{'s' if len(self.rows) > 1 else ''} explained: b is "
            f"{'a median ' if len(self.rows) > 1 else ''}{share:z.0f} % of the output; "
            f"complete to {worst:.0e} at worst."
        ]
        if self.labelled:
            shares = ", ".join(f"{100 * n / self.labelled:.1f} % with {name}" for name, n in self.correct.items())
            lines.append(f"Accuracy on {self.labelled} labelled inputs: {shares}.")
        return lines


def _unique(items: Iterator[Item], taken: Callable[[str], bool]) -> Iterator[Item]:
    """Files of one name in several folders get a number, so that no result overwrites another, or an input."""
    given: dict[str, int] = {}
    for item in items:
        plain = _file_name(item.name)
        number = given.get(folded(plain), 0) + 1
        while folded(name := plain if number == 1 else f"{plain}_{number}") in given or taken(name):
            number += 1
        given[folded(plain)] = number
        given.setdefault(folded(name), 1)
        yield replace(item, name=name)


def _file_name(name: str) -> str:
    """A name that every disk and terminal takes; room is left for a number and an ending."""
    plain = "".join("_" if shown(letter) != letter else letter for letter in name)
    return plain.encode()[:200].decode(errors="ignore")
