"""Laying out words for BPE training, and indexing their pairs."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import prefetch, view
from gputok.kernels.cpu.train_bpe.state import (
    AHEAD,
    BUCKET,
    HEAP,
    NEED,
    ONE,
    PAIRS,
    POOL,
    THRESHOLD,
    State,
    add_pair,
    add_to_bucket,
    bucket_of,
    insert,
    weight_at,
)
from gputok.kernels.cpu.train_bpe.veto import may_merge
from gputok.kernels.signatures import Either, U16orU32, i64, u8, u16, u32, u64


@kernel(i64[:], i64[:], i64[:])
def measure(offsets, counts, sizes):
    """Adds to sizes (int64[3]) the places of words of weight 256 and more, of weight 2 to 255, and of weight 1.

    Words of one symbol have no pair and are left out.
    """
    for i in range(len(counts)):
        n = offsets[i + 1] - offsets[i]
        if n > 1:
            sizes[_class_of(counts[i])] += n + 1


@kernel(inline=True)
def _class_of(weight):
    return 0 if weight > 255 else (1 if weight > 1 else 2)


@kernel(Either("words", (u16[:], u32[:])), i64[:], i64[:], i64, U16orU32, i64[:], u8[:], u32[:], i64[:])
def lay_out(symbols, offsets, counts, sentinel, places, weight, small, length, ends):
    """Writes words to S (places) with a sentinel behind each, and their weights.

    ends: int64[3], where the next word of each class of `measure` goes; they are moved on. `measure` of all words bounds
    them.
    """
    for i in range(len(counts)):
        start, end = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
        if end - start < np.uint64(2):
            continue
        kind = _class_of(counts[i])
        at = np.uint64(ends[kind])
        for j in range(start, end):
            places[at] = symbols[j]
            length[symbols[j]] = 1
            if kind == 0:
                weight[at] = counts[i]
            elif kind == 1:
                small[at - np.uint64(len(weight))] = counts[i]
            at += ONE
        places[at] = sentinel
        ends[kind] = at + ONE


@kernel(State, i64[:])
def index_characters(state, table):
    """`index_pairs` for words of few distinct symbols, before any merge.

    table: int64[2 * (ids + 1) ** 2], all 0; for each pair it gets weight - number (then the place of its list), and number.
    """
    at, places, pool = state.at, state.symbols, state.pool
    weight, small = view(state.weight), view(state.small)
    pairs, chain, bucket = view(state.pairs), view(state.chain), view(state.bucket)
    state.bucket[:] = 0
    n, first_small = np.uint64(len(places)), np.uint64(len(state.weight))
    first_single = first_small + np.uint64(len(state.small))
    # The sentinel counts as symbol `end`: then no place is a special case
    end = np.uint64(np.sqrt(len(table) // 2)) - ONE
    b = end
    for p in range(ONE, n):
        a, b = b, min(np.uint64(places[p]), end)
        pair = (a * (end + ONE) + b) << ONE
        table[pair + ONE] += 1
        if p < first_single and b != end:
            table[pair] += weight_at(weight, first_small, small, first_single, p) - 1
    traits, veto, n_traits = view(state.traits), view(state.veto), np.uint64(len(state.traits))
    n_pairs, used, largest, highest = 0, 0, 0, 0
    for a in range(end):
        for b in range(end):
            pair = (a * (end + ONE) + b) << ONE
            number = table[pair + ONE]
            count = table[pair] + number
            table[pair] = -1
            if number > 0 and count >= at[THRESHOLD] and may_merge(n_traits, traits, veto, a, b):
                add_pair(pairs, n_pairs, a << np.uint64(32) | b, count, used, number)
                k = bucket_of(count)
                add_to_bucket(bucket, chain, k, n_pairs)
                highest = max(highest, k)
                table[pair] = used
                used += number
                largest = max(largest, number)
                n_pairs += 1
    for a in range(end + ONE):
        table[(a * (end + ONE) + end) << ONE] = -1
        table[(end * (end + ONE) + a) << ONE] = -1
    b = end
    for p in range(ONE, n):
        a, b = b, min(np.uint64(places[p]), end)
        pair = (a * (end + ONE) + b) << ONE
        if table[pair] >= 0:
            pool[np.uint64(table[pair])] = p - ONE
            table[pair] += 1
    at[PAIRS], at[POOL], at[HEAP], at[BUCKET], at[NEED] = n_pairs, used, 0, highest, largest


@kernel(State, u32[:])
def index_pairs(state, order):
    """Stores each pair that reaches the threshold, with its list, in buckets; order: uint32[places], scratch memory.

    First the places are dealt to their left symbols, then each left symbol gathers its right neighbours.
    """
    at, places, length = state.at, state.symbols, state.length
    weight, small = view(state.weight), view(state.small)
    pairs, chain, bucket, pool = view(state.pairs), view(state.chain), view(state.bucket), state.pool
    state.bucket[:] = 0
    gathered, touched = state.right, state.touched_right
    first_small, max_length = np.uint64(len(state.weight)), np.uint64(state.limits[1])
    first_single = first_small + np.uint64(len(state.small))
    there = view(places)
    n, sentinel = np.uint64(len(places)), np.uint64(len(length) - 1)

    start = np.zeros(len(length), np.int64)
    for dealing in range(2):
        p = ONE
        while p < n:
            a = np.uint64(places[p])
            if a == sentinel:
                p += ONE
                continue
            if dealing == 0:
                start[a + ONE] += 1
            else:
                order[np.uint64(start[a])] = p
                start[a] += 1
            p += np.uint64(length[a])
        if dealing == 0:
            for a in range(len(length) - 1):
                start[a + 1] += start[a]

    traits, veto, n_traits = view(state.traits), view(state.veto), np.uint64(len(state.traits))
    n_pairs, used, largest, highest = 0, 0, 0, 0
    begin = np.uint64(0)
    for a in range(sentinel):
        end = np.uint64(start[a])  # dealing has moved each start to its end
        n_touched = np.uint64(0)
        step = np.uint64(length[a])
        for i in range(begin, end):
            if i + np.uint64(AHEAD) < end:
                prefetch(there, np.uint64(order[i + np.uint64(AHEAD)]) + step)
            p = np.uint64(order[i])
            b = np.uint64(places[p + step])
            touched[n_touched] = b
            n_touched += np.uint64(gathered[ONE + b + b] == 0)
            gathered[b + b] += weight_at(weight, first_small, small, first_single, p)
            gathered[ONE + b + b] += 1
        for i in range(n_touched):
            b = np.uint64(touched[i])
            count, number = gathered[b + b], gathered[ONE + b + b]
            gathered[b + b] = -1
            if b == sentinel or count < at[THRESHOLD] or not may_merge(n_traits, traits, veto, a, b):
                continue
            if length[a] + length[b] < max_length or length[a] + length[b] == 2:
                add_pair(pairs, n_pairs, a << np.uint64(32) | b, count, used, number)
                k = bucket_of(count)
                add_to_bucket(bucket, chain, k, n_pairs)
                highest = max(highest, k)
                gathered[b + b] = used
                used += number
                largest = max(largest, number)
                n_pairs += 1
        for i in range(begin, end):
            p = np.uint64(order[i])
            b = np.uint64(places[p + step])
            if gathered[b + b] >= 0:
                pool[np.uint64(gathered[b + b])] = p
                gathered[b + b] += 1
        for i in range(n_touched):
            b = np.uint64(touched[i])
            gathered[b + b] = 0
            gathered[ONE + b + b] = 0
        begin = end
    at[PAIRS], at[POOL], at[HEAP], at[BUCKET], at[NEED] = n_pairs, used, 0, highest, largest


@kernel(State)
def compact(state):
    """Moves the lists together that may still be needed: those of pairs that reach the threshold.

    Rows are in the order of their lists, so that a list moves to where only lists of earlier rows were.
    """
    pairs, pool, used = view(state.pairs), view(state.pool), 0
    for row in range(state.at[PAIRS]):
        start, number = pairs[4 * row + 2], pairs[4 * row + 3]
        if pairs[4 * row + 1] < state.at[THRESHOLD]:
            number = 0
        if start != used:
            for i in range(number):
                pool[used + i] = pool[start + i]
        pairs[4 * row + 2] = used
        pairs[4 * row + 3] = number
        used += number
    state.at[POOL] = used


@kernel(i64[:], i64, i64, u32[:], u64[:])
def index_slots(pairs, n_pairs, threshold, slots, filter):
    """Fills the hash table with the pairs that reach the threshold; returns the number of these pairs."""
    slots[:] = 0
    filter[:] = 0
    hashed, mask, bits = view(slots), np.uint64(len(slots) - 1), view(filter)
    stored = 0
    for row in range(n_pairs):
        if pairs[4 * row + 1] >= threshold:
            insert(hashed, mask, bits, pairs[4 * row], row)
            stored += 1
    return stored
