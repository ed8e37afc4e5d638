"""How evenly a tokenizer treats texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def evenness(costs: Sequence[float]) -> tuple[float, float]:
    """Computes parity, the highest cost divided by the lowest, and the Gini coefficient.

    >>> evenness([1.0, 3.0])
    (3.0, 0.25)
    """
    return max(costs) / min(costs), gini(costs)


def gini(costs: Sequence[float]) -> float:
    """Computes the Gini coefficient: the mean difference of two values, divided by twice their mean.

    >>> gini([1.0, 1.0]), gini([1.0, 3.0])
    (0.0, 0.25)
    """
    values = np.array(costs)
    return float(np.abs(values[:, None] - values).mean() / (2 * values.mean()))
