"""Launches the counting of words on a CUDA device."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import Device, offsets_of
from gputok.kernels.cuda.lines import Watched, lines, texts_with

_LEAST_CAPACITY = 1 << 16  # of the table of words
_FREE = 2**64 - 1
_IN_BATCH = 1 << 63
_EIGHT = 8  # a word in the arena begins at a multiple of so many bytes
_HOT = 512  # as in count_words.cu


class Batch(NamedTuple):
    """Documents to count, on the host.

    With `checked`, the documents are the lines of the texts: nobody has looked for them, and the texts may not be UTF-8.

    Attributes:
        text: Arrays of uint8; one after the other, they are the documents.
        offsets: int64[documents + 1], from 0: where each document begins. With `checked`: where each text begins.
        position: Of the first byte. Byte i has the position `position` + 2 * i; all batches have different positions.
        checked: Looks for the lines on the host. Returns the batch with their offsets, repaired, or raises ValueError.
    """

    text: Sequence[np.ndarray]
    offsets: np.ndarray
    position: int
    checked: Callable[[], Batch] | None = None

    @property
    def n_bytes(self) -> int:
        """Returns the number of bytes of all documents."""
        return int(self.offsets[-1])

    def part(self, start: int, stop: int) -> Batch:
        """Returns the bytes start:stop, which must be UTF-8, as a batch; documents that reach beyond them are cut."""
        begin = np.cumsum([0, *map(len, self.text)])
        texts = zip(self.text, begin, strict=False)
        data = np.concatenate([text[max(0, start - at) : max(0, stop - at)] for text, at in texts])
        inside = self.offsets[(start < self.offsets) & (self.offsets < stop)] - start
        if self.checked is not None:
            from gputok.kernels.cpu.lines import lines as lines_on_cpu

            found = lines_on_cpu(data)[0]
            inside = np.union1d(inside, found[(found > 0) & (found < stop - start)])
        return Batch([data], np.concatenate([[0], inside, [stop - start]]), self.position + 2 * start)

    def begins_inside(self) -> bool:
        """Returns True if one of the texts begins inside a character."""
        return any(len(text) and int(text[0]) & 0xC0 == 0x80 for text in self.text)


class Counts(NamedTuple):
    """The distinct words seen so far, on a device."""

    arena: Any  # uint8[room]
    used_bytes: int
    keys: Any  # uint64[capacity]: place in arena / 8 << 32 | length
    counts: Any  # int64[capacity]
    tags: Any  # uint32[capacity]
    used: Any  # int64[1]
    first: Any  # int64[words], where each word first occurred, in the order of the arena


class Counting(NamedTuple):
    """The fields of the struct `Counting` of count_words.cu, in its order."""

    arena: Any  # uint8[room]
    batch: Any  # uint8[bytes]
    keys: Any  # uint64[capacity]
    counts: Any  # int64[capacity]
    tags: Any  # uint32[capacity]
    used: Any  # int64[1]
    claimed: Any  # uint32[capacity / 2], or None
    n_claimed: Any  # int64[1], or None
    over_keys: Any  # uint64[room]
    over_counts: Any  # int64[room]
    n_over: Any  # int64[1]
    capacity: int

    @classmethod
    def of(
        cls, text: Any, counts: Counts, over: _Over, claimed: Any = None, n_claimed: Any = None
    ) -> Counting:
        """Puts text and tables together."""
        table = counts.arena, text, counts.keys, counts.counts, counts.tags, counts.used
        return cls(*table, claimed, n_claimed, *over, len(counts.keys))


class Added(Exception):
    """A text has an added token, or a character that a normalizer changes."""


class NoRoom(Exception):
    """The distinct words don't fit into the memory of the device; smaller batches would not help."""


def count_batches(
    device: Device,
    batches: Iterator[Batch],
    automaton: Automaton,
    *,
    leave: Callable[[Batch, Exception], None] | None = None,
    watched: Watched | None = None,
    report: Callable[[int], None] = lambda n_bytes: None,
    stop: Callable[[], None] = lambda: None,
    capacity: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts the words of all documents.

    While a batch is counted, another thread fetches the next batch and begins to copy it.

    Args:
        device: Where words are counted.
        batches: In the order of their positions.
        automaton: Splits documents into words; it must be gapless.
        leave: Is called with a batch, or a part of a batch, that the device can't count, and with the reason. None: the
            reason is raised.
        watched: What no walk can count: added tokens, and characters that a normalizer changes. Documents with one of them go
            to `leave`, with the reason `Added`; with `checked`, whole texts.
        report: Is called with the number of bytes of each batch that was counted.
        stop: Is called if counting fails. It makes `batches` end, for which another thread may wait.
        capacity: How many words the table has room for at first, times two; a power of two. None: 2 ** 16.

    Returns:
        The distinct words, in the order of their first occurrences, on the host: data (uint8[bytes]), offsets
        (int64[words + 1]), counts (int64[words]) and first (int64[words]), the position of the byte at which each word
        occurs first.

    Raises:
        MemoryError: The distinct words don't fit into the memory of the device; or, without `leave`, a document that can't
            be cut does not fit.
        split.TooLong: Without `leave`: a run of text that can't be cut is too long for one thread.
        Added: Without `leave`: a text has what is watched.
        ValueError: Text is not UTF-8 (`Batch.checked` raises it).
    """
    tables = split.upload(device, automaton)
    with device.active() as lane, ThreadPoolExecutor(1) as feeder:

        def fetch() -> tuple[Batch | None, Callable[[], tuple] | None]:
            with device.active(lane):
                batch = next(batches, None)
                return batch, None if batch is None else _begun(device, batch)

        counts, following = no_words(device, capacity), feeder.submit(fetch)
        try:
            while (got := following.result())[0] is not None:
                batch, arriving = got
                following = feeder.submit(fetch)
                with _left(lambda batch=batch: batch.checked() if batch.checked else batch, leave):
                    text, offsets = (arriving or device.upload((batch.text, batch.offsets)))()
                    if batch.checked is not None:
                        offsets, is_valid = lines(device, text, offsets)
                        if not is_valid or batch.begins_inside():
                            batch = batch.checked()
                            text, offsets = device.upload((batch.text, batch.offsets))()
                    for start, part, documents in _without(device, text, offsets, batch, watched, leave):
                        counts = _in_parts(device, part, documents, batch, start, tables, counts, leave)
                report(batch.n_bytes)
            return collected(device, counts)
        except NoRoom as error:
            stop()
            raise MemoryError(str(error)) from error
        except BaseException:
            stop()
            raise


def _without(
    device: Device,
    text: Any,
    offsets: Any,
    batch: Batch,
    watched: Watched | None,
    leave: Callable[[Batch, Exception], None] | None,
) -> Iterator[tuple[int, Any, Any]]:
    """Hands the texts with what is watched to `leave`, and yields the parts of the batch between them (`split.parts`)."""
    found: list[int] = []
    if watched is not None:
        found = texts_with(device, text, batch.offsets, watched)
    if not found:
        yield 0, text, offsets
        return
    kept = np.ones(len(batch.offsets) - 1, bool)
    kept[found] = False
    ends = batch.offsets[1:][np.append(kept[1:] != kept[:-1], True)].tolist()
    for start, part, documents in split.parts(device, text, offsets, *ends):
        if kept[np.searchsorted(batch.offsets, start, "right") - 1]:
            yield start, part, documents
            continue
        if leave is None:
            raise Added
        leave(batch.part(start, start + len(part)), Added())


def _begun(device: Device, batch: Batch) -> Callable[[], tuple] | None:
    """Begins to copy a batch to the device; returns None if the memory does not hold two batches at a time."""
    try:
        return device.upload((batch.text, batch.offsets))
    except MemoryError:
        return None


def no_words(device: Device, capacity: int | None = None, room: int = 1 << 20) -> Counts:
    """Returns counts without words. They have room for `capacity` / 2 words, and for `room` bytes."""
    xp = device.xp
    capacity = capacity or _LEAST_CAPACITY
    return Counts(
        xp.empty(room, xp.uint8),
        0,
        xp.full(capacity, _FREE, xp.uint64),
        xp.zeros(capacity, xp.int64),
        xp.zeros(capacity, xp.uint32),
        xp.zeros(1, xp.int64),
        xp.empty(0, xp.int64),
    )


@contextlib.contextmanager
def _left(batch: Callable[[], Batch], leave: Callable[[Batch, Exception], None] | None) -> Iterator[None]:
    """Hands a batch to `leave` if the work on it fails for a reason that only the device has."""
    try:
        yield
    except MemoryError as error:
        if leave is None:
            raise
        leave(batch(), error)


def _in_parts(
    device: Device,
    text: Any,
    offsets: Any,
    batch: Batch,
    start: int,
    tables: split.Tables,
    counts: Counts,
    leave: Callable[[Batch, Exception], None] | None,
) -> Counts:
    """Adds the words of the bytes of a batch from `start` on; in parts if they don't fit. Returns the new counts."""
    run = None
    try:
        return count_words(device, text, offsets, batch.position + 2 * start, tables, counts)
    except split.TooLong as error:
        if leave is None:
            raise
        run = error
        ends = [run.begin, run.end, len(text)]
    except MemoryError:
        if (middle := split.middle_of(device, text, offsets, tables)) is None:
            raise
        ends = [middle, len(text)]
    for at, part, documents in split.parts(device, text, offsets, *ends):
        begin = start + at
        if run is not None and at == run.begin:
            leave(batch.part(begin, begin + len(part)), run)
            continue
        with _left(functools.partial(batch.part, begin, begin + len(part)), leave):
            counts = _in_parts(device, part, documents, batch, begin, tables, counts, leave)
    return counts


def count_words(
    device: Device, data: Any, offsets: Any, position: int, automaton: split.Tables, table: Counts
) -> Counts:
    """Adds the words of a batch to a table, and returns the new table.

    A word that begins at data[i] gets the position `position` + 2 * i.

    Raises:
        MemoryError: The memory does not hold a batch of this size. The table is unchanged.
        split.TooLong: The text has a run that can't be cut. The table is unchanged.
        NoRoom: The distinct words don't fit. The table can't be used any longer.
    """
    if len(data) > split.MAX_BYTES:
        raise MemoryError(f"a document of {len(data):,} bytes that can't be cut is too long for a GPU")
    starts = split.find_words(device, data, offsets, automaton)
    return _counted(device, data, position, starts, _Over.of(device, len(starts) - 1), table)


class _Over(NamedTuple):
    """Words for which a table has no room."""

    keys: Any  # uint64[room]
    counts: Any  # int64[room]
    n: Any  # int64[1]

    @classmethod
    def of(cls, device: Device, n_words: int) -> _Over:
        # Beside its words, a block may have to put out those of its own table.
        xp, room = device.xp, n_words + _HOT * device.blocks
        return cls(xp.empty(room, xp.uint64), xp.empty(room, xp.int64), xp.zeros(1, xp.int64))


def _counted(device: Device, text: Any, position: int, starts: Any, over: _Over, counts: Counts) -> Counts:
    """Counts the words of a batch, and copies the new words to the arena.

    Counting changes counts in place, so it can't be undone. But the memory for the batch is allocated before; after that, only
    the table and the arena grow, with the distinct words of the corpus and not with the size of a batch.
    """
    xp, n_words = device.xp, len(starts) - 1
    try:
        claimed, n_claimed = xp.empty(min(n_words, len(counts.keys) // 2), xp.uint32), xp.zeros(1, xp.int64)
        struct = device.struct(Counting.of(text, counts, over, claimed, n_claimed))
        if n_words:
            device.launch("count_words.cu", "count_words", device.blocks, 128, (struct, starts, n_words))
        if n_over := int(over.n[0]):
            counts = _enlarged(device, text, counts, over, n_over)
            slots = xp.flatnonzero((counts.keys != xp.uint64(_FREE)) & (counts.keys >= xp.uint64(_IN_BATCH)))
        else:
            slots = claimed[: int(n_claimed[0])].astype(xp.int64)
        return _kept(device, text, position, slots, counts)
    except MemoryError as error:
        raise NoRoom(
            f"the memory of the GPU does not hold the {len(counts.first):,} distinct words so far and those of the next "
            "batch: count the corpus in shards and merge them, or use device='cpu'"
        ) from error


def _enlarged(device: Device, text: Any, counts: Counts, over: _Over, n_over: int) -> Counts:
    """Returns the counts in a larger table, with the words for which there was no room."""
    xp = device.xp
    while n_over:
        slots = xp.flatnonzero(counts.keys != xp.uint64(_FREE))
        larger = no_words(device, 4 * len(counts.keys), 1)
        larger = larger._replace(arena=counts.arena, used_bytes=counts.used_bytes, first=counts.first)
        _add(device, text, counts.keys[slots], counts.counts[slots], len(slots), larger)
        keys, values = over.keys[:n_over], over.counts[:n_over]
        over, counts = _add(device, text, keys, values, n_over, larger), larger
        n_over = int(over.n[0])
    return counts


def _add(device: Device, text: Any, keys: Any, values: Any, n: int, counts: Counts) -> _Over:
    """Adds words to a table, in place, and returns those for which it has no room."""
    xp = device.xp
    over = _Over(xp.empty(n, xp.uint64), xp.empty(n, xp.int64), xp.zeros(1, xp.int64))
    struct = device.struct(Counting.of(text, counts, over))
    if n:
        device.launch("count_words.cu", "add_words", device.blocks, 128, (struct, keys, values, n))
    return over


def _kept(device: Device, text: Any, position: int, slots: Any, counts: Counts) -> Counts:
    """Copies the new words of a batch, which are in these slots, to the arena, in the order of their first occurrence."""
    xp = device.xp
    if len(slots) == 0:
        return counts
    slots = slots[xp.argsort(counts.keys[slots])]
    keys = counts.keys[slots]
    eights = ((keys & xp.uint64(0xFFFFFFFF)) + xp.uint64(_EIGHT - 1)) // xp.uint64(_EIGHT)
    ends = xp.cumsum(eights.astype(xp.int64)) + counts.used_bytes // _EIGHT
    to = ends - eights.astype(xp.int64)
    used_bytes = int(ends[-1]) * _EIGHT
    if used_bytes >= (1 << 31) * _EIGHT:
        raise NoRoom(
            "the distinct words of this corpus need more than 16 GiB: count it in shards and merge them"
        )
    arena = counts.arena
    if used_bytes > len(arena):
        arena = xp.empty(2 * used_bytes, xp.uint8)
        arena[: counts.used_bytes] = counts.arena[: counts.used_bytes]
    device.launch(
        "count_words.cu",
        "keep_words",
        device.blocks,
        128,
        (arena, text, keys, slots, to, len(slots), counts.keys),
    )
    places = (keys >> xp.uint64(32)).astype(xp.int64) - (_IN_BATCH >> 32)
    first = xp.concatenate([counts.first, 2 * places + position])
    return counts._replace(arena=arena, used_bytes=used_bytes, first=first)


def collected(device: Device, counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns data, offsets, counts and first of all words so far, on the host, as `count_batches` does."""
    xp = device.xp
    slots = xp.flatnonzero(counts.keys != xp.uint64(_FREE))
    slots = slots[xp.argsort(counts.keys[slots])]
    keys, values = counts.keys[slots], counts.counts[slots]
    offsets = offsets_of(xp, (keys & xp.uint64(0xFFFFFFFF)).astype(xp.int64))
    data = xp.empty(int(offsets[-1]), xp.uint8)
    device.launch(
        "count_words.cu", "gather_words", device.blocks, 128, (counts.arena, keys, offsets, len(keys), data)
    )
    return tuple(device.download(array) for array in (data, offsets, values, counts.first))
