"""Training BPE: all merges, in the order and with the ties of `tokenizers`.

The layout decides the speed. The unique words stand one after the other in one array of symbols `S`, with a sentinel
between them. A token of length n keeps its n places, and its id stands at its *first and last* place. So the left
neighbour of a token at p is `S[p - 1]`, and the right neighbour `S[p + length]`, without any links.

- A pair (a, b) has a list of the first places of `a`, which is written once. An entry is stale, and skipped, unless
  `S[p] == a` and `S[p + length[a]] == b` still hold; a merge overwrites the first place of the right part with an invalid
  id. Lists ascend, so that a run `aaaa` merges from left to right.
- While a pair is merged, weights are gathered by *neighbour*; afterwards each distinct neighbour costs one look-up.
- Pairs with a count below a threshold are not stored. The count of a pair never rises after the pair was made, so these
  pairs can't come first as long as a pair reaches the threshold. If no pair does, the threshold is lowered, and one scan
  indexes the pairs again.
- The queue has a bucket for each range of counts (five bits of mantissa); only the bucket in hand is ordered, by a
  heap. If a count has fallen, that is noticed when the pair comes up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu.primitives.token_strings import index_names, power_of_two, resized
from gputok.kernels.cpu.train_bpe.index import (
    compact,
    index_characters,
    index_pairs,
    index_slots,
    lay_out,
    measure,
)
from gputok.kernels.cpu.train_bpe.merge import merge
from gputok.kernels.cpu.train_bpe.queue import train_bpe_queued
from gputok.kernels.cpu.train_bpe.state import (
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
from gputok.kernels.cpu.train_bpe.veto import N_VETO, find_traits, veto_limits


class Sizes(NamedTuple):
    """Sizes that decide about time and memory, and never about the result."""

    slice: int = 4_000_000  # occurrences between two calls of progress, 0.05 to 0.15 s
    room: int = 1 << 16  # room for more pairs
    large_pool: int = 1 << 24  # entries; in a larger pool, memory counts more than moving lists
    spare: int = 4  # a large pool has 1 / spare more room than its lists take
    few_tokens: int = 1500  # the pairs of fewer tokens are counted in one table, of at most 36 MB


SIZES = Sizes()


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    sizes: Sizes = SIZES,
) -> BpeMerges:
    """`reference.train_bpe`, by the algorithm at the top of this file.

    Raises:
        OverflowError: if the words have 2**32 symbols or more.
    """
    parts = [(symbols, offsets, counts)]
    return train_bpe_of_parts(lambda *, measured: parts, tokens, token_offsets, limits, progress, sizes)


def train_bpe_of_parts(
    parts: Callable[..., Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]],
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    sizes: Sizes = SIZES,
) -> BpeMerges:
    """`train_bpe` for words that are spelled some at a time, so that memory holds their symbols only once.

    Args:
        parts: parts(measured=...) gives (symbols, offsets, counts) of some words at a time, and each call gives all words.
            With measured=True, the symbols are not used.
        tokens: as in `train_bpe`.
        token_offsets: as in `train_bpe`.
        limits: as in `train_bpe`.
        progress: as in `train_bpe`.
        sizes: as in `train_bpe`.
    """
    n_of_weight, total, n_symbols = np.zeros(3, np.int64), 0, 0
    for _, offsets, counts in parts(measured=True):
        measure(offsets, counts, n_of_weight)
        total += int(counts @ np.maximum(np.diff(offsets) - 1, 0))
        n_symbols += int(offsets[-1])
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + n_symbols))
    dtype = np.uint16 if ids + 1 < 1 << 16 else np.uint32
    n_places = 1 + int(n_of_weight.sum())
    if n_places >= 1 << 32:
        raise OverflowError(
            f"the distinct words have {n_places:,} symbols, and at most {1 << 32:,} can be trained on: leave out rare words"
        )
    floor = max(1, limits.min_frequency)
    # On real text, 3 to 10 times below the count of the last merge, so that the pairs are indexed only once
    threshold = max(floor, total // (128 * max(limits.vocab_size - n_tokens, 1)))
    room = _most_pairs(total, threshold, n_places, sizes)
    state = State(
        **_arrays(
            at=(N_SCALARS, np.int64),
            limits=(3, np.int64),
            veto=(N_VETO, np.int64),
            traits=(0 if limits.veto is None else ids + 1, np.uint64),
            prefix=(len(limits.prefix), np.uint8),
            symbols=(n_places, dtype),
            weight=(1 + int(n_of_weight[0]), np.int64),
            small=(int(n_of_weight[1]), np.uint8),
            length=(ids + 1, np.uint32),
            merges=(3 * ids, np.uint32),
            merge_counts=(ids, np.int64),
            text=(len(tokens) + 16 * ids, np.uint8),
            text_end=(ids + 1, np.int64),
            names=(power_of_two(2 * ids), np.uint32),
            pairs=(4 * room, np.int64),
            chain=(room, np.uint32),
            bucket=(BUCKETS, np.uint32),
            heap=(3 * room, np.int64),
            slots=(4 * sizes.room, np.uint32),
            filter=((1 << FILTER_BITS) // 64, np.uint64),
            pool=(3 * n_places, np.uint32),
            records=(0, np.uint32),
            left=(2 * (ids + 2), np.int64),
            right=(2 * (ids + 2), np.int64),
            touched_left=(ids + 2, np.uint32),
            touched_right=(ids + 2, np.uint32),
        )
    )
    state.limits[:] = limits.vocab_size, limits.max_token_length, limits.shorter_first
    state.prefix[:] = np.frombuffer(limits.prefix, np.uint8)
    state.text[: len(tokens)] = tokens
    state.text_end[: n_tokens + 1] = token_offsets
    if limits.veto is not None:
        state.veto[:] = veto_limits(limits.veto)
        space = np.frombuffer(limits.veto.space, np.uint8)
        find_traits(state.text, state.text_end, n_tokens, space, state.traits)
    state.symbols[0] = ids
    ends = 1 + np.cumsum(n_of_weight) - n_of_weight
    for symbols, offsets, counts in parts(measured=False):
        lay_out(symbols, offsets, counts, ids, state.symbols, state.weight, state.small, state.length, ends)
    symbols = offsets = counts = None  # of the last part
    state.at[TOKENS] = n_tokens
    index_names(state.text, state.text_end, n_tokens, state.names)
    reserved = state.pool
    state = _with_pool(_indexed(state, threshold, total, sizes), reserved, sizes)
    outcome = PAUSED
    while outcome != DONE:
        outcome = merge(state, sizes.slice)
        if progress is not None:
            progress(int(state.at[TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
        if outcome == GROW:
            state = _grown(state, reserved, sizes)
        elif outcome == DRY and threshold > floor:
            threshold = max(floor, threshold // 8)
            reserved = reserved if len(reserved) >= len(state.pool) else state.pool
            state = _indexed(state._replace(pool=reserved), threshold, total, sizes)
            state = _with_pool(state, reserved, sizes)
        elif outcome == DRY:
            outcome = DONE
        elif outcome == RESPELLED:
            if limits.shorter_first:
                raise NotImplementedError(
                    "two merges spell one string, which SentencePiece's rule for ties leaves open"
                )
            return train_bpe_queued(*_joined(parts(measured=False)), tokens, token_offsets, limits, progress)
    n_tokens, n_merges = int(state.at[TOKENS]), int(state.at[MERGES])
    token_offsets = state.text_end[: n_tokens + 1].copy()
    merges = state.merges[: 3 * n_merges].reshape(-1, 3).T.copy()
    return BpeMerges(
        *merges, state.merge_counts[:n_merges].copy(), state.text[: token_offsets[-1]].copy(), token_offsets
    )


def _joined(parts: Iterable[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of all parts: symbols, offsets and counts."""
    symbols, offsets, counts = zip(*parts, strict=True)
    starts = np.cumsum([0, *map(len, symbols)])
    ends = [part[1:] + start for part, start in zip(offsets, starts[:-1], strict=True)]
    return np.concatenate(symbols), np.concatenate([starts[:1], *ends]), np.concatenate(counts)


def _arrays(**specs: tuple[int, type]) -> dict[str, np.ndarray]:
    """Makes arrays of zeros, by name, with these sizes and dtypes, in one block of memory.

    NumPy asks the operating system for huge pages if a block has 4 MiB or more. The page faults of small pages took a
    sixth of the time of a corpus whose merges take 30 ms.
    """
    sizes = [n * np.dtype(dtype).itemsize for n, dtype in specs.values()]
    starts = np.cumsum([0, *(size + -size % 64 for size in sizes)]).tolist()
    block = np.zeros(starts[-1], np.uint8)
    return {
        name: block[start : start + size].view(dtype)
        for (name, (_, dtype)), start, size in zip(specs.items(), starts, sizes, strict=False)
    }


def _most_pairs(total: int, threshold: int, n_places: int, sizes: Sizes) -> int:
    """A bound for the number of pairs that reach the threshold, plus room; total: the weight of all pairs."""
    return min(total // threshold, n_places) + sizes.room


def _indexed(state: State, threshold: int, total: int, sizes: Sizes) -> State:
    """The state with all pairs stored that reach `threshold`; total: the weight of all pairs."""
    state.at[THRESHOLD] = threshold
    room = _most_pairs(total, threshold, len(state.symbols), sizes)
    if room > len(state.chain):
        state = state._replace(
            pairs=np.empty(4 * room, np.int64),
            chain=np.empty(room, np.uint32),
            heap=np.empty(3 * room, np.int64),
        )
    if state.at[MERGES] == 0 and state.at[TOKENS] < sizes.few_tokens:
        index_characters(state, np.zeros(2 * (int(state.at[TOKENS]) + 1) ** 2, np.int64))
    else:
        index_pairs(state, np.empty(len(state.symbols), np.uint32))
    state = state._replace(records=np.empty(3 * state.at[NEED], np.uint32))
    return _with_slots(state, 2 * int(state.at[PAIRS]) + sizes.room)


def _with_slots(state: State, n: int) -> State:
    """The state with the stored pairs in a hash table of at least n slots."""
    at, n = state.at, power_of_two(n)
    slots = state.slots[:n] if n <= len(state.slots) else np.empty(n, np.uint32)
    at[STORED] = index_slots(state.pairs, at[PAIRS], at[THRESHOLD], slots, state.filter)
    return state._replace(slots=slots)


def _with_pool(state: State, reserved: np.ndarray, sizes: Sizes) -> State:
    """The state with as much of the reserved pool as its lists take now, and some room.

    Memory that nobody touches costs nothing: lists that end before the reserved memory does leave the rest to others. A
    small corpus gets all of it.
    """
    n = _pool_size(int(state.at[POOL]) + 3 * int(state.at[NEED]), sizes)
    takes_all = len(reserved) < sizes.large_pool or n > len(reserved)
    return state._replace(pool=reserved if takes_all else reserved[:n])


def _pool_size(used: int, sizes: Sizes) -> int:
    return used + used // sizes.spare


def _grown(state: State, reserved: np.ndarray, sizes: Sizes) -> State:
    """The state with room for the next merge: each array that is too short at least doubles.

    Only the pool grows less: first it gives up the lists that are not needed any longer.
    """
    number = int(state.at[NEED])
    born = 2 * min(number, len(state.length))
    n_pairs = int(state.at[PAIRS]) + born
    if n_pairs > len(state.chain):
        state = state._replace(
            pairs=resized(state.pairs, 8 * n_pairs),
            chain=resized(state.chain, 2 * n_pairs),
            heap=resized(state.heap, 6 * n_pairs),
        )
    if 3 * (state.at[STORED] + born) > 2 * len(state.slots):
        state = _with_slots(state, 2 * int(state.at[STORED] + born))
    if state.at[POOL] + 3 * number > len(state.pool):
        compact(state)
        n = _pool_size(int(state.at[POOL]) + 3 * number, sizes)
        if n <= len(reserved):
            state = state._replace(pool=reserved[: max(n, len(state.pool))])
        elif n > len(state.pool):
            state = state._replace(pool=resized(state.pool, n))
    if 3 * number > len(state.records):
        state = state._replace(records=np.empty(6 * number, np.uint32))
    return state._replace(text=resized(state.text, 2 * len(state.text)))
