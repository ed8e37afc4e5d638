"""What files of ids have for each document, beside its ids: the heads of samples (MDS), and rows as text (OLMo).

The ids of document i are rows[i]:rows[i + 1], with rows int64[n_documents + 1], which never fall.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.json_tables import put_number
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U2
from gputok.kernels.cpu.primitives.memory import copy, store_u32, view
from gputok.kernels.signatures import boolean, i64

_LONGEST_HEAD = 12  # bytes of a head, and those that the store of its last number writes beyond it
_LONGEST_LINE = 4 * 19 + 6  # bytes of text: four numbers of int64, and what stands between and after them


def sample_offsets(rows: np.ndarray, itemsize: int, *, with_heads: bool) -> np.ndarray:
    """Where samples of MDS begin if the first one begins at 0, and the end: int64[n_samples + 1].

    Each document that has ids is a sample: its ids, of `itemsize` bytes each, after a head if `with_heads`.
    """
    offsets = np.zeros(len(rows), np.int64)
    n = _sample_offsets(pointer(np.ascontiguousarray(rows)), len(rows) - 1, itemsize, with_heads, pointer(offsets))
    return offsets[: n + 1]


@kernel(i64, i64, i64, boolean, i64)
def _sample_offsets(rows, n_documents, itemsize, with_heads, offsets):
    rows, offsets = view(rows, np.int64), view(offsets, np.int64)
    n = 0  # samples, of which there are as many as documents at most
    for i in range(n_documents):
        n_ids = rows[i + 1] - rows[i]
        if n_ids:
            offsets[n + 1] = offsets[n] + n_ids * itemsize + (5 + _width(n_ids) if with_heads else 0)
            n += 1
    return n


@kernel(inline=True)
def _width(n_ids):
    """The bytes of a number of ids in a head: 1, 2 or 4."""
    return 1 if n_ids < 1 << 8 else 2 if n_ids < 1 << 16 else 4


def mds_samples(rows: np.ndarray, ids: np.ndarray, itemsize: int) -> np.ndarray:
    """Returns the samples of documents, each with its head: uint8[n].

    ids: uint8[(rows[-1] - rows[0]) * itemsize], the ids of these documents; each document has fewer than 2^32.
    """
    n_documents = len(rows) - 1
    samples = np.empty(len(ids) + n_documents * _LONGEST_HEAD, np.uint8)
    return samples[: _mds_samples(pointer(rows), n_documents, itemsize, pointer(ids), pointer(samples))]


@kernel(i64, i64, i64, i64, i64)
def _mds_samples(rows, n_documents, itemsize, ids, samples):
    rows, ids, samples = view(rows, np.int64), view(ids, np.uint8), view(samples, np.uint8)
    at = 0  # at most the bytes of the ids of documents before i, and _LONGEST_HEAD for each of these documents
    for i in range(n_documents):
        n_ids = rows[i + 1] - rows[i]
        if n_ids == 0:
            continue
        width, n_bytes = _width(n_ids), n_ids * itemsize
        store_u32(samples, at, np.uint32(1 + width + n_bytes))
        samples[at + 4] = np.uint8(4 | width >> 1)  # one axis, and log2 of the bytes of its length
        store_u32(samples, at + 5, np.uint32(n_ids))
        copy(samples, at + 5 + width, ids, (rows[i] - rows[0]) * itemsize, n_bytes)
        at += 5 + width + n_bytes
    return at


def olmo_lines(rows: np.ndarray, first: int) -> np.ndarray:
    r"""Returns a line for each document, with its first and last row and, twice, its number, as ASCII: uint8[n].

    first: the number of the first document.

    >>> olmo_lines(np.array([0, 7, 10]), 4).tobytes()
    b'0,7,4,,4\r\n7,10,5,,5\r\n'
    """
    lines = np.empty((len(rows) - 1) * _LONGEST_LINE, np.uint8)
    return lines[: _olmo_lines(pointer(np.ascontiguousarray(rows)), len(rows) - 1, first, pointer(lines))]


@kernel(i64, i64, i64, i64)
def _olmo_lines(rows, n_documents, first, lines):
    rows, lines = view(rows, np.int64), view(lines, np.uint8)
    at = U0  # a line has at most _LONGEST_LINE bytes
    for i in range(n_documents):
        for number in (rows[i], rows[i + 1], first + i):
            at = put_number(lines, at, np.uint64(number))
            lines[at] = 44
            at += U1
        lines[at] = 44
        at = put_number(lines, at + U1, np.uint64(first + i))
        lines[at], lines[at + U1] = 13, 10
        at += U2
    return np.int64(at)
