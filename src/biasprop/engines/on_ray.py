"""Ray Data as the engine: a pool of actors, here or on a cluster. It schedules, and starts again what dies."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BiaspropError, EngineError, InputError
from ..extras import require

__all__ = ["Actor", "is_ray_dataset", "run_on_ray"]

BLOCKS = 10_000
"""Tasks of Ray at most; each is one block, or several."""


class Actor:
    """What runs in a process of Ray: a worker, made at the first block, so that its errors are told like others."""

    def __init__(self, work: Callable[[], Callable[[Any], Any]], key: str | None = None) -> None:
        """``key``: the column that holds the blocks; None where a batch is one."""
        self.work, self.key = work, key
        self.worker: Callable[[Any], Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The results of some blocks, or the error that one raised."""
        blocks = [batch] if self.key is None else list(batch[self.key])
        results = np.empty(len(blocks), dtype=object)
        for k, block in enumerate(blocks):
            results[k] = self._result(block)
        return {"result": results}

    def _result(self, block: Any) -> Any:
        try:
            if self.worker is None:
                self.worker = self.work()
            return self.worker(block)
        except BiaspropError as error:
            return error
        except Exception as error:  # of the user's model or data: told as it is, without a traceback through Ray
            return EngineError(f"A worker failed: {type(error).__name__}: {error}")


def run_on_ray(
    work: Callable[[], Callable[[Any], Any]],
    blocks: Any,
    workers: int | None = None,
    gpus: float = 0.0,
    batch_size: int = 1,
) -> Iterator[Any]:
    """What actors make of each block, as they are done.

    Args:
        work: makes an actor's function, once in each.
        blocks: lists of positions, or a ``ray.data.Dataset``, whose batches are the blocks.
        workers: how many actors; default: one for each CPU of the cluster, or for each share of its GPUs.
        gpus: that each of them takes.
        batch_size: rows of a block of a data set.

    Raises:
        MissingExtra: Ray is not installed.
        InputError: the cluster has fewer GPUs than one actor needs.
        EngineError: Ray gives up, or a worker fails for another reason than an error of ours.
        BiaspropError: what a worker raised.
    """
    ray, data = require("ray", "ray"), require("ray.data", "ray")
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False, configure_logging=True)
    fit = _as_many_as_fit(ray, gpus)
    count = workers or fit
    given = is_ray_dataset(blocks)
    if not given:
        if not len(blocks):
            return
        rows = [{"block": np.asarray(block)} for block in blocks]
        blocks = data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
        count = min(count, len(rows))
    options = {"num_gpus": gpus} if gpus else {"num_cpus": 1}
    with _quiet(data):
        made = blocks.map_batches(
            Actor,
            fn_constructor_args=(work, None if given else "block"),
            compute=data.ActorPoolStrategy(size=count),
            batch_size=batch_size if given else 1,
            batch_format="numpy",
            **options,
        )
        try:
            for row in made.iter_rows():
                if isinstance(row["result"], Exception):
                    raise row["result"]
                yield row["result"]
        except ray.exceptions.RayError as error:
            raise EngineError(f"Ray gave up: {str(error).strip().splitlines()[-1]}") from error


def is_ray_dataset(data: Any) -> bool:
    """Without importing Ray."""
    return type(data).__module__.startswith("ray.data") and hasattr(data, "map_batches")


def _as_many_as_fit(ray: Any, gpus: float) -> int:
    resources = ray.cluster_resources()
    fit = int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 1))
    if not fit and gpus:
        raise InputError(f"The cluster has {resources.get('GPU', 0):g} GPUs, and a worker needs {gpus:g}.")
    return max(1, fit)


@contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Without Ray Data's own bars and remarks, which are then as they were."""
    context, logger = data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.print_on_execution_start, logger.level
    context.enable_progress_bars = context.print_on_execution_start = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before[:2]
        logger.setLevel(before[2])
