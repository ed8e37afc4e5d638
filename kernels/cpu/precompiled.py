"""SentencePiece's precompiled character map, with the grapheme clusters that `tokenizers` adds to it."""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import address, load_i64, load_u8, load_u32, store_i64
from .normalize import ROOM, copy, kind_of, more, pieces_of
from .ragged import pointer
from .utf8 import character, put, skip, width

# Grapheme classes of Unicode Standard Annex #29; an INCB_EXTEND is an Extend too.
# Regional indicators are not told apart: two of them are too long for the map in any case.
CONTROL, CR, LF, EXTEND, ZWJ, SPACING, PREPEND = 1, 2, 3, 4, 5, 6, 7
L, V, T, LV, LVT, PICTURE, CONSONANT, LINKER, INCB_EXTEND = 8, 9, 10, 11, 12, 13, 14, 15, 16
LONGEST = 5  # bytes of the longest cluster that is looked up as a whole


def normalize_precompiled(data, start, end, frozen, trie, texts, graphemes, aligned):
    """Replaces grapheme clusters of up to five bytes, else characters, by what a charsmap says.

    trie uint32[t]: a double array (darts-clone) over bytes, its values offsets in texts; texts uint8[n]: strings that end
    with a NUL; graphemes: page uint16[8704], member uint16[pages, 128], the classes above.
    Arguments and result as in kernels/cpu/normalize.py. As in `tokenizers`, the shortest prefix found in the trie
    decides for the whole cluster, and text removed at the very beginning shifts what comes after it.
    """
    pieces, _keep = pieces_of(start, end, frozen)
    tables = pointer(trie), len(trie), pointer(texts), len(texts), *map(pointer, graphemes)
    return _normalize_precompiled(pointer(data), pieces, tables, int((end - start).sum()), bool(aligned))


@kernel
def _normalize_precompiled(data, pieces, tables, n_bytes, aligned):
    start, end, frozen, n_pieces = pieces
    trie, n_units, texts, n_texts, page, member = tables
    offsets = np.zeros(n_pieces + 1, np.int64)
    new = np.empty(n_bytes + n_bytes // 16 + 2 * ROOM, np.uint8)
    source = np.empty(len(new) if aligned else 0, np.int64)
    out, sources, limit = address(new), address(source), len(new) - ROOM
    n = 0
    for piece in range(n_pieces):
        i, stop = load_i64(start, piece), load_i64(end, piece)
        if n + stop - i > limit:
            new = more(new, n, stop - i + ROOM)
            if aligned:
                source = more(source, n, stop - i + ROOM)
            out, sources, limit = address(new), address(source), len(new) - ROOM
        if frozen and load_u8(frozen, piece):
            copy(data, i, stop - i, out, n, sources, aligned)
            n += stop - i
            i = stop
        first = place = i  # place: the next old character that is not used up
        # The last new character is kept back, since removing what comes next changes its `change`, as in
        # kernels/cpu/normalize.py: 1 for an additional character, 0 for a replaced one, -k with k more used up.
        held, change = np.int64(-1), 0
        while i < stop:
            cluster = cluster_end(data, i, stop, page, member)
            part, value = cluster, -1
            if cluster - i <= LONGEST:
                value = look_up(trie, n_units, data, i, cluster, n_texts)
            while i < cluster:
                if value < 0:  # no replacement of the whole cluster: character by character
                    part = i + width(load_u8(data, i))
                    value = look_up(trie, n_units, data, i, part, n_texts)
                text = till = value
                if value >= 0:
                    while till < n_texts and load_u8(texts, till):
                        till += 1
                if n + 2 * ROOM + till - text > limit:
                    new = more(new, n, 4 * ROOM + till - text)
                    if aligned:
                        source = more(source, n, 4 * ROOM + till - text)
                    out, sources, limit = address(new), address(source), len(new) - ROOM
                if value < 0:
                    n, place = write(data, first, stop, place, held, change, out, n, sources, aligned)
                    held, change = character(data, i)[0], 0
                else:
                    n_old, n_new, at = 0, 0, i
                    while at < part:
                        at += width(load_u8(data, at))
                        n_old += 1
                    while text < till:
                        n, place = write(data, first, stop, place, held, change, out, n, sources, aligned)
                        held, size = character(texts, text)
                        change = 1 if n_new >= n_old else 0
                        n_new += 1
                        text += size
                    if held >= 0 and n_new < n_old:
                        change += n_new - n_old
                i, value = part, -1
        n, place = write(data, first, stop, place, held, change, out, n, sources, aligned)
        offsets[piece + 1] = n
    return new[:n], offsets, source[: n if aligned else 0]


@kernel(inline=True)
def write(data, first, stop, place, c, change, out, n, sources, aligned):
    """Writes the new character c (-1: none yet) at n, with its place; the next n and place."""
    if c < 0:
        return n, place
    before = n
    n = put(out, n, c)
    if aligned:
        where = place
        if change > 0:
            where = place - 1 if place > first else ~place
        else:
            place = skip(data, place, stop, 1 - change)
        for k in range(before, n):
            store_i64(sources, k, where)
    return n, place


@kernel(inline=True)
def look_up(trie, n_units, data, i, stop, n_texts):
    """The value of the shortest prefix of data[i:stop] in the double array; -1: none."""
    at = offset(load_u32(trie, 0)) if n_units else 0
    while i < stop:
        label = np.int64(load_u8(data, i))
        at ^= label
        if label == 0 or at >= n_units:
            return -1
        unit = load_u32(trie, at)
        if unit & np.uint32(0x800000FF) != label:
            return -1
        at ^= offset(unit)
        if unit >> 8 & 1:
            value = np.int64(load_u32(trie, at) & np.uint32(0x7FFFFFFF)) if at < n_units else n_texts
            return value if value < n_texts else -1
        i += 1
    return -1


@kernel(inline=True)
def offset(unit):
    return np.int64(unit >> 10) << np.int64((unit & (1 << 9)) >> 6)


@kernel(inline=True)
def cluster_end(data, i, stop, page, member):
    """Where the extended grapheme cluster that begins at byte i ends."""
    c, size = character(data, i)
    i += size
    if 0x20 <= c < 0x7F and (i == stop or load_u8(data, i) < 0x80):
        return i
    kind = kind_of(page, member, c)
    picture = 1 if kind == PICTURE else 0  # 1: after a picture and extenders; 2: and a joiner
    conjunct = (
        1 if kind == CONSONANT else 0
    )  # 1: after a consonant and extenders; 2: with a linker among them
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
