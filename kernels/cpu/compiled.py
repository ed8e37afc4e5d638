"""Checks of what a file holds before other kernels trust it: they index memory by numbers of these tables."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import FREE, NONE, free_slot
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U3, U4, U8, U64
from gputok.kernels.cpu.primitives.hashing import hash_pair, mix, same_bytes
from gputok.kernels.cpu.primitives.memory import likely, load_u64, prefetch, view
from gputok.kernels.signatures import i64, u8, u32, u64

_AHEAD = 16  # merges whose tokens are on the way while another one is compared
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


def wrong_merge(data: np.ndarray, offsets: np.ndarray, merges: np.ndarray) -> int:
    """The first merge that is none, or -1.

    Args:
        data: uint8[n_bytes], the tokens one after the other.
        offsets: int64[n + 1], which rise from 0 or more to n_bytes or less.
        merges: uint32[3, m], the numbers of left and right tokens, and of tokens with the bytes of both, or NONE.

    >>> data, offsets = np.frombuffer(b"abab", np.uint8).copy(), np.array([0, 1, 2, 4])
    >>> wrong_merge(data, offsets, np.array([[0, 1], [1, 0], [2, 2]], np.uint32))
    1
    """
    return int(_wrong_merge(data, offsets, merges))


@kernel(u8[:], i64[:], u32[:, :])
def _wrong_merge(data, offsets, merges):
    text, ends, given = view(data), view(offsets, np.uint64), view(merges)
    n, m, room = np.uint64(len(offsets) - 1), merges.shape[1], np.uint64(max(len(data) - 7, 0))
    for i in range(m):
        # Elements i, m + i and 2 * m + i of 3 * m; a token below n has two elements of n + 1
        if given[i] >= n or given[m + i] >= n or (given[2 * m + i] >= n and given[2 * m + i] != NONE):
            return i
    for i in range(m):
        ahead = min(i + _AHEAD, m - 1)
        prefetch(text, ends[given[ahead]])
        prefetch(text, ends[given[m + ahead]])
        if given[2 * m + i] == NONE:
            continue
        left, right, made = np.uint64(given[i]), np.uint64(given[m + i]), np.uint64(given[2 * m + i])
        n_left, n_right = ends[left + U1] - ends[left], ends[right + U1] - ends[right]
        if ends[made + U1] - ends[made] != n_left + n_right:
            return i
        # As long as the token, so no byte after its end is read
        if not _same(text, ends[made], ends[left], n_left, room):
            return i
        if not _same(text, ends[made] + n_left, ends[right], n_right, room):
            return i
    return np.int64(-1)


@kernel(inline=True)
def _same(text, i, j, n, room):
    """`same_bytes` of one text, as eight bytes if there are so few; from `room` on, fewer than eight follow."""
    if likely((n - U1 < U8) & (i < room) & (j < room)):
        return (load_u64(text, i) ^ load_u64(text, j)) & (ALL >> (U8 - n << U3)) == U0
    return same_bytes(text, i, text, j, n)


def count_pairs(slots: np.ndarray, bits: int, merges: np.ndarray) -> int:
    """How many slots of Pairs (uint64[2**k], bits) are in use; -1: all are, or a merge has none of its rank and pair.

    merges: uint32[3, m], as for `wrong_merge`.

    >>> from gputok.kernels.cpu.lookup import index_pairs
    >>> merges = np.array([[0, 2], [1, 0], [2, 3]], np.uint32)
    >>> pairs = index_pairs(*merges[:2], np.arange(2), 4)
    >>> count_pairs(*pairs, merges), count_pairs(*pairs, merges[:, ::-1].copy())
    (2, -1)
    """
    return int(_count_pairs(slots, bits, merges))


@kernel(u64[:], i64, u32[:, :])
def _count_pairs(slots, bits, merges):
    given, pairs, n, m = view(slots), view(merges), np.int64(len(slots)), merges.shape[1]
    shift, mask, n_used = np.uint64(bits), np.uint64(n - 1), np.int64(0)
    rank_bits = U64 - shift - shift
    for i in range(n):
        n_used += np.int64(given[i] != FREE)
    # The search below ends at a free slot, and ranks leave the pair's bits alone
    if n_used >= n or np.uint64(m) >> rank_bits:
        return np.int64(-1)
    for i in range(m):
        # Elements i and m + i of 3 * m
        ahead = min(i + _AHEAD, m - 1)
        prefetch(given, hash_pair(np.uint64(pairs[ahead]) << shift | np.uint64(pairs[m + ahead])) & mask)
        key = np.uint64(pairs[i]) << shift | np.uint64(pairs[m + i])
        if given[free_slot(given, mask, rank_bits, key)] != key << rank_bits | np.uint64(i):
            return np.int64(-1)
    return n_used


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
