"""Training BPE: all merges, in the order and with the ties of the namesake.

The layout decides the speed. The unique words stand one after the other in one array of symbols `S`, a sentinel
between them. A token of length n keeps its n places and its id stands at its *first and last* place, so that
the left neighbour of a token at p is `S[p - 1]`, the right one `S[p + length]`, with no links at all.

- A pair (a, b) has a list of the first places of `a`, written once. An entry is stale, and skipped, unless still
  `S[p] == a` and `S[p + length[a]] == b`; the first place of a right part is overwritten with an invalid id.
  Lists ascend, so a run `aaaa` merges from left to right.
- While a pair is merged, weights are gathered by *neighbour*; afterwards each distinct neighbour costs one look-up.
- Pairs of a count below a threshold are not stored. Counts only fall after a pair is born, so they cannot come
  first while the top stays at the threshold or above; when none is left there, the threshold is lowered and
  the pairs are indexed again by one scan.
- The queue has a bucket for each range of counts (five bits of mantissa); only the bucket in hand is ordered, by a
  heap. A count that has fallen is noticed when its pair comes up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import BpeLimits, BpeMerges
from . import kernel
from .bpe_queue import train_bpe_queued
from .bpe_strings import index_names, name_slot, power_of_two, resized, spell_merged
from .memory import address, leading_zeros, prefetch

_ONE = np.uint64(1)
_HASH = np.uint64(0x9E3779B97F4A7C15)
_AHEAD = 24  # list entries between a prefetch and its use
_FILTER_BITS = (
    21  # a bit set of 2 ** 21 bits answers most look-ups of pairs not stored from the level-2 cache
)
_ROOM = 1 << 16  # for pairs, beyond those that there are
_SLICE = 10_000_000  # occurrences looked at between two calls of progress, about 0.1 s
_FEW_TOKENS = 1500  # whose pairs are counted in one table, of 36 MB at most
_BUCKETS = 1920  # of _bucket: counts below 2 ** 63

# A slice of the work ends with one of these
_DONE, _PAUSED, _DRY, _GROW, _RESPELLED = range(5)

# Scalars of the state that change, as indices into State.at
_MERGES, _TOKENS, _PAIRS, _POOL, _HEAP, _BUCKET, _THRESHOLD, _NEED, _N_SCALARS = range(9)


class _State(NamedTuple):
    at: np.ndarray  # int64[_N_SCALARS]
    limits: np.ndarray  # int64[2]: vocab_size, max_token_length
    prefix: np.ndarray  # uint8[k], continuing_subword_prefix
    symbols: np.ndarray  # uint16|uint32[n], S of the module's docstring
    weight: np.ndarray  # int64[places], of each place before the words of weight 1
    length: np.ndarray  # int64[ids], in places; 0: no such symbol in the words
    merges: np.ndarray  # uint32[3, m]: left, right, merged
    text: np.ndarray  # uint8[bytes], the tokens' strings one after the other
    text_end: np.ndarray  # int64[ids + 1]
    names: np.ndarray  # int32[power of two], tokens by the hash of their string; -1: empty
    pairs: (
        np.ndarray
    )  # int64[4, pairs] as flat rows: left << 32 | right, count, start in pool, number in pool
    chain: np.ndarray  # int32[pairs], the next pair in the same bucket
    bucket: np.ndarray  # int32[_BUCKETS], its first pair; -1: empty
    heap: np.ndarray  # int64[3 * pairs], count, key and row of the pairs of the bucket in hand
    slots: np.ndarray  # int32[power of two], pairs by key; -1: empty
    filter: np.ndarray  # uint64[2 ** _FILTER_BITS / 64]
    pool: np.ndarray  # uint32[entries], the lists
    records: np.ndarray  # uint32[3 * largest list]: place, left and right neighbour of each occurrence
    left: (
        np.ndarray
    )  # int64[2 * ids + 4]: weight - number, number by left neighbour; then where its list is written
    right: np.ndarray  # int64[2 * ids + 4]
    touched_left: np.ndarray  # uint32[ids + 2], the distinct left neighbours
    touched_right: np.ndarray  # uint32[ids + 2]


@kernel(inline=True)
def _bucket(count):
    """The bucket of a count: itself below 64, then 32 to each power of two."""
    count = np.uint64(count)
    if count < np.uint64(64):
        return np.int64(count)
    shift = np.uint64(58) - leading_zeros(count)
    return np.int64((shift << np.uint64(5)) + (count >> shift))


@kernel(inline=True)
def _hash(key):
    return np.uint64(key) * _HASH


@kernel(inline=True)
def _find(pairs, slots, filter, key):
    """The row of a stored pair, or -1."""
    h = _hash(key)
    bit = (h >> np.uint64(20)) & np.uint64((1 << _FILTER_BITS) - 1)
    if not (filter[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & _ONE:
        return np.int64(-1)
    mask = np.uint64(len(slots) - 1)
    at = (h >> np.uint64(32)) & mask
    while True:
        row = np.int64(slots[at])
        if row < 0 or pairs[np.uint64(4 * row)] == key:
            return row
        at = (at + _ONE) & mask


@kernel(inline=True)
def _insert(slots, filter, key, row):
    h = _hash(key)
    bit = (h >> np.uint64(20)) & np.uint64((1 << _FILTER_BITS) - 1)
    filter[bit >> np.uint64(6)] |= _ONE << (bit & np.uint64(63))
    mask = np.uint64(len(slots) - 1)
    at = (h >> np.uint64(32)) & mask
    while slots[at] >= 0:
        at = (at + _ONE) & mask
    slots[at] = row


@kernel(inline=True)
def _before(heap, i, j):
    """Whether entry i comes before entry j: the higher count, then the smaller pair."""
    if heap[3 * i] != heap[3 * j]:
        return heap[3 * i] > heap[3 * j]
    return heap[3 * i + 1] < heap[3 * j + 1]


@kernel(inline=True)
def _swap(heap, i, j):
    for k in range(3):
        heap[3 * i + k], heap[3 * j + k] = heap[3 * j + k], heap[3 * i + k]


@kernel(inline=True)
def _heap_push(heap, size, count, key, row):
    heap[3 * size], heap[3 * size + 1], heap[3 * size + 2] = count, key, row
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


@kernel
def _lay_out(symbols, offsets, counts, places, weight, length):
    """Writes S (places) and the weights; returns (number of places, first place of the words of weight 1).

    Words of one symbol have no pair and are left out. Called with empty arrays it only measures.
    """
    fill = len(places) > 0
    sentinel = places.dtype.type(len(length))
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
                    at += _ONE
                places[at] = sentinel
                at += _ONE
            else:
                at += end - start + _ONE
        if single == 0:
            first_single = at
    return np.int64(at), np.int64(first_single)


@kernel(inline=True)
def _add_pair(pairs, chain, bucket, n, left, right, count, used, number):
    """Stores pair n and queues it; returns its bucket."""
    pairs[4 * n], pairs[4 * n + 1] = np.int64((left << np.uint64(32)) | right), count
    pairs[4 * n + 2], pairs[4 * n + 3] = used, number
    k = _bucket(count)
    chain[n] = bucket[k]
    bucket[k] = n
    return k


@kernel
def _index_characters(state, table):
    """`_index_pairs` for words of few distinct symbols, none merged yet.

    table: int64[2 * (ids + 1) ** 2], zeros; of each pair its weight - number (then where its list is written) and its
    number.
    """
    at, places, weight, pool = state.at, state.symbols, state.weight, state.pool
    pairs, chain, bucket = state.pairs, state.chain, state.bucket
    n, first_single = np.uint64(len(places)), np.uint64(len(weight))
    # The sentinel counts as symbol `end`, so that no place is a special case
    end = np.uint64(np.sqrt(len(table) // 2)) - _ONE
    bucket[:] = -1
    b = end
    for p in range(_ONE, n):
        a, b = b, min(np.uint64(places[p]), end)
        pair = (a * (end + _ONE) + b) << _ONE
        table[pair + _ONE] += 1
        if p < first_single and b != end:
            table[pair] += weight[p] - 1
    n_pairs, used, largest, highest = 0, 0, 0, 0
    for a in range(end):
        for b in range(end):
            pair = (a * (end + _ONE) + b) << _ONE
            number = table[pair + _ONE]
            count = table[pair] + number
            table[pair] = -1
            if number > 0 and count >= at[_THRESHOLD]:
                highest = max(highest, _add_pair(pairs, chain, bucket, n_pairs, a, b, count, used, number))
                table[pair] = used
                used += number
                largest = max(largest, number)
                n_pairs += 1
    for a in range(end + _ONE):
        table[(a * (end + _ONE) + end) << _ONE] = -1
        table[(end * (end + _ONE) + a) << _ONE] = -1
    b = end
    for p in range(_ONE, n):
        a, b = b, min(np.uint64(places[p]), end)
        pair = (a * (end + _ONE) + b) << _ONE
        if table[pair] >= 0:
            pool[np.uint64(table[pair])] = p - _ONE
            table[pair] += 1
    at[_PAIRS], at[_POOL], at[_HEAP], at[_BUCKET], at[_NEED] = n_pairs, used, 0, highest, largest


@kernel
def _index_pairs(state, order):
    """Stores every pair whose count reaches the threshold, with its list, in buckets; order: uint32[places] scratch.

    The places are first dealt to their left symbols, then each left symbol gathers its right neighbours.
    """
    at, places, weight, length = state.at, state.symbols, state.weight, state.length
    pairs, chain, bucket, pool = state.pairs, state.chain, state.bucket, state.pool
    gathered, touched = state.right, state.touched_right
    first_single, max_length = np.uint64(len(weight)), state.limits[1]
    places_address, place_size = address(places), np.uint64(places.itemsize)
    n, sentinel = np.uint64(len(places)), np.uint64(len(length))
    bucket[:] = -1

    start = np.zeros(len(length) + 1, np.int64)
    for dealing in range(2):
        p = _ONE
        while p < n:
            a = np.uint64(places[p])
            if a == sentinel:
                p += _ONE
                continue
            if dealing == 0:
                start[a + _ONE] += 1
            else:
                order[np.uint64(start[a])] = p
                start[a] += 1
            p += np.uint64(length[a])
        if dealing == 0:
            for a in range(len(length)):
                start[a + 1] += start[a]

    n_pairs, used, largest, highest = 0, 0, 0, 0
    begin = np.uint64(0)
    for a in range(sentinel):
        end = np.uint64(start[a])  # dealing has moved each start to its end
        n_touched = np.uint64(0)
        step = np.uint64(length[a])
        for i in range(begin, end):
            if i + np.uint64(_AHEAD) < end:
                prefetch(places_address + place_size * (np.uint64(order[i + np.uint64(_AHEAD)]) + step))
            p = np.uint64(order[i])
            b = np.uint64(places[p + step])
            touched[n_touched] = b
            n_touched += np.uint64(gathered[_ONE + b + b] == 0)
            gathered[b + b] += weight[p] if p < first_single else 1
            gathered[_ONE + b + b] += 1
        for i in range(n_touched):
            b = np.uint64(touched[i])
            count, number = gathered[b + b], gathered[_ONE + b + b]
            gathered[b + b] = -1
            if b == sentinel or count < at[_THRESHOLD]:
                continue
            if length[a] + length[b] < max_length or length[a] + length[b] == 2:
                highest = max(highest, _add_pair(pairs, chain, bucket, n_pairs, a, b, count, used, number))
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
            gathered[_ONE + b + b] = 0
        begin = end
    at[_PAIRS], at[_POOL], at[_HEAP], at[_BUCKET], at[_NEED] = n_pairs, used, 0, highest, largest


@kernel
def _index_slots(pairs, n_pairs, threshold, slots, filter):
    """Fills the hash table with the pairs that still reach the threshold."""
    slots[:] = -1
    filter[:] = 0
    for row in range(n_pairs):
        if pairs[4 * row + 1] >= threshold:
            _insert(slots, filter, pairs[4 * row], row)


@kernel
def _merge(state, work):
    """Merges until done, until `work` occurrences have been looked at, or until something must grow."""
    (at, limits, prefix, places, weight, length, merges, text, text_end, names, pairs, chain, bucket, heap, slots,
     filter, pool, records, left, right, touched_left, touched_right) = state  # fmt: skip
    vocab_size, max_length, first_single = limits[0], limits[1], np.uint64(len(weight))
    sentinel = np.uint64(len(length))
    invalid = places.dtype.type(len(length) + 1)
    threshold = at[_THRESHOLD]
    places_address, place_size, weight_address = address(places), np.uint64(places.itemsize), address(weight)
    lowest = _bucket(threshold)

    while at[_TOKENS] < vocab_size:
        if work <= 0:
            return _PAUSED

        # 1. The pair that comes first: its count must still be what it was when it was queued
        row, count = np.int64(-1), np.int64(0)
        while row < 0:
            if at[_HEAP] == 0:
                while at[_BUCKET] >= lowest and bucket[at[_BUCKET]] < 0:
                    at[_BUCKET] -= 1
                if at[_BUCKET] < lowest:
                    return _DRY
                next_row = np.int64(bucket[at[_BUCKET]])
                bucket[at[_BUCKET]] = -1
                while next_row >= 0:
                    queued, next_row = next_row, np.int64(chain[next_row])
                    count = pairs[4 * queued + 1]
                    if count >= threshold:
                        k = _bucket(count)
                        if k == at[_BUCKET]:
                            _heap_push(heap, at[_HEAP], count, pairs[4 * queued], queued)
                            at[_HEAP] += 1
                        else:
                            chain[queued] = bucket[k]
                            bucket[k] = queued
                continue
            row = heap[2]
            count = pairs[4 * row + 1]
            if count != heap[0]:
                _heap_pop(heap, at[_HEAP])
                at[_HEAP] -= 1
                if count >= threshold:
                    k = _bucket(count)
                    if k == at[_BUCKET]:
                        _heap_push(heap, at[_HEAP], count, pairs[4 * row], row)
                        at[_HEAP] += 1
                    else:
                        chain[row] = bucket[k]
                        bucket[k] = row
                row = np.int64(-1)

        # 2. Room for all that it can give, or a pause for more
        key, start, number = pairs[4 * row], np.uint64(pairs[4 * row + 2]), pairs[4 * row + 3]
        a, b = np.uint64(key) >> np.uint64(32), np.uint64(key) & np.uint64(0xFFFFFFFF)
        born = 2 * min(number, len(length))
        n_text = text_end[at[_TOKENS]]
        longest = text_end[a + _ONE] - text_end[a] + text_end[b + _ONE] - text_end[b]
        if (
            at[_PAIRS] + born > len(chain)
            or 2 * (at[_PAIRS] + born) > len(slots)
            or at[_POOL] + 3 * number > len(pool)
            or n_text + longest > len(text)
            or 3 * number > len(records)
        ):
            at[_NEED] = number
            return _GROW

        # 3. The string of the merged token, and the token of that name if there is one
        end = spell_merged(text, text_end, prefix, a, b, n_text)
        slot = name_slot(text, text_end, names, n_text, end)
        merged = np.int64(names[slot])
        if merged < 0:
            merged = at[_TOKENS]
            names[slot] = merged
            at[_TOKENS] += 1
            text_end[merged + 1] = end
        elif length[merged] > 0:
            return _RESPELLED
        new = np.uint64(merged)
        merges[0, at[_MERGES]], merges[1, at[_MERGES]], merges[2, at[_MERGES]] = a, b, new
        at[_MERGES] += 1
        _heap_pop(heap, at[_HEAP])
        at[_HEAP] -= 1
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
            if i + np.uint64(_AHEAD) < stop:
                p = np.uint64(pool[i + np.uint64(_AHEAD)])
                prefetch(places_address + place_size * p)
                if p < first_single:
                    prefetch(weight_address + (p << np.uint64(3)))
            p = np.uint64(pool[i])
            q = p + length_a
            if np.uint64(places[p]) != a or np.uint64(places[q]) != b:
                continue
            e = p + length_ab
            L, R = np.uint64(places[p - _ONE]), np.uint64(places[e])
            places[q] = invalid
            places[p] = new_id
            places[e - _ONE] = new_id
            extra = weight[p] - 1 if p < first_single else 0
            touched_left[n_left] = L
            n_left += np.uint64(left[_ONE + L + L] == 0)
            left[L + L] += extra
            left[_ONE + L + L] += 1
            touched_right[n_right] = R
            n_right += np.uint64(right[_ONE + R + R] == 0)
            right[R + R] += extra
            right[_ONE + R + R] += 1
            records[n_records] = p
            records[n_records + np.uint64(1)] = L
            records[n_records + np.uint64(2)] = R
            n_records += np.uint64(3)
        overlaps = left[new + new] + left[_ONE + new + new]  # weight of the new token beside itself

        if at[_HEAP] > 0:  # what the next pair will touch first
            next_start = np.uint64(pairs[4 * heap[2] + 2])
            next_number = np.uint64(pairs[4 * heap[2] + 3])
            for i in range(next_start, next_start + min(next_number, np.uint64(_AHEAD))):
                prefetch(places_address + place_size * np.uint64(pool[i]))

        # 5. Old pairs lose what was gathered, and new ones are born with it
        n_pairs, used = at[_PAIRS], np.uint64(at[_POOL])
        waste = at[_POOL] + 2 * number
        any_born = False
        for side in range(2):
            touched, gathered = (touched_left, left) if side == 0 else (touched_right, right)
            for i in range(n_left if side == 0 else n_right):
                x = np.uint64(touched[i])
                count, number = gathered[x + x] + gathered[_ONE + x + x], gathered[_ONE + x + x]
                gathered[x + x] = waste
                if x == sentinel:
                    continue
                if x != new:
                    old = np.int64((x << np.uint64(32)) | a if side == 0 else (b << np.uint64(32)) | x)
                    old_row = _find(pairs, slots, filter, old)
                    if old_row >= 0:
                        pairs[4 * old_row + 1] -= count
                    if side == 1 and x == a:
                        count -= overlaps
                if count >= threshold and length[x] + length[new] < max_length:
                    key = np.int64((x << np.uint64(32)) | new if side == 0 else (new << np.uint64(32)) | x)
                    pairs[4 * n_pairs], pairs[4 * n_pairs + 1] = key, count
                    pairs[4 * n_pairs + 2], pairs[4 * n_pairs + 3] = np.int64(used), number
                    _insert(slots, filter, key, n_pairs)
                    gathered[x + x] = np.int64(used)
                    used += np.uint64(number)
                    any_born = True
                    k = _bucket(count)
                    if k == at[_BUCKET]:
                        _heap_push(heap, at[_HEAP], count, key, n_pairs)
                        at[_HEAP] += 1
                    else:
                        chain[n_pairs] = bucket[k]
                        bucket[k] = n_pairs
                    n_pairs += 1
        at[_PAIRS], at[_POOL] = n_pairs, np.int64(used)

        # 6. Deal the occurrences to the lists of the new pairs. Neighbours of no new pair write behind them: that costs
        # less than a branch that is hard to foresee
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
            left[_ONE + x + x] = 0
        for i in range(n_right):
            x = np.uint64(touched_right[i])
            right[x + x] = 0
            right[_ONE + x + x] = 0
    return _DONE


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of the words symbols[offsets[i]:offsets[i + 1]], as `reference.train_bpe` finds them."""
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + len(symbols)))
    dtype = np.uint16 if ids + 1 < 1 << 16 else np.uint32
    length = np.zeros(ids + 1, np.int64)[:ids]  # the sentinel's is read, too
    n_places, first_single = _lay_out(
        symbols, offsets, counts, np.empty(0, dtype), np.empty(0, np.int64), length
    )
    places, weight = np.empty(n_places, dtype), np.empty(first_single, np.int64)
    _lay_out(symbols, offsets, counts, places, weight, length)

    total = int(counts @ np.maximum(np.diff(offsets) - 1, 0))
    floor = max(1, limits.min_frequency)
    # Far enough below the last merge's count on real text that the pairs are indexed only once (3 to 10 times)
    threshold = max(floor, total // (128 * max(limits.vocab_size, 1)))
    state = _State(
        at=np.zeros(_N_SCALARS, np.int64),
        limits=np.array([limits.vocab_size, limits.max_token_length], np.int64),
        prefix=np.frombuffer(limits.prefix, np.uint8),
        symbols=places,
        weight=weight,
        length=length,
        merges=np.empty((3, ids), np.uint32),
        text=resized(tokens, len(tokens) + 16 * ids),
        text_end=resized(token_offsets, ids + 1),
        names=np.empty(power_of_two(2 * ids), np.int32),
        bucket=np.empty(_BUCKETS, np.int32),
        filter=np.empty((1 << _FILTER_BITS) // 64, np.uint64),
        pool=np.empty(3 * n_places, np.uint32),
        left=np.zeros(2 * (ids + 2), np.int64),
        right=np.zeros(2 * (ids + 2), np.int64),
        touched_left=np.empty(ids + 2, np.uint32),
        touched_right=np.empty(ids + 2, np.uint32),
        **dict.fromkeys(("pairs", "heap"), np.empty(0, np.int64)),
        **dict.fromkeys(("chain", "slots"), np.empty(0, np.int32)),
        records=np.empty(0, np.uint32),
    )
    state.at[_TOKENS] = n_tokens
    index_names(state.text, state.text_end, n_tokens, state.names)
    state = _indexed(state, threshold, total)
    outcome = _PAUSED
    while outcome != _DONE:
        outcome = _merge(state, _SLICE)
        if progress is not None:
            progress(int(state.at[_TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
        if outcome == _GROW:
            state = _grown(state)
        elif outcome == _DRY and threshold > floor:
            threshold = max(floor, threshold // 8)
            state = _indexed(state, threshold, total)
        elif outcome == _DRY:
            outcome = _DONE
        elif outcome == _RESPELLED:
            return train_bpe_queued(symbols, offsets, counts, tokens, token_offsets, limits, progress)
    n_tokens, text_end = int(state.at[_TOKENS]), state.text_end
    return BpeMerges(
        *state.merges[:, : state.at[_MERGES]], state.text[: text_end[n_tokens]], text_end[: n_tokens + 1]
    )


def _indexed(state: _State, threshold: int, total: int) -> _State:
    """The state with every pair of count `threshold` or more stored; total: the weight of all pairs."""
    room = min(total // threshold, len(state.symbols)) + _ROOM
    state.at[_THRESHOLD] = threshold
    state = state._replace(
        pairs=np.empty(4 * room, np.int64), chain=np.empty(room, np.int32), heap=np.empty(3 * room, np.int64)
    )
    if state.at[_MERGES] == 0 and state.at[_TOKENS] < _FEW_TOKENS:
        _index_characters(state, np.zeros(2 * (int(state.at[_TOKENS]) + 1) ** 2, np.int64))
    else:
        _index_pairs(state, np.empty(len(state.symbols), np.uint32))
    n_pairs = state.at[_PAIRS]
    state = state._replace(
        slots=np.empty(power_of_two(4 * n_pairs + _ROOM), np.int32),
        records=np.empty(3 * state.at[_NEED], np.uint32),
    )
    _index_slots(state.pairs, n_pairs, threshold, state.slots, state.filter)
    return state


def _grown(state: _State) -> _State:
    """The state with room for the next merge: whatever is short of it at least doubles."""
    number = int(state.at[_NEED])
    n_pairs = int(state.at[_PAIRS]) + 2 * min(number, len(state.length))
    if n_pairs > len(state.chain):
        state = state._replace(
            pairs=resized(state.pairs, 8 * n_pairs),
            chain=resized(state.chain, 2 * n_pairs),
            heap=resized(state.heap, 6 * n_pairs),
        )
    if 2 * n_pairs > len(state.slots):
        state = state._replace(slots=np.empty(power_of_two(4 * n_pairs), np.int32))
        _index_slots(state.pairs, state.at[_PAIRS], state.at[_THRESHOLD], state.slots, state.filter)
    if state.at[_POOL] + 3 * number > len(state.pool):
        state = state._replace(pool=resized(state.pool, 2 * (int(state.at[_POOL]) + 3 * number)))
    if 3 * number > len(state.records):
        state = state._replace(records=np.empty(6 * number, np.uint32))
    return state._replace(text=resized(state.text, 2 * len(state.text)))
