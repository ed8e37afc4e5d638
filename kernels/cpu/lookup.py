"""Hash tables from byte strings and from pairs of ids, built in bulk from arrays.

All are open addressing with linear probing in a power-of-two number of slots, at most two thirds full. Equality is
decided on the keys, never on hashes alone.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.signatures import i16, i64, u8, u32

from .. import Pairs, Strings
from . import kernel
from .memory import address, hold, load_u8, load_u32, load_u64, store_u64

NONE = np.uint32(0xFFFFFFFF)  # no id: no vocabulary can hold so many tokens
CODE_BITS = 21  # of a code point
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)  # a slot without a pair

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U8, _U32 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def plain(array: np.ndarray, dtype: type) -> np.ndarray:
    """Contiguous and writable: read-only arrays would be a second specialisation of each kernel."""
    return np.require(array, dtype, ["C", "W"])


def capacity_for(n: int) -> int:
    """Slots for n keys: a power of two, at most two thirds full."""
    return 1 << max(3, (n + n // 2).bit_length())


@kernel(inline=True)
def mix(h):
    h = h * _MULTIPLIER
    return h ^ (h >> np.uint64(29))


@kernel(inline=True)
def hash_bytes(base, n):
    """A 64-bit hash of the n bytes at an address, eight at a time; the last eight may overlap the ones before."""
    h = mix(n + _U1)
    if n >= _U8:
        i = _U0
        while i + _U8 <= n:
            h = mix(h ^ load_u64(base + i, _U0))
            i += _U8
        if i < n:
            h = mix(h ^ load_u64(base + n - _U8, _U0))
    elif n >= np.uint64(4):
        low, high = np.uint64(load_u32(base, _U0)), np.uint64(load_u32(base + n - np.uint64(4), _U0))
        h = mix(h ^ (low | high << _U32))
    elif n > _U0:
        first, middle = np.uint64(load_u8(base, _U0)), np.uint64(load_u8(base, n >> _U1))
        h = mix(h ^ (first | middle << _U8 | np.uint64(load_u8(base, n - _U1)) << np.uint64(16)))
    return mix(h)


@kernel(inline=True)
def same_bytes(a, b, n):
    i = _U0
    while i + _U8 <= n:
        if load_u64(a + i, _U0) != load_u64(b + i, _U0):
            return False
        i += _U8
    while i < n:
        if load_u8(a, i) != load_u8(b, i):
            return False
        i += _U1
    return True


@kernel(inline=True)
def find_string(strings, base, n):
    """The index of the n bytes at an address among `strings`, or -1."""
    mask = np.uint64(len(strings.slots) - 1)
    h = hash_bytes(base, n)
    slots, data, offsets = address(strings.slots), address(strings.data), address(strings.offsets)
    at = h & mask
    while True:
        slot = load_u64(slots, at)
        if slot == _U0:
            return np.int64(-1)
        if slot >> _U32 == h >> _U32:
            index = (slot & _LOW) - _U1
            first = load_u64(offsets, index)
            if load_u64(offsets, index + _U1) - first == n and same_bytes(data + first, base, n):
                return np.int64(index)
        at = (at + _U1) & mask


def index_strings(data, offsets):
    """Packed strings (uint8[n_bytes], int64[n + 1]) as a table; of equal ones the last is found."""
    slots = np.zeros(capacity_for(len(offsets) - 1), np.uint64)
    strings = Strings(slots, plain(data, np.uint8), plain(offsets, np.int64))
    _index_strings(strings)
    return strings


@kernel(Strings)
def _index_strings(strings):
    mask = np.uint64(len(strings.slots) - 1)
    slots, data, offsets = address(strings.slots), address(strings.data), address(strings.offsets)
    for i in range(len(strings.offsets) - 1):
        first = load_u64(offsets, np.uint64(i))
        n = load_u64(offsets, np.uint64(i + 1)) - first
        h = hash_bytes(data + first, n)
        at = h & mask
        while True:
            slot = load_u64(slots, at)
            if slot == _U0:
                break
            if slot >> _U32 == h >> _U32:
                other = load_u64(offsets, (slot & _LOW) - _U1)
                if load_u64(offsets, slot & _LOW) - other == n and same_bytes(data + other, data + first, n):
                    break
            at = (at + _U1) & mask
        store_u64(slots, at, (h >> _U32 << _U32) | np.uint64(i + 1))


def find_strings(strings, data, start, end):
    """int64[n]: the index of data[start[i]:end[i]] among `strings`, or -1."""
    found = np.empty(len(start), np.int64)
    _find_strings(strings, plain(data, np.uint8), plain(start, np.int64), plain(end, np.int64), found)
    return found


@kernel(Strings, u8[:], i64[:], i64[:], i64[:])
def _find_strings(strings, data, start, end, found):
    base = address(data)
    for i in range(len(start)):
        found[i] = find_string(strings, base + np.uint64(start[i]), np.uint64(end[i] - start[i]))


def split_at_space(data, offsets):
    """int64[n]: position of the only space in each packed string, or -1 if it has none or more."""
    middle = np.empty(len(offsets) - 1, np.int64)
    _split_at_space(plain(data, np.uint8), plain(offsets, np.int64), middle)
    return middle


@kernel(u8[:], i64[:], i64[:])
def _split_at_space(data, offsets, middle):
    for i in range(len(offsets) - 1):
        at = np.int64(-1)
        for j in range(offsets[i], offsets[i + 1]):
            if data[j] == 32:
                if at >= 0:
                    at = np.int64(-1)
                    break
                at = j
        middle[i] = at


def join_pairs(strings, left, right, prefix_length):
    """int64[n]: index of the string that strings left[i] and right[i] spell together, or -1.

    The first `prefix_length` bytes of the right one are left out; -1 too where it is shorter than that.
    """
    joined = np.empty(len(left), np.int64)
    _join_pairs(strings, plain(left, np.int64), plain(right, np.int64), prefix_length, joined)
    return joined


@kernel(Strings, i64[:], i64[:], i64, i64[:])
def _join_pairs(strings, left, right, prefix_length, joined):
    data, offsets = strings.data, strings.offsets
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    spelled = np.empty(2 * longest + 1, np.uint8)
    for i in range(len(left)):
        n = 0
        for j in range(offsets[left[i]], offsets[left[i] + 1]):
            spelled[n] = data[j]
            n += 1
        first = offsets[right[i]] + prefix_length
        if first > offsets[right[i] + 1]:
            joined[i] = -1
            continue
        for j in range(first, offsets[right[i] + 1]):
            spelled[n] = data[j]
            n += 1
        joined[i] = find_string(strings, address(spelled), np.uint64(n))
    hold(spelled)


@kernel(inline=True)
def hash_pair(key):
    h = key * _MULTIPLIER
    return h ^ (h >> _U32)


def index_pairs(left, right, rank, n):
    """Pairs of numbers below n with their ranks (uint32[m] each, ranks below m); of equal pairs the last counts."""
    bits = max(1, int(n).bit_length())  # n itself is free: a symbol in no pair
    if 2 * bits + len(left).bit_length() > 64:
        raise ValueError(f"{len(left)} merges of {n} tokens are too many: pair and rank must fit 64 bits")
    # At most a third full: most look-ups are of pairs that aren't there, and each slot further costs them time.
    pairs = Pairs(np.full(2 * capacity_for(len(left)), FREE, np.uint64), bits)
    _index_pairs(plain(left, np.uint32), plain(right, np.uint32), plain(rank, np.uint32), pairs)
    return pairs


@kernel(u32[:], u32[:], u32[:], Pairs)
def _index_pairs(left, right, rank, pairs):
    mask, bits = np.uint64(len(pairs.slots) - 1), np.uint64(pairs.bits)
    rank_bits = np.uint64(64) - bits - bits
    slots = address(pairs.slots)
    for i in range(len(left)):
        key = np.uint64(left[i]) << bits | np.uint64(right[i])
        store_u64(slots, free_slot(slots, mask, rank_bits, key), key << rank_bits | np.uint64(rank[i]))


@kernel(inline=True)
def pairs_of(pairs):
    """What rank_of needs of Pairs: the address of its slots, their number - 1, and its bits."""
    return address(pairs.slots), np.uint64(len(pairs.slots) - 1), np.uint64(pairs.bits)


@kernel(inline=True)
def rank_of(pairs, left, right):
    """The rank of a pair, or NONE; `pairs` is of pairs_of."""
    slots, mask, bits = pairs
    key = np.uint64(left) << bits | np.uint64(right)
    rank_bits = np.uint64(64) - bits - bits
    at = hash_pair(key) & mask
    slot = load_u64(slots, at)
    while slot >> rank_bits != key:
        if slot == FREE:
            return NONE
        at = (at + _U1) & mask
        slot = load_u64(slots, at)
    return np.uint32(slot & ((_U1 << rank_bits) - _U1))


def pair_ranks(pairs, numbers):
    """uint32[n, n]: the rank of each pair of these numbers (uint32[n]), or NONE."""
    ranks = np.empty((len(numbers), len(numbers)), np.uint32)
    _pair_ranks(pairs, plain(numbers, np.uint32), ranks)
    return ranks


@kernel(Pairs, u32[:], u32[:, :])
def _pair_ranks(pairs, numbers, ranks):
    table = pairs_of(pairs)
    for i in range(len(numbers)):
        for j in range(len(numbers)):
            ranks[i, j] = rank_of(table, numbers[i], numbers[j])


@kernel(inline=True)
def decode_char(base, at):
    """(code point, bytes) of the UTF-8 character at an address + index; the text is valid."""
    b = np.uint64(load_u8(base, at))
    if b < np.uint64(0x80):
        return b, _U1
    second = np.uint64(load_u8(base, at + _U1)) & np.uint64(63)
    if b < np.uint64(0xE0):
        return (b & np.uint64(31)) << np.uint64(6) | second, np.uint64(2)
    third = np.uint64(load_u8(base, at + np.uint64(2))) & np.uint64(63)
    if b < np.uint64(0xF0):
        return (b & np.uint64(15)) << np.uint64(12) | second << np.uint64(6) | third, np.uint64(3)
    fourth = np.uint64(load_u8(base, at + np.uint64(3))) & np.uint64(63)
    high = (b & np.uint64(7)) << np.uint64(18) | second << np.uint64(12)
    return high | third << np.uint64(6) | fourth, np.uint64(4)


@kernel(Strings, u8[:], u8[:], u32[:])
def single_characters(strings, prefix, suffix, symbols):
    """Finds the strings that are one character with `prefix` before it and `suffix` behind it.

    Writes symbols[code point] = i + 1 (uint32[0x110000], zero before).
    """
    data, offsets = strings.data, strings.offsets
    for i in range(len(offsets) - 1):
        first, last = offsets[i] + len(prefix), offsets[i + 1] - len(suffix)
        fits = first < last <= first + 4
        for j in range(len(prefix)):
            fits = fits and data[offsets[i] + j] == prefix[j]
        for j in range(len(suffix)):
            fits = fits and data[last + j] == suffix[j]
        if fits:  # only now is it sure that a character begins at `first`
            code, width = decode_char(address(data), np.uint64(first))
            if np.int64(width) == last - first:
                symbols[code] = i + 1


def side_by_side(data, offsets):
    """What is side by side in packed strings, at places where a character begins.

    -> Pairs of the code points of two whole characters; uint8[256, 256], 1 for the two bytes there where a string begins or
    ends within one of the characters.
    """
    crossing = np.zeros((256, 256), np.uint8)
    slots = _side_by_side(plain(data, np.uint8), plain(offsets, np.int64), crossing)
    return Pairs(slots, CODE_BITS), crossing


@kernel(u8[:], i64[:], u8[:, :])
def _side_by_side(data, offsets, crossing):
    base, rank_bits = address(data), np.uint64(64 - 2 * CODE_BITS)
    table = np.full(1024, FREE)
    slots, mask, count = address(table), np.uint64(1023), 0
    for i in range(len(offsets) - 1):
        first, last = offsets[i], offsets[i + 1]
        left, whole = _U0, False  # the character before p, and whether all of it is there
        p = first
        while p < last:
            lead = data[p]
            width = 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
            fits = lead & 0xC0 != 0x80 and p + width <= last
            right = decode_char(base, np.uint64(p))[0] if fits else _U0
            if p > first and lead & 0xC0 != 0x80:
                if fits and whole:
                    key = left << np.uint64(CODE_BITS) | right
                    at = free_slot(slots, mask, rank_bits, key)
                    if load_u64(slots, at) == FREE:
                        store_u64(slots, at, key << rank_bits)
                        count += 1
                        if 3 * count > len(table):
                            old = table
                            table = np.full(2 * len(old), FREE)
                            slots, mask = address(table), np.uint64(len(table) - 1)
                            for slot in old:
                                if slot != FREE:
                                    store_u64(
                                        slots, free_slot(slots, mask, rank_bits, slot >> rank_bits), slot
                                    )
                else:
                    crossing[data[p - 1], lead] = 1
            left, whole = right, fits
            p += width if fits else 1
    return table


@kernel(inline=True)
def free_slot(slots, mask, rank_bits, key):
    """The slot of a pair, or the free one where it belongs."""
    at = hash_pair(key) & mask
    while load_u64(slots, at) != FREE and load_u64(slots, at) >> rank_bits != key:
        at = (at + _U1) & mask
    return at


def spell_bytes(data, offsets, byte_of):
    """Packed strings of ByteLevel characters as the bytes they stand for; one with any other character is empty.

    byte_of: int16[512], the byte of each code point or -1. -> uint8[n_bytes], int64[n + 1].
    """
    raw, raw_offsets = np.empty(len(data), np.uint8), np.empty(len(offsets), np.int64)
    _spell_bytes(plain(data, np.uint8), plain(offsets, np.int64), byte_of, raw, raw_offsets)
    return raw[: raw_offsets[-1]], raw_offsets


@kernel(u8[:], i64[:], i16[:], u8[:], i64[:])
def _spell_bytes(data, offsets, byte_of, raw, raw_offsets):
    base = address(data)
    n = 0
    for i in range(len(offsets) - 1):
        at, last = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
        raw_offsets[i] = n
        while at < last:
            code, width = decode_char(base, at)
            if code >= np.uint64(512) or byte_of[code] < 0:
                n = raw_offsets[i]
                break
            raw[n] = byte_of[code]
            n += 1
            at += width
    raw_offsets[len(offsets) - 1] = n
