"""Rewrites the few patterns that no automaton expresses for the `regex` package."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gputok.automaton.syntax import Atomic, Backref, Capture, Chars, Choice, Look, Node, Repeat, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    import regex


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

    written = write(node, _spell)
    if len(written) > MOST_CHARACTERS:
        raise ValueError(
            f"its sets of characters are too many: written out for the `regex` package, it has {len(written):,} "
            f"characters, more than {MOST_CHARACTERS:,}. Use a shorter pattern"
        )
    return regex.compile(written, regex.VERSION0)


def write(node: Node, spell: Callable[[Node], str | None]) -> str:
    """Writes a syntax tree as a pattern; spell: how the dialect writes a node (sets, references, ...), or None."""

    def written(node: Node) -> str:
        text = spell(node)
        if text is not None:
            return text
        match node:
            case Sequence(items):
                return "".join(f"(?:{written(i)})" if isinstance(i, Choice) else written(i) for i in items)
            case Choice(options):
                return "|".join(map(written, options))
            case Repeat(body, least, most, greedy):
                numbers = f"{least}" if least == most else f"{least},{'' if most is None else most}"
                times = {"0,": "*", "1,": "+", "0,1": "?"}.get(numbers, f"{{{numbers}}}")
                text = written(body) if isinstance(body, Chars) else f"(?:{written(body)})"
                return f"{text}{times}{'' if greedy or least == most else '?'}"
            case Atomic(body):
                text = written(body)
                possessive = isinstance(body, Repeat) and body.greedy and text[-1] in "*+?"
                return f"{text}+" if possessive else f"(?>{text})"
            case Look(body, ahead, negative):
                return f"(?{'' if ahead else '<'}{'!' if negative else '='}{written(body)})"
            case Capture(body, number):
                return f"(?<g{number}>{written(body)})"
        raise AssertionError(f"a finished tree has no {type(node).__name__}")

    return written(node)


def _spell(node: Node) -> str | None:
    if isinstance(node, Backref):
        return f"(?P=g{node.number})"
    if isinstance(node, Chars):
        runs = "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in node.chars.runs())
        return f"[{runs}]" if runs else "(?!)"
    return None
