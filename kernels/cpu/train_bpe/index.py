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
)
from gputok.kernels.signatures import Either, U16orU32, i64, u16, u32, u64


@kernel(Either("words", (u16[:], u32[:])), i64[:], i64[:], i64, U16orU32, i64[:], u32[:])
def lay_out(symbols, offsets, counts, sentinel, places, weight, length):
    """Writes `S` (places) and the weights; returns (number of places, first place of the words of weight 1).

    Words of one symbol have no pair and are left out. With empty arrays, the kernel only counts the places.
    """
    fill = len(places) > 0
    at = np.uint64(1)
    first_single = at
    if fill:
        places[0] = sentinel
    for single in range(2):
        for i in range(len(counts)):
            start, end = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
            if end - start < np.uint64(2) or (counts[i] == 1) != (single == 1):
                continue
            if fill:
                for j in range(start, end):
                    places[at] = symbols[j]
                    length[symbols[j]] = 1
                    if single == 0:
                        weight[at] = counts[i]
                    at += ONE
                places[at] = sentinel
                at += ONE
            else:
                at += end - start + ONE
        if single == 0:
            first_single = at
    return np.int64(at), np.int64(first_single)


@kernel(State, i64[:])
def index_characters(state, table):
    """`index_pairs` for words of few distinct symbols, before any merge.

    table: int64[2 * (ids + 1) ** 2], all 0; for each pair it gets weight - number (then the place of its list), and number.
    """
    at, places, weight, pool = state.at, state.symbols, state.weight, state.pool
    pairs, chain, bucket = view(state.pairs), view(state.chain), view(state.bucket)
    state.bucket[:] = 0
    n, first_single = np.uint64(len(places)), np.uint64(len(weight))
    # The sentinel counts as symbol `end`: then no place is a special case
    end = np.uint64(np.sqrt(len(table) // 2)) - ONE
    b = end
    for p in range(ONE, n):
        a, b = b, min(np.uint64(places[p]), end)
        pair = (a * (end + ONE) + b) << ONE
        table[pair + ONE] += 1
        if p < first_single and b != end:
            table[pair] += weight[p] - 1
    n_pairs, used, largest, highest = 0, 0, 0, 0
    for a in range(end):
        for b in range(end):
            pair = (a * (end + ONE) + b) << ONE
            number = table[pair + ONE]
            count = table[pair] + number
            table[pair] = -1
            if number > 0 and count >= at[THRESHOLD]:
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
    at, places, weight, length = state.at, state.symbols, state.weight, state.length
    pairs, chain, bucket, pool = view(state.pairs), view(state.chain), view(state.bucket), state.pool
    state.bucket[:] = 0
    gathered, touched = state.right, state.touched_right
    first_single, max_length = np.uint64(len(weight)), np.uint64(state.limits[1])
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
            gathered[b + b] += weight[p] if p < first_single else 1
            gathered[ONE + b + b] += 1
        for i in range(n_touched):
            b = np.uint64(touched[i])
            count, number = gathered[b + b], gathered[ONE + b + b]
            gathered[b + b] = -1
            if b == sentinel or count < at[THRESHOLD]:
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
