"""Smooths long series of numbers to curves of few points, for logarithmic scales."""

from __future__ import annotations

import numpy as np

_POINTS = 120  # few enough to average out the noise, many enough for every bend
_SINGLE = 5  # each of the first values has its own point


def curve(values: np.ndarray) -> list[list[float]]:
    """Smooths a series to about a hundred points [number, mean value]; the values are numbered from 1.

    Points are spaced evenly on a logarithmic scale; each point has the mean of the values from its number up to the next
    point. On such a scale, ten thousand merges share a few millimetres of the chart, and their differences are noise.

    >>> curve(np.array([9, 5, 4]))
    [[1, 9], [2, 5], [3, 4]]
    """
    n = len(values)
    if not n:
        return []
    numbers = np.unique(np.geomspace(1, n, min(n, _POINTS)).round().astype(np.int64))
    numbers = np.union1d(numbers, np.arange(1, min(n, _SINGLE) + 1))
    sums = np.add.reduceat(values.astype(np.float64), numbers - 1)
    means = sums / np.diff(np.append(numbers, n + 1))
    return [[number, _short(mean)] for number, mean in zip(numbers.tolist(), means.tolist(), strict=True)]


def _short(value: float) -> float:
    """Converts a whole number to int, and rounds any other number to five digits."""
    return int(value) if value.is_integer() else float(f"{value:.5g}")
