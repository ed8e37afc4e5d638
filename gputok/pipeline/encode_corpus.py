"""Encodes a corpus into arrays: the ids, and where those of each document begin, without a Python object for each token.

If a tokenizer cuts text into words by one walk over the text (as most byte-level tokenizers do), each word is encoded when
it first occurs, and is looked up after that. If words end at spaces, the same is done with the parts between spaces. For
any other tokenizer, all steps run one after the other, on packed arrays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import queue
import uuid
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from gputok.files.token_files import TokenBatch, id_dtype
from gputok.kernels.threads import Submit, in_order, run, thread_count
from gputok.pipeline.encode_superwords import BySuperwords
from gputok.pipeline.tokenize import tokenize
from gputok.pipeline.word_cache import most_lines
from gputok.text.pieces import Pieces, TextBatch, rewrite, starts_with
from gputok.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gputok.kernels import Automaton
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report


class Ends(NamedTuple):
    """Ids to put around each document, besides those of the post-processor.

    Attributes:
        first: the ids before a document.
        last: the ids after it.
        skips_empty: a document without ids gets none.
    """

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    skips_empty: bool = False

    def around(self, around: list[list[int]]) -> list[list[int]]:
        """Adds the ids to those of `ids_around`, unless the post-processor adds the same ids there.

        >>> Ends((7,), (9,)).around([[7], []])
        [[7], [9]]
        """
        wider = [list(ids) for ids in around]
        if tuple(wider[0][: len(self.first)]) != self.first:
            wider[0] = [*self.first, *wider[0]]
        if self.last and tuple(wider[-1][-len(self.last) :]) != self.last:
            wider[-1] = [*wider[-1], *self.last]
        return wider


EncodeWords = Callable[[Array, Array, Array], tuple[Array, Array]]
"""(data, start, end) -> the ids of the words data[start[i]:end[i]], and the rows int64[n_words + 1] in the ids."""

UNIT_BYTES = 1 << 20  # of the documents that a thread encodes at a time
_NORMALIZING = 4  # how many threads prepare text for devices
_UNITS_AHEAD = 2  # how many units may wait: as many as a batch has, which is read meanwhile


def encode(
    pipeline: Pipeline,
    batches: Iterable[TextBatch],
    *,
    add_special_tokens: bool = True,
    ends: Ends | None = None,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    skip: int = 0,
    devices: Sequence[Any] = (),
    unit_bytes: int = UNIT_BYTES,
) -> Iterator[TokenBatch]:
    """Encodes documents.

    Args:
        pipeline: the parts of the tokenizer.
        batches: the documents.
        add_special_tokens: adds the special tokens of the post-processor.
        ends: ids to put around each document.
        threads: how many threads to use; None: all cores.
        report: called as report("encode", bytes, total) for each batch that is yielded.
        total: the bytes of all documents, if known.
        skip: how many documents at the start to leave out.
        devices: CUDA devices (`backend.choose`). They encode many batches at a time if the tokenizer is one walk over
            bytes and a BPE model; other tokenizers run on the CPU. The ids are the same.
        unit_bytes: about how many bytes of documents a thread encodes at a time.

    Yields:
        The ids of whole documents, in order, of about a megabyte of text at a time. The ids of a document are those of
        `tokenizer.encode(document)` without truncation and padding.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
        >>> [(ids, rows)] = encode(tokenizer.pipeline, [TextBatch.from_strings(["abb", "", "b"])])
        >>> ids.tolist(), rows.tolist()
        ([2, 1, 1], [0, 2, 2, 3])
    """
    n_threads = thread_count(threads)
    dtype = id_type(pipeline)
    engine = engine_of(pipeline)
    reason = ByDevice.why_not(pipeline) if devices else ""
    if reason:
        warnings.warn(f"the CPU encodes the corpus: {reason}", stacklevel=2)
    on_device = ByDevice(pipeline, devices, engine, dtype) if devices and not reason else None
    around = ids_around(pipeline, add_special_tokens)
    skips_empty = False
    if ends is not None:
        # A document without ids stays without, unless the post-processor adds some
        skips_empty = ends.skips_empty and not any(around)
        around = ends.around(around)
    n_skipped = 0  # bytes of documents at the end of those that are left out

    def finished(found: tuple[Array, Array]) -> TokenBatch:
        ids, rows = found
        if around != [[], []]:
            put = _surrounded_unless_empty if skips_empty else surrounded
            ids, rows = put(ids, rows, around)
        return TokenBatch(ids.astype(dtype, copy=False), rows)

    def kept() -> Iterator[tuple[int, TextBatch]]:
        """Yields the batches to encode, each with the bytes of the documents left out before it."""
        nonlocal n_skipped
        for n_before, batch in _after(batches, skip):
            if batch.n_documents:
                yield n_before, batch
            else:
                n_skipped = n_before

    def units() -> Iterator[tuple[int, Callable[[Submit], Callable[[], TokenBatch]]]]:
        """Yields for each unit its bytes, with those left out before it, and a function that starts encoding it.

        That function returns a function that waits and returns the ids.
        """
        for n_before, batch in kept():
            for unit in _units(batch, unit_bytes):
                parts = _parts(pipeline, unit, unit_bytes) if n_threads > 1 else None
                yield n_before + unit.data.nbytes, partial(begin, unit, parts)
                n_before = 0

    def begin(unit: TextBatch, parts: list[TextBatch] | None, submit: Submit) -> Callable[[], TokenBatch]:
        if parts is None:
            return submit(lambda: finished(engine.encode(unit))).result
        work = [submit(engine.encode, part) for part in parts]
        return lambda: finished(_join_parts(unit, parts, [future.result() for future in work]))

    def groups(on_device: ByDevice) -> Iterator[tuple[int, Callable[[Submit], Callable[[], TokenBatch]]]]:
        """Yields the same for a device, which encodes many batches at a time."""
        for n_bytes, group in on_device.groups(kept()):
            yield n_bytes, partial(begin_group, on_device, group)

    def begin_group(on_device: ByDevice, group: list[TextBatch], submit: Submit) -> Callable[[], TokenBatch]:
        return submit(lambda: finished(on_device.encode(joined(group)))).result

    done = 0  # bytes encoded so far, in this run or an earlier one
    if on_device:
        begun = in_order(groups(on_device), on_device.n_threads(n_threads), 0)
    else:
        begun = in_order(units(), n_threads, _UNITS_AHEAD)
    with contextlib.ExitStack() as stack:
        if on_device:
            stack.callback(on_device.close)
        stack.callback(begun.close)  # before the devices are closed, no thread waits for one
        for n_bytes, batch in begun:
            yield batch
            done += n_bytes
            if report:
                report("encode", done, total)
    if n_skipped and report:
        report("encode", done + n_skipped, total)


def engine_of(pipeline: Pipeline) -> Engine:
    """Returns the way in which a pipeline encodes a corpus on the CPU; pipelines that differ only in limits share it."""
    shared = pipeline.kept.setdefault("engine", {})
    engine = shared.get("corpus")
    if engine is None:
        dtype = id_type(pipeline)
        # A copy without derived values: the engine is one of these, and a reference to itself would keep it alive
        own = dataclasses.replace(pipeline)
        found = (
            BySuperwords.of(own)
            or ByWalk.of(own, dtype)
            or ByParts.of(own, dtype)
            or ByLine.of(own, dtype)
            or BySteps(own)
        )
        engine = shared.setdefault("corpus", found)
    return engine


def encode_batch(
    pipeline: Pipeline, batch: TextBatch, threads: int, unit_bytes: int
) -> Iterator[tuple[Array, Array]]:
    """Encodes the documents of a batch, without special tokens.

    Args:
        pipeline: the parts of the tokenizer.
        batch: the documents.
        threads: how many threads to use.
        unit_bytes: about how many bytes of documents a thread encodes at a time.

    Yields:
        The ids and rows of a few whole documents at a time, in order.
    """
    engine = engine_of(pipeline)
    if threads == 1 and len(batch.data) <= 2 * unit_bytes:
        yield engine.encode(batch)
        return
    units = [*_units(batch, unit_bytes)]
    parts = [(threads > 1 and _parts(pipeline, unit, unit_bytes)) or [unit] for unit in units]
    found = run(engine.encode, [(part,) for of_unit in parts for part in of_unit], threads)
    for unit, of_unit in zip(units, parts, strict=True):
        results = [*itertools.islice(found, len(of_unit))]
        yield results[0] if len(of_unit) == 1 else _join_parts(unit, of_unit, results)


def _after(batches: Iterable[TextBatch], skip: int) -> Iterator[tuple[int, TextBatch]]:
    """Yields batches of the documents after the first `skip`, each with the bytes of the documents left out before it.

    If no document follows those that are left out, the last batch is empty.
    """
    n_bytes = 0
    for batch in batches:
        left_out = min(skip, batch.n_documents)
        skip -= left_out
        n_bytes += int(batch.offsets[left_out] - batch.offsets[0])
        if left_out < batch.n_documents:
            yield n_bytes, TextBatch(batch.data, batch.offsets[left_out:])
            n_bytes = 0
    if n_bytes:
        yield n_bytes, TextBatch(np.zeros(0, np.uint8), np.zeros(1, np.int64))


def _units(batch: TextBatch, n_bytes: int) -> Iterator[TextBatch]:
    """Yields units of a batch: whole documents of about `n_bytes`, with offsets from 0."""
    data, offsets = batch
    aims = np.arange(int(offsets[0]) + n_bytes, int(offsets[-1]), n_bytes)
    inner: list[int] = np.searchsorted(offsets, aims).tolist()
    for first, last in itertools.pairwise(dict.fromkeys([0, *inner, batch.n_documents])):
        start, stop = offsets[first], offsets[last]
        yield TextBatch(data[start:stop], offsets[first : last + 1] - start)


def _parts(pipeline: Pipeline, unit: TextBatch, n_bytes: int) -> list[TextBatch] | None:
    """Cuts a unit with a long document between words, into parts of about `n_bytes` for several threads.

    The offsets of a part are positions in the unit; a part may contain parts of documents. Returns None if the unit is
    short, or if it can't be cut in this way.
    """
    pre_tokenizer = pipeline.pre_tokenizer
    if len(unit.data) < 4 * n_bytes or pipeline.normalizer is not None or pre_tokenizer is None:
        return None
    plan = pre_tokenizer.plan()
    if plan is None or pipeline.added_in(Pieces.from_batch(unit)):
        return None
    from gputok.kernels.cpu.walk import prepare, slice_text

    data, offsets = unit
    # May be cut as in `tokenize._cut_long`: each part is encoded like a text of its own, and no added token is in the text
    cuts = slice_text(data, offsets, n_bytes, prepare(plan.automaton))
    inside = [offsets[(first < offsets) & (offsets < last)] for first, last in itertools.pairwise(cuts)]
    return [
        TextBatch(data, np.concatenate([[first], between, [last]]))
        for first, between, last in zip(cuts[:-1], inside, cuts[1:], strict=True)
    ]


def _join_parts(
    unit: TextBatch, parts: list[TextBatch], found: list[tuple[Array, Array]]
) -> tuple[Array, Array]:
    """Returns the ids and rows of a unit from those of its parts."""
    starts = np.concatenate([part.offsets[:-1] for part in parts] + [unit.offsets[-1:]])
    n_before = np.cumsum([0, *(len(ids) for ids, _ in found)])
    rows = [rows[:-1] + n for (_, rows), n in zip(found, n_before[:-1], strict=True)]
    ends = np.concatenate([*rows, n_before[-1:]])
    return np.concatenate([ids for ids, _ in found]), ends[np.searchsorted(starts, unit.offsets)]


class Engine(Protocol):
    """A way to encode a corpus: in units, each of which one thread encodes."""

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids, uint16 or uint32[n_ids], and the rows, int64[n_documents + 1], of a unit or a part of a unit."""
        ...


class BySteps:
    """Encodes by the steps of the pipeline, one after the other, for all text."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit or a part of a unit."""
        return self._encode(unit, added=True)

    def _encode(self, unit: TextBatch, *, added: bool) -> tuple[Array, Array]:
        pieces = self._pipeline.words(Pieces.from_batch(unit), added=added)
        tokens = tokenize(self._pipeline, pieces)
        return tokens.ids, tokens.rows[pieces.rows]


class _CachedWalk:
    """Encodes text by one walk, in any number of threads; the model encodes only words that a thread's cache lacks.

    Args:
        automaton: the automaton of the walk.
        encode_words: encodes new words.
        dtype: the type of the ids.
        encoders: caches for threads, which later calls use again; pop and append of a list are atomic.
    """

    def __init__(
        self,
        automaton: Any,
        encode_words: EncodeWords,
        dtype: np.dtype[Any],
        encoders: list[Any],
    ) -> None:
        from gputok.kernels.cpu.walk import Walks

        self._walks, self._encode_words = Walks(automaton), encode_words
        self._dtype, self._encoders = dtype, encoders

    def encode(self, data: Array, offsets: Array, token: Array | None) -> tuple[Array, Array]:
        """Returns the ids, and where those of each piece of the text end."""
        from gputok.kernels.cpu.encode_text import rounds as kernels

        try:
            encoder = self._encoders.pop()
        except IndexError:
            encoder = kernels.Encoder(self._dtype, most_lines())
        walk = self._walks.of(int(offsets[-1] - offsets[0]))
        result = kernels.encode_text(data, offsets, token, walk, self._encode_words, encoder)
        # Not after an exception, which may leave words without ids in the cache
        self._encoders.append(encoder)
        return result


class ByWalk(BySteps):
    """Encodes by one walk over the text, if the pre-tokenizer is one walk."""

    def __init__(self, pipeline: Pipeline, plan: SplitPlan, dtype: np.dtype) -> None:
        super().__init__(pipeline)
        model, byte_level = pipeline.model, plan.byte_level
        encoders = model.encoders.setdefault((byte_level, dtype), [])
        encode_words = partial(model.encode_words, byte_level=byte_level)
        self._text = _CachedWalk(plan.automaton, encode_words, dtype, encoders)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype[Any]) -> Self | None:
        """Makes the engine; returns None if the pre-tokenizer is more than one walk, or the model is random."""
        pre_tokenizer = pipeline.pre_tokenizer
        plan = None if pre_tokenizer is None else pre_tokenizer.plan()
        if plan is None or pipeline.model.is_random:
            return None
        return cls(pipeline, plan, dtype)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit or a part of a unit."""
        pieces = _pieces(self._pipeline, unit)
        if pieces.byte_level:
            # A normalizer made it so, and the pattern is for the characters that the bytes stand for
            return super().encode(unit)
        try:
            ids, ends = self._text.encode(*_packed(pieces), pieces.token)
        except ValueError:
            if pieces.token is None:
                raise
            # The walk also encodes the text of added tokens, whose words the model may not know
            return super().encode(unit)
        return ids, ends[pieces.rows]


class ByParts(BySteps):
    """Encodes by a walk that cuts before spaces, and beside punctuation if possible; new parts take the pipeline's steps."""

    def __init__(self, pipeline: Pipeline, cuts: str, dtype: np.dtype) -> None:
        from gputok.automaton import compile_pattern

        super().__init__(pipeline)
        encoders = pipeline.kept.setdefault(("parts", dtype), [])
        self._text = _CachedWalk(compile_pattern(cuts), self._encode_parts, dtype, encoders)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype[Any]) -> Self | None:
        """Makes the engine; returns None if documents can't be cut, or the model is random."""
        cuts = None if pipeline.model.is_random else pipeline.cuts()
        return None if cuts is None else cls(pipeline, cuts, dtype)

    def _encode_parts(self, data: Array, start: Array, end: Array) -> tuple[Array, Array]:
        from gputok.kernels.cpu.rewrite import gather

        return self._encode(TextBatch(*gather(data, start, end)), added=False)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit or a part of a unit."""
        pipeline = self._pipeline
        pieces = pipeline.added.extract(Pieces.from_batch(unit), normalized=False)
        if pipeline.normalizer is None:
            pieces = pipeline.added.extract(pieces, normalized=True)
        if pieces.token is None:
            return self._text.encode(*unit, None)
        if pipeline.pre_tokenizer is None or pipeline.pre_tokenizer.needs_alignment:
            return super().encode(unit)  # text after an added token is not like the start of a document
        try:
            ids, ends = self._text.encode(*_packed(pieces), pieces.token)
        except ValueError:
            # The walk also encodes the text of added tokens, whose words the model may not know
            return super().encode(unit)
        return ids, ends[pieces.rows]


class ByLine(BySteps):
    """Encodes by a walk that cuts text at places that no token of the model spans, if no pre-tokenizer cuts the text.

    The normalizer and the pre-tokenizer may only write spaces as `▁`, as the walk itself does (`BPE.cuts`), and insert one
    `▁` before a text.
    """

    def __init__(self, pipeline: Pipeline, cuts: Automaton, before: str, dtype: np.dtype[Any]) -> None:
        super().__init__(pipeline)
        self._before = before
        encoders = pipeline.model.encoders.setdefault(("cuts", dtype), [])
        self._text = _CachedWalk(cuts, self._encode_words, dtype, encoders)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype[Any]) -> Self | None:
        """Makes the engine; returns None if other things happen to the text, or if tokens leave no place to cut."""
        before = _space_before(pipeline)
        cuts = None if before is None or pipeline.model.is_random else pipeline.model.cuts
        return None if before is None or cuts is None else cls(pipeline, cuts, before, dtype)

    def _encode_words(self, data: Array, start: Array, end: Array) -> tuple[Array, Array]:
        from gputok.kernels.cpu.rewrite import gather

        packed, offsets = gather(data, start, end)
        words = Pieces(packed, offsets[:-1], offsets[1:], np.array([0, len(start)]))
        written = rewrite(words, {ord(" "): "▁".encode()})
        return self._pipeline.model.encode_words(written.data, written.start, written.end, byte_level=False)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit or a part of a unit."""
        pieces = self._pipeline.added.extract(Pieces.from_batch(unit), normalized=False)
        if self._pipeline.normalizer is None:
            pieces = self._pipeline.added.extract(pieces, normalized=True)
        bare = pieces.start < pieces.end
        if pieces.token is not None:
            bare &= pieces.token < 0
        if self._before != "any":
            bare &= ~starts_with(pieces, b" ") & ~starts_with(pieces, "▁".encode())
        if self._before == "first":
            at_start = np.zeros_like(bare)
            at_start[pieces.rows[:-1][np.diff(pieces.rows) > 0]] = True
            bare &= at_start
        if self._before != "none" and bare.any():
            pieces = rewrite(pieces, {}, b" ", bare)
        ids, ends = self._text.encode(*_packed(pieces), pieces.token)
        return ids, ends[pieces.rows]


def _space_before(pipeline: Pipeline) -> str | None:
    """Returns which texts get a space inserted before them, if apart from that only spaces are written as `▁`.

    "any": each text between added tokens; "bare": each that doesn't begin with a space; "first": the same, but only at the
    start of a document; "none": no text. None: other things happen to texts.
    """
    normalizer, pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    steps = [] if normalizer is None else getattr(normalizer, "normalizers", [normalizer])
    forms = [step.to_dict() for step in steps if step.in_files]
    prefix = {"type": "Prepend", "prepend": "▁"}
    written = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if len(forms) < len(steps) or forms not in ([], [written], [prefix, written]):
        return None
    if forms and any(token.normalized for token in pipeline.added.tokens.values()):
        return None  # these tokens are looked for in text in which spaces are written as ▁
    before = "any" if prefix in forms else "none"
    if pre_tokenizer is None or not pre_tokenizer.in_files:
        return before if forms and pre_tokenizer is None else None
    form = pre_tokenizer.to_dict()
    if form["type"] == "Split" and form["pattern"] == {"String": " "} and forms:
        all_removed = form["invert"] and form["behavior"] == "Removed"
        return None if all_removed else before  # there are no spaces left to split at
    if form["type"] == "Metaspace" and form["replacement"] == "▁" and not form["split"] and not forms:
        return {"always": "bare", "first": "first", "never": "none"}[form["prepend_scheme"]]
    return None


class ByDevice:
    """Encodes large batches, each on the CUDA device that is free; `on_cpu` encodes batches that no device can encode."""

    def __init__(
        self, pipeline: Pipeline, devices: Sequence[Any], on_cpu: Engine, dtype: np.dtype[Any]
    ) -> None:
        from gputok.kernels.cuda import encode_words, split
        from gputok.kernels.cuda.device import LANES

        plan: Any = None if pipeline.pre_tokenizer is None else pipeline.pre_tokenizer.plan()
        tables = pipeline.model.byte_tables
        self._n_lanes = LANES * len(devices)
        self._pipeline, self._on_cpu, self._dtype, self._warned = pipeline, on_cpu, dtype, False
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in_use = contextlib.ExitStack()
        for device in devices:
            self._in_use.enter_context(device.in_use())
            loaded = device, split.upload(device, plan.automaton), encode_words.upload(device, tables)
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
        pre_tokenizer = pipeline.pre_tokenizer
        plan = None if pre_tokenizer is None else pre_tokenizer.plan()
        if plan is None:
            return "the pre-tokenizer is more than one walk over the text"
        if not plan.byte_level:
            return "the pre-tokenizer is not byte-level"
        tables = pipeline.model.byte_tables
        if tables is None:
            kind = type(pipeline.model).__name__
            return f"the model is not BPE but {kind}" if kind != "BPE" else "a byte has no token of its own"
        from gputok.kernels.cuda import encode_words

        return encode_words.why_not(tables)

    def n_threads(self, n_cores: int) -> int:
        """Returns how many threads to use: two for each device, and some that normalize text.

        Each thread has a group of batches in memory. More threads would not make encoding faster.
        """
        return self._n_lanes + min(n_cores, _NORMALIZING)

    @staticmethod
    def groups(batches: Iterable[tuple[int, TextBatch]]) -> Iterator[tuple[int, list[TextBatch]]]:
        """Yields groups of batches that a device encodes together, each with its bytes and those left out before it."""
        from gputok.kernels.cuda import device

        group: list[TextBatch] = []
        n_bytes, n_before = 0, 0
        for n_left_out, batch in batches:
            group.append(batch)
            n_before += n_left_out
            n_bytes += int(batch.offsets[-1] - batch.offsets[0])
            if n_bytes >= device.BATCH_BYTES:
                yield n_before + n_bytes, group
                group, n_bytes, n_before = [], 0, 0
        if group:
            yield n_before + n_bytes, group

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of a unit."""
        pieces = _pieces(self._pipeline, unit)
        if pieces.byte_level:
            return self._on_cpu.encode(unit)
        ids, rows = zip(*self._in_parts(unit, pieces), strict=True)
        n_before = np.cumsum([0, *map(len, ids)])
        ends = [part[1:] + n for part, n in zip(rows, n_before[:-1], strict=True)]
        return np.concatenate(ids), np.concatenate([n_before[:1], *ends])

    def encode_there(self, unit: TextBatch, around: list[list[int]]) -> tuple[Any, Any] | None:
        """Returns the ids and rows of a unit on the device, both int32, with the ids of `ids_around`.

        Returns None if a normalizer makes the text byte-level, which only the CPU can cut.

        Raises:
            MemoryError: The device does not have the memory.
            split.TooLong: A thread of the device would have to walk a long run alone.
        """
        from gputok.kernels.cuda import encode_text

        pieces = _pieces(self._pipeline, unit)
        if pieces.byte_level:
            return None
        loaded = self._free.get()
        try:
            device, automaton, tables = loaded
            arguments = *_packed(pieces), pieces.token, pieces.rows, (around[0], around[1])
            return encode_text.encode_documents(device, *arguments, automaton, tables)
        finally:
            self._free.put(loaded)

    def _in_parts(self, unit: TextBatch, pieces: Pieces) -> Iterator[tuple[Array, Array]]:
        """Yields the ids and rows of documents that follow each other: all, or fewer if a device can't encode some."""
        from gputok.kernels.cuda import split

        data, offsets = _packed(pieces)
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
        from gputok.kernels.cuda import encode_text

        loaded = self._free.get()
        try:
            device, automaton, tables = loaded
            return encode_text.encode_text(device, data, offsets, token, automaton, tables, self._dtype)
        finally:
            self._free.put(loaded)

    def _by_cpu(self, unit: TextBatch, first: int, last: int, reason: Exception) -> tuple[Array, Array]:
        if not self._warned:
            warnings.warn(f"some text is encoded on the CPU: {reason}", stacklevel=2)
        self._warned = True
        start, stop = unit.offsets[first], unit.offsets[last]
        return self._on_cpu.encode(TextBatch(unit.data[start:stop], unit.offsets[first : last + 1] - start))


def joined(batches: list[TextBatch]) -> TextBatch:
    """Concatenates batches."""
    if len(batches) == 1 and batches[0].offsets[0] == 0:
        return batches[0]
    text = [batch.data[batch.offsets[0] : batch.offsets[-1]] for batch in batches]
    begin = np.cumsum([0, *map(len, text)])
    offsets = [b.offsets[1:] + (at - b.offsets[0]) for b, at in zip(batches, begin[:-1], strict=True)]
    return TextBatch(np.concatenate(text), np.concatenate([begin[:1], *offsets]))


def _pieces(pipeline: Pipeline, unit: TextBatch) -> Pieces:
    """Makes the added tokens in documents pieces of their own, and normalizes the other pieces."""
    pieces = pipeline.added.extract(Pieces.from_batch(unit), normalized=False)
    if pipeline.normalizer is not None:
        pieces = pipeline.normalizer.apply(pieces)
    return pipeline.added.extract(pieces, normalized=True)


def _packed(pieces: Pieces) -> tuple[Array, Array]:
    """Returns the text of pieces without gaps, and their offsets in it; copies the text only if it has gaps."""
    from gputok.kernels.cpu.rewrite import gather

    data, start, end = pieces.data, pieces.start, pieces.end
    contiguous = len(start) > 0 and np.array_equal(start[1:], end[:-1])
    return (data, np.append(start, end[-1])) if contiguous else gather(data, start, end)


def largest_id(pipeline: Pipeline) -> int:
    """Returns the largest id that the tokenizer can give to a text; 0 if it has none."""
    ids = pipeline.model.vocabulary.ids
    added = max(pipeline.added.ids.values(), default=0)
    try:
        special = [*itertools.chain(*ids_around(pipeline, True))]
    except ValueError:  # post-processors that take no text together with special tokens give none
        special = []
    return max(int(ids.max()) if len(ids) else 0, added, *special, 0)


def id_type(pipeline: Pipeline) -> np.dtype[Any]:
    """Returns the type of the ids that `encode` yields: uint16 if all ids of the tokenizer fit, else uint32."""
    return id_dtype(1 + largest_id(pipeline))


def fingerprint(pipeline: Pipeline, source: Any, options: Any) -> str:
    """Returns a hash of everything that the ids of a corpus depend on.

    An interrupted run may resume only if the hash is unchanged. Of files, it includes names, sizes and times (or the
    versions that a server reports); the contents of any other source can't be known, so each hash for it is different.
    """
    from gputok import corpus
    from gputok.pipeline.serialize import tokenizer_json

    state: Any = corpus.state(source)
    if state is None:
        return uuid.uuid4().hex
    form = b"".join(tokenizer_json(pipeline, pretty=False)).decode()
    return hashlib.sha256(repr((form, state, options)).encode()).hexdigest()


def ids_around(pipeline: Pipeline, add_special_tokens: bool) -> list[list[int]]:
    """Returns the ids that the post-processor adds: before the first place of the text, between its places, after the last.

    A text usually has one place, and the result two lists. A template can leave the text out, or contain it several times.
    """
    from gputok.encoding.columns import DTYPES, Columns
    from gputok.encoding.rows import NO_SPELLING, Rows, merge
    from gputok.processors import process_rows

    # One token stands for all tokens of a text. It is the only token with a word, which no post-processor changes.
    columns, first = Columns(1, **{**dict.fromkeys(DTYPES, 0), "text": -1}), np.zeros(1, np.int64)
    text = Rows(columns, first, first + 1, NO_SPELLING)
    finished = merge(process_rows(pipeline.post_processor, [text], add_special_tokens))
    row = slice(finished.first[0], finished.last[0])
    around: list[list[int]] = [[]]
    for token_id, word in zip(
        finished.columns.ids[row].tolist(), finished.columns.words[row].tolist(), strict=True
    ):
        if word < 0:
            around[-1].append(token_id)
        else:
            around.append([])
    return around


def surrounded(ids: Array, rows: Array, around: list[list[int]]) -> tuple[Array, Array]:
    """Adds the ids of `ids_around` to each row; returns ids uint32[n_ids] and the rows in them."""
    ids = ids.astype(np.uint32, copy=False)
    if len(around) == 2:
        from gputok.kernels.cpu.encode_text.rounds import surround

        before, after = (np.array(fixed, np.uint32) for fixed in around)
        return surround(ids, rows, before, after)
    lengths, n_places = np.diff(rows), len(around) - 1
    wider = n_places * rows + sum(map(len, around)) * np.arange(len(rows))
    whole, at = np.empty(wider[-1], np.uint32), wider[:-1].copy()
    for place, fixed in enumerate(around):
        for token_id in fixed:
            whole[at] = token_id
            at += 1
        if place < n_places:
            whole[np.repeat(at - rows[:-1], lengths) + np.arange(len(ids))] = ids
            at += lengths
    return whole, wider


def _surrounded_unless_empty(ids: Array, rows: Array, around: list[list[int]]) -> tuple[Array, Array]:
    """As `surrounded`, but rows without ids stay without."""
    has_ids = rows[1:] > rows[:-1]
    ids, wider = surrounded(ids, np.append(rows[:1], rows[1:][has_ids]), around)
    n_before = np.zeros(len(rows), np.int64)
    np.cumsum(has_ids, out=n_before[1:])
    return ids, wider[n_before]
