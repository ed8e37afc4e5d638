"""Kernels of the normalizers: they make a new text of an old one, and tell from which old byte each new byte comes.

Every stage takes pieces data[start[i]:end[i]] (uint8[n]; int64[n_pieces]) and `frozen` (bool[n_pieces], True for a
piece that must not change; or None), and returns

    data uint8[m], offsets int64[n_pieces + 1], source int64[m]

New piece i is data[offsets[i]:offsets[i + 1]], and new byte k comes from old byte source[k]; a negative source ~p is
the empty place before old byte p. `source` is empty unless `aligned`. It follows `NormalizedString::transform` of
`tokenizers`: a new character comes from the next old character that is not used up, an additional new character from
the last one that was used up. A text of *inert* characters alone stays as it is; others may compose with them.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import CharacterMap, Compositions, NormalizationForm
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import longer, of_pieces, pointer, views_of
from gputok.kernels.cpu.primitives.constants import NO_ASCII, U0, U1
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    is_given,
    leads_in,
    load_u64,
    owned,
    scratch,
    store_u64,
    trailing_zeros,
    view,
)
from gputok.kernels.cpu.primitives.utf8 import character, character_before, put, skip
from gputok.kernels.signatures import boolean, i64

LOOK_UP = 255  # an entry of the ASCII table of a character map: look at the rule
VANISHES, SPACED = 1, 2  # rules of a character map: removed; put between spaces. 0: stays; others are replacements
GAP = -2  # a result of `pass_inert`: it stopped at a gap between pieces
# From so many bytes of text on, it pays that `find_leads` looks for bytes with which only inert characters begin
MUCH_TEXT = 1 << 16
ROOM = 64  # bytes; no single character becomes more
HANGUL, N_HANGUL = 0xAC00, 11172  # arithmetic of Hangul syllables: The Unicode Standard, section 3.12
LEADING, VOWEL, TRAILING = 0x1100, 0x1161, 0x11A7
N_VOWELS, N_TRAILING = 21, 28


@kernel(inline=True)
def room(n_bytes, aligned):
    """New arrays for the new text and its source, as `more` returns them."""
    n = n_bytes + n_bytes // 16 + 2 * ROOM
    return more(np.empty(n, np.uint8), np.empty(n if aligned else 0, np.int64), 0, 0, aligned)


@kernel(inline=True)
def more(new, source, n, wanted, aligned):
    """Makes room for wanted + ROOM bytes after byte n. -> both arrays, their views, and where ROOM bytes are left."""
    if n + wanted + ROOM > len(new):
        size = 2 * len(new) + wanted
        new = longer(new, n, size)
        if aligned:
            source = longer(source, n, size)
    return new, source, owned(new), owned(source), len(new) - ROOM


@kernel(inline=True)
def copy_run(data, i, size, out, n, sources, aligned):
    """Copies `size` bytes that don't change, from data[i] on to out[n:]; each comes from itself."""
    if size < 32:  # a call of memcpy would take longer
        k = 0
        while k + 8 <= size:
            store_u64(out, n + k, load_u64(data, i + k))
            k += 8
        while k < size:
            out[n + k] = data[i + k]
            k += 1
    else:
        copy(out, n, data, i, size)
    if aligned:
        for k in range(size):
            sources[n + k] = i + k


def follow(source: np.ndarray, start: np.ndarray, end: np.ndarray):
    """The start and end (int32[n]) of the old byte of each new byte: two int32[m]; for a source ~p, start[p] twice."""
    new_start, new_end = np.empty(len(source), np.int32), np.empty(len(source), np.int32)
    follow_sources(pointer(source), len(source), pointer(start), pointer(end), pointer(new_start), pointer(new_end))
    return new_start, new_end


@kernel(i64, i64, i64, i64, i64, i64)
def follow_sources(source, n, start, end, new_start, new_end):
    """`follow`, with arrays given by their addresses (`arrays.pointer`); n: elements of `source`."""
    source, start, end = view(source, np.int64), view(start, np.int32), view(end, np.int32)
    new_start, new_end = view(new_start, np.int32), view(new_end, np.int32)
    for k in range(n):
        at = source[k]
        low = start[max(at, ~at)]
        new_start[k] = low
        new_end[k] = end[at] if at >= 0 else low


@kernel(inline=True)
def kind_of(page, member, c):
    """The value of code point c in a two-stage table."""
    return np.int64(member[np.int64(page[c >> 7]) << 7 | c & 127])


# ---- normalizers that look at each character by itself


def is_inert(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    frozen: np.ndarray | None,
    page: np.ndarray,
    member: np.ndarray,
    n_inert: int = 1,
):
    """Whether all characters are inert (their kind, by `page` and `member`, is below n_inert): no piece changes."""
    return of_pieces(_is_inert, data, start, end, frozen, pointer(page), pointer(member), n_inert)


@kernel(i64, (i64, i64, i64, i64), i64, i64, i64)
def _is_inert(data, pieces, page, member, n_inert):
    data, page, member = view(data, np.uint8), view(page, np.uint16), view(member, np.uint16)
    start, end, frozen, n_pieces = views_of(pieces)
    ascii_inert = True
    for c in range(128):
        ascii_inert &= kind_of(page, member, c) < n_inert
    leads = find_leads(end[n_pieces - 1] - start[0] if n_pieces else 0, page, member, n_inert)
    for piece in range(n_pieces):
        i, stop = start[piece], end[piece]
        if not (is_given(frozen) and frozen[piece]):
            if ascii_inert:
                i, _ = long_inert_run(data, i, stop, page, member, n_inert, leads)
            else:
                i, _ = inert_run(data, i, stop, page, member, n_inert, False)
            if i < stop:
                return False
    return True


@kernel(inline=True)
def inert_run(data, i, stop, page, member, n_inert, ascii_inert):
    """The positions of the first character from byte i on that isn't inert, or `stop`, and of the one before, or -1."""
    last = -1
    while i < stop:
        if ascii_inert and data[i] < 0x80:
            i += 1
            while i + 8 <= stop and load_u64(data, i) & NO_ASCII == U0:
                i += 8
            last = i - 1
            continue
        c, size = character(data, i)
        if kind_of(page, member, c) >= n_inert:
            break
        last = i
        i += size
    return i, last


@kernel(inline=True)
def long_inert_run(data, i, stop, page, member, n_inert, leads):
    """`inert_run` where ASCII is inert: of 64 bytes, it looks up only characters whose first byte is in `leads`."""
    begin = i
    while stop - i >= 64:
        doubtful = leads_in(data, np.uint64(i), leads)
        while doubtful != U0:
            at = i + np.int64(trailing_zeros(doubtful))
            doubtful &= doubtful - U1
            c, _ = character(data, at)
            if kind_of(page, member, c) >= n_inert:
                return at, np.int64(character_before(data, np.uint64(at))) if at > begin else -1
        i += 64
    while i < stop and data[i] & 0xC0 == 0x80:  # the rest of a character that began in the 64 bytes before
        i += 1
    middle = i
    i, last = inert_run(data, i, stop, page, member, n_inert, True)
    if last < 0 and middle > begin:
        last = np.int64(character_before(data, np.uint64(middle)))
    return i, last


@kernel(inline=True)
def find_leads(n_bytes, page, member, n_inert):
    """The set of bytes that may begin a character that isn't inert, as `leads_in` takes it; for a short text, all."""
    leads = scratch(16, np.uint8)
    for k in range(16):
        leads[k] = 15
    if n_bytes < MUCH_TEXT:
        return leads
    for lead in range(0xC2, 0xF0):
        first, n = ((lead & 0x1F) << 6, 64) if lead < 0xE0 else ((lead & 0x0F) << 12, 4096)
        if _all_inert(max(first, 0x80), first + n, page, member, n_inert):
            leads[lead & 15] &= ~np.uint8(1 << (lead >> 4) - 12)
    return leads


@kernel(inline=True)
def _all_inert(c, end, page, member, n_inert):
    """Whether all characters from c up to `end` are inert; skips a page of 128 whose row of the table is known."""
    row = -1
    while c < end:
        if c & 127 == 0 and end - c >= 128 and np.int64(page[c >> 7]) == row:
            c += 128
            continue
        if kind_of(page, member, c) >= n_inert:
            return False
        row = np.int64(page[c >> 7])
        c += 1
    return True


def map_characters(
    data: np.ndarray, start: np.ndarray, end: np.ndarray, frozen: np.ndarray | None, table: CharacterMap, aligned: bool
):
    """Does with each character what its rule in `table` says, whatever its neighbours are."""
    return of_pieces(map_pieces, data, start, end, frozen, table, int((end - start).sum()), bool(aligned))


@kernel(i64, (i64, i64, i64, i64), CharacterMap, i64, boolean)
def map_pieces(data, pieces, table, n_bytes, aligned):
    """`map_characters`, with arrays given by their addresses; n_bytes: of all pieces."""
    data, table = view(data, np.uint8), as_views(table)
    start, end, frozen, n_pieces = views_of(pieces)
    offsets = np.zeros(n_pieces + 1, np.int64)
    new, source, out, sources, limit = room(n_bytes, aligned)
    n = 0
    for piece in range(n_pieces):
        i, stop = start[piece], end[piece]
        stays = is_given(frozen) and frozen[piece]
        while i < stop:
            if n + stop - i > limit:
                new, source, out, sources, limit = more(new, source, n, stop - i, aligned)
            if stays:
                copy_run(data, i, stop - i, out, n, sources, aligned)
                n, i = n + stop - i, stop
            else:
                i, n = map_run(data, i, stop, table, out, n, limit, sources, aligned)
        offsets[piece + 1] = n
    return new[:n], offsets, source[: n if aligned else 0]


@kernel(inline=True)
def map_run(data, i, stop, table, out, n, limit, sources, aligned):
    """Maps characters from byte i on, until the new text has more than `limit` bytes; returns the next i and n."""
    page, member, ascii, text, text_offsets = table
    while i < stop and n <= limit:
        c, size = character(data, i)
        if c < 0x80:
            to = ascii[c]
            if to != LOOK_UP:
                out[n] = to
                if aligned:
                    sources[n] = i
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
            first = np.int64(text_offsets[rule])
            count = np.int64(text_offsets[rule + 1]) - first
            copy(out, n, text, first, count)
            n += count
        if aligned:
            for k in range(before, n):
                sources[k] = i
        i += size
    return i, n


# ---- normalization forms


def normalize_form(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    frozen: np.ndarray | None,
    form: NormalizationForm,
    compositions: Compositions | None,
    aligned: bool,
):
    """Normalizes to NFD or NFKD, or with `compositions` to NFC or NFKC.

    Inert text is copied. A character that isn't inert goes through decomposition, canonical ordering and composition
    (Unicode Standard Annex #15), with the inert character before it and all up to the next inert one.
    """
    pairs = compositions or Compositions(np.empty(0, np.uint64), np.empty(0, np.uint32))
    return of_pieces(normalize_pieces, data, start, end, frozen, form, pairs, int((end - start).sum()), bool(aligned))


@kernel(i64, (i64, i64, i64, i64), NormalizationForm, Compositions, i64, boolean)
def normalize_pieces(data, pieces, form, pairs, n_bytes, aligned):
    """`normalize_form`, with arrays given by their addresses; n_bytes: of all pieces."""
    data, form, pairs = view(data, np.uint8), as_views(form), as_views(pairs)
    start, end, frozen, n_pieces = views_of(pieces)
    leads = find_leads(n_bytes, form.page, form.member, form.n_inert)
    offsets = np.zeros(n_pieces + 1, np.int64)
    new, source, out, sources, limit = room(n_bytes, aligned)
    # The run of characters that is being normalized: its code points, their ranks (see `NormalizationForm`), and by how
    # many characters each makes the text longer: 1 for a part of a decomposition after the first part, 0 for others,
    # minus 1 for each character that was composed with it.
    size = 256
    codes, ranks, changes = scratch(size, np.uint32), scratch(size, np.uint8), scratch(size, np.int64)
    # The n bytes of the new text stand for the old text up to byte `kept`. The old bytes from `kept` to i stay as they
    # are, and are copied by one call
    piece, n, i = 0, 0, start[0] if n_pieces else np.int64(0)
    kept = i
    while True:
        piece, i, last = pass_inert(data, start, end, frozen, n_pieces, piece, i, form, leads, offsets, n - kept)
        if last >= 0:  # the next character may change the last inert character, but nothing before it
            i = last
        new, source, out, sources, limit = more(new, source, n, i - kept, aligned)
        copy_run(data, kept, i - kept, out, n, sources, aligned)
        n += i - kept
        if piece == n_pieces:
            break
        first, stop = start[piece], end[piece]
        if last == GAP:
            kept = i = first
            continue
        old = i  # the next old character that is not used up
        while True:  # up to the next inert character; the longest decomposition has 18 parts
            i, m = decompose(data, old, stop, form, codes, ranks, changes, size - 18)
            if i >= 0:
                break
            size *= 4
            codes, ranks, changes = (scratch(size, np.uint32), scratch(size, np.uint8), scratch(size, np.int64))
        low, high = next_marks(ranks, 0, m)
        while low < m:
            sort_marks(codes, ranks, changes, low, high)
            low, high = next_marks(ranks, high, m)
        if len(pairs.pair):
            m = compose(codes, ranks, changes, m, pairs)
        if n + 4 * m > limit:
            new, source, out, sources, limit = more(new, source, n, 4 * m, aligned)
        for k in range(m):
            n, old = write(data, first, stop, old, np.int64(codes[k]), changes[k], out, n, sources, aligned)
        kept = i
    return new[:n], offsets, source[: n if aligned else 0]


@kernel(inline=True)
def write(data, first, stop, old, c, change, out, n, sources, aligned):
    """Writes the new character c (-1: none yet) at n, and where it comes from. -> the next n and `old`.

    old: the next old character that is not used up; change: see `normalize_pieces`.
    """
    if c < 0:
        return n, old
    before = n
    n = put(out, n, c)
    if aligned:
        where = old
        if change > 0:
            where = old - 1 if old > first else ~old
        else:
            old = skip(data, old, stop, 1 - change)
        for k in range(before, n):
            sources[k] = where
    return n, old


@kernel(inline=True)
def pass_inert(data, start, end, frozen, n_pieces, piece, i, form, leads, offsets, moved):
    """Passes text from byte i of a piece on, up to a character that isn't inert, or up to a gap.

    A gap is text between two pieces, in no piece. Writes to `offsets` where each piece that was passed ends in the new
    text: `moved` bytes after its end in the old text. Returns the piece and the position of the character, and the
    position of the inert character before it (-1: none in this piece); at a gap, the piece after it (n_pieces: none),
    the byte at which the gap begins, and GAP.
    """
    page, member, n_inert = form.page, form.member, form.n_inert
    while piece < n_pieces:
        stop = end[piece]
        if not (is_given(frozen) and frozen[piece]):
            i, last = long_inert_run(data, i, stop, page, member, n_inert, leads)
            if i < stop:
                return piece, i, last
        i = stop
        offsets[piece + 1] = stop + moved
        piece += 1
        if piece < n_pieces and start[piece] != stop:
            break
    return piece, i, GAP


@kernel(inline=True)
def decompose(data, i, stop, form, code, rank, change, limit):
    """Decomposes characters from i up to the next inert one. -> where it begins (-1: over `limit` parts), how many."""
    page, member, n_inert, ranks, part_offsets, parts, parts_rank = form
    begin, m = i, 0
    while i < stop:
        c, size = character(data, i)
        kind = kind_of(page, member, c)
        if kind < n_inert and i > begin:
            break
        if m > limit:
            return -1, m
        syllable, before = c - HANGUL, m
        if 0 <= syllable < N_HANGUL:
            code[m] = LEADING + syllable // (N_VOWELS * N_TRAILING)
            code[m + 1] = VOWEL + syllable // N_TRAILING % N_VOWELS
            code[m + 2] = TRAILING + syllable % N_TRAILING
            m += 2 + (syllable % N_TRAILING > 0)
            for k in range(before, m):
                rank[k] = 0
        else:
            part, last = np.int64(part_offsets[kind]), np.int64(part_offsets[kind + 1])
            if part == last:
                code[m] = c
                rank[m] = ranks[kind]
                m += 1
            for k in range(part, last):
                code[m] = parts[k]
                rank[m] = parts_rank[k]
                m += 1
        for k in range(before, m):
            change[k] = k > before
        i += size
    return i, m


@kernel(inline=True)
def next_marks(ranks, low, m):
    """The next run of two or more marks (of rank > 0) from `low` on: (begin, end); (m, m): there is none."""
    while low < m:
        high = low + 1
        if ranks[low]:
            while high < m and ranks[high]:
                high += 1
            if high - low > 1:
                return low, high
        low = high
    return m, m


@kernel(inline=True)
def compose(code, rank, change, m, pairs):
    """Composes each starter (of rank 0) with the characters after it that aren't blocked; returns how many remain."""
    starter, last, kept = -1, 0, 0  # last: the rank of the last character that remains after the starter; 0: none
    for k in range(m):
        c, r, more_characters = code[k], rank[k], change[k]
        if starter >= 0 and (last == 0 or last < r):
            both = composed(pairs, np.int64(code[starter]), np.int64(c))
            if both:
                code[starter] = both
                change[starter] = change[starter] + more_characters - 1
                continue
        if r == 0:
            starter = kept
        last = r
        code[kept] = c
        change[kept] = more_characters
        kept += 1
    return kept


@kernel(inline=True)
def composed(pairs, a, b):
    """The character that a and b compose to; 0: none."""
    vowel, trailing = b - VOWEL, b - TRAILING
    if 0 <= a - LEADING < N_HANGUL // (N_VOWELS * N_TRAILING) and 0 <= vowel < N_VOWELS:
        return HANGUL + ((a - LEADING) * N_VOWELS + vowel) * N_TRAILING
    if 0 <= a - HANGUL < N_HANGUL and (a - HANGUL) % N_TRAILING == 0 and 0 < trailing < N_TRAILING:
        return a + trailing
    keys, n_pairs = pairs.pair, len(pairs.pair)
    key, low, high = np.uint64(a << 32 | b), 0, n_pairs
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < n_pairs and keys[low] == key:
        return np.int64(pairs.to[low])
    return 0


@kernel(inline=True)
def sort_marks(code, rank, change, low, high):
    """Sorts by rank, stably: few by insertion, many by counting, so that no text takes quadratic time."""
    if high - low <= 16:
        for k in range(low + 1, high):
            c, r, d = code[k], rank[k], change[k]
            at = k
            while at > low and rank[at - 1] > r:
                code[at], rank[at], change[at] = code[at - 1], rank[at - 1], change[at - 1]
                at -= 1
            code[at], rank[at], change[at] = c, r, d
        return
    slot = np.zeros(257, np.int64)
    for k in range(low, high):
        slot[rank[k] + 1] += 1
    for r in range(256):
        slot[r + 1] += slot[r]
    n = high - low
    codes, ranks, changes = scratch(n, np.uint32), scratch(n, np.uint8), scratch(n, np.int64)
    copy(codes, 0, code, low, n)
    copy(ranks, 0, rank, low, n)
    copy(changes, 0, change, low, n)
    for k in range(n):
        at = low + slot[ranks[k]]
        slot[ranks[k]] += 1
        code[at], rank[at], change[at] = codes[k], ranks[k], changes[k]
