"""Makes automata from other automata, so that one walk over a text does what several steps would do.

    completed(automaton)      also matches the gaps, the text between the matches of `automaton`
    refined(outer, inner)     matches the words of `inner` within the words of `outer`

A pre-tokenizer often cuts in several steps, each within the words of the step before. Two conditions decide if one
automaton can replace the steps. First, an automaton starts each word in state 0 and knows nothing of earlier words. So
where `inner` ends a word in the middle of a word of `outer`, `outer` must go on as if its word started there. Second,
an automaton looks one character ahead. So at each position, either `outer` must know by that character if its word ends
there, or `inner` must decide by the two characters beside the position alone. Both conditions are checked for each
state. The functions return None if there is no such automaton, or if it is too large.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.automaton import Same
from gputok.automaton.minimal import OutsideError, failing, finished
from gputok.automaton.subsets import explored
from gputok.kernels import DEAD, Automaton

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gputok.types import Mask, Positions

    # For each class of characters of the new automaton, the classes in the two that it is made of; the last is END
    _Columns = list[tuple[int, int]]

_MOST_STATES = 1024
_STOP = None  # a next state: the word ends at the last accepted position


class _Rule(NamedTuple):
    """The tables of an automaton, whose `accept` is False also where a longer match always follows."""

    delta: Positions  # int64[n_states, n_classes + 1], the last column is END
    accept: Mask  # bool of the same shape
    fails: Mask  # bool[n_states]: True if a walk can die from here without accepting: then the word has ended earlier
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
        """True if two neighbouring characters alone decide whether there is a cut between them."""
        states = self.delta[self.entered()]
        goes_on = states != DEAD
        return self.is_prompt() and bool((states == self.delta[0])[goes_on].all())


def _rule(automaton: Automaton) -> _Rule:
    delta, accept = automaton.delta.astype(np.int64), automaton.accept.astype(bool)
    fails = failing(delta, accept)
    class_of = np.asarray(automaton.member)[automaton.page].ravel().astype(np.int64)
    needed = (delta == DEAD) | fails[np.where(delta == DEAD, 0, delta)]
    return _Rule(delta, accept & needed, fails, class_of)


@functools.lru_cache(maxsize=256)
def _made(make: Callable[..., Automaton], of: Same) -> Automaton | None:
    try:
        made = make(*of.automata)
    except OutsideError:
        return None
    return made if made.gapless else None  # `completed` and `refined` promise an automaton without gaps


def completed(automaton: Automaton) -> Automaton | None:
    """Makes the gapless automaton that also matches each run of characters that `automaton` leaves out.

    Its words are those of `automaton`, and one for each gap. None if a match of `automaton` can be empty, or if another
    match may begin before it is certain that an earlier one matches, and one of the two can fail without the other.

    Example:
        >>> from gputok.automaton import compile_pattern
        >>> numbers = compile_pattern("[0-9]+")
        >>> numbers.gapless, completed(numbers).gapless
        (False, True)
    """
    return automaton if automaton.gapless else _made(_completed, Same((automaton,)))


def _completed(automaton: Automaton) -> Automaton:
    states = _Completed(automaton)
    _, delta, accept = explored("start", states.end + 1, states.step, _MOST_STATES)
    return finished(delta, accept, states.class_of)


class _Completed:
    """The states of a completed automaton.

    A state is one of four:

    - "start".
    - An int: the walk is within a match, in this state of `automaton`.
    - ("gap", s): the walk is within a gap. s is the state of a match that may have begun in it, or None. The position
      at which that match would begin is accepted as the end of the gap. If the match fails, the gap goes on; as soon as
      the match is certain (*sure*), the walk dies, so that the gap ends there.
    - ("first", s): the walk is in what may be a match, in state s, or the beginning of a gap.
    """

    def __init__(self, automaton: Automaton) -> None:
        rule = _rule(automaton)
        self.delta, self.accept, self.fails = rule.delta, automaton.accept.astype(bool), rule.fails
        self.class_of, self.end, self.first = rule.class_of, rule.n_classes, rule.delta[0]
        if self.accept[0].any():
            raise OutsideError("a match of no characters")

    def step(self, state: Hashable, column: int) -> tuple[Hashable, bool]:
        """What a state does at a character: (the next state, is the position before the character accepted?)."""
        match state:
            case "start":
                return self._at_start(column)
            case ("gap", None):
                return self._in_gap(column)
            case ("gap" | "first" as kind, int(begun)):
                following = self._outcome(begun, column)
                if following == "fails":
                    return self._in_gap(column)
                if following == "matches":
                    return self.step(begun, column) if kind == "first" else (_STOP, False)
                if self.first[column] != DEAD and not self._same(following, int(self.first[column])):
                    raise OutsideError("a match that may begin within another one that is unsure")
                return (kind, following), False
            case int(old):
                following = int(self.delta[old, column])
                return _STOP if following == DEAD else following, bool(self.accept[old, column])
        raise AssertionError(state)

    def _unsure(self, column: int) -> bool:
        """Whether this character may begin a match that can still fail, so that it may as well begin a gap."""
        return self.first[column] != DEAD and bool(self.fails[self.first[column]])

    def _at_start(self, column: int) -> tuple[Hashable, bool]:
        if column == self.end:
            return _STOP, False
        begun = int(self.first[column])
        if self._unsure(column):
            return ("first", begun), False
        return ("gap", None) if begun == DEAD else begun, False

    def _in_gap(self, column: int) -> tuple[Hashable, bool]:
        if column == self.end or not (self.first[column] == DEAD or self._unsure(column)):
            return _STOP, True
        # If the character begins a match after all, the gap has ended before it.
        return (("gap", int(self.first[column])), True) if self._unsure(column) else (("gap", None), False)

    def _outcome(self, state: int, column: int) -> Any:
        """What is known of a match that has begun: that it "matches", that it "fails", or its next state."""
        following = self.delta[state, column]
        if self.accept[state, column]:
            return "matches"
        if column == self.end or following == DEAD:
            return "fails"
        return int(following) if self.fails[following] else "matches"

    def _same(self, one: int, other: int) -> bool:
        """Whether two matches, in these states, become certain or fail at the same characters, whatever follows."""
        seen, queue = {(one, other)}, [(one, other)]
        for pair in queue:  # the loop appends to the queue
            for column in range(self.end + 1):
                outcomes = tuple(self._outcome(state, column) for state in pair)
                if all(isinstance(outcome, int) for outcome in outcomes):
                    if outcomes not in seen:
                        seen.add(outcomes)
                        queue.append(outcomes)
                elif outcomes[0] != outcomes[1]:
                    return False
        return True


def refined(outer: Automaton, inner: Automaton) -> Automaton | None:
    r"""Makes the automaton whose words are those of `inner` within each word of `outer`; None if there is none.

    All three are gapless.

    Example:
        >>> from gputok.automaton import compile_pattern
        >>> both = refined(compile_pattern("[0-9]|[^0-9]+"), compile_pattern(r" ?\S+|\s+"))
        >>> both.gapless
        True
    """
    if not (outer.gapless and inner.gapless):
        raise ValueError("refined() takes gapless automata: call completed() first")
    return _made(_refined, Same((outer, inner)))


def _refined(outer: Automaton, inner: Automaton) -> Automaton:
    a, b = _rule(outer), _rule(inner)
    class_of, classes = _joint_classes(a, b)
    columns, step = [*classes, (a.n_classes, b.n_classes)], _within
    if not a.is_prompt():
        if not b.is_local():
            raise OutsideError("two patterns that both look back")
        step = _across
    states, delta, accept = explored((0, 0), len(columns), functools.partial(step, a, b, columns), _MOST_STATES)
    if step is _within:
        _check_ends(a, columns, states, delta, accept)
    return finished(delta, accept, class_of)


def _within(a: _Rule, b: _Rule, columns: _Columns, state: tuple[int, int], column: int) -> tuple[Hashable, bool]:
    """A step of the product of an outer automaton that knows at once where words end (`is_prompt`) and an inner one."""
    (s, t), (c, d) = state, columns[column]
    if a.delta[s, c] == DEAD:  # the word of `outer` ends, and `inner` sees the end of its text
        return _STOP, bool(b.accept[t, b.n_classes])
    following = b.delta[t, d]
    going_on = _STOP if following == DEAD else (int(a.delta[s, c]), int(following))
    return going_on, bool(b.accept[t, d])


def _check_ends(a: _Rule, columns: _Columns, states: list[Any], delta: Positions, accept: Mask) -> None:
    """Raises OutsideError if `inner` can end a word within a word of `outer`, where `outer` could not start anew."""
    fails = failing(delta, accept)
    dead = delta == DEAD
    may_end = accept & (dead | fails[np.where(dead, 0, delta)])
    for i, column in np.argwhere(may_end).tolist():
        s, c = states[i][0], columns[column][0]
        if a.delta[s, c] != DEAD and a.delta[s, c] != a.delta[0, c]:
            raise OutsideError("a word that ends in the middle of another one")


def _across(a: _Rule, b: _Rule, columns: _Columns, state: tuple[int, int], column: int) -> tuple[Hashable, bool]:
    """A step of the product of any outer automaton, and an inner one that looks at two neighbouring characters only."""
    (s, t), (c, d) = state, columns[column]
    following = a.delta[s, c]
    if following == DEAD:  # maybe the word of `outer` has ended earlier
        return _STOP, bool(a.accept[s, c])
    if b.delta[t, d] != DEAD:
        return (int(following), int(b.delta[t, d])), bool(a.accept[s, c])
    if following != a.delta[0, c]:
        raise OutsideError("a word that ends in the middle of another one")
    # `outer` is in the state after a word's first character. Without gaps, it can't fail: its word didn't end earlier
    return _STOP, True


def _joint_classes(a: _Rule, b: _Rule) -> tuple[Positions, list[tuple[int, int]]]:
    """Makes classes of characters for both rules: class_of, int64[0x110000]; for each, its classes in `a` and `b`."""
    pairs = a.class_of * 256 + b.class_of
    present = np.flatnonzero(np.bincount(pairs, minlength=1))
    if len(present) > 255:
        raise OutsideError("more than 255 classes of characters")
    number = np.zeros(256 * 256, np.int64)
    number[present] = np.arange(len(present))
    return number[pairs], [divmod(pair, 256) for pair in present.tolist()]
