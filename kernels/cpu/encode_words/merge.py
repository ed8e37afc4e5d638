"""The merges of one word: the lowest rank first, and of equal ranks the leftmost pair.

    hello     h e l l o         ranks: (h, e) 3, (l, l) 0, (he, ll) 5, (hell, o) 9
              h e ll o          the pair of rank 0
              he ll o           rank 3
              hell o, hello     ranks 5 and 9

A word of few symbols is scanned for its lowest rank before each merge; a long one keeps its pairs in a heap: n log n.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import NONE, rank_of
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U8, U32
from gputok.kernels.cpu.primitives.hashing import next_random
from gputok.kernels.cpu.primitives.heap import pop, push
from gputok.kernels.cpu.primitives.memory import scratch

SHORT = 64  # symbols; up to here scanning is faster than a heap
POSITION_BITS = 6  # bits of a position in a short word


@kernel(inline=True)
def key_of(pairs, left, right, at):
    """The key of a pair of symbols at an index, rank << POSITION_BITS | at, or NONE."""
    rank = rank_of(pairs, left, right)
    return rank << np.uint32(POSITION_BITS) | np.uint32(at) if rank != NONE else NONE


@kernel(inline=True)
def merge_by_scan(text, begin, n, model, by_byte, scratch):
    """Merges a word of n symbols, at most SHORT: its tokens are symbols[0], symbols[after[0]] and so on up to n.

    model: the views of pairs, merged symbols and byte ranks, and a symbol that is in no pair; scratch: uint32[n + 2]
    symbols, links before and after, and keys. After the word stand two symbols in no pair, as the neighbours of the
    last and of the first symbol: so the loop needs no test for the ends of the word.
    """
    pairs, merged, byte_ranks, nothing = model
    symbols, before, after, keys = scratch
    symbols[n] = nothing
    symbols[n + U1] = nothing
    for i in range(n):
        before[i] = i - U1
        after[i] = i + U1
        key = NONE
        if i + U1 < n:
            if by_byte:
                pair = np.uint64(text[begin + i]) << U8 | np.uint64(text[begin + i + U1])
                rank = byte_ranks[pair]
                key = rank << np.uint32(POSITION_BITS) | np.uint32(i) if rank != NONE else NONE
            else:
                key = key_of(pairs, symbols[i], symbols[i + U1], i)
        keys[i] = key
    before[U0] = n + U1
    while True:
        least = NONE
        for i in range(n):  # the compiler makes vector instructions of this
            least = min(least, keys[i])
        if least == NONE:
            break
        at = np.uint64(least & np.uint32(SHORT - 1))
        new = merged[least >> np.uint32(POSITION_BITS)]
        left, right = np.uint64(before[at]), np.uint64(after[at])
        next_one = np.uint64(after[right])
        symbols[at] = new
        after[at] = next_one
        before[next_one] = at
        keys[right] = NONE
        keys[at] = key_of(pairs, new, symbols[next_one], at)
        keys[left] = key_of(pairs, symbols[left], new, left)


@kernel
def merge_by_heap(symbols, before, after, count, model, random):
    """Like `merge_by_scan` for a word of any length, with a heap of rank << 32 | position.

    model: the views of merged symbols and pairs, and the dropout: with this probability, a pair from the heap is put
    aside, and put back once a pair is not put aside. An entry is out of date, and left out, unless the symbols that are
    at its position now merge to the same token.
    """
    merged, pairs, dropout = model
    # Each merge takes an entry out and puts at most two in, so 2 * count entries are enough.
    heap = scratch(2 * count, np.uint64)
    aside = scratch(2 * count if dropout > 0.0 else 0, np.uint64)
    n = n_aside = 0
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    for i in range(count - 1):
        rank = rank_of(pairs, symbols[i], symbols[i + 1])
        if rank != NONE:
            push(heap, n, np.uint64(rank) << U32 | np.uint64(i))
            n += 1
    while n > 0:
        entry = pop(heap, n)
        n -= 1
        if dropout > 0.0:
            if next_random(random) < dropout:
                aside[n_aside] = entry
                n_aside += 1
                continue
            for i in range(n_aside):
                push(heap, n, aside[i])
                n += 1
            n_aside = 0
        at = np.int64(entry & LOW32)
        right = np.int64(after[at])
        if symbols[at] == NONE or right == count:
            continue
        rank = rank_of(pairs, symbols[at], symbols[right])
        if rank == NONE or merged[rank] != merged[entry >> U32]:
            continue
        next_one = np.int64(after[right])
        symbols[at], symbols[right] = merged[rank], NONE
        after[at], before[next_one] = next_one, at
        left = np.int64(np.int32(before[at]))  # -1: none
        if left >= 0:
            rank = rank_of(pairs, symbols[left], symbols[at])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << U32 | np.uint64(left))
                n += 1
        if next_one < count:
            rank = rank_of(pairs, symbols[at], symbols[next_one])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << U32 | np.uint64(at))
                n += 1
