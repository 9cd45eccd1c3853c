"""What an audit finds: the paper's Table 1 for one network, as numbers and as text."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .terms import TERMS

__all__ = ["Findings", "wilson"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's confidence interval for a share of ``n`` examples."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


@dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found, over N examples and S bias sources.

    Attributes:
        labels: the true classes, ``(N,)`` int64.
        classes: the classes that ``w.x + b``, ``w.x`` alone and ``b`` alone predict, ``(N, 3)`` int64.
        outputs: the predicted logit f, ``(N,)`` float64.
        biases: its bias b, ``(N,)`` float64.
        amounts: sum over the examples of each source's amount, ``(S,)`` float64; they add up to ``biases.sum()``.
        masses: the same of the amounts' magnitudes.
        sources: name and operation of each source.
        errors: id and reason of examples that could not be read or explained, and are left out.
        positions: of the examples in the data set, ``(N,)`` int64; default: one after the other.
    """

    labels: Tensor
    classes: Tensor
    outputs: Tensor
    biases: Tensor
    amounts: Tensor
    masses: Tensor
    sources: tuple[tuple[str, str], ...]
    errors: tuple[tuple[str, str], ...] = ()
    positions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> dict[str, float]:
        """Of ``w.x + b``, ``w.x alone`` and ``b alone``, from 0 to 1."""
        right = (self.classes == self.labels[:, None]).double().mean(0)
        return dict(zip(TERMS, right.tolist(), strict=True))

    @property
    def agreement(self) -> dict[str, float]:
        """How often each term alone predicts what the network predicts, from 0 to 1; no label is needed for it."""
        same = (self.classes == self.classes[:, :1]).double().mean(0)
        return dict(zip(TERMS, same.tolist(), strict=True))

    def interval(self, share: float, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's confidence interval for a share of the examples."""
        return wilson(share, len(self), confidence)

    @property
    def shares(self) -> Tensor:
        """b over the predicted logit, ``(M,)``: of the examples whose logit is not 0."""
        there = self.outputs != 0
        return self.biases[there] / self.outputs[there]

    def quantiles(self) -> dict[float, float]:
        """Of the shares; NaN where there are none."""
        values = self.shares.numpy() if len(self.shares) else np.full(1, np.nan)
        return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))  # torch takes 16 million

    def standing_out(self, most: int = 8) -> dict[str, list[int]]:
        """Which examples are worth a look, of each kind ``most`` at most: the surest first, and those of most bias."""
        right = self.classes == self.labels[:, None]
        whole, linear, bias = right.unbind(1)
        shares = torch.where(self.outputs != 0, self.biases / self.outputs, -torch.inf)
        kinds = {
            "the network is wrong, and w.x alone is right": (linear & ~whole, self.outputs),
            "b alone is right, and w.x alone is wrong": (bias & ~linear, self.outputs),
            "largest share of bias in the predicted logit": (self.outputs != 0, shares),
        }
        found = {}
        for kind, (there, size) in kinds.items():
            order = torch.where(there, size, -torch.inf).argsort(descending=True, stable=True)
            found[kind] = order[: min(most, int(there.sum()))].tolist()
        return found

    def summary(self) -> str:
        """The lines a person can repeat to a colleague."""
        both, linear, bias = (f"{100 * value:.1f} %" for value in self.accuracy.values())
        median = self.quantiles()[0.5]
        known = not math.isnan(median)
        share = f"b is a median {100 * median:z.0f} % of the predicted logit" if known else "every predicted logit is 0"
        lost = f" ({len(self.errors)} more could not be read)" if self.errors else ""
        right = f"the network is right on {both}, w.x alone on {linear}, b alone on {bias}"
        return f"{len(self)} examples{lost}: {right}; {share}."

    def __str__(self) -> str:
        lines = [f"{'':<12}{'accuracy, %':>12}{'95 % interval':>18}{'agrees with the network, %':>30}"]
        for name in TERMS:
            low, high = self.interval(self.accuracy[name])
            interval = f"{100 * low:.1f} to {100 * high:.1f}"
            lines.append(
                f"{name:<12}{100 * self.accuracy[name]:>12.1f}{interval:>18}{100 * self.agreement[name]:>30.1f}"
            )
        cells = ", ".join(f"{100 * q:g} %: {value:.2f}" for q, value in self.quantiles().items())
        lines += ["", f"b / predicted logit, quantiles: {cells}"]
        if self.sources:
            width = max(len(name) for name, _ in self.sources)
            lines += ["", f"{'bias source':<{width}}{'share of the bias mass, %':>28}{'mean amount':>14}"]
        order = self.masses.argsort(descending=True).tolist()
        total = max(self.masses.sum().item(), torch.finfo(torch.float64).tiny)
        for i in order[:10]:
            share, mean = 100 * self.masses[i].item() / total, self.amounts[i].item() / len(self)
            lines.append(f"{self.sources[i][0]:<{width}}{share:>28.1f}{mean:>14.4g}")
        more = [f"... and {len(order) - 10} more"] if len(order) > 10 else []
        return "\n".join([*lines, *more, "", self.summary()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary()})"

    def figures(self) -> dict[str, Any]:
        """All of it but the single examples, as plain numbers for JSON."""
        n = len(self)
        return {
            "examples": n,
            "errors": [{"id": name, "reason": reason} for name, reason in self.errors],
            "accuracy": self.accuracy,
            "interval": {name: self.interval(value) for name, value in self.accuracy.items()},
            "agreement": self.agreement,
            "bias over predicted logit": {
                f"{q:g}": None if math.isnan(value) else value for q, value in self.quantiles().items()
            },
            "sources": [
                {"name": name, "operation": operation, "mean amount": amount / n, "mean magnitude": mass / n}
                for (name, operation), amount, mass in zip(
                    self.sources, self.amounts.tolist(), self.masses.tolist(), strict=True
                )
            ],
            "summary": self.summary(),
        }
