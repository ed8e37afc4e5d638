"""Counting the words of a corpus, on all cores, while the next part of it is being read."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gputok.files.word_count_files import WordColumns
from gputok.kernels.threads import thread_count
from gputok.text.partitions import Tally, table_budget
from gputok.text.pieces import SPACE_PREFIXED_RUN, Pieces, TextBatch
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from gputok.files.temporary import MemoryLimit
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report
    from gputok.types import Counts

WALK_BYTES = 1 << 18  # of text in a slice: about a millisecond of the fused walk
PIPELINE_BYTES = 1 << 20  # at most 0.2 s of any pipeline
# of text in which equal parts are worked on once: larger finds few more, and leaves the cache
PART_BYTES = 1 << 21
POSITIONS = 1 << 36  # that a slice has for its words
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
    counted. The result is the same for any number of threads, any cut of the corpus into batches, and any limit.

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
        devices: CUDA devices (`backend.choose`), which count in turn what one walk can split; other pipelines run on
            the CPU.
        memory: the limit.
    """
    if devices and not callable(pipeline) and instead is None:
        return _on_devices(batches, pipeline, devices, report, total, memory)
    n_threads, budget = thread_count(threads), None
    if memory is not None:
        n_threads, budget = table_budget(memory, n_threads)
        budget //= 1 if instead is None else 2
    usual: Counter
    if not callable(pipeline):
        usual = ByWalk(pipeline)
    else:
        usual = ByParts(pipeline) if apart_at_spaces else BySteps(pipeline)
    tallies = [Tallies(memory, budget) for _ in range(n_threads)]
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    taken = Semaphore(0)  # batches of which no slice waits any longer
    number, handed_out = itertools.count(), 0
    with ThreadPoolExecutor(n_threads) as pool:
        work = [pool.submit(_work, jobs, own) for own in tallies]

        def wait_for(arrived: Callable[[], bool]) -> None:
            while not arrived():
                for future in work:
                    if future.done():
                        future.result()  # raises what ended it
                if report:
                    report("count", handed_out, total)

        try:
            for n_before, batch in enumerate(batches):
                other = instead(batch) if instead else None
                counter = BySteps(other) if other else usual
                cuts = counter.cut(batch)
                for start, stop in itertools.pairwise(cuts):
                    jobs.put(partial(counter.count, batch, start, stop, next(number) * POSITIONS))
                jobs.put(lambda tallies: taken.release())
                handed_out += cuts[-1] - cuts[0]
                if n_before:  # memory holds two batches
                    wait_for(lambda: taken.acquire(timeout=0.2))
                if report:
                    report("count", handed_out, total)
            for _ in work:
                jobs.put(None)
            wait_for(lambda: not wait(work, timeout=0.2).not_done)
        finally:
            with contextlib.suppress(Empty):  # after an error or Ctrl-C nobody begins another slice
                while True:
                    jobs.get_nowait()
            for _ in work:
                jobs.put(None)
    if memory is not None:
        counted = [tally for own in tallies for tally in own.values()]
        return WordCounts.of_tallies(counted, memory, n_threads, report=report)
    return _collected(tallies)


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


class ByWalk:
    """One walk over the raw text."""

    def __init__(self, plan: SplitPlan) -> None:
        from gputok.kernels.cpu.walk import prepare

        self._byte_level, self._walk = plan.byte_level, prepare(plan.automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        from gputok.kernels.cpu.walk import slice_text

        return slice_text(batch.data, batch.offsets, WALK_BYTES, self._walk)

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_words as count_text

        tally = tallies[self._byte_level]
        position -= 2 * start
        tally.table = count_text(
            batch.data, batch.offsets, position, self._walk, tally.table, start, stop, tally.make_room
        )


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
        documents = TextBatch(batch.data[start:stop], batch.offsets[first : last + 1] - start)
        words = self._pipeline(Pieces.from_batch(documents))
        self._add(words, np.ones(words.n_pieces, np.int64), position, tallies)

    def _add(self, words: Pieces, counts: Counts, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_pieces

        tally = tallies[words.byte_level]
        tally.table = count_pieces(
            words.data, words.start, words.end, counts, position, tally.table, tally.make_room
        )


class ByParts(BySteps):
    """One walk counts the parts of a slice; what the pipeline makes of each counts as often as the part does."""

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        from gputok.automaton import compile_pattern
        from gputok.kernels.cpu.walk import prepare

        super().__init__(pipeline)
        self._walk = prepare(compile_pattern(SPACE_PREFIXED_RUN))

    def cut(self, batch: TextBatch) -> list[int]:
        from gputok.kernels.cpu.walk import slice_text

        return slice_text(batch.data, batch.offsets, PART_BYTES, self._walk)

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_words as count_text
        from gputok.kernels.cpu.count_words import distinct_words
        from gputok.kernels.cpu.word_table import new_table

        parts = count_text(batch.data, batch.offsets, -2 * start, self._walk, new_table(), start, stop)
        data, offsets, counts = distinct_words([parts])
        words = self._pipeline(Pieces.from_batch(TextBatch(data, offsets)))
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


def _on_devices(
    batches: Iterable[TextBatch],
    plan: SplitPlan,
    devices: Sequence[Any],
    report: Report | None,
    total: int | None,
    memory: MemoryLimit | None,
) -> WordCounts:
    """Each device takes the next batch when it is free; with a limit, their words are spilled time and again."""
    counted = _Counted(report, total)
    if memory is None:
        return _by_devices(batches, plan, devices, counted, None)[0]
    tally = Tally(plan.byte_level, memory, table_budget(memory, 1)[1])
    batches, is_last = iter(batches), False
    while not is_last:
        words, is_last = _by_devices(batches, plan, devices, counted, memory.n_bytes // _DEVICE_SHARE)
        tally.add(WordColumns(words.data, words.offsets, words.counts, words.byte_level))
    return WordCounts.of_tallies([tally], memory, thread_count(None), report=report)


class _Counted:
    """How many bytes were counted, for the report."""

    def __init__(self, report: Report | None, total: int | None) -> None:
        self._report, self._total, self._done, self._lock = report, total, 0, Lock()

    def __call__(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            if self._report:
                self._report("count", self._done, self._total)


def _by_devices(
    batches: Iterable[TextBatch],
    plan: SplitPlan,
    devices: Sequence[Any],
    counted: Callable[[int], None],
    most_bytes: int | None,
) -> tuple[WordCounts, bool]:
    """The words of the next batches, in the order of their first occurrence, and whether no batch is left."""
    from gputok.kernels.cpu.count_words import count_pieces, distinct_words
    from gputok.kernels.cpu.word_table import new_table
    from gputok.kernels.cuda.count_words import count_batches as count_on

    numbered, lock, stop, n_bytes, is_last = enumerate(batches), Lock(), Event(), 0, False

    def share() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        nonlocal n_bytes, is_last
        while not stop.is_set():
            with lock:
                if most_bytes is not None and n_bytes >= most_bytes:
                    return
                number, batch = next(numbered, (0, None))
                if batch is None:
                    is_last = True
                    return
                begin, end = batch.offsets[[0, -1]].tolist()
                n_bytes += end - begin
            yield batch.data[begin:end], batch.offsets - begin, number * POSITIONS

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            work = [pool.submit(count_on, device, share(), plan.automaton, counted) for device in devices]
            parts = [future.result() for future in work]
        finally:
            stop.set()
    data = np.concatenate([part[0] for part in parts])
    bases = np.cumsum([0, *(len(part[0]) for part in parts)])
    start = np.concatenate([part[1][:-1] + base for part, base in zip(parts, bases, strict=False)])
    end = np.concatenate([part[1][1:] + base for part, base in zip(parts, bases, strict=False)])
    counts, first = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    order = np.argsort(first)
    table = count_pieces(data, start[order], end[order], counts[order], 0, new_table())
    return WordCounts(*distinct_words([table]), plan.byte_level), is_last
