"""Regular expressions as automata: how text is cut into words.

compile_pattern(pattern)   a pattern of a `tokenizer.json` (Oniguruma's syntax) to tables
compile_literal(text)      the same for plain text
one_of(chars), runs(...)   automata of character sets, for pre-tokenizers that are no patterns
PATTERNS                   the patterns of well-known tokenizers, by name
"""

from __future__ import annotations

import functools
import warnings

from gputok.automaton.backtracking import Backtracking, to_regex
from gputok.automaton.charset import CharSet
from gputok.automaton.parser import parse
from gputok.automaton.patterns import PATTERNS
from gputok.automaton.subsets import OutsideError, compile_node
from gputok.automaton.syntax import Chars, Choice, Node, Repeat, Sequence
from gputok.automaton.unicode_tables import property_set, script_sets
from gputok.kernels import Automaton

__all__ = [
    "PATTERNS",
    "Backtracking",
    "CharSet",
    "compile_literal",
    "compile_pattern",
    "one_of",
    "property_set",
    "runs",
    "script_sets",
]


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Automaton | Backtracking:
    """A pattern in Oniguruma's Ruby syntax, as `tokenizers.Regex` takes it.

    Almost every pattern of a tokenizer becomes an Automaton. What needs more than one character of look-ahead, any
    look-behind where a match begins, atomic groups of more than one character, memory (back references), or thousands
    of states, becomes a pattern of the `regex` package that matches the same, with one warning; how long it may take is
    bounded (see `gputok.automaton.pattern`).

    Raises ValueError, naming construct and position, for what Oniguruma refuses, for what `regex` reads otherwise
    (absent operators, conditionals, calls of groups, `\\K`, `\\G`, `\\X`, counted repetitions of what can be empty).

    A walk is linear in the text for all of `PATTERNS`. A pattern that has to look far ahead to find that nothing matches
    costs what its own backtracking costs: `a*b` is quadratic on `aaaa`.

    >>> compile_pattern(PATTERNS["gpt2"]).gapless
    True
    """
    return _compile(parse(pattern), pattern)


@functools.lru_cache(maxsize=256)
def compile_literal(text: str) -> Automaton | Backtracking:
    """What finds a plain text (of thousands of characters, a pattern of the `regex` package)."""
    return _compile(Sequence(tuple(Chars(CharSet.chars(c)) for c in text)), text)


def _compile(node: Node, pattern: str) -> Automaton | Backtracking:
    try:
        return compile_node(node)
    except OutsideError as outside:
        warnings.warn(
            f"pattern {pattern!r} has {outside}, which no automaton expresses: it runs in the `regex` package, slowly",
            stacklevel=3,
        )
        return Backtracking(pattern, to_regex(node))


@functools.lru_cache(maxsize=64)
def one_of(chars: CharSet) -> Automaton:
    """The automaton whose matches are single characters of a set."""
    return compile_node(Chars(chars))


@functools.lru_cache(maxsize=64)
def runs(*sets: CharSet) -> Automaton:
    """The automaton whose matches are the longest runs of characters of one of the sets, the first set first."""
    return compile_node(Choice(tuple(Repeat(Chars(chars), 1, None, True) for chars in sets)))
