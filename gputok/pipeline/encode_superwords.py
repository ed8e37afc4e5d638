"""Encodes a corpus by a vocabulary of superwords: the tokens of words first, which are looked up, then those of phrases.

A piece of text, as superwords need it, has many words and hardly occurs twice, so that its tokens can't be looked up. But the
first merges of such a vocabulary were learned from words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.automaton import PATTERNS, compile_pattern
from gputok.models.bpe.model import BPE
from gputok.pipeline.way import Sliced, offsets_of
from gputok.pipeline.word_tokens import WordTokens, joints_of
from gputok.text.pieces import Pieces, TextBatch

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array


_FEW = 100
"""Of so many merges, one or more must make a superword. Other vocabularies have a few tokens of white space that look like
superwords, such as a no-break space before a space."""


class BySuperwords:
    """Encodes by the merges of words, and then by those that span words.

    Args:
        pipeline: the parts of the tokenizer.
        model: its model.
        n_first: how many merges span no words, and come before all that do.
    """

    def __init__(self, pipeline: Pipeline, model: BPE, n_first: int) -> None:
        from gputok.kernels.cpu.superwords import run_tables

        words = compile_pattern(PATTERNS["cl100k"])
        assert isinstance(words, tuple)  # this pattern never needs backtracking
        self._tokens = WordTokens(pipeline, words, model.with_first_merges(n_first))
        self._tables: Any = run_tables(model.merges[n_first:], int(model.vocabulary.ids.max()) + 1)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Makes the engine; returns None if no merge spans words, or the vocabulary isn't merged byte by byte."""
        model = pipeline.model
        if not isinstance(model, BPE):
            return None
        ranks = superword_ranks(model)
        # With fewer, looking words up is faster
        if (
            len(ranks) == 0
            or len(ranks) < len(model.merges) // _FEW
            or ranks[0] == 0
            or joints_of(model) is None
        ):
            return None
        return cls(pipeline, model, int(ranks[0]))

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of documents."""
        from gputok.kernels.cpu.superwords import merge_runs

        ids, ends, rows = self._tokens.encode(unit)
        ids, ends = merge_runs(ids, ends, self._tables)
        return ids, ends[rows]

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Cuts documents into slices of about `n_bytes`, also inside of documents; None: nothing tells where to cut."""
        cut = self._tokens.cut_for_threads(unit, n_bytes)
        return None if cut is None else Sliced(cut, self._encode_pieces)

    def _encode_pieces(self, pieces: Pieces) -> tuple[Array, Array]:
        return self.encode(TextBatch(pieces.data, offsets_of(pieces)))


def superword_ranks(model: BPE) -> Array:
    """Returns the ranks of the merges whose tokens have a space after something else than white space, rising."""
    vocabulary = model.vocabulary
    data, merged = vocabulary.data, model.merges[:, 2]
    # `Ġ`, which stands for a space, is C4 A0 in UTF-8; ĉ, Ċ, č stand for tab and ends of lines: C4 89, C4 8A, C4 8D
    at = np.flatnonzero((data[:-1] == 0xC4) & (data[1:] == 0xA0))
    token = np.searchsorted(vocabulary.offsets, at, "right") - 1
    inside = at > vocabulary.offsets[token]
    at, token = at[inside], token[inside]
    white = (data[at - 2] == 0xC4) & np.isin(data[at - 1], [0xA0, 0x89, 0x8A, 0x8D])
    white &= at - 1 > vocabulary.offsets[token]
    ids = np.unique(vocabulary.ids[token[~white]])
    return np.flatnonzero(np.isin(merged, ids))
