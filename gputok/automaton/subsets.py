"""Compiles a syntax tree to the tables of an automaton: leftmost-first subset construction, one character looked ahead.

A state is the ordered list of threads (positions in a program) that a backtracking matcher would still try, best first.
For each class of next character, the construction follows the threads through all steps that consume nothing. It
*knows* the next class, so it decides look-aheads at once. If a thread reaches the end of the pattern, the class is
accepted, and all threads below it are dropped. The others step over the character. This keeps Perl's order of
preference (Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009), without back references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.automaton.charset import EVERYTHING, NOTHING_BUT_END, CharSet, partition, union
from gputok.automaton.minimal import OutsideError, finished
from gputok.automaton.syntax import Atomic, Backref, Capture, Chars, Choice, Look, Node, Repeat, Sequence, can_be_empty
from gputok.kernels import DEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.kernels import Automaton
    from gputok.types import Mask, Positions

MAX_PROGRAM = 20_000  # The most instructions that a pattern becomes
MAX_STATES = 2048
MAX_STEPS = 4_000_000  # The most steps that the construction takes, a few seconds


class _Step(NamedTuple):
    """An instruction of the program that the threads run through."""

    # "char": steps over the next character and goes to `first`, if the character is in `chars`; "ahead", "behind": go
    # to `first` if the next or the last character is in `chars`; "split": goes to `first`, and, as a second choice, to
    # `second`; "match": the end of the pattern
    kind: str
    first: int = -1
    second: int = -1
    chars: int = -1  # index into `_Program.sets`


class _Program:
    """The instructions of a pattern, from its end to its beginning."""

    def __init__(self, node: Node) -> None:
        self.steps: list[_Step] = [_Step("match")]
        self.sets: dict[CharSet, int] = {}
        self.start = self.emit(node, 0)

    def add(self, kind: str, first: int = -1, second: int = -1, chars: CharSet | None = None) -> int:
        if len(self.steps) >= MAX_PROGRAM:
            raise OutsideError(f"more than {MAX_PROGRAM} steps when its repetitions are written out")
        index = -1 if chars is None else self.sets.setdefault(chars, len(self.sets))
        self.steps.append(_Step(kind, first, second, index))
        return len(self.steps) - 1

    def emit(self, node: Node, then: int) -> int:
        """Appends the instructions of `node`, which continue at instruction `then`; returns the first of them."""
        match node:
            case Chars(chars):
                return self.add("char", then, chars=chars)
            case Sequence(items):
                for item in reversed(items):
                    then = self.emit(item, then)
                return then
            case Choice(options):
                return self.choice([self.emit(option, then) for option in options])
            case Capture(body, _):
                return self.emit(body, then)
            case Look(body, ahead, negative):
                chars = look_set(body, ahead)
                if chars is None:
                    raise OutsideError("a look-around at more than one character")
                return self.add("ahead" if ahead else "behind", then, chars=chars.negated_look() if negative else chars)
            case Repeat(body, least, most, greedy):
                return self.repeat(body, least, most, greedy, then, then)
            case Atomic(body):
                return self.atomic(body, then)
            case Backref():
                raise OutsideError("a back reference")
        raise AssertionError(node)

    def choice(self, entries: list[int]) -> int:
        entry = entries[-1]
        for other in reversed(entries[:-1]):
            entry = self.add("split", other, entry)
        return entry

    def repeat(self, body: Node, least: int, most: int | None, greedy: bool, stop: int, full: int) -> int:
        """Appends a repetition; goes on at `stop`, or at `full` after `most` times. Returns the first instruction."""
        if most is None:
            if can_be_empty(body):
                raise OutsideError("an unbounded repetition of a body that can be empty")
            entry = self.add("split")
            again = self.emit(body, entry)
            self.steps[entry] = _Step("split", *((again, stop) if greedy else (stop, again)))
        else:
            entry = full
            for _ in range(most - least):
                again = self.emit(body, entry)
                entry = self.add("split", *((again, stop) if greedy else (stop, again)))
        for _ in range(least):
            entry = self.emit(body, entry)
        return entry

    def atomic(self, body: Node, then: int) -> int:
        """Appends an atomic group of single characters.

        `x++` becomes `x+(?!x)`, `x?+` becomes `(?:x|(?!x))`; `x{1,3}` may only stop early if no x follows.
        """
        if isinstance(body, Capture):
            return self.atomic(body.body, then)
        if has_one_way(body):
            return self.emit(body, then)
        if isinstance(body, Repeat) and (chars := one_char(body.body)) is not None:
            if not body.greedy:
                return self.repeat(body.body, body.least, body.least, True, then, then)
            stop = self.add("ahead", then, chars=chars.negated_look())
            return self.repeat(Chars(chars), body.least, body.most, True, stop, then)
        raise OutsideError("an atomic group or possessive quantifier on more than one character")


def one_char(node: Node) -> CharSet | None:
    """The set of characters that `node` matches; None: `node` may match another number of characters than one."""
    match node:
        case Chars(chars):
            return chars
        case Capture(body, _):
            return one_char(body)
        case Choice(options):
            sets = [one_char(option) for option in options]
            return None if None in sets else union(*filter(None, sets))
    return None


def look_set(node: Node, ahead: bool) -> CharSet | None:
    """The neighbouring characters, maybe with END, for which a look-around succeeds; None: it needs several of them."""
    match node:
        case Chars(chars):
            return chars
        case Capture(body, _) | Atomic(body):
            return look_set(body, ahead)
        case Choice(options):
            sets = [look_set(option, ahead) for option in options]
            return None if None in sets else union(*filter(None, sets))
        case Look(body, inner_ahead, negative) if inner_ahead == ahead:
            inner = look_set(body, ahead)
            return inner.negated_look() if inner is not None and negative else inner
        case Repeat(body, least, _, _):
            if least == 0:
                return EVERYTHING | NOTHING_BUT_END
            return look_set(body, ahead) if least == 1 else None
        case Sequence(items):
            result = EVERYTHING | NOTHING_BUT_END
            order = list(items if ahead else reversed(items))
            for at, item in enumerate(order):
                chars = look_set(item, ahead)
                if chars is None or (at < len(order) - 1 and not isinstance(item, Look)):
                    return None
                result &= chars
            return result
    return None


def has_one_way(node: Node) -> bool:
    """True if `node` can match in at most one way at any position, so that an atomic group makes no difference."""
    match node:
        case Chars() | Look():
            return True
        case Sequence(items):
            return all(map(has_one_way, items))
        case Choice():
            return one_char(node) is not None
        case Repeat(body, least, most, _):
            return least == most and has_one_way(body)
        case Capture(body, _) | Atomic(body):
            return has_one_way(body)
    return False


def compile_node(node: Node) -> Automaton:
    """Compiles a syntax tree to an automaton with as few states and classes as possible.

    The automaton of a pattern that matches the empty string accepts in state 0. Raises OutsideError, within seconds, if
    the pattern has back references, needs more look-ahead than one character, or needs too many states.
    """
    program = _Program(node)
    class_of, member = partition(list(program.sets) or [EVERYTHING])
    return finished(*_subsets(program, member), class_of)


def _subsets(program: _Program, member: Mask) -> tuple[Positions, Mask]:
    """The subset construction: delta int64[n_states, n_classes + 1] and accept, bool of the same shape."""
    steps = program.steps
    looks_behind = any(step.kind == "behind" for step in steps)
    members = [frozenset(np.flatnonzero(row).tolist()) for row in member]
    budget = MAX_STEPS

    def spend(n_steps: int) -> None:
        nonlocal budget
        budget -= n_steps
        if budget < 0:
            raise OutsideError(f"an automaton that takes more than {MAX_STEPS:,} steps to make")

    def follow(threads: tuple[int, ...], before: int, column: int) -> tuple[list[int], bool]:
        """Returns the "char" instructions that threads reach before class `column`, and whether the pattern ends.

        before: the class of the last character; -1 at the start of a match.
        """
        seen: set[int] = set()
        reached: list[int] = []
        for thread in threads:
            stack = [thread]
            while stack:
                at = stack.pop()
                if at in seen:
                    continue
                seen.add(at)
                kind, first, second, chars = steps[at]
                if kind == "match":
                    spend(len(seen))
                    return reached, True
                if kind == "char":
                    reached.append(at)
                elif kind == "split":
                    stack += (second, first)
                else:
                    if kind == "behind" and before < 0:
                        raise OutsideError("a look-behind where a match begins")
                    if (column if kind == "ahead" else before) in members[chars]:
                        stack.append(first)
        spend(len(seen))
        return reached, False

    def step(state: tuple[tuple[int, ...], int], column: int) -> tuple[tuple[tuple[int, ...], int] | None, bool]:
        reached, accepted = follow(*state, column)
        after = tuple(dict.fromkeys(steps[at].first for at in reached if column in members[steps[at].chars]))
        return (after, column if looks_behind else -1) if after else None, accepted

    return explored(((program.start,), -1), member.shape[1], step, MAX_STATES)[1:]


def explored(
    start: Any, width: int, step: Callable[[Any, int], tuple[Any, bool]], most: int
) -> tuple[list[Any], Positions, Mask]:
    """Finds all states that are reached from `start`: the states, and delta and accept, each of `width` columns.

    step(state, column) -> (the next state, or None; whether the state accepts before a character of this class). The
    last column is END. Raises OutsideError if there are more than `most` states.
    """
    numbers, queue = {start: 0}, [start]
    delta: list[list[int]] = []
    accept: list[list[bool]] = []
    for state in queue:  # the loop appends to the queue
        row, accepted = [DEAD] * width, [False] * width
        for column in range(width):
            following, accepted[column] = step(state, column)
            if following is None or column == width - 1:
                continue
            if following not in numbers:
                if len(numbers) == most:
                    raise OutsideError(f"an automaton of more than {most} states")
                numbers[following] = len(numbers)
                queue.append(following)
            row[column] = numbers[following]
        delta.append(row)
        accept.append(accepted)
    return queue, np.array(delta), np.array(accept)
