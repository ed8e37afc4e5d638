"""Superwords, in plain Python: counting neighbouring tokens, cutting runs, and merging."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from gputok.kernels import Pairs, Veto

_GOLDEN, _NONE = 0x9E3779B97F4A7C15, 0xFFFFFFFF
_CUT = 1  # the mark of an id that begins a piece
_RANGE_BITS, _BITS, _MOST = 6, 28, (1 << 28) - 1


def fit_tokens(
    ids: np.ndarray, ends: np.ndarray, marks: np.ndarray, n_bytes: int, tables: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tokens of each piece: byte-pair encoding of its bytes; a piece of one token stays as it is.

    kernels/cpu/superwords/joints.py explains the arguments.
    """
    parts = tables.parts.reshape(-1, 2).tolist()
    age_of = {tuple(pair): age for age, pair in enumerate(parts) if age >= 256}
    fitting, fitting_ends, fitting_marks = [], [0], []
    for a, b in itertools.pairwise(ends.tolist()):
        for piece in _pieces(ids[a:b], marks[a:b]):
            if len(piece) > 1:
                ages = tables.age[piece]
                spelled = [tables.text[tables.begin[age] : tables.begin[age + 1]] for age in ages]
                symbols = np.concatenate(spelled).tolist()
                while found := [age_of[pair] for pair in itertools.pairwise(symbols) if pair in age_of]:
                    symbols = _merged(symbols, tuple(parts[min(found)]), min(found))
                piece = tables.id[symbols].tolist()
            fitting += piece
            fitting_marks += [_CUT] + [0] * (len(piece) - 1)
        fitting_ends.append(len(fitting))
    return np.array(fitting, ids.dtype), np.array(fitting_ends, np.int64), np.array(fitting_marks, np.uint8)


def _pieces(ids: np.ndarray, marks: np.ndarray) -> list[list[int]]:
    """The ids of each piece."""
    begin = np.flatnonzero(marks & _CUT).tolist()
    return [ids[a:b].tolist() for a, b in itertools.pairwise([*begin, len(ids)])]


def _merged(symbols: list[int], pair: tuple[int, ...], new: int) -> list[int]:
    """The symbols with each occurrence of a pair merged, from left to right."""
    merged: list[int] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def deal_pairs(
    ids: np.ndarray, marks: np.ndarray, traits: np.ndarray, veto: Veto | None, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """A cell for each two neighbouring tokens of a piece, those of each range together; and where ranges begin.

    kernels/cpu/superwords/pairs.py explains the arguments.
    """
    cells = [
        _cell(x, y, bits)
        for piece in _pieces(ids, marks)
        for x, y in itertools.pairwise(piece)
        if _may_merge(traits, veto, x, y)
    ]
    shift = bits - _RANGE_BITS
    cells.sort(key=lambda cell: cell >> shift)
    sizes = np.bincount([cell >> shift for cell in cells], minlength=1 << _RANGE_BITS)
    return np.array(cells, np.uint32), np.concatenate([[0], np.cumsum(sizes)])


def _cell(x: int, y: int, bits: int) -> int:
    h = (x << 32 | y) * _GOLDEN % 2**64
    return ((h ^ h >> 32) * _GOLDEN % 2**64) >> (64 - bits)


def _may_merge(traits: np.ndarray, veto: Veto | None, x: int, y: int) -> bool:
    """What `reference.train_bpe` decides by the strings of two tokens, by their traits (kernels/cpu/veto.py)."""
    if veto is None:
        return True

    left, right = int(traits[x]), int(traits[y])
    n_words = (left & _MOST) + (right & _MOST) - (left >> 57 & right >> 56 & 1)
    n_characters = (left >> _BITS & _MOST) + (right >> _BITS & _MOST)
    colon_space = (left | right) >> 60 & 1 or left >> 59 & right >> 58 & 1
    allowed = veto.colons or not colon_space
    return n_words <= veto.max_words and n_characters < veto.max_characters and allowed


def add_pairs(cells: np.ndarray, dealt: np.ndarray) -> None:
    """Adds 1 to cells[i] for each i of `dealt`, up to 2**32 - 1."""
    for i in dealt.tolist():
        cells[i] = min(int(cells[i]) + 1, _NONE)


def cut_runs(
    ids: np.ndarray, marks: np.ndarray, traits: np.ndarray, veto: Veto | None, frequent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The runs of tokens between which cells are frequent: start, stop, int64[runs]; of two tokens at least.

    frequent: uint8[], a bit for each cell.
    """
    bits, runs = len(frequent).bit_length() + 2, []
    is_frequent = np.unpackbits(frequent, bitorder="little")
    for a, b in itertools.pairwise([*np.flatnonzero(marks & _CUT).tolist(), len(ids)]):
        start = a
        for i in range(a + 1, b + 1):
            if i < b:
                x, y = int(ids[i - 1]), int(ids[i])
                if is_frequent[_cell(x, y, bits)] and _may_merge(traits, veto, x, y):
                    continue
            if i - start > 1:
                runs.append((start, i))
            start = i
    start, stop = np.array(runs, np.int64).reshape(-1, 2).T
    return start, stop


def merge_runs(ids: np.ndarray, ends: np.ndarray, marks: np.ndarray, tables: Any) -> tuple[np.ndarray, np.ndarray]:
    """Merges the tokens of pieces, the lowest rank first; tables: of `kernels.cpu.superwords.run_tables`."""
    ranks, merged_ids, merged_ends = _ranks(tables.pairs), [], [0]
    for a, b in itertools.pairwise(ends.tolist()):
        for symbols in _pieces(ids[a:b], marks[a:b]):
            while found := [(ranks[pair], pair) for pair in itertools.pairwise(symbols) if pair in ranks]:
                rank, pair = min(found)
                symbols = _merged(symbols, pair, int(tables.merged[rank]))
            merged_ids += symbols
        merged_ends.append(len(merged_ids))
    return np.array(merged_ids, ids.dtype), np.array(merged_ends, np.int64)


def _ranks(pairs: Pairs) -> dict[tuple[int, ...], int]:
    """The rank of each pair."""
    bits, free = pairs.bits, 2**64 - 1
    slots = [slot for slot in pairs.slots.tolist() if slot != free]
    low = (1 << bits) - 1
    return {(slot >> 64 - bits, slot >> 64 - 2 * bits & low): slot & ((1 << 64 - 2 * bits) - 1) for slot in slots}
