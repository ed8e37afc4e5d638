"""Encodes a corpus by a vocabulary of superwords, which are tokens of several words: first words, then superwords.

A piece of text, as superwords need it, has many words and hardly occurs twice, so that its tokens can't be looked up.
But the first merges of such a vocabulary were learned from words: words are looked up, and then their tokens merged.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np

from gputok.automaton import PATTERNS, compile_pattern
from gputok.kernels import Automaton
from gputok.kernels.cpu.walk.tables import Walks, prepare
from gputok.kernels.signatures import NamedTuple
from gputok.models.bpe.model import BPE
from gputok.pipeline.encode.stepwise import tokenize
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.way import Cut, Sliced, cut_for_threads, offsets_of, packed
from gputok.pool import Pool, most_lines
from gputok.text.pieces import Pieces, TextBatch
from gputok.text.way import Unit
from gputok.token_files.batches import id_dtype
from gputok.types import Array, Bytes, Positions

_SLICE_BYTES = 1 << 20  # bytes of text that a thread encodes at a time


class WordTokens:
    """Encodes documents as a pipeline of a byte-level BPE does; fast if its pieces have several words.

    words: finds the words to look up: any words give the same tokens; model: in place of the pipeline's model; joints:
    the `joints_of` this model.
    """

    def __init__(self, pipeline: Pipeline, words: Automaton, model: BPE | None = None, joints: Any = None) -> None:
        self.model: Any = pipeline.model if model is None else model
        self.pipeline = pipeline
        way = pipeline.way
        self.automaton = way.automaton if way.unit == Unit.WORD and way.byte_level else None
        self._pieces = None if self.automaton is None else Walks(self.automaton)
        self._words, self._tables = Walks(words), joints_of(self.model) if model is None else joints
        self.dtype = id_dtype(1 + max(int(self.model.vocabulary.ids.max(initial=0)), pipeline.added.largest))
        self._memory = Pool(_new_memory)

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes at which slices of a batch begin, and the byte at which the last slice ends."""
        from gputok.kernels.cpu.walk.matches import slice_text

        if (walks := self._walks_of(batch)) is not None:
            return slice_text(batch.data, batch.offsets, _SLICE_BYTES, walks.of(0)).tolist()
        aims: Positions = np.arange(int(batch.offsets[0]), int(batch.offsets[-1]), _SLICE_BYTES)
        ends = batch.offsets[np.searchsorted(batch.offsets, aims)]
        return np.unique(np.append(ends, batch.offsets[-1])).tolist()

    def of_slice(self, batch: TextBatch, start: int, stop: int) -> tuple[Array, Bytes]:
        """Returns the ids of the bytes start:stop of a batch, and a mark of each id, as `encode` does."""
        from gputok.kernels.cpu.split import find_cuts

        offsets = batch.offsets
        first, last = np.searchsorted(offsets, start, "right"), np.searchsorted(offsets, stop)
        edges = np.concatenate([[start], offsets[first:last], [stop]])
        text = TextBatch(batch.data, edges)
        if self._tables is None or start == stop or (walks := self._walks_of(text)) is None:
            ids, _, marks = self.encode(text)
            return ids, marks
        # Cuts also say where documents begin. So they can be one text: a third less time if documents are lines
        cuts = find_cuts(batch.data, edges, walks.of(stop - start))
        ids, _, marks = self._of_text(batch.data, edges[[0, -1]], None, cuts)
        return ids, marks

    def cut_for_threads(self, unit: TextBatch, n_bytes: int) -> Cut | None:
        """Cuts documents between pieces, also inside of documents; None: nothing tells where to cut."""
        if self.automaton is None or self._walks_of(unit) is None:
            return None
        pieces = Pieces.from_batch(unit).without_empty()
        return cut_for_threads(pieces, self.automaton, n_bytes) if pieces.n_pieces else None

    def encode(self, unit: TextBatch) -> tuple[Array, Positions, Bytes]:
        """Returns ids and rows of documents, and a mark of each id, uint8: 1 where a piece begins (`CUT`)."""
        from gputok.kernels.cpu.split import cut_bits, find_cuts

        pieces = self.pipeline.added.apart(Pieces.from_batch(unit), self.pipeline.normalizer)
        walks = None if pieces.byte_level else self._pieces
        if self._tables is None or walks is None:
            pieces = self.pipeline.words(Pieces.from_batch(unit))
        if self._tables is not None and (walks is not None or pieces.byte_level):
            pieces = packed(pieces)
            data, offsets = pieces.data, offsets_of(pieces)
            n_bytes = int(offsets[-1] - offsets[0])
            cuts = cut_bits(offsets) if walks is None else find_cuts(data, offsets, walks.of(n_bytes))
            ids, ends, marks = self._of_text(data, offsets, pieces.token, cuts)
            return ids, ends[pieces.rows], marks
        tokens = tokenize(replace(self.pipeline, model=self.model), pieces)
        ids = tokens.ids.astype(self.dtype, copy=False)
        marks = np.zeros(len(ids), np.uint8)
        marks[tokens.rows[:-1][np.diff(tokens.rows) > 0]] = 1
        return ids, tokens.rows[pieces.rows], marks

    def _walks_of(self, batch: TextBatch) -> Walks | None:
        """Returns the tables for a walk over the text as it is; None: there are none, or another step may change it."""
        text = batch.data[batch.offsets[0] : batch.offsets[-1]]
        return None if self.pipeline.normalizer or self.pipeline.added.may_occur(text) else self._pieces

    def _of_text(self, data: Array, offsets: Array, token: Array | None, cuts: Bytes) -> tuple[Array, Positions, Bytes]:
        """Returns the ids of texts, where those of each text end, and their marks."""
        from gputok.kernels.cpu.encode_corpus import rounds
        from gputok.kernels.cpu.superwords.joints import fit_tokens

        encoder, known = self._memory.take(self.dtype)
        n_bytes = int(offsets[-1] - offsets[0])
        walk, inside = self._words.of(n_bytes), self._tables.inside
        encode_words = partial(self.model.encode_words, byte_level=True)
        found = rounds.encode_marked(data, offsets, token, walk, cuts, inside, encode_words, encoder)
        found = fit_tokens(*found, n_bytes, self._tables, known)
        self._memory.give((encoder, known))  # not after an exception, which may leave words without ids
        return found


def _new_memory(dtype: Any) -> tuple[Any, Any]:
    from gputok.kernels.cpu.encode_corpus import rounds
    from gputok.kernels.cpu.superwords.joints import new_memory

    return rounds.Encoder(dtype, most_lines(), marked=True), new_memory()


def joints_of(model: Any) -> Any:
    """Returns a Joints, which tells whether two tokens are those of their joined text; None: the model has none."""
    tables = model.byte_tables
    if (
        tables is None
        or model.ignore_merges
        or model.is_random
        or model.sentencepiece
        or not len(model.merges)
        or len(model.vocabulary.shared)
        or model.continuing_subword_prefix
        or model.end_of_word_suffix
    ):
        return None
    from gputok.kernels.cpu.superwords.joints import joints

    symbols = tables.ids[tables.symbols[0].astype(np.int64) - 1]
    return joints(symbols, model.merges, int(model.vocabulary.ids.max()) + 1)


_FEW = 100
"""At least one in this many merges must make a superword. Other vocabularies have a few tokens of white space that look
like superwords, such as a no-break space before a space."""

_UTF8_LENGTHS = np.repeat(np.array([1, 0, 2, 3, 4, 0], np.uint8), [0x80, 0x42, 0x1E, 0x10, 5, 11])
"""The bytes of a character, by its first byte; 0: no character begins with this byte."""


class _Stages(NamedTuple):
    """The merges of a model in two stages."""

    first: BPE  # has only the merges of words
    joints: Any  # see `joints_of`, of the first
    others: Any  # the `run_tables` of the other merges


def _stages_of(model: BPE) -> _Stages | None:
    """Divides the merges of a model; returns None in the cases that `BySuperwords.of` names."""
    joints = joints_of(model)
    if joints is None or not (n := first_superword(joints.text, joints.begin[256:])):
        return None
    from gputok.kernels.cpu.superwords.runs import run_tables

    first = model.with_first_merges(n)
    return _Stages(first, joints_of(first), run_tables(model.merges[n:], int(model.vocabulary.ids.max()) + 1))


class BySuperwords:
    """Encodes by the merges of words, and then by those that span words."""

    def __init__(self, pipeline: Pipeline, stages: _Stages) -> None:
        from gputok.kernels.cpu.superwords.runs import new_runs

        self._tokens = WordTokens(pipeline, usual_words(), stages.first, stages.joints)
        self._tables = stages.others
        self._known = Pool(new_runs)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Returns None if few merges span words, or the vocabulary isn't merged byte by byte."""
        model: Any = pipeline.model
        if (stages := model.shared.get(_Stages)) is None:  # a tenth of a second for 128,000 tokens
            stages = model.shared.setdefault(_Stages, _stages_of(model) or False)
        return cls(pipeline, stages) if stages else None

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of documents."""
        from gputok.kernels.cpu.superwords.runs import merge_runs

        known = self._known.take()
        found = merge_runs(*self._tokens.encode(unit), self._tables, known)
        self._known.give(known)
        return found

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Cuts documents into slices of about `n_bytes`, also inside of documents; None: nothing tells where to cut."""
        cut = self._tokens.cut_for_threads(unit, n_bytes)
        return None if cut is None else Sliced(cut, self._encode_pieces)

    def _encode_pieces(self, pieces: Pieces) -> tuple[Array, Array]:
        return self.encode(TextBatch(pieces.data, offsets_of(pieces)))


def usual_words() -> Automaton:
    """Returns the automaton of a pattern that many tokenizers cut words by."""
    automaton = compile_pattern(PATTERNS["cl100k"])
    assert isinstance(automaton, tuple)  # this pattern never needs backtracking
    return automaton


def first_superword(text: Bytes, begin: Positions) -> int | None:
    """Returns the first merge of the second stage: from it on, most tokens span words; None: few tokens span words.

    The first stage of training makes hardly any token of several words, and the second stage hardly any other. Any
    number gives the same ids, by `WordTokens`; this one gives them fast. text: the bytes of tokens; begin: where those
    of each token of a merge, by rank, begin in them, int64[n_merges + 1].
    """
    from gputok.kernels.cpu.split import find_words

    if len(begin) < 2:
        return None
    begin, text = begin - begin[0], text[begin[0] :].copy()
    text[np.repeat(_is_broken(text, begin), np.diff(begin))] = ord("a")
    words = find_words(text, begin, prepare(usual_words()))
    n_words = np.diff(np.searchsorted(words, begin))
    gain = np.cumsum(np.where(n_words > 1, 1, -1)[::-1])[::-1]
    first = int(gain.argmax())
    return first if gain[first] > len(gain) // _FEW else None


def _is_broken(text: Bytes, begin: Positions) -> Array:
    """Returns, for each token, whether its bytes are not UTF-8."""
    starts = text & 0xC0 != 0x80
    starts[begin[:-1]] = True
    at = np.flatnonzero(starts)
    wrong = np.zeros(len(text), bool)
    wrong[at] = _UTF8_LENGTHS[text[at]] != np.diff(at, append=len(text))
    wrong[:-1] |= (text[:-1] == 0xF4) & (text[1:] > 0x8F)
    return np.logical_or.reduceat(wrong, begin[:-1])
