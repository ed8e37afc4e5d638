"""Packing the texts of a list as UTF-8, read where Python keeps them, while other threads run.

A kernel reads the headers of the objects: a list has the address of the addresses of its items, and a str its length,
how wide its characters are, and then, in one piece, the characters. Where these lie is not part of Python's API, so
`_layout` tests it on this interpreter. A list that no other thread knows keeps its texts alive; a str never changes.
"""

from __future__ import annotations

import ctypes
import functools
import sys

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import NO_ASCII, U0, U1, U2, U4, U8, U16
from gputok.kernels.cpu.primitives.memory import copy, load_u32, load_u64, prefetch, store_u32, store_u64, view
from gputok.kernels.cpu.primitives.utf8 import put
from gputok.kernels.signatures import NamedTuple, i64

# Bits of the state of a str, when it is shifted by `ObjectLayout.shift`
_WIDTH, _COMPACT, _ASCII = (np.uint64(7), np.uint64(8), np.uint64(16))
_AHEAD = 8  # how many texts ahead a header is prefetched
_ABOVE_ASCII_OF_4 = np.uint64(0xFF80FF80FF80FF80)
_EVERY_OTHER_16 = np.uint64(0x0000FFFF0000FFFF)


class ObjectLayout(NamedTuple):
    """Where things stand in an object of this Python, in bytes from its beginning."""

    str_type: int  # the address of the class str
    type: int
    items: int  # of a list
    length: int  # of a str
    state: int
    shift: int  # bits of the state below those that say how the characters are stored
    ascii: int  # the characters of a str of ASCII
    others: int  # of another str


def pack_texts(texts: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Packs the texts of a list that no other thread knows: uint8[total], offsets int64[n + 1].

    None: the list is empty, an item's class isn't str itself, or one has a lone surrogate, or `_layout` finds none.
    """
    layout, n = _layout(), len(texts)
    if layout is None or not n:
        return None
    offsets = np.empty(n + 1, np.int64)
    items = ctypes.c_int64.from_address(id(texts) + layout.items).value
    if _measure(items, n, layout, pointer(offsets)) < n:
        return None
    packed = np.empty(offsets[-1], np.uint8)
    _pack(items, n, layout, pointer(offsets), pointer(packed))
    return packed, offsets


@functools.cache
def _layout() -> ObjectLayout | None:
    """The layout of this Python's objects; None if it isn't what the kernels expect."""
    if sys.implementation.name != "cpython" or sys.byteorder != "little" or sys.maxsize < 1 << 62:
        return None
    texts, widths = ["ab", "a\xe9", "a\u0100", "a\U00010000"], (1, 1, 2, 4)
    ascii, *others = (
        sys.getsizeof(3 * character) - 4 * size  # a zero follows the characters
        for character, size in (("a", 1), ("\xe9", 1), ("\u0100", 2), ("\U00010000", 4))
    )
    head = object.__basicsize__  # its last member is the class; then come the length, the hash, and the state
    layout = ObjectLayout(id(str), head - 8, list.__basicsize__ - 16, head, head + 16, 0, ascii, others[0])
    if len({*others}) > 1 or not head + 20 <= ascii < others[0]:
        return None
    length, items = (ctypes.c_int64 * 2).from_address(id(texts) + layout.items - 8)
    if length != len(texts) or [*(ctypes.c_int64 * 4).from_address(items)] != [*map(id, texts)]:
        return None
    for text, begin, width in zip(texts, (ascii, *others), widths, strict=True):
        raw = np.fromiter(map(ord, text), f"u{width}").tobytes()
        found = [ctypes.c_int64.from_address(id(text) + at).value for at in (layout.type, layout.length)]
        if found != [id(str), len(text)] or ctypes.string_at(id(text) + begin, len(raw)) != raw:
            return None
    states = [ctypes.c_uint32.from_address(id(text) + layout.state).value for text in texts]
    expected = [int(_COMPACT) | bits for bits in (1 | int(_ASCII), 1, 2, 4)]
    shifts = [n for n in range(28) if [state >> n & 31 for state in states] == expected]
    return layout._replace(shift=shifts[0]) if len(shifts) == 1 else None


@kernel(inline=True)
def _characters(text, layout):
    """(address, number, bytes) of the characters of a str, and whether all are ASCII; 0 bytes: it can't be read."""
    # Each object has a class; a str has all that is read after that
    head = view((text, np.uint64(layout.ascii)), np.uint8)
    if load_u64(head, np.uint64(layout.type)) != np.uint64(layout.str_type):
        return U0, U0, U0, False
    state = np.uint64(load_u32(head, np.uint64(layout.state))) >> np.uint64(layout.shift)
    is_ascii = state & _ASCII != U0
    begin = text + np.uint64(layout.ascii if is_ascii else layout.others)
    width = state & _WIDTH if state & _COMPACT else U0
    return begin, load_u64(head, np.uint64(layout.length)), width, is_ascii


@kernel(inline=True)
def _ask_ahead(items, i, n, layout):
    """Prefetches the header of a text that comes soon."""
    prefetch(view((items[min(i + _AHEAD, n - 1)], np.uint64(layout.ascii)), np.uint8), U0)


@kernel(i64, i64, ObjectLayout, i64)
def _measure(items, n, layout, offsets):
    """Writes where each of n texts begins in UTF-8, and the last ends; returns the first that can't be packed, or n."""
    items, offsets = view((np.uint64(items), np.uint64(8 * n)), np.uint64), view(offsets, np.int64)
    at = U0
    offsets[0] = 0
    for i in range(n):
        _ask_ahead(items, i, n, layout)
        begin, length, width, is_ascii = _characters(items[i], layout)
        memory, surrogates, more = (begin, length * width), U0, U0
        if width == U1:
            if not is_ascii:
                narrow = view(memory, np.uint8)
                for k in range(length):
                    more += np.uint64(narrow[k] >= 0x80)
        elif width == U2:
            middle = view(memory, np.uint16)
            for k in range(length):
                more += np.uint64(middle[k] >= 0x80) + np.uint64(middle[k] >= 0x800)
                surrogates += np.uint64(middle[k] & 0xF800 == 0xD800)
        elif width == U4:
            wide = view(memory, np.uint32)
            for k in range(length):
                c = wide[k]
                more += np.uint64(c >= 0x80) + np.uint64(c >= 0x800) + np.uint64(c >= 0x10000)
                surrogates += np.uint64(c & 0xFFFFF800 == 0xD800)
        else:
            return i
        if surrogates != U0:
            return i
        at += length + more
        offsets[i + 1] = at
    return n


@kernel(i64, i64, ObjectLayout, i64, i64)
def _pack(items, n, layout, offsets, packed):
    """Writes the texts that `_measure` has measured: `offsets` has room for each."""
    items, offsets = view((np.uint64(items), np.uint64(8 * n)), np.uint64), view(offsets, np.int64)
    packed = view(packed, np.uint8)
    for i in range(n):
        _ask_ahead(items, i, n, layout)
        begin, length, width, is_ascii = _characters(items[i], layout)
        memory, out, k = view((begin, length * width), np.uint8), offsets[i], U0
        if is_ascii:
            copy(packed, out, memory, U0, length)
        elif width == U1:
            while k < length:
                if k + U8 <= length:
                    eight = load_u64(memory, k)
                    if eight & NO_ASCII == U0:
                        store_u64(packed, out, eight)
                        k += U8
                        out += 8
                        continue
                out = put(packed, out, np.int64(memory[k]))
                k += U1
        elif width == U2:
            middle = view(memory, np.uint16)
            while k < length:
                if k + U4 <= length:
                    four = load_u64(memory, U2 * k)
                    if four & _ABOVE_ASCII_OF_4 == U0:
                        two = (four | four >> U8) & _EVERY_OTHER_16
                        store_u32(packed, out, np.uint32(two | two >> U16))
                        k += U4
                        out += 4
                        continue
                out = put(packed, out, np.int64(middle[k]))
                k += U1
        else:
            wide = view(memory, np.uint32)
            while k < length:
                out = put(packed, out, np.int64(wide[k]))
                k += U1
