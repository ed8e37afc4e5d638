"""Pre-tokenizers cut text into pieces (words), which a model then tokenizes one by one.

>>> from gputok.pre_tokenizers import Digits, Sequence, WhitespaceSplit
>>> Sequence([WhitespaceSplit(), Digits(individual_digits=True)]).pre_tokenize_str("take 42")
[('take', (0, 4)), ('4', (5, 6)), ('2', (6, 7))]
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gputok.automaton import PATTERNS, compile_literal, compile_pattern
from gputok.automaton.pattern import BEHAVIORS, PATTERN, Regex, cut_rule, matcher, split_words
from gputok.automaton.patterns import SPLITS
from gputok.automaton.ready import BERT_WORDS, named, ready_splits
from gputok.checks import SIZE, character, choice, elements, field, integer, optional, switch, typed
from gputok.components import Chain, Code, Component, OlderMetaspace, call_custom, derived
from gputok.kernels.signatures import NamedTuple
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import Pieces, TextBatch, mark_starts, regroup, rewrite, spell_out, starts_with
from gputok.text.way import Apart, Before, SpaceChange, Unit, Way

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.automaton.syntax import Backtracking
    from gputok.automaton.words import Kind
    from gputok.kernels import Automaton
    from gputok.text.pre_tokenized_string import PreTokenizedString
    from gputok.types import Behavior

__all__ = ["BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace"]
__all__ += ["PreTokenizer", "Punctuation", "Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"]
__all__ += ["mark_starts", "spell_out"]

_NAMED = {name: behavior for behavior, name in BEHAVIORS.items()}
_named = choice(*_NAMED)
BEHAVIOR: dict[str, Any] = {
    "check": choice(*BEHAVIORS),
    "shown": BEHAVIORS.__getitem__,
    "written": BEHAVIORS.__getitem__,
    "read": lambda word: _NAMED[_named(word)],
}
"""The arguments of `gputok.checks.field` for a field that holds the behavior of `Split`."""


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
    kept: ClassVar[Kind | None] = None  # kind of words that become pieces, while other text is removed

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
        """Cuts each piece that is not an added token. No piece of the result is empty, unless a user's code emptied it.

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
        """Returns pieces with the text that `cut` is applied to: some pre-tokenizers, such as Metaspace, change it."""
        return pieces

    def cut(self) -> PatternCut | None:
        """Returns the pattern at whose matches this pre-tokenizer cuts; None: it doesn't cut, or not by one pattern."""
        return None if self.kept is None else PatternCut(_words(self.kept), "removed", invert=True)

    def way(self, after: Way) -> Way:
        """Returns how all steps up to this one take a text apart (`gputok.text.way`); after: how those before it do."""
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
        if any(isinstance(leaf, Custom) for leaf in self.leaves()):  # offsets include what a user's code removes
            from gputok.text.pre_tokenized_string import PreTokenizedString

            text = PreTokenizedString(sequence)
            self.pre_tokenize(text)
            return [(part, offsets) for part, offsets, _ in text.get_splits()]
        batch = TextBatch.from_strings([sequence])
        pieces = spell_out(self.frozen().apply(Pieces.from_batch(batch, aligned=True)))
        if not sequence:
            return [("", (0, 0))] * pieces.n_pieces
        origin = pieces.alignment
        assert origin is not None  # the batch was aligned, and each pre-tokenizer keeps the alignment
        character = np.cumsum((batch.data & 0xC0) != 0x80) - 1  # the number of the character of each byte
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

    In a tokenizer, the user's object gets the normalized text: its `original` is the same as its `normalized`.
    """

    def way(self, after: Way) -> Way:
        return after.whole()

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        call_custom(self.code, "pre_tokenize", pretok)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.text.pre_tokenized_string import PreTokenizedString

        return PreTokenizedString.changed_by(self.pre_tokenize, pieces)


def one_walk(matcher: Automaton | Backtracking, behavior: Behavior, invert: bool = False) -> Automaton | None:
    """Returns the automaton whose matches are all pieces that a pattern makes, without gaps; None: there is none."""
    if not isinstance(matcher, tuple):
        return None
    cut, drop = cut_rule(behavior, invert)
    if matcher.gapless:
        return matcher if cut[1, 1] and not drop[1] else None
    from gputok.automaton.combine import completed  # which imports the compiler of patterns

    apart = cut[0, 1] and cut[1, 0] and cut[1, 1] and not drop.any()
    return completed(matcher) if apart else None


def cut_pieces(pieces: Pieces, matcher: Automaton | Backtracking, behavior: Behavior, invert: bool = False) -> Pieces:
    """Cuts each piece at the matches of a pattern, treated as `behavior` says; invert: exchanges them with the rest."""
    text = pieces.data, pieces.start, pieces.end, pieces.frozen
    return regroup(pieces, *split_words(text, matcher, *cut_rule(behavior, invert)))


class ByteLevel(PreTokenizer):
    """Cuts text at the matches of GPT-2's pattern, and writes each byte as one of 256 visible characters.

    Args:
        add_prefix_space: inserts a space before each piece that doesn't begin with a space.
        trim_offsets: without effect here; the post-processor `ByteLevel` has an option of the same name.
        use_regex: False: writes bytes as characters but doesn't cut the text.

    Other keyword arguments are ignored, as in `tokenizers`.

    Example:
        >>> ByteLevel(add_prefix_space=False).pre_tokenize_str("Hi, é!")
        [('Hi', (0, 2)), (',', (2, 3)), ('ĠÃ©', (3, 5)), ('!', (5, 6))]
    """

    add_prefix_space: bool = field(switch, default=True)
    trim_offsets: bool = field(switch, default=True)
    use_regex: bool = field(switch, default=True, may_lack=True)

    def __init__(
        self, add_prefix_space: bool = True, trim_offsets: bool = True, use_regex: bool = True, **_kwargs: Any
    ) -> None:
        self.add_prefix_space, self.trim_offsets, self.use_regex = add_prefix_space, trim_offsets, use_regex

    @staticmethod
    def alphabet() -> list[str]:
        """Returns the 256 characters, in the order of the bytes that they stand for."""
        return list(BYTE_CHARACTERS)

    def written(self, pieces: Pieces) -> Pieces:
        if self.add_prefix_space:
            bare = (pieces.start < pieces.end) & ~starts_with(pieces, b" ")
            if bare.any():
                pieces = rewrite(pieces, {}, b" ", bare)
        return pieces._replace(byte_level=True)

    def cut(self) -> PatternCut | None:
        return PatternCut(compile_pattern(PATTERNS["gpt2"]), "isolated") if self.use_regex else None

    def way(self, after: Way) -> Way:
        if self.use_regex:
            automaton = compile_pattern(PATTERNS["gpt2"])
            walk = automaton if isinstance(automaton, tuple) and not self.add_prefix_space else None
            return after.cut_by(walk, byte_level=True)
        if after.keeps_whole:
            return after._replace(spaces=SpaceChange.CHANGED, rewritten=True)
        if after.unit == Unit.WORD and not self.add_prefix_space and not after.byte_level:
            return after._replace(byte_level=True)
        return after.cut_by(None)


_BEFORE = {"first": Before.FIRST, "never": Before.NONE, "always": Before.BARE}
_LONGEST = 2**31 - 1  # no piece has more characters


class Metaspace(OlderMetaspace, PreTokenizer):
    """Writes each space as `replacement`, and cuts the text before each `replacement`.

    Args:
        replacement: one character.
        prepend_scheme: which pieces that begin neither with a space nor with `replacement` get a `replacement`
            inserted before them: "always" all of them, "first" those at the start of a document, "never" none.
        split: False: replaces spaces but doesn't cut the text.

    Example:
        >>> Metaspace().pre_tokenize_str("Hello my friend")
        [('▁Hello', (0, 5)), ('▁my', (5, 8)), ('▁friend', (8, 15))]
    """

    replacement: str = field(character, default="▁")
    prepend_scheme: str = field(choice(*_BEFORE), default="always", may_lack=True, shown=str)
    split: bool = field(switch, default=True, may_lack=True, read=optional(switch, True))

    def way(self, after: Way) -> Way:
        # No `replacement` is inserted before a part that begins with a space
        at_start = self.prepend_scheme == "first"
        if self.split:
            found = after.whole() if at_start and not after.keeps_whole else after.cut_at_spaces()
        elif not after.keeps_whole:
            found = after.whole() if at_start else after.cut_by(None)
        else:
            plain = self.replacement == "▁" and after.spaces == SpaceChange.KEPT and after.before == Before.NONE
            before = _BEFORE[self.prepend_scheme] if plain else after.before
            spaces = SpaceChange.WRITTEN if plain else SpaceChange.CHANGED
            found = after._replace(spaces=spaces, before=before, rewritten=True)
        return found._replace(at_start=after.at_start or at_start)

    def written(self, pieces: Pieces) -> Pieces:
        meta = self.replacement.encode()
        bare = (pieces.start < pieces.end) & ~starts_with(pieces, b" ") & ~starts_with(pieces, meta)
        if self.prepend_scheme == "never":
            bare[:] = False
        elif self.prepend_scheme == "first" and pieces.alignment is not None:
            bare[bare] = pieces.alignment.start[pieces.start[bare]] == 0
        elif self.prepend_scheme == "first":
            at_start = np.zeros_like(bare)
            at_start[pieces.rows[:-1][np.diff(pieces.rows) > 0]] = True
            bare &= at_start
        return rewrite(pieces, {ord(" "): meta}, meta, bare)

    def cut(self) -> PatternCut | None:
        return PatternCut(compile_literal(self.replacement), "merged_with_next") if self.split else None


class FixedLength(PreTokenizer):
    """Cuts text into pieces of `length` characters; the last piece may be shorter.

    Args:
        length: the number of characters.

    Example:
        >>> FixedLength(length=3).pre_tokenize_str("Hello")
        [('Hel', (0, 3)), ('lo', (3, 5))]
    """

    length: int = field(integer(0, SIZE), default=5, may_lack=True)

    def _apply(self, pieces: Pieces) -> Pieces:
        if self.length == 0:
            raise ValueError("FixedLength: expected a length of at least 1 character, got 0")
        character = np.flatnonzero((pieces.data & 0xC0) != 0x80)  # the first byte of each character
        first = np.searchsorted(character, pieces.start)
        n_characters = np.searchsorted(character, pieces.end) - first
        length = min(self.length, _LONGEST)
        n_cuts = -(-n_characters // length)
        if pieces.token is not None:
            n_cuts[pieces.token >= 0] = 1
        rows = np.concatenate([[0], np.cumsum(n_cuts)])
        # The number of each new piece within its old piece
        nth = np.arange(rows[-1]) - np.repeat(rows[:-1], n_cuts)
        start = np.append(character, len(pieces.data))[np.repeat(first, n_cuts) + nth * length]
        last = nth + 1 == np.repeat(n_cuts, n_cuts)
        end = np.where(last, np.repeat(pieces.end, n_cuts), np.append(start[1:], 0))
        return regroup(pieces, start, end, rows)


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
        if self.pattern == " " and after.spaces == SpaceChange.WRITTEN and after.keeps_whole and not all_removed:
            return after  # a step before has written all spaces as `▁`, so no space remains to split at
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


def _words(kind: Kind) -> Automaton:
    from gputok.automaton.words import words  # which imports the compiler of patterns

    return words(kind)


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
        return _words("digits" if self.individual_digits else "numbers")


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
        return PatternCut(_words("punctuation"), self.behavior)

    def way(self, after: Way) -> Way:
        if self.behavior == "contiguous":
            return after.cut_by(_words("punctuation runs"))
        return after.cut_by(one_walk(_words("punctuation"), self.behavior))


class Whitespace(PreTokenizer):
    r"""Makes pieces of runs of word characters, and of runs of other characters except white space: `\w+|[^\w\s]+`.

    >>> Whitespace().pre_tokenize_str("Let's go.")
    [('Let', (0, 3)), ("'", (3, 4)), ('s', (4, 5)), ('go', (6, 8)), ('.', (8, 9))]
    """

    kept = "words"

    def way(self, after: Way) -> Way:
        return after.cut_at_spaces()


class WhitespaceSplit(PreTokenizer):
    """Removes white space and cuts the text there.

    >>> WhitespaceSplit().pre_tokenize_str("Hello, you!")
    [('Hello,', (0, 6)), ('you!', (7, 11))]
    """

    kept = "spaceless"

    def way(self, after: Way) -> Way:
        return after.cut_at_spaces()


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

    kept = "scripts"


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

    pretokenizers: ListOf[PreTokenizer] = field(**elements(PreTokenizer))

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
        """Returns the elements; where one walk can replace consecutive elements, the automaton of that walk instead."""
        steps: list[PreTokenizer | Automaton] = []
        for element in self.leaves():
            both = _as_one(steps[-1] if steps else None, element)
            steps = [*steps, element] if both is None else [*steps[:-1], both]
        return steps

    def _apply(self, pieces: Pieces) -> Pieces:
        steps = self._steps()
        later = [step for step in steps[1:] if isinstance(step, PreTokenizer)]
        if pieces.alignment is None and any(step.way(Way()).at_start for step in later):
            return self._apply(mark_starts(pieces))._replace(alignment=None)
        for step in steps:
            is_own = isinstance(step, PreTokenizer)
            pieces = step.apply(pieces) if is_own else cut_pieces(spell_out(pieces), step, "isolated")
        return pieces

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        for element in self.frozen().leaves():
            element.pre_tokenize(pretok)


def _as_one(step: PreTokenizer | Automaton | None, element: PreTokenizer) -> Automaton | None:
    """Returns the automaton of one walk that cuts as two steps do one after the other, or None."""
    if step is None or isinstance(element, ByteLevel):  # ByteLevel also writes bytes as characters
        return None
    first = step.way(Way()) if isinstance(step, PreTokenizer) else Way().cut_by(step)
    return None if first.unit != Unit.WORD else element.way(first).automaton


def _isolated(element: PreTokenizer) -> str | None:
    """Returns the pattern of a `Split` that only makes the matches pieces of their own; None for all else."""
    if not isinstance(element, Split) or element.behavior != "isolated" or element.invert:
        return None
    return element.pattern.pattern if isinstance(element.pattern, Regex) else None
