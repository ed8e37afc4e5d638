"""Checks of what a file holds before other kernels trust it: they index memory by numbers of these tables."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import FREE
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U3, U4, U64
from gputok.kernels.cpu.primitives.hashing import mix
from gputok.kernels.cpu.primitives.memory import prefetch, view
from gputok.kernels.signatures import i64, u64

_WORDS_AHEAD = 512  # what the processor reads ahead by itself ends with each page of 4 KB


def checksum(words: np.ndarray) -> int:
    """A number of 64 bits for uint64[n]; another one if a single element is changed in any way.

    >>> checksum(np.arange(9, dtype=np.uint64)) == checksum(np.arange(9, dtype=np.uint64)[::-1].copy())
    False
    """
    return int(_checksum(words)) & 0xFFFFFFFFFFFFFFFF


@kernel(u64[:])
def _checksum(words):
    """Four numbers side by side, since each takes as long as memory for four."""
    given, n = view(words), np.int64(len(words))
    a, b, c, d = U1, U2, U3, U4
    for i in range(0, n - 3, 4):
        prefetch(given, np.uint64(i + _WORDS_AHEAD))
        a, b = mix(a ^ given[i]), mix(b ^ given[i + 1])
        c, d = mix(c ^ given[i + 2]), mix(d ^ given[i + 3])
    for i in range(n - n % 4, n):
        a = mix(a ^ given[i])
    return np.int64(mix(mix(mix(a) ^ b) ^ c) ^ d)


def free_pairs(slots: np.ndarray, bits: int, n: int, m: int) -> int:
    """How many slots of Pairs (uint64[2**k], four or more) are free; -1 if one has a number >= n or a rank >= m.

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
    """How many slots of a hash table are free; -1 if another one has a number outside of a range.

    Args:
        slots: uint64[capacity], or [capacity, 2], of keys and values.
        free: a free slot, or its key.
        shift: the number lies above so many bits of a slot, or of its value.
        bits: of the number.
        numbers: the range.

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
