"""One code, two engines."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

from ..errors import InputError
from .local import run_here
from .on_ray import is_ray_dataset, run_on_ray

__all__ = ["ENGINES", "Engine", "Pool", "Work", "blocks_of", "run"]

Engine = Literal["local", "ray"]

ENGINES: tuple[str, ...] = get_args(Engine)

Work = Callable[[], Callable[[Any], Any]]
"""Makes a worker's function, from blocks to results; called once in each worker, which may be another process."""


@dataclass(frozen=True)
class Pool:
    """Where work is done.

    Attributes:
        engine: ``"local"``, this process, or ``"ray"``.
        workers: of Ray, how many; None for one for each CPU (or GPU) of the cluster.
        gpus: of Ray, that each worker takes.
    """

    engine: Engine = "local"
    workers: int | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"engine must be {' or '.join(map(repr, ENGINES))}, not {self.engine!r}.")
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise InputError(f"workers must be a positive whole number, not {self.workers!r}.")
        if not self.gpus >= 0:
            raise InputError(f"gpus must not be negative, and is {self.gpus!r}.")
        if self.engine == "local" and (self.workers is not None or self.gpus):
            raise InputError("workers and gpus are for engine='ray'; the local engine is this process.")


def run(work: Work, blocks: Any, pool: Pool, batch_size: int = 1) -> Iterator[Any]:
    """What workers make of each block: lists of positions, or of a ``ray.data.Dataset`` its batches.

    The local engine keeps their order; Ray gives what is done.

    Raises:
        BiaspropError: what a worker raises; see `run_on_ray`.
    """
    if pool.engine == "ray" or is_ray_dataset(blocks):
        given = blocks if is_ray_dataset(blocks) else list(blocks)
        return run_on_ray(work, given, pool.workers, pool.gpus, batch_size)
    return run_here(work, blocks)


def blocks_of(positions: Iterable[int], size: int) -> Iterator[list[int]]:
    """Ascending positions in blocks that are the same whatever was done before: those of one quotient by ``size``."""
    return (list(block) for _, block in groupby(positions, lambda position: position // size))
