"""Merging the tokens of words to superwords.

The first merges of a vocabulary of superwords never join two words: their tokens come from a table of words. The other
merges can join only two tokens of which the first ends the left part of such a merge, and the second begins its right
part: a *joint*. All other neighbours are cut; a *run*, what lies between two cuts, mostly has two or three tokens.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.marks import CUT, MOST_BITS
from gputok.kernels.cpu.encode_words.merge import SHORT, merge_by_heap, merge_by_scan
from gputok.kernels.cpu.lookup import index_pairs
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, LOW32, U0, U1, U2, U3, U4, U6, U7, U8, U32, U63, U64
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    leading_zeros,
    likely,
    load_u64,
    scratch,
    tail,
    trailing_zeros,
    view,
)
from gputok.kernels.signatures import NamedTuple, U16orU32, U32s, U64s, i64, u8, u32, u64

FEW = U4  # ids that two numbers hold, which is how results are remembered


@kernel(inline=True)
def few_ids(ids, at, n):
    """ids[at:at + n] as two numbers, with NONE (all bits) instead of those that are missing; n: at most FEW."""
    second = np.uint64(ids[at + (U1 if n > U1 else U0)])
    third = np.uint64(ids[at + (U2 if n > U2 else U0)])
    fourth = np.uint64(ids[at + (U3 if n > U3 else U0)])
    low = np.uint64(ids[at]) | (second if n > U1 else LOW32) << U32
    high = (third if n > U2 else LOW32) | (fourth if n > U3 else LOW32) << U32
    return low, high


@kernel(inline=True)
def put_few(out, n, low, high):
    """Writes the ids of `few_ids` to out[n:n + FEW], whatever their number, and returns where they end."""
    second, third, fourth = low >> U32, high & LOW32, high >> U32
    out[n], out[n + U1], out[n + U2], out[n + U3] = low, second, third, fourth
    return n + U1 + np.uint64(second != LOW32) + np.uint64(third != LOW32) + np.uint64(fourth != LOW32)


@kernel(inline=True)
def work_for(size):
    """Memory to merge `size` symbols: by `merge_by_heap`, or at most SHORT by `merge_by_scan`."""
    symbols, before, after = scratch(size + U2, np.uint32), scratch(size + U2, np.uint32), scratch(size + U2, np.uint32)
    return symbols, before, after, scratch(np.uint64(SHORT) + U2, np.uint32)


@kernel(inline=True)
def _put_merged(out, n, work, size):
    """Writes the symbols that a merge left to out[n:], and returns where they end; work: of `work_for`."""
    i = U0
    while i < size:
        out[n] = work[0][i]
        n += U1
        i = np.uint64(work[2][i])
    return n


_KNOWN_BITS = 14
"""Bits of the number of runs that are remembered: 512 KiB, which stay in a cache of the second level."""
_HIGH = np.uint64(0xD6E8FEB86659FD93)


class Runs(NamedTuple):
    """The merges of superwords, by ids of tokens."""

    pairs: Pairs  # of ids; a rank is the index into `merged`
    merged: U32s  # uint32[m], the id that each rank becomes
    inner: U64s  # uint64[power of two], a bit for the hash of each two tokens that can be a joint
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
    return ((x << U32 | y) * GOLDEN) >> U32 & (mask << U6 | U63)


@kernel(u32[:], u32[:], u32[:], u32[:], u32[:], u64[:])
def _find_inner(left, right, merged, first, last, inner):
    """Sets the bits of all pairs that a merge may join, by rank; first, last: of each id, at first the id itself."""
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


@kernel(inline=True)
def _next_gap(joined, i):
    """The next bit from i on that is not set; the bit after all symbols is not."""
    while True:
        bits = ~joined[i >> U6] >> (i & U63)
        if bits:
            return i + trailing_zeros(bits)
        i = (i | U63) + U1


@kernel(inline=True)
def _copy_ids(out, n, symbols, begin, end, n_ids):
    """Copies symbols[begin:end] to out[n:], eight at a time if n_ids allows: this copies up to seven too many."""
    if begin + (end - begin + U7 & ~U7) <= n_ids:
        for i in range(U0, end - begin, U8):
            for k in (U0, U1, U2, U3, U4, U4 + U1, U6, U7):
                out[n + i + k] = symbols[begin + i + k]
    else:
        for i in range(end - begin):
            out[n + i] = symbols[begin + i]
    return n + end - begin


@kernel(U16orU32, i64[:], u8[:], Runs, u64[:], U16orU32, i64[:])
def _merge_runs(ids, ends, marks, tables, known, merged_ids, merged_ends):
    """Writes the merged ids, which are not more than the ids, and where those of each text end.

    No index is out of bounds: `merged_ids` has room for eight ids more; `joined` has one bit more than ids, which is 0,
    and eight bytes more. A load of 64 bits from a byte on has at least 57 bits from any bit of that byte on.
    """
    symbols, out, inner, n_ids = view(ids), view(merged_ids), view(tables.inner), np.uint64(len(ids))
    mask, pairs, merged = np.uint64(len(tables.inner) - 1), as_views(tables.pairs), view(tables.merged)
    joined = scratch((n_ids >> U6) + U2, np.uint64)
    joined[(n_ids >> U6) + U1] = 0
    _find_joints(symbols, view(marks), n_ids, inner, mask, joined)
    no_ranks = view(tables.merged)  # of bytes: symbols are no bytes
    model = pairs, merged, no_ranks, np.uint32(tables.nothing)
    work = work_for(np.uint64(SHORT))
    slots, bits_of, known_shift = (view(known), view(joined, np.uint8), leading_zeros(np.uint64(len(known))) + U2 + U1)
    at, n, text, n_texts, text_end = U0, U0, U1, np.uint64(len(ends)), view(ends, np.uint64)
    while at < n_ids:
        joint = at + U1
        bits = load_u64(bits_of, joint >> U3) >> (joint & U7)
        joint = joint + trailing_zeros(bits) if likely(bits != U0) else _next_joint(joined, joint, n_ids)
        begin = joint - U1 if joint < n_ids else n_ids  # of the run
        while text < n_texts and text_end[text] <= begin:  # no run reaches over the end of a text
            merged_ends[text] = np.int64(n + text_end[text] - at)
            text += U1
        n = _copy_ids(out, n, symbols, at, begin, n_ids)
        if begin == n_ids:
            break
        n_joints = trailing_zeros(~(load_u64(bits_of, joint >> U3) >> (joint & U7)))
        at = joint + n_joints if likely(n_joints < MOST_BITS) else _next_gap(joined, joint)
        size = at - begin
        if size <= U4:
            low, high = few_ids(symbols, begin, size)
            slot = tail(slots, ((low * GOLDEN) ^ (high * _HIGH)) >> known_shift << U2)
            if not likely(slot[U0] == low and slot[U1] == high):
                for i in range(size):
                    work[0][i] = symbols[begin + i]
                merge_by_scan(no_ranks, U0, size, model, False, work)
                slot[U0], slot[U1] = low, high
                slot[U2], slot[U3] = few_ids(work[3], U0, _put_merged(work[3], U0, work, size))
            n = put_few(out, n, slot[U2], slot[U3])
        else:
            memory = work if size <= np.uint64(SHORT) else work_for(size)
            for i in range(size):
                memory[0][i] = symbols[begin + i]
            if size <= np.uint64(SHORT):
                merge_by_scan(no_ranks, U0, size, model, False, memory)
            else:
                merge_by_heap(memory[0], memory[1], memory[2], np.int64(size), (merged, pairs, 0.0), inner)
            n = _put_merged(out, n, memory, size)
    while text < n_texts:
        merged_ends[text] = np.int64(n)
        text += U1


def merge_runs(
    ids: np.ndarray, ends: np.ndarray, marks: np.ndarray, tables: Runs, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Merges the tokens of pieces, the lowest rank first, and of equal ranks the leftmost pair.

    ids: uint16 or uint32[n], whose type has room for all ids; ends: int64[t + 1], the texts in them; marks: uint8[n],
    CUT where a piece begins, as with each text; known: of `new_runs`, for these tables and one thread -> ids and ends.
    """
    merged, merged_ends = np.empty(len(ids) + 8, ids.dtype), np.zeros(len(ends), np.int64)
    _merge_runs(ids, ends, marks, tables, new_runs() if known is None else known, merged, merged_ends)
    return merged[: merged_ends[-1]], merged_ends


def new_runs() -> np.ndarray:
    """Memory of short runs, uint64[4 * 2**n]: of each two to four ids, and two to four that they become."""
    return np.full(4 << _KNOWN_BITS, ALL, np.uint64)
