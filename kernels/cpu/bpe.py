"""Training BPE: all merges, in the order and with the ties of the namesake.

The layout decides the speed. The unique words stand one after the other in one array of symbols `S`, a sentinel
between them. A token of length n keeps its n places and its id stands at its *first and last* place, so that
the left neighbour of a token at p is `S[p - 1]`, the right one `S[p + length]`, with no links at all.

- A pair (a, b) has a list of the first places of `a`, written once. An entry is stale, and skipped, unless still
  `S[p] == a` and `S[p + length[a]] == b`; the first place of a right part is overwritten with an invalid id.
  Lists ascend, so a run `aaaa` merges from left to right.
- While a pair is merged, weights are gathered by *neighbour*; afterwards each distinct neighbour costs one look-up.
- Pairs of a count below a threshold are not stored. Counts only fall after a pair is born, so they cannot come
  first while the top stays at the threshold or above; when none is left there, the threshold is lowered and
  the pairs are indexed again by one scan.
- The queue has a bucket for each range of counts (five bits of mantissa); only the bucket in hand is ordered, by a
  heap. A count that has fallen is noticed when its pair comes up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import BpeLimits, BpeMerges
from .bpe_index import index_characters, index_pairs, index_table, lay_out
from .bpe_merge import merge
from .bpe_queue import train_bpe_queued
from .bpe_state import (
    BUCKETS,
    DONE,
    DRY,
    FILTER_BITS,
    GROW,
    MERGES,
    N_SCALARS,
    NEED,
    PAIRS,
    PAUSED,
    POOL,
    RESPELLED,
    STORED,
    THRESHOLD,
    TOKENS,
    State,
)
from .bpe_strings import index_names, power_of_two, resized

_SLICE = 10_000_000  # occurrences looked at between two calls of progress, about 0.1 s
_ROOM = 1 << 16  # for pairs, beyond those that there are
_FEW_TOKENS = 1500  # whose pairs are counted in one table, of 36 MB at most


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of the words symbols[offsets[i]:offsets[i + 1]], as `reference.train_bpe` finds them."""
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + len(symbols)))
    dtype = np.uint16 if ids + 1 < 1 << 16 else np.uint32
    length = np.zeros(ids + 1, np.uint32)[:ids]  # the sentinel's is read, too
    n_places, first_single = lay_out(
        symbols, offsets, counts, np.empty(0, dtype), np.empty(0, np.int64), length
    )
    if n_places >= 1 << 32:
        raise OverflowError(
            f"the distinct words have {n_places:,} symbols, and lists of places hold 32 bits: leave out rare words"
        )
    places, weight = np.empty(n_places, dtype), np.empty(first_single, np.int64)
    lay_out(symbols, offsets, counts, places, weight, length)

    total = int(counts @ np.maximum(np.diff(offsets) - 1, 0))
    floor = max(1, limits.min_frequency)
    # Far enough below the last merge's count on real text that the pairs are indexed only once (3 to 10 times)
    threshold = max(floor, total // (128 * max(limits.vocab_size, 1)))
    state = State(
        at=np.zeros(N_SCALARS, np.int64),
        limits=np.array([limits.vocab_size, limits.max_token_length], np.int64),
        prefix=np.frombuffer(limits.prefix, np.uint8),
        symbols=places,
        weight=weight,
        length=length,
        merges=np.empty((3, ids), np.uint32),
        text=resized(tokens, len(tokens) + 16 * ids),
        text_end=resized(token_offsets, ids + 1),
        names=np.zeros(power_of_two(2 * ids), np.int32),
        bucket=np.empty(BUCKETS, np.int32),
        filter=np.empty((1 << FILTER_BITS) // 64, np.uint64),
        pool=np.empty(3 * n_places, np.uint32),
        left=np.zeros(2 * (ids + 2), np.int64),
        right=np.zeros(2 * (ids + 2), np.int64),
        touched_left=np.empty(ids + 2, np.uint32),
        touched_right=np.empty(ids + 2, np.uint32),
        **dict.fromkeys(("pairs", "heap", "table"), np.empty(0, np.int64)),
        chain=np.empty(0, np.int32),
        records=np.empty(0, np.uint32),
    )
    state.at[TOKENS] = n_tokens
    index_names(state.text, state.text_end, n_tokens, state.names)
    state = _indexed(state, threshold, total)
    outcome = PAUSED
    while outcome != DONE:
        outcome = merge(state, _SLICE)
        if progress is not None:
            progress(int(state.at[TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
        if outcome == GROW:
            state = _grown(state)
        elif outcome == DRY and threshold > floor:
            threshold = max(floor, threshold // 8)
            state = _indexed(state, threshold, total)
        elif outcome == DRY:
            outcome = DONE
        elif outcome == RESPELLED:
            return train_bpe_queued(symbols, offsets, counts, tokens, token_offsets, limits, progress)
    n_tokens, text_end = int(state.at[TOKENS]), state.text_end
    return BpeMerges(
        *state.merges[:, : state.at[MERGES]], state.text[: text_end[n_tokens]], text_end[: n_tokens + 1]
    )


def _indexed(state: State, threshold: int, total: int) -> State:
    """The state with every pair of count `threshold` or more stored; total: the weight of all pairs."""
    room = min(total // threshold, len(state.symbols)) + _ROOM
    state.at[THRESHOLD] = threshold
    state = state._replace(
        pairs=np.empty(4 * room, np.int64), chain=np.empty(room, np.int32), heap=np.empty(3 * room, np.int64)
    )
    if state.at[MERGES] == 0 and state.at[TOKENS] < _FEW_TOKENS:
        index_characters(state, np.zeros(2 * (int(state.at[TOKENS]) + 1) ** 2, np.int64))
    else:
        index_pairs(state, np.empty(len(state.symbols), np.uint32))
    state = state._replace(records=np.empty(3 * state.at[NEED], np.uint32))
    return _with_table(state, 2 * int(state.at[PAIRS]) + _ROOM, np.empty(0, np.int64))


def _with_table(state: State, n_slots: int, counts: np.ndarray) -> State:
    """The state with a hash table of n_slots, of counts in the one before, or (empty) in `pairs` themselves."""
    table = np.zeros(2 * (power_of_two(n_slots) + 1), np.int64)
    state.at[STORED] = index_table(
        state.pairs, state.at[PAIRS], state.at[THRESHOLD], counts, table, state.filter
    )
    return state._replace(table=table)


def _grown(state: State) -> State:
    """The state with room for the next merge: whatever is short of it at least doubles."""
    number = int(state.at[NEED])
    born = 2 * min(number, len(state.length))
    n_pairs = int(state.at[PAIRS]) + born
    if n_pairs > len(state.chain):
        state = state._replace(
            pairs=resized(state.pairs, 8 * n_pairs),
            chain=resized(state.chain, 2 * n_pairs),
            heap=resized(state.heap, 6 * n_pairs),
        )
    if 3 * (state.at[STORED] + born) > len(state.table):
        state = _with_table(state, 2 * int(state.at[STORED] + born), state.table)
    if state.at[POOL] + 3 * number > len(state.pool):
        state = state._replace(pool=resized(state.pool, 2 * (int(state.at[POOL]) + 3 * number)))
    if 3 * number > len(state.records):
        state = state._replace(records=np.empty(6 * number, np.uint32))
    return state._replace(text=resized(state.text, 2 * len(state.text)))
