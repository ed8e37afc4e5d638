r"""The dialect of patterns of Rust's `fancy-regex`, which `tiktoken` uses: its parser, and translation both ways.

The grammar is that of parse.rs of fancy-regex 0.19 and, for classes, of ast/parse.rs and hir/translate.rs of
regex-syntax 0.8. Properties and cases of both are those of Oniguruma's tables, Unicode 16, for the names that both
have. What earlier versions read in another way is refused, as far as it is known: a quantifier after a quantifier,
options in the middle of a group, names of POSIX classes as properties.

A pattern that both dialects read as the same syntax tree stays as it is. Otherwise, the tree that its own dialect reads
is written as a pattern of the other dialect, and a check reads that pattern: it must give the same tree. The trees have
sets of characters instead of names, cases and classes, so that nothing depends on what a dialect means by `\w`. A set
is written as in the pattern if the other dialect reads the same set there, or else as ranges of characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from gputok.automaton.charset import NOTHING, CharSet, union
from gputok.automaton.parser import CONTROL, MAX_REPEAT, Parser
from gputok.automaton.syntax import (
    ANY,
    LINE_END,
    NEWLINE,
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
    word_boundary,
    write,
)
from gputok.automaton.unicode_tables import any_case, property_set
from gputok.checks import short, shortened

_ASCII = CharSet.of((0, 0x80))
_WORD = union(*map(property_set, ("Alphabetic", "M", "Nd", "Pc", "Join_Control")))
_CLASSES = {"w": _WORD, "d": property_set("Nd"), "s": property_set("White_Space"), "h": property_set("AHex")}
_LINE_START = Choice((TEXT_START, Look(NEWLINE, False, False)))
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_EDGE = re.compile(r"\{(start|end)(-half)?\}")
_BRACES = re.compile(r"\{(\d+|(?=,))(,?)(\d*)\}")
# Oniguruma has more names: its blocks ("In_Arabic"), and POSIX classes with other characters
_ONLY_IN_ONIGURUMA = re.compile(
    r"in(?!herited|itial|scriptional)|(alnum|blank|graph|newline|posixpunct|print|surrogate|unknown|word|xdigit|zzzz)$"
)


class RustParser(Parser):
    """Recursive descent over one pattern; under `(?i)`, a character becomes a set at once, not in `fold_case`."""

    dialect = "tiktoken's fancy-regex"
    word = _WORD
    option_letters: Mapping[str, str] = {"i": "ignore case", "s": "dot for all", "m": "lines"}
    most_quantifiers = 1

    def unsupported(self, what: str, position: int) -> NoReturn:
        self.fail(f"{what}, which gputok cannot translate,", position)

    def refuse_behind(self, kinds: str, what: str, start: int) -> None:
        pass

    # --- what a pattern consists of ---

    def line_end(self, c: str) -> Node:
        if "lines" in self.options:
            return _LINE_START if c == "^" else LINE_END
        return TEXT_START if c == "^" else TEXT_END

    def text(self, c: str) -> Node:
        return Chars(self.folded(CharSet.chars(c)))

    def folded(self, chars: CharSet) -> CharSet:
        return any_case(chars) if "ignore case" in self.options else chars

    def quantifier(self) -> tuple[int, int | None, bool, bool] | None:
        start = self.position
        braces = _BRACES.match(self.pattern, start)
        if braces is None:
            return None if self.peek("{") else super().quantifier()
        self.position = braces.end()
        low, comma, high = braces.groups()
        least, most = int(low or 0), int(high) if high else None if comma else int(low)
        if most is not None and least > most:
            self.fail(f"the empty repetition {braces[0]}", start)
        if max(least, most or 0) > MAX_REPEAT:
            self.fail(f"a repeat count above {MAX_REPEAT}", start)
        lazy = self.take("?")
        return least, most, not lazy or least == most, self.take("+")

    def group(self, start: int) -> Node:
        if self.peek("?P=") or self.peek("?P>"):
            self.unsupported("a reference (?P...)", start)
        node = self.named_capture("<", start) if self.take("?P<") else super().group(start)
        if isinstance(node, Look) and not node.ahead and any(isinstance(each, Atomic) for each in inside(node)):
            self.unsupported("an atomic group or possessive quantifier in a look-behind", start)
        return node

    def group_options(self, c: str, start: int) -> Node:
        options = re.split("[:)]", self.pattern[start:], maxsplit=1)[0]
        middle = start > 0 and not self.pattern.startswith(":", start + len(options))
        if middle or {*options[2:]} - {*self.option_letters, "-"}:
            self.unsupported(f"{options})", start)
        return super().group_options(c, start)

    # --- escapes ---

    def escape(self, start: int) -> Node | str:
        c = self.next("after a backslash")
        if (found := self.escaped_class(c)) is not None:
            return Chars(_meant(*found))
        edge = _EDGE.match(self.pattern, self.position) if c == "b" else None
        if edge is not None or c in "<>":
            begins = c == "<" or (edge is not None and edge[1] == "start")
            word = Chars(_WORD)
            looks = Look(word, not begins, True), Look(word, begins, False)
            self.position = edge.end() if edge is not None else self.position
            return looks[0] if edge is not None and edge[2] else Sequence(looks)
        if c in "bB":
            return word_boundary(_WORD, c == "B")
        if c == "Z":
            return Look(Sequence((Repeat(NEWLINE, 0, None, True), TEXT_END)), True, False)
        if c in "123456789":
            self.position -= 1
            return self.backref(int(self.digits("0123456789", 20)), start)
        if c in "AzRONGKk":
            self.position -= 1
            return super().escape(start)
        char = self.escaped_character(c, start)
        # Under (?i), a character by its number (\xe9) ignores case, another escape does not: (?i:\é) is é, but not É
        return char if c in _HEX_DIGITS else Chars(CharSet.chars(char))

    def escaped_class(self, c: str) -> tuple[CharSet, bool] | None:
        if c.lower() in _CLASSES:
            return _CLASSES[c.lower()], c.isupper()
        if c not in "pP":
            return None
        if self.peek("{"):
            chars, negated = self.property(c == "P")
        else:
            name, negated = self.next("after a backslash"), c == "P"
            chars = self.named_set(name, f"the unknown character property {short(name)}", self.position - 3)
        return self.folded(chars), negated

    def named_set(self, key: str, what: str, start: int) -> CharSet:
        if _ONLY_IN_ONIGURUMA.match(re.sub(r"[-_ ]", "", key.lower())):
            self.fail(what, start)
        return super().named_set(key, what, start)

    def escaped_character(self, c: str, start: int) -> str:
        if c in _HEX_DIGITS:
            n_digits, hexadecimal = _HEX_DIGITS[c], "0123456789abcdefABCDEF"
            digits = self.digits(hexadecimal, n_digits)
            if not digits and self.take("{"):
                digits, n_digits = self.digits(hexadecimal, 8), 0
                if not self.take("}"):
                    digits = ""
            if not digits or len(digits) < n_digits:
                self.fail(rf"\{c} without its hexadecimal digits", start)
            return self.code_point(int(digits, 16), start)
        if c in CONTROL:
            return CONTROL[c]
        if c.isascii() and c.isalnum():
            self.fail(rf"the escape \{c}, which {self.dialect} refuses,", start)
        return c

    # --- classes ---

    def bracket(self) -> Node:
        return Chars(self.bracket_chars())

    def bracket_chars(self) -> CharSet:
        """Reads a class after its `[`; its operators bind from left to right."""
        start = self.position - 1
        self.deeper("brackets")
        negated = self.take("^")
        chars = NOTHING
        while self.take("-"):
            chars = CharSet.chars("-")
        if not chars and self.take("]"):
            chars = CharSet.chars("]")
        left, operator = NOTHING, ""
        while not self.take("]"):
            if self.position == len(self.pattern):
                self.fail("a bracket that is never closed", start)
            following = self.pattern[self.position : self.position + 2]
            if following in ("&&", "--", "~~"):
                self.position += 2
                left, operator, chars = self.combined(left, operator, chars), following, NOTHING
            else:
                chars |= self.item()
        chars = self.combined(left, operator, chars)
        self.depth -= 1
        return _meant(chars, negated)

    def combined(self, left: CharSet, operator: str, right: CharSet) -> CharSet:
        right = self.folded(right)
        if operator == "&&":
            return left & right
        if operator == "--":
            return left - right
        return (left - right) | (right - left)  # "~~"; and the first operand: left is empty, so this is `right`

    def item(self) -> CharSet:
        """Reads a character, range, class or POSIX class inside of a class."""
        start = self.position
        if self.peek_posix_bracket():
            chars, negated = self.posix_class()
            return _meant(self.folded(chars & _ASCII), negated)
        if self.take("["):
            return self.bracket_chars()
        first = self.unit()
        if not self.peek("-") or self.peek("-]") or self.peek("--"):
            return CharSet.chars(first) if isinstance(first, str) else first
        self.position += 1
        last = self.unit()
        if not isinstance(first, str) or not isinstance(last, str) or last < first:
            self.fail(f"the range {self.pattern[start : self.position]}", start)
        return CharSet.of((ord(first), ord(last) + 1))

    def unit(self) -> CharSet | str:
        start = self.position
        c = self.next("inside a bracket")
        if c != "\\":
            return c
        c = self.next("after a backslash")
        if (found := self.escaped_class(c)) is not None:
            return _meant(*found)
        return "\b" if c == "b" else self.escaped_character(c, start)


def _meant(chars: CharSet, negated: bool) -> CharSet:
    return ~chars if negated else chars


# -- translation

_SURROGATES = CharSet.of((0xD800, 0xE000))
# How each dialect, inside a class, writes the word characters of the other dialect. Oniguruma has two sets of them,
# which differ in six characters of Latin-1 (`Bracket.of_class`)
_WORDS = {
    Parser: [r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}"],
    RustParser: [r"\w--\p{Join_Control}", r"[\w--\p{Join_Control}]²³¹¼½¾"],
}


def from_rust(pattern: str) -> str:
    r"""Translates a pattern of Rust's `fancy-regex` to Oniguruma's Ruby syntax; ValueError names what is not possible.

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
    """How `target` writes sets of characters, ends of text and references; `texts`: sets as the pattern writes them."""

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
    """The tree without what has no effect: nested sequences, unused groups, surrogates (each set gets them all)."""
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
                # Oniguruma reduces two quantifiers to one or two others (`repeat`). When it reads the result, it may
                # reduce that again, so this goes on until nothing changes
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
