"""Makes the tables of an automaton small: states and classes of characters that are alike become one.

It needs no syntax tree, so a tokenizer whose automaton isn't made of a pattern (`models.bpe.cuts`) imports no parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.kernels import DEAD, Automaton

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.types import Bytes, Mask, Positions

    Transitions = npt.NDArray[np.uint16]


class OutsideError(Exception):
    """The pattern needs more look-ahead than one character, or a too large automaton; the message says why."""


def finished(delta: Positions, accept: Mask, class_of: npt.NDArray[np.integer[Any]]) -> Automaton:
    """Makes an Automaton with as few states and classes as possible; all states must be reachable from state 0.

    delta: int64[n_states, n_classes + 1], the next state or DEAD; the last column is END. accept: bool of that shape.
    class_of: integers[0x110000], of each code point. Raises OutsideError if more than 255 classes remain.
    """
    narrow, accepted = _minimize(delta, accept)
    narrow, accepted, merged = _merge_classes(narrow, accepted)
    if narrow.shape[1] > 256:
        raise OutsideError("more than 255 classes of characters")
    # A pattern with empty matches has gaps: the search does not take an empty match that touches the last match
    gaps = _may_be_gap(narrow, accepted)
    page, member = _pages(merged, class_of)
    return Automaton(
        ascii_class=member[0].copy(),
        page=page,
        member=member,
        delta=narrow,
        accept=accepted,
        strong=_strong(narrow, accepted, gaps),
        gapless=not gaps.any(),
    )


def _pages(merged: Bytes, class_of: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.uint16], Bytes]:
    """Makes `page` and `member` of `Automaton`, the classes of code points; merged: the new class of each class."""
    edges = np.flatnonzero(class_of[1:] != class_of[:-1]) + 1
    runs = merged[class_of[np.append(0, edges)]]
    pages = np.repeat(runs, np.diff(edges, prepend=0, append=len(class_of))).reshape(-1, 128)
    # A page is like the one before it, unless the class changes in one of them, or between them
    changed = np.zeros(len(pages) + 1, bool)
    changed[0] = changed[edges >> 7] = changed[(edges >> 7) + 1] = True
    firsts = np.flatnonzero(changed[:-1])
    rows: dict[bytes, int] = {}
    row_of = [rows.setdefault(row.tobytes(), len(rows)) for row in pages[firsts]]
    member = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 128).copy()
    return np.repeat(np.array(row_of, np.uint16), np.diff(firsts, append=len(pages))), member


def _minimize(delta: Positions, accept: Mask) -> tuple[Transitions, Bytes]:
    """Merges equivalent states (Moore's algorithm). States from which no match can follow become DEAD."""
    n_states = len(delta)
    target = np.vstack([np.where(delta == DEAD, n_states, delta), np.full(delta.shape[1], n_states)])
    rows = np.vstack([accept, np.zeros(accept.shape[1], bool)])
    _, block = np.unique(rows, axis=0, return_inverse=True)
    while True:
        _, finer = np.unique(np.column_stack([block.ravel(), block.ravel()[target]]), axis=0, return_inverse=True)
        if finer.max() == block.max():
            break
        block = finer
    block = block.ravel()
    _, first = np.unique(block[: n_states + 1], return_index=True)
    kept = np.sort(first[first < n_states])
    # The start state stays, even if the pattern matches nothing.
    kept = kept[(block[kept] != block[n_states]) | (kept == 0)]
    number = np.full(block.max() + 1, DEAD)
    number[block[kept]] = np.arange(len(kept))
    number[block[n_states]] = DEAD
    return number[block[target[kept]]].astype(np.uint16), accept[kept].astype(np.uint8)


def _merge_classes(delta: Transitions, accept: Bytes) -> tuple[Transitions, Bytes, npt.NDArray[Any]]:
    """Merges the classes of characters whose columns are equal; also returns the new class of each class."""
    rows = np.ascontiguousarray(np.vstack([delta, accept])[:, :-1].T)
    seen: dict[bytes, int] = {}
    # New classes are numbered in the order of their first columns
    merged = [seen.setdefault(row.tobytes(), len(seen)) for row in rows]
    kept = np.r_[np.unique(merged, return_index=True)[1], delta.shape[1] - 1]
    return (
        np.ascontiguousarray(delta[:, kept]),
        np.ascontiguousarray(accept[:, kept]),
        np.array(merged, np.uint8 if len(seen) < 256 else np.int64),
    )


def _may_be_gap(delta: Transitions, accept: Bytes) -> Mask:
    """bool[n_classes]: True if a walk that begins with a character of the class can die or end without a match."""
    n_classes = delta.shape[1] - 1
    if accept[0].any():
        return np.ones(n_classes, bool)
    fails, first = failing(delta, accept != 0), delta[0, :n_classes]
    return np.where(first == DEAD, True, fails[np.where(first == DEAD, 0, first)])


def failing(delta: npt.NDArray[np.integer[Any]], accept: Mask) -> Mask:
    """bool[n_states]: True if a walk from this state can end without another accepted position."""
    dead = delta == DEAD
    following = np.where(dead, 0, delta)
    # also in the column of END, in which every walk dies, since no character follows
    fails: Mask = (~accept & dead).any(axis=1)
    while True:  # a state also fails if it can go to a failing state without accepting
        wider: Mask = fails | (~accept & ~dead & fails[following]).any(axis=1)
        if (wider == fails).all():
            return fails
        fails = wider


def _strong(delta: Transitions, accept: Bytes, gaps: Mask) -> Bytes:
    """uint8[n_classes, n_classes]: 1 at (a, b) if text may be cut between them without changing words.

    Such a place is a *seam*: both sides are texts of their own, whatever stands before `a` and after `b`. Whoever cuts
    text into slices for threads or into blocks, encodes text that grows, or counts parts of a text, cuts at seams;
    `kernels.cpu.encode_one.seams` says what added tokens and normalizers ask for besides.

    Three conditions: no walk that steps over `a` continues over `b` (a word ends there, or ended before); after `a`, a
    walk accepts at an end of text exactly if it accepts before `b`; and `a` and `b` are not both gap characters, which
    would form one piece. They hold for each state after `a`, so for each text on the left. The word of `a` may have
    ended before `a`, and the walk finds that out at `b`: so whoever walks the left part alone adds an end of text.
    """
    n_classes = delta.shape[1] - 1
    strong = ~np.logical_and.outer(gaps, gaps)
    for a in range(n_classes):
        after, _ = np.unique(delta[:, a], return_index=True)  # return_index: see `charset.partition`
        after = after[after != DEAD]
        strong[a] &= (delta[after, :-1] == DEAD).all(axis=0)
        strong[a] &= (accept[after, :-1] == accept[after, -1:]).all(axis=0)
    return strong.astype(np.uint8)
