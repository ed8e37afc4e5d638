r"""Translates patterns between the dialects of `tokenizers` (Oniguruma) and of `tiktoken` (Rust's fancy-regex).

A pattern that both read as the same tree stays as it is. Else the tree that its own dialect reads is written for the other
one, which must read the same tree from that. The trees have sets of characters instead of names, cases and classes, so that
nothing is left to what a dialect means by `\w`. A set gets the text of the pattern, if the other dialect reads the same set
there; else it is written out.
"""

from __future__ import annotations

import re

from gputok.automaton.charset import CharSet
from gputok.automaton.parser import Parser
from gputok.automaton.rust import RustParser
from gputok.automaton.syntax import (
    ANY,
    TEXT_END,
    TEXT_START,
    Atomic,
    Backref,
    Capture,
    Chars,
    Choice,
    Look,
    Node,
    Repeat,
    Sequence,
    can_be_empty,
    inside,
    repeat,
    sequence,
    write,
)
from gputok.checks import shortened

_SURROGATES = CharSet.of((0xD800, 0xE000))
# The word characters of the one dialect, in the classes of the other. Oniguruma's own two kinds differ by those of Latin-1
_WORDS = {
    Parser: [r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}"],
    RustParser: [r"\w--\p{Join_Control}", r"[\w--\p{Join_Control}]²³¹¼½¾"],
}


def from_rust(pattern: str) -> str:
    r"""Translates a pattern of Rust's `fancy-regex` to Oniguruma's Ruby syntax.

    Raises:
        ValueError: if `fancy-regex` refuses the pattern, or if that can't be done; the message names the construct and its
            position.

    >>> from_rust(r"\p{N}{1,3}+|[[:alpha:]]+|\s++$")
    '(?>\\p{N}{1,3})|[A-Za-z]+|\\s++\\z'
    """
    return _translated(pattern, RustParser, Parser)


def to_rust(pattern: str, *, with_gaps: bool = False) -> str:
    r"""Translates a pattern of Oniguruma's Ruby syntax to that of `fancy-regex`; raises ValueError as `from_rust`.

    with_gaps: the result also matches each text between matches.

    >>> to_rust(r"\h+|x{1,3}+"), to_rust(r"\d", with_gaps=True)
    ('\\h+|(?:x{1,3})+', '\\d|(?:(?!\\d)[\\s\\S])+')
    """
    return _translated(pattern, Parser, RustParser, with_gaps)


def _translated(pattern: str, source: type[Parser], target: type[Parser], with_gaps: bool = False) -> str:
    parser = source(pattern)
    node = _canonical(parser.parse())
    if can_be_empty(node):
        raise ValueError(f"pattern {shortened(pattern)!r} can match the empty text, at which tiktoken fails")
    for start in parser.empty_loops:  # some engines end the loop after an empty match, others try what is left
        parser.fail("a repetition of a body that can be empty, which gputok cannot translate,", start)
    if with_gaps:
        if any(isinstance(inner, Backref) for inner in inside(node)):
            raise ValueError(
                f"pattern {shortened(pattern)!r} has a back reference, and leaves text between its matches, which "
                "tiktoken would drop"
            )
        node = _canonical(Choice((node, Repeat(Sequence((Look(node, True, True), ANY)), 1, None, True))))
    elif _reads(target, pattern) == node:
        return pattern
    written = write(node, _Spelling(parser.sets, target))
    try:
        same, reason = _canonical(target(written).parse()) == node, "it reads that in another way"
    except ValueError as error:
        same, reason = False, str(error)
    if not same:
        raise ValueError(f"pattern {shortened(pattern)!r} can't be written for {target.dialect}: {reason}")
    return written


def _reads(dialect: type[Parser], pattern: str) -> Node | None:
    try:
        return _canonical(dialect(pattern).parse())
    except ValueError:
        return None


class _Spelling:
    """How a dialect writes sets of characters, ends of text and back references; `texts`: how the pattern writes sets."""

    def __init__(self, texts: list[str], target: type[Parser]) -> None:
        self.names: dict[Node | None, str] = {}
        for text in (r"[\s\S]", ".", r"\n", r"\r", r"\t", r"\w", *texts):
            long_text = re.sub(r"\\([pP])([A-Z])", r"\\\1{\2}", text)
            words = (long_text.replace(r"\w", f"[{w}]").replace(r"\W", f"[^{w}]") for w in _WORDS[target])
            for other in (text, long_text, *words):
                self.names.setdefault(_reads(target, other), other)

    def __call__(self, node: Node) -> str | None:
        match node:
            case Backref(number):
                return rf"\k<g{number}>"
            case Chars(chars):
                return self.names.get(node) or _set_text(chars - _SURROGATES)
        return r"\A" if node == TEXT_START else r"\z" if node == TEXT_END else None


def _set_text(chars: CharSet) -> str:
    ends = [
        f"{_character(a)}{'-' if b > a + 2 else ''}{_character(b - 1) if b > a + 1 else ''}" for a, b in chars.runs()
    ]
    return ends[0] if len(chars) == 1 else f"[{''.join(ends)}]" if ends else r"[^\s\S]"


def _character(point: int) -> str:
    char = chr(point)
    return char if char.isalnum() or char in " '" else rf"\x{{{point:X}}}"


def _canonical(node: Node) -> Node:
    """The tree without what has no effect: sequences in sequences, groups that nothing refers to, surrogates."""
    referred = {inner.number for inner in inside(node) if isinstance(inner, Backref)}
    numbers: dict[int, int] = {}

    def same(node: Node) -> Node:
        match node:
            case Chars(chars):
                return Chars(chars | _SURROGATES)
            case Sequence(items):
                return sequence(
                    [p for item in map(same, items) for p in (item.items if isinstance(item, Sequence) else [item])]
                )
            case Choice(options):
                flat = [p for one in map(same, options) for p in (one.options if isinstance(one, Choice) else [one])]
                return flat[0] if len(flat) == 1 else Choice(tuple(flat))
            case Capture(body, number):
                if number not in referred:
                    return same(body)
                return Capture(same(body), numbers.setdefault(number, len(numbers) + 1))
            case Backref(number):
                return Backref(numbers[number])
            case Repeat(body, least, most, greedy):
                # What Oniguruma makes of two quantifiers at once, it may reduce once more when it reads that
                made: Node | None = None
                again = repeat(same(body), least, most, greedy)
                while again != made:
                    made = again
                    again = repeat(*made) if isinstance(made, Repeat) else made
                return again
            case Atomic(body) | Look(body):
                return node._replace(body=same(body))
        return node

    return same(node)
