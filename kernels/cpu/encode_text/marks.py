"""Marks of words in pieces of several words, whose tokens merges may join.

pieces   |on the|12|, and|          words   |on| the|12|,| and|
marks    C  ?     C  C  ?           C: the word begins a piece; ?: it doesn't, and its first byte and the byte before
it stand side by side in a token, so that both words may not keep their tokens
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U0, U1, U6, U8, U63
from gputok.kernels.cpu.walk import END_OF_TEXT

CUT, UNSURE = np.uint8(1), np.uint8(2)
MARK = np.uint64(56)  # of a new word, above its number


@kernel(inline=True)
def mark_words(data, block, bounds, n_words, start, n_bytes, cuts, inside, at_cut, marks):
    """Writes the marks of the words of a block, uint8[n_words].

    block, bounds: of `walk_block`, of the n_bytes of data from `start` on; cuts: ascending, where pieces begin in `data`, from
    `start` on, with at least one more that is not in the block; inside: of `encode_marked`, with a bit for any two bytes;
    at_cut: uint8[n_bytes], zeros before and after.

    -> the number of cuts in the block, and whether a word begins at each of them.
    """
    stop, n_cuts = start + n_bytes, U0
    while cuts[n_cuts] < stop:
        at_cut[np.uint64(cuts[n_cuts] - start)] = CUT
        n_cuts += U1
    found, ends = U0, U0
    left = np.uint64(data[start - 1]) if start > 0 else U0
    for i in range(n_words):
        begin = np.uint64(bounds[i])
        right = np.uint64(block[begin])
        is_end = np.uint64(right == np.uint64(END_OF_TEXT))
        if begin:
            left = np.uint64(block[begin - U1])
        cut = np.uint64(at_cut[begin - ends]) & ~is_end
        sides = left << U8 | right
        marks[i] = np.uint8(cut | (inside[sides >> U6] >> (sides & U63) & (cut ^ U1)) << U1)
        found += cut
        ends += is_end
    for i in range(n_cuts):
        at_cut[np.uint64(cuts[i] - start)] = 0
    return n_cuts, found == n_cuts


@kernel(inline=True)
def unite(block, bounds, n_words, start, cuts, n_cuts, united):
    """Writes where words or pieces begin in a block, ascending, then its size; returns how many begin.

    block, bounds, start, cuts: as for `mark_words`.
    """
    i = j = n = ends = U0
    while i < n_words or j < n_cuts:
        a = np.uint64(bounds[i])
        b = np.uint64(cuts[j] - start) + ends
        is_end = i < n_words and block[a] == np.uint8(END_OF_TEXT)  # the next document begins after it
        takes_cut = j < n_cuts and (b < a or (b == a and not is_end))
        united[n] = b if takes_cut else a
        n += U1
        if not takes_cut or a == b:
            i += U1
            ends += np.uint64(is_end)
        j += np.uint64(takes_cut)
    united[n] = bounds[n_words]
    return n
