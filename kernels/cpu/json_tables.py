"""The long tables of a tokenizer.json, read straight into arrays: its vocabulary and its merges.

A JSON parser makes two Python objects of each token and three of each merge, which then are packed again: of loading a
vocabulary of 128,000 tokens that took half of the time. This kernel accepts strict JSON (RFC 8259) of two shapes only, and
stops at anything else; the caller then asks a JSON parser, which knows what to say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.utf8 import put
from gputok.kernels.signatures import i64, u8, u32

MAPPING, STRINGS, PAIRS = 0, 1, 2  # {"a": 1, ...}, ["a b", ...], [["a", "b"], ...]
_MOST = (1 << 32) - 2  # the largest id
_QUOTE, _BACKSLASH, _COMMA, _COLON = 34, 92, 44, 58


class Table(NamedTuple):
    """What a JSON table holds; `end` is the byte of the text after it."""

    shape: int  # MAPPING, STRINGS or PAIRS
    data: np.ndarray  # uint8[n_bytes], the strings as UTF-8, one after the other
    offsets: np.ndarray  # int64[n + 1]; string i is data[offsets[i]:offsets[i + 1]]
    numbers: np.ndarray  # uint32[n] of a MAPPING, else uint32[0]
    end: int


def read_table(text: np.ndarray, begin: int) -> Table | None:
    r"""Reads the object or list that begins at a byte of a JSON text.

    Args:
        text: uint8[n], contiguous; need not be valid UTF-8, and then neither is `data`.
        begin: the byte of its opening bracket.

    Returns:
        The table; None if it is anything but a mapping from strings to integers from 0 to 2**32 - 2, a list of
        strings, or a list of pairs of strings.

    >>> table = read_table(np.frombuffer(b'{"a": 5, "\\u00e9": 0}', np.uint8), 0)
    >>> bytes(table.data).decode(), table.offsets.tolist(), table.numbers.tolist(), table.end
    ('aé', [0, 1, 3], [5, 0], 21)
    """
    n_strings = (len(text) - begin) // 3 + 1  # at most: each has two quotes and a comma or a bracket
    data, offsets = np.empty(len(text) - begin, np.uint8), np.zeros(n_strings + 1, np.int64)
    numbers, found = np.empty(n_strings, np.uint32), np.zeros(2, np.int64)
    end = _read_table(text, begin, data, offsets, numbers, found)
    if end < 0:
        return None
    n, shape = found.tolist()
    # Copies: these arrays have room for many more, and memory is used where it is written only
    numbers = numbers[: n if shape == MAPPING else 0].copy()
    return Table(shape, data[: offsets[n]].copy(), offsets[: n + 1].copy(), numbers, end)


@kernel(u8[:], i64, u8[:], i64[:], u32[:], i64[:])
def _read_table(text, begin, data, offsets, numbers, found):
    """Fills the arrays, and found: how many strings, and the shape. -> the byte after the table, or -1.

    What bounds each index: a byte of the text is read only after `p < n`; a string takes three bytes of the text, and
    `offsets` and `numbers` have an element for each three bytes; a string never has more bytes than it is written with.
    """
    n, p = len(text), begin
    if p >= n:
        return -1
    is_mapping = text[p] == 123
    if not is_mapping and text[p] != 91:
        return -1
    closing, shape = (125, MAPPING) if is_mapping else (93, STRINGS)
    n_strings, n_bytes = 0, 0
    p = _space(text, p + 1)
    if p < n and text[p] == closing:
        found[0], found[1] = 0, shape
        return p + 1
    if p < n and not is_mapping and text[p] == 91:
        shape = PAIRS
    while True:
        if shape == PAIRS:
            if p >= n or text[p] != 91:
                return -1
            p = _space(text, p + 1)
        p, n_bytes = _string(text, p, data, n_bytes)
        if p < 0:
            return -1
        n_strings += 1
        offsets[n_strings] = n_bytes
        p = _space(text, p)
        if shape == MAPPING:
            if p >= n or text[p] != _COLON:
                return -1
            p, number = _number(text, _space(text, p + 1))
            if p < 0:
                return -1
            numbers[n_strings - 1] = number
            p = _space(text, p)
        elif shape == PAIRS:
            if p >= n or text[p] != _COMMA:
                return -1
            p, n_bytes = _string(text, _space(text, p + 1), data, n_bytes)
            if p < 0:
                return -1
            n_strings += 1
            offsets[n_strings] = n_bytes
            p = _space(text, p)
            if p >= n or text[p] != 93:
                return -1
            p = _space(text, p + 1)
        if p >= n:
            return -1
        if text[p] == closing:
            found[0], found[1] = n_strings, shape
            return p + 1
        if text[p] != _COMMA:
            return -1
        p = _space(text, p + 1)


@kernel(inline=True)
def _space(text, p):
    """The first byte from p on that is no white space of JSON."""
    while p < len(text) and (text[p] == 32 or text[p] == 10 or text[p] == 13 or text[p] == 9):
        p += 1
    return p


@kernel(inline=True)
def _number(text, p):
    """(the byte after the integer that begins at p, the integer); (-1, 0) if it isn't from 0 to _MOST."""
    begin, number = p, 0
    while p < len(text) and 48 <= text[p] <= 57 and p - begin < 11:
        number = number * 10 + np.int64(text[p]) - 48
        p += 1
    size = p - begin
    if size == 0 or number > _MOST or (size > 1 and text[begin] == 48):
        return -1, 0
    if p < len(text) and (text[p] == 46 or text[p] == 101 or text[p] == 69 or 48 <= text[p] <= 57):
        return -1, 0  # a fraction, an exponent or more digits
    return p, number


@kernel
def _string(text, p, data, n_bytes):
    """Appends the string that begins at p to data. -> (the byte after it, the bytes of data); (-1, 0): it is wrong."""
    if p >= len(text) or text[p] != _QUOTE:
        return -1, 0
    p += 1
    while p < len(text):
        byte = text[p]
        if byte == _QUOTE:
            return p + 1, n_bytes
        if byte < 32:
            return -1, 0
        if byte != _BACKSLASH:
            data[n_bytes] = byte
            n_bytes += 1
            p += 1
            continue
        p, code = _escape(text, p)
        if p < 0:
            return -1, 0
        n_bytes = put(data, n_bytes, code)
    return -1, 0


@kernel
def _escape(text, p):
    """(the byte after the escape that begins at p, its code point); (-1, 0): it is wrong, or half of a pair."""
    if p + 1 >= len(text):
        return -1, 0
    byte = text[p + 1]
    if byte == 117:  # u
        code = _hex(text, p + 2)
        if code < 0 or 0xDC00 <= code <= 0xDFFF:
            return -1, 0
        if code < 0xD800 or code > 0xDFFF:
            return p + 6, code
        if p + 7 >= len(text) or text[p + 6] != _BACKSLASH or text[p + 7] != 117:
            return -1, 0
        low = _hex(text, p + 8)
        if not 0xDC00 <= low <= 0xDFFF:
            return -1, 0
        return p + 12, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
    code = -1
    if byte == _QUOTE or byte == _BACKSLASH or byte == 47:
        code = np.int64(byte)
    elif byte == 98:
        code = 8
    elif byte == 102:
        code = 12
    elif byte == 110:
        code = 10
    elif byte == 114:
        code = 13
    elif byte == 116:
        code = 9
    if code < 0:
        return -1, 0
    return p + 2, code


@kernel
def _hex(text, p):
    """The number of the four hexadecimal digits from p on, or -1."""
    if p + 4 > len(text):
        return -1
    number = 0
    for i in range(p, p + 4):
        byte = np.int64(text[i])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 65 <= byte <= 70 or 97 <= byte <= 102:
            digit = (byte | 32) - 87
        else:
            return -1
        number = number * 16 + digit
    return number
