"""ByteLevel, GPT-2's pre-tokenizer: it writes each byte as a visible character, so that no text is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.automaton import PATTERNS, compile_pattern
from gputok.checks import field, switch
from gputok.pre_tokenizers.base import PatternCut, PreTokenizer
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import rewrite, starts_with
from gputok.text.way import SpaceChange, Unit

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
