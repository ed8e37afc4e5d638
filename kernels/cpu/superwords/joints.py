"""Whether tokens that stand side by side are those of their joined text.

Words are looked up, each with its tokens; text of several words has the tokens of its words, unless a merge reaches across
a word's end. Two tokens *fit* if byte-pair encoding of their joined text gives these two. A sequence of tokens is the
encoding of its text if all neighbours fit (van Antwerpen and Neubeck 2024, "So many tokens, so little time",
github.com/github/rust-gems). So only ends that don't fit have to be encoded anew, with the tokens beside them.

Proof, for merges that are applied in the order of their ranks, each to all its occurrences from left to right: let no merge
so far have reached across an end. Then both tokens have evolved as they do alone, and a merge across the end would happen
in their joined text as well.

It needs a vocabulary in which each token is made by one merge, which comes after those that make its parts. Tokens are
numbered by age: 0 to 255 are the bytes, the others follow by rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.merge import SHORT, merge_by_heap, merge_by_scan
from gputok.kernels.cpu.lookup import NONE, index_pairs, pairs_of, rank_of
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, U0, U1, U2, U6, U32, U63
from gputok.kernels.cpu.primitives.memory import View, scratch, view
from gputok.kernels.signatures import U16orU32, U16s, U32s, U64s, i64, u16, u32, u64

BYTES = np.uint64(256)
# Of the number of pairs that are remembered: 512 KiB, which stays in a cache of the second level
KNOWN_BITS = 16
# Bytes that are encoded anew, besides four times a piece's, before the whole piece is
MUCH_WORK = 4096


class Joints(NamedTuple):
    """The tables of a vocabulary. Ages are those of the text above."""

    age: U32s  # uint32[ids], the age of each id, or NONE
    id: U32s  # uint32[n], the id of each age
    parts: (
        U32s  # uint32[2 * n], the ages of the two tokens that each age was merged from; a byte: itself, twice
    )
    length: U32s  # uint32[n], in bytes
    pairs: Pairs  # of ages; the rank of a pair + 256 is the age that it becomes
    merged: U32s  # uint32[n - 256], the age that each rank becomes
    edges: U16s  # uint16[ids], the first byte of each id, and the last one << 8
    inside: U64s  # uint64[1024], bit last << 8 | first: whether a token has these two bytes side by side
    nothing: int  # a number that is no age


def joints(symbols: np.ndarray, merges: np.ndarray, n_ids: int) -> Joints | None:
    """Makes the tables; None if the vocabulary is not as they need it.

    symbols: uint32[256], the id of each byte; merges: uint32[m, 3], the ids of left, right and new token, by rank.
    """
    made = np.concatenate([symbols, merges[:, 2]]).astype(np.uint32)
    own = np.arange(len(made), dtype=np.uint32)
    if len(np.unique(made)) < len(made) or n_ids > 1 << 26:  # tables by id would be too large
        return None
    age = np.full(n_ids, NONE, np.uint32)
    age[made] = own
    parts = np.stack([own, own], axis=1)
    parts[256:] = age[merges[:, :2]]
    if (parts[256:] >= own[256:, None]).any():  # also those without an age
        return None
    pairs = index_pairs(parts[256:, 0], parts[256:, 1], own[: len(merges)], len(made))
    of_age, length = np.empty(len(made), np.uint16), np.ones(len(made), np.uint32)
    inside, edges = np.zeros(1024, np.uint64), np.zeros(n_ids, np.uint16)
    parts = parts.ravel()
    _find_edges(parts, of_age, length, inside)
    edges[made] = of_age
    return Joints(age, made, parts, length, pairs, own[256:].copy(), edges, inside, len(made))


@kernel(u32[:], u16[:], u32[:], u64[:])
def _find_edges(parts, edges, length, inside):
    """Fills in edges and length of each age, and `inside`; those of the parts of a token are known before its own."""
    for age in range(len(edges)):
        if age < 256:
            edges[age] = age << 8 | age
            continue
        left, right = parts[2 * age], parts[2 * age + 1]
        edges[age] = (edges[left] & 0xFF) | (edges[right] & 0xFF00)
        length[age] = length[left] + length[right]
        bit = np.uint64((edges[left] & 0xFF00) | (edges[right] & 0xFF))
        inside[bit >> U6] |= U1 << (bit & U63)


@kernel(inline=True)
def _fit(left, right, parts, pairs):
    """Whether two tokens, by their ages, are the encoding of their joined text.

    Takes the younger token apart, and tests whether a merge across the gap would have come before that token's merge.
    """
    limit = ALL
    while True:
        rank = rank_of(pairs, left, right)
        if rank != NONE and np.uint64(rank) + BYTES < limit:
            return False
        if left < BYTES and right < BYTES:
            return True
        if left > right:
            limit = left
            left = np.uint64(parts[U1 + left + left])
        else:  # of two equal tokens the right one is taken apart first: merging is leftmost-first
            limit = right + U1
            right = np.uint64(parts[right + right])


class _Views(NamedTuple):
    """Joints as the loop sees them: arrays would be reference-counted."""

    age: View  # of uint32
    id: View  # of uint32
    parts: View  # of uint32
    length: View  # of uint32
    pairs: tuple[View, np.uint64, np.uint64]
    edges: View  # of uint16
    inside: View  # of uint64
    known: View  # of uint64


@kernel(inline=True)
def _fits(s, x, y):
    """Whether two ids fit. A pair of bytes that no token has inside is not looked up, and a known pair only once."""
    bit = (np.uint64(s.edges[x]) & np.uint64(0xFF00)) | (np.uint64(s.edges[y]) & np.uint64(0xFF))
    if s.inside[bit >> U6] >> (bit & U63) & U1 == U0:
        return True
    key = (x << U32 | y) + U1
    slot = key * GOLDEN >> np.uint64(64 - KNOWN_BITS)
    if s.known[slot] == key:
        return True
    if not _fit(np.uint64(s.age[x]), np.uint64(s.age[y]), s.parts, s.pairs):
        return False
    s.known[slot] = key
    return True


@kernel
def _encode(text, begin, size, merging, out, n):
    """Writes the ids of `size` bytes of text to out[n:], at most `size`; returns where they end.

    merging: pairs, merged, parts, nothing and ids of Joints.
    """
    pairs, merged, parts, nothing, ids = merging
    symbols, before = scratch(size + U2, np.uint32), scratch(size + U2, np.uint32)
    after, keys = scratch(size + U2, np.uint32), scratch(np.uint64(SHORT) + U2, np.uint32)
    for i in range(size):
        symbols[i] = text[begin + i]
    if size <= np.uint64(SHORT):
        merge_by_scan(
            text, begin, size, (pairs, merged, parts, nothing), False, (symbols, before, after, keys)
        )
    else:
        merge_by_heap(symbols, before, after, np.int64(size), (merged, pairs, 0.0), keys)
    i = U0
    while i < size:
        out[n] = ids[np.uint64(symbols[i])]
        n += U1
        i = np.uint64(after[i])
    return n


@kernel((i64, i64), U16orU32, i64[:], Joints, u64[:], i64, U16orU32, i64[:])
def _fit_tokens(text, ids, ends, tables, known, much_work, out, out_ends):
    """Writes the ids of each piece, all of which fit, and where they end.

    text: the memory of the text, and of the offsets of the pieces in it. `out` has room for an id of each byte of the text.
    Ids are below len(tables.age), ages below len(tables.length); only pieces of several ids, which all have ages, are
    looked at.

    The ids written so far are always the encoding of their text. If the next id doesn't fit, the last of them are taken
    back, twice as many each time, and encoded together with it, until they fit what is before them. A piece for which that
    takes long is encoded at once.
    """
    data, offsets = view(text[0], np.uint8), view(text[1], np.int64)
    s = _Views(
        view(tables.age),
        view(tables.id),
        view(tables.parts),
        view(tables.length),
        pairs_of(tables.pairs),
        view(tables.edges),
        view(tables.inside),
        view(known),
    )
    merging = s.pairs, view(tables.merged), s.parts, np.uint32(tables.nothing), s.id
    symbols, fitting = view(ids), view(out)
    n = U0
    for piece in range(1, len(ends)):
        i, end = np.uint64(ends[piece - 1]), np.uint64(ends[piece])
        if end - i == U1:
            fitting[n] = symbols[i]
            n += U1
            out_ends[piece] = np.int64(n)
            continue
        first = n
        begin = stop = np.uint64(offsets[piece - 1])  # of the text of the ids that were written
        work = np.int64(0)
        while i < end:
            y = np.uint64(symbols[i])
            i += U1
            size = np.uint64(s.length[np.uint64(s.age[y])])
            stop += size
            if n == first or _fits(s, np.uint64(fitting[n - U1]), y):
                fitting[n] = y
                n += U1
                continue
            back = U1
            while True:
                for _ in range(min(back, n - first)):
                    n -= U1
                    size += np.uint64(s.length[np.uint64(s.age[np.uint64(fitting[n])])])
                back += back
                work += np.int64(size)
                if work > much_work + 4 * (offsets[piece] - offsets[piece - 1]):
                    n, i, stop = first, end, np.uint64(offsets[piece])
                    size = stop - begin
                kept = n
                n = _encode(data, stop - size, size, merging, fitting, n)
                if kept == first or _fits(s, np.uint64(fitting[kept - U1]), np.uint64(fitting[kept])):
                    break
                n = kept  # and further back
        out_ends[piece] = np.int64(n)


def fit_tokens(
    data: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    ends: np.ndarray,
    tables: Joints,
    known: np.ndarray | None = None,
    much_work: int = MUCH_WORK,
) -> tuple[np.ndarray, np.ndarray]:
    """Makes the tokens of the words of each piece those of the whole piece.

    data: uint8[n]; offsets: int64[p + 1], the pieces in it; ids: uint16 or uint32[m], the tokens of stretches of a piece, each
    of which has an age (but a piece may be one other token, and stays so); ends: int64[p + 1], the pieces in them; known: of
    `new_memory`, for one thread; much_work: see MUCH_WORK.

    -> ids, ends: the same of the encoding of each piece.
    """
    known = new_memory() if known is None else known
    room = int(offsets[-1] - offsets[0]) + len(offsets)
    fitting, fitting_ends = np.empty(room, ids.dtype), np.zeros(len(ends), np.int64)
    offsets = np.ascontiguousarray(offsets, np.int64)
    text = pointer(data), pointer(offsets)
    _fit_tokens(text, ids, ends, tables, known, much_work, fitting, fitting_ends)
    return fitting[: fitting_ends[-1]], fitting_ends


def new_memory() -> np.ndarray:
    """Memory of pairs that fit: uint64[2 ** KNOWN_BITS]."""
    return np.zeros(1 << KNOWN_BITS, np.uint64)
