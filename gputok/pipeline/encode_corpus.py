"""Encoding a corpus into arrays: ids and where each document's begin, with no Python object for a token.

Where a tokenizer cuts text into words by one walk over it (byte-level ones mostly do), a word is encoded when it is
first seen and looked up after that. Where its words end at spaces, so is what lies between them. Any other tokenizer
takes its steps one after the other, on packed arrays.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from gputok.files.token_files import TokenBatch, id_dtype
from gputok.kernels.threads import Submit, in_order, thread_count
from gputok.pipeline.tokenize import tokenize
from gputok.text.pieces import SPACE_PREFIXED_RUN, Pieces, TextBatch, rewrite, starts_with
from gputok.types import Array

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import SplitPlan
    from gputok.progress import Report

EncodeWords = Callable[[Array, Array, Array], tuple[Array, Array]]

UNIT_BYTES = 1 << 19  # of documents that a thread encodes at a time
_NORMALIZING = 4  # threads that work on text before a device encodes it
_UNITS_AHEAD = 4  # besides those at work: about what is encoded while the next batch is read


def encode(
    pipeline: Pipeline,
    batches: Iterable[TextBatch],
    *,
    add_special_tokens: bool = True,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    skip: int = 0,
    devices: Sequence[Any] = (),
) -> Iterator[TokenBatch]:
    """Yields the ids of whole documents, in order, about a megabyte of text at a time.

    The ids of a document are those of `tokenizer.encode(document)`, without truncation and padding. Leaves out the first
    `skip` documents. `report("encode", bytes, total)` is called for each batch that is yielded.

    devices: CUDA devices (`backend.choose`), which encode a whole batch at a time where the tokenizer is one walk over
    bytes and a BPE model; others run on the CPU. The ids are the same.

    >>> from gputok import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    >>> [(ids, rows)] = encode(tokenizer.pipeline, [TextBatch.from_strings(["abb", "", "b"])])
    >>> ids.tolist(), rows.tolist()
    ([2, 1, 1], [0, 2, 2, 3])
    """
    n_threads = thread_count(threads)
    dtype = id_type(pipeline)
    engine: Engine = (
        ByWalk.of(pipeline, dtype)
        or ByParts.of(pipeline, dtype)
        or ByLine.of(pipeline, dtype)
        or BySteps(pipeline)
    )
    on_device = (
        ByDevice(pipeline, devices, engine, dtype) if devices and not ByDevice.why_not(pipeline) else None
    )
    around = _around(pipeline, add_special_tokens)

    def finished(found: tuple[Array, Array]) -> TokenBatch:
        ids, rows = found
        if around != [[], []]:
            ids, rows = _surrounded(ids, rows, around)
        return TokenBatch(ids.astype(dtype, copy=False), rows)

    def units() -> Iterator[tuple[int, Callable[[Submit], Callable[[], TokenBatch]]]]:
        """The bytes of each unit (and of what was left out before it), and what begins it: its end gives the ids."""
        for n_before, batch in _after(batches, skip):
            for unit in engine.units(batch):
                parts = _parts(pipeline, unit) if n_threads > 1 else None
                yield n_before + unit.data.nbytes, partial(begin, unit, parts)
                n_before = 0

    def begin(unit: TextBatch, parts: list[TextBatch] | None, submit: Submit) -> Callable[[], TokenBatch]:
        if parts is None:
            return submit(lambda: finished(engine.encode(unit))).result
        work = [submit(engine.encode, part) for part in parts]
        return lambda: finished(_joined(unit, parts, [one.result() for one in work]))

    def groups(on_device: ByDevice) -> Iterator[tuple[int, Callable[[Submit], Callable[[], TokenBatch]]]]:
        """The same for a device, whose units are many batches."""
        for n_bytes, group in on_device.groups(_after(batches, skip)):
            work = partial(lambda group: finished(on_device.encode(_one(group))), group)
            yield n_bytes, lambda submit, work=work: submit(work).result

    done = 0  # bytes that were encoded, now or in the run before
    if on_device:
        begun = in_order(groups(on_device), on_device.n_threads(n_threads), 0)
    else:
        begun = in_order(units(), n_threads, _UNITS_AHEAD)
    for n_bytes, batch in begun:
        yield batch
        done += n_bytes
        if report:
            report("encode", done, total)


def _after(batches: Iterable[TextBatch], skip: int) -> Iterator[tuple[int, TextBatch]]:
    """The documents after the first `skip` ones, and the bytes of those that were left out just before."""
    n_bytes = 0
    for batch in batches:
        left_out = min(skip, batch.n_documents)
        skip -= left_out
        n_bytes += int(batch.offsets[left_out] - batch.offsets[0])
        if left_out < batch.n_documents:
            yield n_bytes, TextBatch(batch.data, batch.offsets[left_out:])
            n_bytes = 0


def _units(batch: TextBatch) -> Iterator[TextBatch]:
    """Parts of a batch, of whole documents, with offsets from 0."""
    data, offsets = batch
    aims = np.arange(offsets[0] + UNIT_BYTES, offsets[-1], UNIT_BYTES)
    cuts = dict.fromkeys([0, *np.searchsorted(offsets, aims).tolist(), batch.n_documents])
    for first, last in itertools.pairwise(cuts):
        start, stop = offsets[first], offsets[last]
        yield TextBatch(data[start:stop], offsets[first : last + 1] - start)


def _parts(pipeline: Pipeline, unit: TextBatch) -> list[TextBatch] | None:
    """Parts of a unit that holds a long document, cut between words, for threads; None where it cannot or need not be.

    Offsets stay those in the unit: a part has the documents, or the beginnings and ends of some, that lie in it.
    """
    pre_tokenizer = pipeline.pre_tokenizer
    if len(unit.data) < 4 * UNIT_BYTES or pipeline.normalizer is not None or pre_tokenizer is None:
        return None
    plan = pre_tokenizer.plan()
    if plan is None or pipeline.added_in(Pieces.from_batch(unit)):
        return None
    from gputok.kernels.cpu.walk import prepare, slice_text

    data, offsets = unit
    cuts = slice_text(data, offsets, UNIT_BYTES, prepare(plan.automaton))
    inside = [offsets[(first < offsets) & (offsets < last)] for first, last in itertools.pairwise(cuts)]
    return [
        TextBatch(data, np.concatenate([[first], between, [last]]))
        for first, between, last in zip(cuts[:-1], inside, cuts[1:], strict=True)
    ]


def _joined(unit: TextBatch, parts: list[TextBatch], found: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The ids of a unit, and its rows, from those of its parts."""
    starts = np.concatenate([part.offsets[:-1] for part in parts] + [unit.offsets[-1:]])
    n_before = np.cumsum([0, *(len(ids) for ids, _ in found)])
    rows = [rows[:-1] + n for (_, rows), n in zip(found, n_before[:-1], strict=True)]
    ends = np.concatenate([*rows, n_before[-1:]])
    return np.concatenate([ids for ids, _ in found]), ends[np.searchsorted(starts, unit.offsets)]


class Engine(Protocol):
    """How a corpus is encoded: in units, each by one thread at a time."""

    def units(self, batch: TextBatch) -> Iterator[TextBatch]:
        """Parts of a batch, of whole documents, with offsets from 0."""

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """ids uint[t] and rows int64[n_documents + 1] of a unit, or of a part of one."""


class BySteps:
    """Each step of the pipeline, one after the other, for all text."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def units(self, batch: TextBatch) -> Iterator[TextBatch]:
        return _units(batch)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        return self._encode(unit, added=True)

    def _encode(self, unit: TextBatch, *, added: bool) -> tuple[Array, Array]:
        """added: look for added tokens."""
        pieces = self._pipeline.words(Pieces.from_batch(unit), added=added)
        tokens = tokenize(self._pipeline, pieces)
        return tokens.ids, tokens.rows[pieces.rows]


class _Remembering:
    """Text encoded by one walk over it, by as many threads at a time; the model is asked for new words only.

    encode_words: (data, start, end) -> ids, rows. known: what is remembered, also for the next time; a list's pop and
    append are atomic.
    """

    def __init__(
        self,
        automaton: Automaton,
        encode_words: EncodeWords,
        dtype: np.dtype,
        known: list[Any],
    ) -> None:
        from gputok.kernels.cpu.walk import prepare

        self._walk, self._encode_words = prepare(automaton), encode_words
        self._dtype, self._known = dtype, known

    def encode(self, data: Array, offsets: Array, token: Array | None) -> tuple[Array, Array]:
        """The ids, and where those of each piece of the text end."""
        from gputok.kernels.cpu.encode_text import rounds as kernels

        try:
            encoder = self._known.pop()
        except IndexError:
            encoder = kernels.Encoder(self._dtype, _most_lines())
        result = kernels.encode_text(data, offsets, token, self._walk, self._encode_words, encoder)
        self._known.append(encoder)  # after an error it may hold words without ids, and is left
        return result


def _most_lines() -> int:
    """How many lines the word cache of a thread may have: as many as GPUTOK_CACHE_MB (of 2**20 bytes) in the environment
    holds, 96 by default. A cache begins with less than 1 MB, and grows with the number of different words."""
    from gputok.kernels.cpu.encode_text.cache import BYTES_A_LINE, FIRST_LINES

    given = os.environ.get("GPUTOK_CACHE_MB", "") or "96"
    if not given.isdecimal() or len(given) > 9:
        raise ValueError(f"GPUTOK_CACHE_MB must be a whole number of megabytes, not {given!r}")
    n_lines = (int(given) << 20) // BYTES_A_LINE
    return max(FIRST_LINES, 1 << n_lines.bit_length() >> 1)


class ByWalk(BySteps):
    """One walk over the text, where the pre-tokenizer is that."""

    def __init__(self, pipeline: Pipeline, plan: SplitPlan, dtype: np.dtype) -> None:
        super().__init__(pipeline)
        model, byte_level = pipeline.model, plan.byte_level
        known = model._encoders.setdefault((byte_level, dtype), [])
        encode_words = partial(model.encode_words, byte_level=byte_level)
        self._text = _Remembering(plan.automaton, encode_words, dtype, known)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype) -> Self | None:
        """None where the tokenizer is more than that."""
        pre_tokenizer = pipeline.pre_tokenizer
        plan = None if pre_tokenizer is None else pre_tokenizer.plan()
        if plan is None or pipeline.model.is_random:
            return None
        return cls(pipeline, plan, dtype)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        pieces = _pieces(self._pipeline, unit)
        if pieces.byte_level:  # by a normalizer: the pattern is for the characters that the bytes stand for
            return super().encode(unit)
        try:
            ids, ends = self._text.encode(*_packed(pieces), pieces.token)
        except ValueError:
            if pieces.token is None:
                raise
            return super().encode(
                unit
            )  # the text of an added token need not be of words that the model knows
        return ids, ends[pieces.rows]


class ByParts(BySteps):
    """A walk that cuts before each space, and each step of the pipeline for parts that are new."""

    def __init__(self, pipeline: Pipeline, dtype: np.dtype) -> None:
        from gputok.automaton import compile_pattern

        super().__init__(pipeline)
        known = pipeline.kept.setdefault(("parts", dtype), [])
        self._text = _Remembering(compile_pattern(SPACE_PREFIXED_RUN), self._encode_parts, dtype, known)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype) -> Self | None:
        """None where a document's words are not those of its parts."""
        if not pipeline.apart_at_spaces() or pipeline.model.is_random:
            return None
        return cls(pipeline, dtype)

    def _encode_parts(self, data: Array, start: Array, end: Array) -> tuple[Array, Array]:
        from gputok.kernels.cpu.rewrite import gather

        return self._encode(TextBatch(*gather(data, start, end)), added=False)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        pipeline = self._pipeline
        pieces = pipeline.added.extract(Pieces.from_batch(unit), normalized=False)
        if pipeline.normalizer is None:
            pieces = pipeline.added.extract(pieces, normalized=True)
        if pieces.token is None:
            return self._text.encode(*unit, None)
        if pipeline.pre_tokenizer is None or pipeline.pre_tokenizer.needs_alignment:
            return super().encode(unit)  # what lies behind an added token isn't like a document
        try:
            ids, ends = self._text.encode(*_packed(pieces), pieces.token)
        except ValueError:  # the text of an added token need not be of words that the model knows
            return super().encode(unit)
        return ids, ends[pieces.rows]


class ByLine(BySteps):
    """A walk that cuts where no token of the model reaches across, if there is nothing else that cuts.

    All that happens before is about spaces: each is written as `▁`, which the model does as well (`BPE.cuts`), and a text
    gets one before it.
    """

    def __init__(self, pipeline: Pipeline, cuts: Automaton, before: str, dtype: np.dtype) -> None:
        super().__init__(pipeline)
        self._before = before
        known = pipeline.model._encoders.setdefault(("cuts", dtype), [])
        self._text = _Remembering(cuts, self._encode_words, dtype, known)

    @classmethod
    def of(cls, pipeline: Pipeline, dtype: np.dtype) -> Self | None:
        """Returns None if more happens to the text, or if the model's tokens leave no place to cut."""
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
    """Says before which texts a space is put, if nothing else happens to them than that spaces are written as `▁`.

    "any": before each text between added tokens; "bare": if it doesn't begin with a space; "first": likewise, but only at
    the start of a document; "none". None: something else happens.
    """
    normalizer, pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    steps = [] if normalizer is None else getattr(normalizer, "normalizers", [normalizer])
    forms = [step.to_dict() for step in steps if step.in_files]
    prefix, written = (
        {"type": "Prepend", "prepend": "▁"},
        {
            "type": "Replace",
            "pattern": {"String": " "},
            "content": "▁",
        },
    )
    if len(forms) < len(steps) or forms not in ([], [written], [prefix, written]):
        return None
    if forms and any(token.normalized for token in pipeline.added.tokens.values()):
        return None  # they are looked for in text in which the spaces are written
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
    """A large batch at a time by the CUDA device that is free; what none can encode goes to `on_cpu`."""

    def __init__(self, pipeline: Pipeline, devices: Sequence[Any], on_cpu: Engine, dtype: np.dtype) -> None:
        from gputok.kernels.cuda import encode_words, split
        from gputok.kernels.cuda.device import LANES

        plan, tables = pipeline.pre_tokenizer.plan(), pipeline.model.byte_tables
        self._n_lanes = LANES * len(devices)
        self._pipeline, self._on_cpu, self._dtype, self._said = pipeline, on_cpu, dtype, False
        self._free: queue.SimpleQueue = queue.SimpleQueue()
        for device in devices:
            loaded = device, split.upload(device, plan.automaton), encode_words.upload(device, tables)
            for _ in range(LANES):
                self._free.put(loaded)

    @staticmethod
    def why_not(pipeline: Pipeline) -> str:
        """Why a device can't encode the words of a tokenizer; "" if it can."""
        pre_tokenizer = pipeline.pre_tokenizer
        plan = None if pre_tokenizer is None else pre_tokenizer.plan()
        if plan is None:
            return "the pre-tokenizer is more than one walk over the text"
        if not plan.byte_level:
            return "the pre-tokenizer is not byte-level"
        tables = pipeline.model.byte_tables
        if tables is None:
            return f"the model is not BPE but {type(pipeline.model).__name__}"
        from gputok.kernels.cuda import encode_words

        return encode_words.why_not(tables)

    def n_threads(self, n_cores: int) -> int:
        """Two for each device, and some that normalize text; each has a group in memory, so that more cores change nothing."""
        return self._n_lanes + min(n_cores, _NORMALIZING)

    def groups(self, batches: Iterable[tuple[int, TextBatch]]) -> Iterator[tuple[int, list[TextBatch]]]:
        """Batches that a device encodes at a time, and their bytes with those that were left out before."""
        from gputok.kernels.cuda import device

        held, n_bytes, n_before = [], 0, 0
        for n_left_out, batch in batches:
            held.append(batch)
            n_before += n_left_out
            n_bytes += int(batch.offsets[-1] - batch.offsets[0])
            if n_bytes >= device.BATCH_BYTES:
                yield n_before + n_bytes, held
                held, n_bytes, n_before = [], 0, 0
        if held:
            yield n_before + n_bytes, held

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        from gputok.kernels.cuda import encode_text, split

        pieces = _pieces(self._pipeline, unit)
        if pieces.byte_level:
            return self._on_cpu.encode(unit)
        loaded = self._free.get()
        try:
            device, *tables = loaded
            ids, ends = encode_text.encode_text(device, *_packed(pieces), pieces.token, *tables, self._dtype)
        except (MemoryError, split.TooLong) as error:  # of a single document
            if not self._said:
                warnings.warn(f"some text is encoded on the CPU: {error}", stacklevel=2)
            self._said = True
            return self._on_cpu.encode(unit)
        finally:
            self._free.put(loaded)
        return ids, ends[pieces.rows]


def _one(batches: list[TextBatch]) -> TextBatch:
    """Batches side by side."""
    if len(batches) == 1 and batches[0].offsets[0] == 0:
        return batches[0]
    text = [batch.data[batch.offsets[0] : batch.offsets[-1]] for batch in batches]
    begin = np.cumsum([0, *map(len, text)])
    offsets = [b.offsets[1:] + (at - b.offsets[0]) for b, at in zip(batches, begin[:-1], strict=True)]
    return TextBatch(np.concatenate(text), np.concatenate([begin[:1], *offsets]))


def _pieces(pipeline: Pipeline, unit: TextBatch) -> Pieces:
    """Documents normalized, with added tokens as pieces of their own."""
    pieces = pipeline.added.extract(Pieces.from_batch(unit), normalized=False)
    if pipeline.normalizer is not None:
        pieces = pipeline.normalizer.apply(pieces)
    return pipeline.added.extract(pieces, normalized=True)


def _packed(pieces: Pieces) -> tuple[Array, Array]:
    """The text of pieces side by side, and their offsets in it; without a copy where they are that already."""
    from gputok.kernels.cpu.rewrite import gather

    data, start, end = pieces.data, pieces.start, pieces.end
    side_by_side = len(start) > 0 and np.array_equal(start[1:], end[:-1])
    return (data, np.append(start, end[-1])) if side_by_side else gather(data, start, end)


def id_type(pipeline: Pipeline) -> np.dtype:
    """The type of the ids that `encode` yields: uint16 where all of them fit, else uint32."""
    ids = pipeline.model.vocabulary.ids
    added = max(pipeline.added.ids.values(), default=0)
    return id_dtype(
        1 + max(int(ids.max()) if len(ids) else 0, added, *itertools.chain(*_around(pipeline, True)), 0)
    )


def fingerprint(pipeline: Pipeline, source: Any, options: Any) -> str:
    """What the ids of a corpus depend on, in one word: a run that was broken off may be continued where it is the same.

    Of files it takes names, sizes and times (or what their server calls a version); of any other source nothing is known,
    and each fingerprint is new.
    """
    from gputok import corpus
    from gputok.pipeline.serialize import tokenizer_json

    known = corpus.state(source)
    if known is None:
        return uuid.uuid4().hex
    form = b"".join(tokenizer_json(pipeline, pretty=False)).decode()
    return hashlib.sha256(repr((form, known, options)).encode()).hexdigest()


def _around(pipeline: Pipeline, add_special_tokens: bool) -> list[list[int]]:
    """The ids that the post-processor puts around a text: before its first place, between its places, after the last.

    Mostly a text has one place, and these are two lists; a template can leave it out or have it several times.
    """
    from gputok.encoding.columns import DTYPES, Columns
    from gputok.encoding.rows import NO_SPELLING, Rows, merge
    from gputok.processors import process_rows

    # One token, which stands for those of any text, and is the only one with a word: no processor changes that.
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


def _surrounded(ids: Array, rows: Array, around: list[list[int]]) -> tuple[Array, Array]:
    """Each row between these ids, as often as there are places between two lists of them; ids uint32."""
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
