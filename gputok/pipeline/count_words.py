"""Counts the words of a corpus, on all cores or on CUDA devices, while the next part of the corpus is read."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Semaphore
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from gputok.files.word_count_files import WordColumns
from gputok.kernels.threads import run, thread_count
from gputok.text.partitions import Tally, table_budget
from gputok.text.pieces import SPACE_PREFIXED_RUN, Pieces, RawLines, TextBatch
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from gputok.files.temporary import MemoryLimit
    from gputok.kernels import Automaton
    from gputok.kernels.cuda.count_words import Batch
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report
    from gputok.types import Bytes, Counts, Positions

WALK_BYTES = 1 << 21  # of a slice for the fused walk by one thread, which takes some milliseconds
_WALK_THREADS = (
    8  # that share so many bytes; slices for more threads would be too small to be worth their start
)
PIPELINE_BYTES = 1 << 20  # of a slice for any other pipeline, which takes at most 0.2 s
# Of a slice for ByParts; in larger slices few more parts are equal, and tables leave the cache
PART_BYTES = 1 << 21
_SHORT = 1 << 16  # bytes of a corpus that one thread counts before others would have started
POSITIONS = 1 << 36  # how many positions a slice has for its words
NOT_BY_DEVICES = "words are neither those of one walk over the text, nor the same if text is cut at spaces"
_LOOK_SECONDS = 0.2  # how often the main thread looks for failed threads
_DEVICE_SHARE = (
    8  # bytes of the memory limit for each byte of text that devices count before words are spilled
)


class Tallies(dict[bool, Tally]):
    """The counts of one thread: True -> those of byte-level words, False -> those of other words.

    Args:
        memory: the memory limit, or None.
        budget: the largest size of each table in bytes, or None.
    """

    def __init__(self, memory: MemoryLimit | None, budget: int | None) -> None:
        super().__init__()
        self._memory, self._budget = memory, budget

    def __missing__(self, byte_level: bool) -> Tally:
        self[byte_level] = Tally(byte_level, self._memory, self._budget, of_text=True)
        return self[byte_level]


Fallback = Callable[[TextBatch], Callable[[Pieces], Pieces] | None]

Left = tuple["Sequence[bytes]", tuple[Any, Any, int] | None]
"""What devices leave to the CPU: text with one of these strings, or with characters that are not inert."""

Job = Callable[[Tallies], None]
"""A slice to count, as a function of the tallies of the thread that counts it."""


def count_words(
    batches: Iterable[TextBatch | RawLines],
    pipeline: SplitPlan | Callable[[Pieces], Pieces],
    *,
    apart_at_spaces: bool = False,
    fallback_for: Fallback | None = None,
    added: Sequence[bytes] = (),
    changing: tuple[Any, Any, int] | None = None,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    devices: Sequence[Any] = (),
    memory: MemoryLimit | None = None,
    device_share: int = _DEVICE_SHARE,
) -> WordCounts:
    """Counts the words that a pipeline cuts documents into.

    Without a limit, memory holds two batches and the distinct words, once for each thread; words are in the order of
    their first occurrence. With a limit, tables that outgrow their share are spilled to temporary files, and so is the
    result; words are in the order of their keys (`gputok.text.partitions`). The next batch is read while a batch is
    counted. The result is the same for any number of threads, any devices, any cut of the corpus into batches,
    and any limit.

    Args:
        batches: the documents. RawLines are for devices only.
        pipeline: the plan of a pre-tokenizer (one walk over the raw text, the fast way), or any function that maps
            documents to their words.
        apart_at_spaces: True if a document may be cut before each space with the same result; then the function gets each
            different part of a slice only once.
        fallback_for: returns a function that maps the whole documents of a batch to words, or None for `pipeline`.
        added: the strings of added tokens. In RawLines, `fallback_for` is asked only about text in which one of them occurs,
        changing: and about text with a character that is none of these (`Normalizer.inert`); None: there are none.
        threads: None: GPUTOK_NUM_THREADS, or all cores; with a limit, at most as many as there is room for their tables.
        report: called as report("count", bytes, total) a few times a second, and report("add up", partitions, 64).
        total: bytes of all documents, if known.
        devices: CUDA devices (`backend.choose`). They count if the pipeline is one walk, or if `apart_at_spaces`; other
            pipelines, and batches for which `fallback_for` returns a function, run on the CPU.
        memory: the limit.
        device_share: with a limit, words that devices count are spilled after one byte of text for so many bytes of the limit.

    Returns:
        The distinct words and how often each occurs.
    """
    n_threads = thread_count(threads)
    usual: ByWalk | ByParts | BySteps
    if not callable(pipeline):
        usual = ByWalk(pipeline, n_threads)
    else:
        usual = ByParts(pipeline) if apart_at_spaces else BySteps(pipeline)
    if devices and isinstance(usual, ByWalk | ByParts):
        if memory is None:
            return _by_devices(
                batches, usual, fallback_for, (added, changing), n_threads, report, total, devices
            )
        return _in_turns(
            batches,
            lambda some, report: _by_devices(
                some, usual, fallback_for, (added, changing), n_threads, report, total, devices
            ),
            n_threads,
            report,
            memory,
            device_share,
        )

    def counter_for(batch: TextBatch) -> Counter:
        other = fallback_for(batch) if fallback_for else None
        return BySteps(other) if other else usual

    n_tables = 1 if fallback_for is None else 2
    return count_by(counter_for, batches, n_threads, report, total, memory, n_tables)


def count_by(
    counter_for: Callable[[TextBatch], Counter],
    batches: Iterable[TextBatch | RawLines],
    n_threads: int,
    report: Report | None,
    total: int | None,
    memory: MemoryLimit | None,
    n_tables: int = 1,
) -> WordCounts:
    """Counts the words of all batches on the CPU.

    Args:
        counter_for: returns what counts a batch.
        batches: as for `count_words`.
        n_threads: how many threads count; with a limit, at most as many as there is room for their tables.
        report: as for `count_words`.
        total: as for `count_words`.
        memory: as for `count_words`.
        n_tables: how many tables a thread may need, for byte-level words and for others.

    Returns:
        As `count_words`.
    """
    budget = None
    if memory is not None:
        n_threads, budget = table_budget(memory, n_threads)
        budget //= n_tables
    only, texts = _if_short(_texts(batches))
    tallies = [Tallies(memory, budget) for _ in range(n_threads if only is None else 1)]

    if only is not None:
        _count_here(counter_for(only), only, tallies[0])
        if report:
            report("count", len(only.data), total)
    else:
        with _Workers(tallies, report, total) as workers:
            for batch in texts:
                workers.take(counter_for(batch), batch)
            workers.finish()
    if memory is not None:
        counted = [tally for of_thread in tallies for tally in of_thread.values()]
        return WordCounts.of_tallies(counted, memory, n_threads, report=report)
    return _collected(tallies)


def _texts(batches: Iterable[TextBatch | RawLines]) -> Iterator[TextBatch]:
    for batch in batches:
        assert isinstance(batch, TextBatch)
        yield batch


def _if_short(batches: Iterator[TextBatch]) -> tuple[TextBatch | None, Iterator[TextBatch]]:
    """Returns the only batch if it is short (else None), and all batches."""
    some = list(itertools.islice(batches, 1))
    if some and len(some[0].data) <= _SHORT:
        some += itertools.islice(batches, 1)
        if len(some) == 1:
            return some[0], iter(some)
    return None, itertools.chain(some, batches)


def _count_here(counter: Counter, batch: TextBatch, tallies: Tallies) -> None:
    """Counts a batch in this thread."""
    for number, (start, stop) in enumerate(itertools.pairwise(counter.cut(batch))):
        counter.count(batch, start, stop, number * POSITIONS, tallies)


class _Workers:
    """Threads that count slices of batches, each thread into its own tables."""

    def __init__(self, tallies: list[Tallies], report: Report | None, total: int | None) -> None:
        self.tallies = tallies
        self._done, self._report, self._total = 0, report, total  # _done: bytes of the slices handed out
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._taken = Semaphore(1)  # batches without waiting slices, plus one: memory holds two batches
        self._number = itertools.count()
        self._pool = ThreadPoolExecutor(len(tallies))
        self._work = [self._pool.submit(_work, self._jobs, of_thread) for of_thread in tallies]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Empty):  # after an error or Ctrl-C, no thread begins another slice
            while True:
                self._jobs.get_nowait()
        for _ in self._work:
            self._jobs.put(None)
        self._pool.shutdown()

    def next_position(self) -> int:
        """Returns the position of the first word of a slice; it is larger than all positions of earlier slices."""
        return next(self._number) * POSITIONS

    def take(self, counter: Counter, batch: TextBatch, position: int | None = None) -> None:
        """Hands out the slices of a batch, then waits until threads have taken the slices of the batch before.

        position: of the first byte, larger than that of the batch before; byte i has `position` + 2 * i. None: each slice
        has the next position.
        """
        cuts = counter.cut(batch)
        for start, stop in itertools.pairwise(cuts):
            first = self.next_position() if position is None else position + 2 * (start - cuts[0])
            self._jobs.put(partial(counter.count, batch, start, stop, first))
        self._jobs.put(lambda tallies: self._taken.release())
        self.handed_out(cuts[-1] - cuts[0])
        self.wait_for(lambda: self._taken.acquire(timeout=_LOOK_SECONDS))

    def handed_out(self, n_bytes: int) -> None:
        """Reports that slices of `n_bytes` more have been handed out."""
        self._done += n_bytes
        if self._report:
            self._report("count", self._done, self._total)

    def wait_for(self, arrived: Callable[[], bool], others: Sequence[Future[Any]] = ()) -> None:
        """Waits until `arrived` returns True; raises the exception of a thread, or of `others`, that has failed."""
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
    """Runs in each thread: takes slices in order until None, so that the positions of its words only increase."""
    while (job := jobs.get()) is not None:
        job(tallies)


class Counter(Protocol):
    """A way to count the words of a batch: in slices, each of which one thread counts."""

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes of the batch at which slices begin, and the byte at which the last slice ends."""
        ...

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        """Adds the words of the bytes start:stop to the tallies of a thread.

        position: the position of the first word; positions order the words of all slices.
        """
        ...


class Walker(Counter, Protocol):
    """A counter that begins with a walk over the raw text, which CUDA devices can do as well."""

    @property
    def automaton(self) -> Automaton:
        """The automaton of the walk."""
        ...

    @property
    def byte_level(self) -> bool:
        """True if the bytes that the walk finds stand for characters of the ByteLevel alphabet."""
        ...

    def words(self, found: TextBatch) -> Pieces | None:
        """Returns the words of the matches of the walk; None if the matches are the words."""
        ...


class ByWalk:
    """Counts by one walk over the raw text, whose matches are the words."""

    def __init__(self, plan: SplitPlan, n_threads: int) -> None:
        from gputok.kernels.cpu.walk import Walks

        self._slice_bytes = WALK_BYTES // min(n_threads, _WALK_THREADS)
        self.automaton, self.byte_level = plan.automaton, plan.byte_level
        self._walks = Walks(plan.automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes at which slices begin, and the byte at which the last slice ends."""
        from gputok.kernels.cpu.walk import slice_text

        # A strong cut may be made in any state, since the walk ends each slice with an end of text
        return slice_text(batch.data, batch.offsets, self._slice_bytes, self._walks.of(0)).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        """Adds the words of a slice to the tallies of a thread."""
        from gputok.kernels.cpu.count_words import count_words as count_text

        tally = tallies[self.byte_level]
        position -= 2 * start
        walk = self._walks.of(stop - start)
        tally.table = count_text(
            batch.data, batch.offsets, position, walk, tally.table, start, stop, tally.make_room
        )

    def words(self, found: TextBatch) -> Pieces | None:
        """Returns None: the matches of the walk are the words."""


class BySteps:
    """Counts by any function that maps whole documents to their words."""

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        self._pipeline = pipeline

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes at which slices of whole documents begin, and the byte at which the last slice ends."""
        aims: Positions = np.arange(int(batch.offsets[0]), int(batch.offsets[-1]), PIPELINE_BYTES)
        ends = batch.offsets[np.searchsorted(batch.offsets, aims)]
        return np.unique(np.append(ends, batch.offsets[-1])).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        """Adds the words of a slice to the tallies of a thread."""
        first, last = np.searchsorted(batch.offsets, (start, stop))  # empty documents have no words
        words = self.words(TextBatch(batch.data[start:stop], batch.offsets[first : last + 1] - start))
        self._add(words, np.ones(words.n_pieces, np.int64), position, tallies)

    def words(self, found: TextBatch) -> Pieces:
        """Returns the words of documents, or of parts of documents."""
        return self._pipeline(Pieces.from_batch(found))

    def _add(self, words: Pieces, counts: Counts, position: int, tallies: Tallies) -> None:
        from gputok.kernels.cpu.count_words import count_pieces

        tally = tallies[words.byte_level]
        tally.table = count_pieces(
            words.data, words.start, words.end, counts, position, tally.table, tally.make_room
        )


class ByParts(BySteps):
    """Counts the parts between spaces by one walk, and cuts each distinct part into words only once.

    A word counts as often as the part that it is in.
    """

    byte_level = False  # parts are text

    def __init__(self, pipeline: Callable[[Pieces], Pieces]) -> None:
        from gputok.automaton import compile_pattern
        from gputok.kernels.cpu.walk import Walks

        super().__init__(pipeline)
        automaton = compile_pattern(SPACE_PREFIXED_RUN)
        assert isinstance(automaton, tuple)  # this pattern never needs backtracking
        self.automaton: Automaton = automaton
        self._walks = Walks(automaton)

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes at which slices begin, and the byte at which the last slice ends."""
        from gputok.kernels.cpu.walk import slice_text

        # As above; and a part is the same text for the pipeline in any slice (`apart_at_spaces`)
        return slice_text(batch.data, batch.offsets, PART_BYTES, self._walks.of(0)).tolist()

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: Tallies) -> None:
        """Adds the words of a slice to the tallies of a thread."""
        from gputok.kernels.cpu.count_words import count_words as count_text
        from gputok.kernels.cpu.count_words import distinct_words
        from gputok.kernels.cpu.word_table import new_table

        walk = self._walks.of(stop - start)
        parts = count_text(batch.data, batch.offsets, -2 * start, walk, new_table(), start, stop)
        data, offsets, counts = distinct_words([parts])
        words = self.words(TextBatch(data, offsets))
        self._add(words, np.repeat(counts, np.diff(words.rows)), position, tallies)


def _collected(tallies: list[Tallies]) -> WordCounts:
    """Adds up the tallies of all threads; if some words are byte-level and others are not, all are written out."""
    from gputok.kernels.cpu.count_words import distinct_words

    kinds = sorted({byte_level for of_thread in tallies for byte_level in of_thread})
    counts: list[WordCounts] = []
    for kind in kinds:
        tables = [of_thread[kind].table for of_thread in tallies if kind in of_thread]
        counts.append(WordCounts(*distinct_words(tables, len(tallies)), kind))
    return counts[0] if len(counts) == 1 else WordCounts.merge(counts)


def _by_devices(
    batches: Iterable[TextBatch | RawLines],
    counter: Walker,
    fallback_for: Fallback | None,
    left: Left,
    n_threads: int,
    report: Report | None,
    total: int | None,
    devices: Sequence[Any],
) -> WordCounts:
    """Counts the words of all batches: threads those for which `fallback_for` returns a function, devices the others."""
    with _Workers([Tallies(None, None) for _ in range(n_threads)], report, total) as workers:
        with _Devices(devices, counter, workers, fallback_for, left) as counting:
            for batch in _then(batches, counting.finish):
                other = None if fallback_for is None or isinstance(batch, RawLines) else fallback_for(batch)
                if other and isinstance(batch, TextBatch):
                    counting.flush()
                    workers.take(BySteps(other), batch)
                else:
                    counting.take(batch)
            found, tallies = counting.finish()
        workers.finish()
        return _in_order(found, counter, [*workers.tallies, *tallies], n_threads)


def _then(
    batches: Iterable[TextBatch | RawLines], finish: Callable[[], object]
) -> Iterator[TextBatch | RawLines]:
    """The batches. If the next one can't be read, those before it come first: they may have an error of their own."""
    failed = None
    try:
        yield from batches
    except Exception as error:
        failed = error
    if failed is not None:
        finish()
        raise failed


def _n_bytes(batch: TextBatch | RawLines) -> int:
    return len(batch.data) if isinstance(batch, RawLines) else int(batch.offsets[-1] - batch.offsets[0])


def _in_turns(
    batches: Iterable[TextBatch | RawLines],
    count: Callable[[Iterator[TextBatch | RawLines], Report | None], WordCounts],
    n_threads: int,
    report: Report | None,
    memory: MemoryLimit,
    device_share: int,
) -> WordCounts:
    """Counts the words of all batches within a limit: of as many batches at a time as fit, whose words are then spilled."""
    tallies, done, is_last = Tallies(memory, table_budget(memory, 1)[1] // 2), 0, False
    batches = iter(batches)

    def some() -> Iterator[TextBatch | RawLines]:
        nonlocal done, is_last
        n_bytes = 0
        while n_bytes < memory.n_bytes // device_share:
            if (batch := next(batches, None)) is None:
                is_last = True
                return
            n_bytes += _n_bytes(batch)
            yield batch
        done += n_bytes

    while not is_last:
        before = done
        words = count(
            some(), report and (lambda stage, n, total, before=before: report(stage, before + n, total))
        )
        if len(words) or not tallies:  # counts without words are of no kind
            columns = WordColumns(words.data, words.offsets, words.counts, words.byte_level)
            tallies[words.byte_level].add(columns)
    return WordCounts.of_tallies([*tallies.values()], memory, n_threads, report=report)


class _Found(NamedTuple):
    """Distinct matches of a walk: words or parts."""

    data: Bytes  # uint8[n_bytes]
    offsets: Positions  # int64[n_words + 1], into data
    counts: Counts  # int64[n_words]
    first: Positions  # int64[n_words], ascending, the position of the first occurrence of each

    def slice(self, start: int, stop: int) -> Self:
        """Returns the matches start:stop, with offsets from 0."""
        offsets, each = self.offsets[start : stop + 1], slice(start, stop)
        data = self.data[offsets[0] : offsets[-1]]
        return self._replace(
            data=data, offsets=offsets - offsets[0], counts=self.counts[each], first=self.first[each]
        )


class _Devices:
    """CUDA devices, each of which takes the next group of batches when it is free.

    Small batches, which many threads read, are joined to groups in pinned memory. For each device, one group waits, one is
    copied and one is counted, for any number of threads.
    """

    def __init__(
        self,
        devices: Sequence[Any],
        counter: Walker,
        workers: _Workers,
        fallback_for: Fallback | None,
        left: Left,
    ) -> None:
        self._counter, self._workers, self._n = counter, workers, len(devices)
        self._fallback_for, self._left = fallback_for, left
        self._held: list[TextBatch | RawLines] = []  # all of one kind
        self._held_bytes = 0
        self._errors: list[tuple[int, ValueError]] = []  # with the positions of groups that are not UTF-8
        self._groups: SimpleQueue[Any] = SimpleQueue()
        self._room = Semaphore(self._n)  # groups that may wait
        self._stopped, self._warned = Event(), Event()
        self._pool = ThreadPoolExecutor(self._n)
        self._work = [self._pool.submit(self._count_on, device) for device in devices]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self._pool.shutdown()

    def take(self, batch: TextBatch | RawLines) -> None:
        """Adds a batch to the group; hands out the group if it is large enough."""
        from gputok.kernels.cuda import device

        if self._held and isinstance(batch, RawLines) != isinstance(self._held[0], RawLines):
            self.flush()
        self._held.append(batch)
        self._held_bytes += _n_bytes(batch)
        if self._held_bytes >= device.BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands out the batches of the group."""
        if not self._held:
            return
        group = self._group(self._held, self._workers.next_position())
        self._held, self._held_bytes = [], 0
        # After a device has failed there is no room, and its error is raised as soon as its thread has ended
        self._wait_for(lambda: self._room.acquire(timeout=_LOOK_SECONDS) and not self._stopped.is_set())
        self._groups.put(group)
        self._workers.handed_out(group.n_bytes)

    def _group(self, batches: Sequence[TextBatch | RawLines], position: int) -> Batch:
        from gputok.kernels.cuda.count_words import Batch

        def checked() -> Batch:
            try:
                return self._group([raw.checked() for raw in batches if isinstance(raw, RawLines)], position)
            except ValueError as error:
                self._errors.append((position, error))
                raise

        offsets = [
            np.array([0, len(batch.data)]) if isinstance(batch, RawLines) else batch.offsets
            for batch in batches
        ]
        text = [batch.data[of[0] : of[-1]] for batch, of in zip(batches, offsets, strict=True)]
        begin = np.cumsum([0, *map(len, text)])
        shifted = [of[1:] + (at - of[0]) for of, at in zip(offsets, begin[:-1], strict=True)]
        is_raw = isinstance(batches[0], RawLines)
        return Batch(text, np.concatenate([begin[:1], *shifted]), position, checked if is_raw else None)

    def _wait_for(self, arrived: Callable[[], bool]) -> None:
        try:
            self._workers.wait_for(arrived, self._work)
        except ValueError:
            wait(self._work)  # other devices may find an error in text that comes before
            self._raise_first()
            raise

    def _raise_first(self) -> None:
        """Raises the error in the first text that is not UTF-8, if any device found such text."""
        if self._errors:
            raise min(self._errors, key=lambda each: each[0])[1] from None

    def finish(self) -> tuple[list[_Found], list[Tallies]]:
        """Waits for all devices; returns the matches that each of them counted, and the words that the CPU counted for it."""
        self.flush()
        for _ in self._work:
            self._groups.put(None)
        self._wait_for(lambda: not wait(self._work, timeout=_LOOK_SECONDS).not_done)
        self._raise_first()  # _wait_for raises nothing if all devices had ended before
        done = [future.result() for future in self._work]
        return [found for found, _ in done], [tallies for _, left in done for tallies in left]

    def _count_on(self, device: Any) -> tuple[_Found, list[Tallies]]:
        from gputok.kernels.cuda.count_words import Added, count_batches
        from gputok.kernels.cuda.lines import Strings, Watched

        def leave(batch: Batch, reason: Exception) -> None:
            """Has the CPU's threads count a batch that the device can't count."""
            text = TextBatch(np.concatenate(batch.text), batch.offsets)
            other = self._fallback_for(text) if self._fallback_for else None
            left.take(BySteps(other) if other else self._counter, text, batch.position)
            if not isinstance(reason, Added) and not self._warned.is_set():
                self._warned.set()
                warnings.warn(f"some text is counted on the CPU: {reason}", stacklevel=2)

        added, changing = self._left
        # A device takes its batches in order, so tables for what it leaves see ascending positions
        n_threads = -(-len(self._workers.tallies) // self._n)
        with device.in_use(), _Workers([Tallies(None, None) for _ in range(n_threads)], None, None) as left:
            found = count_batches(
                device,
                self._share(),
                self._counter.automaton,
                leave=leave,
                watched=Watched(Strings.of([*added]) if added else None, changing),
                stop=self._stop,
            )
            left.finish()
        return _Found(*found), [tallies for tallies in left.tallies if tallies]

    def _share(self) -> Iterator[Any]:
        # A group that was taken is counted: an error in it comes before one that another device has found meanwhile
        while not self._stopped.is_set() and (group := self._groups.get()) is not None:
            self._room.release()
            yield group

    def _stop(self) -> None:
        """Wakes all threads that wait for a group, since there are no more, and the thread that waits for room."""
        self._stopped.set()
        for _ in range(self._n):
            self._groups.put(None)
        self._room.release(1 << 20)


def _in_order(found: list[_Found], counter: Walker, tallies: list[Tallies], n_threads: int) -> WordCounts:
    """Adds up the words of devices and of threads, in order of first occurrence."""
    found = [each for each in found if len(each.counts)]
    if isinstance(counter, ByWalk) and len(found) == 1 and not any(tallies):
        return WordCounts(found[0].data, found[0].offsets, found[0].counts, counter.byte_level)
    size = -(
        -sum(len(each.counts) for each in found) // n_threads
    )  # matches that a thread enters into a table
    slices = [
        (each.slice(at, min(at + size, len(each.counts))), counter)
        for each in found
        for at in range(0, len(each.counts), size)
    ]
    return _collected([*tallies, *run(_entered, slices, n_threads)])


def _entered(found: _Found, counter: Walker) -> Tallies:
    """Returns tallies of the words of matches, at the positions of the matches."""
    from gputok.kernels.cpu.count_words import count_pieces
    from gputok.kernels.cpu.word_table import N_WORDS

    tallies = Tallies(None, None)
    first: dict[bool, list[Positions]] = {}  # of each piece that was entered
    step = 1 << 16  # matches, which have some hundred thousand bytes
    for at in range(0, len(found.counts), step):
        part = found.slice(at, min(at + step, len(found.counts)))
        pieces = counter.words(TextBatch(part.data, part.offsets))
        if pieces is None:  # the matches are the words
            byte_level, n_words = counter.byte_level, 1
            columns = part.data, part.offsets[:-1], part.offsets[1:]
        else:
            byte_level, n_words = pieces.byte_level, np.diff(pieces.rows)
            columns = pieces.data, pieces.start, pieces.end
        tally, before = tallies[byte_level], first.setdefault(byte_level, [])
        position = sum(map(len, before))
        tally.table = count_pieces(*columns, np.repeat(part.counts, n_words), position, tally.table)
        before.append(np.repeat(part.first, n_words))
    for byte_level, tally in tallies.items():
        position = tally.table.position[: int(tally.table.state[N_WORDS])]
        position[:] = np.concatenate(first[byte_level])[position]
    return tallies
