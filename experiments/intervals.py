"""Intervals and summaries of what is measured on single examples."""

from typing import Any

import numpy as np
from matplotlib.cbook import boxplot_stats
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap

__all__ = ["box", "mean_interval", "median_interval", "share_interval"]

RESAMPLES = 2000


def _bootstrapped(values: ArrayLike, statistic: Any) -> tuple[float, float, float]:
    array = np.asarray(values, dtype=np.float64)
    value = float(statistic(array))
    if len(array) < 2 or array.std() == 0:
        return value, value, value
    options = {"n_resamples": RESAMPLES, "method": "percentile", "vectorized": True, "batch": 200}
    found = bootstrap((array,), statistic, rng=np.random.default_rng(0), **options).confidence_interval
    return value, float(found.low), float(found.high)


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval (bootstrap, percentiles)."""
    return _bootstrapped(values, np.mean)


def median_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Median and the ends of its 95 % interval (bootstrap, percentiles)."""
    return _bootstrapped(values, np.median)


def share_interval(hits: int, of: int) -> tuple[float, float, float]:
    """Share in percent and the ends of its 95 % interval (Wilson)."""
    found = binomtest(hits, of).proportion_ci(method="wilson")
    return 100 * hits / of, 100 * float(found.low), 100 * float(found.high)


def box(values: ArrayLike) -> dict[str, float]:
    """What a box plot shows: quartiles, and whiskers at 1.5 interquartile ranges; without the outliers."""
    stats = boxplot_stats(np.asarray(values, dtype=np.float64))[0]
    return {key: float(stats[key]) for key in ("med", "q1", "q3", "whislo", "whishi", "mean")}
