"""The ledger of an audit: what is done, so that nothing is lost or taken twice."""

import time
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from .entry import MODULUS, Entry, digest_of
from .findings import Findings
from .state import State, read_state, write_state

__all__ = ["Ledger"]

EVERY = 10.0  # seconds between two writes of the state


class Ledger:
    """The entries so far, in whatever order they come."""

    def __init__(self, path: Path | None) -> None:
        """Goes on from what is in the file, if there is one.

        Raises:
            FileError: it is damaged, or not an audit.
        """
        self.path = path
        self.entries: list[Entry] = []
        self.network: str | None = None
        if path is not None and path.exists():
            state = read_state(path)
            self.entries, self.network = [state.entry], state.network
        self.old = self.entries[0] if self.entries else None
        self.done = frozenset(self.old.tensors["positions"].tolist() if self.old else ())
        self.seen, self.digest = 0, 0
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

    @property
    def first(self) -> int | None:
        """The position of the first example that is in the file."""
        return None if self.old is None else int(self.old.tensors["positions"][0])

    def require_first(self, now: Entry) -> None:
        """The first example of the file must give what it gave.

        Raises:
            InputError: it does not.
        """
        assert self.old is not None
        before, after = (entry.tensors["outputs"][0] for entry in (self.old, now))
        if not torch.isclose(before, after, rtol=1e-3, atol=1e-5):
            raise InputError(
                f"The audit in {self.path} is of another network (its first logit was {before:.6g}, and is "
                f"{after:.6g}) or other data: remove the file or choose another."
            )

    def skip(self, count: int, digest: int) -> None:
        """Examples that are done have been met again.

        Raises:
            InputError: all of them have, and they are not those of the file.
        """
        self.seen, self.digest = self.seen + count, (self.digest + digest) % MODULUS
        if self.old is not None and count and self.seen == len(self.old) and self.digest != self.old.digest:
            raise InputError(
                f"The {self.seen} examples that are done are not those of the audit in {self.path}. Keep the loader's "
                "order (shuffle=False, no random augmentation), remove the file, or choose another."
            )

    def without_done(self, x: Tensor, labels: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Consecutive examples but those that are done, with their positions; the others are skipped."""
        positions = torch.arange(start, start + len(x))
        old = torch.tensor([one in self.done for one in positions.tolist()], dtype=torch.bool)
        self.skip(int(old.sum()), digest_of(positions[old], x[old], labels[old]))
        return x[~old], labels[~old], positions[~old]

    def add(self, entry: Entry) -> None:
        """All of a batch or, whatever interrupts this, nothing."""
        self.entries.append(entry)
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
        self.entries = [Entry.total(self.entries)]
        write_state(State(self.entries[0], self.network), self.path)
        self.saved = 1

    def close(self) -> Findings:
        """All findings, if all examples of the file were met.

        Raises:
            InputError: they were not, or there was none.
        """
        if not self.entries:
            raise InputError("The loader holds no example.")
        if self.old is not None and self.seen < len(self.old):
            raise InputError(
                f"The data hold {self.seen} examples, but the audit in {self.path} had come to {len(self.old)}: "
                "these are other data. Remove the file or choose another."
            )
        return Entry.total(self.entries).findings()
