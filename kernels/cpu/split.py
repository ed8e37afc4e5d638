"""Cutting pieces of text at the matches of an automaton."""

from __future__ import annotations

import functools

import numpy as np
from gputok.kernels import DEAD, Automaton
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import of_pieces, pointer, views_of
from gputok.kernels.cpu.primitives.constants import U1, U3, U7
from gputok.kernels.cpu.primitives.memory import as_array, as_views, grown, is_given, scratch, view
from gputok.kernels.cpu.primitives.utf8 import decode_wide, width
from gputok.kernels.cpu.walk.blocks import block_room, next_block
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, Walk
from gputok.kernels.signatures import i64, u8


def split_words(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    frozen: np.ndarray | None,
    automaton: Automaton,
    cut: np.ndarray,
    drop: np.ndarray,
    keep_empty: bool = False,
):
    """Walks an automaton over each piece, as if the piece were a text of its own, and cuts it into matches and gaps.

    data uint8[n]; start, end int64[n_pieces]; frozen bool[n_pieces] or None: pieces that stay whole;
    automaton: see kernels/__init__.py; cut bool[2, 2]: whether to cut between a first and a second span, each a
    gap (0) or a match (1); drop bool[2]: whether to leave out gaps, and matches.
    -> start, end int64[n_words], rows int64[n_pieces + 1]: piece i became words rows[i]:rows[i + 1].

    A match is the leftmost-first match from the end of the last match on. An empty match counts unless it touches the
    last match; then the search goes on one character later (as in Oniguruma's `find_iter`). Neighbouring characters
    without a match are one gap. Empty words are left out, except empty matches with `keep_empty`.
    """
    between = int(end[-1] - start[0]) if len(start) else 0  # a guess: the kernel makes more room
    capacity, rule = len(start) + max(between, 0) // 4 + 16, rule_of(cut, drop, keep_empty)
    return of_pieces(split_pieces, data, start, end, frozen, automaton, rule, capacity)


def find_words(data: np.ndarray, offsets: np.ndarray, automaton: Walk) -> np.ndarray:
    """Finds where the words of documents begin, by the walk of a gapless automaton; the last element is where they end.

    data: uint8[n], valid UTF-8; offsets: int64[d + 1], the documents in it -> int64[words + 1], ascending.
    """
    bits = np.unpackbits(find_cuts(data, offsets, automaton), bitorder="little")
    return np.append(np.flatnonzero(bits) + offsets[0], offsets[-1])


def find_cuts(data: np.ndarray, offsets: np.ndarray, automaton: Walk) -> np.ndarray:
    """Like `find_words`, but the result has a bit for each byte where a word begins, as `cut_bits` has: uint8[]."""
    start, stop = int(offsets[0]), int(offsets[-1])
    cuts = np.zeros(_cut_bytes(stop - start), np.uint8)
    if start < stop:
        document = int(np.searchsorted(offsets, start, "right")) - 1
        _find_cuts(pointer(data), pointer(offsets), document, start, stop, automaton, cuts)
    return cuts


def cut_bits(offsets: np.ndarray) -> np.ndarray:
    """A bit for each byte from offsets[0] on, the lowest of a byte first: 1 if it is one of the offsets, but the last.

    offsets: int64[n + 1], ascending -> uint8[], with some bytes more, so that 64 bits may be loaded from any bit.
    """
    is_cut = np.zeros(8 * _cut_bytes(int(offsets[-1] - offsets[0])), np.uint8)
    is_cut[offsets[:-1] - offsets[0]] = 1
    is_cut[offsets[-1] - offsets[0]] = 0
    return np.packbits(is_cut, bitorder="little")


def _cut_bytes(n_bytes: int) -> int:
    return n_bytes // 8 + 16


@kernel(i64, i64, i64, i64, i64, Walk, u8[:])
def _find_cuts(data, offsets, document, start, stop, walk, cuts):
    """Sets the bit of each byte of start:stop where a word begins in `cuts`, which has room for all of these bytes."""
    data, offsets, bits, first = view(data, np.uint8), view(offsets, np.int64), view(cuts), start
    views_of_walk, (n_block, text, codes, bounds) = as_views(walk), block_room()
    while start < stop:
        copied, _, document, n_words = next_block(
            data, offsets, document, start, stop, views_of_walk, (n_block, text, codes, bounds), offsets, False
        )
        if copied == 0:
            n_block, text, codes, bounds = block_room(2 * n_block)
            continue
        # From an index in the block to one in the text, which has no END_OF_TEXT after documents
        shift = np.uint64(start - first)
        for i in range(n_words):
            begin = np.uint64(bounds[i])
            at, is_end = shift + begin, np.uint64(text[begin] == np.uint8(END_OF_TEXT))
            bits[at >> U3] |= np.uint8((U1 ^ is_end) << (at & U7))
            shift -= is_end
        start += copied


def rule_of(cut: np.ndarray, drop: np.ndarray, keep_empty: bool) -> int:
    """The settings `cut`, `drop` and `keep_empty` of `split_words` as the kernel takes them."""
    return _rule(cut.tobytes() + drop.tobytes(), keep_empty)


@functools.cache
def _rule(flags: bytes, keep_empty: bool) -> int:
    """The settings as one integer: bit 2a + b is cut[a, b], bits 4 and 5 are drop, bit 6 is keep_empty."""
    return sum(flag << i for i, flag in enumerate(flags)) | keep_empty << 6


@kernel(inline=True)
def _class_at(data, at, classes):
    """The class, and the length in bytes, of the character at `at`."""
    ascii_class, page, member = classes
    if data[at] < 0x80:
        return np.int64(ascii_class[data[at]]), np.int64(1)
    c, size = decode_wide(data, np.uint64(at))
    return np.int64(member[np.uint64(page[c >> U7]) << U7 | c & np.uint64(127)]), np.int64(size)


@kernel(inline=True)
def _match_end(data, p, stop, classes, delta, accept, columns):
    """Walks the automaton from p as far as possible; returns the last position where it accepted, or -1."""
    found, state = np.int64(-1), np.int64(0)
    while True:
        if p == stop:
            return p if accept[state * columns + columns - 1] else found
        k, size = _class_at(data, p, classes)
        k += state * columns
        if accept[k]:
            found = p
        state = np.int64(delta[k])
        if state == DEAD:
            return found
        p += size


@kernel(inline=True)
def _gap_end(data, p, stop, classes, delta, accept):
    """Passes the character at p, and those after it that can't begin a match; returns stop + 1 if p is `stop`."""
    while p < stop:
        p += width(data[p])
        if p == stop:
            return p
        k, _ = _class_at(data, p, classes)
        if delta[k] != DEAD or accept[k]:
            return p
    return p + 1


@kernel(inline=True)
def _add_word(starts, ends, n, begin, end, flag, rule):
    """Writes a word whose last span is a gap (flag 0) or match (1), unless `rule` drops it; returns the word count."""
    if begin < end + (flag & rule >> 6) and not rule >> (4 + flag) & 1:
        starts[n] = begin
        ends[n] = end
        n += 1
    return n


@kernel(i64, (i64, i64, i64, i64), Automaton, i64, i64)
def split_pieces(data, pieces, automaton, rule, capacity):
    """`split_words`, with the addresses of `arrays.pointer`; capacity: of the lists at first."""
    data, (start, end, frozen, n_pieces) = view(data, np.uint8), views_of(pieces)
    of = as_views(automaton)
    classes, delta, accept = (of.ascii_class, of.page, of.member), of.delta, of.accept
    columns = np.int64(delta.columns)
    starts, ends = scratch(capacity, np.int64), scratch(capacity, np.int64)
    rows = np.zeros(n_pieces + 1, np.int64)
    n = 0
    for i in range(n_pieces):
        p, stop = start[i], end[i]
        if is_given(frozen) and frozen[i]:
            starts[n] = p
            ends[n] = stop
            n += 1
            p = stop + 1
        word = gap = p  # where the current word, and the current gap, begin
        flag = -1  # the kind of the last span: -1 none, 0 gap, 1 match
        last_match = -1  # the end of the last match
        while p <= stop:
            # Room for two words here, and for one at the end of each piece
            if n + 3 + n_pieces - i > capacity:
                capacity *= 2
                starts, ends = grown(starts, n, capacity), grown(ends, n, capacity)
            found = _match_end(data, p, stop, classes, delta, accept, columns)
            spans = 0  # bit 0: the gap before a match ends here; bit 1: a match does
            if found > p or (found == p and p != last_match):
                spans = 2 | (gap < p)
            elif p == stop:
                spans = gap < p
            for span in range(2):
                if not spans >> span & 1:
                    continue
                at = p if span else gap  # where a span of this kind begins
                if flag >= 0 and rule >> (2 * flag + span) & 1:
                    n = _add_word(starts, ends, n, word, at, flag, rule)
                    word = at
                flag = span
            if spans & 2:
                p = gap = last_match = found
            else:
                p = _gap_end(data, p, stop, classes, delta, accept)
        if flag >= 0:
            n = _add_word(starts, ends, n, word, stop, flag, rule)
        rows[i + 1] = n
    return as_array(starts, n), as_array(ends, n), rows
