"""Counts the words of a corpus on CUDA devices; the CPU counts the text that they can't count."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Event
from typing import Any, NamedTuple, Self

import numpy as np

from gputok.checks import warn
from gputok.counts.partitions import table_budget
from gputok.counts.word_counts import WordCounts
from gputok.files.temporary import MemoryLimit
from gputok.kernels.cpu.word_table import N_WORDS
from gputok.kernels.cuda.count_words import Added, Batch, count_batches
from gputok.kernels.cuda.lines import Needles, Watched
from gputok.kernels.threads import run
from gputok.pipeline.count.units import LOOK_SECONDS, StepCounter, ThreadTallies, WalkCounter, Workers, collected, comes
from gputok.progress import Report
from gputok.text.pieces import Pieces, RawLines, TextBatch, joined_offsets
from gputok.types import Bytes, Counts, Positions

Fallback = Callable[[TextBatch], Callable[[Pieces], Pieces] | None]

Left = tuple["Sequence[bytes]", tuple[Any, Any, int] | None]
"""What devices leave to the CPU: text with one of these strings, or with a character that is not inert.

The strings are those of added tokens; the second item is `Normalizer.inert`, or None if no normalizer changes text."""


def by_devices(
    counter: WalkCounter,
    fallback_for: Fallback | None,
    left: Left,
    n_threads: int,
    total: int | None,
    devices: Sequence[Any],
    batches: Iterable[TextBatch | RawLines],
    report: Report | None,
) -> WordCounts:
    """Counts the words of all batches: threads those for which `fallback_for` gives a function, devices the rest."""
    tell: Callable[[int], object] | None = report and (lambda done: report("count", done, total))
    with Workers([ThreadTallies() for _ in range(n_threads)], tell) as workers:
        with _Devices(devices, counter, workers, fallback_for, left) as counting:
            for batch in _then(batches, counting.finish):
                other = None if fallback_for is None or isinstance(batch, RawLines) else fallback_for(batch)
                if other and isinstance(batch, TextBatch):
                    counting.flush()
                    workers.take(StepCounter(other), batch)
                else:
                    counting.take(batch)
            found, tallies = counting.finish()
        workers.finish()
        found = [each for each in found if len(each.counts)]
        return _in_order(found, counter, [*workers.tallies, *tallies], n_threads)


def _then(batches: Iterable[TextBatch | RawLines], finish: Callable[[], object]) -> Iterator[TextBatch | RawLines]:
    """Yields the batches. If one can't be read, `finish` first counts those before it, whose errors come first."""
    failed = None
    try:
        yield from batches
    except Exception as error:
        failed = error
    if failed is not None:  # outside of `except`: an error of `finish` would name it as its context
        finish()
        raise failed


def _n_bytes(batch: TextBatch | RawLines) -> int:
    return len(batch.data) if isinstance(batch, RawLines) else int(batch.offsets[-1] - batch.offsets[0])


def in_turns(
    batches: Iterable[TextBatch | RawLines],
    count: Callable[[Iterator[TextBatch | RawLines], Report | None], WordCounts],
    n_threads: int,
    report: Report | None,
    memory: MemoryLimit,
    device_share: int,
) -> WordCounts:
    """Counts all batches within a memory limit: as many together as fit, whose words then go to a table that spills."""
    tallies, done, is_last = ThreadTallies(memory, table_budget(memory, 1)[1] // 2), 0, False
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
        words = count(some(), report and (lambda stage, n, total, before=before: report(stage, before + n, total)))
        if len(words) or not tallies:  # counts without words don't tell whether words are byte-level
            tallies[words.byte_level].add(words.columns())
    return WordCounts.of_tallies([*tallies.values()], memory, n_threads, report=report)


class _Found(NamedTuple):
    """Distinct matches of a walk: words or parts."""

    data: Bytes  # uint8[n_bytes]
    offsets: Positions  # int64[n_words + 1], into data
    counts: Counts  # int64[n_words]
    first: Positions  # int64[n_words], ascending, the position of the first occurrence of each

    def slice(self, start: int, stop: int) -> Self:
        """Returns the matches start:stop, or as many as there are, with offsets from 0."""
        offsets, each = self.offsets[start : stop + 1], slice(start, stop)
        data = self.data[offsets[0] : offsets[-1]]
        return self._replace(data=data, offsets=offsets - offsets[0], counts=self.counts[each], first=self.first[each])


class _Devices:
    """CUDA devices, each of which takes the next group of batches when it is free.

    Small batches are joined to groups in pinned memory. For each device, one group waits, one is copied, one counted.
    """

    def __init__(
        self, devices: Sequence[Any], counter: WalkCounter, workers: Workers, fallback_for: Fallback | None, left: Left
    ) -> None:
        self._counter, self._workers, self._n = counter, workers, len(devices)
        self._group_bytes = devices[0].sizes.batch
        self._fallback_for, self._left = fallback_for, left
        self._held: list[TextBatch | RawLines] = []  # the batches of the next group, all of one class
        self._held_bytes = 0
        self._errors: list[tuple[int, ValueError]] = []  # of groups that are not UTF-8, with their positions
        self._groups: SimpleQueue[Any] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # an item for each group that may still be put into `_groups`
        for _ in devices:
            self._room.put(None)
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
        if self._held and isinstance(batch, RawLines) != isinstance(self._held[0], RawLines):
            self.flush()
        self._held.append(batch)
        self._held_bytes += _n_bytes(batch)
        if self._held_bytes >= self._group_bytes:
            self.flush()

    def flush(self) -> None:
        """Hands out the batches of the group."""
        if not self._held:
            return
        group = self._group(self._held, self._workers.next_position())
        self._held, self._held_bytes = [], 0
        self._wait_for(self._has_room)
        self._groups.put(group)
        self._workers.handed_out(group.n_bytes)

    def _has_room(self) -> bool:
        """Waits a while for room; if a device failed, waits for the end of all, and `_wait_for` raises its error."""
        has_room = comes(self._room)
        if self._stopped.is_set():
            wait(self._work)
        return has_room and not self._stopped.is_set()

    def _group(self, batches: Sequence[TextBatch | RawLines], position: int) -> Batch:
        def checked() -> Batch:
            try:
                return self._group([raw.checked() for raw in batches if isinstance(raw, RawLines)], position)
            except ValueError as error:
                self._errors.append((position, error))
                raise

        offsets = [np.array([0, len(each.data)]) if isinstance(each, RawLines) else each.offsets for each in batches]
        text = [batch.data[of[0] : of[-1]] for batch, of in zip(batches, offsets, strict=True)]
        return Batch(text, joined_offsets(offsets), position, checked if isinstance(batches[0], RawLines) else None)

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

    def finish(self) -> tuple[list[_Found], list[ThreadTallies]]:
        """Waits for all devices; returns the matches that each counted, and the words that the CPU counted for it."""
        self.flush()
        for _ in self._work:
            self._groups.put(None)
        self._wait_for(lambda: not wait(self._work, timeout=LOOK_SECONDS).not_done)
        self._raise_first()  # _wait_for raises nothing if all devices had ended before
        done = [future.result() for future in self._work]
        return [found for found, _ in done], [tallies for _, left in done for tallies in left]

    def _count_on(self, device: Any) -> tuple[_Found, list[ThreadTallies]]:
        def leave(batch: Batch, reason: Exception) -> None:
            """Has the CPU's threads count a batch that the device can't count."""
            text = TextBatch(np.concatenate(batch.text), batch.offsets)
            other = self._fallback_for(text) if self._fallback_for else None
            counting = StepCounter(other) if other else self._counter
            cuts = counting.cut(text)
            slices = [(start, stop, batch.position + 2 * start) for start, stop in itertools.pairwise(cuts)]
            left.hand_out(counting, text, slices)
            if not isinstance(reason, Added) and not self._warned.is_set():
                self._warned.set()
                warn(f"some text is counted on the CPU: {reason}")

        added, changing = self._left
        # Tables need ascending positions. A device takes batches in order, so its own threads count what it leaves
        n_threads = -(-len(self._workers.tallies) // self._n)
        with device.in_use(), Workers([ThreadTallies() for _ in range(n_threads)], None) as left:
            found = count_batches(
                device,
                self._share(),
                self._counter.automaton,
                leave=leave,
                watched=Watched(Needles.of([*added]) if added else None, changing),
                stop=self._stop,
            )
            left.finish()
        return _Found(*found), [tallies for tallies in left.tallies if tallies]

    def _share(self) -> Iterator[Any]:
        # A group that was taken is counted even after another device has failed: its error may be the first in the text
        while not self._stopped.is_set() and (group := self._groups.get()) is not None:
            self._room.put(None)
            yield group

    def _stop(self) -> None:
        """Wakes all threads that wait for a group, since there are no more, and the thread that waits for room."""
        self._stopped.set()
        for _ in range(self._n):
            self._groups.put(None)
        self._room.put(None)


def _in_order(found: list[_Found], counter: WalkCounter, tallies: list[ThreadTallies], n_threads: int) -> WordCounts:
    """Adds up the words of devices and of threads, in order of first occurrence."""
    if counter.words is None and len(found) == 1 and not any(tallies):
        return WordCounts(found[0].data, found[0].offsets, found[0].counts, counter.byte_level)
    # How many matches a thread enters into its table
    size = -(-sum(len(each.counts) for each in found) // n_threads)
    slices = [(each.slice(at, at + size), counter) for each in found for at in range(0, len(each.counts), size)]
    return collected([*tallies, *run(_entered, slices, n_threads)])


def _entered(found: _Found, counter: WalkCounter) -> ThreadTallies:
    """Returns tallies of the words in matches; the position of a word is that of the first match that has it."""
    tallies = ThreadTallies()
    first: dict[bool, list[Positions]] = {}  # byte_level -> the position of the match of each word that was entered
    step = 1 << 16  # matches, which have some hundred thousand bytes
    for at in range(0, len(found.counts), step):
        part = found.slice(at, at + step)
        matches = Pieces.from_batch(TextBatch(part.data, part.offsets))
        words = counter.words(matches) if counter.words else matches._replace(byte_level=counter.byte_level)
        n_words, before = np.diff(words.rows), first.setdefault(words.byte_level, [])
        tallies.add_pieces(words, np.repeat(part.counts, n_words), sum(map(len, before)))
        before.append(np.repeat(part.first, n_words))
    for byte_level, tally in tallies.items():
        position = tally.table.position[: int(tally.table.state[N_WORDS])]
        position[:] = np.concatenate(first[byte_level])[position]
    return tallies
