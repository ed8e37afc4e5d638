"""Counts the words of a corpus on all cores, while the next part of the corpus is read."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident, local
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from gputok.corpus.options import SIZES
from gputok.corpus.packing import cuts
from gputok.corpus.readers import Task, in_order
from gputok.counts.files import WordColumns
from gputok.counts.partitions import Tallies, table_budget
from gputok.counts.word_counts import WordCounts
from gputok.kernels.cpu.count_words import count_pieces, count_words, distinct_words
from gputok.kernels.cpu.walk.matches import slice_text
from gputok.kernels.cpu.word_table import N_WORDS, clear, new_table
from gputok.kernels.threads import ThreadCall, ThreadPool, share
from gputok.pipeline.way import walks_of
from gputok.text.pieces import Pieces, RawLines, TextBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from gputok.files.temporary import MemoryLimit
    from gputok.kernels import Automaton
    from gputok.kernels.cpu.word_table import WordTable
    from gputok.progress import Report
    from gputok.types import Counts

_WALK_THREADS = 8  # n threads get slices of `Slices.walk` / n bytes, for n up to this number: smaller ones don't pay
_SLICES = 16
"""A text with more slices than this for each thread gets larger ones. What Python does for a slice takes 20 us, one
thread at a time: without larger slices, 8 threads and more counted no more than 10 GB/s."""
_SHORT = 1 << 16  # bytes that one thread counts before others would have started
_FEW_WORDS = 1 << 14  # words of tables that one thread adds up before others would have started
POSITIONS = 1 << 40  # how many positions the slices of a batch share: for 4 GB in slices of 1 MB, 250 for each byte
WHOLE = 1 << 21  # the most bytes that a thread reads and counts without cutting them, if a walk does not find the words
LOOK_SECONDS = 0.2  # seconds after which the main thread looks for failed slices
Tell = Callable[[int], object] | None  # called with how many bytes are counted, if somebody wants to know


class ThreadTallies(Tallies):
    """The counts of one thread."""

    def __init__(self, memory: MemoryLimit | None = None, budget: int | None = None) -> None:
        super().__init__(memory, budget, of_text=True)
        self._parts: WordTable | None = None
        self.n_bytes = 0  # of text in the tasks that this thread has counted

    def parts(self, count: Callable[[WordTable], WordTable]) -> WordTable:
        """Counts the parts of a slice in an empty table, whose memory the next slice uses again."""
        if self._parts is None:
            self._parts = new_table()
        else:
            clear(self._parts)
        self._parts = count(self._parts)
        return self._parts

    def add_pieces(self, words: Pieces, counts: Counts, position: int) -> None:
        """Adds words that occur `counts` times each, int64[n_words]; the first of them has the position `position`."""
        tally = self[words.byte_level]
        tally.table = count_pieces(words.data, words.start, words.end, counts, position, tally.table, tally.make_room)


class Counter(Protocol):
    """A way to count the words of a batch: in slices, each of which one thread counts."""

    whole: int  # the most bytes that a thread reads and counts without cutting them

    def cut(self, batch: TextBatch, /) -> list[int]:
        """Returns the bytes of the batch at which slices begin, and the byte at which the last slice ends."""
        ...

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies, /) -> None:
        """Adds words of the bytes start:stop to a thread's tallies; position: of the first, rising with the text."""


TIMES = 2  # a task of counting has this many times the text of a task of encoding, in the same time: it writes no ids


class Slices(NamedTuple):
    """About how many bytes a slice has."""

    walk: int = 1 << 21  # of one thread that walks text, which takes some milliseconds
    parts: int = 1 << 21  # of text cut into parts: in larger ones few more parts are equal, and tables leave the cache
    steps: int = 1 << 20  # for any other pipeline, which takes at most 0.2 s
    # The most that one thread reads and counts alone. All threads count a longer text, which is mostly one document
    task: int = TIMES * SIZES.task


SLICES = Slices()


class WalkCounter:
    """Counts the units that one walk over the raw text finds.

    byte_level: the bytes of a unit stand for characters of the ByteLevel alphabet; words: None if units are words; else
    a function from parts to their words, called once for each different part of a slice. Words count as often as parts.
    """

    def __init__(
        self, automaton: Automaton, byte_level: bool, slice_bytes: int, words: Callable[[Pieces], Pieces] | None = None
    ) -> None:
        self.automaton, self.byte_level, self._slice_bytes = automaton, byte_level, slice_bytes
        self._walks, self.words = walks_of(automaton), words
        self.whole = SLICES.task if words is None else WHOLE

    @classmethod
    def of_words(
        cls, automaton: Automaton, byte_level: bool, n_threads: int, n_bytes: int | None, slice_bytes: int = SLICES.walk
    ) -> Self:
        """Makes a counter of the words that a walk finds. n_bytes: of the whole text, if known."""
        large = slice_bytes // 4
        if n_bytes is not None:
            large = min(slice_bytes // 2, n_bytes // (n_threads * _SLICES))
        return cls(automaton, byte_level, max(slice_bytes // min(n_threads, _WALK_THREADS), large))

    def cut(self, batch: TextBatch) -> list[int]:
        """See `Counter`."""
        # Slices end at seams: the state of the walk there does not matter, since it gets an end of text
        return slice_text(batch.data, batch.offsets, self._slice_bytes, self._walks.of(0)).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies) -> None:
        """See `Counter`."""
        text, walk = (batch.data, batch.offsets), self._walks.of(stop - start)
        if self.words is None:
            tally = tallies[self.byte_level]
            position -= 2 * start
            tally.table = count_words(*text, position, walk, tally.table, start, stop, tally.make_room)
            return
        parts = tallies.parts(lambda table: count_words(*text, -2 * start, walk, table, start, stop))
        data, offsets, counts = distinct_words([parts])
        words = self.words(Pieces.from_batch(TextBatch(data, offsets)))
        tallies.add_pieces(words, np.repeat(counts, np.diff(words.rows)), position)


class StepCounter:
    """Counts by a function from documents to their words; counts: int64[n], how often each document occurs, or None."""

    whole = WHOLE

    def __init__(
        self, pipeline: Callable[[Pieces], Pieces], counts: Counts | None = None, slice_bytes: int = SLICES.steps
    ) -> None:
        self._pipeline, self._counts, self._slice_bytes = pipeline, counts, slice_bytes

    def cut(self, batch: TextBatch) -> list[int]:
        """See `Counter`; slices of whole documents."""
        return np.unique(batch.offsets[cuts(batch.offsets, self._slice_bytes)]).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies) -> None:
        """See `Counter`."""
        first, last = np.searchsorted(batch.offsets, (start, stop))  # empty documents have no words
        documents = TextBatch(batch.data[start:stop], batch.offsets[first : last + 1] - start)
        words = self._pipeline(Pieces.from_batch(documents))
        counts: Counts = np.ones(words.n_pieces, np.int64)
        if self._counts is not None:
            counts = np.repeat(self._counts[first:last], np.diff(words.rows))
        tallies.add_pieces(words, counts, position)


CounterFor = Callable[["TextBatch"], Counter]


def count_by(
    counter_for: CounterFor,
    batches: Iterable[TextBatch | RawLines] | Iterable[Task],
    n_threads: int,
    report: Report | None,
    total: int | None,
    memory: MemoryLimit | None,
    n_tables: int = 1,
    slices: Slices = SLICES,
) -> WordCounts:
    """Counts the words of all batches on the CPU, with the arguments and the result of `count_words`.

    counter_for: returns the counter for a batch; any thread calls it. n_tables: of each thread, 2 if byte-level words
    and others may both occur.
    """
    budget = None
    texts: Iterator[Any] = iter(batches)
    some = [*itertools.islice(texts, 1)]
    if some and isinstance(some[0], TextBatch) and len(some[0].data) <= _SHORT:
        some += itertools.islice(texts, 1)
        if len(some) == 1:  # this thread counts a short text that is the only batch
            batch, n_threads = some, 1
            some = [Task(lambda: batch)]
    texts = itertools.chain(some, texts)
    if memory is not None:  # after the first batch, for which readers have imported what they need
        memory = memory.after("reading the first text")
        n_threads, budget = table_budget(memory, n_threads)
        budget //= n_tables
    tallies = [ThreadTallies(memory, budget) for _ in range(n_threads)]
    tell: Tell = report and (lambda done: report("count", done, total))
    if some and isinstance(some[0], Task):
        tallies += _count_tasks(counter_for, texts, tallies, tell, slices.task)
    else:
        with Workers(tallies, tell) as workers:
            for text in texts:
                assert isinstance(text, TextBatch)
                workers.take(counter_for(text), text)
            workers.finish()
    if memory is not None:
        counted = [tally for of_thread in tallies for tally in of_thread.values()]
        return WordCounts.of_tallies(counted, memory, n_threads, report=report)
    return collected(tallies)


def _count_tasks(
    counter_for: CounterFor, tasks: Iterator[Task], tallies: list[ThreadTallies], tell: Tell, longest: int
) -> list[ThreadTallies]:
    """Counts what tasks read, a batch each or none: several threads, also this one, each read a task and count it.

    A batch of more than `longest` bytes waits until the end, for all threads: returns the tallies of such batches.
    """
    here, unused = get_ident(), [*tallies]
    long: list[tuple[int, Task]] = []

    def done() -> int:
        return sum(of_thread.n_bytes for of_thread in tallies)

    def count(number: int, task: Task, own: ThreadTallies) -> None:
        for batch in task.read():
            assert isinstance(batch, TextBatch)
            if len(batch.data) > longest:
                long.append((number, task))
                return
            counter = counter_for(batch)
            parts = [(int(batch.offsets[0]), int(batch.offsets[-1]), number * POSITIONS)]
            if len(batch.data) > counter.whole:
                parts = _slices(counter, batch, number)
            for start, stop, position in parts:
                counter.count(batch, start, stop, position, own)
            own.n_bytes += len(batch.data)

    def count_all(taken: Iterator[tuple[int, Task]]) -> None:
        own = unused.pop()
        for number, task in taken:
            count(number, task, own)  # when this function ends, the batch is freed, and its memory is used again
            if tell and get_ident() == here:
                tell(done())

    share(count_all, enumerate(tasks), len(tallies))
    if tell:
        tell(done())
    return _count_long(counter_for, long, len(tallies), tell, done()) if long else []


def _count_long(
    counter_for: CounterFor, long: list[tuple[int, Task]], n_threads: int, tell: Tell, done: int
) -> list[ThreadTallies]:
    """Counts long batches, each with all threads, into tables of their own; done: the bytes that are counted before."""
    numbers, tasks = zip(*sorted(long, key=operator.itemgetter(0)), strict=True)
    tallies = [ThreadTallies() for _ in range(n_threads)]
    with Workers(tallies, tell, done) as workers:
        for number, batch in zip(numbers, in_order(tasks, n_threads, 0), strict=True):
            assert isinstance(batch, TextBatch)
            counter = counter_for(batch)
            workers.hand_out(counter, batch, _slices(counter, batch, number))
        workers.finish()
    return tallies


def _slices(counter: Counter, batch: TextBatch, number: int) -> list[tuple[int, int, int]]:
    """Returns (first byte, last byte + 1, position of the first word) of each slice; number: of the batch."""
    slices = [*itertools.pairwise(counter.cut(batch))]
    n_positions = POSITIONS // max(len(slices), 1)
    return [(start, stop, number * POSITIONS + i * n_positions) for i, (start, stop) in enumerate(slices)]


def comes(queue: SimpleQueue[None]) -> bool:
    """Waits a while for an item; returns whether it came.

    A semaphore would not do: it is Python code, and Ctrl-C amid that can leave it locked for ever.
    """
    with contextlib.suppress(Empty):
        queue.get(timeout=LOOK_SECONDS)
        return True
    return False


class Workers:
    """Threads that count slices of batches, each into its own tables; done: the bytes of the slices handed out."""

    def __init__(self, tallies: list[ThreadTallies], tell: Tell, done: int = 0) -> None:
        self.tallies, self.done, self._tell = tallies, done, tell
        self._pool = ThreadPool(len(tallies))
        self._calls: deque[ThreadCall] = deque()  # in order, without those that succeeded
        self._own, self._unused = local(), [*tallies]  # tallies that a thread has; that no thread has yet
        self._taken: SimpleQueue[None] = SimpleQueue()  # an item for each batch whose slices have all been taken
        self._taken.put(None)  # so the first batch need not be taken before the second is read: memory holds two
        self._number = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.stop()  # after an error or Ctrl-C, no thread begins another slice

    def next_position(self) -> int:
        """Returns the position of the first word of a batch; it is larger than all positions of earlier batches."""
        return next(self._number) * POSITIONS

    def take(self, counter: Counter, batch: TextBatch) -> None:
        """Hands out the slices of a batch, then waits until threads have taken the slices of the batch before."""
        self.hand_out(counter, batch, _slices(counter, batch, next(self._number)))

    def hand_out(self, counter: Counter, batch: TextBatch, slices: list[tuple[int, int, int]]) -> None:
        """Hands out slices of a batch, each with the position of its first word, and waits as `take` does."""
        self._calls += [self._pool.submit(self._count, counter, batch, *each) for each in slices]
        self._calls.append(self._pool.submit(self._taken.put, None))
        self.handed_out(slices[-1][1] - slices[0][0] if slices else 0)
        self._raise_first()
        self.wait_for(lambda: comes(self._taken))

    def _count(self, counter: Counter, batch: TextBatch, start: int, stop: int, position: int) -> None:
        # Each thread takes slices in order, so that the positions of its words only increase
        if not hasattr(self._own, "tallies"):
            self._own.tallies = self._unused.pop()
        counter.count(batch, start, stop, position, self._own.tallies)

    def handed_out(self, n_bytes: int) -> None:
        """Reports that slices of `n_bytes` more have been handed out."""
        self.done += n_bytes
        if self._tell:
            self._tell(self.done)

    def wait_for(self, arrived: Callable[[], bool], others: Sequence[Future[Any]] = ()) -> None:
        """Waits until `arrived` returns True; raises the exception of a slice, or of `others`, that has failed."""
        while not arrived():
            self._raise_first()
            for future in others:
                if future.done():
                    future.result()
            self.handed_out(0)

    def _raise_first(self) -> None:
        """Raises the error of the first slice that has failed, once those before it are counted."""
        while self._calls and self._calls[0].is_made:
            self._calls.popleft().result()

    def finish(self) -> None:
        """Waits for all slices."""
        while self._calls:
            first = self._calls[0]
            self.wait_for(lambda first=first: first.wait(LOOK_SECONDS))
            self._raise_first()
        self.handed_out(0)
        self._pool.stop()  # if Ctrl-C comes amid that, `__exit__` does it anew


def collected(tallies: list[ThreadTallies]) -> WordCounts:
    """Adds up the tallies of all threads. If only some words are byte-level, these are `spelled_out`."""
    kinds = sorted({byte_level for of_thread in tallies for byte_level in of_thread})
    counts: list[WordCounts] = []
    for kind in kinds:
        tables = [of_thread[kind].table for of_thread in tallies if kind in of_thread]
        n_threads = 1 if sum(int(table.state[N_WORDS]) for table in tables) < _FEW_WORDS else len(tallies)
        counts.append(WordCounts.of_checked(WordColumns(*distinct_words(tables, n_threads), kind)))
    return counts[0] if len(counts) == 1 else WordCounts.merge(counts)
