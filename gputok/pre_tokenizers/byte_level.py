"""The pre-tokenizers that write text in other characters, ByteLevel and Metaspace, and FixedLength, which needs no pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.automaton import PATTERNS, compile_literal, compile_pattern
from gputok.checks import SIZE, WrongValue, character, choice, field, integer, optional, switch
from gputok.pre_tokenizers.base import PatternCut, PreTokenizer
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import regroup, rewrite, starts_with
from gputok.text.way import Before, SpaceChange, Unit

if TYPE_CHECKING:
    from gputok.text.pieces import Pieces
    from gputok.text.way import Way


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

    add_prefix_space: bool = field(switch)
    trim_offsets: bool = field(switch)
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
        if after.unit is Unit.WORD and not self.add_prefix_space and not after.byte_level:
            return after._replace(byte_level=True)
        return after.cut_by(None)


_BEFORE = {"first": Before.FIRST, "never": Before.NONE, "always": Before.BARE}
_LONGEST = 2**31 - 1  # no piece has more characters


class Metaspace(PreTokenizer):
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

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a pre-tokenizer from its JSON form; older files also contain `add_prefix_space` and `str_rep`."""
        if value.get("add_prefix_space") is False and value.get("prepend_scheme") != "never":
            raise WrongValue("is false, which does not match prepend_scheme", "add_prefix_space")
        return super().from_dict(value)

    def way(self, after: Way) -> Way:
        # No `replacement` is inserted before a part that begins with a space
        at_start = self.prepend_scheme == "first"
        if self.split:
            found = after.whole() if at_start and not after.keeps_whole else after.cut_at_spaces()
        elif not after.keeps_whole:
            found = after.whole() if at_start else after.cut_by(None)
        else:
            plain = self.replacement == "▁" and after.spaces is SpaceChange.KEPT and after.before is Before.NONE
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
        # Each new piece's number within its old piece
        nth = np.arange(rows[-1]) - np.repeat(rows[:-1], n_cuts)
        start = np.append(character, len(pieces.data))[np.repeat(first, n_cuts) + nth * length]
        last = nth + 1 == np.repeat(n_cuts, n_cuts)
        end = np.where(last, np.repeat(pieces.end, n_cuts), np.append(start[1:], 0))
        return regroup(pieces, start, end, rows)
