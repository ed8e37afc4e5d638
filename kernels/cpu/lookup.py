"""Hash tables of byte strings and of pairs of ids, built from arrays.

All tables use open addressing with linear probing in a power of two of slots, at most two thirds full. Keys are
compared themselves, never their hashes alone.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import Pairs, Strings
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U32
from gputok.kernels.cpu.primitives.hashing import hash_bytes, hash_pair, same_bytes
from gputok.kernels.cpu.primitives.memory import as_views, prefetch, scratch, view
from gputok.kernels.cpu.primitives.utf8 import decode, width
from gputok.kernels.signatures import boolean, i16, i64, u8, u32

NONE = np.uint32(0xFFFFFFFF)  # stands for "no id": more than the tokens that a vocabulary can have
CODE_BITS = 21  # bits of a code point
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)  # an empty slot of a table of pairs
_AHEAD = 16  # how many pairs or strings ahead memory is prefetched


def plain(array: np.ndarray, dtype: type) -> np.ndarray:
    """The array, or a contiguous writable copy: for read-only arrays, Numba would compile each kernel again."""
    return np.require(array, dtype, ["C", "W"])


@kernel(inline=True)
def find_string(strings, text, begin, n):
    """The index of n bytes from text[begin] on among the views of Strings, or -1."""
    return find_hashed(strings, hash_bytes(text, begin, n), text, begin, n)


@kernel(inline=True)
def find_hashed(strings, h, text, begin, n):
    """Like `find_string`, with the hash of the bytes."""
    slots, _, _ = strings
    return np.int64((slots[string_slot(strings, h, text, begin, n)] & LOW32) - U1)


@kernel(inline=True)
def string_slot(strings, h, text, begin, n):
    """The slot of a string, or the free slot, 0, where it belongs."""
    slots, data, offsets = strings
    mask = np.uint64(len(slots) - 1)
    at = h & mask
    while slots[at] != U0:
        slot = slots[at]
        if slot >> U32 == h >> U32:
            index = (slot & LOW32) - U1
            first = np.uint64(offsets[index])
            if np.uint64(offsets[index + U1]) - first == n and same_bytes(data, first, text, begin, n):
                break
        at = (at + U1) & mask
    return at


def index_strings(data: np.ndarray, offsets: np.ndarray, room: int = 0) -> Strings:
    """Builds a table of packed strings (uint8[n_bytes], int64[n + 1]); of equal strings the last is found.

    room: how many strings the table has room for, at least.
    """
    n = max(room, len(offsets) - 1)
    slots = np.zeros(1 << max(3, (n + n // 2).bit_length()), np.uint64)
    strings = Strings(slots, plain(data, np.uint8), plain(offsets, np.int64))
    _index_strings(strings)
    return strings


@kernel(Strings)
def _index_strings(strings):
    strings = as_views(strings)
    slots, data, offsets = strings
    mask, n_strings = np.uint64(len(slots) - 1), len(offsets) - 1
    hashes = scratch(_AHEAD, np.uint64)  # of the strings i to i + _AHEAD - 1, each at its number modulo _AHEAD
    for i in range(-_AHEAD, n_strings):
        ahead = i + _AHEAD
        h = hashes[i & _AHEAD - 1] if i >= 0 else U0
        if ahead < n_strings:
            start = np.uint64(offsets[ahead])
            hashes[ahead & _AHEAD - 1] = hash_bytes(data, start, np.uint64(offsets[ahead + 1]) - start)
            prefetch(slots, hashes[ahead & _AHEAD - 1] & mask)
        if i < 0:
            continue
        first = np.uint64(offsets[i])
        at = string_slot(strings, h, data, first, np.uint64(offsets[i + 1]) - first)
        slots[at] = (h >> U32 << U32) | np.uint64(i + 1)


def find_strings(strings: Strings, data: np.ndarray, start: np.ndarray, end: np.ndarray):
    """Finds the index of each data[start[i]:end[i]] among `strings`, or -1: int64[n]."""
    found = np.empty(len(start), np.int64)
    _find_strings(strings, plain(data, np.uint8), plain(start, np.int64), plain(end, np.int64), found)
    return found


@kernel(Strings, u8[:], i64[:], i64[:], i64[:])
def _find_strings(strings, data, start, end, found):
    text, strings = view(data), as_views(strings)
    for i in range(len(start)):
        found[i] = find_string(strings, text, np.uint64(start[i]), np.uint64(end[i] - start[i]))


def split_at_space(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The position of the only space in each packed string, or -1 if the string has none or several: int64[n]."""
    spaces, n = np.flatnonzero(data == 32), len(offsets) - 1
    string = np.searchsorted(offsets, spaces, "right") - 1
    middle = np.full(n, -1)
    middle[string] = spaces
    middle[np.bincount(string, minlength=n) > 1] = -1
    return middle


def join_pairs(strings, left, right, prefix_length):
    """The index of string left[i] joined with right[i] from byte `prefix_length` on, or -1: int64[n]."""
    joined = np.empty(len(left), np.int64)
    # Of equal strings the last is the result: if there are some, `_join_pairs` must not try the next string first
    unique = int(np.count_nonzero(strings.slots)) == len(strings.offsets) - 1
    _join_pairs(strings, plain(left, np.int64), plain(right, np.int64), prefix_length, unique, joined)
    return joined


@kernel(Strings, i64[:], i64[:], i64, boolean, i64[:])
def _join_pairs(strings, left, right, prefix_length, unique, joined):
    data, offsets = strings.data, strings.offsets
    text, n_strings, longest, guess = view(data), len(offsets) - 1, 0, 0
    for i in range(n_strings):
        longest = max(longest, offsets[i + 1] - offsets[i])
    spelled = scratch(2 * longest + 1, np.uint8)
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
        # Most vocabularies have the tokens of merges in the order of ranks, so the next string is tried first
        same = unique and guess < n_strings and offsets[guess + 1] - offsets[guess] == n
        if same and same_bytes(text, np.uint64(offsets[guess]), spelled, U0, np.uint64(n)):
            joined[i] = guess
        else:
            joined[i] = find_string(as_views(strings), spelled, U0, np.uint64(n))
        guess = joined[i] + 1


def index_pairs(left, right, rank, n):
    """Builds a table of pairs of numbers below n with ranks below m (uint32[m] each); of equal pairs the last counts.

    Raises:
        ValueError: A pair and its rank don't fit 64 bits.
    """
    bits = max(1, int(n).bit_length())  # n itself is free, for a symbol that is in no pair
    if 2 * bits + len(left).bit_length() > 64:
        raise ValueError(f"{len(left)} merges of {n} tokens are too many: pair and rank must fit 64 bits")
    # At most two fifths full: most look-ups are for pairs that the table lacks, and each further slot costs time.
    n_slots = 1 << max(4, (5 * len(left) // 2).bit_length())
    pairs = Pairs(np.full(n_slots, FREE, np.uint64), bits)
    _index_pairs(plain(left, np.uint32), plain(right, np.uint32), plain(rank, np.uint32), pairs)
    return pairs


@kernel(u32[:], u32[:], u32[:], Pairs)
def _index_pairs(left, right, rank, pairs):
    mask, bits, n = np.uint64(len(pairs.slots) - 1), np.uint64(pairs.bits), len(left)
    rank_bits = np.uint64(64) - bits - bits
    slots = view(pairs.slots)
    for i in range(n):
        ahead = min(i + _AHEAD, n - 1)
        prefetch(slots, hash_pair(np.uint64(left[ahead]) << bits | np.uint64(right[ahead])) & mask)
        key = np.uint64(left[i]) << bits | np.uint64(right[i])
        slots[free_slot(slots, mask, rank_bits, key)] = key << rank_bits | np.uint64(rank[i])


@kernel(inline=True)
def rank_of(pairs, left, right):
    """The rank of a pair among the views of Pairs, or NONE."""
    slots, bits = pairs.slots, np.uint64(pairs.bits)
    rank_bits = np.uint64(64) - bits - bits
    key = np.uint64(left) << bits | np.uint64(right)
    slot = slots[free_slot(slots, np.uint64(len(slots) - 1), rank_bits, key)]
    return np.uint32(slot & ((U1 << rank_bits) - U1)) if slot != FREE else NONE


def pair_ranks(pairs, numbers):
    """The rank of each pair of `numbers` (uint32[n]), or NONE: uint32[n, n]."""
    ranks = np.empty((len(numbers), len(numbers)), np.uint32)
    _pair_ranks(pairs, plain(numbers, np.uint32), ranks)
    return ranks


@kernel(Pairs, u32[:], u32[:, :])
def _pair_ranks(pairs, numbers, ranks):
    table = as_views(pairs)
    for i in range(len(numbers)):
        for j in range(len(numbers)):
            ranks[i, j] = rank_of(table, numbers[i], numbers[j])


@kernel(Strings, u8[:], u8[:], u32[:])
def single_characters(strings, prefix, suffix, symbols):
    """Finds the strings that consist of `prefix`, one character, and `suffix`.

    Writes i + 1 to symbols[code point] for string i; symbols: uint32[0x110000], all zeros before.
    """
    data, offsets = strings.data, strings.offsets
    text = view(data)
    for i in range(len(offsets) - 1):
        first, last = offsets[i] + len(prefix), offsets[i + 1] - len(suffix)
        fits = first < last <= first + 4
        for j in range(len(prefix)):
            fits = fits and data[offsets[i] + j] == prefix[j]
        for j in range(len(suffix)):
            fits = fits and data[last + j] == suffix[j]
        if fits:  # now it is certain that a character begins at `first`
            code, size = decode(text, np.uint64(first))
            if np.int64(size) == last - first:
                symbols[code] = i + 1


def side_by_side(data, offsets, chosen, *, ascii=True):
    """Finds what is side by side in packed strings, at each position where a character begins.

    chosen: bool[n], the strings to look at; ascii: also at positions beside ASCII. -> `inside` and `crossing` of
    BpeTables: Pairs of the code points of two whole characters; and, where a string has only a part of one of the two
    characters, uint8[256, 256], 1 for the byte before and the byte after the position.
    """
    crossing = np.zeros((256, 256), np.uint8)
    slots = _side_by_side(plain(data, np.uint8), plain(offsets, np.int64), chosen, ascii, crossing)
    return Pairs(slots, CODE_BITS), crossing


@kernel
def _twice(table, rank_bits):
    """A table with twice the slots, and the same pairs."""
    larger = np.full(2 * len(table), FREE)
    slots, mask = view(larger), np.uint64(len(larger) - 1)
    for slot in table:
        if slot != FREE:
            slots[free_slot(slots, mask, rank_bits, slot >> rank_bits)] = slot
    return larger


@kernel(u8[:], i64[:], boolean[:], boolean, u8[:, :])
def _side_by_side(data, offsets, chosen, ascii, crossing):
    text, rank_bits = view(data), np.uint64(64 - 2 * CODE_BITS)
    least = 0 if ascii else 0x80
    table, count = np.full(1024, FREE), 0
    for i in range(len(offsets) - 1):
        if not chosen[i]:
            continue
        first, last = offsets[i], offsets[i + 1]
        left, whole = U0, False  # the character before p, and whether the string has all of its bytes
        p = first
        while p < last:
            if 3 * count >= len(table):
                table = _twice(table, rank_bits)
            # A view that borrows: passing an owning one on would count references at each character
            slots, mask = view(table), np.uint64(len(table) - 1)
            # Each byte brings one pair at most, so there is room
            stop = min(last, p + len(table) // 3 - count + 1)
            while p < stop:
                lead = data[p]
                size = width(lead)
                fits = lead & 0xC0 != 0x80 and p + size <= last
                right = decode(text, np.uint64(p))[0] if fits else U0
                if p > first and lead & 0xC0 != 0x80 and lead >= least and data[p - 1] >= least:
                    if fits and whole:
                        key = left << np.uint64(CODE_BITS) | right
                        at = free_slot(slots, mask, rank_bits, key)
                        if slots[at] == FREE:
                            slots[at] = key << rank_bits
                            count += 1
                    else:
                        crossing[data[p - 1], lead] = 1
                left, whole = right, fits
                p += size if fits else 1
    return table


@kernel(inline=True)
def free_slot(slots, mask, rank_bits, key):
    """The slot of a pair, or the free slot where the pair belongs."""
    at = hash_pair(key) & mask
    while slots[at] != FREE and slots[at] >> rank_bits != key:
        at = (at + U1) & mask
    return at


def spell_bytes(data, offsets, byte_of):
    """Translates packed strings of ByteLevel characters to bytes; a string with any other character becomes empty.

    byte_of: int16[512], the byte of each code point or -1. -> uint8[n_bytes], int64[n + 1].
    """
    raw, raw_offsets = np.empty(len(data), np.uint8), np.empty(len(offsets), np.int64)
    _spell_bytes(plain(data, np.uint8), plain(offsets, np.int64), byte_of, raw, raw_offsets)
    return raw[: raw_offsets[-1]], raw_offsets


@kernel(u8[:], i64[:], i16[:], u8[:], i64[:])
def _spell_bytes(data, offsets, byte_of, raw, raw_offsets):
    text = view(data)
    n = 0
    for i in range(len(offsets) - 1):
        at, last = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
        raw_offsets[i] = n
        while at < last:
            code, size = decode(text, at)
            if code >= np.uint64(512) or byte_of[code] < 0:
                n = raw_offsets[i]
                break
            raw[n] = byte_of[code]
            n += 1
            at += size
    raw_offsets[len(offsets) - 1] = n
