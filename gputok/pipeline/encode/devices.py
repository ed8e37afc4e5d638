"""Encodes large batches of a corpus on CUDA devices, and texts to ids that stay on one, for PyTorch, JAX or CuPy."""

from __future__ import annotations

import contextlib
import queue
import re
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok import backend
from gputok.checks import warn
from gputok.pipeline.encode.units import DocumentEngine, engine_of
from gputok.pipeline.pipeline import Kept, Pipeline
from gputok.pipeline.special_tokens import Ends, ids_around, surrounded
from gputok.pipeline.way import offsets_of, packed
from gputok.text.pieces import Pieces, TextBatch, joined, joined_offsets, spell_out
from gputok.text.way import Unit
from gputok.types import Array, Bytes

if TYPE_CHECKING:
    from gputok.kernels.cuda.device import Device

_NORMALIZING = 4  # how many threads prepare text for devices


class ByDevice:
    """Encodes large batches, each on the CUDA device that is free; `on_cpu` encodes those that no device can encode."""

    def __init__(self, pipeline: Pipeline, devices: Sequence[Any], on_cpu: DocumentEngine, dtype: Any) -> None:
        from gputok.kernels.cuda import encode_words, split
        from gputok.kernels.cuda.device import LANES

        automaton: Any = pipeline.way.automaton
        tables = pipeline.model.byte_tables
        self._n_lanes = LANES * len(devices)
        self._pipeline, self._on_cpu, self._dtype, self._warned = pipeline, on_cpu, dtype, False
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in_use = contextlib.ExitStack()
        for device in devices:
            self._in_use.enter_context(device.in_use())
            loaded = device, split.upload(device, automaton), encode_words.upload(device, tables)
            for _ in range(LANES):
                self._free.put(loaded)

    def close(self) -> None:
        """Gives the memory of the devices back. Nothing can be encoded after that."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait()
        self._in_use.close()

    @staticmethod
    def why_not(pipeline: Pipeline) -> str:
        """Returns why a device can't encode the words of a tokenizer, or "" if it can."""
        from gputok.kernels.cuda import encode_words

        if pipeline.way.unit != Unit.WORD:
            return "the pre-tokenizer is more than one walk over the text"
        if not pipeline.way.byte_level:
            return "the pre-tokenizer is not byte-level"
        tables = pipeline.model.byte_tables
        if tables is None:
            kind = type(pipeline.model).__name__
            return f"the model is not BPE but {kind}" if kind != "BPE" else "a byte has no token of its own"
        return encode_words.why_not(tables)

    def n_threads(self, n_cores: int) -> int:
        """Returns how many threads to use: LANES for each device, and some that normalize; more only take memory."""
        return self._n_lanes + min(n_cores, _NORMALIZING)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit."""
        pieces = pieces_of(self._pipeline, unit)
        ids, rows = zip(*self._in_parts(unit, pieces), strict=True)
        return np.concatenate(ids), joined_offsets(rows)

    def _in_parts(self, unit: TextBatch, pieces: Pieces) -> Iterator[tuple[Array, Array]]:
        """Yields the ids and rows of documents that follow each other: all, or fewer if a device can't encode some."""
        from gputok.kernels.cuda import split

        data, offsets = pieces.data, offsets_of(pieces)
        todo = [(0, unit.n_documents)]  # the next documents come last
        while todo:
            first, last = todo.pop()
            a, b = pieces.rows[first], pieces.rows[last]
            token = None if pieces.token is None else pieces.token[a:b]
            try:
                ids, ends = self._on_device(data, offsets[a : b + 1], token)
                yield ids, ends[pieces.rows[first : last + 1] - a]
                continue
            except MemoryError as error:
                reason, at, stop = error, first, (first + last) // 2
            except split.TooLong as error:
                piece = np.searchsorted(offsets, error.begin, "right") - 1
                reason, at = error, int(np.searchsorted(pieces.rows, piece, "right")) - 1
                stop = at + 1
            if isinstance(reason, MemoryError) and last - first > 1:
                todo += [(stop, last), (first, stop)]
            elif at > first:
                todo += [(at, last), (first, at)]
            else:  # this thread encodes the document, while others use the device
                yield self._by_cpu(unit, first, first + 1, reason)
                todo += [(first + 1, last)] * (first + 1 < last)

    def _on_device(self, data: Array, offsets: Array, token: Array | None) -> tuple[Array, Array]:
        from gputok.kernels.cuda import encode_corpus

        loaded = self._free.get()
        try:
            device, automaton, tables = loaded
            return encode_corpus.encode_corpus(device, data, offsets, token, automaton, tables, self._dtype)
        finally:
            self._free.put(loaded)

    def _by_cpu(self, unit: TextBatch, first: int, last: int, reason: Exception) -> tuple[Array, Array]:
        if not self._warned:
            warn(f"some text is encoded on the CPU: {reason}")
        self._warned = True
        start, stop = unit.offsets[first], unit.offsets[last]
        return self._on_cpu.encode(TextBatch(unit.data[start:stop], unit.offsets[first : last + 1] - start))


def grouped(batches: Iterable[tuple[int, TextBatch]], group_bytes: int) -> Iterator[tuple[int, list[TextBatch]]]:
    """Yields groups of batches of about `group_bytes` bytes, each with its bytes and those left out before it."""
    group: list[TextBatch] = []
    n_bytes, n_before = 0, 0
    for n_left_out, batch in batches:
        group.append(batch)
        n_before += n_left_out
        n_bytes += int(batch.offsets[-1] - batch.offsets[0])
        if n_bytes >= group_bytes:
            yield n_before + n_bytes, group
            group, n_bytes, n_before = [], 0, 0
    if group:
        yield n_before + n_bytes, group


def pieces_of(pipeline: Pipeline, unit: TextBatch) -> Pieces:
    """Makes the added tokens in documents pieces of their own, and normalizes the other pieces."""
    return packed(spell_out(pipeline.added.apart(Pieces.from_batch(unit), pipeline.normalizer)))


# Which way takes less time is computed. A device needs 21 launches of kernels, and the host one look at its results,
# before the ids of a short text are there: an estimate
_DEVICE_SECONDS = 0.4e-3
# Seconds of a core for a byte: of ASCII text, whose words are mostly cached; of other text. Llama 3 on an EPYC
_CPU_SECONDS, _CPU_SECONDS_OTHER = 6e-9, 25e-9


class DeviceTokens(NamedTuple):
    """The ids of some documents, on a device. Both arrays have `__dlpack__`, which `torch.from_dlpack` and others take.

    Attributes:
        ids: int32[n_ids].
        rows: int32[n_documents + 1]; document i has ids[rows[i]:rows[i + 1]].
        encoded_by: "cuda", or "cpu" if the CPU encoded the documents and copied the ids, which is faster for few bytes.
    """

    ids: Any
    rows: Any
    encoded_by: str

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.rows) - 1


def is_device(output: Any) -> bool:
    """Returns True if an output is a device: "cuda" or "cuda:N"."""
    return isinstance(output, str) and re.fullmatch(r"cuda(:\d+)?", output) is not None


def card(device: str) -> Device:
    """Returns the CUDA device of this name, or the first one; RuntimeError: there is none; ValueError: another name."""
    if not is_device(device):
        raise ValueError(f'ids stay on "cuda" or "cuda:N", not on device={device!r}')
    return backend.choose(device).devices[0]


def encode(
    pipeline: Pipeline,
    units: Iterable[TextBatch],
    device: Device,
    *,
    add_special_tokens: bool = True,
    ends: Ends | None = None,
) -> Iterator[DeviceTokens]:
    """Encodes units of text (documents that are encoded together), one after the other; ends: ids around each document.

    The CPU encodes, with a warning, what the device can't: units that are too large or have long runs; or all, if
    `ByDevice.why_not` or the post-processor gives a reason. It encodes short units, without a warning, if it is faster.
    """
    from gputok.kernels.cuda import encode_corpus, split

    around = ids_around(pipeline, add_special_tokens)
    around = around if ends is None else ends.around(around)
    reason = ByDevice.why_not(pipeline)
    if not reason and len(around) != 2:
        reason = "the post-processor leaves the text out, or repeats it"
    if reason:
        warn(f"the CPU encodes the texts: {reason}")

    def by_cpu(unit: TextBatch) -> DeviceTokens:
        found = surrounded(*engine_of(pipeline).encode(unit), around)
        with device.active(waits=False):
            ids, rows = device.lasting(*device.upload(tuple(array.astype(np.int32) for array in found))())
            return DeviceTokens(ids, rows, "cpu")

    def by_device(unit: TextBatch) -> DeviceTokens:
        pieces, tables = pieces_of(pipeline, unit), _tables_of(pipeline, device)
        arguments = pieces.data, offsets_of(pieces), pieces.token, pieces.rows, (around[0], around[1])
        ids, rows = encode_corpus.encode_documents(device, *arguments, tables.automaton, tables.model)
        return DeviceTokens(ids, rows, "cuda")

    with device.in_use():
        for unit in units:
            if reason or _is_short(unit.data):
                yield by_cpu(unit)
                continue
            try:
                found = by_device(unit)
            except (MemoryError, split.TooLong) as error:
                warn(f"some text is encoded on the CPU: {error}")
                found = by_cpu(unit)
            yield found


def _is_short(text: Bytes) -> bool:
    """Returns True if a core encodes a text sooner than a device begins, by the model of time."""
    if len(text) * _CPU_SECONDS > _DEVICE_SECONDS:
        return False
    n_other = int(np.count_nonzero(text & 0x80))
    return len(text) * _CPU_SECONDS + n_other * (_CPU_SECONDS_OTHER - _CPU_SECONDS) < _DEVICE_SECONDS


class _Tables:
    """The tables of a tokenizer on a device. The device gets their memory back when nothing refers to this object."""

    def __init__(self, pipeline: Pipeline, device: Device) -> None:
        from gputok.kernels.cuda import encode_words, split

        automaton: Any = pipeline.way.automaton
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(device.in_use(True))
        self.automaton = split.upload(device, automaton)
        self.model = encode_words.upload(device, pipeline.model.byte_tables)
        self.n_bytes = sum(getattr(array, "nbytes", 0) for array in (*self.automaton, *self.model))

    def __del__(self) -> None:
        if not sys.is_finalizing():
            stack = self._stack
            vars(self).clear()  # before the memory goes back
            stack.close()


# Device -> the `Pipeline.engines` that have tables there. Those whose tables were used last come last.
_users: dict[Device, list[weakref.ref[Kept]]] = {}


def _tables_of(pipeline: Pipeline, device: Device) -> _Tables:
    """Returns the tables of a tokenizer on a device; those used before stay there while all fit in `sizes.kept`."""
    engines, users, name = pipeline.engines, _users.setdefault(device, []), ("device", device)
    found: _Tables = engines.once(name, lambda: _Tables(pipeline, device))
    # Setting a slice of a list is atomic: a thread that comes between makes tables anew, or keeps some for longer
    others = [each for each in users if each() not in (None, engines)]
    users[:] = [*others, weakref.ref(engines)]
    n_bytes = found.n_bytes
    for each in reversed(others):
        there = (other := each()) and other.made.get(name)
        n_bytes += there.n_bytes if there else 0
        if other and n_bytes > device.sizes.kept:
            other.made.pop(name, None)
    return found


def encode_batches(
    pipeline: Pipeline, batches: Iterable[TextBatch], device: Device, **options: Any
) -> Iterator[DeviceTokens]:
    """Encodes batches of any size, in groups that a device encodes together; options: those of `encode`."""
    groups = grouped(((0, batch) for batch in batches), device.sizes.batch)
    yield from encode(pipeline, (joined(group) for _, group in groups), device, **options)
