"""Encodes large batches of a corpus on CUDA devices."""

from __future__ import annotations

import contextlib
import queue
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.pipeline.way import offsets_of, packed
from gputok.text.pieces import Pieces, TextBatch, joined_offsets, spell_out
from gputok.text.way import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gputok.pipeline.encode.units import DocumentEngine
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array

_NORMALIZING = 4  # how many threads prepare text for devices


class ByDevice:
    """Encodes large batches, each on the CUDA device that is free; `on_cpu` encodes batches that no device can encode."""

    def __init__(
        self, pipeline: Pipeline, devices: Sequence[Any], on_cpu: DocumentEngine, dtype: np.dtype[Any]
    ) -> None:
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
        if pipeline.way.unit is not Unit.WORD:
            return "the pre-tokenizer is more than one walk over the text"
        if not pipeline.way.byte_level:
            return "the pre-tokenizer is not byte-level"
        tables = pipeline.model.byte_tables
        if tables is None:
            kind = type(pipeline.model).__name__
            return f"the model is not BPE but {kind}" if kind != "BPE" else "a byte has no token of its own"
        from gputok.kernels.cuda import encode_words

        return encode_words.why_not(tables)

    def n_threads(self, n_cores: int) -> int:
        """Returns two a device, and some for normalizing; each has a group of batches in memory, and more are no faster."""
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
            warnings.warn(f"some text is encoded on the CPU: {reason}", stacklevel=2)
        self._warned = True
        start, stop = unit.offsets[first], unit.offsets[last]
        return self._on_cpu.encode(TextBatch(unit.data[start:stop], unit.offsets[first : last + 1] - start))


def grouped(batches: Iterable[tuple[int, TextBatch]], group_bytes: int) -> Iterator[tuple[int, list[TextBatch]]]:
    """Yields groups of batches of about so many bytes, each with its bytes and those left out before it."""
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
