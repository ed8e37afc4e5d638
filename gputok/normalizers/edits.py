"""Normalizers that put something in or take something out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

from gputok.normalizers.base import Normalizer, component
from gputok.text.edit import prepend, replace, strip
from gputok.text.pieces import Pieces

if TYPE_CHECKING:
    from gputok.automaton.pattern import Regex


@component
class Prepend(Normalizer):
    """Puts a string before the text, if there is any.

    >>> Prepend("▁").normalize_str("hello")
    '▁hello'
    """

    prepend: str = "▁"

    def _apply(self, pieces: Pieces) -> Pieces:
        return prepend(pieces, self.prepend)


@component
class Replace(Normalizer):
    """Puts `content` in place of each match of a pattern, a string or a `Regex`.

    >>> Replace("``", '"').normalize_str("``so''")
    '"so\\'\\''
    """

    pattern: str | Regex = dataclasses.field(
        metadata={"shown": lambda pattern: '{}("{}")'.format(*_kind_and_text(pattern))}
    )
    content: str

    def to_dict(self) -> dict[str, Any]:
        kind, pattern = _kind_and_text(self.pattern)
        return {"type": "Replace", "pattern": {kind: pattern}, "content": self.content}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        from gputok.automaton.pattern import Regex

        match value:
            case {"pattern": {"String": str(pattern)}, "content": str(content)}:
                return cls(pattern, content)
            case {"pattern": {"Regex": str(pattern)}, "content": str(content)}:
                return cls(Regex(pattern), content)
        raise ValueError(
            f'Replace: {{"pattern": {{"String" or "Regex": ...}}, "content": ...}} expected, not {value!r}'
        )

    def _apply(self, pieces: Pieces) -> Pieces:
        return replace(pieces, self.pattern, self.content)


@component
class Strip(Normalizer):
    """Removes white space at the ends.

    >>> Strip(left=False).normalize_str(" hello ")
    ' hello'
    """

    strip_left: bool
    strip_right: bool

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self.strip_left, self.strip_right = left, right

    left = property(lambda self: self.strip_left, lambda self, value: setattr(self, "strip_left", value))
    right = property(lambda self: self.strip_right, lambda self, value: setattr(self, "strip_right", value))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        for name in ("strip_left", "strip_right"):
            if not isinstance(value.get(name), bool):
                raise ValueError(f"Strip: the field {name!r} must be true or false, not {value.get(name)!r}")
        return cls(value["strip_left"], value["strip_right"])

    def _apply(self, pieces: Pieces) -> Pieces:
        return strip(pieces, self.strip_left, self.strip_right)


def _kind_and_text(pattern: str | Regex) -> tuple[str, str]:
    return ("String", pattern) if isinstance(pattern, str) else ("Regex", pattern.pattern)
