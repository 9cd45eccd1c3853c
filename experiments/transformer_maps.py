"""The maps of a transformer that T1 compares: gradient * input, integrated gradients, and ours in every mode."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

import biasprop

from .players import Players, gradient, integrated_gradients
from .subjects import Subject

__all__ = ["MODES", "RULES", "Case", "make_maps", "predicted"]

MODES: tuple[Literal["tangent", "half", "frozen"], ...] = ("tangent", "half", "frozen")
RULES = ("bias1", "bias2", "bias3")


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


@torch.no_grad()
def predicted(players: Players, batch: Any) -> Tensor:
    """The class of every example, ``(N,)``."""
    return players.output(batch, players.features(batch)).argmax(1)


def make_maps(
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
