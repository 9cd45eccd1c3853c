"""What ``biasprop explain`` writes and prints of each input, and sums up over all of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attribution import Explainer, Explanation
from ..auditing import TERMS, logits_of, predicted_classes
from ..errors import InputError
from ..files import write_atomically
from ..loading import Classes, Encoder, Item
from ..report import equation
from ..results import token_texts, tokens_of
from .options import KeptOptions
from .outputs import Sources
from .screen import say, shown

__all__ = ["Explained"]

LINES = 20  # so many inputs are printed one by one; summary.json has all


@dataclass
class Explained:
    """What is written and printed of each input, and what is summed up over all of them.

    ``top``: of how many classes each is explained.
    ``predicted``: whether the class is explained that the network predicts.
    ``correct``: on how many of the ``labelled`` inputs each of the `TERMS` predicts the label.
    """

    folder: Path
    names: Classes
    kept: KeptOptions
    encoder: Encoder | None = None
    predicted: bool = False
    top: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    correct: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TERMS, 0))
    labelled: int = 0

    def taken(self, files: Sources) -> Callable[[str], bool]:
        """Whether writing an input's results under a name would destroy a file that is read."""
        kinds = [".png"] * (self.kept.pictures != 0) + [".safetensors"] * self.kept.save + [".html"] * self.kept.html
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
            **self._likeliest(explanation, i, item),
        }
        title = shown(f"{item.name}: {self._said(row)}")
        if self.kept.pictures is None or len(self.rows) < self.kept.pictures:
            figure = explanation.plot(i, title=title, **self._look(item))
            write_atomically(self.folder / f"{item.name}.png", partial(figure.savefig, dpi=110))
        self.rows.append(row)
        if len(self.rows) <= LINES:
            say(f"{title}, {row['equation']}")
            self._say_largest(row.get("words", []))
            for one in row.get("likeliest", [])[1:]:
                say(shown(f"  {one['target']} {100 * one['probability']:.0f} %, {one['equation']}"))
        if self.kept.html:
            top = self.top if self.top > 1 else 5
            explanation.html(self.folder / f"{item.name}.html", i, title=title, top=top, **self._page_look(item))
        if self.kept.save:
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
            return {"tokenizer": self.encoder.tokenizer, "panels": self.kept.look["panels"]}
        names = None if item.feature_names is None else [shown(name) for name in item.feature_names]
        return {"image": item.picture, "feature_names": names, **self.kept.look}

    def _page_look(self, item: Item) -> dict[str, Any]:
        """How its page looks."""
        names = [self.names.name(i) for i in range(len(self.names.names))] or None
        tokenizer = None if self.encoder is None or item.text is None else self.encoder.tokenizer
        return {"image": item.picture, "features": item.feature_names, "classes": names, "tokenizer": tokenizer}

    def _likeliest(self, explanation: Explanation[Any], i: int, item: Item) -> dict[str, Any]:
        """The classes that are explained beside the first, where that is asked for."""
        several = explanation.likeliest(self.top)
        if not several.several:
            return {}
        rows = []
        for j in range(several.output.shape[1]):
            one = several.for_target(j)
            assert one.probability is not None  # there are classes
            rows.append(
                {
                    "target": self._output_name(one.target[i], item),
                    "probability": one.probability[i].item(),
                    "output": one.output[i].item(),
                    "bias": one.bias[i].item(),
                    "equation": equation(one, i),
                }
            )
        return {"likeliest": rows}

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
        drawn = len(self.rows) if self.kept.pictures is None else min(self.kept.pictures, len(self.rows))
        pages = f", {len(self.rows)} page{'s' * (len(self.rows) != 1)}" if self.kept.html else ""
        say(f"{drawn} picture{'s' * (drawn != 1)}{pages} and summary.json in {self.folder}")

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
