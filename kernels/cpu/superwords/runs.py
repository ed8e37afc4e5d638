"""Merging the tokens of words to superwords.

The first merges of a vocabulary of superwords never join two words. Text has the tokens of these merges first, which words
are looked up for. The other merges join few tokens: those that are the last of some left part, and the first of its right
part. Any other two neighbours are a cut, and what lies between two cuts is a run of two or three tokens as a rule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_text.marks import CUT
from gputok.kernels.cpu.encode_words.merge import SHORT, merge_by_heap, merge_by_scan
from gputok.kernels.cpu.lookup import NONE, index_pairs, pairs_of, rank_of
from gputok.kernels.cpu.primitives.constants import GOLDEN, U0, U1, U2, U6, U32, U63, U64
from gputok.kernels.cpu.primitives.memory import scratch, trailing_zeros, view
from gputok.kernels.signatures import U16orU32, U32s, U64s, i64, u8, u32, u64


class Runs(NamedTuple):
    """The merges of superwords, by ids of tokens."""

    pairs: Pairs  # of ids; a rank is the index into `merged`
    merged: U32s  # uint32[m], the id that each rank becomes
    inner: U64s  # uint64[power of two], a bit for the hash of each two tokens that a merge may join
    nothing: int  # a number that is no id


def run_tables(merges: np.ndarray, n_ids: int) -> Runs:
    """Makes the tables of merges, uint32[m, 3]: the ids of left, right and new token, by rank; all below n_ids."""
    first, last = np.arange(n_ids, dtype=np.uint32), np.arange(n_ids, dtype=np.uint32)
    left, right = np.ascontiguousarray(merges[:, 0]), np.ascontiguousarray(merges[:, 1])
    merged = np.ascontiguousarray(merges[:, 2])
    # 32 KB for 6,400 merges, with one bit of 40 set
    inner = np.zeros(1 << max(6, (len(merges) // 2).bit_length()), np.uint64)
    _find_inner(left, right, merged, first, last, inner)
    return Runs(index_pairs(left, right, np.arange(len(merges)), n_ids), merged, inner, n_ids)


@kernel(inline=True)
def _bit(x, y, mask):
    """The bit of two tokens among 64 * (mask + 1)."""
    h = (x << U32 | y) * GOLDEN
    return (h ^ h >> U32) * GOLDEN >> U32 & (mask << U6 | U63)


@kernel(u32[:], u32[:], u32[:], u32[:], u32[:], u64[:])
def _find_inner(left, right, merged, first, last, inner):
    """Sets the bits of all pairs of tokens that a merge may join; first, last: of each id, at first the id itself.

    A merge comes after those that make its parts.
    """
    mask = np.uint64(len(inner) - 1)
    for rank in range(len(merged)):
        a, b, new = left[rank], right[rank], merged[rank]
        bit = _bit(np.uint64(last[a]), np.uint64(first[b]), mask)
        inner[bit >> U6] |= U1 << (bit & U63)
        first[new], last[new] = first[a], last[b]


@kernel(inline=True)
def _find_joints(symbols, marks, n, inner, mask, joined):
    """Sets bit i of `joined`, uint64[n // 64 + 1], if a merge may join symbols i - 1 and i, which are of one piece."""
    x = np.uint64(symbols[U0]) if n else U0
    for begin in range(U0, n, U64):
        bits = U0
        for i in range(min(n - begin, U64)):
            y = np.uint64(symbols[begin + i])
            bit = _bit(x, y, mask)
            may = inner[bit >> U6] >> (bit & U63) & np.uint64(marks[begin + i] ^ CUT)
            bits |= (may & U1) << i
            x = y
        joined[begin >> U6] = bits
    joined[n >> U6] &= (U1 << (n & U63)) - U1 if n & U63 else U0


@kernel(inline=True)
def _next_joint(joined, i, n):
    """The next bit from i on that is set, or n."""
    while i < n:
        bits = joined[i >> U6] >> (i & U63)
        if bits:
            return min(i + trailing_zeros(bits), n)
        i = (i | U63) + U1
    return n


@kernel(U16orU32, i64[:], u8[:], Runs, U16orU32, i64[:])
def _merge_runs(ids, ends, marks, tables, merged_ids, merged_ends):
    """Writes the merged ids, which are not more than the ids, and where those of each text end."""
    symbols, out, inner, n_ids = view(ids), view(merged_ids), view(tables.inner), np.uint64(len(ids))
    mask, pairs, merged = np.uint64(len(tables.inner) - 1), pairs_of(tables.pairs), view(tables.merged)
    joined = scratch((n_ids >> U6) + U1, np.uint64)
    _find_joints(symbols, view(marks), n_ids, inner, mask, joined)
    no_ranks = view(tables.merged)  # of bytes: symbols are no bytes
    model = pairs, merged, no_ranks, np.uint32(tables.nothing)
    work = (
        scratch(SHORT + 2, np.uint32),
        scratch(SHORT + 2, np.uint32),
        scratch(SHORT + 2, np.uint32),
        scratch(SHORT + 2, np.uint32),
    )
    n = U0
    for text in range(1, len(ends)):
        at, end = np.uint64(ends[text - 1]), np.uint64(ends[text])
        while at < end:
            joint = _next_joint(joined, at + U1, end)
            while at + U1 < joint or (joint == end and at < end):  # alone
                out[n] = symbols[at]
                n += U1
                at += U1
            if at == end:
                break
            stop = joint + U1
            while stop < end and joined[stop >> U6] >> (stop & U63) & U1:
                stop += U1
            size = stop - at
            if size == U2:
                rank = rank_of(pairs, symbols[at], symbols[at + U1])
                is_merge = rank != NONE
                out[n] = merged[np.uint64(rank)] if is_merge else symbols[at]
                if not is_merge:
                    out[n + U1] = symbols[at + U1]
                n += U1 if is_merge else U2
            elif size <= np.uint64(SHORT):
                for i in range(size):
                    work[0][i] = symbols[at + i]
                merge_by_scan(no_ranks, U0, size, model, False, work)
                i = U0
                while i < size:
                    out[n] = work[0][i]
                    n += U1
                    i = np.uint64(work[2][i])
            else:
                long = scratch(size, np.uint32)
                before, after = scratch(size + U1, np.uint32), scratch(size, np.uint32)  # one behind the last
                for i in range(size):
                    long[i] = symbols[at + i]
                merge_by_heap(long, before, after, np.int64(size), (merged, pairs, 0.0), inner)
                for i in range(size):
                    if long[i] != NONE:
                        out[n] = long[i]
                        n += U1
            at = stop
        merged_ends[text] = np.int64(n)


def merge_runs(
    ids: np.ndarray, ends: np.ndarray, marks: np.ndarray, tables: Runs
) -> tuple[np.ndarray, np.ndarray]:
    """Merges the tokens of pieces, the lowest rank first, and of equal ranks the leftmost pair.

    ids: uint16 or uint32[n], whose type has room for all ids; ends: int64[t + 1], the texts in them; marks: uint8[n], CUT where
    a piece begins, as the first id of each text does -> ids and ends of the merged tokens.
    """
    merged, merged_ends = np.empty_like(ids), np.zeros(len(ends), np.int64)
    _merge_runs(ids, ends, marks, tables, merged, merged_ends)
    return merged[: merged_ends[-1]], merged_ends
