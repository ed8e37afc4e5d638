"""Regular expressions as automata: how text is cut into words.

compile_pattern(pattern)   a pattern of a `tokenizer.json` (Oniguruma's syntax) to tables
compile_literal(text)      the same for plain text
one_of(chars), runs(...)   automata of character sets, for pre-tokenizers that are no patterns
PATTERNS                   the patterns of well-known tokenizers, by name
"""

from __future__ import annotations

import functools

from gputok.automaton.charset import CharSet
from gputok.automaton.parser import Chars, Choice, Repeat, Sequence, parse
from gputok.automaton.patterns import PATTERNS
from gputok.automaton.subsets import compile_node
from gputok.automaton.unicode_tables import property_set, script_sets
from gputok.kernels import Automaton

__all__ = [
    "PATTERNS",
    "CharSet",
    "compile_literal",
    "compile_pattern",
    "one_of",
    "property_set",
    "runs",
    "script_sets",
]


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Automaton:
    """The automaton of a pattern in Oniguruma's Ruby syntax, as `tokenizers.Regex` takes it.

    >>> compile_pattern(PATTERNS["gpt2"]).gapless
    True
    """
    return compile_node(parse(pattern))


@functools.lru_cache(maxsize=256)
def compile_literal(text: str) -> Automaton:
    """The automaton that finds a plain, non-empty text."""
    return compile_node(Sequence(tuple(Chars(CharSet.chars(c)) for c in text)))


@functools.lru_cache(maxsize=64)
def one_of(chars: CharSet) -> Automaton:
    """The automaton whose matches are single characters of a set."""
    return compile_node(Chars(chars))


@functools.lru_cache(maxsize=64)
def runs(*sets: CharSet) -> Automaton:
    """The automaton whose matches are the longest runs of characters of one of the sets, the first set first."""
    return compile_node(Choice(tuple(Repeat(Chars(chars), 1, None, True) for chars in sets)))
