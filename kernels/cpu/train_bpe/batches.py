"""The merges of training BPE in batches, on threads. For the layout of words see train.py.

A batch is the first pairs of the queue, as far as no id is the left part of one of them and the right part of one; or
a pair (a, a) alone. As `tests/reference/train_bpe_in_batches.py` proves, the merges are those of one pair at a time.

    pick      the first thread takes the batch from the queue
    apply     each part lists the positions of the pairs that the last batch made, and merges the batch in its words;
              the weights by neighbour are sorted by shard
    settle    each shard adds up the weights of all parts, lowers the counts of old pairs, and makes new pairs
    queue     the first thread subtracts late losses, and queues the new pairs

The neighbours are divided into *shards* by a hash, and one thread settles a shard: all that is added up for a pair is
in one shard. A pair that is made in a batch may lose occurrences in the same batch (`abcd` with (a, b) and (c, d), or
`abab`). Such late losses are noted, and subtracted after all shards are settled.

Words are independent, and sums of integers don't depend on the order: so the merges are the same for any number of
parts and threads. Which row a pair gets depends on the schedule, but nothing is ordered by rows.

To apply or to settle is a *step*; the units of a step are the parts, or the shards. A thread claims a unit by setting
its number to that of the step, which succeeds only once. A thread prefers its own unit, and takes over others that
nobody has begun, so that a thread that the system does not run holds up nothing. A thread that wakes up late finds its
claims refused; it reads the batch only after a claim succeeded. A step ends when each unit is done.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN, U1, U2, U3
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    atomic_add,
    atomic_claim,
    atomic_load,
    atomic_store,
    pause,
    prefetch,
)
from gputok.kernels.cpu.train_bpe import layout, merge
from gputok.kernels.cpu.train_bpe.candidates import enqueue, first_pair, heap_pop
from gputok.kernels.cpu.train_bpe.index import begin_list, pool_has_room
from gputok.kernels.signatures import i64

_OWN = 100  # how often a thread looks at the step until it takes over units of others: some microseconds
_WAIT = 4000  # how often it looks until it lets others have its core
_32, _M33, _SIDES = np.uint64(32), np.uint64(33), np.uint64(2)
_SIDE, _ID = np.uint64(1 << 32), np.uint64(0xFFFFFFFF)


# ---- apply


@kernel(inline=True)
def _shard_of(x, n_parts):
    """The shard of a neighbour."""
    return (((x * GOLDEN) >> _32) * n_parts) >> _32


@kernel(inline=True)
def _begin_shards(s, part):
    """Copies where each shard begins to the second half of part.shards, to be moved on; returns where that begins."""
    shards = layout.n_parts_of(s) + U1
    for shard in range(layout.n_parts_of(s)):
        part.shards[shards + shard] = part.shards[shard]
    return shards


@kernel(inline=True)
def _deal(s, part):
    """Writes the records of the last batch to the lists of their new pairs; False if the pool has no room."""
    n_merges = np.uint64(part.at[layout.PENDING])
    n_born, n_records = part.at[layout.N_BORN], part.at[layout.N_RECORDS] // 3
    # Two entries for each list, one for each side of each record, and one for each in `waste` (see merge.deal_records)
    if not pool_has_room(s, part, 2 * n_born + 3 * n_records):
        return False
    waste = part.at[layout.POOL] + 2 * n_born + 2 * n_records
    shards = _begin_shards(s, part)
    born = first = np.uint64(0)
    used = part.at[layout.POOL]
    for m in range(n_merges):
        before, any_new = born, False
        for side in range(_SIDES):
            gathered = part.left if side == 0 else part.right
            gathered[layout.sentinel_of(s) + layout.sentinel_of(s)] = waste
            stop = np.uint64(part.ends[U3 * m + U1 + side])
            while born < stop:
                x = part.born_keys[born] & np.uint64(0xFFFFFFFF)
                at = shards + _shard_of(x, layout.n_parts_of(s))
                k = np.uint64(part.shards[at])
                part.shards[at] = k + U1
                row = np.int64(part.sorted[k + k + U1]) - 1
                if row >= 0:
                    gathered[x + x], used = begin_list(part, row, used, np.int64(part.born_numbers[born]))
                    any_new = True
                else:
                    gathered[x + x] = waste
                born += U1
        stop = np.uint64(part.ends[U3 * m])
        if any_new:
            merge.deal_records(s, part, first, stop)
        first = stop
        for side in range(_SIDES):
            gathered = part.left if side == 0 else part.right
            gathered[layout.sentinel_of(s) + layout.sentinel_of(s)] = 0
            stop = np.uint64(part.ends[U3 * m + U1 + side])
            while before < stop:
                x = part.born_keys[before] & np.uint64(0xFFFFFFFF)
                gathered[x + x] = 0
                before += U1
    part.at[layout.POOL] = used
    return True


@kernel(inline=True)
def _note(s, part, touched, gathered, n, key, born):
    """Appends what was gathered of the neighbours on one side to part.born_*, and clears it; returns the new length."""
    for i in range(n):
        x = np.uint64(touched[i])
        number = gathered[x + x + U1]
        if x != layout.sentinel_of(s):
            part.born_keys[born] = key | x
            part.born_weights[born] = gathered[x + x] + number
            part.born_numbers[born] = number
            shard = _shard_of(x, layout.n_parts_of(s))
            part.shards[shard + U1] += 1
            born += U1
        gathered[x + x] = 0
        gathered[x + x + U1] = 0
    return born


@kernel(inline=True)
def _sort(s, part, n_born):
    """Sorts part.born_* by shard; part.shards[1:] has the size of each shard before, and where it ends afterwards."""
    for shard in range(layout.n_parts_of(s)):
        part.shards[shard + U1] += part.shards[shard]
    shards = _begin_shards(s, part)
    for i in range(n_born):
        key = part.born_keys[i]
        at = shards + _shard_of(key & np.uint64(0xFFFFFFFF), layout.n_parts_of(s))
        k = np.uint64(part.shards[at])
        part.shards[at] = k + U1
        part.sorted[k + k] = key
        part.sorted[k + k + U1] = part.born_weights[i]


@kernel(inline=True)
def _replace_all(s, part, n_batch):
    """Merges the batch in the words of a part."""
    for shard in range(layout.n_parts_of(s) + U1):
        part.shards[shard] = 0
    born = n_records = np.uint64(0)
    start, stop = merge.list_of(part, s.batch[1])
    merge.prefetch_places(part, start, stop)
    for m in range(n_batch):
        pair, new = np.uint64(s.batch[U3 * m]), np.uint64(s.batch[U3 * m + U2])
        a, b = pair >> _32, pair & np.uint64(0xFFFFFFFF)
        n_left, n_right, n_records = merge.replace(s, part, a, b, new, start, stop, n_records)
        if m + U1 < n_batch:
            start, stop = merge.list_of(part, s.batch[U3 * m + U3 + U1])
            merge.prefetch_places(part, start, stop)
        key = m << np.uint64(33)
        part.ends[U3 * m] = n_records
        born = _note(s, part, part.touched_left, part.left, n_left, key, born)
        part.ends[U3 * m + U1] = born
        key |= U1 << _32
        born = _note(s, part, part.touched_right, part.right, n_right, key, born)
        part.ends[U3 * m + U2] = born
    part.at[layout.N_RECORDS], part.at[layout.N_BORN] = n_records, born
    return born


@kernel
def _apply(s, number):
    """Applies the batch to a part. If an array is too short, sets its need, to be called again when it has grown."""
    part, n_batch = layout.part_of(s, number), np.uint64(s.at[layout.N_BATCH])
    if part.at[layout.APPLIED] == s.at[layout.BATCH]:
        return
    for m in range(n_batch):
        prefetch(part.lists, s.batch[U3 * m + U1])
    if part.at[layout.PENDING] > 0:
        if not _deal(s, part):
            return
        part.at[layout.PENDING] = 0
    most, distinct = 0, np.int64(layout.sentinel_of(s)) + 1
    for m in range(n_batch):
        start, stop = merge.list_of(part, s.batch[U3 * m + U1])
        prefetch(part.pool, start)
        most += 2 * min(np.int64(stop - start), distinct)
    if most > len(part.born_keys):
        part.at[layout.NEED_BORN] = most
        return
    n_born = _replace_all(s, part, n_batch)
    _sort(s, part, n_born)
    part.at[layout.PENDING] = n_batch
    part.at[layout.APPLIED] = s.at[layout.BATCH]


# ---- settle


@kernel(inline=True)
def _old_key(s, key):
    """The pair that loses occurrences, (x, a) or (b, x), by the key in `sorted`: merge << 33 | side << 32 | x."""
    pair = np.uint64(s.batch[np.uint64(3) * (key >> _M33)])
    x = key & _ID
    if key & _SIDE:
        return pair << _32 | x
    return x << _32 | pair >> _32


@kernel(inline=True)
def _new_key(s, key):
    """The pair that gets these occurrences: (x, new) or (new, x)."""
    new, x = np.uint64(s.batch[np.uint64(3) * (key >> _M33) + np.uint64(2)]), key & _ID
    if key & _SIDE:
        return new << _32 | x
    return x << _32 | new


@kernel(inline=True)
def _add_up(s, own, shard, n_all):
    """Adds up the weights of each distinct key of a shard; writes the key's number over each. -> how many keys."""
    slots, keys, sums = own.settled_slots, own.settled_keys, own.settled_sums
    if layout.n_parts_of(s) == U1:  # one part notes no key twice
        for i in range(n_all):
            keys[i] = own.sorted[i + i]
            sums[i] = np.int64(own.sorted[i + i + U1])
            own.sorted[i + i + U1] = i
        return n_all
    capacity = U1
    while capacity < n_all + n_all:
        capacity += capacity
    mask = capacity - U1
    for i in range(capacity):
        slots[i] = 0
    n = np.uint64(0)
    for p in range(layout.n_parts_of(s)):
        part = layout.part_of(s, p)
        for i in range(np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])):
            key = part.sorted[i + i]
            at = (key * GOLDEN) >> _32 & mask
            while slots[at] != 0 and keys[np.uint64(slots[at]) - U1] != key:
                at = (at + U1) & mask
            if slots[at] == 0:
                keys[n] = key
                sums[n] = 0
                n += U1
                slots[at] = n
            k = np.uint64(slots[at]) - U1
            sums[k] += np.int64(part.sorted[i + i + U1])
            part.sorted[i + i + U1] = k
    return n


@kernel(inline=True)
def _take_from_old(s, own, n):
    """Lowers the counts of the old pairs of a shard. Returns how many keys become new pairs; sums of others become 0.

    An old pair with a token that this batch made may not be stored yet, so it is noted in `late`.
    """
    keys, sums, ahead = own.settled_keys, own.settled_sums, np.uint64(layout.AHEAD_PAIRS)
    n_born, n_late = 0, np.uint64(0)
    for i in range(n):
        if i + ahead + ahead < n:
            merge.prefetch_pair(s, _old_key(s, keys[i + ahead + ahead]), _old_key(s, keys[i + ahead]))
        key, count = keys[i], sums[i]
        x = key & _ID
        old = np.int64(_old_key(s, key))
        if x >= np.uint64(s.at[layout.OLD_TOKENS]) or np.int64(x) == s.at[layout.RESPELT]:
            own.late[n_late] = old
            own.late[n_late + U1] = count
            n_late += np.uint64(2)
        else:
            layout.lower(s.pairs, s.slots, old, count)
        new = np.uint64(s.batch[np.uint64(3) * (key >> _M33) + np.uint64(2)])
        is_left = key & _SIDE == np.uint64(0)
        if layout.may_be_born(s, x if is_left else new, new if is_left else x, count):
            n_born += 1
        else:
            sums[i] = 0
    own.at[layout.N_LATE] = n_late
    return n_born


@kernel(inline=True)
def _give_to_new(s, own, n, row):
    """Stores the new pairs of a shard from `row` on; each sum becomes the row + 1 of its pair, or stays 0."""
    keys, sums, ahead = own.settled_keys, own.settled_sums, np.uint64(layout.AHEAD_PAIRS)
    for i in range(n):
        if i + ahead < n and sums[i + ahead] != 0:
            prefetch(s.slots, layout.home(s.slots, _new_key(s, keys[i + ahead])))
        if sums[i] == 0:
            continue
        pair = np.int64(_new_key(s, keys[i]))
        layout.add_pair(s.pairs, row, pair, sums[i])
        layout.insert_shared(s.slots, pair, row)
        row += 1
        sums[i] = row


@kernel(inline=True)
def _settle(s, shard):
    """Settles a shard, in arrays of the part of this number: each key of it gets the row + 1 of its new pair, or 0."""
    own = layout.part_of(s, shard)
    n_all = np.uint64(0)
    for p in range(layout.n_parts_of(s)):
        part = layout.part_of(s, p)
        first, stop = np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])
        n_all += stop - first
        prefetch(part.sorted, first + first)
    n = _add_up(s, own, shard, n_all)
    n_born = _take_from_old(s, own, n)
    if n_born > 0:
        _give_to_new(s, own, n, atomic_add(s.at, layout.PAIRS, np.int64(n_born)))
    for p in range(layout.n_parts_of(s)):
        part = layout.part_of(s, p)
        for i in range(np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])):
            part.sorted[i + i + U1] = own.settled_sums[part.sorted[i + i + U1]]


@kernel(inline=True)
def _take_late(s):
    """Subtracts the late losses of all shards."""
    for p in range(layout.n_parts_of(s)):
        part = layout.part_of(s, p)
        for i in range(np.uint64(0), np.uint64(part.at[layout.N_LATE]), np.uint64(2)):
            layout.lower(s.pairs, s.slots, part.late[i], part.late[i + U1])


# ---- steps


@kernel
def _do(s, unit):
    """Does a unit of the step, which this thread has claimed."""
    if s.at[layout.KIND] == layout.APPLYING:
        _apply(s, unit)
    else:
        _settle(s, unit)
    atomic_add(s.shared, layout.READY, np.int64(1))


@kernel(inline=True)
def _claim(s, unit, step):
    return atomic_claim(s.shared, layout.CLAIMS + np.int64(unit) * layout.LINE, step - 1, step)


@kernel(inline=True)
def _do_others(s, step):
    """Takes over units of a step that no thread has begun."""
    for unit in range(layout.n_parts_of(s)):
        if _claim(s, unit, step):
            _do(s, unit)


@kernel(inline=True)
def _open_step(s, kind):
    """Opens a step for all threads; a thread that sees its number sees what was written before."""
    s.at[layout.KIND] = kind
    atomic_store(s.shared, layout.READY, np.int64(0))
    atomic_add(s.shared, layout.STEP, np.int64(1))


@kernel(inline=True)
def _is_ready(s):
    """Works on the open step; returns whether it is ready, False after a long wait."""
    step = atomic_load(s.shared, layout.STEP)
    if _claim(s, 0, step):
        _do(s, 0)
    for look in range(_WAIT):
        if atomic_load(s.shared, layout.READY) == np.int64(layout.n_parts_of(s)):
            return True
        if look == _OWN:
            _do_others(s, step)
        pause()
    return False


@kernel(layout.State, i64, i64)
def assist(state, number, seen):
    """What the other threads do: units of steps, each step once, until the turn is over.

    number: the part that the thread prefers; seen: the last step at which it has worked. -> the last step; -1: the turn
    is over. A thread that has waited for long returns, too, so that others can run.
    """
    s, looks = as_views(state), 0
    while looks < _WAIT:
        if atomic_load(s.shared, layout.STOP) != 0:
            return np.int64(-1)
        step = atomic_load(s.shared, layout.STEP)
        if step != seen:
            if _claim(s, number, step):
                _do(s, np.uint64(number))
            looks, seen = 0, step
        looks += 1
        if looks == _OWN:
            _do_others(s, step)
        pause()
    return seen


# ---- pick and queue


@kernel(inline=True)
def _meets(s, a, b, batch):
    """Whether a is the right part of a pair of the batch, or b the left part, or both are equal."""
    return a == b or np.int64(s.sides[b + b]) == batch or np.int64(s.sides[a + a + U1]) == batch


@kernel(inline=True)
def _pick(s, most):
    """Takes the next batch from the queue, at most `most` pairs: DONE if there is one, or why there is none."""
    floor, n_heap = s.at[layout.FLOOR], s.at[layout.HEAP]
    batch = (s.at[layout.BATCH] + 1) & np.int64(0xFFFFFFFF)
    n, n_born, outcome, is_new = np.uint64(0), np.int64(0), layout.DONE, True
    s.at[layout.OLD_TOKENS], s.at[layout.RESPELT] = s.at[layout.TOKENS], -1
    while np.int64(n) < most and s.at[layout.TOKENS] < s.vocab_size and is_new:
        row, floor, n_heap = first_pair(s, floor, n_heap)
        if row < 0:
            outcome = layout.DRY
            break
        key, count = s.pairs[2 * row], s.pairs[2 * row + 1]
        a, b = np.uint64(key) >> _32, np.uint64(key) & np.uint64(0xFFFFFFFF)
        if n > 0 and _meets(s, a, b, batch):
            break
        if not merge.has_text(s, a, b):
            outcome = layout.GROW
            break
        merged = merge.take_merge(s, a, b, count)
        if merged < 0:
            outcome = layout.RESPELLED
            break
        if merged < s.at[layout.OLD_TOKENS]:
            s.at[layout.RESPELT], is_new = merged, False
        heap_pop(s, n_heap)
        n_heap -= 1
        if n_heap > 2:  # the next pairs that may come first
            for i in range(3):
                prefetch(s.pairs, 2 * s.heap[3 * i + 2])
        s.batch[U3 * n], s.batch[U3 * n + U1], s.batch[U3 * n + U2] = key, row, merged
        n += U1
        s.sides[a + a] = batch
        s.sides[b + b + U1] = batch
        n_born += 2 * (count // s.threshold)  # a bound, since each new pair reaches the threshold
        if a == b:
            break
    s.at[layout.FLOOR], s.at[layout.HEAP] = floor, n_heap
    s.at[layout.N_BATCH] = n
    if n > 0 and outcome != layout.RESPELLED:
        s.at[layout.BATCH], s.at[layout.MOST_BORN] = batch, n_born
        return layout.DONE
    return outcome


@kernel(inline=True)
def _may_settle(s):
    """Whether all that settling writes has room; else sets NEED_SETTLED of parts, or what `has_rows` sets."""
    n_all, ready = 0, True
    for shard in range(layout.n_parts_of(s)):
        n = 0
        for p in range(layout.n_parts_of(s)):
            part = layout.part_of(s, p)
            n += part.shards[shard + U1] - part.shards[shard]
        n_all += n
        if n > len(layout.part_of(s, shard).settled_keys):
            layout.part_of(s, shard).at[layout.NEED_SETTLED] = n
            ready = False
    return merge.has_rows(s, min(n_all, s.at[layout.MOST_BORN])) and ready


@kernel(inline=True)
def _all_applied(s):
    """Whether each part has applied the batch; if not, a part has set what it needs."""
    for p in range(layout.n_parts_of(s)):
        if layout.part_of(s, p).at[layout.APPLIED] != s.at[layout.BATCH]:
            return False
    for m in range(np.uint64(s.at[layout.N_BATCH])):
        s.pairs[2 * s.batch[U3 * m + U1] + 1] = 0  # only now: `_compact` removes the list of a pair with a low count
    return True


@kernel(inline=True)
def _queue_new(s):
    """Queues the pairs that the batch has made."""
    n_heap = s.at[layout.HEAP]
    for row in range(s.at[layout.QUEUED], s.at[layout.PAIRS]):
        n_heap = enqueue(s, s.at[layout.FLOOR], n_heap, row)
    s.at[layout.STORED] += s.at[layout.PAIRS] - s.at[layout.QUEUED]
    s.at[layout.QUEUED], s.at[layout.HEAP] = s.at[layout.PAIRS], n_heap


@kernel(layout.State, i64, i64)
def merge_in_batches(state, work, most):
    """Merges as the first thread, for about `work` occurrences (a merge counts as 100 more). -> DONE, PAUSED, ..."""
    s = as_views(state)
    before = s.at[layout.WORK]
    while True:
        if s.at[layout.PHASE] == layout.PICK:
            if s.at[layout.TOKENS] >= s.vocab_size:
                return layout.DONE
            if s.at[layout.WORK] - before >= work:
                return layout.PAUSED
            outcome = _pick(s, most)
            if outcome != layout.DONE:
                return outcome
            s.at[layout.PHASE] = layout.TO_APPLY
        if s.at[layout.PHASE] == layout.TO_APPLY:
            _open_step(s, layout.APPLYING)
            s.at[layout.PHASE] = layout.APPLYING
        if s.at[layout.PHASE] == layout.APPLYING:
            if not _is_ready(s):
                return layout.WAITING
            if not _all_applied(s):
                s.at[layout.PHASE] = layout.TO_APPLY
                return layout.GROW
            s.at[layout.PHASE] = layout.TO_SETTLE
        if s.at[layout.PHASE] == layout.TO_SETTLE:
            if not _may_settle(s):
                return layout.GROW
            _open_step(s, layout.SETTLING)
            s.at[layout.PHASE] = layout.SETTLING
        if not _is_ready(s):
            return layout.WAITING
        _take_late(s)
        _queue_new(s)
        s.at[layout.WORK] += 100 * s.at[layout.N_BATCH]
        for p in range(layout.n_parts_of(s)):
            s.at[layout.WORK] += layout.part_of(s, p).at[layout.N_RECORDS] // 3
        s.at[layout.PHASE] = layout.PICK
