"""Changes of the text of pieces: what normalizers do, as functions from Pieces to Pieces.

Each keeps the alignment where there is one, and leaves added tokens alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.text.pieces import Alignment, Pieces
from gputok.text.unicode_maps import character_map, compositions, normalization_form
from gputok.types import Array

if TYPE_CHECKING:
    from gputok.automaton import Backtracking
    from gputok.automaton.pattern import Regex


def normalize_form(pieces: Pieces, name: str, compose: bool = False) -> Pieces:
    """The pieces in a normalization form, one of nfc, nfd, nfkc, nfkd."""
    from gputok.kernels.cpu import normalize

    form = normalization_form(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *form[:3]):
        return pieces
    return rewritten(pieces, normalize.normalize_form, form, compositions() if compose else None)


def map_characters(pieces: Pieces, name: str) -> Pieces:
    """Each character of the pieces becomes what a map of text/unicode_maps.py says."""
    from gputok.kernels.cpu import normalize

    table = character_map(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *table[:2]):
        return pieces
    return rewritten(pieces, normalize.map_characters, table)


def strip(pieces: Pieces, left: bool, right: bool) -> Pieces:
    """Without white space at the ends of each piece."""
    from gputok.kernels.cpu.edits import strip as strip_pieces

    space = character_map("whitespace")[:2]
    start, end = strip_pieces(pieces.data, pieces.start, pieces.end, pieces.frozen, space, left, right)
    return pieces._replace(start=start, end=end)


def prepend(pieces: Pieces, text: str) -> Pieces:
    """A string before each piece that is not empty."""
    here = pieces.start < pieces.end
    if pieces.frozen is not None:
        here &= ~pieces.frozen
    at, rows = pieces.start[here], np.zeros(pieces.n_pieces + 1, np.int64)
    here.cumsum(out=rows[1:])
    return splice(pieces, at, at, rows, text, at)


def replace(pieces: Pieces, pattern: str | Regex, content: str) -> Pieces:
    """`content` in place of each match of a pattern."""
    start, end, rows = find_matches(pattern, pieces)
    # What is put in comes from where the character before it does: the last one that is replaced.
    place = end - 1
    # Its first byte, rather: where a text's first character is replaced, what is put in begins it.
    while np.count_nonzero(within := (pieces.data[place] & 0xC0) == 0x80):
        place -= within
    first = np.repeat(pieces.start, rows[1:] - rows[:-1])
    return splice(pieces, start, end, rows, content, np.where(end == first, ~first, place))


def find_matches(pattern: str | Regex, pieces: Pieces) -> tuple[Array, Array, Array]:
    """Where a pattern matches in each piece: start, end int64[n_matches], rows int64[n_pieces + 1].

    Matches are in order and apart; the empty string matches between any two characters.
    """
    from gputok.kernels.cpu.edits import find_literal
    from gputok.kernels.cpu.split import split_words

    place = pieces.data, pieces.start, pieces.end, pieces.frozen
    if isinstance(pattern, str) and pattern:
        literal = np.frombuffer(pattern.encode(), np.uint8)
        found, rows = find_literal(*place, literal)
        return found, found + len(literal), rows
    from gputok.automaton.pattern import matcher

    machine = matcher(pattern)
    if isinstance(machine, tuple):
        cut, drop = np.ones((2, 2), bool), np.array([True, False])
        start, end, rows = split_words(*place, machine, cut, drop, keep_empty=True)
    else:
        start, end, rows = _backtracked(machine, pieces)
    live = (
        pieces.start < pieces.end if pieces.frozen is None else (pieces.start < pieces.end) & ~pieces.frozen
    )
    keep = np.repeat(live, np.diff(rows))
    return start[keep], end[keep], np.append(0, np.cumsum(keep))[rows]


def _backtracked(pattern: Backtracking, pieces: Pieces) -> tuple[Array, Array, Array]:
    """The matches of a pattern that is no automaton."""
    from gputok.automaton.pattern import spans

    found, rows = [], [0]
    for text, start in zip(pieces.strings(), pieces.start.tolist(), strict=True):
        for first, last, matched in spans(pattern, text):
            end = start + len(text[first:last].encode())
            found += [(start, end)] * matched
            start = end
        rows.append(len(found))
    start, end = np.array(found, np.int64).reshape(-1, 2).T
    return start, end, np.array(rows)


def splice(pieces: Pieces, start: Array, end: Array, rows: Array, content: str, place: Array) -> Pieces:
    """Pieces with `content` in place of the bytes start[k]:end[k]; rows int64[n_pieces + 1] tells whose they are.

    place: int64[k], the byte that each content comes from; ~place: it comes from before that byte.
    """
    from gputok.kernels.cpu.edits import splice as splice_bytes

    text = np.frombuffer(content.encode(), np.uint8)
    aligned = pieces.alignment is not None
    return replaced(
        pieces, *splice_bytes(pieces.data, pieces.start, pieces.end, rows, start, end, text, place, aligned)
    )


def rewritten(pieces: Pieces, kernel: Any, *arguments: Any) -> Pieces:
    """What a kernel makes of the pieces, with its alignment."""
    aligned = pieces.alignment is not None
    edited = kernel(pieces.data, pieces.start, pieces.end, pieces.frozen, *arguments, aligned)
    return replaced(pieces, *edited)


def replaced(pieces: Pieces, data: Array, offsets: Array, source: Array) -> Pieces:
    """New text for the pieces; source is explained in kernels/cpu/normalize.py."""
    from gputok.kernels.cpu.normalize import follow

    alignment = pieces.alignment and Alignment(*follow(source, *pieces.alignment))
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)
