"""The queue of pairs: a heap of (count, key, row) for the bucket in hand, and chains of rows for all others."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.train_bpe.layout import add_to_bucket, bucket_of


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
    """The rule for ties of SentencePiece: the pair of fewer initial symbols, then the smaller string, then the smaller pair.

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
def enqueue(s, hand, n_heap, row, key, count):
    """Queues a pair, in the heap if its bucket is in hand or above; returns the number of the heap's entries.

    A batch may empty the bucket in hand before pairs that it makes are queued, which then belong to a higher bucket.
    """
    k = bucket_of(count)
    if k >= hand:
        _heap_push(s, n_heap, count, key, row)
        return n_heap + 1
    add_to_bucket(s.bucket, s.chain, k, row)
    return n_heap


@kernel(inline=True)
def _next_bucket(s, hand):
    """Takes the fullest bucket in hand, as far as its pairs still belong to it: (bucket, entries of the heap)."""
    n_heap = 0
    while hand >= bucket_of(s.threshold) and s.bucket[hand] == 0:
        hand -= 1
    if hand >= bucket_of(s.threshold):
        queued = s.bucket[hand]
        s.bucket[hand] = 0
        while queued != 0:
            row = np.int64(queued) - 1
            queued = s.chain[row]  # before the row is chained to another bucket
            count = s.pairs[2 * row + 1]
            if count >= s.threshold:
                n_heap = enqueue(s, hand, n_heap, row, s.pairs[2 * row], count)
    return hand, n_heap


@kernel(inline=True)
def first_pair(s, hand, n_heap):
    """(row of the pair that comes first, bucket in hand, entries of the heap); the row is -1 if no pair is left.

    A pair comes first if its count is what it was when the pair was queued. If the count has fallen, the pair is queued
    again, or forgotten below the threshold.
    """
    while True:
        if n_heap == 0:
            hand, n_heap = _next_bucket(s, hand)
            if hand < bucket_of(s.threshold):
                return np.int64(-1), hand, n_heap
            continue
        row = s.heap[2]
        count = s.pairs[2 * row + 1]
        if count == s.heap[0]:
            return row, hand, n_heap
        heap_pop(s, n_heap)
        n_heap -= 1
        if count >= s.threshold:
            n_heap = enqueue(s, hand, n_heap, row, s.pairs[2 * row], count)
