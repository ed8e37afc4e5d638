"""The walk by two ASCII bytes a step, at two positions side by side.

A character of several bytes becomes codes first: CLASS_CODE + its class for the first byte; the others are steps that
change nothing. That needs no state, so that characters don't wait for each other. Short texts are walked without codes,
by single steps until they are ASCII again.

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
    """Notes which of the two bytes at p begins a word: (state after them, words so far)."""
    bounds[n_bounds] = p  # stored always, and kept where the bit says so
    n_bounds += entry >> U8 & U1
    bounds[n_bounds] = p + U1
    return entry & np.uint64(0xFF), n_bounds + (entry >> np.uint64(9))


@kernel(inline=True)
def put_codes(text, n, walk, codes):
    """Writes the codes of text[:n + 1], if it has a wide character; whether it has. Both have MARGIN bytes more."""
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
    """A bit for each of 64 bytes that begins a character of several bytes and lies before `end`."""
    leads = bytes_at_least(text, p, np.uint8(0xC0)) & ~equal_bytes(text, p, np.uint8(END_OF_TEXT))
    return leads if end - p >= U64 else leads & ((U1 << (end - p)) - U1)


@kernel(inline=True)
def _single_step(text, p, state, bounds, n_bounds, tables):
    """Takes a single step: (p, state, words so far)."""
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
    """Takes a single step where a pair can't: (p, state, words so far)."""
    while p < n and text[p] & np.uint8(0xC0) == np.uint8(0x80):  # the pair began within a character
        p += U1
    return _single_step(text, p, state, bounds, n_bounds, tables) if p < n else (p, state, n_bounds)


@kernel(inline=True)
def walk_rest(text, p, stop, state, pair, bounds, n_bounds, tables):
    """Walks text[p:stop] from a state on, and notes in bounds[n_bounds:] where words begin.

    text[stop - 1] is END_OF_TEXT, so that no match is undecided at `stop`. Returns the number of words so far. A byte
    after `stop` may have been stepped over, and noted as a word, as well.
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
    """Walks on to the strong cut at text[cut], until the words before the cut are known: the number of words so far.

    At the cut no walk goes on, but a match may have ended before it: GPT-2's `'ll` after `'l`, where `é` follows, is
    `'`, and `l` begins another word. At the end of a text END_OF_TEXT tells this; here the next character does.
    """
    klass, page, member, _, _, step, width, fresh = tables
    while p <= cut:
        c, size = classify(text, p, klass, page, member)
        entry = np.uint64(step[state * width + c])
        if entry >= np.uint64(BACK_ONE):  # the match ended before, and the next begins there
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
    # After the bounds of the first half lie those of the second, until they are moved
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
    # If a pair of bytes reached over the cut, it has told what the first half's last word is
    n_bounds = _settle(text, p, half, state, bounds, n_bounds, tables)
    # a byte after either may have been stepped over as well
    n_bounds -= U1 if n_bounds > U0 and bounds[n_bounds - U1] == np.uint32(half) else U0
    n_later -= U1 if bounds[n_later - U1] == np.uint32(n) else U0
    for i in range(first_later, n_later):
        bounds[n_bounds] = bounds[i]
        n_bounds += U1
    bounds[n_bounds] = n
    return n_bounds
