"""Launching the counting of words on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import Device, offsets_of

_LEAST_CAPACITY = 1 << 16  # of the table of words
_FREE = 2**64 - 1
_IN_BATCH = 1 << 63
_EIGHT = 8  # a word in the arena begins at a multiple of so many bytes


class Counts(NamedTuple):
    """The distinct words seen so far, on a device."""

    arena: Any  # uint8[room]
    used_bytes: int
    keys: Any  # uint64[capacity]: place in arena / 8 << 32 | length
    counts: Any  # int64[capacity]
    tags: Any  # uint32[capacity]
    used: Any  # int64[1]
    first: Any  # int64[words], where each word first occurred, in the order of the arena


def count_batches(
    device: Device,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    automaton: Automaton,
    report: Callable[[int], None] = lambda n_bytes: None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The distinct words of all documents, in order of first occurrence: (data, offsets, counts, first), on the host.

    batches: (uint8[n], int64[documents + 1], position) on the host; the next one is copied while one is counted. A batch
    for which there is not the memory is counted in halves, a document too where it may be cut (else: MemoryError).
    first: int64[words], the position of the batch in which each word first occurred, and the byte in it. report(bytes)
    is called after each batch.
    """
    tables = split.upload(device, automaton)
    waiting = iter(batches)
    with device.active():
        counts = no_words(device)
        batch = next(waiting, None)
        arriving = _begun(device, batch)
        while batch is not None:
            arrived, following = (arriving or device.upload(batch[:2]))(), next(waiting, None)
            arriving = _begun(device, following)
            counts = count_words(device, *arrived, batch[2], tables, counts)
            report(len(batch[0]))
            batch = following
        return collected(device, counts)


def _begun(device: Device, batch: tuple | None) -> Callable[[], tuple] | None:
    """The copy of a batch to the device; None where there is none, or not the memory for two at a time."""
    try:
        return None if batch is None else device.upload(batch[:2])
    except MemoryError:
        return None


def no_words(device: Device, capacity: int | None = None, room: int = 1 << 20) -> Counts:
    """None yet, with room for half of `capacity` words and `room` bytes at first."""
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


def count_words(
    device: Device, data: Any, offsets: Any, position: int, automaton: split.Tables, table: Counts
) -> Counts:
    """The table with the words of a batch added; all or nothing, so that a batch can be tried again in halves.

    A word that begins at data[i] gets the position `position` + i.
    """
    try:
        if len(data) > split.MAX_BYTES:
            raise MemoryError(f"a document of {len(data):,} bytes that can't be cut is too long for a GPU")
        starts = split.find_words(device, data, offsets, automaton)
        return _kept(device, data, position, _counted(device, data, starts, table))
    except MemoryError:
        parts = split.halves(device, data, offsets, automaton)
        if parts is None:
            raise
    for part, documents in parts:
        table = count_words(device, part, documents, position, automaton, table)
        position += len(part)
    return table


def _counted(device: Device, text: Any, starts: Any, counts: Counts) -> Counts:
    """The table with all words of a batch in it; the keys of new ones point into the batch."""
    xp = device.xp
    n = len(starts) - 1
    counts = counts._replace(
        **{name: getattr(counts, name).copy() for name in ("keys", "counts", "tags", "used")}
    )
    todo, todo_counts = None, None
    while n:
        # A block may have to give back what its own table holds, besides the words themselves.
        room = n + 512 * device.blocks
        over, over_counts, n_over = xp.empty(room, xp.uint64), xp.empty(room, xp.int64), xp.zeros(1, xp.int64)
        table = (counts.keys, counts.counts, counts.tags, len(counts.keys), counts.used)
        arguments = (counts.arena, text, None if todo is not None else starts, todo, todo_counts, n, *table)
        device.launch(
            "count_words.cu", "count_words", device.blocks, 128, (*arguments, over, over_counts, n_over)
        )
        n = int(n_over[0])
        if n:
            counts = _enlarged(device, text, counts)
            todo, todo_counts = over[:n], over_counts[:n]
    return counts


def _enlarged(device: Device, text: Any, counts: Counts) -> Counts:
    """The same counts in a table four times as large."""
    xp = device.xp
    slots = xp.flatnonzero(counts.keys != xp.uint64(_FREE))
    keys, values = counts.keys[slots], counts.counts[slots]
    larger = no_words(device, 4 * len(counts.keys), 1)._replace(
        arena=counts.arena, used_bytes=counts.used_bytes
    )
    over, over_counts, n_over = xp.empty(1, xp.uint64), xp.empty(1, xp.int64), xp.zeros(1, xp.int64)
    arguments = (larger.arena, text, None, keys, values, len(keys))
    table = (larger.keys, larger.counts, larger.tags, len(larger.keys), larger.used)
    device.launch(
        "count_words.cu", "count_words", device.blocks, 128, (*arguments, *table, over, over_counts, n_over)
    )
    return larger


def _kept(device: Device, text: Any, position: int, counts: Counts) -> Counts:
    """The counts with the new words of a batch copied to the arena, in order of first occurrence."""
    xp = device.xp
    slots = xp.flatnonzero((counts.keys != xp.uint64(_FREE)) & (counts.keys >= xp.uint64(_IN_BATCH)))
    if len(slots) == 0:
        return counts
    slots = slots[xp.argsort(counts.keys[slots])]
    keys = counts.keys[slots]
    eights = ((keys & xp.uint64(0xFFFFFFFF)) + xp.uint64(_EIGHT - 1)) // xp.uint64(_EIGHT)
    ends = xp.cumsum(eights.astype(xp.int64)) + counts.used_bytes // _EIGHT
    to = ends - eights.astype(xp.int64)
    used_bytes = int(ends[-1]) * _EIGHT
    if used_bytes >= (1 << 31) * _EIGHT:
        raise ValueError(
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
    first = xp.concatenate([counts.first, places + position])
    return counts._replace(arena=arena, used_bytes=used_bytes, first=first)


def collected(device: Device, counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """data, offsets, counts and first of all words so far, on the host."""
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
