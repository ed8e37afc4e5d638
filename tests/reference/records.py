"""What formats of files of ids write beside the ids, in plain Python; see kernels/cpu/records.py."""

from __future__ import annotations

import itertools
import struct

import numpy as np


def sample_offsets(rows: np.ndarray, itemsize: int, *, with_heads: bool) -> np.ndarray:
    """Where samples of MDS begin, and the end: int64[n_samples + 1]."""
    lengths = [b - a for a, b in itertools.pairwise(rows.tolist()) if b > a]
    sizes = [n * itemsize + with_heads * (4 + len(_shape(n))) for n in lengths]
    return np.cumsum([0, *sizes], dtype=np.int64)


def mds_samples(rows: np.ndarray, ids: np.ndarray, itemsize: int) -> np.ndarray:
    """The samples of documents with their heads: uint8[n]."""
    packed, data = b"", ids.tobytes()
    for a, b in itertools.pairwise((rows - rows[0]).tolist()):
        if b > a:
            column = _shape(b - a) + data[a * itemsize : b * itemsize]
            packed += struct.pack("<I", len(column)) + column
    return np.frombuffer(packed, np.uint8)


def _shape(n: int) -> bytes:
    """As `streaming.base.format.mds.encodings.NDArray` writes one axis: its bits, the length in the smallest dtype."""
    number = next(bits for bits in range(3) if n < 1 << (8 << bits))
    return struct.pack("<B", 1 << 2 | number) + n.to_bytes(1 << number, "little")


def olmo_lines(rows: np.ndarray, first: int) -> np.ndarray:
    """A line of the CSV of OLMo for each document, as ASCII: uint8[n]."""
    ends = enumerate(itertools.pairwise(rows.tolist()), first)
    return np.frombuffer("".join(f"{a},{b},{i},,{i}\r\n" for i, (a, b) in ends).encode(), np.uint8)
