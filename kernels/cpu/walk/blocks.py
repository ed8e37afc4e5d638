"""Blocks of text, and their words.

A block is a copy of some documents with the byte 0xFF, END_OF_TEXT, after each. UTF-8 never contains this byte. For the
walk it stands for the end of text, and is a word of its own.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U0
from gputok.kernels.cpu.primitives.memory import copy, copy_64, scratch
from gputok.kernels.cpu.walk.by_pairs import walk_pairs
from gputok.kernels.cpu.walk.by_windows import walk_windows
from gputok.kernels.cpu.walk.matches import last_strong_cut
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, steps_of
from gputok.kernels.cpu.walk.windows import CAN_SHUFFLE

BLOCK_BYTES = 1 << 15  # bytes that are walked at a time: the text and its words stay in the nearest caches
# Unused bytes after a block: loads and stores of 64 bytes may begin at any byte of the block, or up to 8 bytes later
MARGIN = 80


@kernel(inline=True)
def fill_block(data, offsets, document, begin, stop, walk, block, n_block, token, has_tokens):
    """Copies data[begin:stop] into a block, uint8[n_block], as far as whole documents go, with END_OF_TEXT after each.

    If `has_tokens`, documents are pieces, and token[document] is the id of an added token or -1: of an added token,
    only END_OF_TEXT is written. Else `token` may be any view, and is not read.

    Returns (the bytes of `data` copied or left out, the bytes of the block, the last document). A document longer than
    the block is copied up to a strong cut; if there is none, 0 bytes are copied, and the caller needs a larger block.
    So that no index is out of bounds, `offsets[document] <= begin` must hold.

    At a strong cut, each state of the walk does before END_OF_TEXT what it would do before the next character: the walk
    goes back if the match ended earlier. So `stop`, too, must be the end of a document or a strong cut.
    """
    room = n_block - MARGIN
    at, n = begin, 0
    while at < stop:
        while offsets[document + 1] <= at:
            document += 1
        end = min(offsets[document + 1], stop)
        size = end - at
        if has_tokens and token[document] >= 0:
            size = 0
        if n + size >= room:
            if n:
                break
            stop = end = last_strong_cut(data, begin, begin + room - 1, walk)
            size = end - at
        # 64 bytes at a time: a call of memcpy for each line took longer than the copy. The last copy takes up to 63
        # bytes after the document with it: they lie before `stop` and within MARGIN, and are overwritten later
        if end + 64 <= stop:
            done = 0
            while done < size:
                copy_64(block, n + done, data, at + done)
                done += 64
        else:
            copy(block, n, data, at, size)
        n += size
        block[n] = END_OF_TEXT
        n += 1
        at = end
    block[n] = END_OF_TEXT
    return at - begin, n, document


@kernel(inline=True)
def block_room(n=BLOCK_BYTES + MARGIN):
    """Memory for blocks of n bytes, MARGIN of them unused: (n, `text`, `codes` and `bounds` of `walk_block`)."""
    return np.int64(n), scratch(n, np.uint8), scratch(n, np.uint8), scratch(n, np.uint32)


@kernel(inline=True)
def next_block(data, offsets, document, start, stop, walk, room, token, has_tokens):
    """Fills a block and walks it; room: of `block_room`. Returns what `fill_block` returns, and the number of words."""
    n_block, block, codes, bounds = room
    copied, n, document = fill_block(data, offsets, document, start, stop, walk, block, n_block, token, has_tokens)
    n_words = walk_block(block, np.uint64(n), walk, bounds, codes) if copied else U0
    return copied, n, document, n_words


@kernel(inline=True)
def walk_block(text, n, walk, bounds, codes):
    """Writes to `bounds` where each word of a block begins, in order, then n, and returns the number of words.

    text: uint8[n + MARGIN], n at most 2^32, documents with END_OF_TEXT after each, and one more at text[n]; codes:
    scratch memory, uint8[n + MARGIN]. bounds: uint32[n + MARGIN]. Word i is text[bounds[i]:bounds[i + 1]]; each
    END_OF_TEXT before text[n] is a word.
    """
    tables = steps_of(walk)
    if CAN_SHUFFLE:  # a constant: if it is False, Numba leaves this branch out
        if len(walk.windows):
            n_words = walk_windows(text, n, walk.windows, tables, bounds, codes)
            if n_words:
                return n_words
    return walk_pairs(text, n, walk, tables, bounds, codes)
