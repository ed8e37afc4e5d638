"""The operations of normalizers, as functions from Pieces to Pieces.

Each function updates the alignment, if the pieces have one, and leaves added tokens as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton.pattern import Regex, cut_rule, matcher, split_words
from gputok.text.pieces import Alignment, Pieces, first_characters
from gputok.text.unicode_maps import character_map, compositions, normalization_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.text.pieces import TextBatch
    from gputok.types import Bytes, Mask, Positions


def normalize_form(pieces: Pieces, name: str) -> Pieces:
    """Brings the pieces into the normalization form nfd, nfkd, nfc or nfkc."""
    from gputok.kernels.cpu import normalize

    form = normalization_form(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *form[:3]):
        return pieces
    return rewritten(pieces, normalize.normalize_form, form, compositions() if name.endswith("c") else None)


def inert_in(name: str) -> tuple[Any, Any, int]:
    """The characters that never change in text that has no others (see `Normalizer.inert`): page, member, n_inert."""
    page, member, n_inert = normalization_form(name)[:3]
    return page, member, int(n_inert)


def all_inert(batch: TextBatch, inert: tuple[Any, Any, int]) -> bool:
    """Whether a normalizer leaves all text of a batch as it is; inert: its `Normalizer.inert`."""
    from gputok.kernels.cpu.normalize import is_inert

    return bool(is_inert(batch.data, batch.offsets[:1], batch.offsets[-1:], None, *inert))


def map_characters(pieces: Pieces, name: str) -> Pieces:
    """Replaces each character of the pieces by a map of text/unicode_maps.py, for example "lowercase"."""
    from gputok.kernels.cpu import normalize

    table = character_map(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *table[:2]):
        return pieces
    return rewritten(pieces, normalize.map_characters, table)


def strip(pieces: Pieces, left: bool, right: bool) -> Pieces:
    """Removes white space at the left end, the right end or both ends of each piece."""
    from gputok.kernels.cpu.edits import strip as strip_pieces

    space = character_map("whitespace")[:2]
    start, end = strip_pieces(pieces.data, pieces.start, pieces.end, pieces.frozen, space, left, right)
    return pieces._replace(start=start, end=end)


def prepend(pieces: Pieces, text: str) -> Pieces:
    """Puts a string before each piece that is not empty."""
    changed = _changeable(pieces)
    if not text:
        return _begun_by_nothing(pieces, changed)
    at, rows = pieces.start[changed], np.zeros(pieces.n_pieces + 1, np.int64)
    changed.cumsum(out=rows[1:])
    return splice(pieces, at, at, rows, text, at)


def _begun_by_nothing(pieces: Pieces, changed: Mask) -> Pieces:
    """Aligns the first character of each piece with the empty range before it, as Prepend("") of tokenizers does."""
    if pieces.alignment is None:
        return pieces
    start, end = (each.copy() for each in pieces.alignment)
    # A normalizer's piece begins where its document does, or where the added token before it ends.
    begin = np.zeros(pieces.n_pieces + 1, np.int32)
    full = np.flatnonzero(pieces.start < pieces.end)
    begin[full + 1] = end[pieces.end[full] - 1]
    begin[pieces.rows] = 0
    at = np.sort(first_characters(pieces.data, pieces.start[changed], pieces.end[changed]))
    piece = np.cumsum((pieces.data[at] & 0xC0) != 0x80) - 1
    start[at] = end[at] = begin[:-1][changed][piece]
    return pieces._replace(alignment=Alignment(start, end))


def replace(pieces: Pieces, pattern: str | Regex, content: str) -> Pieces:
    """Replaces each match of a pattern by `content`."""
    start, end, rows = find_matches(pattern, pieces)
    # `content` is aligned with the last character of the match, ...
    origin = end - 1
    # ... with its first byte, so that content that replaces the first character of a text begins at 0.
    while np.count_nonzero(within := (pieces.data[origin] & 0xC0) == 0x80):
        origin -= within
    first = np.repeat(pieces.start, rows[1:] - rows[:-1])
    return splice(pieces, start, end, rows, content, np.where(end == first, ~first, origin))


def find_matches(pattern: str | Regex, pieces: Pieces) -> tuple[Positions, Positions, Positions]:
    """Finds the matches of a pattern in each piece: start, end int64[n_matches] in bytes, rows int64[n_pieces + 1].

    Piece i has the matches rows[i]:rows[i + 1], in order, without overlap. "" matches between any two characters.
    """
    from gputok.kernels.cpu.edits import find_literal

    text = pieces.data, pieces.start, pieces.end, pieces.frozen
    if isinstance(pattern, str) and pattern:
        literal = np.frombuffer(pattern.encode(), np.uint8)
        found, rows = find_literal(*text, literal)
        return found, found + len(literal), rows
    start, end, rows = split_words(text, matcher(pattern), *cut_rule("removed", invert=True), keep_empty=True)
    keep = np.repeat(_changeable(pieces), np.diff(rows))
    return start[keep], end[keep], np.append(0, np.cumsum(keep))[rows]


def _changeable(pieces: Pieces) -> Mask:
    """bool[n_pieces]: True for pieces that are neither empty nor added tokens."""
    changeable: Mask = pieces.start < pieces.end
    if pieces.frozen is not None:
        changeable &= ~pieces.frozen
    return changeable


def splice(pieces: Pieces, start: Positions, end: Positions, rows: Positions, new: str, origin: Positions) -> Pieces:
    """Replaces the bytes start[k]:end[k] of pieces.data by a new text, for each cut k.

    rows: int64[n_pieces + 1], piece i has the cuts rows[i]:rows[i + 1]; origin: int64[n_cuts], the byte that the
    content is aligned with, or ~byte to align the content with the gap before that byte.
    """
    from gputok.kernels.cpu.edits import splice as splice_bytes

    text, cuts = np.frombuffer(new.encode(), np.uint8), (rows, start, end)
    aligned = pieces.alignment is not None
    return replaced(pieces, *splice_bytes(pieces.data, pieces.start, pieces.end, *cuts, text, origin, aligned))


def rewritten(pieces: Pieces, kernel: Callable[..., tuple[Bytes, Positions, Positions]], *arguments: Any) -> Pieces:
    """Applies a kernel that rewrites the bytes of pieces, and updates the alignment."""
    aligned = pieces.alignment is not None
    edited = kernel(pieces.data, pieces.start, pieces.end, pieces.frozen, *arguments, aligned)
    return replaced(pieces, *edited)


def replaced(pieces: Pieces, data: Bytes, offsets: Positions, source: Positions) -> Pieces:
    """Gives the pieces new text, packed: piece i is data[offsets[i]:offsets[i + 1]].

    source: int64[len(data)], the origin of each byte; kernels/cpu/normalize.py explains its values.
    """
    from gputok.kernels.cpu.normalize import follow

    alignment = pieces.alignment and Alignment(*follow(source, *pieces.alignment))
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)
