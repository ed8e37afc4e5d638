"""Settling a batch: what was gathered of the neighbours in all parts is added up, old pairs lose it, and new pairs are born.

The neighbours are divided into *shards* by a hash, and one thread settles a shard: all that is added up for a pair is in one
shard. A pair that is made in a batch may lose occurrences in the same batch (`abcd` with (a, b) and (c, d), or `abab`).
Such late losses are noted, and subtracted after all shards are settled.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN, U1
from gputok.kernels.cpu.primitives.memory import atomic_add, prefetch
from gputok.kernels.cpu.train_bpe import layout
from gputok.kernels.cpu.train_bpe.layout import (
    add_pair,
    insert_shared,
    lower,
    lower_shared,
    may_be_born,
    may_be_stored,
    n_parts_of,
    part_of,
)
from gputok.kernels.cpu.train_bpe.merge import prefetch_insert, prefetch_pair

_SIDE, _ID = np.uint64(1 << 32), np.uint64(0xFFFFFFFF)
_M33, _32 = np.uint64(33), np.uint64(32)


@kernel(inline=True)
def shard_of(x, n_parts):
    """The shard of a neighbour."""
    return (((x * GOLDEN) >> _32) * n_parts) >> _32


@kernel(inline=True)
def _old_key(s, key):
    """The pair that loses a neighbour: (x, a) or (b, x); key: merge << 33 | side << 32 | x."""
    pair = np.uint64(s.batch[np.uint64(3) * (key >> _M33)])
    x = key & _ID
    if key & _SIDE:
        return pair << _32 | x
    return x << _32 | pair >> _32


@kernel(inline=True)
def _new_key(s, key):
    """The pair that gets a neighbour: (x, new) or (new, x)."""
    new, x = np.uint64(s.batch[np.uint64(3) * (key >> _M33) + np.uint64(2)]), key & _ID
    if key & _SIDE:
        return new << _32 | x
    return x << _32 | new


@kernel(inline=True)
def _slot_of(key, mask):
    return (key * GOLDEN) >> _32 & mask


@kernel(inline=True)
def _add_up(s, own, shard, n_all):
    """Adds up the weights of the distinct keys of a shard, and replaces the weights by their numbers. -> how many keys there are."""
    slots, keys, sums = own.settled_slots, own.settled_keys, own.settled_sums
    capacity = U1
    while capacity < n_all + n_all:
        capacity += capacity
    mask = capacity - U1
    for i in range(capacity):
        slots[i] = 0
    n = np.uint64(0)
    for p in range(n_parts_of(s)):
        part = part_of(s, p)
        for i in range(np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])):
            key = part.sorted[i + i]
            at = _slot_of(key, mask)
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
    """Lowers the old pairs of a shard; the sums of keys that don't become pairs become 0. Returns how many do."""
    keys, sums, ahead = own.settled_keys, own.settled_sums, np.uint64(layout.AHEAD_PAIRS)
    n_born, n_late = 0, np.uint64(0)
    for i in range(n):
        if i + ahead + ahead < n:
            prefetch_pair(s, _old_key(s, keys[i + ahead + ahead]), _old_key(s, keys[i + ahead]))
        key, count = keys[i], sums[i]
        x = key & _ID
        old = np.int64(_old_key(s, key))
        if x >= np.uint64(s.at[layout.OLD_TOKENS]) or np.int64(x) == s.at[layout.RESPELT]:
            own.late[n_late] = old
            own.late[n_late + U1] = count
            n_late += np.uint64(2)
        elif may_be_stored(s.filter, old):
            lower_shared(s.pairs, s.slots, old, count)
        new = np.uint64(s.batch[np.uint64(3) * (key >> _M33) + np.uint64(2)])
        is_left = key & _SIDE == np.uint64(0)
        if may_be_born(s, x if is_left else new, new if is_left else x, count):
            n_born += 1
        else:
            sums[i] = 0
    own.at[layout.N_LATE] = n_late
    return n_born


@kernel(inline=True)
def _give_to_new(s, own, n, row):
    """Stores the new pairs of a shard from `row` on; sums become rows + 1, or 0."""
    keys, sums, ahead = own.settled_keys, own.settled_sums, np.uint64(layout.AHEAD_PAIRS)
    for i in range(n):
        if i + ahead < n and sums[i + ahead] != 0:
            prefetch_insert(s, _new_key(s, keys[i + ahead]))
        if sums[i] == 0:
            continue
        pair = np.int64(_new_key(s, keys[i]))
        add_pair(s.pairs, row, pair, sums[i])
        insert_shared(s.slots, s.filter, pair, row)
        row += 1
        sums[i] = row


@kernel(inline=True)
def settle(s, shard):
    """Settles a shard: each record of all parts gets the row + 1 of its new pair, or 0.

    The arrays of the part with the number of the shard are used. They have room for all records of the shard: see
    `batches.py`.
    """
    own = part_of(s, shard)
    n_all = np.uint64(0)
    for p in range(n_parts_of(s)):
        part = part_of(s, p)
        first, stop = np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])
        n_all += stop - first
        prefetch(part.sorted, first + first)
    n = _add_up(s, own, shard, n_all)
    n_born = _take_from_old(s, own, n)
    if n_born > 0:
        _give_to_new(s, own, n, atomic_add(s.at, layout.PAIRS, np.int64(n_born)))
    for p in range(n_parts_of(s)):
        part = part_of(s, p)
        for i in range(np.uint64(part.shards[shard]), np.uint64(part.shards[shard + U1])):
            part.sorted[i + i + U1] = own.settled_sums[part.sorted[i + i + U1]]


@kernel(inline=True)
def take_late(s):
    """Subtracts the late losses of all shards."""
    for p in range(n_parts_of(s)):
        part = part_of(s, p)
        for i in range(np.uint64(0), np.uint64(part.at[layout.N_LATE]), np.uint64(2)):
            key = part.late[i]
            if may_be_stored(s.filter, key):
                lower(s.pairs, s.slots, key, part.late[i + U1])
