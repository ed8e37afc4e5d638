"""The walk of any text: a step takes two bytes, and two positions of the text advance side by side.

A step knows ASCII. So `put_codes` first writes *codes*: a copy of the text in which the first byte of each character of
several bytes is CLASS_CODE + the class of the character. A step over its other bytes leaves the state as it is. Codes
don't depend on the state of the walk, so no character waits for another one. Short texts are walked without codes: by
single steps from a *wide* character, one of several bytes, on, until the text is ASCII again (`walk_rest`).

Measured on one core of an x86-64 server, GPT-2's pattern: 260 MB/s for one byte a step, 880 for two, 1,190 at two
positions. On one core of an AMD EPYC (Zen 5), Llama 3's pattern, English: 1,450 MB/s at two positions, 1,650 if all
names of the loop have registers, 1,880 with one load for the row of two bytes instead of four.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U7, U8, U64
from gputok.kernels.cpu.primitives.memory import (
    bytes_at_least,
    copy,
    equal_bytes,
    likely,
    load_u16,
    tail,
    trailing_zeros,
    view,
)
from gputok.kernels.cpu.primitives.utf8 import character_before, decode_wide
from gputok.kernels.cpu.walk.matches import classify, last_strong_cut, match_end
from gputok.kernels.cpu.walk.tables import BACK, BACK_ONE, CLASS_CODE, END_OF_TEXT, PAIR_CODES, PAIR_SECOND, RARE


@kernel(inline=True)
def _entry(text, p, state, pair):
    """The entry in `pair` (see tables.py) of the two bytes at text[p]."""
    row = np.uint64(view(pair, np.uint32)[text[p]])
    row += np.uint64(view(tail(pair, PAIR_SECOND), np.uint32)[text[p + U1]])
    return np.uint64(view(tail(pair, row), np.uint16)[state])  # only this load waits for the state of the step before


@kernel(inline=True)
def _entry_of_codes(codes, p, state, pair):
    """The entry of the two codes at codes[p]: one load finds its row, in a table of 256 KB that pays for a block."""
    row = np.uint64(view(tail(pair, PAIR_CODES), np.uint32)[load_u16(codes, p)])
    return np.uint64(view(tail(pair, row), np.uint16)[state])


@kernel(inline=True)
def _note(entry, p, bounds, n_bounds):
    """Notes which of the two bytes at p begin a word: (state after them, words so far)."""
    bounds[n_bounds] = p  # written without a branch: if no word begins there, the next write replaces it
    n_bounds += entry >> U8 & U1
    bounds[n_bounds] = p + U1
    return entry & np.uint64(0xFF), n_bounds + (entry >> np.uint64(9))


@kernel(inline=True)
def put_codes(text, n, walk, codes):
    """Writes the codes of text[:n + 1] if it has wide characters; returns whether. Both have MARGIN bytes more."""
    page, member = walk.page, walk.member
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
    """uint64 with a bit for each of 64 bytes from text[p] on that begins a character of several bytes before `end`."""
    leads = bytes_at_least(text, p, np.uint8(0xC0)) & ~equal_bytes(text, p, np.uint8(END_OF_TEXT))
    return leads if end - p >= U64 else leads & ((U1 << (end - p)) - U1)


@kernel(inline=True)
def _single_step(text, p, state, bounds, n_bounds, tables):
    """Steps over the character at text[p], or back to where the match ended: (p, state, words so far)."""
    klass, page, member, _, _, step, width, fresh = tables
    c, size = classify(text, p, klass, page, member)
    entry = np.uint64(step[state * width + c])
    if entry < np.uint64(BACK_ONE):
        bounds[n_bounds] = p
        return p + size, entry & np.uint64(0xFFFF), n_bounds + (entry >> np.uint64(16))
    if entry < np.uint64(BACK):
        return character_before(text, p), fresh, n_bounds
    return match_end(text, np.uint64(bounds[n_bounds - U1]), tables), fresh, n_bounds


@kernel(inline=True)
def _step_behind(text, p, n, state, bounds, n_bounds, tables):
    """Takes a single step where the entry of two bytes is RARE: (p, state, words so far)."""
    while p < n and text[p] & np.uint8(0xC0) == np.uint8(0x80):  # the two bytes begin within a character: to its end
        p += U1
    return _single_step(text, p, state, bounds, n_bounds, tables) if p < n else (p, state, n_bounds)


@kernel(inline=True)
def walk_rest(text, p, stop, state, pair, bounds, n_bounds, tables):
    """Walks text[p:stop] from a state on, and notes in bounds[n_bounds:] where words begin.

    text[stop - 1] is END_OF_TEXT, so that no match is undecided at `stop`. Returns the number of words so far. The last
    pair may have stepped over text[stop] too, and noted it as a word.
    """
    while p < stop:
        while p < stop:
            entry = _entry(text, p, state, pair)
            if entry >= np.uint64(RARE):
                break
            state, n_bounds = _note(entry, p, bounds, n_bounds)
            p += U2
        while p < stop:  # until the text is ASCII again
            p, state, n_bounds = _single_step(text, p, state, bounds, n_bounds, tables)
            if text[p] < np.uint8(0x80):
                break
    return n_bounds


@kernel(inline=True)
def _settle(text, p, cut, state, bounds, n_bounds, tables):
    """Walks on to the strong cut at text[cut], until the words before the cut are known; returns the words so far.

    No word reaches over the cut, but the last match may have ended before the cut. If GPT-2's pattern, which has `'ll`,
    has read `'l` and a space follows, the match is `'`, and `l` begins another word. At the end of a text END_OF_TEXT
    tells this; here the character after the cut does.
    """
    klass, page, member, _, _, step, width, fresh = tables
    while p <= cut:
        c, size = classify(text, p, klass, page, member)
        entry = np.uint64(step[state * width + c])
        if entry >= np.uint64(BACK_ONE):  # the match ended earlier, and the next word begins there
            p = match_end(text, np.uint64(bounds[n_bounds - U1]), tables)
            state = fresh
        elif p == cut:
            break
        else:
            bounds[n_bounds] = p
            n_bounds += entry >> np.uint64(16)
            state = entry & np.uint64(0xFFFF)
            p += size
    return n_bounds


@kernel
def walk_pairs(text, n, walk, tables, bounds, codes):
    """`walk_block` for any text.

    The halves of the block are walked side by side: each step waits for the one before, and two waiting walks take
    hardly longer than one. A strong cut lies between them, so that no walk of the first half goes on over the first
    character of the second, which stands for the end of text of the first half (`_settle`).
    """
    pair, fresh = walk.pair, tables[-1]
    if not put_codes(text, n, walk, codes):
        codes = text
    half = np.uint64(last_strong_cut(text, 0, np.int64(n >> U1), walk))
    p, state, n_bounds = U0, fresh, U0
    # The bounds of the second half lie behind the memory for those of the first, until they are moved at the end
    first_later = half + U2
    q, later_state, n_later = half, fresh, first_later
    while p < half and q < n:
        # Few variables, so that each has a register: most of the time goes here
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
    # One half is done: the rest of the other half is walked alone, by the variables of the first half
    of_first, first_end, first_state = p < half, p, state
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
        p, state, n_bounds, n_later = first_end, first_state, n_later, n_bounds
    # If the last pair of bytes reached over the cut, the words before it are known, and `_settle` changes nothing
    n_bounds = _settle(text, p, half, state, bounds, n_bounds, tables)
    # The last pair of either half may have noted the byte after that half as a word: this is taken back
    n_bounds -= U1 if n_bounds > U0 and bounds[n_bounds - U1] == np.uint32(half) else U0
    n_later -= U1 if bounds[n_later - U1] == np.uint32(n) else U0
    for i in range(first_later, n_later):
        bounds[n_bounds] = bounds[i]
        n_bounds += U1
    bounds[n_bounds] = n
    return n_bounds
