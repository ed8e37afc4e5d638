"""Whether tokens that stand side by side are those of their joined text.

A table has the tokens of each word. A piece of several words has the tokens of its words, unless a merge reaches across
a word's end. Two tokens *fit* if byte-pair encoding of their joined text gives these two. A sequence of tokens is the
encoding of its text if all neighbours fit (van Antwerpen and Neubeck 2024, "So many tokens, so little time",
github.com/github/rust-gems). So only where two tokens don't fit, they and tokens beside them are encoded anew.

Proof, for merges that are applied in the order of their ranks, each to all its occurrences from left to right: as long
as no merge has reached across the end of a token, the tokens on both sides have evolved as they do alone, and a merge
across that end would happen in the joined text of these two as well.

The proof needs a vocabulary in which each token is made by one merge, which comes after those that make its parts.
Tokens are numbered by *age*: 0 to 255 are the bytes, the others follow by rank.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.marks import CUT, UNSURE
from gputok.kernels.cpu.encode_words.merge import SHORT, merge_by_heap, merge_by_scan
from gputok.kernels.cpu.lookup import NONE, index_pairs, rank_of
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, LOW32, U0, U1, U2, U6, U8, U32, U63, U64
from gputok.kernels.cpu.primitives.memory import as_views, copy, load_u64, tail, view
from gputok.kernels.cpu.superwords.runs import FEW, few_ids, put_few, work_for
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U16orU32, U16s, U32s, U64s, i64, u8, u32, u64

BYTES = np.uint64(256)
# 2**KNOWN_BITS pairs that fit are remembered: 512 KiB, which stays in a cache of the second level
KNOWN_BITS = 16
# 2**ANEW_BITS pairs that don't fit are remembered, with the ids of their joined text
ANEW_BITS = 12
# If more bytes of a piece are encoded anew than four times its own and these, the whole piece is encoded at once
MUCH_WORK = 4096
_UNSURE_OF_EIGHT = np.uint64(0x0202020202020202)


class Joints(NamedTuple):
    """The tables of a vocabulary, whose tokens are numbered by age (see the top of this file)."""

    age: U32s  # uint32[ids], the age of each id, or NONE
    id: U32s  # uint32[n], the id of each age
    parts: U32s  # uint32[2 * n], the ages of the two tokens that each age was merged from; a byte: itself, twice
    text: U8s  # the bytes of all ages, one after the other
    begin: I64s  # int64[n + 1], where those of each age begin in `text`
    pairs: Pairs  # of ages; the rank of a pair + 256 is the age that it becomes
    merged: U32s  # uint32[n - 256], the age that each rank becomes
    edges: U16s  # uint16[ids], of the token of each id: its last byte | its first byte << 8
    inside: U64s  # uint64[1024], bit last | first << 8: whether a token has these two bytes side by side
    nothing: int  # a number that is no age


def joints(symbols: np.ndarray, merges: np.ndarray, n_ids: int) -> Joints | None:
    """Makes the tables; None if the vocabulary is not as the proof above needs it.

    symbols: uint32[256], the id of each byte; merges: uint32[m, 3], the ids of left, right and new token, by rank.
    """
    made = np.concatenate([symbols, merges[:, 2]]).astype(np.uint32)
    own = np.arange(len(made), dtype=np.uint32)
    if n_ids > 1 << 26:  # tables by id would be too large
        return None
    age = np.full(n_ids, NONE, np.uint32)
    age[made] = own
    if not np.array_equal(age[made], own):  # two have the same id
        return None
    parts = np.stack([own, own], axis=1)
    parts[256:] = age[merges[:, :2]]
    if (parts[256:] >= own[256:, None]).any():  # also those without an age
        return None
    pairs = index_pairs(parts[256:, 0], parts[256:, 1], own[: len(merges)], len(made))
    parts, begin = parts.ravel(), np.zeros(len(made) + 1, np.int64)
    _find_lengths(parts, begin)
    text, edges, inside = np.empty(begin[-1], np.uint8), np.zeros(n_ids, np.uint16), np.zeros(1024, np.uint64)
    _spell(parts, begin, text, inside)
    edges[made] = text[begin[1:] - 1] | text[begin[:-1]].astype(np.uint16) << 8
    return Joints(age, made, parts, text, begin, pairs, own[256:].copy(), edges, inside, len(made))


@kernel(u32[:], i64[:])
def _find_lengths(parts, begin):
    """Writes where the bytes of each age begin; the parts of a token have lower ages.

    The sum begin[-1] is at most the bytes of the vocabulary, since ages are different tokens, each as long as its parts
    together: `made` is looked up by its bytes, and `wrong_merge` of compiled.py checks the lengths of a file's merges.
    """
    for age in range(len(begin) - 1):
        length = np.int64(1)
        if age >= 256:
            left, right = np.int64(parts[2 * age]), np.int64(parts[2 * age + 1])
            length = begin[left + 1] - begin[left] + begin[right + 1] - begin[right]
        begin[age + 1] = begin[age] + length


@kernel(u32[:], i64[:], u8[:], u64[:])
def _spell(parts, begin, text, inside):
    """Writes the bytes of each age, and the bits of `inside`."""
    out = view(text)
    for age in range(len(begin) - 1):
        at = np.uint64(begin[age])
        if age < 256:
            out[at] = np.uint8(age)
            continue
        for k in range(2):
            part = np.int64(parts[2 * age + k])
            size = np.uint64(begin[part + 1] - begin[part])
            copy(out, at, out, np.uint64(begin[part]), size)
            at += size
            if k == 0:
                middle = at
        sides = np.uint64(out[middle - U1]) | np.uint64(out[middle]) << U8
        inside[sides >> U6] |= U1 << (sides & U63)


@kernel(inline=True)
def _pair_fits(left, right, parts, pairs):
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


@kernel(inline=True)
def _fits(s, known, x, y):
    """Whether two ids fit. They do if no token contains the two bytes where they meet; `known` remembers others."""
    bit = (np.uint64(s.edges[x]) & np.uint64(0xFF)) | (np.uint64(s.edges[y]) & np.uint64(0xFF00))
    if s.inside[bit >> U6] >> (bit & U63) & U1 == U0:
        return True
    key = (x << U32 | y) + U1
    slot = key * GOLDEN >> np.uint64(64 - KNOWN_BITS)
    if known[slot] == key:
        return True
    if not _pair_fits(np.uint64(s.age[x]), np.uint64(s.age[y]), s.parts, s.pairs):
        return False
    known[slot] = key
    return True


@kernel(inline=True)
def _size_of_all(s, tokens, begin, end):
    """The bytes of tokens[begin:end]."""
    size = U0
    for i in range(begin, end):
        age = np.uint64(s.age[np.uint64(tokens[i])])
        size += np.uint64(s.begin[age + U1] - s.begin[age])
    return size


@kernel(inline=True)
def _spell_ids(s, tokens, begin, end, symbols, n):
    """Writes the bytes of tokens[begin:end] to symbols[n:], and returns where they end."""
    for i in range(begin, end):
        age = np.uint64(s.age[np.uint64(tokens[i])])
        for k in range(np.uint64(s.begin[age]), np.uint64(s.begin[age + U1])):
            symbols[n] = s.text[k]
            n += U1
    return n


@kernel(inline=True)
def _encode(s, merging, work, size, out, n):
    """Writes the ids of the `size` bytes in work[0] to out[n:], and returns where they end; work: of `work_for`."""
    symbols, before, after, keys = work
    if size <= np.uint64(SHORT):
        merge_by_scan(s.text, U0, size, merging, False, work)
    else:
        merge_by_heap(symbols, before, after, np.int64(size), (merging[1], merging[0], 0.0), keys)
    i = U0
    while i < size:
        out[n] = s.id[np.uint64(symbols[i])]
        n += U1
        i = np.uint64(after[i])
    return n


@kernel(inline=True)
def _find_misfit(s, known, symbols, mark, i, end):
    """The first id from i on that doesn't fit the id before, or `end`; only words marked as UNSURE are looked at."""
    while i < end:
        if i + U8 <= end and load_u64(mark, i) & _UNSURE_OF_EIGHT == U0:
            i += U8
            continue
        if mark[i] & UNSURE and not _fits(s, known, np.uint64(symbols[i - U1]), np.uint64(symbols[i])):
            return i
        i += U1
    return end


@kernel(U16orU32, u8[:], Joints, u64[:])
def _fit(ids, marks, tables, known):
    """Whether all ids fit. Ids are below len(tables.age)."""
    n = np.uint64(len(ids))
    return _find_misfit(as_views(tables), view(known), view(ids), view(marks), U0, n) == n


@kernel(U16orU32, i64[:], u8[:], Joints, u64[:], i64, U16orU32, u8[:], i64[:])
def _fit_tokens(ids, ends, marks, tables, known, much_work, out, out_marks, out_ends):
    """Writes the ids of each piece as they are encoded together, their marks, and where those of each text end.

    out, out_marks: with room for an id of each byte of the texts, and FEW more. Ids are below len(tables.age); only
    pieces of several ids, which all have ages, are looked at.

    The ids written so far are always the encoding of their text. If the next id doesn't fit, the last of them are taken
    back, twice as many each time, and encoded together with it, until they fit what is before them. A piece for which
    that takes long is encoded as a whole (MUCH_WORK). An id after newly encoded ones is looked at, whatever its mark.
    """
    s, known, symbols, mark = as_views(tables), view(known), view(ids), view(marks)
    fitting, fitting_marks = view(out), view(out_marks)
    anew = tail(known, np.uint64(1 << KNOWN_BITS))
    merging = s.pairs, s.merged, s.parts, np.uint32(s.nothing)
    room = U64
    memory = work_for(room)
    n, piece, stop, piece_bytes, work = U0, ALL, U0, U0, U0
    for text in range(1, len(ends)):
        i, end = np.uint64(ends[text - 1]), np.uint64(ends[text])
        while i < end:
            misfit = _find_misfit(s, known, symbols, mark, i, end)
            copy(fitting_marks, n, mark, i, misfit - i)
            copy(fitting, n, symbols, i, misfit - i)
            n, i = n + misfit - i, misfit
            while i < end and not mark[i] & CUT:
                x, y = np.uint64(fitting[n - U1]), np.uint64(symbols[i])
                if _fits(s, known, x, y):
                    fitting[n], fitting_marks[n] = symbols[i], 0
                    n += U1
                    i += U1
                    break
                first = n - U1  # of the piece
                key = (x << U32 | y) + U1
                both = tail(anew, key * GOLDEN >> np.uint64(64 - ANEW_BITS) << U2)
                if both[U0] == key and (
                    fitting_marks[first] & CUT or _fits(s, known, np.uint64(fitting[first - U1]), both[U1] & LOW32)
                ):
                    n = put_few(fitting, first, both[U1], both[U2])
                    for k in range(first + U1, n):
                        fitting_marks[k] = 0
                    fitting_marks[first] &= CUT
                    i += U1
                    continue
                while not fitting_marks[first] & CUT:
                    first -= U1
                if first != piece:
                    piece, stop, work = first, U0, U0
                kept, next, back = n, i + U1, U1
                before, of_both = n - U1, next
                while True:
                    kept -= min(back, kept - first)
                    back += back
                    size = _size_of_all(s, fitting, kept, n) + _size_of_all(s, symbols, i, next)
                    work += size
                    if np.int64(work) > much_work:
                        if stop == U0:
                            stop = next
                            while stop < end and not mark[stop] & CUT:
                                stop += U1
                            piece_bytes = _size_of_all(s, fitting, first, n)
                            piece_bytes += _size_of_all(s, symbols, i, stop)
                        if np.int64(work) > much_work + 4 * np.int64(piece_bytes):
                            kept, next, size = first, stop, piece_bytes
                    if size > room:
                        room = size + size
                        memory = work_for(room)
                    spelled = _spell_ids(s, fitting, kept, n, memory[0], U0)
                    _spell_ids(s, symbols, i, next, memory[0], spelled)
                    n, i = _encode(s, merging, memory, size, fitting, kept), next
                    if kept == before and next == of_both and n - kept <= FEW:
                        both[U0] = key
                        both[U1], both[U2] = few_ids(fitting, kept, n - kept)
                    if kept == first or _fits(s, known, np.uint64(fitting[kept - U1]), np.uint64(fitting[kept])):
                        break
                for k in range(kept, n):
                    fitting_marks[k] = 0
                fitting_marks[first] = CUT
        out_ends[text] = np.int64(n)


def fit_tokens(
    ids: np.ndarray,
    ends: np.ndarray,
    marks: np.ndarray,
    n_bytes: int,
    tables: Joints,
    known: np.ndarray | None = None,
    much_work: int = MUCH_WORK,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes the tokens of the words of each piece those of the whole piece.

    ids: uint16 or uint32[m], the tokens of the words of texts, each of which has an age (but a piece may be one other
    token, and stays so); ends: int64[t + 1], the texts in them; marks: uint8[m], of `encode_marked`; n_bytes: of the
    texts; known: of `new_memory`, for one thread; much_work: see MUCH_WORK.

    -> ids, ends, marks: the same of the encoding of each piece. CUT marks its first id; UNSURE has no meaning then.
    """
    known = new_memory() if known is None else known
    if _fit(ids, marks, tables, known):
        return ids, ends, marks
    room = n_bytes + len(ends) + 4  # a text that is another token may be empty
    fitting, fitting_marks = np.empty(room, ids.dtype), np.empty(room, np.uint8)
    fitting_ends = np.zeros(len(ends), np.int64)
    _fit_tokens(ids, ends, marks, tables, known, much_work, fitting, fitting_marks, fitting_ends)
    n = fitting_ends[-1]
    return fitting[:n], fitting_ends, fitting_marks[:n]


def new_memory() -> np.ndarray:
    """Memory of pairs that fit, uint64[2 ** KNOWN_BITS], and, in four numbers each, of others and what they become."""
    return np.zeros((1 << KNOWN_BITS) + (4 << ANEW_BITS), np.uint64)
