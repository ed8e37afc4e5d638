"""What every pre-tokenizer is, and the cut that most of them are."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from gputok.components import Component, call_custom
from gputok.fields import checked, choice
from gputok.text.pieces import Alignment, Pieces, TextBatch, regroup, spell_out
from gputok.text.pre_tokenized_string import PreTokenizedString
from gputok.types import Array, public

if TYPE_CHECKING:
    from gputok.automaton import Backtracking
    from gputok.kernels import Automaton

# Between two spans of a text, the first and the second being a match (1) or not (0): is there a cut?
_CUTS = {
    "removed": ((1, 1), (1, 1)),
    "isolated": ((1, 1), (1, 1)),
    "merged_with_previous": ((1, 0), (1, 1)),
    "merged_with_next": ((1, 1), (0, 1)),
    "contiguous": ((0, 1), (1, 0)),
}
# The word of each behavior in JSON and in a `repr`.
BEHAVIORS = {name: name.title().replace("_", "") for name in _CUTS}


_OPTIONAL = {"use_regex", "prepend_scheme", "split", "length"}  # fields that a file may leave out


@public("gputok.pre_tokenizers")
class SplitPlan(NamedTuple):
    """A pre-tokenizer that is one walk over the raw text, each match a word: what the fused kernels take."""

    automaton: Automaton
    byte_level: bool  # are the words' bytes to be read as characters of the ByteLevel alphabet?


class Cut(NamedTuple):
    """A cut at the matches of a pattern; see `Split`."""

    matcher: Automaton | Backtracking
    behavior: str
    invert: bool = False


class PreTokenizer(Component):
    """Base of all pre-tokenizers: what cuts pieces of text into smaller ones.

    `apply` works on packed arrays, and is what a tokenizer calls; the other two methods are for eyes and for
    components written in Python.
    """

    kind: ClassVar[str] = "pre-tokenizer"
    home: ClassVar[str] = "gputok.pre_tokenizers"
    needs_alignment: bool = False
    """Does `apply` ask whether a piece lies at the start of its document, and so for `pieces.alignment`?

    Without it, the first piece of each document is taken to lie there, which a normalizer that strips the text can
    make wrong: `mark_starts` before it is enough.
    """

    keeps_whole: bool = False
    """Is each piece changed but never cut, and so keeps the part of the text that it comes from?"""

    apart_at_spaces: bool = False
    """Can a document be cut before each space (U+0020) and its parts be worked on as documents, with the same pieces?"""

    @staticmethod
    def custom(pretok: Any) -> PreTokenizer:
        """A pre-tokenizer written in Python: any object with `pre_tokenize(self, pretok: PreTokenizedString)`.

        >>> class Halves:
        ...     def pre_tokenize(self, pretok):
        ...         pretok.split(lambda i, text: text.split("|", "removed"))
        >>> PreTokenizer.custom(Halves()).pre_tokenize_str("left|right")
        [('left', (0, 4)), ('right', (5, 10))]
        """
        return Custom(pretok)

    @classmethod
    def _required(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if field.name not in _OPTIONAL]

    def apply(self, pieces: Pieces) -> Pieces:
        """Cuts each piece that is not an added token; empty pieces are left out."""
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        cut = self.cut()
        if cut is None:
            raise NotImplementedError
        return cut_pieces(pieces, *cut)

    def cut(self) -> Cut | None:
        """The one cut that this is, or None if it is something else."""
        return None

    def plan(self) -> SplitPlan | None:
        """How the fused kernels do the same to raw text in one walk, or None where that is not enough."""
        return None

    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, tuple[int, int]]]:
        """The pieces of a text, each with the range of characters of `sequence` that it stands for."""
        if not isinstance(sequence, str):
            raise TypeError(f"sequence: '{type(sequence).__name__}' object is not an instance of 'str'")
        batch = TextBatch.from_strings([sequence])
        pieces = spell_out(self.frozen().apply(Pieces.from_batch(batch, aligned=True)))
        if not sequence:
            return [("", (0, 0))] * pieces.n_pieces
        character = np.cumsum((batch.data & 0xC0) != 0x80) - 1  # of each byte
        first = character[pieces.alignment.start[pieces.start]]
        stop = character[pieces.alignment.end[pieces.end - 1] - 1] + 1
        return list(zip(pieces.strings(), zip(first.tolist(), stop.tolist(), strict=True), strict=True))

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cuts, in place, the splits of `pretok` that have no tokens yet."""
        now = self.frozen()
        pretok.cut(now.apply, whole=now.keeps_whole)


class Custom(PreTokenizer):
    """An object with a method `pre_tokenize(pretok)`; it has no JSON form, and can't be pickled.

    In a tokenizer, the text that it sees is the normalized one: `original` is the same as `normalized`.
    """

    in_files = False

    def __init__(self, pretok: Any) -> None:
        self.pretok = pretok

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        call_custom(self.pretok, "pre_tokenize", pretok)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"PreTokenizer.custom({self.pretok!r})"

    def to_dict(self) -> NoReturn:
        raise TypeError(f"a custom pre-tokenizer has no JSON form: {self.pretok!r}")

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.rewrite import gather

        data, offsets = gather(pieces.data, pieces.start, pieces.end)
        token = np.full(pieces.n_pieces, -1) if pieces.token is None else pieces.token
        # (bytes, where each of them begins and ends in `data`, token) of the new pieces
        parts, n_parts = [], []
        for first, last in itertools.pairwise(pieces.rows.tolist()):
            begin = offsets[first]
            text = PreTokenizedString.of(
                data[begin : offsets[last]], offsets[first : last + 1] - begin, token[first:last]
            )
            self.pre_tokenize(text)
            new = [
                (
                    split.normalized_bytes()[a:b],
                    *(side[a:b] + (begin + split.original_shift) for side in split.alignment()),
                    id,
                )
                for split, tokens in text._splits
                for a, b, id in ([(0, None, -1)] if tokens is None else [(*t.offsets, t.id) for t in tokens])
            ]
            parts += new
            n_parts.append(len(new))
        ends = np.cumsum([0, *(len(part) for part, *_ in parts)], dtype=np.int64)
        columns = [*zip(*parts, strict=True)] or [(), (), (), ()]
        part_data, start, end = (np.concatenate([np.zeros(0, np.int64), *column]) for column in columns[:3])
        new_token = np.array(columns[3], np.int64)
        return Pieces(
            part_data.astype(np.uint8),
            ends[:-1],
            ends[1:],
            np.cumsum([0, *n_parts], dtype=np.int64),
            None if (new_token < 0).all() else new_token,
            pieces.alignment and _composed(pieces, offsets, start, end),
        )


def _composed(pieces: Pieces, offsets: np.ndarray, start: np.ndarray, end: np.ndarray) -> Alignment:
    """What the bytes start[i]:end[i] (int64[n]) of the packed pieces come from; an empty range has an empty origin."""
    packed = np.arange(offsets[-1]) + np.repeat(pieces.start - offsets[:-1], np.diff(offsets))
    if not len(packed):
        return Alignment(start.astype(np.int32), end.astype(np.int32))
    from_start, from_end = pieces.alignment.start[packed], pieces.alignment.end[packed]
    first = from_start[np.minimum(start, len(packed) - 1)]
    return Alignment(first, np.where(start < end, from_end[np.maximum(end, 1) - 1], first))


def read_behavior(word: Any) -> str:
    """A behavior from the word for it in JSON."""
    names = {name: behavior for behavior, name in BEHAVIORS.items()}
    return names[checked("behavior", choice(*names), word)]


@functools.cache
def cut_rule(behavior: str, invert: bool = False) -> tuple[Array, Array]:
    """(cut bool[2, 2], drop bool[2]): how the kernels are told of a behavior; `invert` swaps matches and the rest."""
    cut, drop = np.array(_CUTS[behavior], bool), np.array([False, behavior == "removed"])
    return (cut[::-1, ::-1], drop[::-1]) if invert else (cut, drop)


def cut_pieces(
    pieces: Pieces, matcher: Automaton | Backtracking, behavior: str, invert: bool = False
) -> Pieces:
    """Cuts each piece where an automaton, or in rare cases a backtracking pattern, finds its matches."""
    if isinstance(matcher, tuple):
        from gputok.kernels.cpu.split import split_words
    else:
        from gputok.automaton.pattern import split_words
    rule = cut_rule(behavior, invert)
    start, end, rows = split_words(pieces.data, pieces.start, pieces.end, pieces.frozen, matcher, *rule)
    return regroup(pieces, start, end, rows)
