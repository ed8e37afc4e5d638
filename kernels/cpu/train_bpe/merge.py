"""The merges of training BPE, one after the other."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import prefetch, view
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
)
from gputok.kernels.signatures import i64


@kernel(inline=True)
def _before(heap, i, j):
    """Whether entry i comes before entry j: the higher count, then the smaller pair."""
    i, j = np.uint64(3 * i), np.uint64(3 * j)
    if heap[i] != heap[j]:
        return heap[i] > heap[j]
    return heap[i + ONE] < heap[j + ONE]


@kernel(inline=True)
def _swap(heap, i, j):
    for k in range(3):
        at_i, at_j = np.uint64(3 * i + k), np.uint64(3 * j + k)
        value = heap[at_i]
        heap[at_i] = heap[at_j]
        heap[at_j] = value


@kernel(inline=True)
def _heap_push(heap, size, count, key, row):
    for k, value in enumerate((count, key, row)):
        heap[3 * size + k] = value
    i = size
    while i > 0 and _before(heap, i, (i - 1) >> 1):
        _swap(heap, i, (i - 1) >> 1)
        i = (i - 1) >> 1


@kernel(inline=True)
def _heap_pop(heap, size):
    """Removes the first of `size` entries."""
    size -= 1
    _swap(heap, 0, size)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and _before(heap, child + 1, child):
            child += 1
        if not _before(heap, child, i):
            return
        _swap(heap, i, child)
        i = child


@kernel(State, i64)
def merge(state, work):
    """Merges until done, until `work` occurrences have been looked at, or until something must grow."""
    (at, limits, prefix, places, weight, length, merges, text, text_end, names, pairs, chain, bucket, heap, slots,
     filter, pool, records, left, right, touched_left, touched_right) = state  # fmt: skip
    vocab_size, max_length, first_single = limits[0], np.uint64(limits[1]), np.uint64(len(weight))
    sentinel = np.uint64(len(length) - 1)
    invalid = places.dtype.type(len(length))
    threshold = at[THRESHOLD]
    all_pairs, all_slots, mask = view(pairs), view(slots), np.uint64(len(slots) - 1)
    bits, queue, buckets, chains = view(filter), view(heap), view(bucket), view(chain)
    strings, ends, all_names = view(text), view(text_end), view(names)
    left_out, n_prefix, names_mask = view(prefix), np.uint64(len(prefix)), np.uint64(len(names) - 1)
    hand, n_heap = at[BUCKET], at[HEAP]
    all_places, weights = view(places), view(weight)
    lowest = bucket_of(threshold)

    while at[TOKENS] < vocab_size:
        if work <= 0:
            at[BUCKET], at[HEAP] = hand, n_heap
            return PAUSED

        # 1. The pair that comes first: its count must still be what it was when it was queued
        row, count = np.int64(-1), np.int64(0)
        while row < 0:
            if n_heap == 0:
                while hand >= lowest and bucket[hand] == 0:
                    hand -= 1
                if hand < lowest:
                    at[BUCKET], at[HEAP] = hand, n_heap
                    return DRY
                next_row = np.int64(bucket[hand]) - 1
                bucket[hand] = 0
                while next_row >= 0:
                    queued, next_row = next_row, np.int64(chain[next_row]) - 1
                    count = pairs[4 * queued + 1]
                    if count >= threshold:
                        k = bucket_of(count)
                        if k == hand:
                            _heap_push(queue, n_heap, count, pairs[4 * queued], queued)
                            n_heap += 1
                        else:
                            add_to_bucket(buckets, chains, k, queued)
                continue
            row = heap[2]
            count = pairs[4 * row + 1]
            if count != heap[0]:
                _heap_pop(queue, n_heap)
                n_heap -= 1
                if count >= threshold:
                    k = bucket_of(count)
                    if k == hand:
                        _heap_push(queue, n_heap, count, pairs[4 * row], row)
                        n_heap += 1
                    else:
                        add_to_bucket(buckets, chains, k, row)
                row = np.int64(-1)

        # 2. Room for all that it can give, or a pause for more
        key, start, number = pairs[4 * row], np.uint64(pairs[4 * row + 2]), pairs[4 * row + 3]
        a, b = np.uint64(key) >> np.uint64(32), np.uint64(key) & np.uint64(0xFFFFFFFF)
        born = 2 * min(number, len(length))
        n_text = text_end[at[TOKENS]]
        longest = text_end[a + ONE] - text_end[a] + text_end[b + ONE] - text_end[b]
        if (
            at[PAIRS] + born > len(chain)
            or 3 * (at[STORED] + born) > 2 * len(slots)
            or at[POOL] + 3 * number > len(pool)
            or n_text + longest > len(text)
            or 3 * number > len(records)
        ):
            at[BUCKET], at[HEAP], at[NEED] = hand, n_heap, number
            return GROW

        # 3. The string of the merged token, and the token of that name if there is one
        end = spell_merged(strings, ends, left_out, n_prefix, a, b, n_text)
        slot = name_slot(strings, ends, all_names, names_mask, n_text, end)
        merged = np.int64(names[slot]) - 1
        if merged < 0:
            merged = at[TOKENS]
            names[slot] = merged + 1
            at[TOKENS] += 1
            text_end[merged + 1] = end
        elif length[merged] > 0:
            return RESPELLED
        new = np.uint64(merged)
        n = 3 * at[MERGES]
        merges[n], merges[n + 1], merges[n + 2] = a, b, new
        at[MERGES] += 1
        _heap_pop(queue, n_heap)
        n_heap -= 1
        pairs[4 * row + 1] = 0
        work -= number + 100

        # 4. Merge, gathering weights by neighbour
        length_a, length_b = np.uint64(length[a]), np.uint64(length[b])
        length_ab = length_a + length_b
        length[new] = np.int64(length_ab)
        new_id = places.dtype.type(new)
        n_left = n_right = n_records = np.uint64(0)
        stop = start + np.uint64(number)
        for i in range(start, stop):
            if i + np.uint64(AHEAD) < stop:
                p = np.uint64(pool[i + np.uint64(AHEAD)])
                prefetch(all_places, p)
                if p < first_single:
                    prefetch(weights, p)
            p = np.uint64(pool[i])
            q = p + length_a
            if np.uint64(places[p]) != a or np.uint64(places[q]) != b:
                continue
            e = p + length_ab
            L, R = np.uint64(places[p - ONE]), np.uint64(places[e])
            places[q] = invalid
            places[p] = new_id
            places[e - ONE] = new_id
            extra = weight[p] - 1 if p < first_single else 0
            touched_left[n_left] = L
            n_left += np.uint64(left[ONE + L + L] == 0)
            left[L + L] += extra
            left[ONE + L + L] += 1
            touched_right[n_right] = R
            n_right += np.uint64(right[ONE + R + R] == 0)
            right[R + R] += extra
            right[ONE + R + R] += 1
            records[n_records] = p
            records[n_records + np.uint64(1)] = L
            records[n_records + np.uint64(2)] = R
            n_records += np.uint64(3)
        overlaps = left[new + new] + left[ONE + new + new]  # weight of the new token beside itself

        if n_heap > 0:  # what the next pair will touch first
            next_start = np.uint64(pairs[4 * heap[2] + 2])
            next_number = np.uint64(pairs[4 * heap[2] + 3])
            for i in range(next_start, next_start + min(next_number, np.uint64(AHEAD))):
                prefetch(all_places, pool[i])

        # 5. Old pairs lose what was gathered, and new ones are born with it
        n_pairs, used = at[PAIRS], np.uint64(at[POOL])
        waste = at[POOL] + 2 * number
        any_born = False
        for side in range(2):
            touched = view(touched_left if side == 0 else touched_right)
            gathered = view(left if side == 0 else right)
            n_touched = n_left if side == 0 else n_right
            # Keys of (x, a) or (b, x), and of (x, new) or (new, x)
            shift = np.uint64(32 if side == 0 else 0)
            old_key = a if side == 0 else b << np.uint64(32)
            new_key = new if side == 0 else new << np.uint64(32)
            for i in range(n_touched):
                if i + np.uint64(2 * AHEAD_PAIRS) < n_touched:
                    key = old_key | np.uint64(touched[i + np.uint64(2 * AHEAD_PAIRS)]) << shift
                    if may_be_stored(bits, key):
                        prefetch(all_slots, home(mask, key))
                    key = old_key | np.uint64(touched[i + np.uint64(AHEAD_PAIRS)]) << shift
                    if may_be_stored(bits, key):
                        stored = np.uint64(all_slots[home(mask, key)])  # the row + 1
                        prefetch(all_pairs, (stored - ONE) << np.uint64(2))
                x = np.uint64(touched[i])
                number = gathered[x + x + ONE]
                count = gathered[x + x] + number
                gathered[x + x] = waste
                if x == sentinel:
                    continue
                if x != new:
                    key = np.int64(old_key | x << shift)
                    if may_be_stored(bits, key):
                        lower(all_pairs, all_slots, mask, key, count)
                    if side == 1 and x == a:
                        count -= overlaps
                if count >= threshold and length[x] + length[new] < max_length:
                    key = np.int64(new_key | x << shift)
                    insert(all_slots, mask, bits, key, n_pairs)
                    add_pair(all_pairs, n_pairs, key, count, used, number)
                    gathered[x + x] = used
                    used += np.uint64(number)
                    any_born = True
                    k = bucket_of(count)
                    if k == hand:
                        _heap_push(queue, n_heap, count, key, n_pairs)
                        n_heap += 1
                    else:
                        add_to_bucket(buckets, chains, k, n_pairs)
                    n_pairs += 1
        at[STORED] += n_pairs - at[PAIRS]
        at[PAIRS], at[POOL] = n_pairs, np.int64(used)

        # 6. Deal the occurrences to the lists of the new pairs. Neighbours without a new pair write behind them all:
        # cheaper than a branch that is hard to foresee
        if any_born:
            for i in range(np.uint64(0), n_records, np.uint64(3)):
                p = np.uint64(records[i])
                L = np.uint64(records[i + np.uint64(1)])
                R = np.uint64(records[i + np.uint64(2)])
                pool[np.uint64(left[L + L])] = p - np.uint64(length[L])
                left[L + L] += 1
                pool[np.uint64(right[R + R])] = p
                right[R + R] += 1
        for i in range(n_left):
            x = np.uint64(touched_left[i])
            left[x + x] = 0
            left[ONE + x + x] = 0
        for i in range(n_right):
            x = np.uint64(touched_right[i])
            right[x + x] = 0
            right[ONE + x + x] = 0
    return DONE
