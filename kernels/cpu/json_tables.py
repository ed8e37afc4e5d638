"""The long tables of a tokenizer.json, read straight into arrays, and written from them: its vocabulary and its merges.

A JSON parser makes two Python objects of each token and three of each merge, which then are packed again: of loading a
vocabulary of 128,000 tokens that took half of the time. The kernels accept strict JSON (RFC 8259) of three shapes, and
stop at anything else; the caller then asks a JSON parser, which knows what to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from gputok.kernels import Strings
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import NONE, find_hashed
from gputok.kernels.cpu.primitives.constants import ALL, LOW32, NO_ASCII, U0, U1, U2, U3, U4, U8
from gputok.kernels.cpu.primitives.hashing import hash_bytes, same_bytes
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    load_u64,
    prefetch,
    scratch,
    store_u64,
    trailing_zeros,
    view,
)
from gputok.kernels.cpu.primitives.utf8 import put
from gputok.kernels.signatures import NamedTuple, boolean, i64, u8, u32

_MOST = (1 << 32) - 2  # the largest id
_QUOTE, _BACKSLASH, _COMMA, _COLON = 34, 92, 44, 58
# The letter of each escape of two bytes, and what it stands for
_LETTERS = ((_QUOTE, _QUOTE), (_BACKSLASH, _BACKSLASH), (98, 8), (102, 12), (110, 10), (114, 13), (116, 9))
_SAME, _NUMBERS, _STRINGS = range(3)  # what a column has: the same bytes in each row, numbers, strings
_PART = 1 << 16  # about how many bytes are written at a time: they stay in a cache until the file has them
_DIGITS = np.uint64(20)  # of the largest number
_LONGEST = np.uint64(6)  # bytes of the longest escape
_TEN, _SPACE, _ZERO = (np.uint64(i) for i in (10, 32, 48))
_ONES = np.uint64(0x0101010101010101)
_GROUP = 64  # merges that are read together
_SIDES = np.uint64(2 * _GROUP)  # their left and right tokens
_VERSION = np.uint64(int.from_bytes(b"#version", "little"))


class JsonTable(NamedTuple):
    """What a JSON object holds; `end` is the byte of the text after it."""

    data: np.ndarray  # uint8[n_bytes], the strings as UTF-8, one after the other
    offsets: np.ndarray  # int64[n + 1]; string i is data[offsets[i]:offsets[i + 1]]
    numbers: np.ndarray  # uint32[n]
    end: int


def read_table(text: np.ndarray, begin: int) -> JsonTable | None:
    r"""Reads the object that begins at a byte of a JSON text.

    Args:
        text: uint8[n], contiguous; need not be valid UTF-8, and then neither is `data`.
        begin: the byte of its opening bracket.

    Returns:
        The table; None if it is anything but a mapping from strings to integers from 0 to 2**32 - 2.

    >>> table = read_table(np.frombuffer(b'{"a": 5, "\\u00e9": 0}', np.uint8), 0)
    >>> bytes(table.data).decode(), table.offsets.tolist(), table.numbers.tolist(), table.end
    ('aé', [0, 1, 3], [5, 0], 21)
    """
    n_strings = (len(text) - begin) // 5 + 1  # at most: each has two quotes, a colon, a digit, and a comma or a bracket
    data, offsets = np.empty(len(text) - begin, np.uint8), np.empty(n_strings + 1, np.int64)
    numbers, found = np.empty(n_strings, np.uint32), np.zeros(1, np.int64)
    end = _read_table(text, begin, data, offsets, numbers, found)
    if end < 0:
        return None
    n = int(found[0])
    # In place: the arrays have room for many more, and memory is used where it is written only
    data.resize(int(offsets[n]), refcheck=False)
    offsets.resize(n + 1, refcheck=False)
    numbers.resize(n, refcheck=False)
    return JsonTable(data, offsets, numbers, end)


@kernel(u8[:], i64, u8[:], i64[:], u32[:], i64[:])
def _read_table(text, begin, data, offsets, numbers, found):
    """Fills the arrays, and found: how many strings. -> the byte after the table, or -1.

    Bounds: a byte of the text is read only after `p < n`; a string and its number take five bytes of the text, and
    `numbers` has an element for each five bytes; a string never has more bytes than it is written with.
    """
    n, p = len(text), begin
    if p >= n or text[p] != 123:
        return -1
    n_strings, n_bytes = 0, 0
    offsets[0] = 0
    p = _space(text, p + 1)
    if p < n and text[p] == 125:
        return p + 1
    while True:
        p, n_bytes = _string(text, p, data, n_bytes)
        if p < 0:
            return -1
        p = _space(text, p)
        if p >= n or text[p] != _COLON:
            return -1
        p, number = _number(text, _space(text, p + 1))
        if p < 0:
            return -1
        numbers[n_strings] = number
        n_strings += 1
        offsets[n_strings] = n_bytes
        p = _space(text, p)
        if p >= n:
            return -1
        if text[p] == 125:
            found[0] = n_strings
            return p + 1
        if text[p] != _COMMA:
            return -1
        p = _space(text, p + 1)


def read_merges(text: np.ndarray, begin: int, strings: Strings) -> tuple[np.ndarray, int] | None:
    r"""Reads the list of merges that begins at a byte of a JSON text: `["a b", ...]` or `[["a", "b"], ...]`.

    Args:
        text: uint8[n], contiguous.
        begin: the byte of its opening bracket.
        strings: the tokens, each of which occurs once.

    Returns:
        uint32[m, 3], the indices of the left and right token of each merge, and of the token that they form, or NONE;
        and the byte after the list. None: it is no such list, or has an unknown left or right token or "#version".

    >>> from gputok.kernels.cpu.lookup import index_strings
    >>> strings = index_strings(np.frombuffer(b"abab", np.uint8), np.array([0, 1, 2, 4]))
    >>> merges, end = read_merges(np.frombuffer(b'["a b"]', np.uint8), 0, strings)
    >>> merges.tolist(), end
    ([[0, 1, 2]], 7)
    """
    merges = np.empty(((len(text) - begin) // 4 + 1, 3), np.uint32)  # at most: each has two quotes, a space and a comma
    found = np.zeros(1, np.int64)
    end = _read_merges(text, begin, strings, merges, found)
    if end < 0:
        return None
    merges.resize((int(found[0]), 3), refcheck=False)
    return merges, end


@kernel(u8[:], i64, Strings, u32[:, :], i64[:])
def _read_merges(text, begin, strings, merges, found):
    """Fills the rows of `merges`, and found: how many. -> the byte after the list, or -1.

    Merges are read _GROUP at a time, so that the memory of the table of tokens is on its way while others are read.

    Bounds: a byte of the text is read only after `p < n`; a merge takes four bytes of the text, and `merges` has a row
    for each four bytes. A group ends once its bytes are more than half of `spelled`; of the other half, `_string` is
    given as much as two tokens and a space can have.
    """
    n, p = len(text), begin
    if p >= n or text[p] != 91:
        return -1
    p = _space(text, p + 1)
    if p < n and text[p] == 93:
        return p + 1
    slots, data, offsets = as_views(strings)
    mask, n_strings, longest = np.uint64(len(slots) - 1), len(offsets) - 1, 0
    for i in range(n_strings):
        longest = max(longest, offsets[i + 1] - offsets[i])
    room = max(2 * longest + 16, 1 << 13)
    spelled, joined = np.empty(2 * room, np.uint8), scratch(2 * longest + 1, np.uint8)
    words = view(spelled)
    # Of each left and right token of the group: where its bytes begin and how many they are; its hash
    first, size, hashes = scratch(_SIDES, np.uint64), scratch(_SIDES, np.uint64), scratch(_SIDES, np.uint64)
    row, last, are_pairs, ends = 0, np.int64(-1), text[p] == 91, False
    while not ends:
        count, n_bytes = U0, 0
        while count < _SIDES and n_bytes < room and not ends:
            at = n_bytes
            if are_pairs:
                if p >= n or text[p] != 91:
                    return -1
                p = _space(text, p + 1)
            p, n_bytes = _string(text, p, spelled, n_bytes)
            if p < 0:
                return -1
            p = _space(text, p)
            middle = n_bytes
            if are_pairs:
                if p >= n or text[p] != _COMMA:
                    return -1
                p, n_bytes = _string(text, _space(text, p + 1), spelled, n_bytes)
                if p < 0:
                    return -1
                p = _space(text, p)
                if p >= n or text[p] != 93:
                    return -1
                p = _space(text, p + 1)
                begin_right = middle
            else:
                middle = _only_space(words, np.uint64(at), np.uint64(n_bytes))
                if middle < 0 or (n_bytes - at >= 8 and load_u64(words, np.uint64(at)) == _VERSION):
                    return -1
                begin_right = middle + 1
            first[count], size[count] = np.uint64(at), np.uint64(middle - at)
            first[count + U1], size[count + U1] = np.uint64(begin_right), np.uint64(n_bytes - begin_right)
            count += U2
            if p >= n or (text[p] != 93 and text[p] != _COMMA):
                return -1
            ends = text[p] == 93
            p = p + 1 if ends else _space(text, p + 1)
        for i in range(count):
            hashes[i] = hash_bytes(words, first[i], size[i])
            prefetch(slots, hashes[i] & mask)
        for i in range(count):
            prefetch(offsets, ((slots[hashes[i] & mask] & LOW32) - U1) & mask)
        for i in range(count):
            slot = slots[hashes[i] & mask]
            if slot != U0:
                prefetch(data, np.uint64(offsets[(slot & LOW32) - U1]))
        for i in range(U0, count, U2):
            left = find_hashed((slots, data, offsets), hashes[i], words, first[i], size[i])
            right = find_hashed((slots, data, offsets), hashes[i + U1], words, first[i + U1], size[i + U1])
            if left < 0 or right < 0:
                return -1
            n_left, n_right, new = size[i], size[i + U1], np.int64(-1)
            # Most merges make the token after that of the merge before, or the same token once more
            for guess in (last + 1, last):
                if new < 0 and 0 <= guess < n_strings:
                    start = np.uint64(offsets[guess])
                    if np.uint64(offsets[guess + 1]) - start == n_left + n_right:
                        if same_bytes(data, start, words, first[i], n_left):
                            if same_bytes(data, start + n_left, words, first[i + U1], n_right):
                                new = guess
            if new < 0:
                copy(joined, U0, words, first[i], n_left)
                copy(joined, n_left, words, first[i + U1], n_right)
                new = find_hashed(
                    (slots, data, offsets), hash_bytes(joined, U0, n_left + n_right), joined, U0, n_left + n_right
                )
            merges[row, 0], merges[row, 1] = left, right
            merges[row, 2] = NONE if new < 0 else np.uint32(new)
            last = new
            row += 1
    found[0] = row
    return p


@kernel(inline=True)
def _only_space(words, at, end):
    """The position of the only space in words[at:end], or -1."""
    middle = np.int64(-1)
    for i in range(at, end):
        if words[i] == 32:
            if middle >= 0:
                return np.int64(-1)
            middle = np.int64(i)
    return middle


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
    """Appends the string at p to data. -> (the byte after it, bytes of data); (-1, 0): it is wrong or too long."""
    if p >= len(text) or text[p] != _QUOTE:
        return -1, 0
    p += 1
    while p < len(text):
        if p + 8 <= len(text) and n_bytes + 8 <= len(data):
            eight = load_u64(view(text), np.uint64(p))
            store_u64(view(data), np.uint64(n_bytes), eight)
            ends = _has_escape(eight)
            # Only the lowest of the bits in `ends` is sure to stand for a byte that ends the copy
            plain = np.int64(trailing_zeros(ends) >> U3) if ends else 8
            p += plain
            n_bytes += plain
            if plain == 8:
                continue
        byte = text[p]
        if byte == _QUOTE:
            return p + 1, n_bytes
        if byte < 32 or n_bytes + 4 > len(data):
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
    if byte == 47:  # it need not have an escape
        return p + 2, 47
    for letter, code in _LETTERS:
        if byte == letter:
            return p + 2, code
    return -1, 0


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


Column = bytes | np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray]
"""A column of a table: the same bytes in each row; int64[n_rows], numbers of at least 0; or strings, as three arrays
(data uint8[n_bytes], offsets int64[n + 1], k int64[n_rows]): row i has data[offsets[k[i]]:offsets[k[i] + 1]]."""


def write_rows(columns: Sequence[Column], *, escaped: bool = False, part: int = _PART) -> Iterator[bytes]:
    r"""Writes the rows of a table, one after the other, and of each row its columns.

    Args:
        columns: the columns; at least one of them has an element for each row.
        escaped: True: strings as JSON has them, with escapes for quotes, backslashes and characters below 32.
        part: about how many bytes a part has.

    Yields:
        Parts of the text.

    >>> strings = np.frombuffer(b'a"', np.uint8), np.array([0, 1, 2]), np.array([1, 0])
    >>> b"".join(write_rows([b"<", strings, b"=", np.array([10, 7]), b">"], escaped=True))
    b'<\\"=10><a=7>'
    """
    kinds, arrays = [], []
    for column in columns:
        if isinstance(column, bytes):
            kind, of = _SAME, [np.frombuffer(column + bytes(8), np.uint8)]  # so that `_put` reads 8 bytes up to the end
        elif isinstance(column, np.ndarray):
            kind, of = _NUMBERS, [column[:0], column[:0], column]
        else:
            kind, of = _STRINGS, [*column]
        kinds.append(kind)
        arrays.append([np.ascontiguousarray(array, np.int64 if i else np.uint8) for i, array in enumerate(of)])
    lengths = {len(of[2]) for of in arrays if len(of) == 3}
    if len(lengths) != 1:
        raise ValueError(f"the columns of a table must have the same number of rows, not {sorted(lengths)}")
    n_rows, row = lengths.pop(), 0
    addresses = [[(array.ctypes.data, array.nbytes) for array in of] for of in arrays]
    table = np.zeros((len(columns), 7), np.int64)
    for i, (kind, numbers) in enumerate(zip(kinds, addresses, strict=True)):
        table[i, 0], table[i, 1 : 1 + 2 * len(numbers)] = kind, np.ravel(numbers)
        if kind == _SAME:
            table[i, 4] = table[i, 2] - 8
    text = np.empty(part, np.uint8)
    while row < n_rows:
        row, n_bytes = _write_rows(table, row, n_rows, escaped, text)
        if n_bytes:
            yield text[:n_bytes].tobytes()
        elif row < n_rows:  # the row is longer than a part
            text = np.empty(2 * len(text), np.uint8)


@kernel(i64[:, :], i64, i64, boolean, u8[:])
def _write_rows(columns, row, n_rows, escaped, text):
    """Writes whole rows from `row` on, until there is no room: (the next row, bytes of the text).

    columns: int64[n_columns, 7], the kind; then the address and the number of bytes of each of three arrays: text,
    offsets, and numbers or indices of the rows; for the same bytes in each row, element 4 says how many. Bounds: a
    column is written only if the text has room for its longest form; the third array has n_rows elements, and strings
    lie within their text.
    """
    out, room, at = view(text), np.uint64(len(text)), U0
    while row < n_rows:
        begin = at
        for c in range(len(columns)):
            kind, size = columns[c, 0], np.uint64(columns[c, 2])
            if kind == _NUMBERS:
                if at + _DIGITS > room:
                    return row, np.int64(begin)
                at = put_number(out, at, np.uint64(view((columns[c, 5], columns[c, 6]), np.int64)[row]))
                continue
            data = view((columns[c, 1], columns[c, 2]), np.uint8)
            first, last = U0, np.uint64(columns[c, 4])
            if kind == _STRINGS:
                offsets = view((columns[c, 3], columns[c, 4]), np.int64)
                string = view((columns[c, 5], columns[c, 6]), np.int64)[row]
                first, last = np.uint64(offsets[string]), np.uint64(offsets[string + 1])
            if at + (last - first) * _LONGEST + U8 > room:
                return row, np.int64(begin)
            at = _put(out, at, data, size, first, last, escaped and kind == _STRINGS)
        row += 1
    return row, np.int64(at)


@kernel(inline=True)
def put_number(out, at, number):
    """Writes a number in decimal, and returns where it ends."""
    end, limit = at + U1, _TEN
    while number >= limit and end - at < _DIGITS - U1:
        end += U1
        limit *= _TEN
    i = end
    while i > at:
        i -= U1
        rest = number // _TEN
        out[i] = np.uint8(number - rest * _TEN + _ZERO)
        number = rest
    return end


@kernel(inline=True)
def _put(out, at, data, size, first, last, escaped):
    """Writes data[first:last], perhaps with JSON's escapes; returns where it ends. `out` has room for 8 bytes more."""
    while first < last:
        n = min(last - first, U8)
        if first + U8 <= size:
            eight = load_u64(data, first)
            # Bytes after data[last - 1] are not written, and must not look like escapes
            others = ALL << U1 << ((n << U3) - U1)
            if not escaped or _has_escape(eight | others) == U0:
                store_u64(out, at, eight)
                at += n
                first += n
                continue
        for i in range(first, first + n):
            if escaped:
                at = _put_byte(out, at, np.uint64(data[i]))
            else:
                out[at] = data[i]
                at += U1
        first += n
    return at


@kernel(inline=True)
def _has_escape(eight):
    """Not 0 if one of eight bytes is a quote, a backslash or below 32; the lowest bit then tells the first of these."""
    quotes, backslashes = eight ^ (_ONES * np.uint64(_QUOTE)), eight ^ (_ONES * np.uint64(_BACKSLASH))
    found = (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes
    return (found | (eight - _ONES * _SPACE) & ~eight) & NO_ASCII


@kernel
def _put_byte(out, at, byte):
    """Writes a byte of a string with JSON's escapes, and returns where that ends."""
    if byte >= _SPACE and byte != _QUOTE and byte != _BACKSLASH:
        out[at] = np.uint8(byte)
        return at + U1
    out[at] = np.uint8(_BACKSLASH)
    for letter, code in _LETTERS:
        if byte == code:
            out[at + U1] = np.uint8(letter)
            return at + U2
    out[at + U1], out[at + U2], out[at + U3] = np.uint8(117), np.uint8(48), np.uint8(48)
    low = byte & np.uint64(15)
    out[at + U4] = np.uint8((byte >> U4) + _ZERO)
    out[at + U4 + U1] = np.uint8(low + (_ZERO if low < _TEN else np.uint64(87)))
    return at + _LONGEST
