"""What is shown or taken away: patches of an image, tokens of a sentence; and the curves of doing so in an order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from biasprop.metrics import blurred

from .sentences import Classifier, encoded
from .subjects import Subject

__all__ = ["ImagePlayers", "Players", "TokenPlayers", "areas", "gradient", "integrated_gradients"]


class Players(Protocol):
    """Examples of one network, the players of each, and ways to take players away.

    A *batch* is what the network is explained at: an images tensor, or token ids and attention mask.
    """

    @property
    def model(self) -> Any:
        """In eval mode."""

    @property
    def replacements(self) -> tuple[str, ...]:
        """Names of what takes the place of a player."""

    def batches(self, size: int) -> Sequence[Any]:
        """All examples."""

    def present(self, batch: Any) -> Tensor:
        """Which players an example has, ``(N, P)`` bool."""

    def scores(self, attribution: Tensor) -> Tensor:
        """The sum of a map in each player, ``(N, P)``."""

    def logits(self, batch: Any, shown: Tensor, replacement: str) -> Tensor:
        """Of the network where players that are not ``shown`` ``(N, P)`` are replaced."""

    def features(self, batch: Any) -> Tensor:
        """What is attributed to: pixels as the network sees them, or embeddings of the tokens."""

    def output(self, batch: Any, features: Tensor) -> Tensor:
        """Logits of these features."""

    def baselines(self, batch: Any) -> dict[str, Tensor]:
        """Of integrated gradients, by name; like the features."""


@dataclass(frozen=True, eq=False)
class ImagePlayers:
    """Square patches of images, replaced by the mean colour (zero, as the network sees it) or by a blurred image.

    ``x`` ``(N, C, H, W)``; ``side`` of a patch divides H and W.
    """

    subject: Subject
    x: Tensor
    side: int = 4
    replacements: tuple[str, ...] = ("mean colour", "blur")

    @property
    def model(self) -> Any:
        """In eval mode."""
        return self.subject.model

    def batches(self, size: int) -> Sequence[Tensor]:
        """Of images."""
        return list(self.x.split(size))

    def present(self, batch: Tensor) -> Tensor:
        """All are."""
        return torch.ones_like(self.scores(batch), dtype=torch.bool)

    def scores(self, attribution: Tensor) -> Tensor:
        """Sum over the pixels and channels of a patch."""
        return F.avg_pool2d(attribution.sum(1, keepdim=True), self.side).flatten(1) * self.side**2

    def logits(self, batch: Tensor, shown: Tensor, replacement: str) -> Tensor:
        """Of the image with other patches."""
        grid = shown.reshape(len(batch), 1, batch.shape[2] // self.side, -1)
        pixels = grid.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)
        away = blurred(batch) if replacement == "blur" else torch.zeros_like(batch)
        return self.subject.model(torch.where(pixels, batch, away))  # type: ignore[no-any-return]

    def features(self, batch: Tensor) -> Tensor:
        """The image."""
        return batch

    def output(self, batch: Tensor, features: Tensor) -> Tensor:
        """Of the network."""
        return self.subject.model(features)  # type: ignore[no-any-return]

    def baselines(self, batch: Tensor) -> dict[str, Tensor]:
        """The mean colour, and black."""
        return {"mean colour": torch.zeros_like(batch), "black": self.subject.black.expand_as(batch)}


@dataclass(frozen=True, eq=False)
class TokenPlayers:
    """Tokens of sentences, except those that begin and end one; replaced by ``[MASK]``, or hidden from attention."""

    classifier: Classifier
    tokenizer: Any
    texts: tuple[str, ...]
    replacements: tuple[str, ...] = ("[MASK]", "hidden")

    @property
    def model(self) -> Any:
        """In eval mode."""
        return self.classifier

    @cached_property
    def ids(self) -> dict[str, Tensor]:
        """Of all sentences, padded to one length."""
        return encoded(self.tokenizer, self.texts)

    def batches(self, size: int) -> Sequence[dict[str, Tensor]]:
        """Of token ids and masks."""
        parts = {name: values.split(size) for name, values in self.ids.items()}
        return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]

    def present(self, batch: dict[str, Tensor]) -> Tensor:
        """Which tokens are words or parts of them."""
        special = torch.tensor(self.tokenizer.all_special_ids)
        return (batch["attention_mask"] != 0) & ~torch.isin(batch["input_ids"], special)

    def scores(self, attribution: Tensor) -> Tensor:
        """Sum over the numbers of an embedding."""
        return attribution.sum(2)

    def logits(self, batch: dict[str, Tensor], shown: Tensor, replacement: str) -> Tensor:
        """Of the sentence with other tokens, or without them (the others stay where they are)."""
        longest = int(batch["attention_mask"].sum(1).max())  # nothing is computed at padding
        ids, mask = batch["input_ids"][:, :longest], batch["attention_mask"][:, :longest]
        away = (self.present(batch) & ~shown)[:, :longest]
        if replacement == "hidden":
            return self.classifier(ids, mask * ~away)  # type: ignore[no-any-return]
        return self.classifier(torch.where(away, self.tokenizer.mask_token_id, ids), mask)  # type: ignore[no-any-return]

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """Embeddings, ``(N, L, D)``."""
        return self.classifier.embedded(batch["input_ids"])

    def output(self, batch: dict[str, Tensor], features: Tensor) -> Tensor:
        """Of the network."""
        return self.classifier(attention_mask=batch["attention_mask"], inputs_embeds=features)  # type: ignore[no-any-return]

    def baselines(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The embedding of ``[MASK]``, and zero; what is no player stays."""
        features, player = self.features(batch), self.present(batch)[..., None]
        mask = self.classifier.embedded(torch.tensor(self.tokenizer.mask_token_id))
        return {"[MASK]": torch.where(player, mask, features), "zero": features * ~player}


def gradient(players: Players, batch: Any, features: Tensor, target: Tensor) -> Tensor:
    """Of the target's logit by the features."""
    features = features.detach().requires_grad_()
    logits = players.output(batch, features).gather(1, target[:, None])
    return torch.autograd.grad(logits.sum(), features)[0]


def integrated_gradients(players: Players, batch: Any, target: Tensor, baseline: Tensor, steps: int) -> Tensor:
    """Midpoints of the way from the baseline."""
    way = players.features(batch) - baseline
    total = torch.zeros_like(way)
    for i in range(steps):
        total += gradient(players, batch, baseline + (i + 0.5) / steps * way, target)
    return total / steps * way


Value = Callable[[Tensor, Tensor], Tensor]
"""From logits ``(N, C)`` and targets ``(N,)`` to a number per example."""

VALUES: dict[str, Value] = {
    "probability": lambda logits, target: logits.softmax(1).gather(1, target[:, None])[:, 0],
    "logit": lambda logits, target: logits.gather(1, target[:, None])[:, 0],
}


@torch.no_grad()
def areas(
    players: Players, batch: Any, target: Tensor, scores: Tensor, replacement: str, steps: int
) -> dict[str, dict[str, Tensor]]:
    """Areas under the insertion and the deletion curve of the target's probability and logit, per example.

    The players are taken in the order of their scores, the largest first, ``steps`` shares of them from 0 to 1.

    Args:
        players: of the batch.
        batch: N examples.
        target: class of each, ``(N,)``.
        scores: ``(N, P)``.
        replacement: one of ``players.replacements``.
        steps: besides 0.

    Returns:
        ``{"probability" or "logit": {"insertion" or "deletion": (N,)}}``.
    """
    there = players.present(batch)
    count = there.sum(1, keepdim=True)
    rank = scores.where(there, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    curves: dict[str, dict[str, list[Tensor]]] = {name: {"insertion": [], "deletion": []} for name in VALUES}
    for i in range(steps + 1):
        first = rank < (i * count / steps).round()
        for kind, shown in (("insertion", first), ("deletion", ~first)):
            logits = players.logits(batch, shown & there, replacement).double()
            for name, value in VALUES.items():
                curves[name][kind].append(value(logits, target))
    return {
        name: {kind: torch.trapezoid(torch.stack(values), dx=1 / steps, dim=0) for kind, values in both.items()}
        for name, both in curves.items()
    }
