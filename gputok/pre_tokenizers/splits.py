"""Pre-tokenizers that cut where a pattern, or a set of characters, matches."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from gputok.automaton import compile_literal, one_of, property_set, runs, script_sets
from gputok.automaton.charset import CharSet, union
from gputok.automaton.parser import Chars, Choice, Repeat
from gputok.automaton.parser import Sequence as Then
from gputok.automaton.pattern import Regex, matcher
from gputok.automaton.subsets import compile_node
from gputok.components import derived
from gputok.fields import character, choice, needed, per_field, switch
from gputok.pre_tokenizers.base import (
    BEHAVIORS,
    Cut,
    PreTokenizer,
    SplitPlan,
    read_behavior,
)
from gputok.text.patterns import pattern_field, pattern_form, read_pattern, shown_pattern


def _behavior(**default: str) -> Any:
    return field(**default, metadata={"shown": BEHAVIORS.__getitem__})


_behavior_field = choice(*BEHAVIORS)


@dataclass(eq=False, repr=False)
class Split(PreTokenizer):
    r"""Cuts where a pattern matches: a `str` stands for itself, a `Regex` is a regular expression.

    `behavior` says what becomes of a match: "removed", "isolated" (a piece of its own), "merged_with_previous",
    "merged_with_next", or "contiguous" (neighbouring matches are one piece). With `invert`, what lies between the
    matches takes their part. The patterns of well-known tokenizers take time linear in the text, whatever it is.

    >>> from gputok import Regex
    >>> Split(",", "removed").pre_tokenize_str("one,two,three")
    [('one', (0, 3)), ('two', (4, 7)), ('three', (8, 13))]
    >>> Split(Regex(r"\s+"), behavior="isolated").pre_tokenize_str("hello   world")
    [('hello', (0, 5)), ('   ', (5, 8)), ('world', (8, 13))]
    """

    pattern: str | Regex = field(metadata={"shown": shown_pattern})
    behavior: str = _behavior()
    invert: bool = False

    checks = per_field(pattern=pattern_field, behavior=_behavior_field, invert=switch)

    def to_dict(self) -> dict[str, Any]:
        form = {"pattern": pattern_form(self.pattern), "behavior": BEHAVIORS[self.behavior]}
        return super().to_dict() | form

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Split:
        pattern, behavior = read_pattern(value), read_behavior(needed(value, "behavior"))
        return super().from_dict(value | {"pattern": pattern, "behavior": behavior})

    @derived
    def _matcher(self):
        return matcher(self.pattern)

    def cut(self) -> Cut:
        return Cut(self._matcher, self.behavior, self.invert)

    def plan(self) -> SplitPlan | None:
        gapless = getattr(self._matcher, "gapless", False)
        return SplitPlan(self._matcher, False) if gapless and self.behavior == "isolated" else None


@dataclass(eq=False, repr=False)
class CharDelimiterSplit(PreTokenizer):
    """Cuts at one character, which is left out: `str.split` without its empty strings.

    >>> CharDelimiterSplit("x").pre_tokenize_str("helloxthere")
    [('hello', (0, 5)), ('there', (6, 11))]
    """

    delimiter: str

    checks = per_field(delimiter=character)

    def cut(self) -> Cut:
        return Cut(compile_literal(self.delimiter), "removed")


@dataclass(eq=False, repr=False)
class Digits(PreTokenizer):
    """Cuts numbers from the rest, whole or digit by digit; whatever Unicode calls numeric is a digit.

    >>> Digits().pre_tokenize_str("Call 123 please")
    [('Call ', (0, 5)), ('123', (5, 8)), (' please', (8, 15))]
    """

    individual_digits: bool = False

    checks = per_field(individual_digits=switch)

    def cut(self) -> Cut:
        return Cut(_numbers(self.individual_digits), "isolated")

    def plan(self) -> SplitPlan | None:
        return SplitPlan(_numbers(self.individual_digits), False)


@dataclass(eq=False, repr=False)
class Punctuation(PreTokenizer):
    """Cuts at punctuation, each mark of which is a match; `behavior` is as in `Split`.

    >>> Punctuation().pre_tokenize_str("Hey, you?!")
    [('Hey', (0, 3)), (',', (3, 4)), (' you', (4, 8)), ('?', (8, 9)), ('!', (9, 10))]
    """

    behavior: str = _behavior(default="isolated")

    checks = per_field(behavior=_behavior_field)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"behavior": BEHAVIORS[self.behavior]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Punctuation:
        return cls(read_behavior(value.get("behavior", "Isolated")))

    def cut(self) -> Cut:
        return Cut(one_of(property_set("rust:punctuation")), self.behavior)


@dataclass(eq=False, repr=False)
class Whitespace(PreTokenizer):
    r"""Takes runs of word characters and runs of others that are not white space: `\w+|[^\w\s]+`.

    >>> Whitespace().pre_tokenize_str("Let's go.")
    [('Let', (0, 3)), ("'", (3, 4)), ('s', (4, 5)), ('go', (6, 8)), ('.', (8, 9))]
    """

    apart_at_spaces = True

    def cut(self) -> Cut:
        return Cut(_whitespace_words(), "removed", invert=True)


@dataclass(eq=False, repr=False)
class WhitespaceSplit(PreTokenizer):
    """Cuts at white space, which is left out.

    >>> WhitespaceSplit().pre_tokenize_str("Hello, you!")
    [('Hello,', (0, 6)), ('you!', (7, 11))]
    """

    apart_at_spaces = True

    def cut(self) -> Cut:
        return Cut(runs(~property_set("rust:space")), "removed", invert=True)


@dataclass(eq=False, repr=False)
class BertPreTokenizer(PreTokenizer):
    """Cuts at white space, which is left out, and at punctuation, each mark a piece of its own.

    >>> BertPreTokenizer().pre_tokenize_str("I'm here.")
    [('I', (0, 1)), ("'", (1, 2)), ('m', (2, 3)), ('here', (4, 8)), ('.', (8, 9))]
    """

    apart_at_spaces = True

    def cut(self) -> Cut:
        return Cut(_bert_words(), "removed", invert=True)


@dataclass(eq=False, repr=False)
class UnicodeScripts(PreTokenizer):
    """Cuts where the script changes, Hiragana and Katakana counting as Han.

    A space, and a character of no script, belong to the piece before them; at the start of a text they are left out.

    >>> UnicodeScripts().pre_tokenize_str("どこ Where")
    [('どこ ', (0, 3)), ('Where', (3, 8))]
    """

    def cut(self) -> Cut:
        return Cut(_script_runs(), "removed", invert=True)


@functools.cache
def _numbers(each: bool):
    digit = property_set("rust:numeric")
    return compile_node(Choice((Chars(digit) if each else _run(digit), _run(~digit))))


@functools.cache
def _whitespace_words():
    space, other = property_set("rust:regexspace"), property_set("rust:regexother")
    return runs(~(space | other), other)


@functools.cache
def _bert_words():
    space, mark = property_set("rust:space"), property_set("rust:punctuation")
    return compile_node(Choice((_run(~(space | mark)), Chars(mark - space))))


@functools.cache
def _script_runs():
    scripts = script_sets()
    any_script = ~union(*scripts)
    return compile_node(
        Choice(tuple(Then((Chars(script), _run(script | any_script, 0))) for script in scripts))
    )


def _run(chars: CharSet, least: int = 1) -> Repeat:
    return Repeat(Chars(chars), least, None, True)
