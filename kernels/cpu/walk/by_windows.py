"""The walk by windows of five or six bytes (see windows.py): 64 bytes are looked at together.

The automaton walks only where a window leaves it unknown whether a word begins. Measured on one core of an AMD EPYC
(Zen 4), AVX2, for the patterns of GPT-2, Llama 3 and Qwen: English 2.7, 2.1 and 2.4 GB/s, code 2.5, 2.0 and 2.4; by
pairs 1.1 to 1.3. At 2.7 GB/s, 30 % of the time goes to the classes of bytes, a third to the windows, and 15 % to the
positions of bits.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U3, U6, U7, U8, U16, U63, U64
from gputok.kernels.cpu.primitives.memory import (
    bytes_at_least,
    likely,
    put_classes,
    put_positions,
    trailing_zeros,
    wide_window_masks,
    window_masks,
    window_masks_of_24,
)
from gputok.kernels.cpu.primitives.utf8 import decode_wide
from gputok.kernels.cpu.walk.matches import match_end
from gputok.kernels.cpu.walk.tables import END_OF_TEXT
from gputok.kernels.cpu.walk.windows import BEFORE, END_CLASS, FORM, TERM_SETS, WIDE_CLASSES

PLACE_OF_FIRST = U8  # the index in `codes` of the class of a block's first byte: windows begin before it
MANY = U64  # the most words that the automaton walks, and one more for each 64 bytes of text
FEW = U16  # the most characters without a class of windows, and one more for each 64 bytes of text


@kernel
def walk_windows(text, n, windows, tables, bounds, codes):
    """`walk_block` by windows; the automaton walks only where a window leaves it unknown whether a word begins.

    Returns 0 if characters without a class of windows, or walked words, are so many that the walk by pairs is faster.
    That walk does not depend on what was written until then.

    Where a window leaves it unknown, `match_end` walks from the last known beginning of a word, as far as the automaton
    has to look. So no match is ever undecided. It finds the same beginnings of words that windows tell.

    No index is out of bounds: `done` is a byte where a word surely begins, and grows. It stays below n, since the byte
    before n is END_OF_TEXT, a word of its own. A word is noted at most once for each byte, and up to eight elements
    more are written. Only characters that begin before n are decoded.
    """
    for i in range(PLACE_OF_FIRST):
        codes[i] = np.uint8(END_CLASS)  # the walk begins as after an end of text
    n_unclear, leads, any_wide, p = U0, U0, U0, U0
    while p <= n + U1:  # a window has up to two bytes after the one that it tells about
        wide = put_classes(text, p, codes, p + PLACE_OF_FIRST, windows)
        # Only now: wide characters that begin in the 64 bytes before may end in these, whose classes were just written
        n_unclear += _put_wide(text, leads, p - U64, codes, windows, tables)
        if n_unclear > FEW + (p >> U6):
            return U0
        leads = U0
        if wide != U0 and p < n:
            leads = wide & bytes_at_least(text, p, np.uint8(0xC0))
            leads = leads if n - p >= U64 else leads & ((U1 << (n - p)) - U1)
            any_wide |= leads
        p += U64
    _put_wide(text, leads, p - U64, codes, windows, tables)
    # A loop for each form, in which the tables stay in registers: one loop for two took 25 % longer to count English
    if windows[FORM] == np.uint8(0):
        return _note_begins(text, n, windows, tables, bounds, codes, any_wide, 0)
    if windows[FORM] == np.uint8(1):
        return _note_begins(text, n, windows, tables, bounds, codes, any_wide, 1)
    return _note_begins(text, n, windows, tables, bounds, codes, any_wide, 2)


@kernel(inline=True)
def _put_wide(text, leads, first, codes, windows, tables):
    """Writes the classes of the wide characters at `first` + each bit of `leads`; returns how many have no class."""
    page, member, n_unclear = tables[1], tables[2], U0
    while leads != U0:
        at = first + trailing_zeros(leads)
        leads &= leads - U1
        code, size = decode_wide(text, at)
        row = np.uint64(page[code >> U7]) << U7
        of_automaton = np.uint64(member[row | code & np.uint64(0x7F)])
        of_windows = windows[np.uint64(WIDE_CLASSES) + of_automaton]
        n_unclear += np.uint64(of_windows) >> U7
        at += PLACE_OF_FIRST
        codes[at] = of_windows
        codes[at + U1] = of_windows
        if size > U2:  # not a loop: LLVM would make a call of memset of it
            codes[at + U2] = of_windows
            if size > U3:
                codes[at + U3] = of_windows
    return n_unclear


@kernel(inline=True)
def _note_begins(text, n, windows, tables, bounds, codes, any_wide, form):
    """The second pass of `walk_windows`, for a form of `walk.windows.FORMS`; any_wide: 0 if all is ASCII."""
    done, n_bounds, n_walked, p = U0, U1, U0, U0
    bounds[U0] = U0
    while p < n:
        first = p + PLACE_OF_FIRST - np.uint64(BEFORE)
        if form == 0:
            begins, unknown = window_masks(codes, first, windows, np.uint64(TERM_SETS))
        elif form == 1:
            begins, unknown = wide_window_masks(codes, first, windows, np.uint64(TERM_SETS))
        else:
            begins, unknown = window_masks_of_24(codes, first, windows, np.uint64(TERM_SETS))
        inside = ALL if n - p >= U64 else (U1 << (n - p)) - U1
        inside &= _behind(done, p)
        if any_wide != U0:  # no word begins within a character
            inside &= bytes_at_least(text, p, np.uint8(0xC0)) | ~bytes_at_least(text, p, np.uint8(0x80))
        begins &= inside & ~unknown
        unknown &= inside
        while not likely(unknown == U0):
            at = trailing_zeros(unknown)
            n_bounds = put_positions(begins & ((U1 << at) - U1), p, bounds, n_bounds)
            done = np.uint64(bounds[n_bounds - U1])
            while done < p + at:
                done = done + U1 if text[done] == np.uint8(END_OF_TEXT) else match_end(text, done, tables)
                bounds[n_bounds] = done
                n_bounds += U1
                n_walked += U1
            if n_walked > MANY + (p >> U6):
                return U0
            rest = _behind(done, p)
            begins &= rest
            unknown &= rest
        n_bounds = put_positions(begins, p, bounds, n_bounds)
        p += U64
    bounds[n_bounds] = n
    return n_bounds


@kernel(inline=True)
def _behind(done, p):
    """Bit i is set if p + i lies after `done`, for 64 bytes from p on."""
    if likely(done < p):
        return ALL
    return ALL << (done - p + U1) if done - p < U63 else U0
