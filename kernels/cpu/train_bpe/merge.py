"""The parts of one merge of training BPE, on one thread; `batches.py` calls them for many merges, on threads."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1, U2, U3
from gputok.kernels.cpu.primitives.memory import prefetch
from gputok.kernels.cpu.train_bpe import layout
from gputok.kernels.cpu.train_bpe.token_strings import merged_token
from gputok.kernels.cpu.veto import merged_traits


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
    """Whether `n_born` new pairs have room; sets NEED_PAIRS and NEED_STORED if not."""
    n_pairs, n_stored = s.at[layout.PAIRS] + n_born, s.at[layout.STORED] + n_born
    if 2 * n_pairs <= len(s.pairs) and 3 * n_stored <= 2 * len(s.slots):
        return True
    s.at[layout.NEED_PAIRS], s.at[layout.NEED_STORED] = n_pairs, n_stored
    return False


@kernel(inline=True)
def take_merge(s, a, b, count):
    """Logs the merge of a and b; returns its token, which may be new; -1: the words contain that token already."""
    tokens = s.names, s.text, s.text_end
    merged = merged_token(tokens, s.prefix, a, b, s.at[layout.TOKENS])
    if merged == s.at[layout.TOKENS]:
        s.at[layout.TOKENS] += 1
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
    """Adds an occurrence of weight extra + 1 beside a neighbour; returns the number of distinct neighbours."""
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
    """Merges a and b at pool[start:stop]: (distinct left neighbours, distinct right ones, end of the records)."""
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
    """Prefetches what a merge at the positions pool[start:stop] will touch first."""
    for i in range(start, min(stop, start + np.uint64(layout.AHEAD))):
        prefetch(part.symbols, part.pool[i])


@kernel(inline=True)
def prefetch_pair(s, later, sooner):
    """Prefetches the slot of the pair `later`, and the row of the pair `sooner`, whose slot has been prefetched."""
    prefetch(s.slots, layout.home(s.slots, later))
    stored = np.uint64(s.slots[layout.home(s.slots, sooner)])  # the row + 1
    prefetch(s.pairs, (stored - U1) << U1)


@kernel(inline=True)
def deal_records(s, part, first, stop):
    """Writes the occurrences of records[first:stop] to the lists of their new pairs.

    The positions beside neighbours without a stored pair are written too, after all lists (`waste` in `batches._deal`),
    and not read: that is cheaper than a branch that is hard to foresee.
    """
    for i in range(first, stop, U3):
        p = np.uint64(part.records[i])
        left = np.uint64(part.records[i + U1])
        right = np.uint64(part.records[i + U2])
        part.pool[np.uint64(part.left[left + left])] = p - np.uint64(s.length[left])
        part.left[left + left] += 1
        part.pool[np.uint64(part.right[right + right])] = p
        part.right[right + right] += 1
