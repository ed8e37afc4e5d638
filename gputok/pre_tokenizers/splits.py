"""Pre-tokenizers that cut text at the matches of a pattern or of a set of characters, and several pre-tokenizers in order."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gputok.automaton import compile_literal
from gputok.automaton.pattern import PATTERN, Regex, matcher
from gputok.automaton.patterns import SPLITS
from gputok.automaton.ready import BERT_WORDS, named, ready_splits
from gputok.checks import character, field, instances, switch
from gputok.components import Chain, derived
from gputok.pre_tokenizers.base import BEHAVIOR, PatternCut, PreTokenizer, cut_pieces, one_walk
from gputok.pre_tokenizers.byte_level import ByteLevel
from gputok.text.pieces import mark_starts, spell_out
from gputok.text.way import Apart, SpaceChange, Unit, Way

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.automaton import Backtracking
    from gputok.kernels import Automaton
    from gputok.text.pieces import Pieces
    from gputok.text.pre_tokenized_string import PreTokenizedString
    from gputok.types import Behavior


class Split(PreTokenizer):
    r"""Cuts text at the matches of a pattern.

    The patterns of well-known tokenizers take time proportional to the length of the text, for any text.

    Args:
        pattern: a string, which matches itself, or a `Regex`.
        behavior: the treatment of a match: "removed", "isolated" (the match is a piece), "merged_with_previous" (the
            match is the end of the piece before it), "merged_with_next", or "contiguous" (neighbouring matches are one
            piece together).
        invert: treats the text between matches as the matches, and the matches as the text between them.

    Example:
        >>> from gputok import Regex
        >>> Split(",", "removed").pre_tokenize_str("one,two,three")
        [('one', (0, 3)), ('two', (4, 7)), ('three', (8, 13))]
        >>> Split(Regex(r"\s+"), behavior="isolated").pre_tokenize_str("hello   world")
        [('hello', (0, 5)), ('   ', (5, 8)), ('world', (8, 13))]
    """

    pattern: str | Regex = field(**PATTERN)
    behavior: Behavior = field(**BEHAVIOR)
    invert: bool = field(switch, default=False)

    @derived
    def _matcher(self) -> Automaton | Backtracking:
        return matcher(self.pattern)

    def cut(self) -> PatternCut:
        return PatternCut(self._matcher, self.behavior, self.invert)

    def way(self, after: Way) -> Way:
        all_removed = self.behavior == "removed" and self.invert
        if self.pattern == " " and after.spaces is SpaceChange.WRITTEN and after.keeps_whole and not all_removed:
            return after  # there are no spaces left to split at
        return after.cut_by(one_walk(self._matcher, self.behavior, self.invert))


class CharDelimiterSplit(PreTokenizer):
    """Removes each occurrence of one character and cuts the text there, as `str.split` does, but without empty strings.

    Args:
        delimiter: the character.

    Example:
        >>> CharDelimiterSplit("x").pre_tokenize_str("helloxthere")
        [('hello', (0, 5)), ('there', (6, 11))]
    """

    delimiter: str = field(character)

    def cut(self) -> PatternCut:
        return PatternCut(compile_literal(self.delimiter), "removed")


class Digits(PreTokenizer):
    """Makes numbers pieces of their own. All characters that Unicode calls numeric are digits.

    Args:
        individual_digits: makes each digit a piece.

    Example:
        >>> Digits().pre_tokenize_str("Call 123 please")
        [('Call ', (0, 5)), ('123', (5, 8)), (' please', (8, 15))]
    """

    individual_digits: bool = field(switch, default=False)

    def cut(self) -> PatternCut:
        return PatternCut(self._numbers, "isolated")

    def way(self, after: Way) -> Way:
        return after.cut_by(self._numbers)

    @property
    def _numbers(self) -> Automaton:
        from gputok.automaton import words

        return words.numbers(self.individual_digits)


class Punctuation(PreTokenizer):
    """Cuts text at punctuation marks, each of which is one match.

    Args:
        behavior: the treatment of a match, as in `Split`.

    Example:
        >>> Punctuation().pre_tokenize_str("Hey, you?!")
        [('Hey', (0, 3)), (',', (3, 4)), (' you', (4, 8)), ('?', (8, 9)), ('!', (9, 10))]
    """

    behavior: Behavior = field(**BEHAVIOR, default="isolated", may_lack=True)

    def cut(self) -> PatternCut:
        from gputok.automaton import words

        return PatternCut(words.punctuation(), self.behavior)

    def way(self, after: Way) -> Way:
        from gputok.automaton import words

        contiguous = self.behavior == "contiguous"
        return after.cut_by(words.punctuation_runs() if contiguous else one_walk(words.punctuation(), self.behavior))


class Whitespace(PreTokenizer):
    r"""Makes pieces of runs of word characters, and of runs of other characters except white space: `\w+|[^\w\s]+`.

    >>> Whitespace().pre_tokenize_str("Let's go.")
    [('Let', (0, 3)), ("'", (3, 4)), ('s', (4, 5)), ('go', (6, 8)), ('.', (8, 9))]
    """

    def way(self, after: Way) -> Way:
        return after.cut_at_spaces()

    def cut(self) -> PatternCut:
        from gputok.automaton import words

        return PatternCut(words.whitespace_words(), "removed", invert=True)


class WhitespaceSplit(PreTokenizer):
    """Removes white space and cuts the text there.

    >>> WhitespaceSplit().pre_tokenize_str("Hello, you!")
    [('Hello,', (0, 6)), ('you!', (7, 11))]
    """

    def way(self, after: Way) -> Way:
        return after.cut_at_spaces()

    def cut(self) -> PatternCut:
        from gputok.automaton import words

        return PatternCut(words.between_spaces(), "removed", invert=True)


class BertPreTokenizer(PreTokenizer):
    """Removes white space and cuts the text there; each punctuation mark becomes a piece.

    >>> BertPreTokenizer().pre_tokenize_str("I'm here.")
    [('I', (0, 1)), ("'", (1, 2)), ('m', (2, 3)), ('here', (4, 8)), ('.', (8, 9))]
    """

    def way(self, after: Way) -> Way:
        return after.cut_at_spaces(Apart.IDEOGRAPHS)

    def cut(self) -> PatternCut:
        return PatternCut(_bert_words(), "removed", invert=True)


class UnicodeScripts(PreTokenizer):
    """Cuts text between two scripts; Hiragana and Katakana count as Han.

    Spaces, and characters that belong to no script, stay with the piece before them; at the start of a text they are
    removed.

    >>> UnicodeScripts().pre_tokenize_str("どこ Where")
    [('どこ ', (0, 3)), ('Where', (3, 8))]
    """

    def cut(self) -> PatternCut:
        from gputok.automaton import words

        return PatternCut(words.script_runs(), "removed", invert=True)


@functools.cache
def _bert_words() -> Automaton:
    found = named(BERT_WORDS)
    assert found is not None
    return found


class Sequence(Chain, PreTokenizer):
    """Applies pre-tokenizers one after the other: each of them cuts the pieces that the one before it made.

    The elements can be read and replaced by index, and are the same objects that were passed.

    Args:
        pretokenizers: the elements; a Sequence among them is replaced by its elements.

    Example:
        >>> from gputok.pre_tokenizers import Punctuation, Whitespace
        >>> Sequence([Whitespace(), Punctuation()]).pre_tokenize_str("Hi, you!?")
        [('Hi', (0, 2)), (',', (2, 3)), ('you', (4, 7)), ('!', (7, 8)), ('?', (8, 9))]
    """

    pretokenizers: ListOf[PreTokenizer] = field(instances(PreTokenizer))

    def __init__(self, pretokenizers: list[PreTokenizer]) -> None:
        self.pretokenizers = self._flat(pretokenizers)

    def way(self, after: Way) -> Way:
        elements = [*self.pretokenizers]
        for patterns in SPLITS:
            n = len(patterns)
            if tuple(map(_isolated, elements[:n])) == patterns:
                after, elements = after.cut_by(ready_splits(patterns)), elements[n:]
        for element in elements:
            after = element.way(after)
        return after

    def _steps(self) -> list[PreTokenizer | Automaton]:
        """Returns the elements; consecutive elements that one walk can replace are the automaton of that walk."""
        steps: list[PreTokenizer | Automaton] = []
        for element in self.leaves():
            last = steps[-1] if steps else None
            both = _as_one(last, element)
            if both is None:
                steps.append(element)
            else:
                steps[-1] = both
        return steps

    def _apply(self, pieces: Pieces) -> Pieces:
        steps = self._steps()
        later = [step for step in steps[1:] if isinstance(step, PreTokenizer)]
        if pieces.alignment is None and any(step.way(Way()).at_start for step in later):
            return self._apply(mark_starts(pieces))._replace(alignment=None)
        for step in steps:
            pieces = (
                step.apply(pieces)
                if isinstance(step, PreTokenizer)
                else cut_pieces(spell_out(pieces), step, "isolated")
            )
        return pieces

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        for element in self.frozen().leaves():
            element.pre_tokenize(pretok)


def _as_one(step: PreTokenizer | Automaton | None, element: PreTokenizer) -> Automaton | None:
    """Returns the one walk that cuts as two steps do, or None."""
    if step is None or isinstance(element, ByteLevel):  # ByteLevel also writes bytes as characters
        return None
    first = step.way(Way()) if isinstance(step, PreTokenizer) else Way().cut_by(step)
    return None if first.unit is not Unit.WORD else element.way(first).automaton


def _isolated(element: PreTokenizer) -> str | None:
    """Returns the pattern whose matches an element makes pieces of their own, or None."""
    if not isinstance(element, Split) or element.behavior != "isolated" or element.invert:
        return None
    return element.pattern.pattern if isinstance(element.pattern, Regex) else None
