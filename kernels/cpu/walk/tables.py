"""The tables of a gapless automaton for the walk.

What happens between two words is resolved in advance. If the walk dies on a character, but accepts before that
character, the entry of `step` says "boundary" and has the state after the character as the first of the next word: no
byte is read twice. A second table, `pair`, takes two bytes at once. It has the entry RARE where it can't: for bytes
that aren't ASCII, or if the match ended earlier than the walk. There a single step by `step` follows.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import DEAD, Automaton
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.walk.windows import NO_TABLES, ready_tables, window_tables
from gputok.kernels.signatures import NamedTuple, U8s, U16s, U32s

END_OF_TEXT = 0xFF  # the byte after each document of a block
# CLASS_CODE + a class stands for a character of several bytes: above the bytes that continue characters, below 0xFF
CLASS_CODE = 0xC0

# An entry of `pair`: next state | boundary before the first byte << 8 | before the second << 9, or RARE.
RARE = 1 << 15
# Where the parts `second`, `both` and the entries begin in `pair` (see `Walk`), in bytes
PAIR_SECOND, PAIR_CODES = 1024, 2048
PAIR_ENTRIES = PAIR_CODES + 4 * (1 << 16)
MAX_PAIR_STATES = 256
MAX_PAIR_BYTES = 1 << 17
# An entry of `step`: next state | boundary before this character << 16. Or, if the match ended earlier:
BACK_ONE = 1 << 30  # it ended one character earlier, whatever the characters were
BACK = 1 << 31  # it ended somewhere: walk again from the beginning of the word

# For so many bytes of text it pays to load the ready tables of windows, and for so many to make tables
SOME_TEXT, MUCH_TEXT = 1 << 18, 1 << 23


class Walk(NamedTuple):
    """An automaton's tables, fused for the walk."""

    klass: U8s  # uint8[256], class of an ASCII byte; of 0xFF: that of end of text
    page: U16s  # uint16[0x110000 >> 7]
    member: U8s  # uint8[pages * 128]
    # uint8[]: first uint32[256], second uint32[256], both uint32[1 << 16], entries uint16[rows, states + 1];
    # the entries of two bytes a, b begin first[a] + second[b] bytes into `pair`, those of two codes both[a | b << 8]
    pair: U8s
    step: U32s  # uint32[(states + 1) * width], step[state * width + class]
    delta: U16s  # uint16[states * width]
    accept: U8s  # uint8[states * width]
    # uint8[width * width], 1 at (a, b): text may be cut between characters of these classes (a *strong cut*): a word
    # always ends there, and the left part may be walked alone, with an end of text after it
    strong: U8s
    windows: U8s  # of `window_tables`, or empty
    width: int  # classes + 1
    fresh: int  # the state at the beginning of a word: the one after the last of the automaton


@kernel(inline=True)
def steps_of(walk):
    """The views of a Walk, as a tuple that `walk_rest` and `match_end` take as `tables`."""
    characters, states = (walk.klass, walk.page, walk.member), (walk.delta, walk.accept, walk.step)
    return (*characters, *states, np.uint64(walk.width), np.uint64(walk.fresh))


class Walks:
    """The tables of one automaton for any number of walks, also of threads; those of windows come when they pay.

    Args:
        automaton: a gapless automaton.

    Example:
        >>> from gputok.automaton import PATTERNS, compile_pattern
        >>> walks = Walks(compile_pattern(PATTERNS["gpt2"]))
        >>> len(walks.of(1000).windows)
        0
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton, self._walk, self._n_bytes = automaton, prepare(automaton), 0
        self._makers = (MUCH_TEXT, window_tables), (SOME_TEXT, ready_tables)

    def of(self, n_bytes: int) -> Walk:
        """Returns the tables for a walk over n_bytes more."""
        # If threads do the same at the same time, some bytes are not counted, or tables made twice: no result changes
        self._n_bytes += n_bytes
        while not len(self._walk.windows) and (makers := self._makers) and self._n_bytes >= makers[-1][0]:
            self._makers = makers[:-1]
            windows = makers[-1][1](self._automaton)
            if len(windows):  # empty tables must not replace those that another thread has made
                self._walk = self._walk._replace(windows=windows)
        return self._walk


def prepare(automaton: Automaton, windows: np.ndarray = NO_TABLES) -> Walk:
    """The fused tables of a gapless `gputok.kernels.Automaton` (about a millisecond); windows: of `window_tables`."""
    if not automaton.gapless:
        raise ValueError("only a gapless automaton can be walked in blocks: this one leaves characters unmatched")
    n, width = automaton.delta.shape
    end, fresh = width - 1, n
    accepts = automaton.accept.astype(bool)
    dead = automaton.delta == DEAD
    restart = automaton.delta[0].astype(np.uint32)
    restart[end] = fresh

    step = np.where(dead, restart | np.uint32(1 << 16), automaton.delta.astype(np.uint32))
    unaccepted = dead & ~accepts
    entered, left_accepting = np.zeros(n, bool), np.ones(n, bool)
    entered[automaton.delta[~dead]] = True
    left_accepting[automaton.delta[~dead & ~accepts]] = False
    step = np.where(unaccepted, np.where((entered & left_accepting)[:, None], BACK_ONE, BACK), step)
    step = np.vstack([step, restart | np.uint32(1 << 16)]).astype(np.uint32)

    klass = np.zeros(256, np.uint8)
    klass[:128] = automaton.ascii_class
    klass[END_OF_TEXT] = end
    return Walk(
        klass,
        np.array(automaton.page, np.uint16),
        np.array(automaton.member, np.uint8).ravel(),
        _fuse_pairs(step, accepts, klass),
        step.ravel(),
        np.array(automaton.delta, np.uint16).ravel(),
        np.array(automaton.accept, np.uint8).ravel(),
        np.pad(automaton.strong, ((0, 1), (0, 1))).astype(np.uint8).ravel(),
        windows,
        width,
        fresh,
    )


def _fuse_pairs(step: np.ndarray, accepts: np.ndarray, klass: np.ndarray) -> np.ndarray:
    """`pair` of a Walk: an entry is two steps; or the match ended before the first byte, and a word begins there."""
    n_states, width = step.shape  # the fresh state included
    # After the classes come the column of bytes that continue a character, and that of all other bytes
    k = width + 2
    index = np.full(256, k - 1)
    index[:128], index[END_OF_TEXT] = klass[:128], klass[END_OF_TEXT]
    of_code = index.copy()
    of_code[128:CLASS_CODE], of_code[CLASS_CODE : CLASS_CODE + width] = k - 2, np.arange(width)
    of_code[END_OF_TEXT] = klass[END_OF_TEXT]
    if n_states > MAX_PAIR_STATES or k * k * n_states * 2 > MAX_PAIR_BYTES or CLASS_CODE + width > END_OF_TEXT:
        nothing = np.zeros(256, np.int64)  # single steps everywhere
        return _joined(nothing, nothing, np.full(n_states, RARE), n_states)

    one = np.column_stack([step, np.arange(n_states, dtype=step.dtype)])  # [state, a]
    two = one[one & 0xFFFF]  # [state, a, b]; where `one` is BACK or BACK_ONE, `known` is False
    entry = (two & 0xFFFF) | (one >> 16 & 1)[:, :, None] << 8 | (two >> 16 & 1) << 9
    known = (one < BACK_ONE)[:, :, None] & (two < BACK_ONE)
    # The walk dies on b without a match before b, but accepts before a: a boundary is there, and a begins the next word
    again = one[one[-1] & 0xFFFF]  # [a, b]
    accepted = np.pad(accepts, ((0, 1), (0, 1)))
    retaken = ~known & (one >> 16 == 0)[:, :, None] & accepted[:, :, None] & (again < BACK_ONE)
    entry = np.where(retaken, (again & 0xFFFF) | 1 << 8 | (again >> 16 & 1) << 9, entry)

    entries = np.full((k, k, n_states), RARE)
    entries[:-1, :-1] = np.where(known | retaken, entry, RARE).transpose(1, 2, 0)
    return _joined(index, of_code, entries, n_states)


def _joined(index: np.ndarray, of_code: np.ndarray, entries: np.ndarray, n_states: int) -> np.ndarray:
    """`pair` as one array, since the hot loop has no register for more; rows in elements become offsets in bytes."""
    row, k = 2 * n_states, len(entries) if entries.ndim == 3 else 0
    joined = np.empty(PAIR_ENTRIES + 2 * entries.size, np.uint8)
    first, second, both = np.split(joined[:PAIR_ENTRIES].view(np.uint32), [256, 512])
    first[:], second[:] = index * k * row + PAIR_ENTRIES, index * row
    # [b, a]: of two codes side by side, the first is the lower byte of a number
    rows, columns = (of_code * row).astype(np.uint32), (of_code * k * row + PAIR_ENTRIES).astype(np.uint32)
    np.add.outer(rows, columns, out=both.reshape(256, 256))
    joined[PAIR_ENTRIES:].view(np.uint16)[:] = entries.ravel()
    return joined
