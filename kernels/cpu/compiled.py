"""Checks of the tables in the file of a compiled tokenizer, before other kernels index memory by their numbers."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import FREE, NONE
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U3, U4, U64
from gputok.kernels.cpu.primitives.hashing import mix
from gputok.kernels.cpu.primitives.memory import prefetch, view
from gputok.kernels.signatures import i64, u32, u64

_WORDS_AHEAD = 512  # how many uint64 ahead memory is prefetched: the processor itself stops at each page of 4 KB


def checksum(words: np.ndarray) -> int:
    """A number of 64 bits for uint64[n]; it is another number if a single element is changed in any way.

    >>> checksum(np.arange(9, dtype=np.uint64)) == checksum(np.arange(9, dtype=np.uint64)[::-1].copy())
    False
    """
    return int(_checksum(words)) & 0xFFFFFFFFFFFFFFFF


@kernel(u64[:])
def _checksum(words):
    """Mixes four numbers side by side: one `mix` takes as long as memory for four elements."""
    given, n = view(words), np.int64(len(words))
    a, b, c, d = U1, U2, U3, U4
    for i in range(0, n - 3, 4):
        prefetch(given, np.uint64(i + _WORDS_AHEAD))
        a, b = mix(a ^ given[i]), mix(b ^ given[i + 1])
        c, d = mix(c ^ given[i + 2]), mix(d ^ given[i + 3])
    for i in range(n - n % 4, n):
        a = mix(a ^ given[i])
    return np.int64(mix(mix(mix(a) ^ b) ^ c) ^ d)


def wrong_merge(offsets: np.ndarray, merges: np.ndarray) -> int:
    """The first merge that can't be true, by the numbers and lengths of its tokens alone, or -1.

    Args:
        offsets: int64[n + 1], rising: of the bytes of each token.
        merges: uint32[3, m], the numbers of left and right tokens, and of tokens as long as both, or NONE.

    >>> offsets = np.array([0, 1, 2, 4])
    >>> wrong_merge(offsets, np.array([[0, 1], [1, 0], [2, 1]], np.uint32))
    1
    """
    return int(_wrong_merge(offsets, merges))


@kernel(i64[:], u32[:, :])
def _wrong_merge(offsets, merges):
    ends, given = view(offsets), view(merges)
    n, m = np.uint64(len(offsets) - 1), merges.shape[1]
    for i in range(m):
        # Elements i, m + i and 2 * m + i of 3 * m; a token below n has two elements of n + 1
        left, right, made = np.uint64(given[i]), np.uint64(given[m + i]), np.uint64(given[2 * m + i])
        if left >= n or right >= n:
            return i
        if made != NONE:
            if made >= n:
                return i
            length = ends[left + U1] - ends[left] + ends[right + U1] - ends[right]
            if ends[made + U1] - ends[made] != length:
                return i
    return np.int64(-1)


def free_pairs(slots: np.ndarray, bits: int, n: int, m: int) -> int:
    """How many slots of Pairs (uint64[2**k], four or more) are free; -1 if a slot has a number >= n or a rank >= m.

    >>> from gputok.kernels.cpu.lookup import index_pairs
    >>> pairs = index_pairs(*np.array([[0, 2], [1, 3]], np.uint32), np.arange(2), 4)
    >>> free_pairs(*pairs, 4, 2), free_pairs(*pairs, 3, 2), free_pairs(*pairs, 4, 1)
    (14, -1, -1)
    """
    return int(_free_pairs(slots, *map(np.uint64, (bits, n, m))))


@kernel(u64[:], u64, u64, u64)
def _free_pairs(slots, bits, n, m):
    given, n_free, outside = view(slots), np.int64(0), U0
    rank_bits = U64 - bits - bits
    number, rank = (U1 << bits) - U1, (U1 << rank_bits) - U1
    for i in range(0, len(slots) - 3, 4):
        prefetch(given, np.uint64(i + _WORDS_AHEAD))
        for k in range(4):
            slot = given[i + k]
            left, right = slot >> rank_bits >> bits, slot >> rank_bits & number
            n_free += np.int64(slot == FREE)
            outside |= np.uint64(slot != FREE) & np.uint64((left >= n) | (right >= n) | (slot & rank >= m))
    return np.int64(-1) if outside else n_free


def free_slots(slots: np.ndarray, free: int, shift: int, bits: int, numbers: range) -> int:
    """How many slots of a hash table are free; -1 if a slot that isn't free has a number outside of a range.

    Args:
        slots: uint64[capacity], or [capacity, 2], of keys and values.
        free: a free slot, or its key.
        shift: how many bits of a slot, or of its value, lie below the number.
        bits: how many bits the number has.
        numbers: the range of numbers that are right.

    >>> slots = np.array([0, 5 << 32 | 1, 7 << 32 | 3], np.uint64)
    >>> free_slots(slots, 0, 0, 32, range(1, 4)), free_slots(slots, 0, 0, 32, range(1, 3))
    (1, -1)
    """
    limits = map(np.uint64, (free, shift, (1 << bits) - 1, numbers.start, len(numbers)))
    return int(_free_slots(slots.reshape(-1), slots.size // len(slots), *limits))


@kernel(u64[:], i64, u64, u64, u64, u64, u64)
def _free_slots(slots, width, free, shift, mask, first, count):
    given, n_free, outside = view(slots), np.int64(0), U0
    for i in range(0, len(slots) - width + 1, width):
        is_free = given[i] == free
        n_free += np.int64(is_free)
        number = (given[i + width - 1] >> shift & mask) - first
        outside |= np.uint64(not is_free) & np.uint64(number >= count)
    return np.int64(-1) if outside else n_free
