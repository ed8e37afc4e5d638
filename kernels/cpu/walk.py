"""The walk of a gapless automaton over text: by windows of five bytes, or two ASCII bytes a step at two places side by side.

By windows (see `windows`), 64 places of ASCII are looked at together, and the automaton walks only where they don't tell
whether a word begins. All other text, and text whose pattern has no tables of windows, is walked as follows.

A block of text is documents with the byte 0xFF after each. That byte never occurs in UTF-8; it stands for the end of text,
and is a word of its own. The tables resolve in advance what happens between two words: if the walk dies on a character
before which it accepts, the entry of the table says "boundary" and already contains the state behind that character. So no
byte is read twice. A second table takes two bytes at once; if it can't (`RARE`: a match that ended earlier than the walk), a
single step follows.

A character of several bytes becomes codes first: CLASS_CODE + its class for the first byte, while the others are steps that
change nothing. No state is needed to write these codes, so that characters don't wait for each other. Short texts are walked
without codes, by single steps until they are ASCII again.

Helpers take views: an array as argument is reference-counted, up and down, by atomic instructions.

Measured on one core of an x86-64 server, GPT-2's pattern: 260 MB/s for one byte a step, 880 for two, 1,190 at two places.
On one core of an AMD EPYC (Zen 5), Llama 3's pattern, English: 1,450 MB/s at two places, 1,650 with a loop of so few names that
all have registers, 1,880 with one load for the row of two bytes instead of four loads.
On one core of an AMD EPYC (Zen 4), English: 1,200 to 1,280 MB/s at two places, 2,000 to 2,160 by windows; code: 1,070 to 1,110, and
1,620 to 1,850.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import DEAD, Automaton
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U6, U7, U8, U63, U64
from gputok.kernels.cpu.primitives.memory import (
    bytes_at_least,
    copy,
    count_ones,
    equal_bytes,
    likely,
    load_u16,
    put_classes,
    tail,
    trailing_zeros,
    view,
    window_masks,
)
from gputok.kernels.cpu.primitives.utf8 import character_before, decode_wide
from gputok.kernels.cpu.windows import BEFORE, NO_ASCII, NO_TABLES, TERM_SETS, ready_tables, window_tables
from gputok.kernels.signatures import U8s, U16s, U32s, i64

END_OF_TEXT = 0xFF  # the byte after each document of a block
BLOCK_BYTES = 1 << 15  # of text that is walked at a time: it and its words stay in the nearest caches
# Bytes behind a block that loads of 64 bytes from any of its places, and stores of as many, may reach
MARGIN = 80
PLACE_OF_FIRST = U8  # of the class of a block's first byte, if it is walked by windows
FEW = np.uint64(16)  # words that begin in 64 bytes of most text
CLASS_CODE = 0xC0  # behind the bytes that continue characters; with a class, less than END_OF_TEXT

# An entry of `pair`: next state | boundary before the first byte << 8 | before the second << 9, or RARE.
RARE = 1 << 15
PAIR_SECOND, PAIR_CODES = 1024, 2048  # bytes into `pair`
PAIR_ENTRIES = PAIR_CODES + 4 * (1 << 16)
MAX_PAIR_STATES = 256
MAX_PAIR_BYTES = 1 << 17
# An entry of `step`: next state | boundary before this character << 16, or where the match ended earlier:
BACK_ONE = 1 << 30  # one character earlier, whatever the characters were
BACK = 1 << 31  # somewhere; walk again from the beginning of the word


# Bytes of text for which it pays to look for tables of windows, and to make them
SOME_TEXT, MUCH_TEXT = 1 << 18, 1 << 23


class Walk(NamedTuple):
    """An automaton's tables, fused for the walk. `width` is classes + 1; the state after the last is the fresh one."""

    klass: U8s  # uint8[256], class of an ASCII byte; of 0xFF: that of end of text
    page: U16s  # uint16[0x110000 >> 7]
    member: U8s  # uint8[pages * 128]
    # uint8[]: first uint32[256], second uint32[256], both uint32[1 << 16], entries uint16[rows, states + 1];
    # the entries of two bytes a, b begin first[a] + second[b] bytes into `pair`, those of two codes both[a | b << 8]
    pair: U8s
    step: U32s  # uint32[(states + 1) * width], step[state * width + class]
    delta: U16s  # uint16[states * width]
    accept: U8s  # uint8[states * width]
    # uint8[width * width], (a, b): a word always ends between; the left part may be walked alone
    strong: U8s
    windows: U8s  # of `window_tables`, or empty


class Walks:
    """The tables of one automaton for any number of walks; those of windows come when there is so much text that they pay.

    Threads may share it.

    Args:
        automaton: a gapless automaton.

    Example:
        >>> from gputok.automaton import PATTERNS, compile_pattern
        >>> walks = Walks(compile_pattern(PATTERNS["gpt2"]))
        >>> len(walks.of(1000).windows)
        0
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton, self._walk, self._n_bytes = automaton, prepare(automaton), 0
        self._makers = (MUCH_TEXT, window_tables), (SOME_TEXT, ready_tables)

    def of(self, n_bytes: int) -> Walk:
        """Returns the tables for a walk over n_bytes more."""
        # If threads do the same at the same time, some bytes are not counted, or tables made twice: no result changes
        self._n_bytes += n_bytes
        while not len(self._walk.windows) and (makers := self._makers) and self._n_bytes >= makers[-1][0]:
            self._makers = makers[:-1]
            self._walk = self._walk._replace(windows=makers[-1][1](self._automaton))
        return self._walk


def prepare(automaton: Automaton, windows: np.ndarray = NO_TABLES) -> Walk:
    """The fused tables of a gapless `gputok.kernels.Automaton` (about a millisecond); windows: of `window_tables`."""
    if not automaton.gapless:
        raise ValueError(
            "only a gapless automaton can be walked in blocks: this one leaves characters unmatched"
        )
    n, width = automaton.delta.shape
    end, fresh = width - 1, n
    accepts = automaton.accept.astype(bool)
    dead = automaton.delta == DEAD
    restart = automaton.delta[0].astype(np.uint32)
    restart[end] = fresh

    step = np.where(dead, restart | np.uint32(1 << 16), automaton.delta.astype(np.uint32))
    unaccepted = dead & ~accepts
    entered, left_accepting = np.zeros(n, bool), np.ones(n, bool)
    entered[automaton.delta[~dead]] = True
    left_accepting[automaton.delta[~dead & ~accepts]] = False
    step = np.where(unaccepted, np.where((entered & left_accepting)[:, None], BACK_ONE, BACK), step)
    step = np.vstack([step, restart | np.uint32(1 << 16)]).astype(np.uint32)

    klass = np.zeros(256, np.uint8)
    klass[:128] = automaton.ascii_class
    klass[END_OF_TEXT] = end
    return Walk(
        klass,
        np.array(automaton.page, np.uint16),
        np.array(automaton.member, np.uint8).ravel(),
        _fuse_pairs(step, accepts, klass),
        step.ravel(),
        np.array(automaton.delta, np.uint16).ravel(),
        np.array(automaton.accept, np.uint8).ravel(),
        np.pad(automaton.strong, ((0, 1), (0, 1))).astype(np.uint8).ravel(),
        windows,
    )


def _fuse_pairs(step: np.ndarray, accepts: np.ndarray, klass: np.ndarray) -> np.ndarray:
    """`pair` of a Walk: the entry of two bytes is two steps, and perhaps one taken back."""
    n_states, width = step.shape  # the fresh state included
    # Behind the classes: the column of bytes that continue a character, and that of all other bytes
    k = width + 2
    index = np.full(256, k - 1)
    index[:128], index[END_OF_TEXT] = klass[:128], klass[END_OF_TEXT]
    of_code = index.copy()
    of_code[128:CLASS_CODE], of_code[CLASS_CODE : CLASS_CODE + width] = k - 2, np.arange(width)
    of_code[END_OF_TEXT] = klass[END_OF_TEXT]
    if (
        n_states > MAX_PAIR_STATES
        or k * k * n_states * 2 > MAX_PAIR_BYTES
        or CLASS_CODE + width > END_OF_TEXT
    ):
        nothing = np.zeros(256, np.int64)  # single steps everywhere
        return _joined(nothing, nothing, np.full(n_states, RARE), n_states)

    one = np.column_stack([step, np.arange(n_states, dtype=step.dtype)])  # [state, a]
    two = one[one & 0xFFFF]  # [state, a, b]; where `one` falls back, it is not looked at
    entry = (two & 0xFFFF) | (one >> 16 & 1)[:, :, None] << 8 | (two >> 16 & 1) << 9
    known = (one < BACK_ONE)[:, :, None] & (two < BACK_ONE)
    # Dead on b, but accepted before a: the boundary is there, and a begins the next word.
    again = one[one[-1] & 0xFFFF]  # [a, b]
    accepted = np.pad(accepts, ((0, 1), (0, 1)))
    retaken = ~known & (one >> 16 == 0)[:, :, None] & accepted[:, :, None] & (again < BACK_ONE)
    entry = np.where(retaken, (again & 0xFFFF) | 1 << 8 | (again >> 16 & 1) << 9, entry)

    entries = np.full((k, k, n_states), RARE)
    entries[:-1, :-1] = np.where(known | retaken, entry, RARE).transpose(1, 2, 0)
    return _joined(index, of_code, entries, n_states)


def _joined(index: np.ndarray, of_code: np.ndarray, entries: np.ndarray, n_states: int) -> np.ndarray:
    """One array, since the hot loop has no register to spare; rows in elements become places in bytes."""
    row, k = 2 * n_states, len(entries) if entries.ndim == 3 else 0
    first, second = index * k * row + PAIR_ENTRIES, index * row
    # [b, a]: of two codes side by side, the first is the lower byte of a number
    both = np.add.outer(of_code * row, of_code * k * row + PAIR_ENTRIES)
    tables = (table.astype(np.uint32) for table in (first, second, both))
    return np.concatenate([table.ravel().view(np.uint8) for table in (*tables, entries.astype(np.uint16))])


@kernel(inline=True)
def classify(text, p, klass, page, member):
    """(class, number of bytes) of the character at text[p]."""
    byte = np.uint64(text[p])
    if byte < np.uint64(0x80) or byte == np.uint64(END_OF_TEXT):
        return np.uint64(klass[byte]), U1
    code, size = decode_wide(text, p)
    row = np.uint64(page[code >> U7]) << U7
    return np.uint64(member[row | code & np.uint64(0x7F)]), size


@kernel(inline=True)
def match_end(text, p, tables):
    """The end of the match that begins at text[p], by the plain walk: the last position that accepts."""
    klass, page, member, delta, accept, _, width, _ = tables
    state, found = U0, p
    while state != np.uint64(DEAD):
        c, size = classify(text, p, klass, page, member)
        if accept[state * width + c]:
            found = p
        state = np.uint64(delta[state * width + c])
        p += size
    return found


@kernel(inline=True)
def strong_cut_before(text, begin, end, walk):
    """The last position in (begin, end] of text with a strong cut at it, or `begin`; a character begins at `end`."""
    klass, page, member = view(walk.klass), view(walk.page), view(walk.member)
    strong, width = view(walk.strong), np.uint64(len(walk.step) - len(walk.delta))
    if end <= begin:
        return begin
    right, _ = classify(text, end, klass, page, member)
    while True:
        before = character_before(text, end)
        if before < begin:
            return begin
        left, _ = classify(text, before, klass, page, member)
        if strong[left * width + right]:
            return end
        if before == begin:
            return begin
        end, right = before, left


@kernel(inline=True)
def last_strong_cut(data, begin, end, walk):
    """The last strong cut in (begin, end], or begin; both are positions in `data`."""
    while data[end] & np.uint8(0xC0) == np.uint8(0x80):
        end -= 1
    return np.int64(strong_cut_before(data, np.uint64(begin), np.uint64(end), walk))


@kernel(inline=True)
def _entry(text, p, state, pair):
    """The entry of the two bytes at text[p]."""
    row = np.uint64(view(pair, np.uint32)[text[p]])
    row += np.uint64(view(tail(pair, PAIR_SECOND), np.uint32)[text[p + U1]])
    return np.uint64(view(tail(pair, row), np.uint16)[state])  # nothing but this load waits for the state


@kernel(inline=True)
def _entry_of_codes(codes, p, state, pair):
    """The entry of the two codes at codes[p]; one load finds it, for a block of text is worth a table of 256 KB."""
    row = np.uint64(view(tail(pair, PAIR_CODES), np.uint32)[load_u16(codes, p)])
    return np.uint64(view(tail(pair, row), np.uint16)[state])


@kernel(inline=True)
def _note(entry, p, bounds, n_bounds):
    """Notes which of the two bytes at p begins a word: (state behind them, words so far)."""
    bounds[n_bounds] = p  # stored always, and kept where the bit says so
    n_bounds += entry >> U8 & U1
    bounds[n_bounds] = p + U1
    return entry & np.uint64(0xFF), n_bounds + (entry >> np.uint64(9))


@kernel(inline=True)
def put_codes(text, n, walk, codes):
    """Writes the codes of text[:n + 1], a block; whether a character has several bytes. Both have MARGIN bytes more.

    Without such a character, nothing is written.
    """
    page, member = view(walk.page), view(walk.member)
    p, end = U0, n + U1
    while p < end and not _several(text, p, end):
        p += U64
    if p >= end:
        return False
    copy(codes, U0, text, U0, p)
    while p < end:
        copy(codes, p, text, p, U64)
        leads = _several(text, p, end)
        while leads:
            at = p + trailing_zeros(leads)
            leads &= leads - U1
            code, _ = decode_wide(text, at)
            row = np.uint64(page[code >> U7]) << U7
            codes[at] = np.uint8(CLASS_CODE) + member[row | code & np.uint64(0x7F)]
        p += U64
    return True


@kernel(inline=True)
def _several(text, p, end):
    """A bit for each of 64 bytes that begins a character of several bytes and lies before `end`."""
    leads = bytes_at_least(text, p, np.uint8(0xC0)) & ~equal_bytes(text, p, np.uint8(END_OF_TEXT))
    return leads if end - p >= U64 else leads & ((U1 << (end - p)) - U1)


@kernel(inline=True)
def _step_behind(text, p, n, state, bounds, n_bounds, tables):
    """Takes a single step where a pair can't: (p, state, words so far)."""
    klass, page, member, _, _, step, width, fresh = tables
    while p < n and text[p] & np.uint8(0xC0) == np.uint8(0x80):  # the pair began within a character
        p += U1
    if p < n:
        c, size = classify(text, p, klass, page, member)
        entry = np.uint64(step[state * width + c])
        if entry < np.uint64(BACK_ONE):
            bounds[n_bounds] = p
            return p + size, entry & np.uint64(0xFFFF), n_bounds + (entry >> np.uint64(16))
        if entry < np.uint64(BACK):
            p = character_before(text, p)
        else:
            p = match_end(text, np.uint64(bounds[n_bounds - U1]), tables)
        state = fresh
    return p, state, n_bounds


@kernel(inline=True)
def _single_steps(text, p, n, state, bounds, n_bounds, tables):
    """Walks a character at a time until the text is ASCII again: (p, state, words so far)."""
    klass, page, member, _, _, step, width, fresh = tables
    while p < n:
        c, size = classify(text, p, klass, page, member)
        entry = np.uint64(step[state * width + c])
        if entry < np.uint64(BACK_ONE):
            bounds[n_bounds] = p
            n_bounds += entry >> np.uint64(16)
            state = entry & np.uint64(0xFFFF)
            p += size
        else:
            if entry < np.uint64(BACK):
                p = character_before(text, p)
            else:
                p = match_end(text, np.uint64(bounds[n_bounds - U1]), tables)
            state = fresh
        if text[p] < np.uint8(0x80):
            break
    return p, state, n_bounds


@kernel(inline=True)
def walk_rest(text, p, stop, state, pair, bounds, n_bounds, tables):
    """Walks text[p:stop] from a state on, and notes in bounds[n_bounds:] where words begin.

    Returns the number of words so far. A byte behind `stop` may have been stepped over, and noted as a word, as well.
    """
    while p < stop:
        while p < stop:
            entry = _entry(text, p, state, pair)
            if entry >= np.uint64(RARE):
                break
            state, n_bounds = _note(entry, p, bounds, n_bounds)
            p += U2
        p, state, n_bounds = _single_steps(text, p, stop, state, bounds, n_bounds, tables)
    return n_bounds


@kernel(inline=True)
def _by_windows(text, n, windows, tables, bounds, codes):
    """`walk_block` by windows: the automaton walks only where these leave it unknown. 0 if that is too often.

    Bounds: `done` is a place where a word surely begins, and grows; a word is noted at most once for each place, and up to
    FEW more are stored.
    """
    for i in range(PLACE_OF_FIRST):
        codes[i] = np.uint8(NO_ASCII)
    n_others, most, p = U0, n >> U6, U0
    while p <= n:
        n_others += count_ones(put_classes(text, p, codes, p + PLACE_OF_FIRST, windows))
        if n_others > most:
            return U0
        p += U64
    done, n_bounds, p = U0, U1, U0
    bounds[U0] = U0
    while p < n:
        first = p + PLACE_OF_FIRST - np.uint64(BEFORE)
        begins, unknown = window_masks(codes, first, windows, np.uint64(TERM_SETS))
        inside = ALL if n - p >= U64 else (U1 << (n - p)) - U1
        inside &= _behind(done, p)
        begins &= inside & ~unknown
        unknown &= inside
        while not likely(unknown == U0):
            at = trailing_zeros(unknown)
            n_bounds = _note_bits(begins & ((U1 << at) - U1), p, bounds, n_bounds)
            done = np.uint64(bounds[n_bounds - U1])
            while done < p + at:
                done = done + U1 if text[done] == np.uint8(END_OF_TEXT) else match_end(text, done, tables)
                bounds[n_bounds] = done
                n_bounds += U1
            rest = _behind(done, p)
            begins &= rest
            unknown &= rest
        n_bounds = _note_bits(begins, p, bounds, n_bounds)
        p += U64
    n_bounds -= np.uint64(bounds[n_bounds - U1] == n)
    bounds[n_bounds] = n
    return n_bounds


@kernel(inline=True)
def _behind(done, p):
    """A bit for each of the 64 places from p on that lies behind the place `done`."""
    if likely(done < p):
        return ALL
    return ALL << (done - p + U1) if done - p < U63 else U0


@kernel(inline=True)
def _note_bits(bits, p, bounds, n_bounds):
    """Notes the places from p on that have a bit; the number of words now. FEW are stored, however many they are."""
    n = n_bounds + count_ones(bits)
    for i in range(FEW):
        bounds[n_bounds + i] = p + trailing_zeros(bits)
        bits &= bits - U1
    at = n_bounds + FEW
    while bits:
        bounds[at] = p + trailing_zeros(bits)
        bits &= bits - U1
        at += U1
    return n


@kernel
def walk_block(text, n, walk, bounds, codes):
    """Writes where each word of a block begins, in order, then n, and returns the number of words.

    text: uint8[n + 1 + MARGIN], n at most 2^32, documents with END_OF_TEXT after each, and one more such byte behind.
    bounds: uint32[n + 1 + MARGIN]. Word i is text[bounds[i]:bounds[i + 1]]; each END_OF_TEXT is one. codes: memory like `text`.

    The halves of the block are walked side by side: each step waits for the state of the step before, and two waiting walks
    take hardly longer than one.
    """
    pair, width = view(walk.pair), np.uint64(len(walk.step) - len(walk.delta))
    fresh = np.uint64(len(walk.delta)) // width
    characters = view(walk.klass), view(walk.page), view(walk.member)
    tables = (*characters, view(walk.delta), view(walk.accept), view(walk.step), width, fresh)
    if len(walk.windows) > 0:
        n_words = _by_windows(text, n, view(walk.windows), tables, bounds, codes)
        if n_words:
            return n_words
    if not put_codes(text, n, walk, codes):
        codes = text
    half = np.uint64(last_strong_cut(text, 0, np.int64(n >> U1), walk))
    p, state, n_bounds = U0, fresh, U0
    # Behind the bounds of the first half lie those of the second, until they are moved
    first_later = half + U2
    q, later_state, n_later = half, fresh, first_later
    while p < half and q < n:
        # Few names, which all have a register: most of the time goes here
        stop = p + min(half - p + U1 & ~U1, n - q + U1 & ~U1)
        while p < stop:
            entry = _entry_of_codes(codes, p, state, pair)
            later_entry = _entry_of_codes(codes, q, later_state, pair)
            if not likely((entry | later_entry) < np.uint64(RARE)):
                if entry >= np.uint64(RARE):
                    p, state, n_bounds = _step_behind(text, p, half, state, bounds, n_bounds, tables)
                else:
                    q, later_state, n_later = _step_behind(text, q, n, later_state, bounds, n_later, tables)
                break
            state, n_bounds = _note(entry, p, bounds, n_bounds)
            later_state, n_later = _note(later_entry, q, bounds, n_later)
            p += U2
            q += U2
    # One of them is done: what is left of the other goes on alone, under the names of the first
    of_first = p < half
    stop = half if of_first else n
    if not of_first:
        p, state, n_bounds, n_later = q, later_state, n_later, n_bounds
    while p < stop:
        entry = _entry_of_codes(codes, p, state, pair)
        if entry < np.uint64(RARE):
            state, n_bounds = _note(entry, p, bounds, n_bounds)
            p += U2
        else:
            p, state, n_bounds = _step_behind(text, p, stop, state, bounds, n_bounds, tables)
    if not of_first:
        n_bounds, n_later = n_later, n_bounds
    # a byte behind either may have been stepped over as well
    n_bounds -= U1 if n_bounds > U0 and bounds[n_bounds - U1] == np.uint32(half) else U0
    n_later -= U1 if bounds[n_later - U1] == np.uint32(n) else U0
    for i in range(first_later, n_later):
        bounds[n_bounds] = bounds[i]
        n_bounds += U1
    bounds[n_bounds] = n
    return n_bounds


def slice_text(data: np.ndarray, offsets: np.ndarray, n_bytes: int, walk: Walk) -> np.ndarray:
    """Cuts text into slices of about n_bytes that can be counted separately: the ascending cuts, int64[slices + 1].

    data: uint8[n]; offsets: int64[d + 1]. The cuts lie between documents, or at strong cuts inside of long ones; a
    document without any stays whole.
    """
    cuts, stop = [int(offsets[0])], int(offsets[-1])
    while cuts[-1] < stop:
        at, cut = cuts[-1], cuts[-1] + n_bytes
        if cut >= stop:
            cut = stop
        else:
            # the last that begins no later than `cut`
            document = int(np.searchsorted(offsets, cut, "right")) - 1
            half = at + n_bytes // 2
            if offsets[document] > half:
                cut = int(offsets[document])
            else:
                strong = _last_strong_cut(pointer(data), half, cut, walk)
                cut = strong if strong > half else int(offsets[document + 1])
        cuts.append(cut)
    return np.array(cuts, np.int64)


@kernel(i64, i64, i64, Walk)
def _last_strong_cut(data, begin, end, walk):
    return last_strong_cut(view(data, np.uint8), begin, end, walk)


@kernel(inline=True)
def fill_block(data, offsets, document, begin, stop, walk, block, n_block):
    """Copies data[begin:stop] into a block, uint8[n_block], as far as whole documents go, with END_OF_TEXT after each.

    Returns (the bytes copied, the bytes of the block, the last document). A document that is longer than the block is
    copied up to a strong cut; if the block contains no strong cut, 0 bytes are copied. `offsets[document] <= begin`.
    """
    room = n_block - MARGIN
    at, n = begin, 0
    while at < stop:
        while offsets[document + 1] <= at:
            document += 1
        end = min(offsets[document + 1], stop)
        if n + end - at >= room:
            if n:
                break
            stop = end = last_strong_cut(data, begin, begin + room - 1, walk)
        copy(block, n, data, at, end - at)
        n += end - at
        block[n] = END_OF_TEXT
        n += 1
        at = end
    block[n] = END_OF_TEXT
    return at - begin, n, document
