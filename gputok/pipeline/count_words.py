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

from gputok.kernels.threads import thread_count
from gputok.text.pieces import SPACE_PREFIXED_RUN, Pieces, TextBatch
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report

WALK_BYTES = 1 << 18  # of text in a slice: about a millisecond of the fused walk
PIPELINE_BYTES = 1 << 20  # at most 0.2 s of any pipeline
# of text in which equal parts are worked on once: larger finds few more, and leaves the cache
PART_BYTES = 1 << 21
POSITIONS = 1 << 36  # that a slice has for its words

Tables = dict[bool, Any]  # a worker's WordTable of words that are not byte-level, and that of those that are
Job = Callable[[Tables], None]


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
) -> WordCounts:
    """Counts the words that a pipeline cuts documents into.

    `pipeline` is the plan of a pre-tokenizer (one walk over the raw text, the fast way), or any function that maps
    documents to their words; if it does the same to parts of a document that is cut before each space
    (`apart_at_spaces`), it is given the different parts of each slice only once. Where `instead` gives a function for a
    batch, that one maps its documents, whole. Memory holds two batches and the distinct words, once for each thread.
    The next batch is read while this one is counted. `report("count", bytes, total)` is called some times a second.
    The result is the same for any number of threads and any cut of the corpus into batches.

    devices: CUDA devices (`backend.choose`), which count in turn what one walk can split; other pipelines run on the CPU.
    """
    if devices and not callable(pipeline) and instead is None:
        return _on_devices(batches, pipeline, devices, report, total)
    n_threads = thread_count(threads)
    usual: Counter
    if not callable(pipeline):
        usual = ByWalk(pipeline)
    else:
        usual = ByParts(pipeline) if apart_at_spaces else BySteps(pipeline)
    tables: list[Tables] = [{} for _ in range(n_threads)]
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    taken = Semaphore(0)  # batches of which no slice waits any longer
    number, handed_out = itertools.count(), 0
    with ThreadPoolExecutor(n_threads) as pool:
        work = [pool.submit(_work, jobs, own) for own in tables]

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
                jobs.put(lambda tables: taken.release())
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
    return _collected(tables)


def _work(jobs: SimpleQueue[Job | None], tables: Tables) -> None:
    """What each thread does: takes slices in order until there are no more, so that its positions only increase."""
    while (job := jobs.get()) is not None:
        job(tables)


class Counter(Protocol):
    """How the words of a batch are counted: in slices, each by one thread."""

    def cut(self, batch: TextBatch) -> list[int]:
        """The bytes of the batch where slices begin, and where the last one ends."""

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tables: Tables) -> None:
        """Adds the words of bytes start:stop to a thread's tables; `position` orders them among those of all slices."""


class ByWalk:
    """One walk over the raw text."""

    def __init__(self, plan: SplitPlan) -> None:
        from gputok.kernels.cpu.walk import prepare

        self._byte_level, self._walk = plan.byte_level, prepare(plan.automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        from gputok.kernels.cpu.walk import slice_text

        return slice_text(batch.data, batch.offsets, WALK_BYTES, self._walk)

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tables: Tables) -> None:
        from gputok.kernels.cpu.count_words import count_text
        from gputok.kernels.cpu.word_table import new_table

        table = tables.get(self._byte_level) or new_table()
        position -= 2 * start
        tables[self._byte_level] = count_text(
            batch.data, batch.offsets, start, stop, position, self._walk, table
        )


class BySteps:
    """Whole documents by any function that maps them to their words."""

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        self._pipeline = pipeline

    def cut(self, batch: TextBatch) -> list[int]:
        wanted = np.arange(batch.offsets[0], batch.offsets[-1], PIPELINE_BYTES)
        ends = batch.offsets[np.searchsorted(batch.offsets, wanted)]
        return np.unique(np.append(ends, batch.offsets[-1])).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tables: Tables) -> None:
        first, last = np.searchsorted(batch.offsets, (start, stop))  # empty documents have no words
        documents = TextBatch(batch.data[start:stop], batch.offsets[first : last + 1] - start)
        words = self._pipeline(Pieces.from_batch(documents))
        self._add(words, np.ones(words.n_pieces, np.int64), position, tables)

    def _add(self, words: Pieces, counts: np.ndarray, position: int, tables: Tables) -> None:
        from gputok.kernels.cpu.count_words import count_pieces
        from gputok.kernels.cpu.word_table import new_table

        table = tables.get(words.byte_level) or new_table()
        tables[words.byte_level] = count_pieces(words.data, words.start, words.end, counts, position, table)


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

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tables: Tables) -> None:
        from gputok.kernels.cpu.count_words import count_text, distinct_words
        from gputok.kernels.cpu.word_table import new_table

        parts = count_text(batch.data, batch.offsets, start, stop, -2 * start, self._walk, new_table())
        data, offsets, counts = distinct_words([parts])
        words = self._pipeline(Pieces.from_batch(TextBatch(data, offsets)))
        self._add(words, np.repeat(counts, np.diff(words.rows)), position, tables)


def _collected(tables: list[Tables]) -> WordCounts:
    """The counts of all workers; where some words are byte-level and some aren't, all are written out."""
    from gputok.kernels.cpu.count_words import distinct_words

    kinds = sorted({byte_level for own in tables for byte_level in own})
    counts = [
        WordCounts(*distinct_words([own[kind] for own in tables if kind in own], len(tables)), kind)
        for kind in kinds
    ]
    return counts[0] if len(counts) == 1 else WordCounts.merge(counts)


def _on_devices(
    batches: Iterable[TextBatch],
    plan: SplitPlan,
    devices: Sequence[Any],
    report: Report | None,
    total: int | None,
) -> WordCounts:
    """Each device takes the next batch when it is free; their words are joined in order of first occurrence."""
    from gputok.kernels.cpu.count_words import count_pieces, distinct_words
    from gputok.kernels.cpu.word_table import new_table
    from gputok.kernels.cuda.count_words import count_words as count_on

    numbered, lock, stop, done = enumerate(batches), Lock(), Event(), 0

    def share() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        while not stop.is_set():
            with lock:
                number, batch = next(numbered, (0, None))
            if batch is None:
                return
            begin, end = batch.offsets[[0, -1]].tolist()
            yield batch.data[begin:end], batch.offsets - begin, number * POSITIONS

    def counted(n_bytes: int) -> None:
        nonlocal done
        with lock:
            done += n_bytes
            if report:
                report("count", done, total)

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
    return WordCounts(*distinct_words([table]), plan.byte_level)
