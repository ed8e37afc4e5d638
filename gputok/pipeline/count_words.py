"""Counting the words of a corpus, on all cores or on CUDA devices, while the next part of it is read."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Semaphore
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from gputok.files.word_count_files import WordColumns
from gputok.kernels.threads import run, thread_count
from gputok.text.partitions import Tally, table_budget
from gputok.text.pieces import SPACE_PREFIXED_RUN, Pieces, TextBatch
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from gputok.files.temporary import MemoryLimit
    from gputok.kernels import Automaton
    from gputok.kernels.cpu.word_table import WordTable
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report
    from gputok.types import Counts

WALK_BYTES = 1 << 18  # of text in a slice: about a millisecond of the fused walk
PIPELINE_BYTES = 1 << 20  # at most 0.2 s of any pipeline
# of text in which equal parts are worked on once: larger finds few more, and leaves the cache
PART_BYTES = 1 << 21
POSITIONS = 1 << 36  # that a slice has for its words
_LOOK_SECONDS = 0.2  # between two looks whether a thread has failed
_DEVICE_SHARE = (
    8  # bytes of memory limit for a byte of text that devices count before their words are spilled
)


class Tallies(dict[bool, Tally]):
    """What one thread has counted: the words that are byte-level, and those that are not."""

    def __init__(self, memory: MemoryLimit | None, budget: int | None) -> None:
        """budget: bytes of each table."""
        super().__init__()
        self._memory, self._budget = memory, budget

    def __missing__(self, byte_level: bool) -> Tally:
        self[byte_level] = Tally(byte_level, self._memory, self._budget, of_text=True)
        return self[byte_level]


Job = Callable[[Tallies], None]


def count_words(
    batches: Iterable[TextBatch],
    pipeline: SplitPlan | Callable[[Pieces], Pieces],
    *,
    apart_at_spaces: bool = False,
    instead: Callable[[TextBatch], Callable[[Pieces], Pieces] | None] | None = None,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    devices: Sequence[Any] = (),
    memory: MemoryLimit | None = None,
) -> WordCounts:
    """Counts the words that a pipeline cuts documents into.

    Without a limit, memory holds two batches and the distinct words, once for each thread; words are in the order of
    their first occurrence. With a limit, tables that outgrow their share are spilled to temporary files, and so is the
    result; words are in the order of their keys (`gputok.text.partitions`). The next batch is read while a batch is
    counted. The result is the same for any number of threads, any devices, any cut of the corpus into batches,
    and any limit.

    Args:
        batches: the documents.
        pipeline: the plan of a pre-tokenizer (one walk over the raw text, the fast way), or any function that maps
            documents to their words.
        apart_at_spaces: the function does the same to the parts of a document that is cut before each space; then the
            function is given the different parts of each slice only once.
        instead: gives a function that maps the documents of a batch, whole, to words, or None for `pipeline`.
        threads: by default GPUTOK_NUM_THREADS, or all cores; with a limit, as many as have room for a table.
        report: called as report("count", bytes, total) a few times a second, and report("add up", partitions, 64).
        total: bytes of all documents, if known.
        devices: CUDA devices (`backend.choose`). They count what one walk can split, or cut before spaces; other
            pipelines, and batches for which `instead` gives a function, run on the CPU.
        memory: the limit.
    """
    usual: ByWalk | ByParts | BySteps
    if not callable(pipeline):
        usual = ByWalk(pipeline)
    else:
        usual = ByParts(pipeline) if apart_at_spaces else BySteps(pipeline)
    n_threads = thread_count(threads)
    if devices and type(usual) is not BySteps:
        if memory is None:
            return _by_devices(batches, usual, instead, n_threads, report, total, devices)
        return _in_turns(
            batches,
            lambda some, report: _by_devices(some, usual, instead, n_threads, report, total, devices),
            n_threads,
            report,
            memory,
        )
    budget = None
    if memory is not None:
        n_threads, budget = table_budget(memory, n_threads)
        budget //= 1 if instead is None else 2
    with _Workers([Tallies(memory, budget) for _ in range(n_threads)], report, total) as workers:
        for batch in batches:
            other = instead(batch) if instead else None
            workers.take(BySteps(other) if other else usual, batch)
        workers.finish()
    if memory is not None:
        counted = [tally for own in workers.tallies for tally in own.values()]
        return WordCounts.of_tallies(counted, memory, n_threads, report=report)
    return _collected(workers.tallies)


class _Workers:
    """Threads that count slices of batches, each into tables of its own."""

    def __init__(self, tallies: list[Tallies], report: Report | None, total: int | None) -> None:
        self.tallies = tallies
        self._done, self._report, self._total = 0, report, total  # bytes that were handed out
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._taken = Semaphore(1)  # batches of which no slice waits, and one more: memory holds two batches
        self._number = itertools.count()
        self._pool = ThreadPoolExecutor(len(tallies))
        self._work = [self._pool.submit(_work, self._jobs, own) for own in tallies]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Empty):  # after an error or Ctrl-C nobody begins another slice
            while True:
                self._jobs.get_nowait()
        for _ in self._work:
            self._jobs.put(None)
        self._pool.shutdown()

    def next_position(self) -> int:
        """The position of the first word of a slice, behind all that were given before."""
        return next(self._number) * POSITIONS

    def take(self, counter: Counter, batch: TextBatch) -> None:
        """Hands out the slices of a batch, then waits until those of the batch before were taken."""
        cuts = counter.cut(batch)
        for start, stop in itertools.pairwise(cuts):
            self._jobs.put(partial(counter.count, batch, start, stop, self.next_position()))
        self._jobs.put(lambda tallies: self._taken.release())
        self.handed_out(cuts[-1] - cuts[0])
        self.wait_for(lambda: self._taken.acquire(timeout=_LOOK_SECONDS))

    def handed_out(self, n_bytes: int) -> None:
        self._done += n_bytes
        if self._report:
            self._report("count", self._done, self._total)

    def wait_for(self, arrived: Callable[[], bool], others: Sequence[Future[Any]] = ()) -> None:
        """Waits; raises what ended a thread meanwhile."""
        while not arrived():
            for future in (*self._work, *others):
                if future.done():
                    future.result()
            self.handed_out(0)

    def finish(self) -> None:
        """Waits for all slices."""
        for _ in self._work:
            self._jobs.put(None)
        self.wait_for(lambda: not wait(self._work, timeout=_LOOK_SECONDS).not_done)


def _work(jobs: SimpleQueue[Job | None], tallies: Tallies) -> None:
    """What each thread does: takes slices in order until there are no more, so that its positions only increase."""
    while (job := jobs.get()) is not None:
        job(tallies)


class Counter(Protocol):
    """How the words of a batch are counted: in slices, each by one thread."""

    def cut(self, batch: TextBatch) -> list[int]:
        """The bytes of the batch where slices begin, and where the last one ends."""

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        """Adds the words of bytes start:stop to a thread's tallies; `position` orders them among those of all slices."""


class Walker(Counter, Protocol):
    """A counter that begins with a walk over the raw text, which CUDA devices can take."""

    automaton: Automaton

    def count_raw(self, batch: TextBatch, position: int, table: WordTable) -> WordTable:
        """Adds what the walk alone finds in a batch. A byte i has a position of at most `position` + 2 * i."""

    def words(self, found: TextBatch) -> Pieces | None:
        """The words of what the walk found; None if these are the words, with `byte_level`."""

    byte_level: bool


class ByWalk:
    """One walk over the raw text."""

    def __init__(self, plan: SplitPlan) -> None:
        from gputok.kernels.cpu.walk import prepare

        self.automaton, self.byte_level = plan.automaton, plan.byte_level
        self._walk = prepare(plan.automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        from gputok.kernels.cpu.walk import slice_text

        return slice_text(batch.data, batch.offsets, WALK_BYTES, self._walk)

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_words as count_text

        tally = tallies[self.byte_level]
        position -= 2 * start
        tally.table = count_text(
            batch.data, batch.offsets, position, self._walk, tally.table, start, stop, tally.make_room
        )

    def count_raw(self, batch: TextBatch, position: int, table: WordTable) -> WordTable:
        from gputok.kernels.cpu.count_words import count_words as count_text

        return count_text(batch.data, batch.offsets, position, self._walk, table)

    def words(self, found: TextBatch) -> Pieces | None:
        return None


class BySteps:
    """Whole documents by any function that maps them to their words."""

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        self._pipeline = pipeline

    def cut(self, batch: TextBatch) -> list[int]:
        wanted = np.arange(batch.offsets[0], batch.offsets[-1], PIPELINE_BYTES)
        ends = batch.offsets[np.searchsorted(batch.offsets, wanted)]
        return np.unique(np.append(ends, batch.offsets[-1])).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        first, last = np.searchsorted(batch.offsets, (start, stop))  # empty documents have no words
        words = self.words(TextBatch(batch.data[start:stop], batch.offsets[first : last + 1] - start))
        self._add(words, np.ones(words.n_pieces, np.int64), position, tallies)

    def words(self, found: TextBatch) -> Pieces:
        return self._pipeline(Pieces.from_batch(found))

    def _add(self, words: Pieces, counts: Counts, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_pieces

        tally = tallies[words.byte_level]
        tally.table = count_pieces(
            words.data, words.start, words.end, counts, position, tally.table, tally.make_room
        )


class ByParts(BySteps):
    """One walk counts the parts of a slice; what the pipeline makes of each counts as often as the part does."""

    byte_level = False  # of parts

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        from gputok.automaton import compile_pattern
        from gputok.kernels.cpu.walk import prepare

        super().__init__(pipeline)
        self.automaton = compile_pattern(SPACE_PREFIXED_RUN)
        self._walk = prepare(self.automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        from gputok.kernels.cpu.walk import slice_text

        return slice_text(batch.data, batch.offsets, PART_BYTES, self._walk)

    def count_raw(self, batch: TextBatch, position: int, table: WordTable) -> WordTable:
        from gputok.kernels.cpu.count_words import count_words as count_text

        return count_text(batch.data, batch.offsets, position, self._walk, table)

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_words as count_text
        from gputok.kernels.cpu.count_words import distinct_words
        from gputok.kernels.cpu.word_table import new_table

        parts = count_text(batch.data, batch.offsets, -2 * start, self._walk, new_table(), start, stop)
        data, offsets, counts = distinct_words([parts])
        words = self.words(TextBatch(data, offsets))
        self._add(words, np.repeat(counts, np.diff(words.rows)), position, tallies)


def _collected(tallies: list[Tallies]) -> WordCounts:
    """The counts of all workers; if only some words are byte-level, all are written out."""
    from gputok.kernels.cpu.count_words import distinct_words

    kinds = sorted({byte_level for own in tallies for byte_level in own})
    counts = [
        WordCounts(*distinct_words([own[kind].table for own in tallies if kind in own], len(tallies)), kind)
        for kind in kinds
    ]
    return counts[0] if len(counts) == 1 else WordCounts.merge(counts)


def _by_devices(
    batches: Iterable[TextBatch],
    counter: Walker,
    instead: Callable[[TextBatch], Callable[[Pieces], Pieces] | None] | None,
    n_threads: int,
    report: Report | None,
    total: int | None,
    devices: Sequence[Any],
) -> WordCounts:
    """The words of all batches: devices count those for which `instead` gives nothing, threads the others."""
    with _Workers([Tallies(None, None) for _ in range(n_threads)], report, total) as workers:
        with _Devices(devices, counter, workers) as counting:
            for batch in batches:
                if other := instead(batch) if instead else None:
                    counting.flush()
                    workers.take(BySteps(other), batch)
                else:
                    counting.take(batch)
            found = counting.finish()
        workers.finish()
        return _in_order(found, counter, workers)


def _in_turns(
    batches: Iterable[TextBatch],
    count: Callable[[Iterator[TextBatch], Report | None], WordCounts],
    n_threads: int,
    report: Report | None,
    memory: MemoryLimit,
) -> WordCounts:
    """The words of all batches within a limit: of as many at a time as the limit has room for, then spilled."""
    tallies, done, is_last = Tallies(memory, table_budget(memory, 1)[1] // 2), 0, False
    batches = iter(batches)

    def some() -> Iterator[TextBatch]:
        nonlocal done, is_last
        n_bytes = 0
        while n_bytes < memory.n_bytes // _DEVICE_SHARE:
            if (batch := next(batches, None)) is None:
                is_last = True
                return
            n_bytes += int(batch.offsets[-1] - batch.offsets[0])
            yield batch
        done += n_bytes

    while not is_last:
        before = done
        words = count(
            some(), report and (lambda stage, n, total, before=before: report(stage, before + n, total))
        )
        tallies[words.byte_level].add(WordColumns(words.data, words.offsets, words.counts, words.byte_level))
    return WordCounts.of_tallies([*tallies.values()], memory, n_threads, report=report)


class _Found(NamedTuple):
    """What a walk found: distinct words or parts."""

    data: np.ndarray  # uint8[n]
    offsets: np.ndarray  # int64[words + 1], into data
    counts: np.ndarray  # int64[words]
    first: np.ndarray  # int64[words], ascending: where each occurs first

    @classmethod
    def of(cls, table: WordTable) -> Self:
        """What a table of the CPU has, without the ends of documents."""
        from gputok.kernels.cpu.count_words import counts
        from gputok.kernels.cpu.rewrite import gather
        from gputok.kernels.cpu.walk import END_OF_TEXT
        from gputok.kernels.cpu.word_table import N_WORDS

        n_words = int(table.state[N_WORDS])
        start, end = table.offsets[:n_words], table.offsets[1 : n_words + 1]
        kept = np.flatnonzero((end - start != 1) | (table.arena[start] != END_OF_TEXT))
        data, offsets = gather(table.arena, start[kept], end[kept])
        return cls(data, offsets, counts(table)[kept], table.position[kept])


class _Devices:
    """CUDA devices, each of which takes the next group of batches when it is free.

    Batches are read small, by many threads, and put together in pinned memory. For each device one group waits, one is
    copied and one is counted, whatever the number of threads.
    """

    def __init__(self, devices: Sequence[Any], counter: Walker, workers: _Workers) -> None:
        self._counter, self._workers, self._n = counter, workers, len(devices)
        self._held: list[TextBatch] = []
        self._held_bytes = 0
        self._groups: SimpleQueue[Any] = SimpleQueue()
        self._room = Semaphore(self._n)  # groups that may wait
        self._stopped, self._said = Event(), Event()
        self._pool = ThreadPoolExecutor(self._n)
        self._work = [self._pool.submit(self._count_on, device) for device in devices]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self._pool.shutdown()

    def take(self, batch: TextBatch) -> None:
        from gputok.kernels.cuda import device

        self._held.append(batch)
        self._held_bytes += int(batch.offsets[-1] - batch.offsets[0])
        if self._held_bytes >= device.BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands out the batches that are held, as one group."""
        from gputok.kernels.cuda.count_words import Batch

        if not self._held:
            return
        text = [batch.data[batch.offsets[0] : batch.offsets[-1]] for batch in self._held]
        begin = np.cumsum([0, *map(len, text)])
        offsets = [
            batch.offsets[1:] + (at - batch.offsets[0])
            for batch, at in zip(self._held, begin[:-1], strict=True)
        ]
        group = Batch(text, np.concatenate([begin[:1], *offsets]), self._workers.next_position())
        self._held, self._held_bytes = [], 0
        self._workers.wait_for(lambda: self._room.acquire(timeout=_LOOK_SECONDS), self._work)
        self._groups.put(group)
        self._workers.handed_out(group.n_bytes)

    def finish(self) -> list[_Found]:
        """What each device found, and the CPU in its stead."""
        self.flush()
        for _ in self._work:
            self._groups.put(None)
        self._workers.wait_for(lambda: not wait(self._work, timeout=_LOOK_SECONDS).not_done, self._work)
        return [found for future in self._work for found in future.result()]

    def _count_on(self, device: Any) -> list[_Found]:
        from gputok.kernels.cpu.word_table import new_table
        from gputok.kernels.cuda.count_words import Batch, count_batches

        left = new_table()

        def leave(batch: Batch, reason: Exception) -> None:
            """Counts, on the CPU, what the device can't count."""
            nonlocal left
            text = TextBatch(np.concatenate(batch.text), batch.offsets)
            left = self._counter.count_raw(text, batch.position, left)
            if not self._said.is_set():
                self._said.set()
                warnings.warn(f"some text is counted on the CPU: {reason}", stacklevel=2)

        automaton = self._counter.automaton
        found = _Found(*count_batches(device, self._share(), automaton, leave=leave, stop=self._stop))
        return [found, _Found.of(left)]

    def _share(self) -> Iterator[Any]:
        while (group := self._groups.get()) is not None and not self._stopped.is_set():
            self._room.release()
            yield group

    def _stop(self) -> None:
        """Wakes every thread that waits for a group: no more will come."""
        self._stopped.set()
        for _ in range(self._n):
            self._groups.put(None)


def _in_order(found: list[_Found], counter: Walker, workers: _Workers) -> WordCounts:
    """The words that devices found, and those that threads counted, in order of first occurrence."""
    found = [one for one in found if len(one.counts)]
    in_threads = any(workers.tallies)
    if isinstance(counter, ByWalk) and len(found) == 1 and not in_threads:
        return WordCounts(found[0].data, found[0].offsets, found[0].counts, counter.byte_level)
    bases = np.cumsum([0, *(len(one.data) for one in found)])
    ends = [
        (one.offsets[:-1] + base, one.offsets[1:] + base) for one, base in zip(found, bases, strict=False)
    ]
    none = np.zeros(0, np.int64)
    data = np.concatenate([one.data for one in found] or [np.zeros(0, np.uint8)])
    start, end = (np.concatenate([none, *(pair[i] for pair in ends)]) for i in (0, 1))
    counts, first = (np.concatenate([none, *(one[i] for one in found)]) for i in (2, 3))
    order = np.argsort(first)
    columns = start[order], end[order], counts[order], first[order]
    return _collected([*workers.tallies, _entered(data, *columns, counter, len(workers.tallies))])


def _entered(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    counts: np.ndarray,
    first: np.ndarray,
    counter: Walker,
    n_threads: int,
) -> Tallies:
    """Tallies of the words of what walks found, data[start[i]:end[i]], in order of `first`."""
    from gputok.kernels.cpu.count_words import count_pieces
    from gputok.kernels.cpu.rewrite import gather
    from gputok.kernels.cpu.word_table import N_WORDS

    tallies = Tallies(None, None)
    place: dict[bool, list[np.ndarray]] = {}  # `first` of each piece that was entered

    def enter(byte_level: bool, text: np.ndarray, *columns: np.ndarray) -> None:
        pieces_start, pieces_end, count, where = columns
        position = sum(map(len, place.setdefault(byte_level, [])))
        tally = tallies[byte_level]
        tally.table = count_pieces(text, pieces_start, pieces_end, count, position, tally.table)
        place[byte_level].append(where)

    def words(a: int, b: int) -> tuple[int, int, Pieces]:
        return a, b, counter.words(TextBatch(*gather(data, start[a:b], end[a:b])))

    if isinstance(counter, ByWalk):
        enter(counter.byte_level, data, start, end, counts, first)
    else:
        step = 1 << 16  # parts: some hundred thousand bytes
        slices = [(at, min(at + step, len(start))) for at in range(0, len(start), step)]
        for a, b, pieces in run(words, slices, n_threads):
            each = np.diff(pieces.rows)
            columns = pieces.start, pieces.end, np.repeat(counts[a:b], each), np.repeat(first[a:b], each)
            enter(pieces.byte_level, pieces.data, *columns)
    for byte_level, tally in tallies.items():
        position = tally.table.position[: int(tally.table.state[N_WORDS])]
        position[:] = np.concatenate(place[byte_level])[position]
    return tallies
