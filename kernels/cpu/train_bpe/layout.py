"""The state of BPE training (see train.py): what threads share, and what one thread owns; the hash table of pairs."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN, U1, U2
from gputok.kernels.cpu.primitives.handle import WORDS
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    atomic_add,
    atomic_claim,
    atomic_load,
    record_at,
    tail,
)
from gputok.kernels.cpu.veto import may_merge
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U16orU32, U32s, U64s

AHEAD = 24  # list entries between a prefetch and its use
# Look-ups between the prefetch of a pair and its use; the slot of the pair is prefetched as many look-ups before
AHEAD_PAIRS = 8
MOST = 256  # merges of a batch

# How a call of `merge_in_batches` ends: all is done; its `work` is used up; no stored pair is left; an array must
# grow; a merge gives the string of a token that the words contain already; other threads are not ready yet
DONE, PAUSED, DRY, GROW, RESPELLED, WAITING = range(6)

# What the next call begins with, in State.at[PHASE]
PICK, TO_APPLY, APPLYING, TO_SETTLE, SETTLING = range(5)

# Scalars of the state that change, as indices into State.at. PAIRS: rows of `pairs`; the first QUEUED were seen for
# the queue; STORED: pairs in `slots`; OLD_TOKENS: TOKENS before the batch; RESPELT: the token of a merge in the batch
# that makes no new token, or -1; MOST_BORN: a bound for the new pairs of the batch; NEED_*: room that arrays must have
(
    MERGES, TOKENS, PAIRS, QUEUED, HEAP, FLOOR, STORED, SPARE, WORK, PHASE, KIND, BATCH, N_BATCH, OLD_TOKENS,
    RESPELT, MOST_BORN, NEED_PAIRS, NEED_STORED, NEED_TEXT, N_SCALARS,
) = range(20)  # fmt: skip

# Elements of State.shared, each with a cache line of its own: the number of the step, how many units of it are done,
# and whether `Training._turn` is over; then, for each part, the last step for which a thread has claimed it
LINE = 8
STEP, READY, STOP, CLAIMS = 0, LINE, 2 * LINE, 3 * LINE

# Scalars of a part, as indices into its `at`. POOL, FULL: where the lists end in the pool, and may end; LARGEST: the
# entries of the longest list; APPLIED: the last batch of the part; PENDING: its merges whose records are in no list yet
(
    N_HEAVY, N_SMALL, POOL, FULL, LARGEST, MOVED, APPLIED, PENDING, N_RECORDS, N_BORN, N_LATE,
    NEED_POOL, NEED_BORN, NEED_SETTLED, N_PART_SCALARS,
) = range(15)  # fmt: skip


class State(NamedTuple):
    """What all threads share. The steps take its views: arrays as arguments would be reference-counted in the loops."""

    at: I64s  # int64[N_SCALARS]
    shared: I64s  # int64[CLAIMS + LINE * parts], which threads change at the same time
    threshold: int  # pairs of a smaller count are not stored
    vocab_size: int
    max_length: int
    shorter_first: bool  # of equally frequent pairs, the shorter string comes first
    veto: I64s  # int64[N_VETO] of veto.py
    traits: U64s  # uint64[ids + 1], of each token, for the veto; without a veto, uint64[0]
    prefix: U8s  # uint8[k], continuing_subword_prefix
    symbols: U16orU32  # uint16|uint32[n], the symbols of the first part: their type is that of all parts
    table: U64s  # uint64[parts * N_FIELDS * WORDS], the numbers of a `Handle` for each `ThreadWords`
    length: U32s  # uint32[ids + 1], in positions; 0: the words don't contain the symbol. The sentinel is id `ids`
    merges: U32s  # uint32[3 * m], rows of left, right, merged
    merge_counts: I64s  # int64[m], of each pair when it was merged
    text: U8s  # uint8[bytes], the tokens' strings one after the other
    text_end: I64s  # int64[ids + 1]
    names: U64s  # uint64[power of two], the table of `Strings` that finds the tokens
    pairs: I64s  # int64[2 * pairs], rows of left << 32 | right, and count
    heap: I64s  # int64[3 * pairs], count, key and row of the queued pairs: those whose count was at[FLOOR] or more
    slots: U32s  # uint32[power of two], a hash table of the pairs: row + 1, or 0
    batch: I64s  # int64[3 * MOST], pair, row in `pairs`, merged token
    sides: U32s  # uint32[2 * (ids + 2)], the last batch in which each id is a left part, and a right part


class ThreadWords(NamedTuple):
    """The words of one thread, with what only this thread changes."""

    at: I64s  # [N_PART_SCALARS]
    symbols: U16orU32  # [n], the array `S` of train.py
    weight: I64s  # [1 + positions], of each position of the words of weight 256 and more, which stand first
    # [positions], of each position of the words of weight 2 to 255, which follow; then come those of weight 1
    small: U8s
    pool: U32s  # [entries]; a list is the row of its pair, the number of its entries, and the entries
    lists: I64s  # [pairs], where the list of each pair begins in the pool; 0: the part has none
    records: U32s  # [3 * n / 2], position, left and right neighbour of each occurrence of the batch
    # for each left neighbour: weight - number (then the end of its list), and number
    left: I64s  # [2 * ids + 4]
    right: I64s  # [2 * ids + 4], likewise for each right neighbour
    touched_left: U32s  # [ids + 2], the distinct left neighbours
    touched_right: U32s  # [ids + 2]
    # For each merge of the batch, the ends of its records, of its left neighbours and of its right ones in `born_*`
    ends: I64s  # [3 * MOST]
    born_keys: U64s  # [k], merge << 33 | side << 32 | neighbour
    born_weights: I64s  # [k]
    born_numbers: U32s  # [k], of occurrences
    sorted: U64s  # [2 * k], keys and weights (then rows) of born_*, by shard
    shards: I64s  # [2 * parts + 2], where each shard begins in `sorted`; then where it goes on
    settled_slots: U32s  # [power of two, at least 2 * n], a hash table of settled_keys
    settled_keys: U64s  # [n], distinct keys of the shard of this number
    settled_sums: I64s  # [n], their weights, then rows
    late: I64s  # [2 * n], pair and weight that the pair loses


N_FIELDS = len(ThreadWords._fields)


@kernel(inline=True)
def sentinel_of(s):
    """The sentinel of a State, or of its views."""
    return np.uint64(len(s.length) - 1)


@kernel(inline=True)
def n_parts_of(s):
    """The number of parts of a State, or of its views."""
    return np.uint64(len(s.table)) // np.uint64(N_FIELDS * WORDS)


@kernel(inline=True)
def part_of(s, part):
    """The views of a part, a `ThreadWords`; 0 <= part < n_parts.

    Nothing here takes the State itself, whose arrays would be reference-counted: 0.2 microseconds for each merge.
    """
    numbers = tail(s.table, np.uint64(part) * np.uint64(N_FIELDS * WORDS))
    return as_views(record_at(numbers, ThreadWords, s.symbols))


@kernel(inline=True)
def classes_of(part):
    """Where the positions of words of weight 2 to 255 begin, and those of weight 1."""
    first_small = np.uint64(part.at[N_HEAVY])
    return first_small, first_small + np.uint64(part.at[N_SMALL])


@kernel(inline=True)
def weight_at(part, classes, p):
    """The weight of the word at position p; classes: of `classes_of`."""
    first_small, first_single = classes
    if p < first_small:
        return part.weight[p]
    if p < first_single:
        return np.int64(part.small[p - first_small])
    return np.int64(1)


@kernel(inline=True)
def may_be_born(s, a, b, count):
    """Whether a new pair of this count is stored. max_length doesn't matter for two initial symbols."""
    if count < s.threshold:
        return False
    length = np.uint64(s.length[a]) + np.uint64(s.length[b])
    return (length < np.uint64(s.max_length) or length == U2) and may_merge(
        np.uint64(len(s.traits)), s.traits, s.veto, a, b
    )


# The helpers below take views: arrays would be reference-counted in the loops that call the helpers


@kernel(inline=True)
def home(slots, key):
    """The slot where the search for a pair begins."""
    return (np.uint64(key) * GOLDEN) >> np.uint64(32) & np.uint64(len(slots) - 1)


@kernel(inline=True)
def insert(slots, key, row):
    """Adds a pair to the hash table, which must not contain the pair."""
    slot = home(slots, key)
    while slots[slot] != 0:
        slot = (slot + U1) & np.uint64(len(slots) - 1)
    slots[slot] = row + 1


@kernel(inline=True)
def insert_shared(slots, key, row):
    """`insert`, while other threads insert other pairs; the row must have been written."""
    slot = home(slots, key)
    while not atomic_claim(slots, slot, np.uint32(0), np.uint32(row + 1)):
        slot = (slot + U1) & np.uint64(len(slots) - 1)


@kernel(inline=True)
def lower(pairs, slots, key, count):
    """Subtracts from the count of a pair, if the pair is stored, while other threads lower counts and insert pairs."""
    slot = home(slots, key)
    while True:
        row = np.uint64(atomic_load(slots, slot))
        if row == np.uint64(0):
            return
        at = (row - U1) << U1
        if pairs[at] == key:
            atomic_add(pairs, at + U1, -count)
            return
        slot = (slot + U1) & np.uint64(len(slots) - 1)


@kernel(inline=True)
def add_pair(pairs, row, key, count):
    """Writes a row of `pairs`."""
    at = np.uint64(row) << U1
    pairs[at] = key
    pairs[at + U1] = count
