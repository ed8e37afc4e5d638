"""The syntax tree of a pattern: ten node types, and functions that build and fold trees as Oniguruma does."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gputok.automaton.charset import EVERYTHING, CharSet
from gputok.automaton.unicode_tables import any_case, canonical, joined_folds, long_folds, property_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import regex


class Chars(NamedTuple):
    """One character of a set."""

    chars: CharSet


class Sequence(NamedTuple):
    """All items, one after the other."""

    items: tuple[Node, ...]


class Choice(NamedTuple):
    """One of several options."""

    options: tuple[Node, ...]  # in order of preference


class Repeat(NamedTuple):
    """The body, repeated."""

    body: Node
    least: int
    most: int | None  # None: no limit
    greedy: bool


class Atomic(NamedTuple):
    """Only the first match of the body, without backtracking into it: `(?>...)` and possessive quantifiers."""

    body: Node


class Look(NamedTuple):
    """A look-around. The body must match after this position (ahead) or before it; if negative, it must not match."""

    body: Node
    ahead: bool
    negative: bool


class Capture(NamedTuple):
    """A capturing group, to which back references may refer."""

    body: Node
    number: int


class Backref(NamedTuple):
    """The text that the group with this number matched."""

    number: int


class PlainText(NamedTuple):
    """Plain characters, before case folding; `fold_case` removes these nodes."""

    text: str
    ignore_case: bool


class Scope(NamedTuple):
    """A group with options; its text is folded separately from its neighbours. `fold_case` removes these nodes."""

    body: Node


Node: TypeAlias = Chars | Sequence | Choice | Repeat | Atomic | Look | Capture | Backref | PlainText | Scope

ANY_BUT_NEWLINE = Chars(~CharSet.chars("\n"))
NEWLINE = Chars(CharSet.chars("\n"))
ANY = Chars(EVERYTHING)
TEXT_START, TEXT_END = Look(ANY, False, True), Look(ANY, True, True)
# In Oniguruma, no line begins after a newline at the end of the text.
LINE_START = Choice((TEXT_START, Sequence((Look(NEWLINE, False, False), Look(ANY, True, False)))))
LINE_END = Look(ANY_BUT_NEWLINE, True, True)


def sequence(items: list[Node]) -> Node:
    """A sequence of items; a single item stays as it is."""
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def string(text: str) -> Node:
    """Exactly these characters."""
    return sequence([Chars(CharSet.chars(c)) for c in text])


@functools.cache
def word_boundary(word_characters: CharSet, negated: bool) -> Node:
    r"""A position between a word character and another character (`\b`), or any other position (`\B`)."""
    word = Chars(word_characters)
    return Choice(
        tuple(
            Sequence((Look(word, False, not before), Look(word, True, not before ^ (not negated))))
            for before in (True, False)
        )
    )


def any_case_string(text: str) -> Node:
    """These characters, each in upper or lower case."""
    return sequence([Chars(any_case(CharSet.chars(c))) for c in text])


def _any_case_text(text: str, behind: bool) -> list[Node]:
    """The nodes of text that ignores case. As in Oniguruma, a part that matches one character (`st`: `ﬆ`) is a node."""
    nodes: list[Node] = []
    at = 0
    while at < len(text):
        for n_chars in (3, 2):
            part = text[at : at + n_chars]
            if len(part) == n_chars and canonical(part) in joined_folds() and not behind:
                nodes.append(Choice((any_case_string(part), Chars(joined_folds()[canonical(part)]))))
                break
        else:
            n_chars, node = 1, any_case_string(text[at])
            if text[at] in long_folds() and not behind:
                node = Choice((node, any_case_string(long_folds()[text[at]])))
            nodes.append(node)
        at += n_chars
    return nodes


def fold_case(node: Node, behind: bool) -> Node:
    """Replaces PlainText and Scope by other nodes. In a look-behind, each character of a text is folded separately."""
    match node:
        case PlainText(text, ignore_case):
            return sequence(_any_case_text(text, behind)) if ignore_case else string(text)
        case Sequence():
            items: list[Node] = []
            for item in _flat(node):
                last = items[-1] if items else None
                if isinstance(item, PlainText) and isinstance(last, PlainText) and item.ignore_case == last.ignore_case:
                    items[-1] = PlainText(last.text + item.text, item.ignore_case)
                else:
                    items.append(item)
            return sequence([fold_case(item, behind) for item in items])
        case Choice(options):
            return Choice(tuple(fold_case(option, behind) for option in options))
        case Scope(body):
            return fold_case(body, behind)
        case Look(body, ahead, _):
            return node._replace(body=fold_case(body, behind or not ahead))
        case Repeat() | Atomic() | Capture():
            return node._replace(body=fold_case(node.body, behind))
    return node


def _flat(node: Sequence) -> Iterator[Node]:
    for item in node.items:
        yield from _flat(item) if isinstance(item, Sequence) else (item,)


def inside(node: Node) -> Iterator[Node]:
    """The node, and all nodes inside of it."""
    yield node
    match node:
        case Sequence(nodes) | Choice(nodes):
            for each in nodes:
                yield from inside(each)
        case Repeat(body) | Atomic(body) | Look(body) | Capture(body) | Scope(body):
            yield from inside(body)


def can_be_empty(node: Node) -> bool:
    """True if the node may match the empty string."""
    match node:
        case Chars() | PlainText():
            return False
        case Sequence(items):
            return all(map(can_be_empty, items))
        case Choice(options):
            return any(map(can_be_empty, options))
        case Repeat(body, least, _, _):
            return least == 0 or can_be_empty(body)
        case Capture(body, _) | Atomic(body) | Scope(body):
            return can_be_empty(body)
    return True


def is_anchor(node: Node) -> bool:
    """True if Oniguruma rejects a quantifier after the node."""
    words = property_set(r"\w")
    if isinstance(node, Look) or node in (LINE_START, *(word_boundary(words, negated) for negated in (False, True))):
        return True
    return isinstance(node, Choice) and any(map(is_anchor, node.options))


_TIMES: list[tuple[int, int | None]] = [(0, 1), (0, None), (1, None)]
_KINDS = [(*times, greedy) for greedy in (True, False) for times in _TIMES]
# Oniguruma's ReduceTypeTable. Row: the inner quantifier, column: the outer one, both in the order ? * + ?? *? +?
# del: the outer quantifier has no effect; asis: both stay; +??: (?:x+)??
_REDUCED = [
    "del *   *   ??  *?  asis",
    "del del del +?? +?? del",
    "*   *   del asis +?? del",
    "del *?  *?  del *?  *?",
    "del del del del del del",
    "asis *  +   *?  *?  del",
]
_BY_NAME = {"*": _KINDS[1], "+": _KINDS[2], "??": _KINDS[3], "*?": _KINDS[4]}


def repeat(node: Node, least: int, most: int | None, greedy: bool) -> Node:
    """Applies a quantifier to a node; two quantifiers on one node are reduced as in Oniguruma."""
    if (least, most) == (1, 1):
        return node
    if isinstance(node, Repeat):
        inner = (node.least, node.most, node.greedy)
        if inner in _KINDS and (least, most, greedy) in _KINDS:
            rule = _REDUCED[_KINDS.index(inner)].split()[_KINDS.index((least, most, greedy))]
            if rule == "del":
                return node
            if rule in _BY_NAME:
                return Repeat(node.body, *_BY_NAME[rule])
            if rule == "+??":
                return Repeat(Repeat(node.body, 1, None, True), 0, 1, False)
        elif inner in _KINDS[1:3] and most is not None and most > 1 and greedy:
            most = least or 1
        elif least == most and node.least == node.most:
            return Repeat(node.body, least * node.least, least * node.least, True)
        if node.least == 0 and node.greedy and greedy and most and isinstance(node.body, Chars | PlainText):
            return Repeat(node.body, 0, None if node.most is None else node.most * most, True)
    return Repeat(node, least, most, greedy)


# The most characters of a pattern with its sets written out. The `regex` package reads three million a second.
MOST_CHARACTERS = 8_000_000


@dataclasses.dataclass(frozen=True)
class Backtracking:
    """A pattern that runs in the `regex` package."""

    pattern: str  # in Oniguruma's syntax
    compiled: regex.Pattern


def to_regex(node: Node) -> regex.Pattern:
    """Compiles a syntax tree to an equivalent pattern of the `regex` package.

    Sets are written out as code points and anchors as look-arounds, because properties, case folding and anchors of the
    package follow another Unicode version and another dialect. The package backtracks, which may take exponential time.
    Raises ValueError for more than `MOST_CHARACTERS`, which would take many seconds to compile.
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
    """Writes a syntax tree as a pattern; spell: how to write sets, references, ...; None: as all dialects do."""

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
