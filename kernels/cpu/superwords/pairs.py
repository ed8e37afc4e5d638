"""Counting neighbouring tokens without keys, and cutting text where no merge can reach across.

A merge (A, B) of count c lies across c distinct edges, where the last token of A stands before the first one of B. So
those two tokens stand side by side at least c times. *Cells* count neighbours by a hash of both: 2**bits counters
without keys. A cell may count several pairs, so it is never below the count of one of them. Text that is cut where the
cell is below a threshold keeps all merges of that count or more, with their counts and ties. Most of the text has no
such merge, and is left out.

Threads share the cells. Each deals the neighbours of a slice to ranges of cells, and adds one range after the other,
under its lock: one megabyte at a time, which stays in its cache.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import Veto
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.marks import CUT
from gputok.kernels.cpu.primitives.constants import GOLDEN, U0, U1, U3, U7, U32, U64
from gputok.kernels.cpu.primitives.memory import as_array, prefetch, scratch, view
from gputok.kernels.cpu.veto import may_merge, veto_limits
from gputok.kernels.signatures import U16orU32, i64, u8, u32, u64

RANGE_BITS = 6  # cells are divided into 2**RANGE_BITS ranges
_BLOCK = 256  # symbols whose cells are prefetched together
_CELLS_AT_ONCE = 1 << 20
_MOST = np.uint32(0xFFFFFFFF)  # a cell counts no further


@kernel(inline=True)
def _cell(x, y, shift):
    """The cell of two tokens."""
    h = (x << U32 | y) * GOLDEN
    return (h ^ h >> U32) * GOLDEN >> shift


@kernel(U16orU32, u8[:], u64[:], i64[:], i64, u32[:], i64[:])
def _deal_pairs(ids, marks, traits, limits, bits, dealt, starts):
    """Writes the cells of all neighbours, those of each range together; starts: int64[ranges + 1], all 0.

    Bounds: `dealt` has room for all ids, which are more than neighbours; ids are below len(traits), if it isn't empty.
    """
    symbols, mark, trait = view(ids), view(marks), view(traits)
    bounds, n_traits, n_ids = view(limits), np.uint64(len(traits)), np.uint64(len(ids))
    shift, range_shift = U64 - np.uint64(bits), np.uint64(bits - RANGE_BITS)
    cells, n = scratch(len(ids), np.uint32), U0
    x = np.uint64(symbols[U0]) if n_ids else U0
    for i in range(U1, n_ids):
        y = np.uint64(symbols[i])
        if not mark[i] & CUT and may_merge(n_traits, trait, bounds, x, y):
            cell = _cell(x, y, shift)
            cells[n] = cell
            n += U1
            starts[(cell >> range_shift) + U1] += 1
        x = y
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    for i in range(n):
        cell = np.uint64(cells[i])
        at = cell >> range_shift
        dealt[np.uint64(starts[at])] = cell
        starts[at] += 1
    for i in range(len(starts) - 1, 0, -1):  # dealing has moved each start to its end
        starts[i] = starts[i - 1]
    starts[0] = 0


def deal_pairs(
    ids: np.ndarray, marks: np.ndarray, traits: np.ndarray, veto: Veto | None, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deals neighbouring tokens of pieces to ranges of 2**bits cells.

    ids: uint16 or uint32[n]; marks: uint8[n], CUT where a piece begins; traits: uint64[number of ids] for the veto,
    which leaves neighbours out that no token may contain; empty without a veto; bits: of a cell, RANGE_BITS to 32.

    -> uint32[], a cell for each two neighbours; int64[2**RANGE_BITS + 1], where each range begins in them.
    """
    dealt, starts = np.empty(len(ids), np.uint32), np.zeros((1 << RANGE_BITS) + 1, np.int64)
    _deal_pairs(ids, marks, traits, veto_limits(veto), bits, dealt, starts)
    return dealt[: starts[-1]], starts


@kernel(u32[:], u32[:])
def add_pairs(cells, dealt):
    """Adds 1 to cells[i] for each i of `dealt`, of `deal_pairs`, up to 2**32 - 1; each is below len(cells)."""
    counters, numbers = view(cells), view(dealt)
    for i in range(len(dealt)):
        at = np.uint64(numbers[i])
        count = counters[at]
        counters[at] = count + np.uint32(count != _MOST)


@kernel(U16orU32, u8[:], u64[:], i64[:], u8[:], i64, i64)
def _cut_runs(ids, marks, traits, limits, frequent, bits, capacity):
    """Bounds: as in _deal_pairs; a cell is below 2**bits, the number of bits; a run has two ids or more."""
    symbols, mark, trait = view(ids), view(marks), view(traits)
    bounds, n_traits, n_ids = view(limits), np.uint64(len(traits)), np.uint64(len(ids))
    is_frequent, shift = view(frequent), U64 - np.uint64(bits)
    starts, stops = scratch(capacity, np.int64), scratch(capacity, np.int64)
    ahead = scratch(_BLOCK, np.uint64)
    n, run, at = U0, U0, U1
    while at < n_ids:
        m = min(n_ids - at, np.uint64(_BLOCK))
        x = np.uint64(symbols[at - U1])
        for i in range(m):
            y = np.uint64(symbols[at + i])
            cell = _cell(x, y, shift)
            ahead[i] = cell
            prefetch(is_frequent, cell >> U3)
            x = y
        for i in range(m):
            cell = ahead[i]
            joins = np.uint64(is_frequent[cell >> U3]) >> (cell & U7) & np.uint64(mark[at + i] ^ CUT) & U1
            if joins:
                x, y = np.uint64(symbols[at + i - U1]), np.uint64(symbols[at + i])
                joins = np.uint64(may_merge(n_traits, trait, bounds, x, y))
            if not joins:
                starts[n] = run
                stops[n] = at + i
                n += np.uint64(at + i - run > U1)
                run = at + i
        at += m
    if n_ids > run + U1:
        starts[n] = run
        stops[n] = n_ids
        n += U1
    return as_array(starts, n), as_array(stops, n)


def cut_runs(
    ids: np.ndarray, marks: np.ndarray, traits: np.ndarray, veto: Veto | None, frequent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts pieces into runs between tokens that no frequent merge joins; runs of one token are left out.

    ids, marks, traits, veto: as for `deal_pairs`; frequent: of `frequent_cells`.
    -> start, stop: int64[runs], ascending; run i is ids[start[i]:stop[i]].
    """
    bits = len(frequent).bit_length() + 2
    return _cut_runs(ids, marks, traits, veto_limits(veto), frequent, bits, len(ids) // 2 + 2)


def frequent_cells(cells: np.ndarray, threshold: int) -> np.ndarray:
    """Which cells, uint32[2**bits], counted `threshold` or more, as bits, uint8[2**bits / 8], which stay in a cache."""
    parts = (cells[at : at + _CELLS_AT_ONCE] >= threshold for at in range(0, len(cells), _CELLS_AT_ONCE))
    return np.concatenate([np.packbits(part, bitorder="little") for part in parts])
