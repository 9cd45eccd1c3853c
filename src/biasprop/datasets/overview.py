"""What the attributions of a data set say together: how much is bias, where it comes from, what stands out."""

import math
from dataclasses import dataclass
from typing import Any

from .tallies import NO_CLASS, Tally

__all__ = ["Outlier", "Overview"]


@dataclass(frozen=True)
class Outlier:
    """An example that stands out: its id, class, and by how much."""

    id: str
    target: int
    value: float


@dataclass(frozen=True, eq=False)
class Overview:
    """The attributions of a data set, summed up.

    Attributes:
        tallies: by class, the largest first.
        whole: over all of it.
        names: of the classes.
        features: names of the features of a table.
        by: whether classes are those that are explained, ``"target"``, or the true ones, ``"label"``.
        errors: how many examples could not be explained.
        most_bias: the examples with the largest share of bias in f.
        most_unattributed: with the most bias that reached no input.
        disagreeing: for which w.x alone and b alone predict different classes, those surest first; empty where the
            terms were not kept.
        title: the data set.
    """

    tallies: dict[int, Tally]
    whole: Tally
    names: list[str]
    features: list[str] | None
    by: str
    errors: int
    most_bias: list[Outlier]
    most_unattributed: list[Outlier]
    disagreeing: list[Outlier]
    title: str

    def __len__(self) -> int:
        return self.whole.count

    def name(self, index: int) -> str:
        """Of a class."""
        return "no label" if index == NO_CLASS and self.by == "label" else self.name_of_target(index)

    def name_of_target(self, index: int) -> str:
        """Of what was explained."""
        if index == NO_CLASS:
            return "the output"
        return self.names[index].split(",")[0] if 0 <= index < len(self.names) else f"output {index}"

    def headline(self) -> str:
        """The line a person can repeat to a colleague."""
        share, compared = self.whole.share, self.whole.compared
        text = f"{self.whole.count} examples of {self.title} explained"
        text += f", {self.errors} could not be" if self.errors else ""
        text += "" if math.isnan(share) else f": b is a median {100 * share:z.0f} % of the output"
        if compared:
            linear, bias = (f"{100 * n / compared:.0f} %" for n in self.whole.agreeing)
            text += f"; w.x alone agrees with the network on {linear}, b alone on {bias}"
        return f"{text}."

    def __str__(self) -> str:
        lines = [self.headline(), "", f"{'class':<28}{'examples':>9}{'right':>8}{'f':>10}{'b':>10}{'b / f':>8}"]
        for index in list(self.tallies)[:20]:
            name, count, right, f, b, share = self.cells(index)
            lines.append(f"{name[:27]:<28}{count:>9}{right:>8}{f:>10}{b:>10}{share:>8}")
        lines += [f"... and {len(self.tallies) - 20} more"] if len(self.tallies) > 20 else []
        for title, found, form in (
            ("largest share of bias, b / f", self.most_bias, "{:.0%}"),
            ("most unattributed", self.most_unattributed, "{:.3g}"),
            ("w.x alone and b alone predict different classes, f", self.disagreeing, "{:.3g}"),
        ):
            lines += ["", f"{title}:"] if found else []
            lines += [f"  {form.format(one.value)}  {one.id}, {self.name_of_target(one.target)}" for one in found]
        if self.whole.sources:
            lines += ["", "bias by source: mean amount, share of the mass"]
            mass = max(sum(float(pair[1]) for pair in self.whole.sources.values()), 1e-300)
            for name, pair in self.sources()[:10]:
                lines.append(f"  {name:<32}{pair[0] / self.whole.count:>10.4g}{100 * pair[1] / mass:>7.1f} %")
        return "\n".join(lines)

    def cells(self, index: int) -> tuple[str, ...]:
        """Of a class: name, examples, how many are right, mean f, mean b, median of b / f."""
        tally = self.tallies[index]
        right = f"{100 * tally.right / tally.labelled:.0f} %" if tally.labelled else ""
        share = "" if math.isnan(tally.share) else f"{100 * tally.share:z.0f} %"
        means = (f"{value / tally.count:.4g}" for value in (tally.output, tally.bias))
        return (self.name(index), str(tally.count), right, *means, share)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.headline()})"

    def sources(self) -> list[tuple[str, Any]]:
        """Name, amount and magnitude summed over the examples, the largest first."""
        return sorted(self.whole.sources.items(), key=lambda one: -float(one[1][1]))

    def figures(self) -> dict[str, Any]:
        """All of it as plain numbers, for JSON; maps as nested lists."""
        return {
            "summary": self.headline(),
            "by": self.by,
            "examples": len(self),
            "errors": self.errors,
            "whole": self._plain(self.whole),
            "classes": [{"class": i, "name": self.name(i), **self._plain(t)} for i, t in self.tallies.items()],
            **{
                name: [{"id": one.id, "target": one.target, "value": one.value} for one in getattr(self, name)]
                for name in ("most_bias", "most_unattributed", "disagreeing")
            },
        }

    def _plain(self, tally: Tally) -> dict[str, Any]:
        maps = tally.map()
        n = max(tally.count, 1)
        return {
            "examples": tally.count,
            "accuracy": tally.right / tally.labelled if tally.labelled else None,
            "mean output": tally.output / n,
            "mean bias": tally.bias / n,
            "median bias over output": None if math.isnan(tally.share) else tally.share,
            "mean unattributed": tally.unattributed / n,
            "agreement of w.x, of b": (tally.agreeing / tally.compared).tolist() if tally.compared else None,
            "features": self.features,
            "mean attribution": None if maps is None else maps[0].tolist(),
            "mean bias attribution": None if maps is None else maps[1].tolist(),
            "tokens": dict(sorted(tally.tokens.items(), key=lambda one: -abs(one[1]))[:50]),
            "sources": {
                name: {"mean amount": a / n, "mean magnitude": m / n} for name, (a, m) in tally.sources.items()
            },
        }
