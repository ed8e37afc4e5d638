"""Finds the positions of the tokens of a text from their lengths, if the tokens cover the text one after the other.

They do so with a BPE model if the steps before it leave the text as it is, or write a mark for each space. Then the ids
tell all positions, and `units.py` finds ids faster, by its cache. If a token has no length, or the lengths don't end
where the text does, `encode_text` finds the ids and the positions together.

Bounds: `ids`, `begins` and `ends` have MAX_TOKENS elements and MAX_SPECIAL more, and at most MAX_TOKENS ids are taken;
an id has a length if it is below the number of lengths; no byte of the text is read after its end.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_one.encode import LONGEST, MAX_TOKENS, SPECIAL, encode_text
from gputok.kernels.cpu.encode_one.steps import TOO_MUCH, ShortText
from gputok.kernels.cpu.encode_one.units import TextInUnits, encode_units, wants_space
from gputok.kernels.cpu.primitives.memory import record_at, view
from gputok.kernels.signatures import i64

# Instead of the length of a token: it is the first byte, or another byte, of a character that is no token; unknown
FIRST_BYTE, NEXT_BYTE, UNKNOWN = -1, -2, 0


@kernel(i64, i64, i64, i64)
def encode_positions(address, text, n_bytes, flags):
    """Writes ids and positions like `encode_text`, but perhaps not `words`; n_bytes: at most MOST_BYTES of units.py."""
    handle = record_at(address, ShortText)
    left = record_at(handle.units, TextInUnits).left
    # `encode_units` takes n_bytes off again: its limit is for new words, and the ids of this text were asked for before
    left[0] += n_bytes
    n = encode_units(handle.units, text, n_bytes, flags & SPECIAL)
    if 0 <= n <= MAX_TOKENS and _put_positions(handle, text, n_bytes, n, flags & SPECIAL != 0):
        return n
    return encode_text(address, text, n_bytes, flags) if n_bytes <= LONGEST else np.int64(TOO_MUCH)


@kernel
def _put_positions(handle, text, n_bytes, n, special):
    """Writes the n ids that `encode_units` has found, and their positions; returns False if these are not known."""
    units, given = (record_at(handle.units, TextInUnits), view((np.uint64(text), np.uint64(n_bytes)), np.uint8))
    found, ids, begins, ends = units.ids, handle.ids, handle.begins, handle.ends
    first, last = np.int64(0), n
    if special:
        first, last = np.int64(len(handle.before)), n - len(handle.after)
    for k in range(n):
        ids[k] = found[k]
        begins[k] = ends[k] = 0
    if handle.by_byte:
        return _by_bytes(handle, given, n_bytes, first, last)
    space = n_bytes > 0 and wants_space(units, given, 0, n_bytes, True)
    return _by_characters(handle, given, n_bytes, first, last, np.int64(space))


@kernel(inline=True)
def _begins_character(byte):
    return byte & np.uint8(0xC0) != np.uint8(0x80)


@kernel(inline=True)
def _length_of(handle, id):
    lengths = handle.lengths
    return np.int64(lengths[id]) if id < len(lengths) else np.int64(UNKNOWN)


@kernel(inline=True)
def _by_bytes(handle, given, n_bytes, first, last):
    """Writes the positions of tokens first:last, by lengths in bytes; False: the tokens don't cover the text.

    If a token begins or ends within a character, its position includes the whole character.
    """
    ids, begins, ends = handle.ids, handle.begins, handle.ends
    at, count = np.int64(0), np.int64(0)  # bytes of the text, and characters that begin before
    for k in range(first, last):
        length = _length_of(handle, ids[k])
        if length <= 0 or at + length > n_bytes:
            return False
        begins[k] = count if _begins_character(given[at]) else count - 1
        for p in range(at, at + length):
            count += np.int64(_begins_character(given[p]))
        ends[k] = count
        at += length
    return at == n_bytes


@kernel(inline=True)
def _by_characters(handle, given, n_bytes, first, last, n_before):
    """Likewise, by lengths in characters; n_before: 1 if a space in front counts as part of the first one."""
    ids, begins, ends = handle.ids, handle.begins, handle.ends
    n_characters, at = n_before, np.int64(0)
    for p in range(n_bytes):
        n_characters += np.int64(_begins_character(given[p]))
    for k in range(first, last):
        length, begin = _length_of(handle, ids[k]), at
        if length == NEXT_BYTE and at > 0:
            begin -= 1
        elif length == FIRST_BYTE:
            at += 1
        elif length > 0:
            at += length
        else:
            return False
        begins[k] = max(begin - n_before, 0)
        ends[k] = max(at - n_before, 1)
    return at == n_characters
