"""What was found of some examples of an audit; entries add up to the whole in any order and any split."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..files import add_tensor
from .exact import exact, rounded
from .findings import Findings

__all__ = ["MODULUS", "Entry", "digest_of"]

MODULUS = 2**256


@dataclass(frozen=True, eq=False)
class Entry:
    """Some examples.

    Attributes:
        tensors: ``positions`` in the data set, ``labels``, ``classes``, ``outputs`` and ``biases``, ``(N, ...)``.
        sources: of each source the exact sums of amounts and of magnitudes, see `exact`.
        digest: of the examples, the sum of `digest_of` each.
    """

    tensors: Mapping[str, Tensor]
    sources: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    digest: int = 0

    def __len__(self) -> int:
        return len(self.tensors["positions"])

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], amounts: Mapping[tuple[str, str], Tensor], x: Tensor) -> "Entry":
        """From the amounts ``(N,)`` of each source, and the examples."""
        sums = {source: (exact(amount), exact(amount.abs())) for source, amount in amounts.items()}
        return cls(tensors, sums, digest_of(tensors["positions"], x, tensors["labels"]))

    def __add__(self, other: "Entry") -> "Entry":
        return Entry.total([self, other])

    @classmethod
    def total(cls, entries: Iterable["Entry"]) -> "Entry":
        """All of them together, in the order of their positions."""
        some = list(entries)
        order = torch.cat([entry.tensors["positions"] for entry in some]).argsort()
        tensors = {name: torch.cat([entry.tensors[name] for entry in some])[order] for name in some[0].tensors}
        sources: dict[tuple[str, str], tuple[int, int]] = {}
        for entry in some:
            for source, (amount, mass) in entry.sources.items():
                before = sources.get(source, (0, 0))
                sources[source] = before[0] + amount, before[1] + mass
        return cls(tensors, sources, sum(entry.digest for entry in some) % MODULUS)

    def findings(self) -> Findings:
        """With the sums rounded."""
        amounts, masses = (rounded([pair[k] for pair in self.sources.values()]) for k in (0, 1))
        labels, classes, outputs, biases = (self.tensors[name] for name in ("labels", "classes", "outputs", "biases"))
        names = tuple(self.sources)
        return Findings(labels, classes, outputs, biases, amounts, masses, names, positions=self.tensors["positions"])


def digest_of(positions: Tensor, x: Tensor, labels: Tensor) -> int:
    """Of examples and where they stand; those of several sets of examples add up to that of all, modulo `MODULUS`."""
    total = 0
    for position, example, label in zip(positions.tolist(), x, labels.tolist(), strict=True):
        made = hashlib.sha256(f"{position} {label}".encode())
        add_tensor(made, example)
        total += int.from_bytes(made.digest(), "big")
    return total % MODULUS
