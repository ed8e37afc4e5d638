"""The queue of pairs: a heap of (count, left << 32 | right, row) of those whose count is at least a floor.

If no such pair is left, the floor falls to its half, and one scan queues the pairs that reach it. Most pairs never do.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.train_bpe import layout


@kernel(inline=True)
def _before(s, i, j):
    """Whether entry i of the heap comes before entry j: the higher count, then the rule for ties."""
    i, j = np.uint64(3 * i), np.uint64(3 * j)
    if s.heap[i] != s.heap[j]:
        return s.heap[i] > s.heap[j]
    if s.shorter_first:
        return _spelled_before(s, np.uint64(s.heap[i + U1]), np.uint64(s.heap[j + U1]))
    return s.heap[i + U1] < s.heap[j + U1]


@kernel
def _spelled_before(s, key, other_key):
    """SentencePiece's rule for ties: the pair of fewer initial symbols, then the smaller string, then the smaller pair.

    Both indices in `text` stay within the strings of the tokens that the keys name.
    """
    low = np.uint64(0xFFFFFFFF)
    a, b = key >> np.uint64(32), key & low
    c, d = other_key >> np.uint64(32), other_key & low
    n, m = s.length[a] + s.length[b], s.length[c] + s.length[d]
    if n != m:
        return n < m
    p, p_end, in_left = s.text_end[a], s.text_end[a + U1], True
    q, q_end, in_other_left = s.text_end[c], s.text_end[c + U1], True
    while True:
        if p == p_end and in_left:
            p, p_end, in_left = s.text_end[b], s.text_end[b + U1], False
        if q == q_end and in_other_left:
            q, q_end, in_other_left = s.text_end[d], s.text_end[d + U1], False
        if p == p_end or q == q_end:
            return q != q_end or (p == p_end and key < other_key)
        one, other = s.text[np.uint64(p)], s.text[np.uint64(q)]
        if one != other:
            return one < other
        p += 1
        q += 1


@kernel(inline=True)
def _swap(heap, i, j):
    for k in range(3):
        at_i, at_j = np.uint64(3 * i + k), np.uint64(3 * j + k)
        value = heap[at_i]
        heap[at_i] = heap[at_j]
        heap[at_j] = value


@kernel(inline=True)
def _heap_push(s, size, count, key, row):
    for k, value in enumerate((count, key, row)):
        s.heap[3 * size + k] = value
    i = size
    while i > 0 and _before(s, i, (i - 1) >> 1):
        _swap(s.heap, i, (i - 1) >> 1)
        i = (i - 1) >> 1


@kernel(inline=True)
def heap_pop(s, size):
    """Removes the first of `size` entries."""
    size -= 1
    _swap(s.heap, 0, size)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and _before(s, child + 1, child):
            child += 1
        if not _before(s, child, i):
            return
        _swap(s.heap, i, child)
        i = child


@kernel(inline=True)
def enqueue(s, floor, n_heap, row):
    """Queues a pair if its count is at least `floor`; returns the number of the heap's entries."""
    count = s.pairs[2 * row + 1]
    if count < floor:
        return n_heap
    _heap_push(s, n_heap, count, s.pairs[2 * row], row)
    return n_heap + 1


@kernel(inline=True)
def _lower_floor(s, floor):
    """Halves the floor, and queues the pairs that reach it now: (the floor, entries of the heap)."""
    lower, n_heap = max(s.threshold, floor >> 1), 0
    for row in range(s.at[layout.PAIRS]):
        if s.pairs[2 * row + 1] < floor:  # the other pairs were taken from the heap for this batch
            n_heap = enqueue(s, lower, n_heap, row)
    return lower, n_heap


@kernel(inline=True)
def first_pair(s, floor, n_heap):
    """(row of the pair that comes first, the floor, entries of the heap); the row is -1 if no pair is left.

    A pair comes first if its count is what it was when the pair was queued. If the count has fallen, the pair is queued
    again, or waits until the floor is lower.
    """
    while True:
        if n_heap == 0:
            if floor == s.threshold:
                return np.int64(-1), floor, n_heap
            floor, n_heap = _lower_floor(s, floor)
            continue
        row = s.heap[2]
        if s.pairs[2 * row + 1] == s.heap[0]:
            return row, floor, n_heap
        heap_pop(s, n_heap)
        n_heap = enqueue(s, floor, n_heap - 1, row)
