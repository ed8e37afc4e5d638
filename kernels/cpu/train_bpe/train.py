"""Training BPE: all merges, in the order and with the ties of `tokenizers`.

The layout decides the speed. The unique words stand one after the other in an array of symbols `S`, with a sentinel
between them. A token of length n keeps its n positions, and its id stands at its *first and last* position. So the left
neighbour of a token at p is `S[p - 1]`, and the right neighbour `S[p + length]`, without any links.

- A pair (a, b) has a list of the first positions of `a`, which is written once. An entry is stale, and skipped, unless
  `S[p] == a` and `S[p + length[a]] == b` still hold; a merge overwrites the first position of the right part with an
  invalid id. Lists ascend, so that a run `aaaa` merges from left to right.
- While a pair is merged, weights are gathered by *neighbour*; afterwards each distinct neighbour costs one look-up.
- Pairs with a count below a threshold are not stored. The count of a pair never rises after the pair was made, so these
  pairs can't come first as long as a pair reaches the threshold. If no pair does, the threshold is lowered, and one
  scan indexes the pairs again.
- The queue is a heap of the pairs whose count is at least a floor. If none is left, the floor falls. If a count has
  fallen, that is noticed when the pair comes up.
- Each thread has a *part* of the words, in blocks that go to the parts in turn, with symbols, lists and memory for
  gathering of its own. Pairs, their counts and the queue are those of all parts, which merge in batches: batches.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu.lookup import index_strings
from gputok.kernels.cpu.primitives.arrays import resized
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.train_bpe import layout
from gputok.kernels.cpu.train_bpe.batches import assist, merge_in_batches
from gputok.kernels.cpu.train_bpe.index import (
    BLOCK,
    choose_characters,
    count_characters,
    deal_characters,
    index_pairs,
    index_slots,
    lay_out,
    measure,
    order_places,
)
from gputok.kernels.cpu.train_bpe.layout import State, ThreadWords
from gputok.kernels.cpu.train_bpe.queue import train_bpe_queued
from gputok.kernels.cpu.train_bpe.token_strings import learnt, power_of_two
from gputok.kernels.cpu.veto import put_traits, veto_limits
from gputok.kernels.signatures import NamedTuple
from gputok.kernels.threads import PLACES_PER_THREAD, ThreadPool, results, yield_core

_APART = 16  # numbers from one part's to the next one's: no two are in one cache line, wherever the array begins
_SPARSE = ("pool", "records", "heap")  # of these arrays, mostly the beginning is used
Words = tuple[np.ndarray, ...]


class TrainSizes(NamedTuple):
    """Sizes that decide about time and memory, and never about the result."""

    slice: int = 4_000_000  # occurrences between two calls of progress, 0.05 to 0.15 s
    room: int = 1 << 16  # room for more pairs
    large_pool: int = 1 << 22  # entries; in a larger pool, memory counts more than moving lists
    spare: int = 8  # a large pool has 1 / spare more room than its lists take
    few_tokens: int = 1500  # the pairs of fewer tokens are counted in one table, of at most 36 MB
    part: int = PLACES_PER_THREAD
    parts: int = 0  # how many parts the words have; 0: by `part` and the number of threads
    batch: int = layout.MOST  # merges of a batch, at most MOST
    born: int = 1 << 12  # room for neighbours of a batch


SIZES = TrainSizes()


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    sizes: TrainSizes = SIZES,
    threads: int = 1,
) -> BpeMerges:
    """Learns the same merges as `tests/reference/train_bpe.py`, by the algorithm at the top of this file.

    Raises:
        OverflowError: if the words have 2**32 symbols or more.
    """
    parts = [(symbols, offsets, counts)]
    return train_bpe_of_parts(lambda: parts, tokens, token_offsets, limits, progress, sizes, threads)


def train_bpe_of_parts(
    parts: Callable[[], Iterable[Words]],
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    sizes: TrainSizes = SIZES,
    threads: int = 1,
) -> BpeMerges:
    """`train_bpe` for words that are spelled some at a time, so that memory holds their symbols only once.

    parts() gives (symbols, offsets, counts) of some words at a time, and each call gives all words. At most `threads`
    threads merge; a small corpus takes fewer.
    """
    training = Training(parts, tokens, token_offsets, limits, sizes, threads)
    if training.is_merged(limits, progress):
        return training.merges()
    if limits.shorter_first:
        raise NotImplementedError("two merges spell one string, which SentencePiece's rule for ties leaves open")
    return train_bpe_queued(*_joined(parts()), tokens, token_offsets, limits, progress)


def _joined(parts: Iterable[Words]) -> Words:
    """The words of all parts: symbols, offsets and counts."""
    symbols, offsets, counts = zip(*parts, strict=True)
    starts = np.cumsum([0, *map(len, symbols)])
    ends = [part[1:] + start for part, start in zip(offsets, starts[:-1], strict=True)]
    return np.concatenate(symbols), np.concatenate([starts[:1], *ends]), np.concatenate(counts)


def _arrays(*specs: dict[str, tuple[int, Any]]) -> list[dict[str, np.ndarray]]:
    """Makes arrays of zeros, by name, with these sizes and dtypes, all in one block of memory.

    NumPy asks the operating system for huge pages if a block has 4 MiB or more. The page faults of small pages took a
    sixth of the time of a corpus whose merges take 30 ms. And a block of 32 MiB or more is always new memory, of which
    only what is touched is cleared: arrays of which mostly the beginning is used come last, and share few pages.
    """
    keys = [(i, name) for i, each in enumerate(specs) for name in each]
    keys.sort(key=lambda key: key[1] in _SPARSE)
    sizes = [specs[i][name][0] * np.dtype(specs[i][name][1]).itemsize for i, name in keys]
    starts = np.cumsum([0, *(size + -size % 64 for size in sizes)]).tolist()
    block = np.zeros(starts[-1], np.uint8)
    arrays: list[dict[str, np.ndarray]] = [{} for _ in specs]
    for (i, name), start, size in zip(keys, starts[:-1], sizes, strict=True):
        arrays[i][name] = block[start : start + size].view(specs[i][name][1])
    return arrays


class Training:
    """The state of a training, and the arrays of its parts."""

    def __init__(
        self,
        spelled: Callable[[], Iterable[Words]],
        tokens: np.ndarray,
        token_offsets: np.ndarray,
        limits: BpeLimits,
        sizes: TrainSizes,
        threads: int,
    ) -> None:
        self._sizes = sizes
        n_of_weight, n_symbols = self._measure(spelled, threads)
        n_tokens, n_places = len(token_offsets) - 1, int(n_of_weight.sum())
        if n_places + 1 >= 1 << 32:
            raise OverflowError(
                f"the distinct words have {n_places + 1:,} symbols, and at most {1 << 32:,} can be trained on: leave "
                "out rare words"
            )
        ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + n_symbols))
        self._floor = max(1, limits.min_frequency)
        # On real text, this threshold is 2 to 10 times below the count of the last merge, so that the pairs are indexed
        # only once. Pairs that occur once are so many that they are stored only if the quotient is 1 or less
        expected, rest = divmod(self._total, 128 * max(limits.vocab_size - n_tokens, 1))
        threshold = max(self._floor, expected + (expected == 1 and rest > 0))
        self._n_places = n_places
        # On real text, a merge makes 2 to 4 pairs that reach the threshold, in Chinese 12. With room for the most that
        # are possible, the arrays would lie in twice as many huge pages
        room = min(self._most_pairs(threshold), max(4 * ids + n_places // 64, self._n_of_table(n_tokens) // 2))
        specs: dict[str, tuple[int, Any]] = {
            "at": (layout.N_SCALARS, np.int64),
            "shared": (layout.CLAIMS + layout.LINE * self.n_parts, np.int64),
            "traits": (0 if limits.veto is None else ids + 1, np.uint64),
            "length": (ids + 1, np.uint32),
            "merges": (3 * ids, np.uint32),
            "merge_counts": (ids, np.int64),
            "text": (len(tokens) + 16 * ids, np.uint8),
            "text_end": (ids + 1, np.int64),
            "pairs": (2 * room, np.int64),
            "heap": (3 * room, np.int64),
            "slots": (4 * sizes.room, np.uint32),
            "batch": (3 * layout.MOST, np.int64),
            "sides": (2 * (ids + 2), np.uint32),
        }
        specs_of_parts = [self._part_specs(n, ids, room) for n in n_of_weight.tolist()]
        shared, *self._parts = _arrays(specs, *specs_of_parts)
        for part, (n_heavy, n_small, _) in zip(self._parts, n_of_weight.tolist(), strict=True):
            part["at"][layout.N_HEAVY], part["at"][layout.N_SMALL] = 1 + n_heavy, n_small
            part["symbols"][0] = ids
        self.state = State(
            threshold=threshold,
            vocab_size=limits.vocab_size,
            max_length=limits.max_token_length,
            shorter_first=limits.shorter_first,
            symbols=self._parts[0]["symbols"],
            names=index_strings(tokens, token_offsets, ids).slots,
            veto=veto_limits(limits.veto),
            prefix=np.frombuffer(limits.prefix, np.uint8),
            table=self._table(),
            **shared,
        )
        state = self.state
        state.text[: len(tokens)] = tokens
        state.text_end[: n_tokens + 1] = token_offsets
        state.at[layout.TOKENS], state.at[layout.SPARE] = n_tokens, sizes.spare
        put_traits(state.text, state.text_end, n_tokens, limits.veto, state.traits)
        self._lay_out(spelled, n_of_weight)
        self._index()

    def _measure(self, spelled: Callable[[], Iterable[Words]], threads: int) -> tuple[np.ndarray, int]:
        """Measures the words: positions of each class of weight in each part, int64[parts, 3], and how many symbols."""
        n_places = n_symbols = self._total = 0
        of_blocks = []
        for _, offsets, counts in spelled():
            blocks = np.zeros((len(counts) // BLOCK + 1, 3), np.int64)
            self._total += measure(offsets, counts, blocks.ravel())
            of_blocks.append(blocks)
            n_places += int(blocks.sum())
            n_symbols += int(offsets[-1])
        sizes = self._sizes
        self._threads = max(1, min(threads, n_places // max(sizes.part, 1)))
        self.n_parts = sizes.parts or self._threads
        self._threads = min(self._threads, self.n_parts)  # each thread prefers a part of its own
        parts = [
            sum((blocks[part :: self.n_parts].sum(axis=0) for blocks in of_blocks), np.zeros(3, np.int64))
            for part in range(self.n_parts)
        ]
        return np.array(parts, np.int64).reshape(-1, 3), n_symbols

    def _part_specs(self, n_of_weight: list[int], ids: int, room: int) -> dict[str, tuple[int, Any]]:
        """The sizes and dtypes of the arrays of a part; n_of_weight: positions of each class of `measure`."""
        n_heavy, n_small, _ = n_of_weight
        n = 1 + sum(n_of_weight)
        # Memory that is never touched costs nothing
        return dict(
            at=(layout.N_PART_SCALARS, np.int64),
            symbols=(n, np.uint16 if ids + 1 < 1 << 16 else np.uint32),
            weight=(1 + n_heavy, np.int64),
            small=(n_small, np.uint8),
            pool=(3 * n + 4, np.uint32),
            lists=(room, np.int64),
            records=(3 * (n // 2 + 1), np.uint32),  # occurrences of a batch don't overlap
            left=(2 * (ids + 2), np.int64),
            right=(2 * (ids + 2), np.int64),
            touched_left=(ids + 2, np.uint32),
            touched_right=(ids + 2, np.uint32),
            ends=(3 * layout.MOST, np.int64),
            shards=(2 * (self.n_parts + 1), np.int64),
            **_born_arrays(self._sizes.born),
            **_settled_arrays(self._sizes.born),
        )

    def _table(self) -> np.ndarray:
        """`State.table`: the numbers of a `Handle` for each part."""
        return np.concatenate([Handle(ThreadWords, **part).slots for part in self._parts], axis=None)

    def _replace(self, number: int, **arrays: np.ndarray) -> None:
        """Replaces arrays of a part, whose addresses are in `State.table`."""
        self._parts[number].update(arrays)
        self.state = self.state._replace(table=self._table())

    def _each(self, task: Callable[..., object], *arguments: list) -> None:
        """Calls task(number of the part, its arguments) for all parts, on all threads."""
        results(task, zip(range(self.n_parts), *arguments, strict=True), self._threads)

    def _lay_out(self, spelled: Callable[[], Iterable[Words]], n_of_weight: np.ndarray) -> None:
        """Writes the words to the parts."""
        ends = np.zeros((self.n_parts, _APART), np.int64)
        ends[:, :3] = 1 + np.cumsum(n_of_weight, axis=1) - n_of_weight
        sentinel = len(self.state.length) - 1
        for some in spelled():

            def lay_out_part(number: int, words: Words = some) -> None:
                part = self._parts[number]
                arrays = part["symbols"], part["weight"], part["small"], self.state.length
                lay_out(words, (sentinel, number, self.n_parts), arrays, ends[number])

            self._each(lay_out_part)

    def _n_of_table(self, n_tokens: int) -> int:
        """The size of the table of `count_characters`, two numbers for each pair; 0: the tokens are too many for it."""
        size, few = 2 * (n_tokens + 1) ** 2, self._sizes.few_tokens
        return size if n_tokens < few and size * self.n_parts <= 2 * few**2 else 0

    def _most_pairs(self, threshold: int) -> int:
        """A bound for the number of pairs that reach the threshold, plus room."""
        return min(self._total // threshold, self._n_places) + self._sizes.room

    def _index(self) -> None:
        """Stores all pairs that reach the threshold, and makes their lists."""
        state, sizes = self.state, self._sizes
        at = state.at
        at[layout.PHASE] = layout.PICK
        size = self._n_of_table(int(at[layout.TOKENS])) if at[layout.MERGES] == 0 else 0
        most = self._most_pairs(state.threshold)
        self._make_room_for_pairs(min(most, size // 2) if size else most)
        for part in self._parts:
            part["at"][layout.PENDING] = 0
            part["lists"][: at[layout.PAIRS]] = 0
        if size:
            self._index_characters(size)
        else:
            self._index_all()
        at[layout.QUEUED], at[layout.HEAP], at[layout.FLOOR] = at[layout.PAIRS], 0, self._total + 1
        for part in self._parts:
            of = part["at"]
            # Of a large pool, only what its lists take and some room is used at first; a small pool is used whole
            n = int(of[layout.POOL] + 3 * of[layout.LARGEST])
            n += n // sizes.spare
            all_of_it = len(part["pool"])
            of[layout.FULL] = all_of_it if all_of_it < sizes.large_pool else min(n, all_of_it)
        self._make_slots(2 * int(at[layout.PAIRS]) + sizes.room)

    def _index_characters(self, size: int) -> None:
        """`_index` for words of few distinct symbols, before any merge."""
        tables = [np.zeros(size, np.int64) for _ in self._parts]
        self._each(lambda number, table: count_characters(self.state, number, table), tables)
        rows = np.empty(size // 2, np.int64)
        choose_characters(self.state, tables[0] if self.n_parts == 1 else np.sum(tables, axis=0), rows)
        self._each(lambda number, table: deal_characters(self.state, number, table, rows), tables)

    def _index_all(self) -> None:
        """`_index` for any words."""
        ends = np.cumsum([0, *(len(part["symbols"]) for part in self._parts)])
        order = np.empty(ends[-1], np.uint32)
        start = np.zeros((self.n_parts, len(self.state.length)), np.int64)
        pieces = [order[a:b] for a, b in itertools.pairwise(ends)]
        self._each(lambda number, own: order_places(self.state, number, own, start[number]), pieces)
        index_pairs(self.state, order, start.ravel(), ends[:-1])

    def _make_slots(self, n: int) -> None:
        """Puts the stored pairs into a hash table of at least n slots."""
        state, n = self.state, power_of_two(n)
        slots = state.slots[:n] if n <= len(state.slots) else np.empty(n, np.uint32)
        at = state.at
        at[layout.STORED] = index_slots(state.pairs, at[layout.PAIRS], state.threshold, slots)
        self.state = state._replace(slots=slots)

    def _make_room_for_pairs(self, n: int) -> None:
        """Makes room for n pairs."""
        state = self.state
        if 2 * n <= len(state.pairs):
            return
        self.state = state._replace(pairs=resized(state.pairs, 2 * n), heap=resized(state.heap, 3 * n))
        for number, part in enumerate(self._parts):
            lists = np.zeros(n, np.int64)
            lists[: len(part["lists"])] = part["lists"]
            self._replace(number, lists=lists)

    def grow(self) -> None:
        """Makes room for the next step: each array that is too short at least doubles. Only the pool grows less."""
        at = self.state.at
        if 2 * at[layout.NEED_PAIRS] > len(self.state.pairs):
            self._make_room_for_pairs(2 * int(at[layout.NEED_PAIRS]))
        if 3 * at[layout.NEED_STORED] > 2 * len(self.state.slots):
            self._make_slots(2 * int(at[layout.NEED_STORED]))
        if at[layout.NEED_TEXT] > len(self.state.text):
            self.state = self.state._replace(text=resized(self.state.text, 2 * int(at[layout.NEED_TEXT])))
        for number, part in enumerate(self._parts):
            of = part["at"]
            if of[layout.NEED_POOL] > len(part["pool"]):
                of[layout.FULL] = of[layout.NEED_POOL]
                self._replace(number, pool=resized(part["pool"], int(of[layout.NEED_POOL])))
            if of[layout.NEED_BORN] > len(part["born_keys"]):
                self._replace(number, **_empty(_born_arrays(2 * int(of[layout.NEED_BORN]))))
            if of[layout.NEED_SETTLED] > len(part["settled_keys"]):
                self._replace(number, **_empty(_settled_arrays(2 * int(of[layout.NEED_SETTLED]))))

    def lower_threshold(self) -> bool:
        """Lowers the threshold, and indexes the pairs again; False if it can't be lower."""
        threshold = self.state.threshold
        if threshold == self._floor:
            return False
        self.state = self.state._replace(threshold=max(self._floor, threshold // 8))
        self._index()
        return True

    def is_merged(self, limits: BpeLimits, progress: Callable[[int, int], None] | None) -> bool:
        """Merges until done; False: a merge spells a token that the words contain already, which queue.py can do."""
        n_tokens, outcome = int(self.state.at[layout.TOKENS]), layout.PAUSED
        while outcome not in (layout.DONE, layout.RESPELLED):
            outcome = self._turn()
            if progress is not None:
                progress(int(self.state.at[layout.TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
            if outcome == layout.GROW:
                self.grow()
            elif outcome == layout.DRY:
                outcome = layout.PAUSED if self.lower_threshold() else layout.DONE
        return outcome == layout.DONE

    def _turn(self) -> int:
        """Merges for a while, and returns how that ended."""
        shared, work = self.state.shared, self._sizes.slice * self._threads
        most = max(1, min(self._sizes.batch, layout.MOST))
        shared[layout.STOP] = 0
        pool = ThreadPool(self._threads - 1)
        try:
            helping = [pool.submit(self._assist, number) for number in range(1, self._threads)]
            while (outcome := merge_in_batches(self.state, work, most)) == layout.WAITING:
                if any(call.is_made for call in helping):  # it failed
                    break
                yield_core()
        finally:
            shared[layout.STOP] = 1
            pool.stop()
        for call in helping:
            if call.is_made:  # else no thread had begun the call before the pool was stopped
                call.result()
        return outcome

    def _assist(self, number: int) -> None:
        """Works on steps of a turn, as a thread that prefers the part of this number."""
        seen = 0
        while (seen := assist(self.state, number, seen)) >= 0:
            yield_core()

    def merges(self) -> BpeMerges:
        """What has been learnt."""
        state, at = self.state, self.state.at
        strings = state.text, state.merges, state.merge_counts, state.text_end
        return learnt(*strings, at[layout.MERGES], at[layout.TOKENS])


def _born_arrays(n: int) -> dict[str, tuple[int, type]]:
    """The sizes of the arrays for n neighbours of a batch in a part."""
    return {
        "born_keys": (n, np.uint64),
        "born_weights": (n, np.int64),
        "born_numbers": (n, np.uint32),
        "sorted": (2 * n, np.uint64),
    }


def _settled_arrays(n: int) -> dict[str, tuple[int, type]]:
    """The sizes of the arrays for n records of a shard."""
    return {
        "settled_slots": (power_of_two(max(2 * n, 1)), np.uint32),
        "settled_keys": (n, np.uint64),
        "settled_sums": (n, np.int64),
        "late": (2 * n, np.int64),
    }


def _empty(specs: dict[str, tuple[int, type]]) -> dict[str, np.ndarray]:
    return {name: np.empty(n, dtype) for name, (n, dtype) in specs.items()}
