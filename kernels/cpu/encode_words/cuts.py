"""Where a word is cut before its merges: at edges of characters that no token crosses."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import NONE, rank_of
from gputok.kernels.cpu.primitives.constants import NO_ASCII, U0, U1, U8
from gputok.kernels.cpu.primitives.memory import load_u64
from gputok.kernels.cpu.primitives.utf8 import decode, width


@kernel(inline=True)
def next_cut(text, at, end, inside, crossing, by_byte):
    """The first edge after `at` that no token crosses, or `end`.

    A token that crosses an edge contains the two characters there side by side, or, if bytes are symbols, ends or begins
    within one of them. Most words are ASCII and are rarely cut, so that with bytes only other characters are tested.
    """
    left, left_byte = U0, np.uint64(text[at])
    p = at
    while p < end:
        lead = text[p]
        size = np.uint64(width(lead)) if lead >= np.uint8(0xC0) else U1
        if p + size > end:
            return end
        right = decode(text, p)[0]
        if p > at and (not by_byte or (left >= np.uint64(0x80) and right >= np.uint64(0x80))):
            if not crossing[left_byte << U8 | np.uint64(lead)]:
                if rank_of(inside, left, right) == NONE:
                    return p
        p += size
        left, left_byte = right, np.uint64(text[p - U1])
    return end


@kernel(inline=True)
def is_ascii(text, at, end):
    """Whether text[at:end] is ASCII."""
    bits = U0
    while at + U8 <= end:
        bits |= load_u64(text, at)
        at += U8
    while at < end:
        bits |= np.uint64(text[at])
        at += U1
    return bits & NO_ASCII == U0


@kernel(inline=True)
def all_known(text, at, end, symbols):
    """Whether each character has a symbol; symbols: uint32[0x110000]."""
    while at < end:
        code, size = decode(text, at)
        if symbols[code] == np.uint32(0):
            return False
        at += size
    return True
