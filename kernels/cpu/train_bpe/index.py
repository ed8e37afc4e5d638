"""Laying out words for BPE training, and indexing their pairs: which are stored, and their lists in each part."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.memory import as_views, prefetch, view
from gputok.kernels.cpu.train_bpe import layout
from gputok.kernels.signatures import Either, U16orU32, i64, u8, u16, u32

BLOCK = 64  # words; blocks go to the parts in turn, so that each part has words of all weights


@kernel(i64[:], i64[:], i64[:])
def measure(offsets, counts, blocks):
    """Returns the sum of the weights of all pairs, and measures each block of words, but no words of one symbol.

    blocks: int64[3 * blocks], all 0, gets the number of positions, with sentinels, that words of weight 256 and more
    take in each block, those of weight 2 to 255, and those of weight 1.
    """
    total = np.int64(0)
    for i in range(len(counts)):
        n = offsets[i + 1] - offsets[i]
        if n > 1:
            blocks[3 * (i // BLOCK) + _class_of(counts[i])] += n + 1
            total += counts[i] * (n - 1)
    return total


@kernel(inline=True)
def _class_of(weight):
    return 0 if weight > 255 else (1 if weight > 1 else 2)


@kernel((Either("words", (u16[:], u32[:])), i64[:], i64[:]), (i64, i64, i64), (U16orU32, i64[:], u8[:], u32[:]), i64[:])
def lay_out(words, about, to, ends):
    """Writes the words (symbols, offsets, counts) of a part with a sentinel after each, and their weights.

    about: the sentinel, the number of the part, and the number of parts; to: `symbols`, `weight` and `small` of the
    part, and State.length; ends: int64[3], where the next word of each class of `measure` goes; they are moved on, as
    far as `measure` has said. Other threads should not write to the cache line of `ends`.
    """
    (symbols, offsets, counts), (sentinel, number, n_parts), (own, weight, small, length) = words, about, to
    for block in range(number, (len(counts) + BLOCK - 1) // BLOCK, n_parts):
        for i in range(block * BLOCK, min(len(counts), (block + 1) * BLOCK)):
            start, end = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
            if end - start < np.uint64(2):
                continue
            kind = _class_of(counts[i])
            at = np.uint64(ends[kind])
            for j in range(start, end):
                symbol = symbols[j]
                own[at] = symbol
                if length[symbol] == 0:  # written seldom: other threads read the same cache lines
                    length[symbol] = 1
                if kind == 0:
                    weight[at] = counts[i]
                elif kind == 1:
                    small[at - np.uint64(len(weight))] = counts[i]
                at += U1
            own[at] = sentinel
            ends[kind] = at + U1


# ---- pairs of few distinct symbols, before any merge


@kernel(layout.State, i64, i64[:])
def count_characters(state, number, table):
    """Counts pairs; table: int64[2 * (tokens + 1) ** 2], all 0, gets (weight - occurrences, occurrences) of each."""
    s = as_views(state)
    part = layout.part_of(s, number)
    n, few = np.uint64(len(part.symbols)), np.uint64(state.at[layout.TOKENS])
    classes = layout.classes_of(part)
    # The sentinel counts as symbol `few`: then no position is a special case
    b = few
    for p in range(U1, n):
        a, b = b, min(np.uint64(part.symbols[p]), few)
        pair = (a * (few + U1) + b) << U1
        table[pair + U1] += 1
        if p < classes[1] and b != few:
            table[pair] += layout.weight_at(part, classes, p) - 1


@kernel(layout.State, i64[:], i64[:])
def choose_characters(state, sums, rows):
    """Stores each pair that reaches the threshold.

    sums: the sum of the tables of all parts; rows: int64[(tokens + 1) ** 2] gets the row of each pair, or -1.
    """
    s = as_views(state)
    n_pairs, few = 0, s.at[layout.TOKENS]
    rows[:] = -1
    for a in range(few):
        for b in range(few):
            pair = a * (few + 1) + b
            count = sums[2 * pair] + sums[2 * pair + 1]
            if count > 0 and layout.may_be_born(s, np.uint64(a), np.uint64(b), count):
                rows[pair] = n_pairs
                layout.add_pair(s.pairs, n_pairs, a << 32 | b, count)
                n_pairs += 1
    s.at[layout.PAIRS] = n_pairs


@kernel(layout.State, i64, i64[:], i64[:])
def deal_characters(state, number, table, rows):
    """Makes the lists of a part; table: see `count_characters`; rows: see `choose_characters`.

    The pool has room: a list takes two entries more than the pair has occurrences, of which there is one at least.
    """
    s = as_views(state)
    part, few = layout.part_of(s, number), np.uint64(state.at[layout.TOKENS])
    n = np.uint64(len(part.symbols))
    used, largest = np.int64(1), np.int64(0)
    for pair in range(len(rows)):
        found = table[2 * pair + 1]
        table[2 * pair] = 0
        if rows[pair] >= 0 and found > 0:
            table[2 * pair], used = begin_list(part, rows[pair], used, found)
            largest = max(largest, found)
    b = few
    for p in range(U1, n):
        a, b = b, min(np.uint64(part.symbols[p]), few)
        pair = (a * (few + U1) + b) << U1
        if table[pair] > 0:
            part.pool[np.uint64(table[pair])] = p - U1
            table[pair] += 1
    part.at[layout.POOL], part.at[layout.LARGEST] = used, largest


# ---- all other pairs


@kernel(layout.State, i64, u32[:], i64[:])
def order_places(state, number, order, start):
    """Sorts the positions of a part by the symbol there.

    order: uint32[positions of the part]; start: int64[ids + 1], all 0, gets where those of each symbol end in `order`.
    """
    s = as_views(state)
    part, sentinel = layout.part_of(s, number), np.uint64(len(state.length) - 1)
    n = np.uint64(len(part.symbols))
    length = view(state.length)
    for dealing in range(2):
        p = U1
        while p < n:
            a = np.uint64(part.symbols[p])
            if a == sentinel:
                p += U1
                continue
            if dealing == 0:
                start[a + U1] += 1
            else:
                order[np.uint64(start[a])] = p
                start[a] += 1
            p += np.uint64(length[a])
        if dealing == 0:
            for a in range(len(start) - 1):
                start[a + 1] += start[a]


@kernel(layout.State, u32[:], i64[:], i64[:])
def index_pairs(state, order, start, begin):
    """Stores each pair that reaches the threshold, and makes its lists.

    order, start: those of `order_places` for all parts, one after the other; begin: int64[parts], where each part
    begins in `order`. Each left symbol gathers its right neighbours, in all parts. Their `right` and the `left` of the
    first part are scratch memory, and 0 before and afterwards.
    """
    s = as_views(state)
    first = layout.part_of(s, 0)
    ids = layout.sentinel_of(s) + U1
    n_pairs = 0
    for number in range(layout.n_parts_of(s)):
        part = layout.part_of(s, number)
        part.at[layout.POOL], part.at[layout.LARGEST] = 1, 0
    for a in range(layout.sentinel_of(s)):
        n_touched = np.uint64(0)
        step = np.uint64(s.length[a])
        for number in range(layout.n_parts_of(s)):
            low, high = _places_of(start, begin, number, ids, a)
            n_touched = _gather_right(s, layout.part_of(s, number), first, order, low, high, step, n_touched)
        for i in range(n_touched):
            b = np.uint64(first.touched_left[i])
            count = first.left[b + b]
            first.left[b + b] = -1
            if b != layout.sentinel_of(s) and layout.may_be_born(s, a, b, count):
                first.left[b + b] = n_pairs
                layout.add_pair(s.pairs, n_pairs, np.int64(a << np.uint64(32) | b), count)
                n_pairs += 1
        for number in range(layout.n_parts_of(s)):
            low, high = _places_of(start, begin, number, ids, a)
            _deal_right(layout.part_of(s, number), first, order, low, high, step)
        for i in range(n_touched):
            b = np.uint64(first.touched_left[i])
            first.left[b + b] = 0
            first.left[b + b + U1] = 0
    s.at[layout.PAIRS] = n_pairs


@kernel(inline=True)
def _places_of(start, begin, number, ids, a):
    """Where the positions with left symbol a begin and end in `order`; `start` has ends after `order_places`."""
    offset, ends = np.uint64(begin[number]), number * ids
    low = offset
    if a > np.uint64(0):
        low += np.uint64(start[ends + a - U1])
    return low, offset + np.uint64(start[ends + a])


@kernel(inline=True)
def _gather_right(s, part, first, order, low, high, step, n_touched):
    """Adds up weights by right neighbour in first.left, and numbers in part.right; returns how many neighbours."""
    classes = layout.classes_of(part)
    for i in range(low, high):
        if i + np.uint64(layout.AHEAD) < high:
            prefetch(part.symbols, np.uint64(order[i + np.uint64(layout.AHEAD)]) + step)
        p = np.uint64(order[i])
        b = np.uint64(part.symbols[p + step])
        first.touched_left[n_touched] = b
        n_touched += np.uint64(first.left[U1 + b + b] == 0)
        first.left[b + b] += layout.weight_at(part, classes, p)
        first.left[U1 + b + b] = 1
        part.right[U1 + b + b] += 1
    return n_touched


@kernel(inline=True)
def _deal_right(part, first, order, low, high, step):
    """Makes the lists of the pairs of one left symbol, whose rows (or -1) are in first.left."""
    used, largest = part.at[layout.POOL], part.at[layout.LARGEST]
    for i in range(low, high):
        p = np.uint64(order[i])
        b = np.uint64(part.symbols[p + step])
        row = first.left[b + b]
        if row < 0:
            continue
        if part.right[b + b] == 0:
            number = part.right[U1 + b + b]
            part.right[b + b], used = begin_list(part, row, used, number)
            largest = max(largest, number)
        part.pool[np.uint64(part.right[b + b])] = p
        part.right[b + b] += 1
    for i in range(low, high):
        b = np.uint64(part.symbols[np.uint64(order[i]) + step])
        part.right[b + b] = 0
        part.right[U1 + b + b] = 0
    part.at[layout.POOL], part.at[layout.LARGEST] = used, largest


# ---- the pool, and the hash table


@kernel(inline=True)
def begin_list(part, row, used, number):
    """Begins the list of a pair at the end of the pool: (where its entries go, the new end)."""
    part.lists[row] = used
    part.pool[used] = row
    part.pool[used + 1] = number
    return used + 2, used + 2 + number


@kernel
def _compact(s, part):
    """Moves the lists that may still be needed to the front of the pool: those of pairs that reach the threshold."""
    i, end, used = np.uint64(1), np.uint64(part.at[layout.POOL]), np.uint64(1)
    while i < end:
        row = np.uint64(part.pool[i])
        stop = i + np.uint64(2) + np.uint64(part.pool[i + U1])
        if s.pairs[row + row + U1] < s.threshold:
            part.lists[row] = 0
            i = stop
            continue
        part.lists[row] = used
        while i < stop:
            part.pool[used] = part.pool[i]
            used += U1
            i += U1
    part.at[layout.POOL] = used
    part.at[layout.MOVED] += 1


@kernel(inline=True)
def pool_has_room(s, part, need):
    """Whether the pool of a part has room for `need` more entries, if necessary after `_compact`; else sets NEED_POOL.

    Memory beyond at[FULL] stays untouched, and so costs nothing, as long as `_compact` makes room.
    """
    if part.at[layout.POOL] + need <= part.at[layout.FULL]:
        return True
    _compact(s, part)
    used = part.at[layout.POOL] + need
    wanted = used + used // s.at[layout.SPARE]
    part.at[layout.FULL] = max(part.at[layout.FULL], min(wanted, np.int64(len(part.pool))))
    if used <= part.at[layout.FULL]:
        return True
    part.at[layout.NEED_POOL] = wanted
    return False


@kernel(i64[:], i64, i64, u32[:])
def index_slots(pairs, n_pairs, threshold, slots):
    """Fills the hash table with the pairs that reach the threshold; returns the number of these pairs."""
    slots[:] = 0
    hashed, stored = as_views(slots), 0
    for row in range(n_pairs):
        if pairs[2 * row + 1] >= threshold:
            layout.insert(hashed, pairs[2 * row], row)
            stored += 1
    return stored
