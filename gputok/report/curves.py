"""Long series of numbers as curves of few points, for scales that are logarithmic."""

from __future__ import annotations

import numpy as np

_POINTS = 120  # few enough that the noise of neighbours is gone, many enough for every bend
_SINGLE = 5  # the first places, which keep a point each


def curve(values: np.ndarray) -> list[list[float]]:
    """Smooths a series to about a hundred points [place, mean value], places counted from 1.

    Places are evenly spread over a logarithmic scale; each point has the mean of the values from its place to before the
    next. What neighbours differ by is noise there: ten thousand merges share a finger's width of the chart.

    >>> curve(np.array([9, 5, 4]))
    [[1, 9], [2, 5], [3, 4]]
    """
    n = len(values)
    if not n:
        return []
    places = np.unique(np.geomspace(1, n, min(n, _POINTS)).round().astype(np.int64))
    places = np.union1d(places, np.arange(1, min(n, _SINGLE) + 1))
    sums = np.add.reduceat(values.astype(np.float64), places - 1)
    means = sums / np.diff(np.append(places, n + 1))
    return [[place, _short(mean)] for place, mean in zip(places.tolist(), means.tolist(), strict=True)]


def _short(value: float) -> float:
    """An int if the value is one, else five digits of it."""
    return int(value) if value.is_integer() else float(f"{value:.5g}")
