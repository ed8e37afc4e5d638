"""A syntax tree to the tables of an automaton: leftmost-first subset construction with one character looked ahead.

A state is the ordered list of threads (places in a program) that a backtracking matcher would still try, best first.
For each class of next character: follow the threads through everything that consumes nothing, *knowing* the next class,
so that look-aheads are decided at once; a thread that reaches the end of the pattern cuts all below it, and that class
is accepted; what is left steps over the character. This keeps Perl's order of preference exactly (Cox, "Regular
Expression Matching: the Virtual Machine Approach", 2009, run ahead of time), for all patterns without memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gputok.automaton.charset import EVERYTHING, NOTHING, NOTHING_BUT_END, CharSet, partition
from gputok.automaton.syntax import (
    Atomic,
    Backref,
    Chars,
    Choice,
    Group,
    Look,
    Node,
    Repeat,
    Sequence,
    can_be_empty,
)
from gputok.kernels import DEAD, Automaton

MAX_PROGRAM = 20_000  # instructions
MAX_STATES = 2048
MAX_STEPS = 4_000_000  # of the construction: some seconds


class OutsideError(Exception):
    """No automaton of a decent size with one character of look-ahead expresses the pattern; the text says why."""


class _Step(NamedTuple):
    """An instruction of the program that the threads run through."""

    kind: str  # "char", "ahead", "behind": go to `first` if the character is in `chars`; "split": to both; "match"
    first: int = -1
    second: int = -1
    chars: int = -1  # index into the sets


class _Program:
    """Instructions, made from the end of the pattern to its beginning."""

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
        """Appends the instructions of `node`, after which comes instruction `then`; their entry."""
        match node:
            case Chars(chars):
                return self.add("char", then, chars=chars)
            case Sequence(items):
                for item in reversed(items):
                    then = self.emit(item, then)
                return then
            case Choice(options):
                return self.choice([self.emit(option, then) for option in options])
            case Group(body, _):
                return self.emit(body, then)
            case Look(body, ahead, negative):
                chars = look_set(body, ahead)
                if chars is None:
                    raise OutsideError("a look-around at more than one character")
                return self.add(
                    "ahead" if ahead else "behind", then, chars=chars.negated_look() if negative else chars
                )
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
        """`stop` comes after a repetition that might go on, `full` after the last that `most` allows."""
        if most is None:
            if can_be_empty(body):
                raise OutsideError("an unbounded repetition of what can be empty")
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
        """Of single characters only: `x++` is `x+(?!x)`, `x?+` is `(?:x|(?!x))`, `x{1,3}` stops early only before no x."""
        if isinstance(body, Group):
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
    """The set that `node` is equal to, if it always matches one character."""
    match node:
        case Chars(chars):
            return chars
        case Group(body, _):
            return one_char(body)
        case Choice(options):
            sets = [one_char(option) for option in options]
            return None if None in sets else _any(sets)
    return None


def look_set(node: Node, ahead: bool) -> CharSet | None:
    """The characters, END among them, next to which a look-around at `node` succeeds; None if one doesn't decide."""
    match node:
        case Chars(chars):
            return chars
        case Group(body, _) | Atomic(body):
            return look_set(body, ahead)
        case Choice(options):
            sets = [look_set(option, ahead) for option in options]
            return None if None in sets else _any(sets)
        case Look(body, inner_ahead, negative) if inner_ahead == ahead:
            inner = look_set(body, ahead)
            return inner.negated_look() if inner is not None and negative else inner
        case Repeat(body, least, _, _):
            return (
                (EVERYTHING | NOTHING_BUT_END)
                if least == 0
                else look_set(body, ahead)
                if least == 1
                else None
            )
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


def _any(sets: list) -> CharSet:
    result = NOTHING
    for chars in sets:
        result |= chars
    return result


def has_one_way(node: Node) -> bool:
    """Whether there is at most one way to match at any place, so that atomic or not makes no difference."""
    match node:
        case Chars() | Look():
            return True
        case Sequence(items):
            return all(map(has_one_way, items))
        case Choice():
            return one_char(node) is not None
        case Repeat(body, least, most, _):
            return least == most and has_one_way(body)
        case Group(body, _) | Atomic(body):
            return has_one_way(body)
    return False


def compile_node(node: Node) -> Automaton:
    """The tables of a syntax tree, minimal in states and classes.

    A pattern that matches the empty string accepts in state 0. Raises OutsideError for what needs memory or more
    look-ahead, and where the number of states explodes (within seconds).
    """
    program = _Program(node)
    class_of, member = partition(list(program.sets) or [EVERYTHING])
    delta, accept = _subsets(program, member)
    delta, accept = _minimize(delta, accept)
    delta, accept, class_of = _merge_classes(delta, accept, class_of)
    if delta.shape[1] > 256:
        raise OutsideError("more than 255 classes of characters")
    # an empty match leaves a gap where it is not taken, beside the last match
    gaps = _may_be_gap(delta, accept)
    rows: dict[bytes, int] = {}
    page = [rows.setdefault(row.tobytes(), len(rows)) for row in class_of.astype(np.uint8).reshape(-1, 128)]
    return Automaton(
        ascii_class=class_of[:128].astype(np.uint8),
        page=np.array(page, np.uint16),
        member=np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 128).copy(),
        delta=delta,
        accept=accept,
        strong=_strong(delta, accept, gaps),
        gapless=not gaps.any(),
    )


def _subsets(program: _Program, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The subset construction: delta int64[states, classes + 1] and accept bool of the same shape."""
    steps = program.steps
    looks_behind = any(step.kind == "behind" for step in steps)
    members = [frozenset(np.flatnonzero(row).tolist()) for row in member]
    n_columns = member.shape[1]
    budget = MAX_STEPS

    def follow(threads: tuple[int, ...], before: int, column: int) -> tuple[list[int], bool]:
        """The "char" instructions that the threads reach before a character of class `column`; whether one matches."""
        nonlocal budget
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
                    budget -= len(seen)
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
        budget -= len(seen)
        return reached, False

    start = ((program.start,), -1)
    states = {start: 0}
    queue = [start]
    delta, accept = [], []
    for threads, before in queue:  # grows while it is read
        row, accepted = [DEAD] * n_columns, [False] * n_columns
        for column in range(n_columns):
            reached, accepted[column] = follow(threads, before, column)
            if column == n_columns - 1:
                break
            after = tuple(
                dict.fromkeys(steps[at].first for at in reached if column in members[steps[at].chars])
            )
            if after:
                state = (after, column if looks_behind else -1)
                if state not in states:
                    states[state] = len(states)
                    queue.append(state)
                row[column] = states[state]
            if len(states) > MAX_STATES or budget < 0:
                raise OutsideError(f"an automaton of more than {min(len(states), MAX_STATES)} states")
        delta.append(row)
        accept.append(accepted)
    return np.array(delta), np.array(accept)


def _minimize(delta: np.ndarray, accept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merges states that nothing can tell apart (Moore's algorithm); those that lead to no match become DEAD."""
    n_states = len(delta)
    target = np.vstack([np.where(delta == DEAD, n_states, delta), np.full(delta.shape[1], n_states)])
    rows = np.vstack([accept, np.zeros(accept.shape[1], bool)])
    _, block = np.unique(rows, axis=0, return_inverse=True)
    while True:
        _, finer = np.unique(
            np.column_stack([block.ravel(), block.ravel()[target]]), axis=0, return_inverse=True
        )
        if finer.max() == block.max():
            break
        block = finer
    block = block.ravel()
    _, first = np.unique(block[: n_states + 1], return_index=True)
    kept = np.sort(first[first < n_states])
    # START stays, even if the pattern matches nothing
    kept = kept[(block[kept] != block[n_states]) | (kept == 0)]
    number = np.full(block.max() + 1, DEAD)
    number[block[kept]] = np.arange(len(kept))
    number[block[n_states]] = DEAD
    return number[block[target[kept]]].astype(np.uint16), accept[kept].astype(np.uint8)


def _merge_classes(
    delta: np.ndarray, accept: np.ndarray, class_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges the classes of characters whose columns are equal."""
    columns = np.vstack([delta, accept])[:, :-1]
    _, first, merged = np.unique(columns, axis=1, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    kept = np.r_[np.sort(first), delta.shape[1] - 1]
    return (
        np.ascontiguousarray(delta[:, kept]),
        np.ascontiguousarray(accept[:, kept]),
        rank[merged.ravel()][class_of],
    )


def _may_be_gap(delta: np.ndarray, accept: np.ndarray) -> np.ndarray:
    """bool[classes]: whether a walk that begins with a character of the class can die or end without a match."""
    n_classes = delta.shape[1] - 1
    going_on = (accept == 0) & (delta != DEAD)
    fails = ((accept == 0) & (delta == DEAD)).any(axis=1)  # END's column included: there is no more to come
    while True:  # a state fails too if it can go on, unaccepted, to one that fails
        wider = fails | (going_on & fails[np.where(delta == DEAD, 0, delta)]).any(axis=1)
        if (wider == fails).all():
            break
        fails = wider
    if accept[0].any():
        return np.ones(n_classes, bool)
    first = delta[0, :n_classes]
    return np.where(first == DEAD, True, fails[np.where(first == DEAD, 0, first)])


def _strong(delta: np.ndarray, accept: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """uint8[classes, classes]: 1 at (a, b) if text can be cut between them and the left part be walked alone.

    No walk that steps over `a` may live on over `b` (a word ends there, or ended before); at the end of text it must
    be accepted as before `b`; and they must not be two gap characters, which would be one piece.
    """
    n_classes = delta.shape[1] - 1
    strong = ~np.logical_and.outer(gaps, gaps)
    for a in range(n_classes):
        after, _ = np.unique(delta[:, a], return_index=True)  # see partition
        after = after[after != DEAD]
        strong[a] &= (delta[after, :-1] == DEAD).all(axis=0)
        strong[a] &= (accept[after, :-1] == accept[after, -1:]).all(axis=0)
    return strong.astype(np.uint8)
