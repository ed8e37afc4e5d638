"""SentencePiece's precompiled character map, with the grapheme clusters that `tokenizers` adds to it."""

from __future__ import annotations

import numpy as np
from gputok.kernels import Charsmap
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.normalize import copy_run, kind_of, more, room, write
from gputok.kernels.cpu.primitives.arrays import of_pieces, pointer, views_of
from gputok.kernels.cpu.primitives.memory import as_views, is_given, scratch, view
from gputok.kernels.cpu.primitives.utf8 import character, width
from gputok.kernels.signatures import boolean, i64, u8

# Grapheme classes of Unicode Standard Annex #29; an INCB_EXTEND is an Extend too. Regional indicators need no class: a
# cluster of two of them has 8 bytes, more than LONGEST, so that each of them is looked up alone anyway.
CONTROL, CR, LF, EXTEND, ZWJ, SPACING, PREPEND = 1, 2, 3, 4, 5, 6, 7
L, V, T, LV, LVT, PICTURE, CONSONANT, LINKER, INCB_EXTEND = 8, 9, 10, 11, 12, 13, 14, 15, 16
LABEL = np.uint32(0x800000FF)  # the bits of a unit of the double array that must equal the byte that leads to it
LONGEST = 5  # bytes; longer clusters are not looked up as a whole


def normalize_precompiled(data, start, end, frozen, trie, texts, graphemes, aligned):
    """Replaces grapheme clusters of up to five bytes, or else single characters, by their entries in a charsmap.

    trie uint32[t]: a double array (darts-clone) over bytes, whose values are offsets in texts; texts uint8[n]: strings
    that end with a NUL; graphemes: page uint16[8704], member uint16[pages, 128], the classes above. The rest is as in
    kernels/cpu/normalize.py. As in `tokenizers`, the shortest prefix in the trie decides for the whole cluster, and
    text removed at the very beginning shifts the origins of what follows.
    """
    charsmap, n_bytes = measured(trie, texts, *graphemes), int((end - start).sum())
    return of_pieces(normalize_precompiled_pieces, data, start, end, frozen, charsmap, n_bytes, bool(aligned))


def measured(trie: np.ndarray, texts: np.ndarray, page: np.ndarray, member: np.ndarray) -> Charsmap:
    """The tables as the kernel takes them, with the fields `plain` and `longest` of `Charsmap`."""
    plain = np.empty(256, np.uint8)
    longest = _measure(pointer(trie), len(trie), pointer(texts), len(texts), plain)
    return Charsmap(trie, texts, page, member, plain, longest)


@kernel(i64, i64, i64, i64, u8[:])
def _measure(trie, n_units, texts, n_texts, plain):
    trie, texts, character = view(trie, np.uint32), view(texts, np.uint8), scratch(256, np.uint8)
    longest = width = 0
    for k in range(n_texts):
        width = width + 1 if texts[k] else 0
        longest = max(longest, width)
    for c in range(256):
        character[c] = c
        alone = look_up(trie, n_units, character, c, c + 1, texts, n_texts) < 0
        plain[c] = 0x20 <= c < 0x7F and alone
    return longest


@kernel(i64, (i64, i64, i64, i64), Charsmap, i64, boolean)
def normalize_precompiled_pieces(data, pieces, charsmap, n_bytes, aligned):
    """`normalize_precompiled`, with the addresses of `arrays.pointer`; n_bytes: of all pieces."""
    data, charsmap = view(data, np.uint8), as_views(charsmap)
    start, end, frozen, n_pieces = views_of(pieces)
    longest = charsmap.longest
    offsets = np.zeros(n_pieces + 1, np.int64)
    new, source, out, sources, limit = room(n_bytes, aligned)
    n = 0
    for piece in range(n_pieces):
        i, stop = start[piece], end[piece]
        if is_given(frozen) and frozen[piece]:
            new, source, out, sources, limit = more(new, source, n, stop - i, aligned)
            copy_run(data, i, stop - i, out, n, sources, aligned)
            n, i = n + stop - i, stop
        # The end of the current cluster, the next old character that is not used up, and the last new character (-1:
        # none) with the number of characters that it adds (`change` of `write`): 1, 0, or -k if it uses up k more. The
        # last new character is written late, since an old character that is removed after it changes that number.
        state = i, i, np.int64(-1), 0
        first = i
        while i < stop:
            new, source, out, sources, limit = more(new, source, n, stop - i + longest, aligned)
            i, n, state = replace_run(data, first, i, stop, charsmap, out, n, limit - longest, sources, aligned, state)
        new, source, out, sources, limit = more(new, source, n, 4, aligned)
        _, old, held, change = state
        n, _ = write(data, first, stop, old, held, change, out, n, sources, aligned)
        offsets[piece + 1] = n
    return new[:n], offsets, source[: n if aligned else 0]


@kernel(inline=True)
def replace_run(data, first, i, stop, charsmap, out, n, limit, sources, aligned, state):
    """Replaces clusters from byte i on, until `limit` bytes are written; returns the next i, n and state."""
    trie, texts, page, member, plain, _ = charsmap
    n_units, n_texts = len(trie), len(texts)
    cluster, old, held, change = state
    while i < stop and n <= limit:
        if i == cluster:
            run, furthest = i, min(stop - 1, i + limit - n)
            while run < furthest and plain[data[run]] and data[run + 1] < 0x80:
                run += 1
            if run > i:
                n, old = write(data, first, stop, old, held, change, out, n, sources, aligned)
                held = -1
                if old == i or not aligned:  # each character keeps its own origin
                    copy_run(data, i, run - 1 - i, out, n, sources, aligned)
                    n += run - 1 - i
                    old, held, change = run - 1, np.int64(data[run - 1]), 0
                    i = cluster = run
                    continue
        part, value = i, -1
        if i == cluster:
            part = cluster = cluster_end(data, i, stop, page, member)
            if cluster - i <= LONGEST:
                value = look_up(trie, n_units, data, i, cluster, texts, n_texts)
        if value < 0:  # the whole cluster has no entry, or is too long: look up its characters one by one
            part = i + width(data[i])
            value = look_up(trie, n_units, data, i, part, texts, n_texts)
        if value < 0:
            n, old = write(data, first, stop, old, held, change, out, n, sources, aligned)
            held, change = character(data, i)[0], 0
            i = part
            continue
        surplus, at = 0, value  # surplus: the number of new characters so far, minus the number of old ones
        while i < part:
            i += width(data[i])
            surplus -= 1
        while at < n_texts and texts[at]:
            n, old = write(data, first, stop, old, held, change, out, n, sources, aligned)
            held, size = character(texts, at)
            change = 1 if surplus >= 0 else 0
            surplus += 1
            at += size
        if held >= 0 and surplus < 0:
            change += surplus
    return i, n, (cluster, old, held, change)


@kernel(inline=True)
def look_up(trie, n_units, data, i, stop, texts, n_texts):
    """The value of the shortest prefix of data[i:stop] in the double array; -1: no value, or one within a character."""
    at = offset(trie[0]) if n_units else 0
    while i < stop:
        label = np.int64(data[i])
        at ^= label
        if label == 0 or at >= n_units:
            return -1
        unit = trie[at]
        if unit & LABEL != label:
            return -1
        at ^= offset(unit)
        if unit >> 8 & 1:
            value = np.int64(trie[at] & np.uint32(0x7FFFFFFF)) if at < n_units else n_texts
            return value if value < n_texts and texts[value] & 0xC0 != 0x80 else -1
        i += 1
    return -1


@kernel(inline=True)
def offset(unit):
    """The offset that a unit of the double array contains, as darts-clone packs it."""
    return np.int64(unit >> 10) << np.int64((unit & (1 << 9)) >> 6)


@kernel(inline=True)
def cluster_end(data, i, stop, page, member):
    """Where the extended grapheme cluster that begins at byte i ends."""
    c, size = character(data, i)
    i += size
    if 0x20 <= c < 0x7F and (i == stop or data[i] < 0x80):
        return i
    kind = kind_of(page, member, c)
    picture = 1 if kind == PICTURE else 0  # 1: after a picture and any extenders; 2: after these and a joiner
    # 1: after a consonant and any extenders; 2: if a linker is among these
    conjunct = 1 if kind == CONSONANT else 0
    while i < stop:
        before = kind
        c, size = character(data, i)
        kind = kind_of(page, member, c)
        if before == CR and kind == LF:  # GB3
            return i + size
        if CONTROL <= before <= LF or CONTROL <= kind <= LF:  # GB4, GB5
            return i
        extends = kind == EXTEND or kind == LINKER or kind == INCB_EXTEND
        joined = extends or kind == ZWJ or kind == SPACING or before == PREPEND  # GB9, GB9a, GB9b
        joined |= before == L and (kind == L or kind == V or kind == LV or kind == LVT)  # GB6
        joined |= (before == LV or before == V) and (kind == V or kind == T)  # GB7
        joined |= (before == LVT or before == T) and kind == T  # GB8
        joined |= kind == CONSONANT and conjunct == 2  # GB9c
        joined |= kind == PICTURE and picture == 2  # GB11
        if not joined:
            return i
        if kind == CONSONANT:
            conjunct = 1
        elif kind == LINKER:
            conjunct = 2 if conjunct else 0
        elif kind != INCB_EXTEND and kind != ZWJ:
            conjunct = 0
        if kind == PICTURE:
            picture = 1
        elif not (extends and picture == 1):
            picture = 2 if kind == ZWJ and picture == 1 else 0
        i += size
    return stop
