"""Sets of code points: what one character of a pattern may be. They are stored as inversion lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from gputok.types import Mask, Positions, Positions32

END = 0x110000
"""The end (or start) of a text, as a code point after all others: a look-around may see it instead of a character."""
_BITS = 32
"""Rows that `distinct_columns` packs into an int64 at a time, beside a number below 2 ** 21 for all rows before."""


class CharSet:
    """An immutable set of code points, stored as the sorted code points at which membership changes.

    >>> letters = CharSet.of((0x61, 0x7B)) - CharSet.chars("aeiou")
    >>> "b" in letters, "a" in letters, len(letters)
    (True, False, 21)
    """

    __slots__ = ("edges",)

    def __init__(self, edges: Iterable[int]) -> None:
        # int32[2 * n_runs]: start, end, start, end, ...
        self.edges: Positions32 = np.asarray(edges, np.int32)

    @classmethod
    def of(cls, *runs: tuple[int, int]) -> CharSet:
        """Makes the union of half-open runs of code points."""
        sets = [cls(run) for run in runs if run[0] < run[1]]
        return sets[0] if len(sets) == 1 else _at_least(1, sets)

    @classmethod
    def chars(cls, chars: str) -> CharSet:
        """Makes the set of the characters of a string."""
        points = np.array(sorted(set(map(ord, chars))), np.int32)
        return cls(np.setxor1d(points, points + 1, assume_unique=True))

    def has(self, points: npt.NDArray[np.integer[Any]]) -> Mask:
        """bool[n]: True for each of n code points that is a member."""
        return (np.searchsorted(self.edges, points, side="right") & 1).astype(bool)

    def __contains__(self, char: str | int) -> bool:
        return bool(self.has(np.array([char if isinstance(char, int) else ord(char)]))[0])

    def __or__(self, other: CharSet) -> CharSet:
        return _at_least(1, [self, other])

    def __and__(self, other: CharSet) -> CharSet:
        return _at_least(2, [self, other])

    def __sub__(self, other: CharSet) -> CharSet:
        return self & ~other

    def __invert__(self) -> CharSet:
        """All other code points, without END."""
        return CharSet(np.setxor1d((self & EVERYTHING).edges, [0, END], assume_unique=True))

    def negated_look(self) -> CharSet:
        """All other code points, and END unless the set contains END: a negative look-around accepts these."""
        return CharSet(np.setxor1d(self.edges, [0, END + 1], assume_unique=True))

    def __len__(self) -> int:
        return int(np.diff(self.edges.reshape(-1, 2)).sum())

    def __bool__(self) -> bool:
        return len(self.edges) > 0

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, CharSet) and self.edges.tobytes() == other.edges.tobytes()

    def __hash__(self) -> int:
        return hash(self.edges.tobytes())

    def runs(self) -> list[tuple[int, int]]:
        """The half-open runs of code points, in order."""
        return [(a, b) for a, b in self.edges.reshape(-1, 2).tolist()]

    def __repr__(self) -> str:
        return f"CharSet.of({', '.join(f'({a:#x}, {b:#x})' for a, b in self.runs())})"


def _at_least(n: int, sets: Sequence[CharSet]) -> CharSet:
    """The code points that at least n of the sets contain."""
    if not sets:
        return NOTHING
    edges = np.concatenate([s.edges for s in sets])
    order = np.argsort(edges, kind="stable")
    edges = edges[order]
    depth = np.cumsum(1 - 2 * (np.concatenate([np.arange(len(s.edges)) for s in sets])[order] & 1))
    last = np.flatnonzero(np.diff(edges, append=-1))  # if several edges are equal, the last one
    inside = depth[last] >= n
    return CharSet(edges[last][np.diff(inside, prepend=False)])


def union(*sets: CharSet) -> CharSet:
    """The code points that at least one of the sets contains."""
    return _at_least(1, list(sets))


def partition(sets: list[CharSet]) -> tuple[Positions, Mask]:
    """Divides the code points into as few classes as possible, so that each set contains all of a class or nothing.

    Returns class_of: integers[0x110000], the class of each code point, and member: bool[n_sets, n_classes + 1]; its
    last column is for END. Surrogates, which no text contains, get no class of their own.
    """
    # return_index is given since np.unique without it imports numpy.ma, which takes 20 ms of a short process
    points, _ = np.unique(np.concatenate([[0, 0xD800, 0xE000, END], *(s.edges for s in sets)]), return_index=True)
    points = points[points <= END]
    inside = np.array([s.has(points) for s in sets]).reshape(len(sets), len(points))
    surrogates = (points >= 0xD800) & (points < 0xE000)
    inside[:, surrogates] = inside[:, np.searchsorted(points, 0xD800) - 1][:, None]
    first, class_of = distinct_columns(inside[:, :-1])
    rank = np.argsort(np.argsort(first))  # classes in the order of their first characters
    ranks = rank[class_of].astype(np.min_scalar_type(len(first)))
    return np.repeat(ranks, np.diff(points)), inside[:, np.r_[np.sort(first), len(points) - 1]]


def distinct_columns(columns: Mask) -> tuple[Positions, Positions]:
    """Returns the index and the inverse of np.unique(columns, axis=1), in a tenth of the time."""
    numbers: Positions = np.zeros(columns.shape[1], np.int64)
    first = numbers[:1]
    for top in range(0, len(columns), _BITS):
        for row in columns[top : top + _BITS]:
            numbers = numbers << 1 | row
        _, first, numbers = np.unique(numbers, return_index=True, return_inverse=True)
    return first, numbers


NOTHING = CharSet([])
EVERYTHING = CharSet([0, END])
NOTHING_BUT_END = CharSet([END, END + 1])
