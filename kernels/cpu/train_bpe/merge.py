"""The merges of training BPE: the steps of a merge in the order in which they are taken, and `merge_alone`, which one thread runs.

`batches.py` runs the same steps on several threads.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1, U2, U3
from gputok.kernels.cpu.primitives.memory import as_views, prefetch
from gputok.kernels.cpu.primitives.token_strings import name_slot, spell_merged
from gputok.kernels.cpu.train_bpe import layout
from gputok.kernels.cpu.train_bpe.candidates import enqueue, first_pair, heap_pop
from gputok.kernels.cpu.train_bpe.index import begin_list, pool_has_room
from gputok.kernels.cpu.veto import merged_traits
from gputok.kernels.signatures import i64


@kernel(inline=True)
def has_text(s, a, b):
    """Whether the string of a merge has room; sets NEED_TEXT if not."""
    text_end = s.text_end
    longest = text_end[a + U1] - text_end[a] + text_end[b + U1] - text_end[b]
    need = text_end[s.at[layout.TOKENS]] + longest
    if need > len(s.text):
        s.at[layout.NEED_TEXT] = need
        return False
    return True


@kernel(inline=True)
def has_rows(s, n_born):
    """Whether so many new pairs have room; sets NEED_PAIRS and NEED_STORED if not."""
    n_pairs, n_stored = s.at[layout.PAIRS] + n_born, s.at[layout.STORED] + n_born
    if 2 * n_pairs <= len(s.pairs) and 3 * n_stored <= 2 * len(s.slots):
        return True
    s.at[layout.NEED_PAIRS], s.at[layout.NEED_STORED] = n_pairs, n_stored
    return False


@kernel(inline=True)
def take_merge(s, a, b, count):
    """Makes the token of the string of a and b, a new one if there is none, and logs the merge: the token.

    -1 if that token occurs in words already.
    """
    n_text = s.text_end[s.at[layout.TOKENS]]
    end = spell_merged(s.text, s.text_end, s.prefix, np.uint64(len(s.prefix)), a, b, n_text)
    slot = name_slot(s.text, s.text_end, s.names, np.uint64(len(s.names) - 1), n_text, end)
    merged = np.int64(s.names[slot]) - 1
    if merged < 0:
        merged = s.at[layout.TOKENS]
        s.names[slot] = merged + 1
        s.at[layout.TOKENS] = merged + 1
        s.text_end[merged + 1] = end
    elif s.length[merged] > 0:
        return np.int64(-1)
    s.length[merged] = s.length[a] + s.length[b]
    if len(s.traits) > 0:
        s.traits[merged] = merged_traits(s.traits[a], s.traits[b])
    n = 3 * s.at[layout.MERGES]
    s.merges[n], s.merges[n + 1], s.merges[n + 2] = a, b, merged
    s.merge_counts[s.at[layout.MERGES]] = count
    s.at[layout.MERGES] += 1
    return merged


@kernel(inline=True)
def _gather(gathered, touched, n, neighbour, extra):
    """Adds an occurrence to what was gathered of a neighbour; returns the number of distinct neighbours."""
    row = neighbour + neighbour
    touched[n] = neighbour
    n += np.uint64(gathered[U1 + row] == 0)
    gathered[row] += extra
    gathered[U1 + row] += 1
    return n


@kernel(inline=True)
def list_of(part, row):
    """The list of a pair in a part: (its first entry, its end)."""
    start = np.uint64(part.lists[row])
    if start == np.uint64(0):
        return start, start
    return start + U2, start + U2 + np.uint64(part.pool[start + U1])


@kernel(inline=True)
def replace(s, part, a, b, new, start, stop, n_records):
    """Merges at the positions pool[start:stop]: (distinct left neighbours, distinct right ones, end of the records)."""
    length_a, length_ab = np.uint64(s.length[a]), np.uint64(s.length[new])
    classes = layout.classes_of(part)
    invalid = layout.sentinel_of(s) + U1
    n_left = n_right = np.uint64(0)
    for i in range(start, stop):
        if i + np.uint64(layout.AHEAD) < stop:
            p = np.uint64(part.pool[i + np.uint64(layout.AHEAD)])
            prefetch(part.symbols, p)
            if p < classes[0]:
                prefetch(part.weight, p)
            elif p < classes[1]:
                prefetch(part.small, p - classes[0])
        p = np.uint64(part.pool[i])
        q = p + length_a
        if np.uint64(part.symbols[p]) != a or np.uint64(part.symbols[q]) != b:
            continue
        e = p + length_ab
        L, R = np.uint64(part.symbols[p - U1]), np.uint64(part.symbols[e])
        part.symbols[q] = invalid
        part.symbols[p] = new
        part.symbols[e - U1] = new
        extra = layout.weight_at(part, classes, p) - 1
        n_left = _gather(part.left, part.touched_left, n_left, L, extra)
        n_right = _gather(part.right, part.touched_right, n_right, R, extra)
        part.records[n_records] = p
        part.records[n_records + U1] = L
        part.records[n_records + U2] = R
        n_records += U3
    return n_left, n_right, n_records


@kernel(inline=True)
def prefetch_places(part, start, stop):
    """Asks for what a merge at the positions pool[start:stop] will touch first."""
    for i in range(start, min(stop, start + np.uint64(layout.AHEAD))):
        prefetch(part.symbols, part.pool[i])


@kernel(inline=True)
def prefetch_pair(s, later, sooner):
    """Asks for the slot of a pair that will lose weight, and for the pair of a slot that has been asked for."""
    prefetch(s.slots, layout.home(s.slots, later))
    stored = np.uint64(s.slots[layout.home(s.slots, sooner)])  # the row + 1
    prefetch(s.pairs, (stored - U1) << U1)


@kernel(inline=True)
def _move_weight(s, part, a, b, new, n_left, n_right, waste, floor, n_heap):
    """Takes what was gathered from the old pairs and gives it to new ones: (entries of the heap, whether any is new).

    Of each neighbour, `gathered` then says where the list of its new pair begins; `waste` if it has none.
    """
    overlaps = part.left[new + new] + part.left[U1 + new + new]  # weight of the new token beside itself
    n_pairs, used, ahead = s.at[layout.PAIRS], part.at[layout.POOL], np.uint64(layout.AHEAD_PAIRS)
    for side in range(2):
        touched = part.touched_left if side == 0 else part.touched_right
        gathered = part.left if side == 0 else part.right
        n_touched = n_left if side == 0 else n_right
        # Keys of (x, a) or (b, x), and of (x, new) or (new, x)
        shift = np.uint64(32 if side == 0 else 0)
        old_key = a if side == 0 else b << np.uint64(32)
        new_key = new if side == 0 else new << np.uint64(32)
        for i in range(n_touched):
            if i + ahead + ahead < n_touched:
                later, sooner = np.uint64(touched[i + ahead + ahead]), np.uint64(touched[i + ahead])
                prefetch_pair(s, old_key | later << shift, old_key | sooner << shift)
            x = np.uint64(touched[i])
            number = gathered[x + x + U1]
            count = gathered[x + x] + number
            gathered[x + x] = waste
            if x == layout.sentinel_of(s):
                continue
            if x != new:
                key = np.int64(old_key | x << shift)
                layout.lower(s.pairs, s.slots, key, count)
                if side == 1 and x == a:
                    count -= overlaps
            if layout.may_be_born(s, x if side == 0 else new, new if side == 0 else x, count):
                key = np.int64(new_key | x << shift)
                layout.add_pair(s.pairs, n_pairs, key, count)
                layout.insert(s.slots, key, n_pairs)
                first, used = begin_list(part, n_pairs, used, number)
                gathered[x + x] = first
                n_heap = enqueue(s, floor, n_heap, n_pairs)
                n_pairs += 1
    any_new = n_pairs > s.at[layout.PAIRS]
    s.at[layout.STORED] += n_pairs - s.at[layout.PAIRS]
    s.at[layout.PAIRS], part.at[layout.POOL] = n_pairs, used
    return n_heap, any_new


@kernel(inline=True)
def deal_records(s, part, first, stop):
    """Writes the occurrences of records[first:stop] to the lists of their new pairs.

    Neighbours without a new pair write after all of them: that is cheaper than a branch that is hard to foresee.
    """
    for i in range(first, stop, U3):
        p = np.uint64(part.records[i])
        left = np.uint64(part.records[i + U1])
        right = np.uint64(part.records[i + U2])
        part.pool[np.uint64(part.left[left + left])] = p - np.uint64(s.length[left])
        part.left[left + left] += 1
        part.pool[np.uint64(part.right[right + right])] = p
        part.right[right + right] += 1


@kernel(inline=True)
def _clear(gathered, touched, n):
    for i in range(n):
        x = np.uint64(touched[i])
        gathered[x + x] = 0
        gathered[U1 + x + x] = 0


@kernel(layout.State, i64)
def merge_alone(state, work):
    """Merges until done, until `work` occurrences have been looked at, or until something must grow.

    All words are in the only part. Each merge is a batch, whose pairs are settled while its neighbours are gathered.
    """
    s = as_views(state)
    part = layout.part_of(s, 0)
    floor, n_heap = s.at[layout.FLOOR], s.at[layout.HEAP]
    outcome = layout.DONE
    while s.at[layout.TOKENS] < s.vocab_size:
        if work <= 0:
            outcome = layout.PAUSED
            break
        row, floor, n_heap = first_pair(s, floor, n_heap)
        if row < 0:
            outcome = layout.DRY
            break
        key, count = s.pairs[2 * row], s.pairs[2 * row + 1]
        a, b = np.uint64(key) >> np.uint64(32), np.uint64(key) & np.uint64(0xFFFFFFFF)
        start, stop = list_of(part, row)
        number = np.int64(stop - start)
        # A new pair has an occurrence and a neighbour of its own, and reaches the threshold
        born = 2 * min(number, np.int64(layout.sentinel_of(s)) + 1, count // s.threshold)
        room = 2 * born + 3 * number
        if not (has_text(s, a, b) and has_rows(s, born) and pool_has_room(s, part, 0, room)):
            outcome = layout.GROW
            break
        start, stop = list_of(part, row)  # lists may have been moved together
        merged = take_merge(s, a, b, count)
        if merged < 0:
            return layout.RESPELLED
        new = np.uint64(merged)
        heap_pop(s, n_heap)
        n_heap -= 1
        s.pairs[2 * row + 1] = 0
        work -= number + 100
        if n_heap > 2:
            prefetch(part.pool, part.lists[s.heap[2]])
            prefetch(part.lists, s.heap[5])
            prefetch(part.lists, s.heap[8])

        n_left, n_right, n_records = replace(s, part, a, b, new, start, stop, np.uint64(0))
        if n_heap > 0:
            next_start, next_stop = list_of(part, s.heap[2])
            prefetch_places(part, next_start, next_stop)
        # After all lists that may be made
        waste = part.at[layout.POOL] + 2 * born + 2 * np.int64(n_records // U3)
        n_heap, any_new = _move_weight(s, part, a, b, new, n_left, n_right, waste, floor, n_heap)
        if any_new:
            deal_records(s, part, np.uint64(0), n_records)
        _clear(part.left, part.touched_left, n_left)
        _clear(part.right, part.touched_right, n_right)
    s.at[layout.FLOOR], s.at[layout.HEAP] = floor, n_heap
    return outcome
