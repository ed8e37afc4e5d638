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
from gputok.kernels.cuda.bits import offsets_of, ranked
from gputok.kernels.cuda.device import Device, indexes, launch, number, structs_of
from gputok.kernels.cuda.lines import Watched, lines, texts_with

_MOST_CAPACITY = 1 << 31  # slots of the table of words
_EIGHT = 8  # a word in the arena begins at a multiple of this number of bytes, ...
_MOST_EIGHTS = 1 << 31  # ... of which there are fewer than this
_HOT = 512  # slots of the table of words that each block of threads has for itself, as in count_words.cu
Counting, Found, AddedWords, Order, Kept, Gathered = structs_of(
    "count_words.cu", "Counting Found AddedWords Order Kept Gathered"
)


class Batch(NamedTuple):
    """Documents to count, on the host.

    With `checked`, the documents are the lines of the texts, which are not known yet, and the texts may not be UTF-8.
    """

    text: Sequence[np.ndarray]  # uint8; one after the other, they are the documents
    offsets: np.ndarray  # int64[documents + 1], from 0: where each document (with `checked`, each text) begins
    position: int  # of the first byte; byte i has `position` + 2 * i; all batches have different positions
    # Looks for the lines on the host: returns the batch with their offsets, repaired, or raises ValueError
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


class DeviceCounts(NamedTuple):
    """The distinct words seen so far, on a device."""

    arena: Any  # uint8[room]
    used_bytes: int
    keys: Any  # uint64[capacity]: offset in arena / 8 (of a new word: in the batch) << 32 | length
    counts: Any  # int64[capacity]
    tags: Any  # uint32[capacity]
    used: Any  # uint32[1]
    first: Any  # int64[room], where each word first occurred, in the order of the arena
    n_words: int


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
        watched: What no walk can count: added tokens, and characters that a normalizer changes. Documents with one of
            them go to `leave`, with the reason `Added`; with `checked`, whole texts.
        stop: Is called if counting fails. It makes `batches` end, for which another thread may wait.
        capacity: Words that the table has room for at first, times two; a power of two. None: 2 ** 16.

    Returns:
        The distinct words, in the order of their first occurrences, on the host: data (uint8[bytes]), offsets
        (int64[words + 1]), counts (int64[words]) and first (int64[words]), the byte at which each word occurs first.

    Raises:
        MemoryError: The distinct words don't fit into the device; or, without `leave`, an uncut document does not fit.
        split.TooLong, Added: Without `leave`: a run of text is too long for one thread; a text has what is watched.
        ValueError: Text is not UTF-8 (`Batch.checked` raises it).
    """
    tables = split.upload(device, automaton)
    with device.active() as lane, ThreadPoolExecutor(1) as feeder:

        def fetch() -> tuple[Batch | None, Callable[[], tuple] | None]:
            with device.active(lane):
                batch = next(batches, None)
                with contextlib.suppress(MemoryError):  # the device may not hold two batches: this one is copied later
                    return batch, None if batch is None else _upload(device, batch)
                return batch, None

        counts, following = no_words(device, capacity), feeder.submit(fetch)
        try:
            while (got := following.result())[0] is not None:
                batch, arriving = got
                following = feeder.submit(fetch)
                with _left(lambda batch=batch: batch.checked() if batch.checked else batch, leave):
                    text, offsets = (arriving or _upload(device, batch))()
                    if batch.checked is not None:
                        offsets, is_valid = lines(device, text, offsets)
                        if not is_valid or batch.begins_inside():
                            batch = batch.checked()
                            text, offsets = _upload(device, batch)()
                    for start, part, documents in _without(device, text, offsets, batch, watched, leave):
                        counts = _in_parts(device, part, documents, batch, start, tables, counts, leave)
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
    """Hands the texts with what is watched to `leave`, and yields the parts of the batch between (`split.parts`)."""
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


def _upload(device: Device, batch: Batch) -> Callable[[], tuple]:
    """Begins to copy the text and the offsets of a batch to the device."""
    return device.upload((batch.text, indexes(batch.offsets)))


def no_words(device: Device, capacity: int | None = None, room: int = 1 << 20) -> DeviceCounts:
    """Returns counts without words. They have room for `capacity` / 2 words, and for `room` bytes."""
    xp, capacity = device.xp, capacity or device.sizes.slots
    return DeviceCounts(
        xp.empty(room, xp.uint8),
        0,
        device.all_ones(capacity, xp.uint64),
        xp.zeros(capacity, xp.int64),
        xp.zeros(capacity, xp.uint32),
        xp.zeros(1, xp.uint32),
        xp.empty(room // _EIGHT, xp.int64),
        0,
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
    tables: Any,
    counts: DeviceCounts,
    leave: Callable[[Batch, Exception], None] | None,
) -> DeviceCounts:
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
    device: Device, data: Any, offsets: Any, position: int, automaton: Any, table: DeviceCounts
) -> DeviceCounts:
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
    return _counted(device, data, position, starts, _work(device, table, len(starts) - 1), table)


def _work(device: Device, counts: DeviceCounts, n_words: int) -> tuple[Counting, Any]:
    """Allocates what entering `n_words` words writes; and uint32[2]: how many are new, and how many have no room."""
    # A block may lack room for its words and, at its end, also for those of its own table
    xp, room = device.xp, n_words + _HOT * device.blocks
    n = xp.zeros(2, xp.uint32)
    claimed = xp.empty(min(room, len(counts.keys) // 2), xp.uint32)
    over = {"over_keys": xp.empty(room, xp.uint64), "over_counts": xp.empty(room, xp.int64), "n_over": n[1:]}
    return Counting(claimed=claimed, n_claimed=n[:1], **over), n


def _counting(work: Counting, text: Any, counts: DeviceCounts) -> Counting:
    """Puts the memory of `_work`, text and tables together."""
    names = "arena", "keys", "counts", "tags", "used"
    return work._replace(batch=text, mask=len(counts.keys) - 1, **{name: getattr(counts, name) for name in names})


def _counted(
    device: Device, text: Any, position: int, starts: Any, work: tuple[Counting, Any], counts: DeviceCounts
) -> DeviceCounts:
    """Counts the words of a batch, and copies the new words to the arena.

    Counting changes counts in place, so it can't be undone. But the memory for the batch is allocated before; after
    that, only the table and the arena grow, with the distinct words of the corpus and not with the size of a batch.
    """
    n_words, (words, n) = len(starts) - 1, work
    try:
        if n_words:
            launch(device, "count_words.cu", "count_words", _counting(words, text, counts), Found(starts, n_words))
        n_new, n_over = device.download(n).tolist()
        if n_over:
            claimed, n_new, counts = _enlarged(device, text, counts, words, n_new, n_over)
        else:
            claimed = words.claimed
        return _move_new_words(device, text, position, claimed[:n_new], counts) if n_new else counts
    except MemoryError as error:
        raise NoRoom(
            f"the memory of the GPU does not hold the {counts.n_words:,} distinct words so far and those of the next "
            "batch: count the corpus in shards and merge them, or use device='cpu'"
        ) from error


def _enlarged(
    device: Device, text: Any, counts: DeviceCounts, work: Counting, n_new: int, n_over: int
) -> tuple[Any, int, DeviceCounts]:
    """Moves all words to a larger table, also those without room: the slots of new words, their number, the counts."""
    while n_over:
        capacity = 4 * len(counts.keys)
        if capacity > _MOST_CAPACITY:
            raise MemoryError
        larger = no_words(device, capacity, 1)
        larger = larger._replace(
            arena=counts.arena, used_bytes=counts.used_bytes, first=counts.first, n_words=counts.n_words
        )
        # At most the new words of the old table, and all that had no room, can be new in this table
        new, n = _work(device, larger, n_new + n_over)
        for added in (
            AddedWords(counts.keys, counts.counts, len(counts.keys)),
            AddedWords(work.over_keys, work.over_counts, n_over),
        ):
            launch(device, "count_words.cu", "add_words", _counting(new, text, larger), added)
        work, counts = new, larger
        n_new, n_over = device.download(n).tolist()
    return work.claimed, n_new, counts


def _ordered(device: Device, counts: DeviceCounts, slots: Any, n: int, n_offsets: int, unit: int) -> tuple[Any, Any]:
    """Puts words in the order of their offsets, which are less than n_offsets: uint32[n] slots, and uint32[n] sizes.

    slots: uint32[n], of the words, or None: all words of the table.
    """
    xp = device.xp
    bits = xp.zeros(n_offsets // 32 + 1, xp.uint32)
    n_slots = len(counts.keys) if slots is None else n
    struct = Order(counts.keys, slots, bits, None, xp.empty(n, xp.uint32), xp.empty(n, xp.uint32), n_slots, unit)
    launch(device, "count_words.cu", "mark_words", struct)
    struct = struct._replace(ranks=ranked(device, bits)[0])
    launch(device, "count_words.cu", "order_words", struct)
    return struct.order, struct.sizes


def _move_new_words(device: Device, text: Any, position: int, slots: Any, counts: DeviceCounts) -> DeviceCounts:
    """Copies the new words of a batch, in these slots, to the arena, in the order of their first occurrence.

    The key of a new word has its offset in the batch until here, from here on its offset in the arena. Offsets and
    sizes are / 8 here: a word takes whole units of 8 bytes.
    """
    n, begin = len(slots), counts.used_bytes // _EIGHT
    order, sizes = _ordered(device, counts, slots, n, len(text), _EIGHT)
    offsets = offsets_of(device, sizes)
    end, n_words = begin + number(device, offsets), counts.n_words + n
    if end >= _MOST_EIGHTS:
        raise NoRoom("the distinct words of this corpus need more than 16 GiB: count it in shards and merge them")
    arena, first = counts.arena, counts.first
    if end * _EIGHT > len(arena):
        arena = device.longer(arena, 2 * end * _EIGHT)
    if n_words > len(first):
        first = device.longer(first, 2 * n_words)
    kept = Kept(text, arena, counts.keys, order, offsets, first[counts.n_words :], n, begin, position)
    launch(device, "count_words.cu", "keep_words", kept)
    return counts._replace(arena=arena, used_bytes=end * _EIGHT, first=first, n_words=n_words)


def collected(device: Device, counts: DeviceCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns data, offsets, counts and first of all words so far, on the host, as `count_batches` does."""
    xp, n = device.xp, counts.n_words
    order, sizes = _ordered(device, counts, None, n, counts.used_bytes // _EIGHT, 1)
    offsets = offsets_of(device, sizes, wide=True)
    data, values = xp.empty(number(device, offsets), xp.uint8), xp.empty(n, xp.int64)
    gathered = Gathered(counts.arena, counts.keys, counts.counts, order, offsets, data, values, n)
    launch(device, "count_words.cu", "gather_words", gathered)
    ends, *columns = map(device.download, (offsets, values, counts.first[:n]))
    return device.download(data), ends.astype(np.int64), *columns
