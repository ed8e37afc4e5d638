"""The merges of training BPE, one after the other: `merge`, and its steps in the order in which they are taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import View, prefetch, view
from gputok.kernels.cpu.primitives.token_strings import name_slot, spell_merged
from gputok.kernels.cpu.train_bpe.state import (
    AHEAD,
    AHEAD_PAIRS,
    BUCKET,
    DONE,
    DRY,
    GROW,
    HEAP,
    MERGES,
    NEED,
    ONE,
    PAIRS,
    PAUSED,
    POOL,
    RESPELLED,
    STORED,
    THRESHOLD,
    TOKENS,
    State,
    add_pair,
    add_to_bucket,
    bucket_of,
    home,
    insert,
    lower,
    may_be_stored,
    weight_at,
)
from gputok.kernels.cpu.train_bpe.veto import may_merge, merged_traits
from gputok.kernels.signatures import i64

_TWO, _THREE = np.uint64(2), np.uint64(3)


class _Views(NamedTuple):
    """A State as the steps see it: arrays as arguments would be reference-counted in the loops."""

    at: View  # of int64
    threshold: np.int64
    lowest: np.int64  # bucket that a stored pair can be in
    max_length: np.uint64
    shorter_first: np.int64  # 1: of equally frequent pairs, the shorter string first
    sentinel: np.uint64
    places: View  # of uint16 or uint32
    weight: View  # of int64
    first_small: np.uint64  # place from which on weights are in `small`
    small: View  # of uint8
    first_single: np.uint64  # place from which on all weights are 1
    length: View  # of uint32
    merges: View  # of uint32
    merge_counts: View  # of int64
    text: View  # of uint8
    text_end: View  # of int64
    text_size: np.int64
    n_traits: np.uint64
    traits: View  # of uint64
    veto: View  # of int64
    prefix: View  # of uint8
    n_prefix: np.uint64
    names: View  # of uint32
    names_mask: np.uint64
    pairs: View  # of int64
    most_pairs: np.int64
    chain: View  # of uint32
    bucket: View  # of uint32
    heap: View  # of int64
    slots: View  # of uint32
    mask: np.uint64
    filter: View  # of uint64
    pool: View  # of uint32
    pool_size: np.int64
    records: View  # of uint32
    records_size: np.int64
    left: View  # of int64
    right: View  # of int64
    touched_left: View  # of uint32
    touched_right: View  # of uint32


@kernel(inline=True)
def _views(state):
    return _Views(
        view(state.at),
        state.at[THRESHOLD],
        bucket_of(state.at[THRESHOLD]),
        np.uint64(state.limits[1]),
        state.limits[2],
        np.uint64(len(state.length) - 1),
        view(state.symbols),
        view(state.weight),
        np.uint64(len(state.weight)),
        view(state.small),
        np.uint64(len(state.weight) + len(state.small)),
        view(state.length),
        view(state.merges),
        view(state.merge_counts),
        view(state.text),
        view(state.text_end),
        len(state.text),
        np.uint64(len(state.traits)),
        view(state.traits),
        view(state.veto),
        view(state.prefix),
        np.uint64(len(state.prefix)),
        view(state.names),
        np.uint64(len(state.names) - 1),
        view(state.pairs),
        len(state.chain),
        view(state.chain),
        view(state.bucket),
        view(state.heap),
        view(state.slots),
        np.uint64(len(state.slots) - 1),
        view(state.filter),
        view(state.pool),
        len(state.pool),
        view(state.records),
        len(state.records),
        view(state.left),
        view(state.right),
        view(state.touched_left),
        view(state.touched_right),
    )


# ---- the queue: a heap of (count, key, row) for the bucket in hand, and chains of rows for all others


@kernel(inline=True)
def _before(s, i, j):
    """Whether entry i of the heap comes before entry j: the higher count, then the rule for ties."""
    i, j = np.uint64(3 * i), np.uint64(3 * j)
    if s.heap[i] != s.heap[j]:
        return s.heap[i] > s.heap[j]
    if s.shorter_first != 0:
        return _spelled_before(s, np.uint64(s.heap[i + ONE]), np.uint64(s.heap[j + ONE]))
    return s.heap[i + ONE] < s.heap[j + ONE]


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
    p, p_end, in_left = s.text_end[a], s.text_end[a + ONE], True
    q, q_end, in_other_left = s.text_end[c], s.text_end[c + ONE], True
    while True:
        if p == p_end and in_left:
            p, p_end, in_left = s.text_end[b], s.text_end[b + ONE], False
        if q == q_end and in_other_left:
            q, q_end, in_other_left = s.text_end[d], s.text_end[d + ONE], False
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
def _heap_pop(s, size):
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
def _enqueue(s, hand, n_heap, row, key, count):
    """Queues a pair, in the heap if its bucket is in hand; returns the number of the heap's entries."""
    k = bucket_of(count)
    if k == hand:
        _heap_push(s, n_heap, count, key, row)
        return n_heap + 1
    add_to_bucket(s.bucket, s.chain, k, row)
    return n_heap


@kernel(inline=True)
def _next_bucket(s, hand):
    """Takes the fullest bucket in hand, as far as its pairs still belong to it: (bucket, entries of the heap)."""
    n_heap = 0
    while hand >= s.lowest and s.bucket[hand] == 0:
        hand -= 1
    if hand >= s.lowest:
        queued = s.bucket[hand]
        s.bucket[hand] = 0
        while queued != 0:
            row = np.int64(queued) - 1
            queued = s.chain[row]  # before the row is chained to another bucket
            count = s.pairs[4 * row + 1]
            if count >= s.threshold:
                n_heap = _enqueue(s, hand, n_heap, row, s.pairs[4 * row], count)
    return hand, n_heap


@kernel(inline=True)
def _first_pair(s, hand, n_heap):
    """(row of the pair that comes first, bucket in hand, entries of the heap); the row is -1 if no pair is left.

    A pair comes first if its count is what it was when the pair was queued. If the count has fallen, the pair is queued
    again, or forgotten below the threshold.
    """
    while True:
        if n_heap == 0:
            hand, n_heap = _next_bucket(s, hand)
            if hand < s.lowest:
                return np.int64(-1), hand, n_heap
            continue
        row = s.heap[2]
        count = s.pairs[4 * row + 1]
        if count == s.heap[0]:
            return row, hand, n_heap
        _heap_pop(s, n_heap)
        n_heap -= 1
        if count >= s.threshold:
            n_heap = _enqueue(s, hand, n_heap, row, s.pairs[4 * row], count)


# ---- one merge


@kernel(inline=True)
def _has_room(s, a, b, number):
    """Whether all that merging a and b at `number` places can give has room."""
    born = 2 * min(number, np.int64(s.sentinel) + 1)
    text_end = s.text_end
    longest = text_end[a + ONE] - text_end[a] + text_end[b + ONE] - text_end[b]
    return (
        s.at[PAIRS] + born <= s.most_pairs
        and 3 * (s.at[STORED] + born) <= 2 * (np.int64(s.mask) + 1)
        and s.at[POOL] + 3 * number <= s.pool_size
        and text_end[s.at[TOKENS]] + longest <= s.text_size
        and 3 * number <= s.records_size
    )


@kernel(inline=True)
def _merged_token(s, a, b):
    """The token of the string of a and b, a new one if there is none; -1 if that token occurs in words already."""
    n_text = s.text_end[s.at[TOKENS]]
    end = spell_merged(s.text, s.text_end, s.prefix, s.n_prefix, a, b, n_text)
    slot = name_slot(s.text, s.text_end, s.names, s.names_mask, n_text, end)
    merged = np.int64(s.names[slot]) - 1
    if merged < 0:
        merged = s.at[TOKENS]
        s.names[slot] = merged + 1
        s.at[TOKENS] = merged + 1
        s.text_end[merged + 1] = end
    elif s.length[merged] > 0:
        return np.int64(-1)
    if s.n_traits > np.uint64(0):
        s.traits[np.uint64(merged)] = merged_traits(s.traits[a], s.traits[b])
    return merged


@kernel(inline=True)
def _gather(gathered, touched, n, neighbour, extra):
    """Adds an occurrence to what was gathered of a neighbour; returns the number of distinct neighbours."""
    row = neighbour + neighbour
    touched[n] = neighbour
    n += np.uint64(gathered[ONE + row] == 0)
    gathered[row] += extra
    gathered[ONE + row] += 1
    return n


@kernel(inline=True)
def _replace(s, a, b, new, start, stop):
    """Merges at the places pool[start:stop]: (distinct left neighbours, distinct right ones, length of the records)."""
    length_a = np.uint64(s.length[a])
    length_ab = length_a + np.uint64(s.length[b])
    s.length[new] = length_ab
    invalid = s.sentinel + ONE
    n_left = n_right = n_records = np.uint64(0)
    for i in range(start, stop):
        if i + np.uint64(AHEAD) < stop:
            p = np.uint64(s.pool[i + np.uint64(AHEAD)])
            prefetch(s.places, p)
            if p < s.first_small:
                prefetch(s.weight, p)
            elif p < s.first_single:
                prefetch(s.small, p - s.first_small)
        p = np.uint64(s.pool[i])
        q = p + length_a
        if np.uint64(s.places[p]) != a or np.uint64(s.places[q]) != b:
            continue
        e = p + length_ab
        L, R = np.uint64(s.places[p - ONE]), np.uint64(s.places[e])
        s.places[q] = invalid
        s.places[p] = new
        s.places[e - ONE] = new
        extra = weight_at(s.weight, s.first_small, s.small, s.first_single, p) - 1
        n_left = _gather(s.left, s.touched_left, n_left, L, extra)
        n_right = _gather(s.right, s.touched_right, n_right, R, extra)
        s.records[n_records] = p
        s.records[n_records + ONE] = L
        s.records[n_records + _TWO] = R
        n_records += _THREE
    return n_left, n_right, n_records


@kernel(inline=True)
def _prefetch_places(s, row):
    """Asks for what a merge of this pair will touch first."""
    start, number = np.uint64(s.pairs[4 * row + 2]), np.uint64(s.pairs[4 * row + 3])
    for i in range(start, start + min(number, np.uint64(AHEAD))):
        prefetch(s.places, s.pool[i])


@kernel(inline=True)
def _prefetch_pairs(s, touched, i, n, old_key, shift):
    """Asks for the slots of pairs that will lose weight, and for the pairs themselves some time later."""
    if i + np.uint64(2 * AHEAD_PAIRS) < n:
        key = old_key | np.uint64(touched[i + np.uint64(2 * AHEAD_PAIRS)]) << shift
        if may_be_stored(s.filter, key):
            prefetch(s.slots, home(s.mask, key))
        key = old_key | np.uint64(touched[i + np.uint64(AHEAD_PAIRS)]) << shift
        if may_be_stored(s.filter, key):
            stored = np.uint64(s.slots[home(s.mask, key)])  # the row + 1
            prefetch(s.pairs, (stored - ONE) << _TWO)


@kernel(inline=True)
def _move_weight(s, a, b, new, n_left, n_right, number, hand, n_heap):
    """Takes what was gathered from the old pairs and gives it to new ones: (entries of the heap, whether any is new).

    Of each neighbour, `gathered` then says where the list of its new pair begins; behind all lists if it has none.
    """
    overlaps = s.left[new + new] + s.left[ONE + new + new]  # weight of the new token beside itself
    n_pairs, used = s.at[PAIRS], np.uint64(s.at[POOL])
    waste = s.at[POOL] + 2 * number
    for side in range(2):
        touched = s.touched_left if side == 0 else s.touched_right
        gathered = s.left if side == 0 else s.right
        n_touched = n_left if side == 0 else n_right
        # Keys of (x, a) or (b, x), and of (x, new) or (new, x)
        shift = np.uint64(32 if side == 0 else 0)
        old_key = a if side == 0 else b << np.uint64(32)
        new_key = new if side == 0 else new << np.uint64(32)
        for i in range(n_touched):
            _prefetch_pairs(s, touched, i, n_touched, old_key, shift)
            x = np.uint64(touched[i])
            size = gathered[x + x + ONE]
            count = gathered[x + x] + size
            gathered[x + x] = waste
            if x == s.sentinel:
                continue
            if x != new:
                key = np.int64(old_key | x << shift)
                if may_be_stored(s.filter, key):
                    lower(s.pairs, s.slots, s.mask, key, count)
                if side == 1 and x == a:
                    count -= overlaps
            if (
                count >= s.threshold
                and s.length[x] + s.length[new] < s.max_length
                and may_merge(s.n_traits, s.traits, s.veto, x if side == 0 else new, new if side == 0 else x)
            ):
                key = np.int64(new_key | x << shift)
                insert(s.slots, s.mask, s.filter, key, n_pairs)
                add_pair(s.pairs, n_pairs, key, count, used, size)
                gathered[x + x] = used
                used += np.uint64(size)
                n_heap = _enqueue(s, hand, n_heap, n_pairs, key, count)
                n_pairs += 1
    any_new = n_pairs > s.at[PAIRS]
    s.at[STORED] += n_pairs - s.at[PAIRS]
    s.at[PAIRS], s.at[POOL] = n_pairs, np.int64(used)
    return n_heap, any_new


@kernel(inline=True)
def _deal(s, n_records):
    """Writes each occurrence to the lists of its new pairs.

    Neighbours without a new pair write behind them all: cheaper than a branch that is hard to foresee.
    """
    for i in range(np.uint64(0), n_records, _THREE):
        p = np.uint64(s.records[i])
        left = np.uint64(s.records[i + ONE])
        right = np.uint64(s.records[i + _TWO])
        s.pool[np.uint64(s.left[left + left])] = p - np.uint64(s.length[left])
        s.left[left + left] += 1
        s.pool[np.uint64(s.right[right + right])] = p
        s.right[right + right] += 1


@kernel(inline=True)
def _clear(gathered, touched, n):
    for i in range(n):
        x = np.uint64(touched[i])
        gathered[x + x] = 0
        gathered[ONE + x + x] = 0


@kernel(State, i64)
def merge(state, work):
    """Merges until done, until `work` occurrences have been looked at, or until something must grow."""
    s = _views(state)
    hand, n_heap = s.at[BUCKET], s.at[HEAP]
    outcome = DONE
    while s.at[TOKENS] < state.limits[0]:
        if work <= 0:
            outcome = PAUSED
            break
        row, hand, n_heap = _first_pair(s, hand, n_heap)
        if row < 0:
            outcome = DRY
            break
        key, start, number = s.pairs[4 * row], np.uint64(s.pairs[4 * row + 2]), s.pairs[4 * row + 3]
        a, b = np.uint64(key) >> np.uint64(32), np.uint64(key) & np.uint64(0xFFFFFFFF)
        if not _has_room(s, a, b, number):
            s.at[NEED] = number
            outcome = GROW
            break
        merged = _merged_token(s, a, b)
        if merged < 0:
            return RESPELLED
        new, n = np.uint64(merged), 3 * s.at[MERGES]
        s.merges[n], s.merges[n + 1], s.merges[n + 2] = a, b, new
        s.merge_counts[s.at[MERGES]] = s.pairs[4 * row + 1]
        s.at[MERGES] += 1
        _heap_pop(s, n_heap)
        n_heap -= 1
        s.pairs[4 * row + 1] = 0
        work -= number + 100

        n_left, n_right, n_records = _replace(s, a, b, new, start, start + np.uint64(number))
        if n_heap > 0:
            _prefetch_places(s, s.heap[2])
        n_heap, any_new = _move_weight(s, a, b, new, n_left, n_right, number, hand, n_heap)
        if any_new:
            _deal(s, n_records)
        _clear(s.left, s.touched_left, n_left)
        _clear(s.right, s.touched_right, n_right)
    s.at[BUCKET], s.at[HEAP] = hand, n_heap
    return outcome
