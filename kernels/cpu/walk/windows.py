"""Where words begin, told by windows of five or six bytes: 64 bytes at a time, without a state.

Whether a word begins at a byte mostly follows from the classes of the three bytes before, of the byte itself, and of
the next byte: in GPT-2's pattern always between a letter and a space. Some patterns need one more byte: a piece of
superwords may begin with a space before two marks. `window_tables` finds out, from the tables of an automaton, for
which windows this is so. The others are *unknown*; there the automaton walks. END_OF_TEXT has a class as ASCII has:
else the windows that contain it would be unknown, five at the end of each line if lines are the documents.

A character of n bytes counts as n characters of its class, if no walk can tell n of them from one: after the first, the
walk stays in its state, and no word begins before the others. In most patterns that holds for letters: windows tell the
words of Greek as those of English (`_repeatable`). Windows with other characters of several bytes are unknown.

What the tables say is proven, not guessed. The walk is followed from all states at once. Before each character it may
have two *ways*: to go on with the word (if the automaton has a transition, and may accept later as far as the next
characters tell), and to begin another word (if the automaton accepts there, and not surely later). A real walk takes
one of its ways: if all ways through a window agree, that is what happens in any text.

An example with three classes: letters a, the space _, and marks. A word is one or two letters, or a mark, or a space
with the mark after it, if any: `[a-z][a-z]?| [^ a-z]?|[^ a-z]`. State 0 is the beginning; in state 2 the word is a
space, in state 3 one letter, and in state 1 complete. Below each byte are the possible states of the walk after it;
the window tells about the byte between bars:

    bytes                 .     a     a    |a|    _
    states      0 1 2 3   1     3     1             a word begins: from 1, no way goes on
    bytes                 a     a     _    |.|    a
    states      0 1 2 3   1 3   1 3   2             the word goes on: from 2, each way does
    bytes                 a     a     a    |a|    _
    states      0 1 2 3   1 3   1 3   1 3           unknown: from 3 the word goes on, from 1 another one begins

For the kernels, the windows become *terms*: sets of classes, one for each byte. A byte of a term table has a bit for
each of eight terms, so a window belongs to a term if that bit is set in all of its bytes: one shuffle of 16 or 32 bytes
looks up as many (as in Teddy of Hyperscan: Wang et al. 2019, "Hyperscan: A Fast Multi-pattern Regex Matcher for Modern
CPUs"). A shuffle knows 16 classes. If there are more, some classes become one, which has the ways of each: rare ones,
such as the capitals that may follow an apostrophe in GPT-4o's pattern, so that hardly more windows are unknown.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import os
import platform
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from _blake2 import blake2b  # the same, without OpenSSL, which takes 3 ms to load
except ImportError:
    from hashlib import blake2b
from gputok.kernels import DEAD, Automaton

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BEFORE = 3  # bytes of a window before the byte that it tells about
WIDTH = 6  # bytes of the widest window
# Bytes of a window, and terms; more of either take longer, so the first form that suffices is used
FORMS = (5, 16), (6, 16), (5, 24)
MOST_CLASSES = 16  # a shuffle looks up among 16 values
END_CLASS = MOST_CLASSES - 1  # the class of END_OF_TEXT; ASCII has the others
EIGHT = 8  # terms are looked up together
TERM_SETS = 8 * 16  # where the terms begin in the tables
FORM = TERM_SETS + 3 * WIDTH * MOST_CLASSES + 2  # where the tables have, in one byte, the index of their form in FORMS
# Where the classes of characters of several bytes begin in the tables, one for each class of the automaton
WIDE_CLASSES = FORM + 1
N_BYTES = WIDE_CLASSES + 256
UNCLEAR = 0x80  # the class of characters without a class of windows

# What is known of a window: the word goes on, a word begins, unknown, or no text contains the window
GOES_ON, BEGINS, UNKNOWN, NEVER = range(4)
MOST_STATES, MOST_SETS = 63, 256  # the largest automaton, and the most sets of states that it can be in
# The most windows, the most after classes that make no difference are joined, and the most terms of a kind. Patterns
# that need more are given up, so that the search takes 0.2 s at most
MOST_ALL, MOST_WINDOWS, MOST_BOXES = 1 << 20, 1 << 17, 32
SEEDS = 3  # boxes that are tried for each term, times the orders in which they grow
MOST_UNKNOWN = 1 / 300  # the largest share of windows of a text that the tables may leave open
NO_TABLES = np.empty(0, np.uint8)
# Whether shuffles are fast; elsewhere windows would take longer than the walk by pairs
CAN_SHUFFLE = platform.machine() in ("x86_64", "AMD64")

# The tables of well-known patterns, uint8[patterns, DIGEST_BYTES + N_BYTES], written by `tests/make_windows.py`
READY = os.path.join(os.path.dirname(__file__), "windows.npy")
DIGEST_BYTES = 16


def ready_tables(automaton: Automaton) -> np.ndarray:
    """`window_tables` of a well-known pattern, from a file, which saves the time for making them; else empty."""
    return _ready().get(digest(automaton), NO_TABLES) if CAN_SHUFFLE else NO_TABLES


def digest(automaton: Automaton) -> bytes:
    """What identifies an automaton in the file of tables."""
    parts = np.array(automaton.delta.shape), automaton.delta, automaton.accept, automaton.ascii_class
    return blake2b(b"".join(part.tobytes() for part in parts), digest_size=DIGEST_BYTES).digest()


@functools.cache
def _ready() -> dict[bytes, np.ndarray]:
    return {row[:DIGEST_BYTES].tobytes(): row[DIGEST_BYTES:] for row in np.load(READY)}


def window_tables(automaton: Automaton) -> np.ndarray:
    """The tables of a gapless automaton for `put_classes` and `window_masks` (some milliseconds), uint8[N_BYTES].

    uint8[8, 16], the class of each ASCII byte; uint8[3, WIDTH, 16], for each byte of a window and each class, a bit for
    each of 24 terms: in windows of terms 0 to 7, a word begins; in those of terms 16 to 23, that is unknown; two bytes
    with a bit for each of terms 8 to 15: those of the first kind, and those of the second; the index of the form in
    FORMS; uint8[256], for each class of the automaton, the class of the bytes of a wide character, or UNCLEAR. Empty if
    the processor has no fast shuffle, or if the terms don't suffice.
    """
    if not CAN_SHUFFLE or automaton.n_states > MOST_STATES:
        return NO_TABLES
    repeatable = _repeatable(automaton)
    of_ascii = np.intersect1d(repeatable, automaton.ascii_class)
    tables = _tables(automaton, repeatable)
    # Classes that only wide characters have may need too many terms: then the tables are made without them
    return tables if len(tables) or len(of_ascii) == len(repeatable) else _tables(automaton, of_ascii)


def _tables(automaton: Automaton, repeatable: np.ndarray) -> np.ndarray:
    """`window_tables`, in which characters of several bytes have a class if they belong to the repeatable ones."""
    used = np.union1d(automaton.ascii_class, repeatable).astype(np.int64)
    used = np.append(used, automaton.delta.shape[1] - 1)
    if len(used) > 2 * MOST_CLASSES:
        return NO_TABLES
    classes = np.searchsorted(used, automaton.ascii_class)
    groups = _groups(_ways(automaton, used, 1), _often(classes, len(used)))
    classes = groups[classes]
    often = _often(classes, int(groups.max()) + 1)
    wide = np.full(256, UNCLEAR)
    wide[repeatable] = groups[np.searchsorted(used, repeatable)]
    found: dict[int, tuple[list[Term], list[Term]] | None] = {}
    for form, (width, n_terms) in enumerate(FORMS):
        if width not in found:
            known = _known_windows(automaton, used, groups, width)
            found[width] = None if known is None else _terms(known)
        if (terms := found[width]) is not None and (unknown := _few(*terms, often, n_terms)) is not None:
            return _packed(classes, wide, terms[0], unknown, width, form)
    return NO_TABLES


def _repeatable(automaton: Automaton) -> np.ndarray:
    """The classes, int64[], of which a walk can't tell several characters side by side from a single one.

    After the first of the characters, no word begins before the next, and the state stays the same. So no match ends
    between two of them either, since another word would begin there.
    """
    every = np.arange(automaton.delta.shape[1])
    _, begins, after = _ways(automaton, every, 1)

    def stays(c: int) -> bool:
        states = _states(int(np.bitwise_or.reduce(after[:, c], axis=None)))
        return not begins[states, c].any() and all((after[state, c] == 1 << state).all() for state in states)

    return np.array([c for c in every[:-1] if c < 256 and stays(c)], np.int64)


def _groups(ways: Iterable[np.ndarray], often: np.ndarray) -> np.ndarray:
    """The group of each class, int64[classes], at most MOST_CLASSES; the last class, END_OF_TEXT, is the last group.

    While there are too many, the two groups that differ least become one: by the number of cases in which their ways
    differ, times the sum of their frequencies `often`, float64[classes]. ways: of `_ways` with n_later = 1.
    """
    often, n = often.copy(), len(often)
    unlike = np.zeros((n, n))
    for some in ways:
        unlike += (some[:, :, None] != some[:, None]).sum((0, 3))
        unlike += (some[..., None] != some[..., None, :]).sum((0, 1))
    unlike[np.triu_indices(n)] = unlike[-1] = np.inf  # each two are compared once, the class of END_OF_TEXT never
    into = np.arange(n)
    for _ in range(n - MOST_CLASSES):
        i, j = np.unravel_index(np.argmin(unlike * np.add.outer(often, often)), unlike.shape)
        into[into == i] = j
        often[j] += often[i]
        for k in range(n):  # what differs from one of the two differs from their union
            a, b = (unlike[max(x, k), min(x, k)] for x in (i, j))
            if k not in (i, j):
                unlike[max(j, k), min(j, k)] = max(a, b)
        unlike[i] = unlike[:, i] = np.inf
    return np.unique(into, return_inverse=True)[1]


def _united(ways: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The ways of groups in place of classes: a group has all ways of its classes."""
    for axis in range(1, ways.ndim):
        of_groups = (np.compress(groups == group, ways, axis) for group in range(groups.max() + 1))
        ways = np.stack([np.bitwise_or.reduce(some, axis) for some in of_groups], axis)
    return ways


def _known_windows(automaton: Automaton, used: np.ndarray, groups: np.ndarray, width: int) -> np.ndarray | None:
    """What is known of each window, uint8 with an axis of all groups for each byte of it; None: too many windows."""
    n = groups.max() + 1
    if n**width > MOST_ALL:
        return None
    n_later = width - BEFORE - 1  # bytes of a window after the one that it tells about
    goes_on, begins, after = (_united(ways, groups) for ways in _ways(automaton, used, n_later))
    reached = 1 << automaton.n_states  # the states that a walk can be in, from the beginning of a text on
    while (more := reached | _union(after, reached, axis=None)) != reached:
        reached = more

    sets = {reached: 0}  # the number of each set
    # For each set, arrays with axes [class, later classes]: the set after the character, and what is known before it
    follow, results = [], []
    todo = [reached]
    for of_set in todo:
        found, index = np.unique(_union(after, of_set, axis=0), return_inverse=True)
        for another in found.tolist():
            if another not in sets:
                sets[another] = len(sets)
                todo.append(another)
        if len(sets) > MOST_SETS:
            return None
        numbers = np.array([sets[another] for another in found.tolist()])
        follow.append(numbers[index.reshape(after.shape[1:])])
        on, begin = (ways[_states(of_set)].any(axis=0) for ways in (goes_on, begins))
        results.append(np.where(on, np.where(begin, UNKNOWN, GOES_ON), np.where(begin, BEGINS, NEVER)))

    # By the classes of a window, which grows by one at a time: the set before the last n_later of them
    before = np.zeros((n,) * n_later, np.int64)
    for _ in range(BEFORE):
        before = _by_window(np.array(follow), before)
    return _by_window(np.array(results, np.uint8), before)


def _ways(automaton: Automaton, used: np.ndarray, n_later: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ways of a walk in each state before a character, by the classes of it and of the n_later characters after it.

    used: the classes. Three arrays [states + 1, classes, ...] with n_later + 1 axes of classes: may the word go on,
    bool; may another word begin before the character, bool; the set of states after the character, uint64 with a bit
    for each. The last state is that after END_OF_TEXT, the last class END_OF_TEXT.
    """
    n, delta, accepts = (automaton.n_states, automaton.delta[:, used].astype(np.int64), automaton.accept[:, used])
    accepts, alive = accepts.astype(bool), delta != DEAD
    then = np.where(alive, delta, 0)
    # From each state: does the walk surely accept, and may it, as far as `n_later` characters tell
    surely, may = ~_may_fail(automaton), np.ones(n, bool)
    for k in range(n_later):
        shape = -1, len(used), *[1] * k
        surely = accepts.reshape(shape) | (alive.reshape(shape) & surely[then])
        may = accepts.reshape(shape) | (alive.reshape(shape) & may[then])
    shape = -1, len(used), *[1] * n_later
    goes_on = alive.reshape(shape) & may[then]
    begins = accepts.reshape(shape) & ~(alive.reshape(shape) & surely[then])
    goes_on = np.concatenate([goes_on, np.zeros_like(goes_on[:1])])
    begins = np.concatenate([begins, np.ones_like(begins[:1])])
    goes_on[:, -1], begins[:, -1] = False, True
    bit = np.uint64(1) << np.arange(n + 1, dtype=np.uint64)
    first = bit[np.append(delta[0, :-1], n)].reshape(shape)  # the state after the first character of a word
    after = np.where(goes_on, bit[np.append(then, then[:1], axis=0)].reshape(shape), np.uint64(0))
    return goes_on, begins, after | np.where(begins, first, np.uint64(0))


def _may_fail(automaton: Automaton) -> np.ndarray:
    """Whether a walk from each state may die before it accepts, bool[states]."""
    accepts, dead = automaton.accept.astype(bool), automaton.delta == DEAD
    then = np.where(dead, 0, automaton.delta)
    fails = np.zeros(len(dead), bool)
    while True:
        wider = (~accepts & (dead | fails[then])).any(axis=1)
        if (wider == fails).all():
            return fails
        fails = wider


def _states(of_set: int) -> list[int]:
    return [state for state in range(of_set.bit_length()) if of_set >> state & 1]


def _union(sets: np.ndarray, of_set: int, axis: int | None) -> Any:
    """The union of sets[state] for the states of a set."""
    united = np.bitwise_or.reduce(sets[_states(of_set)], axis=axis)
    return int(united) if axis is None else united


def _by_window(table: np.ndarray, before: np.ndarray) -> np.ndarray:
    """table[set, class, later classes] for each window; before: the set, by all classes of the window but the last."""
    n = before.shape[-1]
    return table[before[..., None], *np.ogrid[*[slice(n)] * (table.ndim - 1)]]


def _often(classes: np.ndarray, n: int) -> np.ndarray:
    """About how often the ASCII characters of n classes, int64[128], occur in prose and code, float64[n]."""
    often = np.full(128, 0.0001)
    often[[*b"abcdefghijklmnopqrstuvwxyz"]] = 0.026
    often[[*b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]] = 0.002
    often[[*b"!\"#$%&'()*+,-./:;<=>?@[]_`{|}\t"]] = 0.003
    often[[*b" \n.,'"]] = 0.15, 0.03, 0.01, 0.01, 0.01
    of_classes = np.bincount(classes, often / often.sum(), n)
    of_classes[-1] = 0.02
    return np.where(of_classes > 0, of_classes, 0.005)  # a class without ASCII characters


Term = list[list[int]]  # some classes for each byte of a window: the windows whose bytes all have one of these


def _terms(known: np.ndarray) -> tuple[list[Term], list[Term]] | None:
    """The terms of windows in which a word begins, and those of windows in which that is unknown. None: too many.

    Terms of the first kind may contain unknown windows too: `by_windows.py` gives the second kind priority.
    """
    # Classes that make no difference at a byte are one class there
    alike: list[list[list[int]]] = []
    for axis in range(known.ndim):
        rows = [row.tobytes() for row in np.moveaxis(known, axis, 0)]
        firsts = [i for i, row in enumerate(rows) if rows.index(row) == i]
        alike.append([[i for i, row in enumerate(rows) if row == rows[first]] for first in firsts])
        known = np.take(known, firsts, axis)
    if known.size > MOST_WINDOWS:
        return None
    space = _Space(known.shape)
    begins, unknown, never = (space.windows(known == what) for what in (BEGINS, UNKNOWN, NEVER))
    boxes = space.cover(begins, begins | unknown | never), space.cover(unknown, unknown | never)
    if max(map(len, boxes)) > MOST_BOXES:
        return None
    of_begin, of_unknown = (
        [[[c for i in some for c in those[i]] for some, those in zip(box, alike, strict=True)] for box in boxes_of_kind]
        for boxes_of_kind in boxes
    )
    return of_begin, of_unknown


def _few(begins: list[Term], unknown: list[Term], often: np.ndarray, most: int) -> list[Term] | None:
    """The terms of unknown windows, joined until `most` terms in all suffice; None: too many, or too much unknown."""
    left = most - max(EIGHT, len(begins))

    def share(term: Term) -> float:
        return math.prod(often[classes].sum() for classes in term)

    while len(unknown) > max(left, 1):
        unknown = _joined(unknown, share)
    enough = len(unknown) <= left and len(begins) <= 2 * EIGHT and sum(map(share, unknown)) <= MOST_UNKNOWN
    return unknown if enough else None


def _joined(terms: list[Term], share: Callable[[Term], float]) -> list[Term]:
    """The terms with one term around two of them in place of these: the two for which it adds the fewest windows."""

    def around(a: Term, b: Term) -> Term:
        return [sorted({*x, *y}) for x, y in zip(a, b, strict=True)]

    pairs = itertools.combinations(range(len(terms)), 2)
    i, j = min(pairs, key=lambda pair: share(around(*(terms[k] for k in pair))) - sum(share(terms[k]) for k in pair))
    return [term for k, term in enumerate(terms) if k not in (i, j)] + [around(terms[i], terms[j])]


class _Space:
    """All windows of some classes. A set of windows is an int with a bit for each; a *box* is the set of a Term."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.size = shape, math.prod(shape)
        indices = np.indices(shape)
        # slabs[byte][class]: the set of the windows that have this class at this byte
        self.slabs = [[self.windows(indices[axis] == i) for i in range(n)] for axis, n in enumerate(shape)]

    def windows(self, chosen: np.ndarray) -> int:
        """A set of windows, from a bool for each."""
        return int.from_bytes(np.packbits(chosen, bitorder="little").tobytes(), "little")

    def numbers(self, windows: int) -> np.ndarray:
        """The numbers of the windows of a set, ascending."""
        data = np.frombuffer(windows.to_bytes(-(-self.size // 8), "little"), np.uint8)
        return np.flatnonzero(np.unpackbits(data, bitorder="little"))

    def cover(self, windows: int, allowed: int) -> list[list[list[int]]]:
        """Boxes that contain all of `windows`, and nothing but `allowed`; not all if they are more than MOST_BOXES.

        Each box is, among some that are tried, the one with the most windows that no box before it contains.
        """
        boxes: list[tuple[list[list[int]], int]] = []
        rest = windows
        while rest and len(boxes) <= MOST_BOXES:
            left = self.numbers(rest)
            seeds = left[np.linspace(0, len(left) - 1, min(SEEDS, len(left))).astype(int)].tolist()
            bytes_ = range(len(self.shape))
            orders = bytes_, bytes_[::-1]  # in which a box grows at the bytes of a window
            grown = [self._grown(seed, order, ~allowed) for seed in seeds for order in orders]
            boxes.append(max(grown, key=lambda box: (box[1] & rest).bit_count()))
            rest &= ~boxes[-1][1]
        for i in reversed(range(len(boxes))):  # drops each box without which the others contain all of `windows`
            others = functools.reduce(operator.or_, (inside for _, inside in boxes[:i] + boxes[i + 1 :]), rest)
            if windows & ~others == 0:
                del boxes[i]
        return [box for box, _ in boxes]

    def _grown(self, seed: int, order: Iterable[int], forbidden: int) -> tuple[list[list[int]], int]:
        """Grows a box from a window: on each axis of `order`, by each class with which it has no forbidden window.

        Returns its classes on each axis, and its windows; a set of windows is a number with a bit for each.
        """
        box = [[int(i)] for i in np.unravel_index(seed, self.shape)]
        unions = [slabs[i] for slabs, (i,) in zip(self.slabs, box, strict=True)]
        for axis in order:
            others = functools.reduce(operator.and_, unions[:axis] + unions[axis + 1 :])
            for i, slab in enumerate(self.slabs[axis]):
                if i not in box[axis] and not slab & others & forbidden:
                    box[axis].append(i)
                    unions[axis] |= slab
        return box, functools.reduce(operator.and_, unions)


def _packed(
    classes: np.ndarray, wide: np.ndarray, begins: list[Term], unknown: list[Term], width: int, form: int
) -> np.ndarray:
    """The tables of `window_tables`."""
    end = max(classes.max(), wide[wide < UNCLEAR].max(initial=0)) + 1
    terms = begins[:EIGHT] + [[[]] * width] * (EIGHT - len(begins)) + begins[EIGHT:] + unknown
    sets = np.zeros((3, WIDTH, MOST_CLASSES), np.uint8)
    for i, term in enumerate(terms):
        for byte, of_byte in enumerate(term):
            stored = [END_CLASS if k == end else k for k in of_byte]
            sets[i // EIGHT, byte, stored] |= 1 << i % EIGHT
    n_begins, n_second = max(0, len(begins) - EIGHT), min(EIGHT, len(terms) - EIGHT)
    masks = (1 << n_begins) - 1, (1 << n_second) - (1 << n_begins), form
    parts = classes, sets.ravel(), masks, wide
    return np.concatenate([np.asarray(part, np.uint8) for part in parts])
