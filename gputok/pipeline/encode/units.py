"""Encodes documents by their units, as the way of the pipeline says (`gputok.text.way`).

A walk finds the units, a cache gives the ids of those seen before, and new ones are encoded together. Where no way is
known to take documents apart, all steps run one after the other, on packed arrays.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gputok import models
from gputok.automaton import PATTERNS, compile_pattern
from gputok.automaton.patterns import SPLITS
from gputok.automaton.ready import ready_splits
from gputok.kernels.threads import in_order, thread_count
from gputok.pipeline.encode.stepwise import tokenize
from gputok.pipeline.special_tokens import ids_around
from gputok.pipeline.way import Sliced, cut_for_threads, offsets_of, packed, walk_of, walks_of
from gputok.pool import Pool, most_lines
from gputok.text.edit import all_inert
from gputok.text.pieces import Pieces, TextBatch, rewrite, spell_out, starts_with
from gputok.text.way import Before, Unit, Way
from gputok.token_files.batches import id_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.kernels import Automaton
    from gputok.kernels.threads import Submit
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Positions

UNIT_BYTES = 1 << 20  # about how many bytes of documents a thread encodes at a time
_LEAST_BYTES = 1 << 17  # with less, a thread takes longer to begin than to encode
_FEW_BYTES = 1 << 14  # bytes: up to this, the tables (`ShortWords`) that merge short words side by side are not made
EncodeNew = Callable[["Array", "Array", "Array"], "tuple[Array, Array]"]
"""(data, start, end) -> the ids of the units data[start[i]:end[i]], and the rows int64[n_units + 1] in the ids."""


class DocumentEngine(Protocol):
    """A way to encode documents."""

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids, uint16 or uint32[n_ids], and the rows, int64[n_documents + 1], of documents."""
        ...

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Cuts documents into slices of about `n_bytes`, also inside of documents; None: nothing tells where to cut."""


def engine_of(pipeline: Pipeline) -> DocumentEngine:
    """Returns what encodes the documents of a pipeline on the CPU; pipelines that differ only in limits share it."""

    def made() -> DocumentEngine:
        # A copy with `engines` of its own: those of the pipeline keep this engine, and a circle would keep it alive
        copy = dataclasses.replace(pipeline)
        copy.engines.once("way", lambda: pipeline.way)
        return _engine(copy)

    return pipeline.engines.once("corpus", made)


def _engine(pipeline: Pipeline) -> DocumentEngine:
    model, way = pipeline.model, pipeline.way
    if isinstance(model, models.BPE) and not way.by_steps and not _lacks_superwords(way):
        from gputok.pipeline.encode.superwords import BySuperwords

        if (engine := BySuperwords.of(pipeline)) is not None:
            return engine
    automaton = model.cuts if way.unit == Unit.LINE else walk_of(way)
    if model.is_random or automaton is None:
        return Stepped(pipeline)
    return Walked(pipeline, automaton, id_type(pipeline))


def _lacks_superwords(way: Way) -> bool:
    """Whether units have no superwords: lines, where `▁` stands for a space, and the words of well-known patterns."""
    known = itertools.chain(map(compile_pattern, dict.fromkeys(PATTERNS.values())), map(ready_splits, SPLITS))
    is_word = way.unit == Unit.WORD and way.automaton is not None
    return way.unit == Unit.LINE or (is_word and any(one is way.automaton for one in known))


def encode_batch(
    pipeline: Pipeline, batch: TextBatch, threads: int | None, least_bytes: int = _LEAST_BYTES
) -> Iterator[tuple[Array, Array]]:
    """Encodes documents, without special tokens: yields the ids and rows of a few whole documents at a time, in order.

    Each thread gets one unit, of at most UNIT_BYTES and about `least_bytes` at least: after each kernel, threads wait
    for the interpreter, and a word that is new in two units is encoded twice. Two threads encode 300 documents of 4 kB
    in 4.2 ms; in units of 128 kB, in 7 ms. threads: None: one for few documents, else all cores.
    """
    engine, n_bytes = engine_of(pipeline), len(batch.data)
    n_threads = 1 if threads is None and n_bytes <= 2 * least_bytes else thread_count(threads)
    if n_threads == 1 and n_bytes <= UNIT_BYTES:
        yield engine.encode(batch)
        return
    unit_bytes = max(least_bytes, min(-(-n_bytes // n_threads), UNIT_BYTES))
    from gputok.corpus.packing import units_of  # imported late: a first text needs no corpus

    def begun(unit: TextBatch, submit: Submit) -> Callable[[], tuple[Array, Array]]:
        is_long = n_threads > 1 and 2 * len(unit.data) > 3 * unit_bytes
        sliced = engine.sliced(unit, unit_bytes) if is_long else None
        return submit(engine.encode, unit).result if sliced is None else sliced.begun(submit)

    tasks = ((None, partial(begun, unit)) for unit in units_of(batch, unit_bytes))
    yield from (found for _, found in in_order(tasks, n_threads, n_threads))


class Stepped:
    """Encodes by the steps of the pipeline, one after the other."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def encode(self, unit: TextBatch, *, added: bool = True) -> tuple[Array, Array]:
        """Returns the ids and rows of documents, or, without `added`, of parts of documents without added tokens."""
        pieces = self._pipeline.words(Pieces.from_batch(unit), added=added)
        tokens = tokenize(self._pipeline, pieces)
        return tokens.ids, tokens.rows[pieces.rows]

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Returns None: nothing tells where to cut."""


def _new_encoder(dtype: np.dtype[Any]) -> Any:
    from gputok.corpus.options import SIZES  # imported late: a first text needs no corpus
    from gputok.kernels.cpu.encode_corpus.rounds import Encoder

    # So many ids that those of a task take one or two rounds. Memory to which no id is written costs nothing
    return Encoder(dtype, most_lines(), SIZES.task // 4)


class Walked:
    """Encodes by the walk of an automaton, which finds units; those that a thread's cache lacks are encoded."""

    def __init__(self, pipeline: Pipeline, automaton: Automaton, dtype: np.dtype[Any]) -> None:
        self._pipeline, self._automaton, self._dtype = pipeline, automaton, dtype
        self.walks, self._steps, way = walks_of(automaton), Stepped(pipeline), pipeline.way
        self.unit, model = way.unit, pipeline.model
        # For other units than words, `encode_new` normalizes
        self._normalizer = pipeline.normalizer if way.unit == Unit.WORD else None
        self._inert = None if self._normalizer is None else self._normalizer.inert
        self._encoders = Pool(_new_encoder)  # one for each thread
        self._encode_new: EncodeNew = partial(_encode_parts, self._steps)
        self._words: Callable[[], Any] | None = None
        if self.unit == Unit.WORD:
            self._encode_new = partial(model.encode_words, byte_level=way.byte_level)
            self._words = (lambda: model.byte_words) if way.byte_level else None
            self._encoders = model.shared.setdefault((way.byte_level, dtype), self._encoders)
        elif self.unit == Unit.LINE:
            self._encode_new, self._words = model.encode_lines, lambda: model.line_words
            self._encoders = model.shared.setdefault(("lines", dtype), self._encoders)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of documents."""
        return self.as_is(unit) or self._encode(unit)

    def as_is(self, unit: TextBatch) -> tuple[Array, Array] | None:
        """Encodes documents by the walk alone; None: another step may change the text, or find an added token."""
        data, offsets = unit
        stays = self.unit != Unit.LINE or self._pipeline.way.before == Before.NONE
        if self._normalizer is not None:
            stays = self._inert is not None and all_inert(unit, self._inert)
        if not stays or self._pipeline.added.may_occur(data[int(offsets[0]) : int(offsets[-1])]):
            return None
        return self._walk(data, np.ascontiguousarray(offsets), None)

    def _encode(self, unit: TextBatch) -> tuple[Array, Array]:
        pieces = self._pieces(unit)
        if pieces is None:
            return self._steps.encode(unit)
        ids, ends = self._walk_pieces(pieces)
        return ids, ends[pieces.rows]

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Cuts documents between units; None: normalizing text is most of the work, or the documents take the steps."""
        if self._normalizer is not None and self._inert is None:
            return None
        pieces = self._pieces(unit)
        if pieces is None or not pieces.n_pieces:
            return None
        return Sliced(cut_for_threads(pieces, self._automaton, n_bytes), self._walk_pieces)

    def _pieces(self, unit: TextBatch) -> Pieces | None:
        """Returns the text that is walked, with added tokens as pieces of their own; None: it must take the steps."""
        way = self._pipeline.way
        # Parts and lines are normalized later: `way_of` gives these only if no token is looked for in normalized text
        pieces = self._pipeline.added.apart(Pieces.from_batch(unit), self._normalizer)
        if self.unit == Unit.PART and way.at_start and pieces.token is not None:
            return None  # the text after an added token is not like the start of a document
        if self.unit == Unit.LINE:
            pieces = _with_spaces(pieces, way.before)
        return packed(spell_out(pieces))

    def _walk_pieces(self, pieces: Pieces) -> tuple[Array, Array]:
        return self._walk(pieces.data, offsets_of(pieces), pieces.token)

    def _walk(self, data: Array, offsets: Positions, token: Positions | None) -> tuple[Array, Array]:
        """Returns the ids, and the rows of the pieces in them."""
        from gputok.kernels.cpu.encode_corpus.rounds import encode_corpus

        encoder = self._encoders.take(self._dtype)
        n_bytes = int(offsets[-1] - offsets[0])
        words = self._words() if self._words is not None and n_bytes > _FEW_BYTES else None
        result = encode_corpus(data, offsets, token, self.walks.of(n_bytes), self._encode_new, encoder, words)
        # Not after an exception, which may leave units without ids in the cache
        self._encoders.give(encoder)
        return result


def _encode_parts(steps: Stepped, data: Array, start: Array, end: Array) -> tuple[Array, Array]:
    from gputok.kernels.cpu.rewrite import gather

    return steps.encode(TextBatch(*gather(data, start, end)), added=False)


def _with_spaces(pieces: Pieces, before: str) -> Pieces:
    """Inserts a space, which is then written as `▁`, before the pieces that `before` names."""
    if before == Before.NONE:
        return pieces
    bare = pieces.start < pieces.end
    if pieces.token is not None:
        bare &= pieces.token < 0
    if before != Before.ANY:
        bare &= ~starts_with(pieces, b" ") & ~starts_with(pieces, "▁".encode())
    if before == Before.FIRST:
        at_start = np.zeros_like(bare)
        at_start[pieces.rows[:-1][np.diff(pieces.rows) > 0]] = True
        bare &= at_start
    return rewrite(pieces, {}, b" ", bare) if bare.any() else pieces


def largest_id(pipeline: Pipeline) -> int:
    """Returns the largest id that the tokenizer can give to a text; 0 if it has none."""
    try:
        special = [token_id for some in ids_around(pipeline, True) for token_id in some]
    except ValueError:  # post-processors that take no text together with special tokens give none
        special = []
    return max(int(pipeline.model.vocabulary.ids.max(initial=0)), pipeline.added.largest, *special)


def id_type(pipeline: Pipeline) -> np.dtype[Any]:
    """Returns the type of the ids of a corpus: uint16 if all ids of the tokenizer fit, else uint32."""
    return id_dtype(1 + largest_id(pipeline))
