"""From bytes to symbols: counting characters, and writing words as the ids of their characters, whole or cut.

A character has a *role* in its word, since a prefix or a suffix changes its token: bit 0 is set unless the character is
the first, bit 1 if the character is the last. Without affixes the only role is 0.
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


@kernel(u8[:], i64[:], i64[:], i32[:], u8[:], (i64, i64), U16orU32, i64[:], i64[:], i64[:, :])
def _spell_cut_words(data, offsets, counts, ids, scripts, special, symbols, bounds, weights, doubts):
    text, (any_script, inherited) = view(data), special
    at = n_found = n_doubts = 0
    for word in range(len(counts)):
        i, end = offsets[word], offsets[word + 1]
        first, last, before_is_mark, before = at, any_script, False, np.int64(0)
        while i < end:
            # Valid UTF-8 has no code above 0x10FFFF, and ids and scripts have a row for each
            code, n = character(text, i)
            i += n
            token, script = ids[code], np.int64(scripts[code])
            is_mark = script == inherited
            if is_mark:
                script = last
            cut = token >= 0 and script != last and script != any_script and last != any_script
            if cut and before_is_mark:
                doubts[n_doubts, 0], doubts[n_doubts, 1] = before << 21 | code, counts[word]
                n_doubts += 1
            if cut or token < 0:
                at, n_found = _end_sequence(first, at, counts[word], bounds, weights, n_found)
                first = at
            last, before_is_mark, before = script, is_mark, code
            if token < 0:
                last, before_is_mark = any_script, False
                continue
            symbols[at] = token
            at += 1
        at, n_found = _end_sequence(first, at, counts[word], bounds, weights, n_found)
    return n_found, n_doubts


@kernel(inline=True)
def _end_sequence(first, at, count, bounds, weights, n_found):
    """Ends the sequence of symbols first:at, or drops its only symbol: (the next index, the number of sequences)."""
    if at < first + 2:
        return first, n_found
    bounds[n_found + 1] = at
    weights[n_found] = count
    return at, n_found + 1


def count_characters(
    data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, *, byte_level: bool, n_roles: int
) -> np.ndarray:
    """Counts each character in each role, weighted by the counts of the words: int64[characters, n_roles].

    Rows are code points, or bytes with byte_level. The number of rows fits the largest character of the text.
    """
    totals = np.zeros((256 if byte_level else _n_rows(data), n_roles), np.int64)
    _count_characters(data, offsets, counts, byte_level, totals)
    return totals


def _n_rows(data: np.ndarray) -> int:
    """A number above each code point: rows for all of Unicode took a sixth of the time of English WordPiece."""
    highest = int(data.max()) if len(data) else 0
    if highest < 0xE0:
        return 0x80 if highest < 0x80 else 0x800
    if highest < 0xF0:
        return (highest & 0xF) + 1 << 12
    # Where the largest characters begin; the byte after each has its next six bits
    leads = np.flatnonzero(data == highest)
    return min(((highest & 7) << 6 | int(data[leads + 1].max()) & 0x3F) + 1 << 12, 0x110000)


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


def spell_cut_words(
    data: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    ids: np.ndarray,
    scripts: np.ndarray,
    *,
    any_script: int,
    inherited: int,
    dtype: type,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Writes words of UTF-8 as sequences of symbols, cut at characters without a symbol and where the script changes.

    Args:
        data: uint8[n], the bytes of all words, valid UTF-8.
        offsets: int64[u + 1], where each word begins in them.
        counts: int64[u], how often each word occurs.
        ids: int32[0x110000], the symbol of each character; -1: there is none.
        scripts: uint8[0x110000], the script of each character.
        any_script: the script of characters that join any other.
        inherited: the script of marks, which take over the script before them in the sequence; -1: there are none.
        dtype: the type of symbols, uint16 or uint32.

    Returns:
        Symbols dtype[m]; the offsets of sequences in them, int64[s + 1]; how often each sequence occurs, int64[s]; and
        the doubtful pairs, int64[d, 2]: a mark and the character after it, between which a cut is
        (code << 21 | code), and the count of the word. Sequences of one symbol, where nothing merges, are left out.
    """
    n = len(data)
    # There are at most as many symbols as bytes, and a sequence has two or more of them; a doubtful pair has a mark of
    # two bytes or more: so n // 2 of each are enough
    symbols, bounds, weights = np.empty(n, dtype), np.zeros(n // 2 + 1, np.int64), np.empty(n // 2, np.int64)
    doubts = np.empty((n // 2, 2), np.int64)
    n_found, n_doubts = _spell_cut_words(
        data, offsets, counts, ids, scripts, (any_script, inherited), symbols, bounds, weights, doubts
    )
    bounds = bounds[: n_found + 1]
    return symbols[: bounds[-1]], bounds, weights[:n_found], doubts[:n_doubts]
