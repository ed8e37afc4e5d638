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
    from gputok.kernels import Automaton
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Bytes, Positions


_FEW = 100
"""Of so many merges, one or more must make a superword. Other vocabularies have a few tokens of white space that look like
superwords, such as a no-break space before a space."""

_UTF8_LENGTHS = np.repeat(np.array([1, 0, 2, 3, 4, 0], np.uint8), [0x80, 0x42, 0x1E, 0x10, 5, 11])
"""The bytes of a character, by its first byte; 0: no character begins with this byte."""


class BySuperwords:
    """Encodes by the merges of words, and then by those that span words.

    Args:
        pipeline: the parts of the tokenizer.
        model: its model.
        n_first: how many merges to look words up for.
    """

    def __init__(self, pipeline: Pipeline, model: BPE, n_first: int) -> None:
        from gputok.kernels.cpu.superwords import run_tables

        self._tokens = WordTokens(pipeline, _words(), model.with_first_merges(n_first))
        self._tables: Any = run_tables(model.merges[n_first:], int(model.vocabulary.ids.max()) + 1)
        self._known: list[Any] = []  # of threads that are done; pop and append of a list are atomic

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Makes the engine; returns None if few merges span words, or the vocabulary isn't merged byte by byte."""
        model = pipeline.model
        if not isinstance(model, BPE) or (tables := joints_of(model)) is None:
            return None
        first = first_superword(tables.text, tables.begin[256:])
        return None if first is None or first == 0 else cls(pipeline, model, first)

    def encode(self, unit: TextBatch) -> tuple[Array, Array]:
        """Returns the ids and rows of documents."""
        from gputok.kernels.cpu.superwords import merge_runs, new_runs

        try:
            known = self._known.pop()
        except IndexError:
            known = new_runs()
        found = merge_runs(*self._tokens.encode(unit), self._tables, known)
        self._known.append(known)
        return found

    def sliced(self, unit: TextBatch, n_bytes: int) -> Sliced | None:
        """Cuts documents into slices of about `n_bytes`, also inside of documents; None: nothing tells where to cut."""
        cut = self._tokens.cut_for_threads(unit, n_bytes)
        return None if cut is None else Sliced(cut, self._encode_pieces)

    def _encode_pieces(self, pieces: Pieces) -> tuple[Array, Array]:
        return self.encode(TextBatch(pieces.data, offsets_of(pieces)))


def _words() -> Automaton:
    automaton = compile_pattern(PATTERNS["cl100k"])
    assert isinstance(automaton, tuple)  # this pattern never needs backtracking
    return automaton


def first_superword(text: Bytes, begin: Positions) -> int | None:
    """Returns from which token on more tokens span words than not, or None if there are few that do.

    The first stage of training makes hardly any token of several words, and the second stage hardly any other. Any number
    gives the same ids, by `WordTokens`; this one gives them fast.

    Args:
        text: the bytes of tokens.
        begin: where those of each token of a merge, by rank, begin in them, int64[n_merges + 1].
    """
    from gputok.kernels.cpu.split import find_words
    from gputok.kernels.cpu.walk import prepare

    if len(begin) < 2:
        return None
    begin, text = begin - begin[0], text[begin[0] :].copy()
    text[np.repeat(_is_broken(text, begin), np.diff(begin))] = ord("a")
    words = find_words(text, begin, prepare(_words()))
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
