"""Rewrites the few patterns that no automaton expresses for the `regex` package."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gputok.automaton.syntax import Atomic, Backref, Chars, Choice, Group, Look, Node, Repeat, Sequence

if TYPE_CHECKING:
    import regex

    from gputok.automaton.charset import CharSet


# A pattern with its sets written out has at most so many characters. The package reads three million a second.
MOST_CHARACTERS = 8_000_000


@dataclasses.dataclass(frozen=True)
class Backtracking:
    """A pattern that runs in the `regex` package."""

    pattern: str  # in Oniguruma's syntax
    compiled: regex.Pattern


def to_regex(node: Node) -> regex.Pattern:
    """Compiles a syntax tree to an equivalent pattern of the `regex` package.

    Sets are written out as code points and anchors as look-arounds, because properties, case folding and anchors of
    the package follow another Unicode version and another dialect. The package backtracks, so a search may take
    exponential time.

    Raises:
        ValueError: if the written pattern has more than `MOST_CHARACTERS`, which would take many seconds to compile.
    """
    import regex

    written = _write(node)
    if len(written) > MOST_CHARACTERS:
        raise ValueError(
            f"its sets of characters are too many: written out for the `regex` package, it has {len(written):,} "
            f"characters, more than {MOST_CHARACTERS:,}. Use a shorter pattern"
        )
    return regex.compile(written, regex.VERSION0)


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
    raise AssertionError(f"a finished tree has no {type(node).__name__}")


def _write_part(node: Node) -> str:
    return f"(?:{_write(node)})" if isinstance(node, Choice) else _write(node)


def _write_set(chars: CharSet) -> str:
    if not chars:
        return "(?!)"
    return "[" + "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in chars.runs()) + "]"
