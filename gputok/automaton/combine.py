"""Automata made of others: one without gaps, and one that cuts what another one has cut.

    completed(automaton)      its gaps are matches as well
    refined(outer, inner)     the words of `inner` within the words of `outer`

A pre-tokenizer often cuts in several steps, each step within the words of the step before. One automaton in place of
all steps needs one walk over the text. Two facts decide if such an automaton exists. First, an automaton is a rule for
one word and starts each word in state 0; so where `inner` ends a word in the middle of a word of `outer`, `outer` must
go on as if it started there. Second, one character is looked ahead; so at each place `outer` must know if its word ends
there, or `inner` must be a rule about two neighbouring characters. Both are checked state by state; the result is None
if there is no such automaton, or a too large one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gputok.automaton.subsets import OutsideError, finished
from gputok.kernels import DEAD, Automaton

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gputok.types import Mask, Positions

_MOST_STATES = 1024
_STOP = -1  # a next state: the word ends, at the last place that was accepted


class _Rule(NamedTuple):
    """An automaton as tables for this module; an accepted place that no word can end at is not marked."""

    delta: Positions  # int64[n_states, n_classes + 1], the last column is END
    accept: Mask  # bool of the same shape
    fails: Mask  # bool[n_states]: True if a word that has come so far may have ended earlier
    class_of: Positions  # int64[0x110000]

    @property
    def n_classes(self) -> int:
        return self.delta.shape[1] - 1

    def entered(self) -> Positions:
        """The states that some character leads to."""
        return np.unique(self.delta[self.delta != DEAD], return_index=True)[0]

    def is_prompt(self) -> bool:
        """True if a word always ends where the walk dies, so that no character is read twice."""
        states = self.entered()
        return bool((self.accept[states] | (self.delta[states] != DEAD)).all())

    def is_local(self) -> bool:
        """True if it depends on two neighbouring characters alone if there is a cut between them."""
        states = self.delta[self.entered()]
        goes_on = states != DEAD
        return self.is_prompt() and bool((states == self.delta[0])[goes_on].all())


def _rule(automaton: Automaton) -> _Rule:
    delta, accept = automaton.delta.astype(np.int64), automaton.accept.astype(bool)
    fails = _failing(delta, accept)
    class_of = np.asarray(automaton.member)[automaton.page].ravel().astype(np.int64)
    needed = (delta == DEAD) | fails[np.where(delta == DEAD, 0, delta)]
    return _Rule(delta, accept & needed, fails, class_of)


def _failing(delta: Positions, accept: Mask) -> Mask:
    """bool[n_states]: True if a walk from this state can end without another accepted place."""
    dead = delta == DEAD
    following = np.where(dead, 0, delta)
    fails: Mask = (~accept & dead).any(axis=1)
    while True:
        wider: Mask = fails | (~accept & ~dead & fails[following]).any(axis=1)
        if (wider == fails).all():
            return fails
        fails = wider


class _Same(NamedTuple):
    """Automata as keys of a cache: equal if they are the same objects."""

    automata: tuple[Automaton, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and list(map(id, self.automata)) == list(map(id, other.automata))

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.automata)))


@functools.lru_cache(maxsize=256)
def _made(make: Callable[..., Automaton], of: _Same) -> Automaton | None:
    try:
        return make(*of.automata)
    except OutsideError:
        return None


def completed(automaton: Automaton) -> Automaton | None:
    """Makes the gapless automaton that also matches each run of characters that `automaton` leaves out.

    Args:
        automaton: any automaton.

    Returns:
        An automaton with the same words, and with one word for each gap; the given one if it has no gaps. None if more
        than one character after a character decides if a match begins with it, or if the pattern matches no characters.

    Example:
        >>> from gputok.automaton import compile_pattern
        >>> numbers = compile_pattern("[0-9]+")
        >>> numbers.gapless, completed(numbers).gapless
        (False, True)
    """
    return automaton if automaton.gapless else _made(_completed, _Same((automaton,)))


def _completed(automaton: Automaton) -> Automaton:
    rule = _rule(automaton)
    delta, accept, end = rule.delta, automaton.accept.astype(bool), rule.n_classes
    if accept[0].any():
        raise OutsideError("a match of no characters")
    first = delta[0]
    following = np.where(delta == DEAD, 0, delta)
    unsure = (first != DEAD) & rule.fails[np.where(first == DEAD, 0, first)]  # may begin a match, or a gap
    if (~accept & (delta != DEAD) & rule.fails[following])[first[unsure]].any():
        raise OutsideError("a match that more than one character ahead decides about")

    # What a state does at a character: (the next state, is the place before the character accepted?)
    def in_gap(column: int) -> tuple[Hashable, bool]:
        if column == end or not (first[column] == DEAD or unsure[column]):
            return _STOP, True
        # If the character begins a match after all, the gap has ended before it.
        return (("gap", column), True) if unsure[column] else ("gap", False)

    def step(state: Hashable, column: int) -> tuple[Hashable, bool]:
        match state:
            case "start":
                if column == end:
                    return _STOP, False
                if unsure[column]:
                    return ("first", column), False
                return "gap" if first[column] == DEAD else int(first[column]), False
            case "gap":
                return in_gap(column)
            case ("gap" | "first" as kind, int(last)):
                is_gap = not accept[first[last], column] and delta[first[last], column] == DEAD
                if is_gap:
                    return in_gap(column)
                return step(int(first[last]), column) if kind == "first" else (_STOP, False)
            case int(old):
                return int(delta[old, column]) if delta[old, column] != DEAD else _STOP, bool(
                    accept[old, column]
                )
        raise AssertionError(state)

    made = _built("start", end + 1, step, rule.class_of)
    if not made.gapless:
        raise OutsideError("gaps that one character ahead does not decide about")
    return made


def refined(outer: Automaton, inner: Automaton) -> Automaton | None:
    r"""Makes the automaton whose words are those of `inner` within each word of `outer`.

    Args:
        outer: a gapless automaton.
        inner: another one.

    Returns:
        The automaton, without gaps; None if there is none.

    Example:
        >>> from gputok.automaton import compile_pattern
        >>> both = refined(compile_pattern("[0-9]|[^0-9]+"), compile_pattern(r" ?\S+|\s+"))
        >>> both.gapless
        True
    """
    if not (outer.gapless and inner.gapless):
        raise ValueError("refined() takes gapless automata: call completed() first")
    return _made(_refined, _Same((outer, inner)))


def _refined(outer: Automaton, inner: Automaton) -> Automaton:
    a, b = _rule(outer), _rule(inner)
    class_of, classes = _joint_classes(a, b)
    within = _Within(a, b, classes) if a.is_prompt() else _Across(a, b, classes)
    made = _built((0, 0), len(classes) + 1, within.step, class_of, within.check)
    if not made.gapless:
        raise OutsideError("gaps")
    return made


class _Within:
    """The product of an outer automaton that knows at once where its words end, and any inner one."""

    def __init__(self, a: _Rule, b: _Rule, classes: list[tuple[int, int]]) -> None:
        self.a, self.b, self.columns = a, b, [*classes, (a.n_classes, b.n_classes)]

    def step(self, state: Hashable, column: int) -> tuple[Hashable, bool]:
        (s, t), (c, d) = state, self.columns[column]  # type: ignore[misc]
        if self.a.delta[s, c] == DEAD:  # the word of `outer` ends, and `inner` sees the end of its text
            return _STOP, bool(self.b.accept[t, self.b.n_classes])
        following = self.b.delta[t, d]
        going_on = _STOP if following == DEAD else (int(self.a.delta[s, c]), int(following))
        return going_on, bool(self.b.accept[t, d])

    def check(self, states: list[Hashable], delta: Positions, accept: Mask) -> None:
        """Raises OutsideError if `inner` can end a word where `outer` doesn't, and could not start anew."""
        fails = _failing(delta, accept)
        dead = delta == DEAD
        may_end = accept & (dead | fails[np.where(dead, 0, delta)])
        for i, column in np.argwhere(may_end).tolist():
            s, c = states[i][0], self.columns[column][0]  # type: ignore[index]
            if self.a.delta[s, c] != DEAD and self.a.delta[s, c] != self.a.delta[0, c]:
                raise OutsideError("a word that ends in the middle of another one")


class _Across:
    """The product of any outer automaton, and an inner one that looks at two neighbouring characters only."""

    def __init__(self, a: _Rule, b: _Rule, classes: list[tuple[int, int]]) -> None:
        if not b.is_local():
            raise OutsideError("two patterns that both look back")
        self.a, self.b, self.columns = a, b, [*classes, (a.n_classes, b.n_classes)]

    def step(self, state: Hashable, column: int) -> tuple[Hashable, bool]:
        (s, t), (c, d) = state, self.columns[column]  # type: ignore[misc]
        following = self.a.delta[s, c]
        if following == DEAD:  # maybe the word of `outer` has ended earlier
            return _STOP, bool(self.a.accept[s, c])
        if self.b.delta[t, d] != DEAD:
            return (int(following), int(self.b.delta[t, d])), bool(self.a.accept[s, c])
        if following != self.a.delta[0, c]:
            raise OutsideError("a word that ends in the middle of another one")
        # The word of `outer` doesn't end before: this is the state after its first character
        return _STOP, True

    def check(self, states: list[Hashable], delta: Positions, accept: Mask) -> None:
        pass


def _joint_classes(a: _Rule, b: _Rule) -> tuple[Positions, list[tuple[int, int]]]:
    """class_of of the coarsest partition that both rules can use, and the classes of both for each of its classes."""
    pairs = a.class_of * 256 + b.class_of
    present = np.flatnonzero(np.bincount(pairs, minlength=1))
    if len(present) > 255:
        raise OutsideError("more than 255 classes of characters")
    number = np.zeros(256 * 256, np.int64)
    number[present] = np.arange(len(present))
    return number[pairs], [divmod(pair, 256) for pair in present.tolist()]


def _built(
    start: Hashable,
    width: int,
    step: Callable[[Hashable, int], tuple[Hashable, bool]],
    class_of: Positions,
    check: Callable[[list[Hashable], Positions, Mask], None] | None = None,
) -> Automaton:
    """Makes an automaton of all states that `step` reaches from `start`."""
    numbers: dict[Hashable, int] = {start: 0}
    queue = [start]
    delta: list[list[int]] = []
    accept: list[list[bool]] = []
    for state in queue:  # the loop appends to the queue
        row, accepted = [DEAD] * width, [False] * width
        for column in range(width):
            following, accepted[column] = step(state, column)
            if following == _STOP or column == width - 1:
                continue
            if following not in numbers:
                numbers[following] = len(numbers)
                queue.append(following)
            row[column] = numbers[following]
        if len(numbers) > _MOST_STATES:
            raise OutsideError(f"an automaton of more than {_MOST_STATES} states")
        delta.append(row)
        accept.append(accepted)
    if check is not None:
        check(queue, np.array(delta), np.array(accept))
    return finished(np.array(delta), np.array(accept), class_of)
