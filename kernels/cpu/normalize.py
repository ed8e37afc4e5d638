"""Normalizers: new text from old, and where each of its bytes comes from.

Every stage takes pieces data[start[i]:end[i]] (uint8[n]; int64[n_pieces]) and `frozen` (bool[n_pieces] or None:
pieces that stay as they are), and gives

    data uint8[m], offsets int64[n_pieces + 1], source int64[m]

the pieces packed, and for each new byte the old byte whose place in the original it takes. `source` is empty unless
`aligned`; ~p in it is the empty place before the old byte p. It follows tokenizers' `NormalizedString::transform`,
in which a new character takes the place of the next one not yet used up, or, if it is an additional one, that of
the last one used up.
"""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import (
    address,
    copy_bytes,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_i64,
    store_u8,
)
from .ragged import pointer
from .utf8 import character, put, skip

NO_ASCII = 0x8080808080808080
LOOK_UP = 255  # in the ASCII table of a character map
VANISHES, SPACED = (
    1,
    2,
)  # rules of a character map: gone, between two spaces; 0 stays, others are replacements
ROOM = 64  # more bytes than what becomes of any one character
HANGUL, N_HANGUL, LEADING, VOWEL, TRAILING = (
    0xAC00,
    11172,
    0x1100,
    0x1161,
    0x11A7,
)  # The Unicode Standard, 3.12
N_VOWELS, N_TRAILING = 21, 28


def pieces_of(start, end, frozen):
    """Addresses, and the arrays that must outlive them."""
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    return (pointer(start), pointer(end), 0 if frozen is None else pointer(frozen), len(start)), (start, end)


@kernel(inline=True)
def more(array, used, needed):
    """A longer array with the same beginning."""
    longer = np.empty(2 * len(array) + needed, array.dtype)
    longer[:used] = array[:used]
    return longer


@kernel(inline=True)
def copy(data, i, size, out, n, sources, aligned):
    """Bytes that stay what they are."""
    copy_bytes(out + n, data + i, size)
    if aligned:
        for k in range(size):
            store_i64(sources, n + k, i + k)


@kernel(inline=True)
def kind_of(page, member, c):
    return np.int64(load_u16(member, np.int64(load_u16(page, c >> 7)) << 7 | c & 127))


# ---- characters by themselves


def is_inert(data, start, end, frozen, page, member, n_inert=1):
    """Whether all characters have a kind below n_inert, so that the pieces stay as they are."""
    pieces, _keep = pieces_of(start, end, frozen)
    return _is_inert(pointer(data), pieces, pointer(page), pointer(member), n_inert)


@kernel
def _is_inert(data, pieces, page, member, n_inert):
    start, end, frozen, n_pieces = pieces
    ascii_inert = True
    for c in range(128):
        ascii_inert &= kind_of(page, member, c) < n_inert
    for piece in range(n_pieces):
        if frozen and load_u8(frozen, piece):
            continue
        i, stop = load_i64(start, piece), load_i64(end, piece)
        while i < stop:
            if ascii_inert and load_u8(data, i) < 0x80:
                i += 1
                while i + 8 <= stop and load_u64(data + i, 0) & np.uint64(NO_ASCII) == 0:
                    i += 8
                continue
            c, size = character(data, i)
            if kind_of(page, member, c) >= n_inert:
                return False
            i += size
    return True


def map_characters(data, start, end, frozen, table, aligned):
    """Each character becomes what `table` (see gputok/unicode_maps.py, CharacterMap) says, whatever is beside it."""
    pieces, _keep = pieces_of(start, end, frozen)
    n_bytes = int((end - start).sum())
    return _map_characters(pointer(data), pieces, tuple(map(pointer, table)), n_bytes, bool(aligned))


@kernel
def _map_characters(data, pieces, table, n_bytes, aligned):
    start, end, frozen, n_pieces = pieces
    page, member, ascii, text, text_offsets = table
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
        while i < stop:
            if n > limit:
                new = more(new, n, ROOM)
                if aligned:
                    source = more(source, n, ROOM)
                out, sources, limit = address(new), address(source), len(new) - ROOM
            c, size = character(data, i)
            if c < 0x80:
                to = load_u8(ascii, c)
                if to != LOOK_UP:
                    store_u8(out, n, to)
                    if aligned:
                        store_i64(sources, n, i)
                    n += 1
                    i += 1
                    continue
            rule = kind_of(page, member, c)
            before = n
            if rule == 0:
                n = put(out, n, c)
            elif rule == SPACED:
                n = put(out, put(out, put(out, n, 0x20), c), 0x20)
            elif rule != VANISHES:
                first = np.int64(load_u32(text_offsets, rule))
                count = np.int64(load_u32(text_offsets, rule + 1)) - first
                copy_bytes(out + n, text + first, count)
                n += count
            if aligned:
                for k in range(before, n):
                    store_i64(sources, k, i)
            i += size
        offsets[piece + 1] = n
    return new[:n], offsets, source[: n if aligned else 0]


# ---- normalization forms


def normalize_form(data, start, end, frozen, form, compositions, aligned):
    """NFD or NFKD, or NFC or NFKC if there are `compositions` (see gputok/unicode_maps.py for both).

    What is inert is copied; only from the last inert character before one that isn't to the next inert one does the
    text go through decomposition, canonical ordering and composition (Unicode Standard Annex #15).
    """
    pieces, _keep = pieces_of(start, end, frozen)
    page, member, n_inert, rank, offsets, parts, parts_rank = form
    tables = *map(pointer, (page, member, rank, offsets, parts, parts_rank)), n_inert
    pairs = (0, 0, 0) if compositions is None else (*map(pointer, compositions), len(compositions[0]))
    return _normalize_form(pointer(data), pieces, tables, pairs, int((end - start).sum()), bool(aligned))


@kernel
def _normalize_form(data, pieces, tables, pairs, n_bytes, aligned):
    start, end, frozen, n_pieces = pieces
    page, member, ranks, part_offsets, parts, parts_rank, n_inert = tables
    offsets = np.zeros(n_pieces + 1, np.int64)
    new = np.empty(n_bytes + n_bytes // 16 + 2 * ROOM, np.uint8)
    source = np.empty(len(new) if aligned else 0, np.int64)
    # the run that is being normalized: code points, their ranks, and how many characters each one adds: 1 for a
    # part after the first of a decomposition, 0 for others, less 1 for each that was merged into it
    code, rank, change = np.empty(256, np.uint32), np.empty(256, np.uint8), np.empty(256, np.int64)
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
        first = i
        last_inert = -1  # where the last character began, if it was inert
        while i < stop:
            if n + 8 > limit:
                new = more(new, n, ROOM)
                if aligned:
                    source = more(source, n, ROOM)
                out, sources, limit = address(new), address(source), len(new) - ROOM
            if i + 8 <= stop and load_u64(data + i, 0) & np.uint64(NO_ASCII) == 0:
                copy(data, i, 8, out, n, sources, aligned)
                i, n, last_inert = i + 8, n + 8, i + 7
                continue
            c, size = character(data, i)
            if kind_of(page, member, c) < n_inert:
                copy(data, i, size, out, n, sources, aligned)
                last_inert = i
                i, n = i + size, n + size
                continue

            # 1. Decompose, from the last inert character up to the next one.
            place = i  # the next old character that is not used up
            if last_inert >= 0:
                n -= i - last_inert
                place = i = last_inert
            begin, m = i, 0
            while i < stop:
                c, size = character(data, i)
                kind = kind_of(page, member, c)
                if kind < n_inert and i > begin:
                    break
                if m + 24 > len(code):  # no character has more than 18 parts
                    code, rank, change = more(code, m, 24), more(rank, m, 24), more(change, m, 24)
                syllable = c - HANGUL
                if 0 <= syllable < N_HANGUL:
                    code[m] = LEADING + syllable // (N_VOWELS * N_TRAILING)
                    code[m + 1] = VOWEL + syllable // N_TRAILING % N_VOWELS
                    code[m + 2] = TRAILING + syllable % N_TRAILING
                    count = 2 + (syllable % N_TRAILING > 0)
                    rank[m : m + 3] = 0
                else:
                    part = np.int64(load_u32(part_offsets, kind))
                    count = np.int64(load_u32(part_offsets, kind + 1)) - part
                    for k in range(count):
                        code[m + k] = load_u32(parts, part + k)
                        rank[m + k] = load_u8(parts_rank, part + k)
                    if count == 0:
                        count, code[m], rank[m] = 1, c, load_u8(ranks, kind)
                change[m] = 0
                for k in range(1, count):
                    change[m + k] = 1
                m += count
                i += size

            # 2. Sort each run of marks by rank.
            low = 0
            while low < m:
                high = low + 1
                if rank[low]:
                    while high < m and rank[high]:
                        high += 1
                    sort_marks(code, rank, change, low, high)
                low = high

            # 3. Compose each starter with the characters after it that nothing keeps away from it.
            if pairs[2]:
                starter, last, kept = (
                    -1,
                    0,
                    0,
                )  # last: the rank of the character between the two, 0 if there is none
                for k in range(m):
                    if starter >= 0 and (last == 0 or last < rank[k]):
                        both = composed(pairs, np.int64(code[starter]), np.int64(code[k]))
                        if both:
                            code[starter] = both
                            change[starter] += change[k] - 1
                            continue
                    if rank[k] == 0:
                        starter = kept
                    last = rank[k]
                    code[kept], rank[kept], change[kept] = code[k], rank[k], change[k]
                    kept += 1
                m = kept

            # 4. Write, each character with its place.
            if n + 4 * m > limit:
                new = more(new, n, 4 * m + ROOM)
                if aligned:
                    source = more(source, n, 4 * m + ROOM)
                out, sources, limit = address(new), address(source), len(new) - ROOM
            for k in range(m):
                before = n
                n = put(out, n, np.int64(code[k]))
                if aligned:
                    where = place
                    if change[k] > 0:
                        where = place - 1 if place > first else ~place
                    else:
                        place = skip(data, place, stop, 1 - change[k])
                    for b in range(before, n):
                        store_i64(sources, b, where)
            last_inert = -1
        offsets[piece + 1] = n
    return new[:n], offsets, source[: n if aligned else 0]


@kernel(inline=True)
def composed(pairs, a, b):
    """The character that a and b make together; 0: none."""
    vowel, trailing = b - VOWEL, b - TRAILING
    if 0 <= a - LEADING < 19 and 0 <= vowel < N_VOWELS:
        return HANGUL + ((a - LEADING) * N_VOWELS + vowel) * N_TRAILING
    if 0 <= a - HANGUL < N_HANGUL and (a - HANGUL) % N_TRAILING == 0 and 0 < trailing < N_TRAILING:
        return a + trailing
    keys, values, n_pairs = pairs
    key, low, high = np.uint64(a << 32 | b), 0, n_pairs
    while low < high:
        middle = (low + high) >> 1
        if load_u64(keys, middle) < key:
            low = middle + 1
        else:
            high = middle
    if low < n_pairs and load_u64(keys, low) == key:
        return np.int64(load_u32(values, low))
    return 0


@kernel(inline=True)
def sort_marks(code, rank, change, low, high):
    """A stable sort by rank: by insertion for a few, by counting for many, so that no text takes quadratic time."""
    if high - low <= 16:
        for k in range(low + 1, high):
            c, r, d = code[k], rank[k], change[k]
            at = k
            while at > low and rank[at - 1] > r:
                code[at], rank[at], change[at] = code[at - 1], rank[at - 1], change[at - 1]
                at -= 1
            code[at], rank[at], change[at] = c, r, d
        return
    place = np.zeros(257, np.int64)
    for k in range(low, high):
        place[rank[k] + 1] += 1
    for r in range(256):
        place[r + 1] += place[r]
    codes, ranks, changes = code[low:high].copy(), rank[low:high].copy(), change[low:high].copy()
    for k in range(high - low):
        at = low + place[ranks[k]]
        place[ranks[k]] += 1
        code[at], rank[at], change[at] = codes[k], ranks[k], changes[k]


# ---- replacing, prepending, stripping


def splice(data, start, end, rows, cut_start, cut_end, content, place, aligned):
    """Puts `content` (uint8[c]) in place of each span data[cut_start[j]:cut_end[j]].

    rows int64[n_pieces + 1]: the spans of piece i are rows[i]:rows[i + 1], in order and apart;
    place int64[n_spans]: the source of all bytes that stand for span j.
    """
    pieces, _keep = pieces_of(start, end, None)
    cuts = pointer(rows), pointer(cut_start), pointer(cut_end), pointer(place)
    total = int((end - start).sum()) - int((cut_end - cut_start).sum()) + len(cut_start) * len(content)
    return _splice(pointer(data), pieces, cuts, pointer(content), len(content), total, bool(aligned))


@kernel
def _splice(data, pieces, cuts, content, width, total, aligned):
    start, end, _, n_pieces = pieces
    rows, cut_start, cut_end, place = cuts
    offsets = np.zeros(n_pieces + 1, np.int64)
    new, source = np.empty(total, np.uint8), np.empty(total if aligned else 0, np.int64)
    out, sources = address(new), address(source)
    n = 0
    for piece in range(n_pieces):
        i, stop = load_i64(start, piece), load_i64(end, piece)
        for j in range(load_i64(rows, piece), load_i64(rows, piece + 1)):
            size = load_i64(cut_start, j) - i
            copy(data, i, size, out, n, sources, aligned)
            n += size
            copy_bytes(out + n, content, width)
            if aligned:
                for k in range(n, n + width):
                    store_i64(sources, k, load_i64(place, j))
            n += width
            i = load_i64(cut_end, j)
        copy(data, i, stop - i, out, n, sources, aligned)
        n += stop - i
        offsets[piece + 1] = n
    return new, offsets, source


def find_literal(data, start, end, frozen, literal):
    """Where `literal` (uint8[k], k > 0) stands in each piece, from left to right without overlap.

    -> its starts int64[n], rows int64[n_pieces + 1].
    """
    pieces, _keep = pieces_of(start, end, frozen)
    return _find_literal(pointer(data), pieces, pointer(literal), len(literal))


@kernel
def _find_literal(data, pieces, literal, size):
    start, end, frozen, n_pieces = pieces
    rows, found = np.zeros(n_pieces + 1, np.int64), np.empty(1024, np.int64)
    head, n = load_u8(literal, 0), 0
    for piece in range(n_pieces):
        i, last = load_i64(start, piece), load_i64(end, piece) - size
        if frozen and load_u8(frozen, piece):
            i = last + 1
        while i <= last:
            if load_u8(data, i) != head:
                i += 1
                continue
            k = 1
            while k < size and load_u8(data, i + k) == load_u8(literal, k):
                k += 1
            if k < size:
                i += 1
                continue
            if n == len(found):
                found = more(found, n, 0)
            found[n] = i
            n += 1
            i += size
        rows[piece + 1] = n
    return found[:n], rows


def strip(data, start, end, frozen, space, left, right):
    """The pieces without the characters at their ends that are in `space` (page, member: not 0).

    -> start, end int64[n_pieces]; a piece that is nothing but space becomes empty, at its end.
    """
    pieces, _keep = pieces_of(start, end, frozen)
    return _strip(pointer(data), pieces, pointer(space[0]), pointer(space[1]), bool(left), bool(right))


@kernel
def _strip(data, pieces, page, member, left, right):
    start, end, frozen, n_pieces = pieces
    new_start, new_end = np.empty(n_pieces, np.int64), np.empty(n_pieces, np.int64)
    for piece in range(n_pieces):
        i, stop = load_i64(start, piece), load_i64(end, piece)
        if not (frozen and load_u8(frozen, piece)):
            while left and i < stop:
                c, size = character(data, i)
                if not kind_of(page, member, c):
                    break
                i += size
            while right and i < stop:
                at = stop - 1
                while load_u8(data, at) & 0xC0 == 0x80:
                    at -= 1
                if not kind_of(page, member, character(data, at)[0]):
                    break
                stop = at
        new_start[piece], new_end[piece] = i, stop
    return new_start, new_end
