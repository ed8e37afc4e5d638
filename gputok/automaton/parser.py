r"""Parses regular expressions in Oniguruma's syntax (Ruby's with extensions), as `tokenizers` uses it.

The parser turns anchors into look-arounds and classes and properties into sets, and resolves case folding, so that the
syntax tree has few node types. If the syntaxes of Ruby and Perl differ, Ruby's counts: `$` matches before any newline,
`\h` is a hexadecimal digit, `{,2}` is `{0,2}`, and the `+` of `x{1,3}+` repeats once more instead of being possessive.

The parser follows regparse.c of Oniguruma 6.9.10; error messages resemble those of Oniguruma.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import NoReturn

from gputok.automaton.brackets import Bracket
from gputok.automaton.charset import CharSet
from gputok.automaton.syntax import (
    ANY,
    ANY_BUT_NEWLINE,
    LINE_END,
    LINE_START,
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
    PlainText,
    Repeat,
    Scope,
    Sequence,
    any_case_string,
    can_be_empty,
    fold_case,
    is_anchor,
    repeat,
    sequence,
    string,
    word_boundary,
)
from gputok.automaton.unicode_tables import long_folds, property_set
from gputok.checks import short, shortened

MAX_DEPTH = 100
MAX_REPEAT = 100_000  # ONIG_MAX_REPEAT_NUM
CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "a": "\a", "v": "\v", "e": "\x1b"}
_POSIX_BRACKET = re.compile(r"\[:(?!:)\^?[^\W\d_]*:\]")


def parse(pattern: str) -> Node:
    """Parses a pattern.

    Raises ValueError, with the construct and its position, if Oniguruma rejects the pattern, or if neither an automaton
    nor the `regex` package can run the pattern as Oniguruma does.

    >>> parse("b+?")
    Repeat(body=Chars(chars=CharSet.of((0x62, 0x63))), least=1, most=None, greedy=False)
    """
    return Parser(pattern).parse()


def branches(pattern: str) -> list[tuple[str, Node]]:
    r"""Returns the alternatives of a pattern at its outermost level: the text and the syntax tree of each.

    >>> [text for text, _ in branches(r"a|(b|c)|[|\]]|\|d")]
    ['a', '(b|c)', '[|\\]]', '\\|d']
    """
    parser = Parser(pattern)
    found: list[tuple[str, Node]] = []
    start = 0
    while True:
        node = fold_case(parser.branch(), behind=False)
        found.append((pattern[start : parser.position], node))
        if not parser.take("|"):
            return found
        start = parser.position


class Parser:
    """Recursive descent over one pattern; a subclass reads another dialect."""

    dialect = "tokenizers' Oniguruma"
    word = property_set(r"\w")  # the characters of words, at whose edges \b matches
    option_letters: Mapping[str, str] = {"i": "ignore case", "m": "dot for all", "x": "extended"}
    most_quantifiers = 100  # how many quantifiers may follow one another, as in a+*?

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0
        self.n_groups = 0
        self.names: dict[str, int] = {}
        self.options: frozenset[str] = frozenset()  # those in force at `position`
        self.sets: list[str] = []  # how the pattern writes its sets of characters: `rust` writes them so, too
        self.empty_loops: list[int] = []  # where unbounded repetitions of a body that can be empty begin, for `rust`
        self.behind = ""  # "=" or "!" for each look-behind that contains `position`
        self.has_names = "(?<" in pattern.replace("(?<=", "").replace("(?<!", "") or "(?'" in pattern

    # --- reading ---

    def fail(self, what: str, position: int | None = None) -> NoReturn:
        where = self.position if position is None else position
        raise ValueError(f"pattern {shortened(self.pattern)!r}: {what} at position {where}")

    def unsupported(self, what: str, position: int) -> NoReturn:
        self.fail(f"{what}, which gputok cannot run as `tokenizers` does,", position)

    def peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.position)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        self.position += len(text) * found
        return found

    def next(self, ending: str) -> str:
        """Reads a character. At the end of the pattern the error is "the pattern ends " + `ending`."""
        if self.position == len(self.pattern):
            self.fail(f"the pattern ends {ending}")
        self.position += 1
        return self.pattern[self.position - 1]

    def until(self, end: str, what: str) -> str:
        stop = self.pattern.find(end, self.position)
        if stop < 0:
            self.fail(f"{what} without {end!r}")
        text, self.position = self.pattern[self.position : stop], stop + len(end)
        return text

    def digits(self, alphabet: str, most: int) -> str:
        following = self.pattern[self.position : self.position + most]
        found = "".join(itertools.takewhile(alphabet.__contains__, following))
        self.position += len(found)
        return found

    # --- alternatives, branches, quantifiers ---

    def parse(self) -> Node:
        node = self.alternatives()
        if self.position < len(self.pattern):
            self.fail("unmatched close parenthesis")
        return fold_case(node, behind=False)

    def deeper(self, what: str) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"{what} nested more than {MAX_DEPTH} deep")

    def alternatives(self) -> Node:
        options = self.options
        self.deeper("groups")
        branches = [self.branch()]
        while self.take("|"):
            branches.append(self.branch())
        self.depth -= 1
        self.options = options
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def branch(self) -> Node:
        items: list[Node] = []
        while self.position < len(self.pattern) and not self.peek("|") and not self.peek(")"):
            if not self.skip_comment():
                start = self.position
                atom = self.atom()
                if isinstance(atom, Chars):
                    self.sets.append(self.pattern[start : self.position])
                items.append(self.quantified(atom, start))
        return sequence(items)

    def skip_comment(self) -> bool:
        start = self.position
        if self.take("(?#"):
            while (c := self.next("inside a comment")) != ")":
                if c == "\\" and self.position < len(self.pattern):
                    self.position += 1
        elif "extended" in self.options and self.peek("#"):
            stop = self.pattern.find("\n", start)
            self.position = len(self.pattern) if stop < 0 else stop + 1
        elif "extended" in self.options and self.pattern[start : start + 1] in tuple(" \t\n\r\f"):
            self.position += 1
        return self.position > start

    def quantifier(self) -> tuple[int, int | None, bool, bool] | None:
        """Reads `*`, `+?`, `?+`, `{2,3}?`, ...: least, most, greedy, possessive; None: no quantifier follows."""
        start = self.position
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.pattern[start])
        if simple:
            self.position += 1
            if self.take("?"):
                return *simple, False, False
            return *simple, True, self.take("+")
        if not self.take("{"):
            return None
        low = self.digits("0123456789", 20)
        comma = self.take(",")
        high = self.digits("0123456789", 20) if comma else low
        if not self.take("}") or not (low or high):
            self.position = start  # Oniguruma reads a brace that starts no quantifier as a plain character
            return None
        least, most = int(low or 0), int(high) if high else None
        if max(least, most or 0) > MAX_REPEAT:
            self.fail(f"a repeat count above {MAX_REPEAT}", start)
        if most is not None and least > most:  # {3,1}: the possessive form of {1,3}
            return most, least, True, True
        return least, most, not (comma and self.take("?")), False

    def quantified(self, node: Node, start: int) -> Node:
        """Applies all quantifiers that follow; Ruby's syntax allows several."""
        for _ in range(self.most_quantifiers + 1):
            while self.skip_comment():
                pass
            quantifier = self.quantifier() if self.position < len(self.pattern) else None
            if quantifier is None:
                return node
            if is_anchor(node):
                self.fail("a quantifier on an anchor or look-around", start)
            least, most, greedy, possessive = quantifier
            repeated = repeat(node, least, most, greedy)
            if isinstance(repeated, Repeat) and repeated.most not in (0, 1) and can_be_empty(repeated.body):
                if repeated.most is not None:
                    # Whether Oniguruma leaves such a loop early depends on the size of its compiled code.
                    self.unsupported("a counted repetition of a body that can be empty", start)
                self.empty_loops.append(start)
            node = Atomic(repeated) if possessive else repeated
        self.fail(f"more than {self.most_quantifiers} quantifiers on one another", start)

    # --- atoms ---

    def atom(self) -> Node:
        start = self.position
        if self.quantifier():
            self.fail("a quantifier with nothing to repeat", start)
        c = self.next("")
        if c == "\\":
            node = self.escape(start)
            return self.text(node) if isinstance(node, str) else node
        if c == "(":
            return self.group(start)
        if c == "[":
            return self.bracket()
        if c == ".":
            return ANY if "dot for all" in self.options else ANY_BUT_NEWLINE
        return self.line_end(c) if c in "^$" else self.text(c)

    def line_end(self, c: str) -> Node:
        return LINE_START if c == "^" else LINE_END

    def text(self, c: str) -> Node:
        return PlainText(c, "ignore case" in self.options)

    def escape(self, start: int) -> Node | str:
        c = self.next("after a backslash")
        if (found := self.escaped_class(c)) is not None:
            chars, negated = found
            return Chars(~chars if negated else chars)
        if c in "bB":
            return word_boundary(self.word, c == "B")
        if c == "A":
            return TEXT_START
        if c in "zZ":
            self.refuse_behind("=!", rf"\{c}", start)
            before_end = Look(Sequence((Repeat(NEWLINE, 0, 1, True), TEXT_END)), True, False)
            return TEXT_END if c == "z" else before_end
        if c == "R":
            return Atomic(Choice((string("\r\n"), Chars(CharSet.chars("\n\v\f\r\x85\u2028\u2029")))))
        if c in "NO":
            return ANY if c == "O" else ANY_BUT_NEWLINE
        if c in "GKXyY":
            self.unsupported(f"\\{c}", start)
        if c == "g" and (self.peek("<") or self.peek("'")):
            self.unsupported(r"a call of a group (\g)", start)
        if c == "k" and (self.peek("<") or self.peek("'")):
            return self.named_backref(start)
        if c in "123456789":
            self.position -= 1
            number = int(self.digits("0123456789", 20))
            if number <= max(self.n_groups, 9):
                return self.numbered_backref(number, start)
            self.position = start + 2 if c in "89" else start + 1
            if c in "89":
                return c
            return self.byte(8, 3, start)
        if c == "0":
            return self.byte(8, 2, start)
        return self.escaped_character(c, start)

    def escaped_class(self, c: str) -> tuple[CharSet, bool] | None:
        r"""Reads `\w`, `\p{L}` and the like: a set, and True if the pattern means all others; None: another escape."""
        if c.lower() in "wdsh":
            return property_set(f"\\{c.lower()}"), c.isupper()
        return self.property(c == "P") if c in "pP" and self.peek("{") else None

    def escaped_character(self, c: str, start: int) -> str:
        """Reads an escape that stands for a character, not for a class, an anchor or a reference."""
        if c in "xo" and self.peek("{"):
            digits, base = ("0123456789abcdefABCDEF", 16) if c == "x" else ("01234567", 8)
            self.position += 1
            text = self.digits(digits, 11)
            if text and self.peek(" "):
                self.unsupported(rf"a list of code points in \{c}{{...}}", start)
            if not text or not self.take("}"):
                self.fail(rf"\{c}{{...}} without a number", start)
            return self.code_point(int(text, base), start)
        if c == "x":
            return self.byte(16, 2, start)
        if c == "u":
            text = self.digits("0123456789abcdefABCDEF", 4)
            if len(text) < 4:
                self.fail(r"\u without four hexadecimal digits", start)
            return self.code_point(int(text, 16), start)
        if c in "cCM":
            return self.code_point(self.control(c, start), start)
        return CONTROL.get(c, c)

    def control(self, c: str, start: int) -> int:
        r"""Reads \cx, \C-x or \M-x, which may be nested."""
        if c in "CM" and not self.take("-"):
            self.fail(rf"\{c} without a hyphen", start)
        inner = self.next("inside a control character")
        if c != "M" and inner == "?":
            return 0x7F
        if inner == "\\":
            inner = self.next("after a backslash")
            value = self.control(inner, start) if inner in "cCM" else ord(CONTROL.get(inner, inner))
        else:
            value = ord(inner)
        return (value & 0xFF) | 0x80 if c == "M" else value & 0x9F

    def byte(self, base: int, most: int, start: int) -> str:
        r"""Reads a byte of UTF-8 such as \x41 or \101; a character beyond ASCII needs all of its bytes."""
        digits, prefix, most_later = ("0123456789abcdefABCDEF", "\\x", 2) if base == 16 else ("01234567", "\\", 3)
        data, n_bytes = bytearray(), 1
        while len(data) < n_bytes:
            if data and not self.take(prefix):
                self.fail("a byte of a character that has more", start)
            value = int(self.digits(digits, most_later if data else most) or "0", base)
            if value > 0xFF:
                self.fail("an octal number above 0377", start)
            data.append(value)
            n_bytes = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.fail("bytes that are not UTF-8", start)

    def code_point(self, value: int, start: int) -> str:
        if value > 0x10FFFF or 0xD800 <= value < 0xE000:
            self.fail(f"{value:#x}, which is not a character,", start)
        return chr(value)

    def property(self, negated: bool) -> tuple[CharSet, bool]:
        r"""Reads the name of a property: its characters, and True if the pattern means all others."""
        start = self.position - 2
        self.position += 1
        negated ^= self.take("^")
        name = self.until("}", r"\p{")
        # property_set also knows sets that are no properties: these characters occur in their names, as in "rust:space"
        key = "" if {*name} & {*":\\"} else name
        return self.named_set(key, f"the unknown character property {short(name)}", start), negated

    def named_set(self, key: str, what: str, start: int) -> CharSet:
        try:
            return property_set(key)
        except KeyError:
            self.fail(what, start)

    # --- references ---

    def named_backref(self, start: int) -> Node:
        close = ">" if self.next("inside a reference") == "<" else "'"
        name = self.until(close, "a reference")
        if name in self.names:
            return self.backref(self.names[name], start)
        if not name.lstrip("-").isdecimal():
            self.fail(f"a reference to the undefined group {short(name)}", start)
        number = int(name)
        return self.numbered_backref(number + self.n_groups + 1 if number < 0 else number, start)

    def numbered_backref(self, number: int, start: int) -> Node:
        if self.has_names:
            self.fail("a reference by number beside named groups", start)
        return self.backref(number, start)

    def backref(self, number: int, start: int) -> Node:
        if "ignore case" in self.options:
            self.unsupported("a back reference that ignores case", start)
        if not 1 <= number <= self.n_groups:
            self.unsupported(f"a reference to group {number} before it was opened", start)
        return Backref(number)

    # --- groups ---

    def group(self, start: int) -> Node:
        if self.peek("*"):
            self.unsupported("a callout", start)
        if not self.take("?"):
            # In Ruby, plain groups do not capture if the pattern has named groups
            return self.body(start) if self.has_names else self.capture(start)
        c = self.next("inside a group")
        if c == ":":
            return self.body(start)
        if c in "=!":
            self.refuse_behind("=!", "a look-ahead", start)
            return Look(self.body(start), True, c == "!")
        if c == ">":
            return Atomic(self.body(start))
        if c == "<" and (self.peek("=") or self.peek("!")):
            c = self.next("")
            if c == "!":
                self.refuse_behind("=", "a negative look-behind", start)
            before, self.behind = self.behind, self.behind + c
            node = Look(self.body(start), False, c == "!")
            self.behind = before
            return node
        if c in "<'":
            return self.named_capture(c, start)
        if c == "-" or c.islower():
            return self.group_options(c, start)
        if c in "~({":
            self.unsupported({"~": "an absent operator", "(": "a conditional", "{": "a callout"}[c], start)
        self.fail(f"the unknown group (?{c}", start)

    def body(self, start: int) -> Node:
        node = self.alternatives()
        if not self.take(")"):
            self.fail("a parenthesis that is never closed", start)
        return node

    def named_capture(self, opening: str, start: int) -> Node:
        name = self.until(">" if opening == "<" else "'", "a group name")
        if not name or not (name[0].isalpha() or name[0] == "_"):
            self.fail(f"the invalid group name {short(name)}", start)
        if name in self.names:
            self.unsupported(f"two groups named {short(name)}", start)
        self.names[name] = self.n_groups + 1
        return self.capture(start)

    def refuse_behind(self, kinds: str, what: str, start: int) -> None:
        """Raises ValueError within a look-behind of one of these kinds ("=", "!"), where Oniguruma refuses `what`."""
        if {*kinds} & {*self.behind}:
            self.fail(f"{what} in a look-behind", start)

    def capture(self, start: int) -> Node:
        self.refuse_behind("!", "a group that captures", start)
        self.n_groups += 1
        number = self.n_groups
        return Capture(self.body(start), number)

    def group_options(self, c: str, start: int) -> Node:
        """Reads `(?i-m:...)`, or `(?i)`, which reaches to the end of the enclosing group, across alternatives."""
        before = self.options
        on = True
        while c not in ":)":
            if c == "-":
                on = False
            elif c in self.option_letters:
                self.options = (self.options - {self.option_letters[c]}) | ({self.option_letters[c]} if on else set())
            else:
                self.fail(f"the unknown option {c!r}", start)
            c = self.next("inside the options of a group")
        node = self.body(start) if c == ":" else self.alternatives()
        self.options = before
        return Scope(node)

    # --- brackets ---

    def bracket(self) -> Node:
        inner, negated = self.bracket_set()
        if "ignore case" not in self.options:
            return Chars(inner.characters(negated=negated))
        folded = [any_case_string(fold) for c, fold in long_folds().items() if c in inner.stored()]
        chars = Chars(inner.any_case().characters(negated=negated))
        return Choice((chars, *dict.fromkeys(folded))) if folded and not negated else chars

    def bracket_set(self) -> tuple[Bracket, bool]:
        """Reads a bracket after its `[`: the set, and True if the set is negated."""
        start = self.position - 1
        self.deeper("brackets")
        negated = self.take("^")
        operands: list[Bracket] = []  # the left sides of &&
        parts: list[Bracket] = []
        first = True
        while True:
            if self.position == len(self.pattern):
                self.fail("a bracket that is never closed", start)
            if self.peek("]"):
                if not first:
                    break
                if "]" not in self.pattern[self.position + 1 :]:
                    self.fail("an empty bracket", start)
            first = False
            if self.take("&&"):
                operands.append(Bracket.union(parts))
                parts = []
            else:
                parts.append(self.bracket_item())
        self.position += 1
        self.depth -= 1
        result = Bracket.union(parts)
        for operand in operands:
            result &= operand
        return result, negated

    def bracket_item(self) -> Bracket:
        """Reads a character, range, class, POSIX bracket or inner bracket."""
        start = self.position
        inner = self.inner_bracket()
        if inner is not None:
            return inner
        first = self.bracket_unit()
        if not self.peek("-") or self.peek("-]") or self.peek("-&&"):
            return Bracket.of_range(first, first) if isinstance(first, str) else first
        if isinstance(first, Bracket):
            self.fail("a range that begins with a class", start)
        self.position += 1
        inner = self.inner_bracket()
        if inner is not None:  # Oniguruma drops the beginning of the range
            return inner
        last = self.bracket_unit()
        if isinstance(last, Bracket):
            self.fail("a range that ends with a class", start)
        if last < first:
            self.fail(f"the empty range {first}-{last}", start)
        return Bracket.of_range(first, last)

    def inner_bracket(self) -> Bracket | None:
        if not self.peek("[") or self.peek_posix_bracket():
            return None
        self.position += 1
        inner, negated = self.bracket_set()
        return inner.negated() if negated else inner

    def peek_posix_bracket(self) -> bool:
        return _POSIX_BRACKET.match(self.pattern, self.position) is not None

    def bracket_unit(self) -> Bracket | str:
        """Reads a class, or a character that may begin or end a range."""
        start = self.position
        if self.peek_posix_bracket():
            return Bracket.of_class(*self.posix_class())
        c = self.next("inside a bracket")
        if c != "\\":
            return c
        c = self.next("after a backslash")
        if (found := self.escaped_class(c)) is not None:
            return Bracket.of_class(*found)
        if c in "01234567":
            self.position -= 1
            return self.byte(8, 3, start)
        return "\b" if c == "b" else self.escaped_character(c, start)

    def posix_class(self) -> tuple[CharSet, bool]:
        """Reads `[:alpha:]` or `[:^alpha:]`: its characters, and True if it means all others."""
        start = self.position
        self.position += len("[:")
        negated = self.take("^")
        key = f"[:{self.until(':]', 'a POSIX bracket')}:]"
        return self.named_set(key, f"the unknown POSIX bracket {key}", start), negated
