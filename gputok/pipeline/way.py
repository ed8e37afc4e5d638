"""Finds the Way of a pipeline, which says how its texts are taken apart, and cuts long texts for several threads.

`gputok.text.way` says what a Way is, and how each step of a pipeline contributes to it.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton import Same, compile_pattern
from gputok.kernels.cpu.walk.tables import Walks, prepare
from gputok.kernels.signatures import NamedTuple
from gputok.text.pieces import IDEOGRAPHS, PUNCTUATION, SPACE_PREFIXED_RUN, Pieces, cuts_beside, joined_offsets
from gputok.text.way import Apart, SpaceChange, Unit, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok.kernels import Automaton
    from gputok.kernels.threads import Submit
    from gputok.pipeline.added_vocabulary import AddedVocabulary
    from gputok.types import Array, Positions

_CUTS = {
    Apart.SPACES: SPACE_PREFIXED_RUN,
    Apart.MARKS: cuts_beside(PUNCTUATION),
    Apart.IDEOGRAPHS: cuts_beside(PUNCTUATION + IDEOGRAPHS),
}
"""Where documents may be cut -> the pattern of the parts."""


def way_of(normalizer: Any, pre_tokenizer: Any, added: AddedVocabulary) -> Way:
    """Finds how the steps before a model take a text apart: a way whose unit is WORD, PART, LINE or DOCUMENT.

    Raises ValueError if GPUTOK_WAY is neither "steps" nor empty.
    """
    way = Way()
    if asked := os.environ.get("GPUTOK_WAY"):
        if asked != "steps":
            raise ValueError(f"GPUTOK_WAY must be steps, or not be set; got {asked!r}")
        return way.whole()._replace(by_steps=True)
    for step in (normalizer, pre_tokenizer):
        way = way if step is None else step.way(way)
    # An added token may occur in the normalized text, but not in the raw text: then the raw text may not be cut
    hidden = normalizer is not None and added.finder(True) is not None
    if way.unit == Unit.UNCUT:
        is_line = way.spaces == SpaceChange.WRITTEN and not hidden
        return way._replace(unit=Unit.LINE if is_line else Unit.DOCUMENT)
    if way.unit != Unit.PART:
        return way
    return way.whole() if hidden else way


def walk_of(way: Way) -> Automaton | None:
    """Returns the automaton that finds the units of a way; None: only a model knows them (LINE), or no walk finds them.

    The automaton for PART is compiled at the first call, in 13 ms, and not before: a first short text needs none.
    """
    return automaton_of(way.apart) if way.unit == Unit.PART else way.automaton


def walks_of(automaton: Automaton) -> Walks:
    """Returns the tables for walks; to make them takes 3 ms of Python, so encoding and each count share them."""
    return _walks(Same((automaton,)))


@functools.lru_cache(maxsize=16)
def _walks(of: Same) -> Walks:
    return Walks(*of.automata)


def automaton_of(apart: int) -> Automaton:
    """Returns the automaton that finds the parts of a document; apart: where it may be cut, a value of `Apart`."""
    automaton = compile_pattern(_CUTS[apart])
    assert isinstance(automaton, tuple)  # these patterns never need backtracking
    return automaton


class Cut(NamedTuple):
    """A text that is cut for several threads."""

    pieces: Pieces  # the text, whose long pieces are cut; the pieces follow each other without gaps
    edges: list[int]  # thread i takes the pieces edges[i]:edges[i + 1]

    @property
    def slices(self) -> list[Pieces]:
        """The pieces of each thread."""
        start, end, token = self.pieces.start, self.pieces.end, self.pieces.token
        return [
            self.pieces._replace(
                start=start[first:last],
                end=end[first:last],
                rows=np.arange(last - first + 1),
                token=None if token is None else token[first:last],
            )
            for first, last in itertools.pairwise(self.edges)
        ]

    def joined(self, rows: Sequence[Positions]) -> Positions:
        """Returns the rows of documents in the tokens (or words) of all slices; rows: of the pieces of each slice."""
        return joined_offsets(rows)[self.pieces.rows]


class Sliced(NamedTuple):
    """Documents that are cut for several threads."""

    cut: Cut
    encode: Callable[[Pieces], tuple[Array, Array]]  # returns the ids of a slice, and the rows of its pieces in them

    def begun(self, submit: Submit) -> Callable[[], tuple[Array, Array]]:
        """Hands the slices to threads; returns a function that waits for the ids and rows of the documents."""
        calls = [submit(self.encode, pieces) for pieces in self.cut.slices]

        def found() -> tuple[Array, Array]:
            ids, rows = zip(*[call.result() for call in calls], strict=True)
            return np.concatenate(ids), self.cut.joined(rows)

        return found


def cut_for_threads(pieces: Pieces, automaton: Automaton, n_bytes: int) -> Cut:
    """Cuts text between pieces or at seams (`minimal._strong`), so that each slice can be walked as if it were a text.

    The state of the walk before a seam does not matter, since the walk ends each slice with an end of text. No cut is
    inside an added token. pieces: none is empty, no gaps between them; n_bytes: about how many bytes a slice has.
    """
    from gputok.kernels.cpu.walk.matches import slice_text

    offsets = offsets_of(pieces)
    cuts: Array = slice_text(pieces.data, offsets, n_bytes, prepare(automaton))
    if pieces.token is not None:
        inside = _piece_of(offsets, cuts[1:-1])
        cuts[1:-1] = np.where(pieces.token[inside] >= 0, offsets[inside + 1], cuts[1:-1])
    finer = np.union1d(offsets, cuts)
    piece = _piece_of(offsets, finer[:-1])
    cut = pieces._replace(
        start=finer[:-1],
        end=finer[1:],
        rows=np.searchsorted(finer, offsets)[pieces.rows],
        token=None if pieces.token is None else pieces.token[piece],
    )
    return Cut(cut, np.searchsorted(finer, np.unique(cuts)).tolist())


def _piece_of(offsets: Positions, at: Positions) -> Positions:
    """Returns the number of the piece in which each byte of `at` is."""
    return np.searchsorted(offsets, at, "right") - 1


def offsets_of(pieces: Pieces) -> Positions:
    """Returns int64[n_pieces + 1], the offsets of pieces that follow each other without gaps."""
    return np.append(pieces.start[:1], pieces.end) if pieces.n_pieces else np.zeros(1, np.int64)


def packed(pieces: Pieces) -> Pieces:
    """Returns pieces that follow each other without gaps; copies the text only if it has gaps."""
    from gputok.kernels.cpu.rewrite import gather

    start, end = pieces.start, pieces.end
    if len(start) and np.array_equal(start[1:], end[:-1]):
        return pieces
    data, offsets = gather(pieces.data, start, end)
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:])
