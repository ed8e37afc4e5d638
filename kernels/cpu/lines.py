"""Finding the lines of a text, and checking that the text is UTF-8, in one pass over the bytes.

Reading a corpus touches each byte here for the first time. Two passes for the ends of lines and one for UTF-8 took most
of the time of reading. A vector has 64 bytes, and each test of it gives a bit for each byte, so that text that is not
ASCII takes at most twice the time.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U3, U62, U63
from gputok.kernels.cpu.primitives.memory import (
    bytes_at_least,
    count_ones,
    equal_bytes,
    prefetch,
    tail,
    trailing_zeros,
    view,
)
from gputok.kernels.signatures import i64, u64

_BLOCK = 64  # bytes of a vector
_NEWLINE = 10
# How many bytes before a block is checked its text is prefetched: on a virtual Xeon, which does not find out by itself
# what is read next, Chinese takes 3 times as long without.
AHEAD = 2048
_NEVER = 0xFF  # a byte that never occurs in UTF-8
_DECODED = 1 << 20  # bytes that are decoded at a time, to find the first one that is wrong
_ROOM = _BLOCK + 4  # line starts that a block can write at most
_BYTES_PER_LINE = 24  # a guess, for the first allocation
_WRITTEN, _AT, _BAD, _FOLLOW, _E0, _ED, _F0, _F4, _STATE = range(9)  # what `state` keeps when the kernel stops
_U61 = np.uint64(61)
NO_LIMITS = (U0, U0, U0, U0)  # no byte stands before the first byte of a text


def lines(data: np.ndarray, memory: Callable[[int], np.ndarray] | None = None) -> tuple[np.ndarray, bool]:
    r"""Finds where the lines of a text begin, and checks that the text is UTF-8.

    Args:
        data: uint8[n], contiguous, any bytes.
        memory: returns memory for a number of bytes, uint8[n_bytes], for the starts of lines. If lines are so short
            that it has too little room, or if this is None, the starts take new memory.

    Returns:
        int64[n_newlines + 1], 0 and the offset after each `\n`; and whether all of `data` is valid UTF-8: over-long
        forms, surrogates, code points past U+10FFFF and cut characters are not (table 3-7 of the Unicode standard).

    >>> offsets, is_valid = lines(np.frombuffer("né\n\nx".encode(), np.uint8))
    >>> offsets.tolist(), is_valid
    ([0, 4, 5], True)
    """
    return _starts(data, len(data) // _BYTES_PER_LINE, _NEWLINE, memory)


def is_utf8(data: np.ndarray) -> bool:
    """Whether all of data (uint8[n], contiguous) is valid UTF-8, by the rules of `lines`."""
    return _starts(data, 0, _NEVER)[1]


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index of the first byte that begins no valid character, as `UnicodeDecodeError.start`; -1: there is none."""
    at = len(data) if is_utf8(data) else 0
    while at < len(data):  # some of it at a time: a str takes up to four times the memory
        block = data[at : at + _DECODED]
        try:
            at += codecs.utf_8_decode(block, "strict", at + len(block) == len(data))[1]
        except UnicodeDecodeError as error:
            return at + error.start
    return -1


def _starts(
    data: np.ndarray, n_expected: int, mark: int, memory: Callable[[int], np.ndarray] | None = None
) -> tuple[np.ndarray, bool]:
    text, n_whole = (pointer(data), len(data), mark), len(data) // _BLOCK * _BLOCK
    room = n_expected + 2 * _ROOM
    starts = np.empty(room, np.int64) if memory is None else memory(8 * room).view(np.int64)
    state = np.zeros(_STATE + _BLOCK // 8, np.uint64)  # and the last block
    starts[0], state[_WRITTEN] = 0, 1
    while _lines(*text, starts, state) <= n_whole:
        n, at = int(state[_WRITTEN]), int(state[_AT])
        n_more = 9 * n * (n_whole - at) // (8 * max(at, 1)) + 2 * _ROOM  # a byte, 9/8 of the starts so far
        starts = np.append(starts[:n], np.empty(n_more, np.int64))
    return starts[: state[_WRITTEN]], not (state[_BAD] or state[_FOLLOW])


@kernel(i64, i64, i64, i64[:], u64[:])
def _lines(data, n_bytes, mark, starts, state):
    """Reads the n_bytes of `data` from where `state` is; a line ends at `mark`.

    A block has at most 64 starts, and four starts are written at a time: the kernel stops if `starts` has not _ROOM
    more elements. Returns the first byte that was not read; it lies after all whole blocks if all bytes were read.
    """
    text, last, n_whole = view(data, np.uint8), tail(view(state, np.uint8), 8 * _STATE), n_bytes // _BLOCK * _BLOCK
    for i in range(n_bytes - n_whole):  # after them lie zeros, which are ASCII, so that a cut character is found
        last[i] = text[n_whole + i]
    room, out, kept = np.int64(len(starts) - _ROOM), view(starts), view(state)
    n, at, is_bad = np.int64(kept[_WRITTEN]), np.int64(kept[_AT]), kept[_BAD]
    follow, limits = kept[_FOLLOW], (kept[_E0], kept[_ED], kept[_F0], kept[_F4])
    while at <= n_whole and n <= room:
        block, p = text if at < n_whole else last, at if at < n_whole else 0
        at += _BLOCK
        prefetch(text, at + AHEAD)
        marks = equal_bytes(block, p, np.uint8(mark))
        end, first = n + np.int64(count_ones(marks)), at + 1 - _BLOCK
        while n < end:  # mostly one turn: for lines of 16 bytes or more, the jump is easy to predict
            for i in range(4):
                out[n + i] = first + np.int64(trailing_zeros(marks))
                marks &= marks - U1
            n += 4
        n = end
        above = bytes_at_least(block, p, 0x80)
        if above | follow == 0:
            continue
        bad, follow, limits = check_block(block, p, follow, limits)
        is_bad |= bad
    kept[_WRITTEN], kept[_AT], kept[_BAD], kept[_FOLLOW] = np.uint64(n), np.uint64(at), is_bad, follow
    kept[_E0], kept[_ED], kept[_F0], kept[_F4] = limits
    return at


@kernel(inline=True)
def check_block(block, p, follow, limits):
    """Checks the UTF-8 of the 64 bytes from block[p] on.

    follow, limits: what the block before has returned, at first 0 and NO_LIMITS. Returns 1 if the block has a byte that
    is not UTF-8, else 0; a bit for each byte of the next block that must continue a character; and four numbers, which
    are 1 if the last byte of the block is E0, ED, F0 or F4: these set a lower or an upper limit for the next byte.
    """
    after_e0, after_ed, after_f0, after_f4 = limits
    above = bytes_at_least(block, p, 0x80)
    lead, lead3 = bytes_at_least(block, p, 0xC0), bytes_at_least(block, p, 0xE0)
    lead4 = bytes_at_least(block, p, 0xF0)
    must = lead << U1 | lead3 << U2 | lead4 << U3 | follow
    bad = must ^ above & ~lead
    bad |= (lead & ~bytes_at_least(block, p, 0xC2)) | bytes_at_least(block, p, 0xF5)
    e0, ed = equal_bytes(block, p, 0xE0), equal_bytes(block, p, 0xED)
    f0, f4 = equal_bytes(block, p, 0xF0), equal_bytes(block, p, 0xF4)
    high, middle = bytes_at_least(block, p, 0xA0), bytes_at_least(block, p, 0x90)
    bad |= _unlike(high, e0 << U1 | after_e0, ed << U1 | after_ed)
    bad |= _unlike(middle, f0 << U1 | after_f0, f4 << U1 | after_f4)
    follow = lead >> U63 | lead3 >> U62 | lead4 >> _U61
    # One bit, not 64: of 64 bits from turn to turn, LLVM would carry each in a byte of its own
    return np.uint64(bad != U0), follow, (e0 >> U63, ed >> U63, f0 >> U63, f4 >> U63)


@kernel(inline=True)
def _unlike(bits, ones, zeros):
    """The bits that are 0 but must be 1 (as `ones` says), or 1 but must be 0 (`zeros`).

    If this was written as `ones & ~bits | zeros & bits`, LLVM would put each of 64 bits into a vector by itself.
    """
    return ones ^ ((ones ^ zeros) & bits)
