"""From the bytes of words to symbols: counting characters, and writing each word as the ids of its characters.

A character has a *role* in its word, since a prefix or a suffix changes its token: bit 0 is set unless the character is the
first, bit 1 if the character is the last. Without affixes the only role is 0.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.cpu.primitives.utf8 import character
from gputok.kernels.signatures import U16orU32, boolean, i32, i64, u8


@kernel(inline=True)
def _number(data, i, byte_level):
    """(number, bytes) of the character at data[i]: its code point, or the byte itself if bytes stand for characters."""
    return (np.int64(data[i]), np.int64(1)) if byte_level else character(data, i)


@kernel(inline=True)
def _role(n_roles, first, last):
    return 0 if n_roles == 1 else (0 if first else 1) + (2 if last else 0)


@kernel(u8[:], i64[:], i64[:], boolean, i64[:, :])
def _count_characters(data, offsets, counts, byte_level, totals):
    text, n_roles = view(data), totals.shape[1]
    for word in range(len(counts)):
        i, end = offsets[word], offsets[word + 1]
        first = True
        while i < end:
            number, n = _number(text, i, byte_level)
            i += n
            totals[number, _role(n_roles, first, i == end)] += counts[word]
            first = False


@kernel(u8[:], i64[:], i32[:, :], boolean, U16orU32, i64[:])
def _spell_words(data, offsets, ids, byte_level, symbols, symbol_offsets):
    text, n_roles = view(data), ids.shape[1]
    at = 0
    for word in range(len(offsets) - 1):
        i, end = offsets[word], offsets[word + 1]
        first = True
        while i < end:
            number, n = _number(text, i, byte_level)
            i += n
            token = ids[number, _role(n_roles, first, i == end)]
            first = False
            if token >= 0:
                symbols[at] = token
                at += 1
        symbol_offsets[word + 1] = at


def count_characters(
    data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, *, byte_level: bool, n_roles: int
) -> np.ndarray:
    """Counts each character in each role, weighted by the counts of the words: int64[characters, n_roles].

    Rows are code points, or bytes with byte_level. The number of rows fits the largest character of the text.
    """
    highest = int(data.max()) if len(data) else 0
    rows = 0x80 if highest < 0x80 else 0x800 if highest < 0xE0 else 0x10000 if highest < 0xF0 else 0x110000
    totals = np.zeros((256 if byte_level else rows, n_roles), np.int64)
    _count_characters(data, offsets, counts, byte_level, totals)
    return totals


def spell_words(
    data: np.ndarray, offsets: np.ndarray, ids: np.ndarray, *, byte_level: bool, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """Writes words as symbols: (symbols dtype[m], offsets int64[u + 1]).

    ids: int32[characters, roles], the symbol of each character in each role; -1: the character is left out.
    """
    if byte_level and ids.shape[1] == 1 and ids.min() >= 0:
        return ids[:, 0].astype(dtype)[data], offsets
    symbols, symbol_offsets = np.empty(len(data), dtype), np.zeros(len(offsets), np.int64)
    _spell_words(data, offsets, ids, byte_level, symbols, symbol_offsets)
    return symbols[: symbol_offsets[-1]], symbol_offsets
