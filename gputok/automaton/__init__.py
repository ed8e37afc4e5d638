"""Compiles regular expressions to automata, which cut text into words.

compile_pattern(pattern)   compiles a pattern of a `tokenizer.json` (Oniguruma's syntax)
compile_literal(text)      compiles plain text
PATTERNS                   the patterns of well-known tokenizers, by name
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gputok.automaton.patterns import PATTERNS
from gputok.automaton.ready import ready
from gputok.checks import shortened, warn
from gputok.kernels.signatures import NamedTuple

if TYPE_CHECKING:
    from gputok.automaton.syntax import Backtracking, Node
    from gputok.kernels import Automaton

__all__ = ["PATTERNS", "compile_literal", "compile_pattern"]


class Same(NamedTuple):
    """Automata as the key of a cache: their arrays have no hash, so keys are equal if they hold the same objects."""

    automata: tuple[Automaton, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and list(map(id, self.automata)) == list(map(id, other.automata))

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.automata)))


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Automaton | Backtracking:
    r"""Compiles a pattern in Oniguruma's Ruby syntax, as `tokenizers.Regex` takes it.

    Almost every pattern of a tokenizer becomes an Automaton. A pattern becomes one of the `regex` package, with one
    warning, if it needs more than one character of look-ahead, a look-behind at the beginning of a match, atomic groups
    of several characters, back references, or thousands of states. The time of its searches has a limit
    (`gputok.automaton.pattern`).

    A walk takes linear time in the length of the text for all of `PATTERNS`. A pattern that must read far ahead before
    it is certain that there is no match takes as long as backtracking: `a*b` takes quadratic time on `aaaa`.

    Args:
        pattern: the pattern.

    Returns:
        The tables of the automaton, or the pattern of the `regex` package.

    Raises:
        ValueError: if Oniguruma rejects the pattern, or if the `regex` package reads a construct in another way
            (absent operators, conditionals, calls of groups, `\K`, `\G`, `\X`, counted repetitions of a body that can
            be empty), or would take many seconds to read it. The message names the construct and its position.

    Example:
        >>> compile_pattern(PATTERNS["gpt2"]).gapless
        True
    """
    found = ready(pattern)
    if found is None:
        from gputok.automaton.parser import parse

        found = _compile(parse(pattern), pattern)
    return found


@functools.lru_cache(maxsize=256)
def compile_literal(text: str) -> Automaton | Backtracking:
    """Compiles plain text; a text of thousands of characters becomes a pattern of the `regex` package."""
    from gputok.automaton.charset import CharSet
    from gputok.automaton.syntax import Chars, Sequence

    return _compile(Sequence(tuple(Chars(CharSet.chars(c)) for c in text)), text)


def _compile(node: Node, pattern: str) -> Automaton | Backtracking:
    from gputok.automaton.minimal import OutsideError
    from gputok.automaton.subsets import compile_node

    try:
        return compile_node(node)
    except OutsideError as outside:
        from gputok.automaton.syntax import Backtracking, to_regex

        try:
            compiled = to_regex(node)
        except ValueError as error:
            raise ValueError(f"pattern {shortened(pattern)!r}: {error}") from None
        warn(
            f"pattern {shortened(pattern)!r} has {outside}, which no automaton expresses; the pattern runs slowly, in "
            "the `regex` package",
        )
        return Backtracking(pattern, compiled)
