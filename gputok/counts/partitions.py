"""Counted words in partitions, so that words which do not fit in memory together are added up one part at a time.

Each word has a key of 64 bits, which depends on its bytes alone (`word_keys`). The first six bits of the key are the
number of its partition, so that equal words of any two corpora meet in the same partition. These bits are not those
that choose the slot of a word in a hash table: with those, merging was 100 times slower.

Partitions follow each other in the order of their keys, and so do the words in them: added-up words are in the same
order no matter when a table was spilled, and by how many threads.

    Tally       counts words in a table, whose words are spilled (written to a temporary file) if it outgrows a budget
    added_up    the words of several sources, each word once, in the order of the keys
    collected   the result of `added_up` as arrays, in memory or in temporary files
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from gputok.counts.files import WordColumns, check_total, exact_sum
from gputok.files import temporary
from gputok.kernels.cpu.count_words import count_pieces, counts, word_keys
from gputok.kernels.cpu.rewrite import gather
from gputok.kernels.cpu.walk.tables import END_OF_TEXT
from gputok.kernels.cpu.word_table import N_BYTES, N_WORDS, WordTable, clear, enlarged, n_bytes_of, new_table, wanted
from gputok.kernels.threads import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from gputok.counts.files import CountFile
    from gputok.files.temporary import MemoryLimit, TemporaryFile
    from gputok.progress import Report

BITS = 6
N_PARTITIONS = 1 << BITS

_DEEPEST = 54  # no table is spilled if its words have this many bits of their keys in common
# Tables get this share of the memory limit; text, buffers and growing tables get the rest
_TABLES_SHARE = 0.6
_SLOTS = 1 << 16  # slots of a new table; with the words it takes 3.5 MB
_RESULTS_SHARE = 0.25  # partitions that are added up, but not yet yielded, get this share of the memory limit
_WORD_BYTES = 32  # about how many bytes a word of a source takes
_SPILLED_WORDS = 1 << 18  # words that are dealt at a time, in 20 MB
_LEAST_SPILLED = 1 << 12
_BYTES_A_WORD = 512  # bytes of a table's budget, if it has one, for each of the words that are dealt at a time
_FEW_WORDS = 1 << 17  # words that are read together to see whether they are in the order of their keys


WordSource: TypeAlias = "InMemory | Spilled | CountFile"
"""Words that can be read by partition; a word may be there several times."""


def table_budget(memory: MemoryLimit, threads: int) -> tuple[int, int]:
    """How many threads have room for a table each, and how many bytes a table may have."""
    share = int(max(memory.left, memory.n_bytes // 4) * _TABLES_SHARE)
    threads = max(1, min(threads, share // memory.least_table))
    return threads, share // threads


def dealt(words: WordColumns, skip: int = 0) -> Iterator[WordColumns]:
    """The words of each of the 64 partitions, in their old order; skip: first bits of the keys to pass over."""
    keys = word_keys(words.data, words.offsets)
    keys <<= np.uint64(skip)
    keys >>= np.uint64(64 - BITS)
    part = keys.astype(np.uint8)
    del keys
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part, minlength=N_PARTITIONS)).tolist()
    for first, last in itertools.pairwise([0, *ends]):
        rows = order[first:last]
        data, offsets = gather(words.data, words.offsets[rows], words.offsets[rows + 1])
        yield WordColumns(data, offsets, words.counts[rows], words.byte_level)


def in_key_order(words: WordColumns) -> WordColumns:
    """Distinct words in the order of their keys and, should two have the same key, of their bytes."""
    keys = word_keys(words.data, words.offsets)
    order = np.argsort(keys)
    in_order = keys[order]
    same = in_order[1:] == in_order[:-1]
    if np.any(same):  # only words with equal keys are looked at: sorting all of them takes long
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        for first, last in edges.reshape(-1, 2).tolist():
            order[first : last + 1] = sorted(order[first : last + 1].tolist(), key=words.word)
    data, offsets = gather(words.data, words.offsets[order], words.offsets[order + 1])
    return WordColumns(data, offsets, words.counts[order], words.byte_level)


def merged(lists: Sequence[WordColumns]) -> WordColumns:
    """Adds up lists of words of one kind; the words of the result are in the order of `in_key_order`."""
    check_total(sum(exact_sum(words.counts) for words in lists), _ADDED_UP)
    tally = Tally(lists[0].byte_level)
    for words in lists:
        tally.add(words)
    return next(tally.words())


def share(words: WordColumns, number: int, n_shares: int) -> WordColumns:
    """Share `number` of `n_shares` of words that are in the order of their keys: whole partitions, without a copy."""

    def key(i: int) -> int:
        return int(word_keys(words.data, words.offsets[i : i + 2])[0])

    edges = (i * N_PARTITIONS // n_shares << 64 - BITS for i in (number, number + 1))
    rows = range(len(words.counts))
    first, last = (bisect.bisect_left(rows, edge, key=key) for edge in edges)
    return next(slices(words, [first, last]))


def in_partitions(words: WordColumns) -> tuple[list[int], Iterator[WordColumns]]:
    """The number of words of each partition, and the words of each, in the order of their keys."""
    sizes, last, is_ordered = np.zeros(N_PARTITIONS, np.int64), np.zeros(1, np.uint64), True
    for first in range(0, len(words.counts), _FEW_WORDS):
        keys = word_keys(words.data, words.offsets[first : first + _FEW_WORDS + 1])
        is_ordered = is_ordered and not np.any(keys < np.concatenate([last, keys[:-1]]))
        sizes += np.bincount((keys >> np.uint64(64 - BITS)).astype(np.int64), minlength=N_PARTITIONS)
        last = keys[-1:]
        let_go(words)
    in_order = slices(words, [0, *np.cumsum(sizes).tolist()]) if is_ordered else map(in_key_order, dealt(words))
    return sizes.tolist(), in_order


def slices(words: WordColumns, ends: Sequence[int]) -> Iterator[WordColumns]:
    """The words ends[i]:ends[i + 1], without a copy of their bytes."""
    for first, last in itertools.pairwise(ends):
        begin, end = words.offsets[[first, last]].tolist()
        offsets = words.offsets[first : last + 1] - begin
        yield WordColumns(words.data[begin:end], offsets, words.counts[first:last], words.byte_level)
        let_go(words)


def let_go(words: WordColumns) -> None:
    """Takes words that are mapped from temporary files out of memory; they are read again when they are used."""
    for array in words[:3]:
        temporary.let_go(array)


class InMemory:
    """Words in memory, by partition."""

    def __init__(self, words: WordColumns) -> None:
        self._parts, self.n_words = [*dealt(words)], len(words.counts)

    def partition(self, number: int) -> Iterator[WordColumns]:
        """The words of one partition."""
        yield self._parts[number]


class Tally:
    """Words and their counts in a table. If it outgrows the budget, its words go to a file, and the table is emptied.

    Functions that count take `table` and `make_room`, and return the table that replaces `table`.
    """

    def __init__(
        self,
        byte_level: bool,
        memory: MemoryLimit | None = None,
        budget: int | None = None,
        skip: int = 0,
        *,
        of_text: bool = False,
    ) -> None:
        """budget: bytes of the table; skip: first bits of the key, which all words share; of_text: see `_columns`."""
        self.byte_level, self._memory, self._budget, self._skip = byte_level, memory, budget, skip
        self._of_text, self._total = of_text, 0
        self.table = self._new_table()
        self.spilled: Spilled | None = None

    def _new_table(self) -> WordTable:
        capacity = _SLOTS
        while self._budget is not None and n_bytes_of(capacity, 8 * capacity) > self._budget and capacity > 64:
            capacity //= 2
        return new_table(capacity, 8 * capacity)

    def make_room(self, table: WordTable) -> WordTable:
        """Returns a table with the room that a kernel has asked for: this one, larger or emptied, or a new one."""
        is_empty = table.state[N_WORDS] == 0  # enlarged beyond the budget: it must have room for one word at least
        if self._memory is None or self._budget is None or is_empty:
            return enlarged(table)
        n_bytes = n_bytes_of(*wanted(table))
        if n_bytes <= self._budget and n_bytes <= self._memory.left:  # for a while, both tables are in memory
            return enlarged(table)
        self._spill(table, self._memory)
        if n_bytes_of(len(table.slots), len(table.arena)) > self._budget or self._memory.left < 0:
            return self._new_table()
        clear(table)
        return table

    def add(self, words: WordColumns) -> None:
        """Adds counts to those of the same words; raises ValueError if all add up to more than 2**63 - 1."""
        self._total += exact_sum(words.counts)
        check_total(self._total, _ADDED_UP)
        start, end = words.offsets[:-1], words.offsets[1:]
        self.table = count_pieces(words.data, start, end, words.counts, 0, self.table, self.make_room)

    def source(self) -> WordSource:
        """All words by partition, on disk if there is a limit. The tally can't be used after that."""
        table = self.table
        del self.table
        return InMemory(self._columns(table)) if self._memory is None else self._spill(table, self._memory)

    def _spill(self, table: WordTable, memory: MemoryLimit) -> Spilled:
        self.spilled = self.spilled or Spilled(memory.file(), self.byte_level, self._skip)
        most = _SPILLED_WORDS if self._budget is None else self._budget // _BYTES_A_WORD
        for words in self._some(table, max(_LEAST_SPILLED, min(most, _SPILLED_WORDS))):
            self.spilled.write(words)
        return self.spilled

    def words(self) -> Iterator[WordColumns]:
        """All words, each once, in the order of their keys. The tally can't be used after that."""
        if self.spilled is None:
            yield in_key_order(self._columns(self.table))
            return
        source = self.source()
        skip = self._skip + BITS
        budget = self._budget if skip < _DEEPEST else None
        for number in range(N_PARTITIONS):
            tally = Tally(self.byte_level, self._memory, budget, skip)
            for words in source.partition(number):
                tally.add(words)
            yield from tally.words()

    def _columns(self, table: WordTable) -> WordColumns:
        """The words of a table, but not those whose count is 0, nor (`of_text`) END_OF_TEXT, which ends documents."""
        return next(self._some(table, max(1, len(table.offsets))))

    def _some(self, table: WordTable, most: int) -> Iterator[WordColumns]:
        """As `_columns`, `most` words at a time: arrays of all words together are nearly as large as the table."""
        n_words, n_bytes = int(table.state[N_WORDS]), int(table.state[N_BYTES])
        data, all_counts = table.arena[:n_bytes], counts(table)
        for first in range(0, max(n_words, 1), most):
            count = all_counts[first : first + most]
            offsets = table.offsets[first : min(first + most, n_words) + 1]
            kept = count != 0
            if self._of_text:
                single = np.flatnonzero(np.diff(offsets) == 1)
                kept[single[data[offsets[single]] == END_OF_TEXT]] = False
            if np.all(kept):
                yield WordColumns(data, offsets, count, self.byte_level)
            else:
                packed, offsets = gather(data, offsets[:-1][kept], offsets[1:][kept])
                yield WordColumns(packed, offsets, count[kept], self.byte_level)


class Tallies(dict[bool, Tally]):
    """Tallies by key: True: that of byte-level words, False: of others. Each is made when it is first asked for."""

    def __init__(self, memory: MemoryLimit | None, budget: int | None, *, of_text: bool = False) -> None:
        super().__init__()
        self._memory, self._budget, self._of_text = memory, budget, of_text

    def __missing__(self, byte_level: bool) -> Tally:
        self[byte_level] = Tally(byte_level, self._memory, self._budget, of_text=self._of_text)
        return self[byte_level]

    @classmethod
    def within(cls, memory: MemoryLimit | None) -> Self:
        """Makes tallies of one thread."""
        return cls(memory, None if memory is None else table_budget(memory, 1)[1])

    def add(self, words: WordColumns) -> None:
        """Adds counts. Those without words, as of an empty file, make no tally, whether called byte-level or not."""
        if len(words.counts):
            self[words.byte_level].add(words)


class Spilled:
    """Runs of words in a temporary file, each dealt to partitions.

    A section of the file has the words of one run and one partition: their counts (int64), lengths (uint32) and bytes.
    """

    def __init__(self, file: TemporaryFile, byte_level: bool, skip: int = 0) -> None:
        self._file, self._byte_level, self._skip = file, byte_level, skip
        self._sections: list[list[tuple[int, int, int]]] = [[] for _ in range(N_PARTITIONS)]
        self.n_words = 0

    def write(self, words: WordColumns) -> None:
        """Adds a run."""
        for sections, part in zip(self._sections, dealt(words, self._skip), strict=True):
            if len(part.counts):
                sections.append((self._file.n_bytes, len(part.counts), len(part.data)))
                lengths = np.diff(part.offsets).astype(np.uint32)
                self._file.append(np.concatenate([part.counts.view(np.uint8), lengths.view(np.uint8), part.data]))
        self.n_words += len(words.counts)

    def partition(self, number: int) -> Iterator[WordColumns]:
        """The words of one partition, run by run."""
        for start, n_words, n_bytes in self._sections[number]:
            section = self._file.read(start, 12 * n_words + n_bytes)
            offsets = np.zeros(n_words + 1, np.int64)
            np.cumsum(section[8 * n_words : 12 * n_words].view(np.uint32), out=offsets[1:])
            yield WordColumns(section[12 * n_words :], offsets, section[: 8 * n_words].view(np.int64), self._byte_level)


def added_up(
    sources: Sequence[WordSource],
    byte_level: bool,
    memory: MemoryLimit | None,
    threads: int,
    report: Report | None = None,
) -> Iterator[WordColumns]:
    """The words of all sources, each once, with the sum of its counts, in the order of the keys.

    Yields a partition or less at a time, or few words all at once; calls report("add up", partitions done, 64).
    """
    n_words = sum(source.n_words for source in sources)  # at most
    if n_words <= _FEW_WORDS and memory is None:  # one table adds them up sooner than threads would start
        few = Tally(byte_level)
        for number, source in itertools.product(range(N_PARTITIONS), sources):
            for words in source.partition(number):
                few.add(words)
        yield from few.words()
        return
    n_bytes = n_words * _WORD_BYTES // N_PARTITIONS
    budget = None
    if memory is not None:
        threads = min(threads, int(memory.n_bytes * _RESULTS_SHARE) // max(1, n_bytes) - 1)
        threads, budget = table_budget(memory, threads)

    def one(number: int) -> Iterator[WordColumns]:
        tally = Tally(byte_level, memory, budget, skip=BITS)
        for source in sources:
            for words in source.partition(number):
                tally.add(words)
        return tally.words()

    def whole(number: int) -> list[WordColumns]:
        return list(one(number))

    numbers = ((number,) for number in range(N_PARTITIONS))
    found = itertools.starmap(one, numbers) if threads == 1 else run(whole, numbers, threads, ahead=0)
    for number, parts in enumerate(found, 1):
        yield from parts
        if report:
            report("add up", number, N_PARTITIONS)


def collected(parts: Iterable[WordColumns], byte_level: bool, memory: MemoryLimit | None) -> WordColumns:
    """Words as arrays: in memory or, with a limit, in temporary files that are mapped; ValueError: too large counts."""
    total = 0
    data, offsets, counts = (_Growing(dtype) if memory is None else memory.file() for dtype in _DTYPES)
    offsets.append(np.zeros(1, np.int64))
    for part in parts:
        offsets.append(part.offsets[1:] + data.n_bytes)
        data.append(part.data)
        counts.append(part.counts)
        total += exact_sum(part.counts)
        check_total(total, _ADDED_UP)
    words, ends, n = (array.mapped(dtype) for array, dtype in zip((data, offsets, counts), _DTYPES, strict=True))
    return WordColumns(words, ends, n, byte_level)


_DTYPES = np.uint8, np.int64, np.int64  # the dtypes of words, offsets and counts
_ADDED_UP = "adding up word counts"


class _Growing:
    """An array in memory with the methods of a TemporaryFile, written at its end; a large one grows where it is."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._array: npt.NDArray[Any] = np.empty(1 << 10, dtype)
        self._n = 0

    @property
    def n_bytes(self) -> int:
        return self._n * self._array.itemsize

    def append(self, array: npt.NDArray[Any]) -> None:
        n = self._n + len(array)
        if n > len(self._array):
            self._array.resize(n + n // 8, refcheck=False)  # no other object refers to it
        self._array[self._n : n] = array
        self._n = n

    def mapped(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return self._array[: self._n]
