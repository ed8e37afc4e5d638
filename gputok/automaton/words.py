"""Automata of sets of characters, for pre-tokenizers that have no pattern."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gputok.automaton.charset import union
from gputok.automaton.subsets import compile_node
from gputok.automaton.syntax import Chars, Choice, Repeat, Sequence
from gputok.automaton.unicode_tables import property_set, script_sets

if TYPE_CHECKING:
    from gputok.automaton.charset import CharSet
    from gputok.kernels import Automaton


@functools.lru_cache(maxsize=64)
def one_of(chars: CharSet) -> Automaton:
    """Makes the automaton that matches single characters of a set."""
    return compile_node(Chars(chars))


@functools.lru_cache(maxsize=64)
def runs(*sets: CharSet) -> Automaton:
    """Makes the automaton that matches the longest runs of characters of one set; earlier sets have priority."""
    return compile_node(Choice(tuple(_run(chars) for chars in sets)))


@functools.cache
def numbers(each: bool) -> Automaton:
    """Makes the automaton of numeric characters, one or more, and of the text between them."""
    digit = property_set("rust:numeric")
    return compile_node(Choice((Chars(digit) if each else _run(digit), _run(~digit))))


@functools.cache
def punctuation() -> Automaton:
    """Makes the automaton of single punctuation marks."""
    return one_of(property_set("rust:punctuation"))


@functools.cache
def punctuation_runs() -> Automaton:
    """Makes the automaton of runs of punctuation marks, and of the text between them."""
    mark = property_set("rust:punctuation")
    return runs(mark, ~mark)


@functools.cache
def between_spaces() -> Automaton:
    """Makes the automaton of runs of characters that are no white space."""
    return runs(~property_set("rust:space"))


@functools.cache
def whitespace_words() -> Automaton:
    r"""Makes the automaton of `\w+|[^\w\s]+`."""
    space, other = property_set("rust:regexspace"), property_set("rust:regexother")
    return runs(~(space | other), other)


@functools.cache
def script_runs() -> Automaton:
    """Makes the automaton of runs of one script, with the characters of no script after them."""
    scripts = script_sets()
    any_script = ~union(*scripts)
    return compile_node(Choice(tuple(Sequence((Chars(script), _run(script | any_script, 0))) for script in scripts)))


def _run(chars: CharSet, least: int = 1) -> Repeat:
    return Repeat(Chars(chars), least, None, True)
