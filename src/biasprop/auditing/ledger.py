"""The ledger of an audit: what is done, in the order of the examples, so that nothing is lost or taken twice."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import FileError, InputError
from ..files import read_tensors, write_tensors
from .findings import Findings

__all__ = ["FORMAT", "Entry", "Ledger", "digest_of"]

FORMAT = "biasprop-audit-1"
EVERY = 10.0  # seconds between two writes of the state

F = TypeVar("F", bound=Findings)


def digest_of(model: nn.Module) -> str:
    """Of the weights: an audit is resumed with the same network only."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_raw(tensor))
    return digest.hexdigest()


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@dataclass(frozen=True, eq=False)
class Entry:
    """What was found of consecutive examples: tensors ``(N, ...)``, and of each source amount and mass."""

    tensors: dict[str, Tensor]
    sources: dict[tuple[str, str], tuple[Tensor, Tensor]]
    x: Tensor | None = None
    digest: str = ""


class Ledger:
    """The entries so far, in the order of the examples; each with a digest of all examples up to there."""

    def __init__(self, model: str, path: Path | None) -> None:
        """Goes on from what is in the file, if there is one."""
        self.model, self.path = model, path
        self.entries: list[Entry] = []
        self.resumed = 0
        self.skipped = (0, "")
        if path is not None and path.exists():
            self._resume(path)
        self.saved, self.time, self.pause = len(self.entries), time.monotonic(), EVERY

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
        found = self.findings(Findings)
        tensors = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "sources"}
        header = {"model": self.model, "data": self.entries[-1].digest, "sources": found.sources}
        write_tensors(self.path, FORMAT, tensors, header)
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

    def _resume(self, path: Path) -> None:
        header, tensors = read_tensors(path, FORMAT)
        try:
            self._take(header, tensors, path)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileError(f"{path} is not a complete audit: {error!r}. Remove it or choose another.") from error

    def _take(self, header: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
        if header["model"] != self.model:
            raise InputError(
                f"The audit in {path} is of a model with other weights: remove the file or choose another."
            )
        amounts, masses = tensors.pop("amounts"), tensors.pop("masses")
        names = [(name, operation) for name, operation in header["sources"]]
        sources = {name: (a, m) for name, a, m in zip(names, amounts, masses, strict=True)}
        self.entries.append(Entry(tensors, sources, None, header["data"]))
        self.resumed = len(tensors["labels"])


def _followed(digest: str, x: Tensor, labels: Tensor) -> str:
    """The digest after further examples; batches make no difference."""
    for example, label in zip(x, labels, strict=True):
        digest = hashlib.sha256(f"{digest} {int(label)}".encode() + _raw(example)).hexdigest()
    return digest
