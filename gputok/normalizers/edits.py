"""Normalizers that put something in or take something out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.text import Array, Pieces
from gputok.unicode_maps import character_map

from .base import Normalizer, component, replaced

if TYPE_CHECKING:
    from gputok.automaton import Backtracking
    from gputok.pattern import Regex


@component
class Prepend(Normalizer):
    """Puts a string before the text, if there is any.

    >>> Prepend("▁").normalize_str("hello")
    '▁hello'
    """

    prepend: str = "▁"

    def _apply(self, pieces: Pieces) -> Pieces:
        here = pieces.start < pieces.end
        if pieces.frozen is not None:
            here &= ~pieces.frozen
        at, rows = pieces.start[here], np.zeros(pieces.n_pieces + 1, np.int64)
        here.cumsum(out=rows[1:])
        return _spliced(pieces, at, at, rows, self.prepend, at)


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
        from gputok.pattern import Regex

        match value:
            case {"pattern": {"String": str(pattern)}, "content": str(content)}:
                return cls(pattern, content)
            case {"pattern": {"Regex": str(pattern)}, "content": str(content)}:
                return cls(Regex(pattern), content)
        raise ValueError(
            f'Replace: {{"pattern": {{"String" or "Regex": ...}}, "content": ...}} expected, not {value!r}'
        )

    def _apply(self, pieces: Pieces) -> Pieces:
        start, end, rows = find_matches(self.pattern, pieces)
        # What is put in comes from where the character before it does: the last one that is replaced.
        place = end - 1
        # Its first byte, rather: where a text's first character is replaced, what is put in begins it.
        while np.count_nonzero(within := (pieces.data[place] & 0xC0) == 0x80):
            place -= within
        first = np.repeat(pieces.start, rows[1:] - rows[:-1])
        return _spliced(pieces, start, end, rows, self.content, np.where(end == first, ~first, place))


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
        from gputok.kernels.cpu.edits import strip

        space = character_map("whitespace")[:2]
        start, end = strip(
            pieces.data, pieces.start, pieces.end, pieces.frozen, space, self.strip_left, self.strip_right
        )
        return pieces._replace(start=start, end=end)


def _kind_and_text(pattern: str | Regex) -> tuple[str, str]:
    return ("String", pattern) if isinstance(pattern, str) else ("Regex", pattern.pattern)


def find_matches(pattern: str | Regex, pieces: Pieces) -> tuple[Array, Array, Array]:
    """Where a pattern matches in each piece: start, end int64[n_matches], rows int64[n_pieces + 1].

    Matches are in order and apart; the empty string matches between any two characters.
    """
    from gputok.kernels.cpu.edits import find_literal
    from gputok.kernels.cpu.split import split_words

    place = pieces.data, pieces.start, pieces.end, pieces.frozen
    if isinstance(pattern, str) and pattern:
        literal = np.frombuffer(pattern.encode(), np.uint8)
        found, rows = find_literal(*place, literal)
        return found, found + len(literal), rows
    from gputok.pattern import matcher

    machine = matcher(pattern)
    if isinstance(machine, tuple):
        cut, drop = np.ones((2, 2), bool), np.array([True, False])
        start, end, rows = split_words(*place, machine, cut, drop, keep_empty=True)
    else:
        start, end, rows = _backtracked(machine, pieces)
    live = (
        pieces.start < pieces.end if pieces.frozen is None else (pieces.start < pieces.end) & ~pieces.frozen
    )
    keep = np.repeat(live, np.diff(rows))
    return start[keep], end[keep], np.append(0, np.cumsum(keep))[rows]


def _backtracked(pattern: Backtracking, pieces: Pieces) -> tuple[Array, Array, Array]:
    """The matches of a pattern that is no automaton."""
    from gputok.pattern import spans

    found, rows = [], [0]
    for text, start in zip(pieces.strings(), pieces.start.tolist(), strict=True):
        for first, last, matched in spans(pattern, text):
            end = start + len(text[first:last].encode())
            found += [(start, end)] * matched
            start = end
        rows.append(len(found))
    start, end = np.array(found, np.int64).reshape(-1, 2).T
    return start, end, np.array(rows)


def _spliced(pieces: Pieces, start: Array, end: Array, rows: Array, content: str, place: Array) -> Pieces:
    from gputok.kernels.cpu.edits import splice

    text = np.frombuffer(content.encode(), np.uint8)
    aligned = pieces.alignment is not None
    return replaced(
        pieces, *splice(pieces.data, pieces.start, pieces.end, rows, start, end, text, place, aligned)
    )
