"""The state of BPE training (see train.py), and the hash table of its pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN
from gputok.kernels.cpu.primitives.memory import leading_zeros
from gputok.kernels.signatures import I64s, U8s, U16orU32, U32s, U64s

ONE = np.uint64(1)
AHEAD = 24  # list entries between a prefetch and its use
AHEAD_PAIRS = (
    8  # look-ups between the prefetch of a pair and its use; its slot is prefetched as many look-ups before
)
FILTER_BITS = 21  # a bit set of 256 KiB answers most look-ups for pairs that are not stored
BUCKETS = 1920  # for counts below 2 ** 63: see bucket_of

# How a slice of the work ends: all is done; the slice is used up; no stored pair is left; an array must grow; a merge gives
# the string of a token that the words contain already
DONE, PAUSED, DRY, GROW, RESPELLED = range(5)

# Scalars of the state that change, as indices into State.at
MERGES, TOKENS, PAIRS, POOL, HEAP, BUCKET, THRESHOLD, NEED, STORED, N_SCALARS = range(10)


class State(NamedTuple):
    """All arrays of the training."""

    at: I64s  # int64[N_SCALARS]
    limits: I64s  # int64[3]: vocab_size, max_token_length, shorter_first
    veto: I64s  # int64[N_VETO] of veto.py
    traits: U64s  # uint64[ids + 1], of each token, for the veto; without a veto, uint64[0]
    prefix: U8s  # uint8[k], continuing_subword_prefix
    symbols: U16orU32  # uint16|uint32[n], the `S` of train.py
    weight: I64s  # int64[places], of each place of the words of weight 256 and more, which stand first
    small: U8s  # uint8[places], of each place of the words of weight 2 to 255, which follow; then come those of weight 1
    length: (
        U32s  # uint32[ids + 1], in places; 0: the words don't contain the symbol. The sentinel is id `ids`
    )
    merges: U32s  # uint32[3 * m], rows of left, right, merged
    merge_counts: I64s  # int64[m], of each pair when it was merged
    text: U8s  # uint8[bytes], the tokens' strings one after the other
    text_end: I64s  # int64[ids + 1]
    names: U32s  # uint32[power of two], a hash table of the tokens' strings: token + 1, or 0
    pairs: I64s  # int64[4 * pairs], rows of left << 32 | right, count, start and number in pool
    chain: U32s  # uint32[pairs], the row of the next pair in the same bucket + 1, or 0
    bucket: U32s  # uint32[BUCKETS], the row of its first pair + 1, or 0
    heap: I64s  # int64[3 * pairs], count, key and row of the pairs of the bucket in hand
    slots: U32s  # uint32[power of two], a hash table of the pairs: row + 1, or 0
    filter: U64s  # uint64[2 ** FILTER_BITS / 64]
    pool: U32s  # uint32[entries], the lists
    records: U32s  # uint32[3 * largest list]: place, left and right neighbour of each occurrence
    # int64[2 * ids + 4], for each left neighbour: weight - number (then the end of its list), and number
    left: I64s
    right: I64s  # int64[2 * ids + 4], likewise for each right neighbour
    touched_left: U32s  # uint32[ids + 2], the distinct left neighbours
    touched_right: U32s  # uint32[ids + 2]


@kernel(inline=True)
def weight_at(weight, first_small, small, first_single, p):
    """The weight of the word at place p."""
    if p < first_small:
        return weight[p]
    if p < first_single:
        return np.int64(small[p - first_small])
    return np.int64(1)


@kernel(inline=True)
def bucket_of(count):
    """The bucket of a count: the count itself below 64, then 32 buckets for each power of two."""
    count = np.uint64(count)
    if count < np.uint64(64):
        return np.int64(count)
    shift = np.uint64(58) - leading_zeros(count)
    return np.int64((shift << np.uint64(5)) + (count >> shift))


# The helpers below take views: arrays would be reference-counted in the loops that call the helpers


@kernel(inline=True)
def home(mask, key):
    """The slot where the search for a pair begins; mask: number of slots - 1."""
    return (np.uint64(key) * GOLDEN) >> np.uint64(32) & mask


@kernel(inline=True)
def filter_bit(key):
    """The number of the bit of a pair in the bit set."""
    return (np.uint64(key) * GOLDEN) >> np.uint64(64 - FILTER_BITS)


@kernel(inline=True)
def may_be_stored(filter, key):
    """Whether the bit of a pair is set; if not, the pair is not stored."""
    bit = filter_bit(key)
    return (filter[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & ONE != 0


@kernel(inline=True)
def insert(slots, mask, filter, key, row):
    """Adds a pair to the hash table and to the bit set; the table must not contain the pair."""
    bit = filter_bit(key)
    word = bit >> np.uint64(6)
    filter[word] = filter[word] | ONE << (bit & np.uint64(63))
    slot = home(mask, key)
    while slots[slot] != 0:
        slot = (slot + ONE) & mask
    slots[slot] = row + 1


@kernel(inline=True)
def lower(pairs, slots, mask, key, count):
    """Subtracts from the count of a pair, if the pair is stored."""
    slot = home(mask, key)
    while slots[slot] != 0:
        at = (np.uint64(slots[slot]) - ONE) << np.uint64(2)
        if pairs[at] == key:
            pairs[at + ONE] = pairs[at + ONE] - count
            return
        slot = (slot + ONE) & mask


@kernel(inline=True)
def add_pair(pairs, row, key, count, start, number):
    """Writes a row of `pairs`."""
    at = np.uint64(row) << np.uint64(2)
    pairs[at] = key
    pairs[at + np.uint64(1)] = count
    pairs[at + np.uint64(2)] = start
    pairs[at + np.uint64(3)] = number


@kernel(inline=True)
def add_to_bucket(bucket, chain, k, row):
    """Puts a pair at the head of the chain of bucket k."""
    chain[row] = bucket[k]
    bucket[k] = row + 1
