"""Normalizers that insert, replace or remove text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok.automaton.pattern import PATTERN, Regex
from gputok.checks import field, string, switch
from gputok.normalizers.base import Normalizer
from gputok.text.edit import prepend, replace, strip
from gputok.text.way import Apart, Before, SpaceChange

if TYPE_CHECKING:
    from gputok.text.pieces import Pieces
    from gputok.text.way import Way


class Prepend(Normalizer):
    """Inserts a string before the text, unless the text is empty.

    Args:
        prepend: the string. The empty string changes no text, but gives the first character an empty range of offsets,
            as in `tokenizers`.

    Example:
        >>> Prepend("▁").normalize_str("hello")
        '▁hello'
    """

    prepend: str = field(string, default="▁")

    def way(self, after: Way) -> Way:
        plain = after.spaces is SpaceChange.KEPT and after.before is Before.NONE
        if self.prepend == "▁" and plain:
            return after._replace(apart=Apart.NOWHERE, before=Before.ANY)
        return after.changed()

    def _apply(self, pieces: Pieces) -> Pieces:
        return prepend(pieces, self.prepend)


class Replace(Normalizer):
    r"""Replaces each match of a pattern.

    Args:
        pattern: a string, which matches itself, or a `Regex`.
        content: the text that replaces each match, character for character: `\1` and `$1` have no special meaning.

    Example:
        >>> Replace("``", '"').normalize_str("``so''")
        '"so\'\''
    """

    pattern: str | Regex = field(**PATTERN)
    content: str = field(string)

    def way(self, after: Way) -> Way:
        if self.pattern == " " and self.content == "▁" and after.spaces is SpaceChange.KEPT:
            return after._replace(apart=Apart.NOWHERE, spaces=SpaceChange.WRITTEN)
        return after.changed()

    def _apply(self, pieces: Pieces) -> Pieces:
        return replace(pieces, self.pattern, self.content)


class Strip(Normalizer):
    """Removes white space at the ends of the text.

    Args:
        left: at the start.
        right: at the end.

    Example:
        >>> Strip(left=False).normalize_str(" hello ")
        ' hello'
    """

    strip_left: bool = field(switch)
    strip_right: bool = field(switch)

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self.strip_left, self.strip_right = left, right

    @property
    def left(self) -> bool:
        """True if white space at the start is removed."""
        return self.strip_left

    @left.setter
    def left(self, value: bool) -> None:
        self.strip_left = value

    @property
    def right(self) -> bool:
        """True if white space at the end is removed."""
        return self.strip_right

    @right.setter
    def right(self, value: bool) -> None:
        self.strip_right = value

    def _apply(self, pieces: Pieces) -> Pieces:
        return strip(pieces, self.strip_left, self.strip_right)
