"""The ledger of an audit: what is done, in the order of the examples, so that nothing is lost or taken twice."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import InputError
from ..files import add_tensor
from .findings import Findings
from .state import State, read_state, write_state

__all__ = ["Entry", "Ledger"]

EVERY = 10.0  # seconds between two writes of the state

F = TypeVar("F", bound=Findings)


@dataclass(frozen=True, eq=False)
class Entry:
    """What was found of consecutive examples: tensors ``(N, ...)``, and of each source amount and mass."""

    tensors: dict[str, Tensor]
    sources: dict[tuple[str, str], tuple[Tensor, Tensor]]
    x: Tensor | None = None
    digest: str = ""


class Ledger:
    """The entries so far, in the order of the examples; each with a digest of all examples up to there."""

    def __init__(self, path: Path | None) -> None:
        """Goes on from what is in the file, if there is one.

        Raises:
            FileError: it is damaged, or not an audit.
        """
        self.path = path
        self.entries: list[Entry] = []
        self.network: str | None = None
        self.resumed = 0
        self.skipped = (0, "")
        if path is not None and path.exists():
            self._resume(read_state(path))
        self.saved, self.time, self.pause = len(self.entries), time.monotonic(), EVERY

    def require_network(self, network: str) -> None:
        """The network whose fingerprint this is must be that of the file.

        Raises:
            InputError: it is not.
        """
        if self.network not in (None, network):
            raise InputError(
                f"The audit in {self.path} is of a model with other weights or other operations: remove the file or "
                "choose another."
            )
        self.network = network

    def skip(self, x: Tensor, labels: Tensor, examine: Callable[[Tensor, Tensor], Entry]) -> tuple[Tensor, Tensor]:
        """Without the examples that are done; these, and what the network says of the first, must be as they were."""
        seen, digest = self.skipped
        old = min(self.resumed - seen, len(x))
        if old and not seen:
            before, now = (e.tensors["outputs"][0] for e in (self.entries[0], examine(x[:1], labels[:1])))
            if not torch.isclose(before, now, rtol=1e-3, atol=1e-5):
                raise InputError(
                    f"The audit in {self.path} is of another network (its first logit was {before:.6g}, and is "
                    f"{now:.6g}) or other data: remove the file or choose another."
                )
        if old:
            self.skipped = seen + old, _followed(digest, x[:old], labels[:old])
            if self.skipped[0] == self.resumed and self.skipped[1] != self.entries[0].digest:
                raise InputError(
                    f"The first {self.resumed} examples are not those of the audit in {self.path}. Keep the loader's "
                    "order (shuffle=False, no random augmentation), remove the file, or choose another."
                )
        return x[old:], labels[old:]

    def add(self, entry: Entry) -> None:
        """All of a batch or, whatever interrupts this, nothing."""
        assert entry.x is not None
        before = self.entries[-1].digest if self.entries else ""
        digest = _followed(before, entry.x, entry.tensors["labels"])
        self.entries.append(Entry(entry.tensors, entry.sources, None, digest))
        if time.monotonic() - self.time > self.pause:
            started = time.monotonic()
            self.write()
            self.time = time.monotonic()
            self.pause = max(EVERY, 20 * (self.time - started))

    def write(self) -> None:
        """What is new, atomically."""
        if self.path is None or len(self.entries) == self.saved:
            return
        assert self.network is not None
        write_state(State(self.findings(Findings), self.network, self.entries[-1].digest), self.path)
        self.saved = len(self.entries)

    def findings(self, kind: type[F]) -> F:
        """What was found so far, as findings of that kind."""
        tensors = {name: torch.cat([e.tensors[name] for e in self.entries]) for name in self.entries[0].tensors}
        totals: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        for entry in self.entries:
            for source, (amount, mass) in entry.sources.items():
                before = totals.get(source, (0, 0))
                totals[source] = before[0] + amount, before[1] + mass
        nothing = torch.zeros(0, dtype=torch.float64)
        amounts, masses = (torch.stack([t[i] for t in totals.values()]) if totals else nothing for i in (0, 1))
        return kind(**tensors, amounts=amounts, masses=masses, sources=tuple(totals))

    def close(self, kind: type[F]) -> F:
        """All findings, if the loader came as far as the file.

        Raises:
            InputError: it did not, or held nothing.
        """
        if not self.entries:
            raise InputError("The loader holds no example.")
        if self.skipped[0] < self.resumed:
            raise InputError(
                f"The data hold {self.skipped[0]} examples, but the audit in {self.path} had come to {self.resumed}: "
                "these are other data. Remove the file or choose another."
            )
        return self.findings(kind)

    def _resume(self, state: State) -> None:
        found = state.found
        sources = dict(zip(found.sources, zip(found.amounts, found.masses, strict=True), strict=True))
        tensors = {name: getattr(found, name) for name in ("labels", "classes", "outputs", "biases")}
        self.entries.append(Entry(tensors, sources, None, state.data))
        self.network, self.resumed = state.network, len(found)


def _followed(digest: str, x: Tensor, labels: Tensor) -> str:
    """The digest after further examples; batches make no difference."""
    for example, label in zip(x, labels, strict=True):
        made = hashlib.sha256(f"{digest} {int(label)}".encode())
        add_tensor(made, example)
        digest = made.hexdigest()
    return digest
