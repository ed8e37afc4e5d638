"""Encodes pieces of several words by the tokens of these words, which are looked up like any word's.

`kernels/cpu/superwords/joints.py` says why that is right: only where the last token of a word and the first of the next one
don't fit, the text around is encoded anew.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.files.token_files import id_dtype
from gputok.pipeline.tokenize import tokenize
from gputok.pipeline.way import Cut, cut_for_threads
from gputok.pipeline.word_cache import most_lines
from gputok.text.pieces import Pieces, TextBatch
from gputok.text.way import Unit

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.models.bpe.model import BPE
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Positions

_SLICE_BYTES = 1 << 20  # of text that a thread encodes at a time


class WordTokens:
    """Encodes documents as a pipeline of a byte-level BPE does; fast if its pieces have several words.

    Args:
        pipeline: the parts of the tokenizer.
        words: finds the words that are looked up; any words give the same tokens.
        model: a BPE model to use instead of the pipeline's.
    """

    def __init__(self, pipeline: Pipeline, words: Automaton, model: BPE | None = None) -> None:
        from gputok.kernels.cpu.walk import Walks

        self.model: Any = pipeline.model if model is None else model
        self.pipeline = pipeline
        way = pipeline.way
        is_walk = way.unit is Unit.WORD and way.byte_level and pipeline.normalizer is None
        self.automaton = way.automaton if is_walk else None
        self._pieces = None if self.automaton is None else Walks(self.automaton)
        self._words, self._tables = Walks(words), joints_of(self.model)
        ids = self.model.vocabulary.ids
        added = max(pipeline.added.ids.values(), default=0)
        self.dtype = id_dtype(1 + max(int(ids.max(initial=0)), added))
        self._memory: list[Any] = []  # of threads that are done; pop and append of a list are atomic

    def cut(self, batch: TextBatch) -> list[int]:
        """Returns the bytes at which slices of a batch begin, and the byte at which the last slice ends."""
        from gputok.kernels.cpu.walk import slice_text

        if self._pieces is not None and not self._may_have_added(batch):
            return slice_text(batch.data, batch.offsets, _SLICE_BYTES, self._pieces.of(0)).tolist()
        aims: Positions = np.arange(int(batch.offsets[0]), int(batch.offsets[-1]), _SLICE_BYTES)
        ends = batch.offsets[np.searchsorted(batch.offsets, aims)]
        return np.unique(np.append(ends, batch.offsets[-1])).tolist()

    def of_slice(self, batch: TextBatch, start: int, stop: int) -> tuple[Array, Positions]:
        """Returns the ids of the bytes start:stop of a batch, and the pieces in them, int64[n_pieces + 1]."""
        offsets = batch.offsets
        first, last = np.searchsorted(offsets, start, "right"), np.searchsorted(offsets, stop)
        edges = np.concatenate([[start], offsets[first:last], [stop]])
        ids, ends, _ = self.encode(TextBatch(batch.data, edges))
        return ids, ends

    def cut_for_threads(self, unit: TextBatch, n_bytes: int) -> Cut | None:
        """Cuts documents between pieces, also inside of documents; None: nothing tells where to cut."""
        if self.automaton is None or self._may_have_added(unit):
            return None
        pieces = Pieces.from_batch(unit).without_empty()
        return cut_for_threads(pieces, self.automaton, n_bytes) if pieces.n_pieces else None

    def encode(self, unit: TextBatch) -> tuple[Array, Positions, Positions]:
        """Encodes documents.

        Returns:
            The ids, the pieces in them (int64[n_pieces + 1]), and the documents in the pieces (int64[n_documents + 1]).
        """
        from gputok.kernels.cpu.rewrite import gather
        from gputok.kernels.cpu.split import find_words

        if self._pieces is not None and not self._may_have_added(unit):
            data, offsets = unit
            text = data, find_words(data, offsets, self._pieces.of(int(offsets[-1] - offsets[0]))), None
            rows = np.searchsorted(text[1], offsets)
            pieces = Pieces(data, text[1][:-1], text[1][1:], rows, byte_level=True)
        else:
            pieces = self.pipeline.words(Pieces.from_batch(unit))
            text = *gather(pieces.data, pieces.start, pieces.end), pieces.token
        if self._tables is None or not pieces.byte_level:
            tokens = tokenize(replace(self.pipeline, model=self.model), pieces)
            return tokens.ids.astype(self.dtype, copy=False), tokens.rows, pieces.rows
        return *self._of_pieces(*text), pieces.rows

    def _may_have_added(self, batch: TextBatch) -> bool:
        added = self.pipeline.added
        return bool(added.tokens) and added.may_occur(batch.data[batch.offsets[0] : batch.offsets[-1]])

    def _of_pieces(self, data: Array, offsets: Positions, token: Array | None) -> tuple[Array, Positions]:
        from gputok.kernels.cpu.encode_text import rounds
        from gputok.kernels.cpu.superwords import fit_tokens, new_memory

        try:
            encoder, known = self._memory.pop()
        except IndexError:
            encoder, known = rounds.Encoder(self.dtype, most_lines()), new_memory()
        walk = self._words.of(int(offsets[-1] - offsets[0]))
        encode_words = partial(self.model.encode_words, byte_level=True)
        ids, ends = rounds.encode_text(data, offsets, token, walk, encode_words, encoder)
        ids, ends = fit_tokens(data, offsets, ids, ends, self._tables, known)
        self._memory.append((encoder, known))  # not after an exception, which may leave words without ids
        return ids, ends


def joints_of(model: Any) -> Any:
    """Returns the tables that tell whether tokens of a model fit, a Joints; None: the model can't have them."""
    from gputok.kernels.cpu.superwords import joints

    tables = model.byte_tables
    if (
        tables is None
        or model.ignore_merges
        or model.is_random
        or model.sentencepiece
        or not len(model.merges)
    ):
        return None
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        return None
    symbols = tables.ids[tables.symbols[0].astype(np.int64) - 1]
    return joints(symbols, model.merges, int(model.vocabulary.ids.max()) + 1)
