"""Curves: compression by vocabulary size, and long series of numbers as few points; and tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gputok.lazy import public
from gputok.models.bpe.tables import positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.models.bpe.model import BPE
    from gputok.types import Counts, Positions

_POINTS = 120  # few enough to average out the noise, many enough for every bend
_SINGLE = 5  # each of the first values has its own point


@public("gputok.report")
class CompressionCurve(NamedTuple):
    """How many tokens a text has by vocabulary size.

    Attributes:
        vocab_sizes: int64[n], from the size without merges to that of the tokenizer.
        n_tokens: int64[n], the tokens of the text with each size.
        n_bytes: the bytes of the text.
    """

    vocab_sizes: Positions
    n_tokens: Counts
    n_bytes: int

    def bytes_per_token(self, vocab_size: int) -> float:
        """Returns the bytes of the text for each token, with a vocabulary of this size."""
        at = int(np.searchsorted(self.vocab_sizes, vocab_size))
        if at == len(self.vocab_sizes) or self.vocab_sizes[at] != vocab_size:
            raise ValueError(f"{vocab_size:,} is not a size from {self.vocab_sizes[0]:,} to {self.vocab_sizes[-1]:,}")
        return self.n_bytes / max(int(self.n_tokens[at]), 1)


def tokens_by_merge(model: BPE) -> tuple[Positions, Positions]:
    """Returns the tokens (positions in the vocabulary) that merges make, by their first merges, and these merges."""
    tokens, first = np.unique(positions(model)[2], return_index=True)
    order = np.argsort(first)
    return tokens[order], first[order]


def curve(values: np.ndarray) -> list[list[float]]:
    """Smooths a series to about a hundred points [number, mean value]; the values are numbered from 1.

    Points are spaced evenly on a logarithmic scale; each point has the mean of the values from its number up to the
    next point. On such a scale, ten thousand merges share a few millimetres of the chart, and their differences are
    noise.

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


def compression(sizes: np.ndarray, n_tokens: np.ndarray, n_bytes: int) -> list[list[float]]:
    """Takes about a hundred points [vocabulary size, bytes a token] of a `CompressionCurve`, for a logarithmic scale of sizes.

    >>> compression(np.array([2, 3, 4]), np.array([8, 5, 4]), 8)
    [[2, 1], [3, 1.6], [4, 2]]
    """
    n = len(sizes)
    at = np.unique(np.searchsorted(sizes, np.geomspace(max(sizes[0], 1), max(sizes[-1], 1), _POINTS)).clip(0, n - 1))
    each = n_bytes / np.maximum(n_tokens[at], 1)
    return [[size, _short(value)] for size, value in zip(sizes[at].tolist(), each.tolist(), strict=True)]


def _short(value: float) -> float:
    """Converts a whole number to int, and rounds any other number to five digits."""
    return int(value) if value.is_integer() else float(f"{value:.5g}")


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Makes a line of each row of a table, with its columns under each other; left: the columns that begin at the left.

    >>> aligned([("name", "n"), ("a", "12")])
    ['name   n', 'a     12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return ["  ".join(side(cell, n) for side, cell, n in zip(sides, row, widths, strict=True)) for row in rows]
