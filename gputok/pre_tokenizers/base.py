"""PreTokenizer, the base class of all pre-tokenizers, and the operation that most of them use: cutting at matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gputok.automaton.pattern import BEHAVIORS, cut_rule, split_words
from gputok.checks import choice, typed
from gputok.components import Code, Component, call_custom
from gputok.kernels.signatures import NamedTuple
from gputok.text.pieces import Pieces, TextBatch, regroup, spell_out
from gputok.text.way import Way

if TYPE_CHECKING:
    from gputok.automaton.syntax import Backtracking
    from gputok.kernels import Automaton
    from gputok.text.pre_tokenized_string import PreTokenizedString
    from gputok.types import Behavior

_NAMED = {name: behavior for behavior, name in BEHAVIORS.items()}
_named = choice(*_NAMED)
BEHAVIOR: dict[str, Any] = {
    "check": choice(*BEHAVIORS),
    "shown": BEHAVIORS.__getitem__,
    "written": BEHAVIORS.__getitem__,
    "read": lambda word: _NAMED[_named(word)],
}
"""The arguments of `gputok.checks.field` for a behavior."""


class PatternCut(NamedTuple):
    """Where a pre-tokenizer cuts pieces: at the matches of one pattern."""

    matcher: Automaton | Backtracking
    behavior: Behavior  # the treatment of a match, as in `Split`
    invert: bool = False  # treats the text between matches as the matches


class PreTokenizer(Component):
    """Base class of all pre-tokenizers, which cut pieces of text into smaller pieces.

    Tokenizers call `apply`, which works on packed arrays. `pre_tokenize_str` shows the result to a person;
    `pre_tokenize` is for components written in Python.
    """

    kind: ClassVar[str] = "pre-tokenizer"
    home: ClassVar[str] = "gputok.pre_tokenizers"

    @staticmethod
    def custom(pretok: Any) -> PreTokenizer:
        """Makes a pre-tokenizer from an object that a user wrote in Python.

        Args:
            pretok: an object with the method `pre_tokenize(self, pretok: PreTokenizedString) -> None`, which changes
                its argument in place.

        Returns:
            A pre-tokenizer that calls the object. It cannot be saved.

        Example:
            >>> class Halves:
            ...     def pre_tokenize(self, pretok):
            ...         pretok.split(lambda i, text: text.split("|", "removed"))
            >>> PreTokenizer.custom(Halves()).pre_tokenize_str("left|right")
            [('left', (0, 4)), ('right', (5, 10))]
        """
        return Custom(pretok)

    def apply(self, pieces: Pieces) -> Pieces:
        """Cuts each piece that is not an added token. The result has no empty pieces.

        A pre-tokenizer that must know which pieces start a document (`Way.at_start`) finds that in `pieces.alignment`.
        Without an alignment, it assumes that the first piece of each document starts the document; call `mark_starts`
        first if a normalizer may have stripped the text.
        """
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        cut = self.cut()
        if cut is None and type(self).written is PreTokenizer.written:
            raise NotImplementedError
        pieces = self.written(pieces)
        return pieces.without_empty() if cut is None else cut_pieces(pieces, *cut)

    def written(self, pieces: Pieces) -> Pieces:
        """Returns the text as it is cut at the matches of `cut`: a pre-tokenizer may change the text first."""
        return pieces

    def cut(self) -> PatternCut | None:
        """Returns the one pattern at whose matches this pre-tokenizer cuts; None: it does something else, or more."""
        return None

    def way(self, after: Way) -> Way:
        """Returns how this pre-tokenizer and the steps before it take a text apart.

        Args:
            after: how the steps before it do.
        """
        return after.cut_by(None)

    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, tuple[int, int]]]:
        """Cuts a string into pieces.

        Args:
            sequence: the text.

        Returns:
            (piece, (start, end)) in order; the piece stands for the characters start:end of `sequence`.

        Raises:
            TypeError: if `sequence` is not a string.
        """
        typed("sequence", str, sequence)
        batch = TextBatch.from_strings([sequence])
        pieces = spell_out(self.frozen().apply(Pieces.from_batch(batch, aligned=True)))
        if not sequence:
            return [("", (0, 0))] * pieces.n_pieces
        origin = pieces.alignment
        assert origin is not None  # the batch was aligned, and each pre-tokenizer keeps the alignment
        character = np.cumsum((batch.data & 0xC0) != 0x80) - 1  # of each byte
        first = character[origin.start[pieces.start]]
        stop = character[origin.end[pieces.end - 1] - 1] + 1
        return list(zip(pieces.strings(), zip(first.tolist(), stop.tolist(), strict=True), strict=True))

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cuts a PreTokenizedString in place.

        Args:
            pretok: the text; its splits that already have tokens stay as they are.
        """
        now = self.frozen()
        pretok.cut(now.apply, whole=now.way(Way()).keeps_whole)


class Custom(Code, PreTokenizer):
    """A pre-tokenizer that a user wrote in Python, whose object gets whole documents.

    In a tokenizer, the user's object gets the normalized text: `original` and `normalized` are the same text.
    """

    def way(self, after: Way) -> Way:
        return after.whole()

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        call_custom(self.code, "pre_tokenize", pretok)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.text.pre_tokenized_string import PreTokenizedString

        return PreTokenizedString.changed_by(self.pre_tokenize, pieces)


def one_walk(matcher: Automaton | Backtracking, behavior: Behavior, invert: bool = False) -> Automaton | None:
    """Returns the automaton whose matches are what a pattern cuts text into, or None if one walk does not suffice."""
    if not isinstance(matcher, tuple):
        return None
    cut, drop = cut_rule(behavior, invert)
    if matcher.gapless:
        return matcher if cut[1, 1] and not drop[1] else None
    from gputok.automaton.combine import completed  # which imports the compiler of patterns

    apart = cut[0, 1] and cut[1, 0] and cut[1, 1] and not drop.any()
    return completed(matcher) if apart else None


def cut_pieces(pieces: Pieces, matcher: Automaton | Backtracking, behavior: Behavior, invert: bool = False) -> Pieces:
    """Cuts each piece at the matches of a pattern: of an automaton, or, in rare cases, of a backtracking pattern.

    behavior: the treatment of matches; invert: exchanges matches and the text between them.
    """
    text = pieces.data, pieces.start, pieces.end, pieces.frozen
    return regroup(pieces, *split_words(text, matcher, *cut_rule(behavior, invert)))
