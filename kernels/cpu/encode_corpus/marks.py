"""Marks of words, for a model whose merges may join the tokens of several words that stand in one piece.

pieces   |on the|12|, and|          words   |on| the|12|,| and|
marks    C  ?     C  C  ?           C: the word begins a piece; ?: it doesn't, and its first byte and the byte before
it stand side by side in a token, so that both words may not keep their tokens
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U0, U1, U3, U6, U7, U8, U63, U64
from gputok.kernels.cpu.primitives.memory import likely, load_u64
from gputok.kernels.cpu.walk.tables import END_OF_TEXT

CUT, UNSURE = np.uint8(1), np.uint8(2)
MARK = np.uint64(56)  # an event of `rounds.py` has the mark of its new word from this bit on, its number below
MOST_BITS = np.uint64(57)  # how many bits from any bit on a load of 8 bytes surely has


@kernel
def mark_words(block, bounds, n_words, text, cuts, inside, marks, united):
    """Writes where words or pieces begin in a block, ascending, then its size; and their marks. Returns their number.

    block, bounds: of `walk_block`; text: the byte of the text before the block, and the index of the block's first bit
    in `cuts`; cuts, inside: of `encode_marked`; marks, united (begins): uint8[], uint32[], an element for each byte.
    """
    left, first, n = np.uint64(text[0]), np.uint64(text[1]), U0
    for i in range(n_words):
        begin, end = np.uint64(bounds[i]), np.uint64(bounds[i + U1])
        right = np.uint64(block[begin])
        is_end = np.uint64(right == np.uint64(END_OF_TEXT))
        bits = load_u64(cuts, first + begin >> U3) >> (first + begin & U7)
        cut, sides = bits & (is_end ^ U1), left | right << U8
        united[n] = begin
        marks[n] = np.uint8(cut | (inside[sides >> U6] >> (sides & U63) & (cut ^ U1)) << U1)
        n += U1
        # Few words have a cut inside: each bit of these words is looked at, and of words of more than MOST_BITS bytes
        size = end - begin
        if not likely((bits & ~U1) << (U64 - min(size, MOST_BITS)) == U0) or size > MOST_BITS:
            for at in range(begin + U1, end):
                united[n] = at
                marks[n] = CUT
                n += np.uint64(cuts[first + at >> U3]) >> (first + at & U7) & U1
        first -= is_end
        left = np.uint64(block[end - U1])
    united[n] = bounds[n_words]
    return n
