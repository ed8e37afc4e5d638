"""A binary code of characters that preserves their order; a dozen characters fit into 64 bits.

Frequent characters get few bits. This is a canonical prefix code (Schwartz and Kallick, 1964): no code is the start of
another code, and codes increase with (length, id). So the concatenated codes of two texts, compared bit by bit, give an
order of texts. The lengths are Shannon's, rounded so that the code uses as much of the code space as possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gputok.kernels.cpu.train_unigram.suffixes import LONGEST_CODE, TABLE_BITS, Code

if TYPE_CHECKING:
    from gputok.types import Counts, Positions


def make_code(weights: Counts) -> Code:
    """Makes the code of the ids 0 to k - 1; weights: int64[k], how often each id occurs; k is at least 1.

    >>> code = make_code(np.array([2, 8, 5, 1]))
    >>> [f"{int(word) >> 64 - (int(word) & 63):0{int(word) & 63}b}" for word in code.words]
    ['110', '0', '10', '111']
    """
    lengths = _lengths(weights)
    order = np.argsort(lengths, kind="stable")
    # A shorter code takes the space of so many codes of the greatest length
    shares = 1 << (LONGEST_CODE - lengths[order])
    ends = np.cumsum(shares)
    words = np.empty(len(weights), np.uint64)
    words[order] = (ends - shares).astype(np.uint64) << np.uint64(64 - LONGEST_CODE)
    words |= lengths.astype(np.uint64)

    # longer[n]: the start of the codes that are longer than n bits
    n_shorter = np.searchsorted(lengths[order], np.arange(LONGEST_CODE + 1), side="right")
    longer = np.append(0, ends)[n_shorter]
    longer[-1] = 1 << LONGEST_CODE
    starts = np.arange(1 << TABLE_BITS) << LONGEST_CODE - TABLE_BITS
    table = np.searchsorted(longer, starts, side="right")
    table[table > TABLE_BITS] = 0
    return Code(words, table.astype(np.uint8), longer)


def _lengths(weights: Counts) -> Positions:
    """Returns the number of bits of each code, at most LONGEST_CODE: a larger weight never gets more bits."""
    total = int(weights.sum())
    for rounding in range(64, 257, 4):
        # The fewest bits n with weight >= total / 2**n * rounding / 128; by integers, so the same on all machines
        least = np.array([total * rounding >> 7 + n for n in range(LONGEST_CODE - 1, 0, -1)])
        lengths = LONGEST_CODE - np.searchsorted(least, weights, side="right")
        if (1 << LONGEST_CODE - lengths).sum() <= 1 << LONGEST_CODE:
            break
    return lengths
