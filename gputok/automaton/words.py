"""Automata of sets of characters, for pre-tokenizers that have no pattern."""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

from gputok.automaton.charset import CharSet, union
from gputok.automaton.subsets import compile_node
from gputok.automaton.syntax import Chars, Choice, Node, Repeat, Sequence
from gputok.automaton.unicode_tables import property_set, script_sets
from gputok.kernels import Automaton

Kind: TypeAlias = Literal["digits", "numbers", "punctuation", "punctuation runs", "spaceless", "words", "scripts"]


@functools.cache
def words(kind: Kind) -> Automaton:
    """Makes the automaton that matches the words of this kind."""
    return compile_node(_node(kind))


def _node(kind: Kind) -> Node:
    match kind:
        case "digits" | "numbers":  # a digit or several, and the text between them
            digit = property_set("rust:numeric")
            return Choice((Chars(digit) if kind == "digits" else _run(digit), _run(~digit)))
        case "punctuation":  # one mark
            return Chars(property_set("rust:punctuation"))
        case "punctuation runs":  # runs of marks, and the text between them
            mark = property_set("rust:punctuation")
            return Choice((_run(mark), _run(~mark)))
        case "spaceless":
            return _run(~property_set("rust:space"))
        case "words":  # \w+|[^\w\s]+
            space, other = property_set("rust:regexspace"), property_set("rust:regexother")
            return Choice((_run(~(space | other)), _run(other)))
        case "scripts":  # runs of one script, with the characters of no script after them
            sets = script_sets()
            any_script = ~union(*sets)
            return Choice(tuple(Sequence((Chars(script), _run(script | any_script, 0))) for script in sets))


def _run(chars: CharSet, least: int = 1) -> Repeat:
    return Repeat(Chars(chars), least, None, True)
