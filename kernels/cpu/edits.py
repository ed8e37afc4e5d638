"""Replacing and stripping parts of pieces; arguments and results are those of `normalize.py`."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.normalize import copy_run, kind_of
from gputok.kernels.cpu.primitives.arrays import longer, of_pieces, pointer, views_of
from gputok.kernels.cpu.primitives.memory import copy, is_given, owned, view
from gputok.kernels.cpu.primitives.utf8 import character
from gputok.kernels.signatures import boolean, i64


def splice(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    rows: np.ndarray,
    cut_start: np.ndarray,
    cut_end: np.ndarray,
    content: np.ndarray,
    origin: np.ndarray,
    aligned: bool,
):
    """Replaces each span data[cut_start[j]:cut_end[j]] by `content` (uint8[c]).

    rows int64[n_pieces + 1]: the spans of piece i are rows[i]:rows[i + 1], in order, without overlap;
    origin int64[n_spans]: element j is the `source` of all bytes that replace span j.
    """
    cuts = pointer(rows), pointer(cut_start), pointer(cut_end), pointer(origin)
    return of_pieces(splice_pieces, data, start, end, None, cuts, pointer(content), len(content), bool(aligned))


@kernel(i64, (i64, i64, i64, i64), (i64, i64, i64, i64), i64, i64, boolean)
def splice_pieces(data, pieces, cuts, content, width, aligned):
    """`splice`, with the addresses of `arrays.pointer`; width: bytes of `content`."""
    data, content = view(data, np.uint8), view(content, np.uint8)
    start, end, _, n_pieces = views_of(pieces)
    rows, cut_start = view(cuts[0], np.int64), view(cuts[1], np.int64)
    cut_end, origin = view(cuts[2], np.int64), view(cuts[3], np.int64)
    offsets = np.zeros(n_pieces + 1, np.int64)
    total = 0
    for piece in range(n_pieces):
        total += end[piece] - start[piece]
    for j in range(rows[n_pieces]):
        total += width - (cut_end[j] - cut_start[j])
    new, source = np.empty(total, np.uint8), np.empty(total if aligned else 0, np.int64)
    out, sources = owned(new), owned(source)
    n = 0
    for piece in range(n_pieces):
        i, stop = start[piece], end[piece]
        for j in range(rows[piece], rows[piece + 1]):
            size = cut_start[j] - i
            copy_run(data, i, size, out, n, sources, aligned)
            n += size
            copy(out, n, content, 0, width)
            if aligned:
                for k in range(n, n + width):
                    sources[k] = origin[j]
            n += width
            i = cut_end[j]
        copy_run(data, i, stop - i, out, n, sources, aligned)
        n += stop - i
        offsets[piece + 1] = n
    return new, offsets, source


def find_literal(data: np.ndarray, start: np.ndarray, end: np.ndarray, frozen: np.ndarray | None, literal: np.ndarray):
    """Finds `literal` (not empty) in pieces, left to right without overlap: at int64[n], rows int64[n_pieces + 1]."""
    return of_pieces(_find_literal, data, start, end, frozen, pointer(literal), len(literal))


@kernel(i64, (i64, i64, i64, i64), i64, i64)
def _find_literal(data, pieces, literal, size):
    data, literal = view(data, np.uint8), view(literal, np.uint8)
    start, end, frozen, n_pieces = views_of(pieces)
    rows, found = np.zeros(n_pieces + 1, np.int64), np.empty(1024, np.int64)
    n = 0
    for piece in range(n_pieces):
        i, last = start[piece], end[piece] - size
        while i <= last and not (is_given(frozen) and frozen[piece]):
            i, n = find_run(data, i, last, literal, size, owned(found), n, len(found))
            if n == len(found):
                found = longer(found, n, 2 * n)
        rows[piece + 1] = n
    return found[:n], rows


@kernel(inline=True)
def find_run(data, i, last, literal, size, found, n, limit):
    """Writes where matches begin, from byte i to `last`, to found[n:limit]; returns i and n from which to go on."""
    head = literal[0]
    while i <= last and n < limit:
        k = 0
        if data[i] == head:
            k = 1
            while k < size and data[i + k] == literal[k]:
                k += 1
        if k == size:
            found[n] = i
            n += 1
            i += size
        else:
            i += 1
    return i, n


def strip(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    frozen: np.ndarray | None,
    space: tuple[np.ndarray, np.ndarray],
    left: bool,
    right: bool,
):
    """Strips characters from the ends of pieces: those that are not 0 in the two-stage table `space` (page, member).

    -> start, end int64[n_pieces]; a piece of such characters alone becomes empty, at its end if `left`, else its start.
    """
    characters = pointer(space[0]), pointer(space[1])
    return of_pieces(strip_pieces, data, start, end, frozen, *characters, bool(left), bool(right))


@kernel(i64, (i64, i64, i64, i64), i64, i64, boolean, boolean)
def strip_pieces(data, pieces, page, member, left, right):
    """`strip`, with the addresses of `arrays.pointer`."""
    data, page, member = view(data, np.uint8), view(page, np.uint16), view(member, np.uint16)
    start, end, frozen, n_pieces = views_of(pieces)
    new_start, new_end = np.empty(n_pieces, np.int64), np.empty(n_pieces, np.int64)
    for piece in range(n_pieces):
        i, stop = start[piece], end[piece]
        if not (is_given(frozen) and frozen[piece]):
            while left and i < stop:
                c, size = character(data, i)
                if not kind_of(page, member, c):
                    break
                i += size
            while right and i < stop:
                at = stop - 1
                while data[at] & 0xC0 == 0x80:
                    at -= 1
                if not kind_of(page, member, character(data, at)[0]):
                    break
                stop = at
        new_start[piece], new_end[piece] = i, stop
    return new_start, new_end
