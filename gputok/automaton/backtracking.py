"""The few patterns that no automaton expresses, written anew for the `regex` package."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gputok.automaton.charset import CharSet
from gputok.automaton.syntax import Atomic, Backref, Chars, Choice, Group, Look, Node, Repeat, Sequence

if TYPE_CHECKING:
    import regex


@dataclasses.dataclass(frozen=True)
class Backtracking:
    """A pattern that runs in the `regex` package."""

    pattern: str  # as it was given
    compiled: regex.Pattern


def to_regex(node: Node) -> regex.Pattern:
    """A syntax tree as a compiled pattern of the `regex` package that matches the same.

    Sets are written out as code points and anchors as look-arounds, for the package's properties, case folding and
    anchors are of another Unicode version and another dialect. It backtracks, so a match costs what its backtracking
    costs.
    """
    import regex

    return regex.compile(_write(node), regex.VERSION0)


def _write(node: Node) -> str:
    match node:
        case Chars(chars):
            return _write_set(chars)
        case Sequence(items):
            return "".join(map(_write_part, items))
        case Choice(options):
            return "|".join(map(_write, options))
        case Repeat(body, least, most, greedy):
            most_text = "" if most is None else str(most)
            return f"(?:{_write(body)}){{{least},{most_text}}}{'' if greedy else '?'}"
        case Atomic(body):
            return f"(?>{_write(body)})"
        case Look(body, ahead, negative):
            return f"(?{'' if ahead else '<'}{'!' if negative else '='}{_write(body)})"
        case Group(body, number):
            return f"(?P<g{number}>{_write(body)})"
        case Backref(number):
            return f"(?P=g{number})"


def _write_part(node: Node) -> str:
    return f"(?:{_write(node)})" if isinstance(node, Choice) else _write(node)


def _write_set(chars: CharSet) -> str:
    if not chars:
        return "(?!)"
    return "[" + "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in chars.runs()) + "]"
