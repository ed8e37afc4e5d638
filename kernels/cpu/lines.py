"""Lines of text, and whether it is UTF-8, in one pass over the bytes.

Whoever reads a corpus looks at each byte here for the first time; asking the two questions one after the other
(`text.line_ends`, which needs two passes, and `text.find_invalid_utf8`) took most of the time of reading. Sixty-four
bytes are one vector, and each test of it is a word with a bit for each byte: so a text that is
not ASCII takes no more than twice the time.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import kernel
from .memory import count_ones, equal_bytes, load_u64, store_i64, store_u64, trailing_zeros
from .ragged import pointer

_BLOCK = 64  # bytes of a vector
_NEWLINE = 10
_NEVER = 0xFF  # a byte that no UTF-8 has
_ROOM = _BLOCK + 4  # of starts, that a block needs at most
_BYTES_PER_LINE = 24  # that room is made for at first
_WRITTEN, _AT, _BAD, _FOLLOW, _E0, _ED, _F0, _F4, _STATE = range(9)  # what the kernel keeps where it stops


def _mask(predicate: str):
    """An intrinsic (address, byte) -> uint64: bit i for the i-th byte at the address that compares so with `byte`."""

    @intrinsic
    def mask(typingctx, where, byte):
        def codegen(context, builder, signature, args):
            vector, i32 = ir.VectorType(ir.IntType(8), _BLOCK), ir.IntType(32)
            loaded = builder.load(builder.inttoptr(args[0], vector.as_pointer()))
            loaded.align = 1
            lane = builder.insert_element(ir.Constant(vector, ir.Undefined), args[1], ir.Constant(i32, 0))
            first = ir.Constant(ir.VectorType(i32, _BLOCK), [0] * _BLOCK)
            same = builder.icmp_unsigned(predicate, loaded, builder.shuffle_vector(lane, lane, first))
            return builder.bitcast(same, ir.IntType(_BLOCK))

        return types.uint64(types.uint64, types.uint8), codegen

    return mask


_at_least = _mask(">=")


def lines(data: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where the lines of a text begin, and whether it is UTF-8.

    Args:
        data: uint8[n], contiguous, any bytes.

    Returns:
        int64[n_newlines + 1], 0 and the offset after each `\\n`; and whether all of `data` is valid UTF-8, which a
        character that the end of `data` cuts is not. Over-long forms, surrogates and code points past U+10FFFF are
        invalid (table 3-7 of the Unicode standard); `text.find_invalid_utf8` finds the first of them.

    >>> offsets, is_valid = lines(np.frombuffer("né\\n\\nx".encode(), np.uint8))
    >>> offsets.tolist(), is_valid
    ([0, 4, 5], True)
    """
    return _starts(data, len(data) // _BYTES_PER_LINE, _NEWLINE)


def is_utf8(data: np.ndarray) -> bool:
    """Whether all of data (uint8[n], contiguous) is valid UTF-8, as `lines` says it."""
    return _starts(data, 0, _NEVER)[1]


def _starts(data: np.ndarray, n_expected: int, mark: int) -> tuple[np.ndarray, bool]:
    n_whole = len(data) // _BLOCK * _BLOCK
    rest = np.zeros(_BLOCK, np.uint8)  # of the last block; zeros are ASCII, and end what is cut
    rest[: len(data) - n_whole] = data[n_whole:]
    text = pointer(data), n_whole, pointer(rest), mark
    starts, state = np.empty(n_expected + 2 * _ROOM, np.int64), np.zeros(_STATE, np.uint64)
    starts[0], state[_WRITTEN] = 0, 1
    while _lines(*text, pointer(starts), len(starts), pointer(state)) <= n_whole:
        n, at = int(state[_WRITTEN]), int(state[_AT])
        n_more = 9 * n * (n_whole - at) // (8 * max(at, 1)) + 2 * _ROOM  # as many a byte as up to here
        starts = np.append(starts[:n], np.empty(n_more, np.int64))
    return starts[: state[_WRITTEN]], not (state[_BAD] or state[_FOLLOW])


@kernel
def _lines(base, n_whole, rest, mark, starts, n_starts, state):
    """Reads n_whole bytes at `base` (whole blocks) and one block at `rest`, from where `state` is; a line ends at `mark`.

    A block has at most 64 starts, and four are written at a time: where there is no room for _ROOM of them, the
    kernel stops. Returns the first byte that is not read: past n_whole if all are.
    """
    out, room, kept = np.uint64(starts), np.uint64(n_starts - _ROOM), np.uint64(state)
    n, one = load_u64(kept, np.uint64(_WRITTEN)), np.uint64(1)
    at, is_bad = np.int64(load_u64(kept, np.uint64(_AT))), load_u64(kept, np.uint64(_BAD))
    # From the block before: bytes that must go on with a character, and those that may not be below or above a limit.
    follow = load_u64(kept, np.uint64(_FOLLOW))
    after_e0, after_ed = load_u64(kept, np.uint64(_E0)), load_u64(kept, np.uint64(_ED))
    after_f0, after_f4 = load_u64(kept, np.uint64(_F0)), load_u64(kept, np.uint64(_F4))
    while at <= n_whole and n <= room:
        where = np.uint64(base + at) if at < n_whole else np.uint64(rest)
        at += _BLOCK
        marks = equal_bytes(where, np.uint8(mark))
        end, first = n + count_ones(marks), at + 1 - _BLOCK
        while n < end:  # mostly once: lines of 16 bytes and more need no jump that is hard to foretell
            for i in range(4):
                store_i64(out, n + np.uint64(i), first + np.int64(trailing_zeros(marks)))
                marks &= marks - one
            n += np.uint64(4)
        n = end
        above = _at_least(where, np.uint8(0x80))
        if above | follow == 0:
            continue
        lead, lead3 = _at_least(where, np.uint8(0xC0)), _at_least(where, np.uint8(0xE0))
        lead4 = _at_least(where, np.uint8(0xF0))
        must = lead << one | lead3 << np.uint64(2) | lead4 << np.uint64(3) | follow
        is_bad |= must ^ above & ~lead
        is_bad |= (lead & ~_at_least(where, np.uint8(0xC2))) | _at_least(where, np.uint8(0xF5))
        e0, ed = equal_bytes(where, np.uint8(0xE0)), equal_bytes(where, np.uint8(0xED))
        f0, f4 = equal_bytes(where, np.uint8(0xF0)), equal_bytes(where, np.uint8(0xF4))
        high, middle = _at_least(where, np.uint8(0xA0)), _at_least(where, np.uint8(0x90))
        is_bad |= (e0 << one | after_e0) & ~high | (ed << one | after_ed) & high
        is_bad |= (f0 << one | after_f0) & ~middle | (f4 << one | after_f4) & middle
        follow = lead >> np.uint64(63) | lead3 >> np.uint64(62) | lead4 >> np.uint64(61)
        after_e0, after_ed = e0 >> np.uint64(63), ed >> np.uint64(63)
        after_f0, after_f4 = f0 >> np.uint64(63), f4 >> np.uint64(63)
    store_u64(kept, np.uint64(_WRITTEN), n)
    store_u64(kept, np.uint64(_AT), np.uint64(at))
    store_u64(kept, np.uint64(_BAD), is_bad)
    store_u64(kept, np.uint64(_FOLLOW), follow)
    store_u64(kept, np.uint64(_E0), after_e0)
    store_u64(kept, np.uint64(_ED), after_ed)
    store_u64(kept, np.uint64(_F0), after_f0)
    store_u64(kept, np.uint64(_F4), after_f4)
    return at
