"""A code of characters that keeps their order, so that 64 bits hold a dozen of them.

Frequent characters get few bits. No code begins another one, and codes rise with (length, id), so texts compare as
their codes do, bit for bit: a canonical prefix code (Schwartz and Kallick, 1964). The lengths are Shannon's, rounded up or
down from where the code is as full as it can be.
"""

from __future__ import annotations

import numpy as np

from gputok.kernels.cpu.train_unigram.suffixes import LONGEST_CODE, TABLE_BITS, Code


def make_code(weights: np.ndarray) -> Code:
    """The code of ids that occur so often (int64[k], k at least 1).

    >>> code = make_code(np.array([2, 8, 5, 1]))
    >>> [f"{int(word) >> 64 - (int(word) & 63):0{int(word) & 63}b}" for word in code.words]
    ['110', '0', '10', '111']
    """
    lengths = _lengths(weights)
    order = np.argsort(lengths, kind="stable")
    shares = 1 << (LONGEST_CODE - lengths[order])  # of the code space, in codes of the greatest length
    ends = np.cumsum(shares)
    words = np.empty(len(weights), np.uint64)
    words[order] = (ends - shares).astype(np.uint64) << np.uint64(64 - LONGEST_CODE)
    words |= lengths.astype(np.uint64)

    # by length: where codes that are longer begin
    behind = np.searchsorted(lengths[order], np.arange(LONGEST_CODE + 1), side="right")
    beyond = np.append(0, ends)[behind]
    beyond[-1] = 1 << LONGEST_CODE
    starts = np.arange(1 << TABLE_BITS) << LONGEST_CODE - TABLE_BITS
    table = np.searchsorted(beyond, starts, side="right")
    table[table > TABLE_BITS] = 0
    return Code(words, table.astype(np.uint8), beyond)


def _lengths(weights: np.ndarray) -> np.ndarray:
    """Bits of each code, at most LONGEST_CODE: they rise where weights fall, and there is room for all."""
    total = int(weights.sum())
    for rounding in range(64, 257, 4):
        # the fewest bits n with weight >= total / 2**n * rounding / 128: in whole numbers, to be the same everywhere
        least = np.array([total * rounding >> 7 + n for n in range(LONGEST_CODE - 1, 0, -1)])
        lengths = LONGEST_CODE - np.searchsorted(least, weights, side="right")
        if (1 << LONGEST_CODE - lengths).sum() <= 1 << LONGEST_CODE:
            break
    return lengths
