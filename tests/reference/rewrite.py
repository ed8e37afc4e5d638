"""Packing and rewriting pieces of text, in plain Python."""

from __future__ import annotations

import numpy as np


def gather(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packs the bytes of pieces: uint8[total], offsets int64[n_pieces + 1]."""
    pieces = [data[a:b] for a, b in zip(start, end, strict=True)]
    return np.concatenate([data[:0], *pieces]), np.cumsum([0, *map(len, pieces)], dtype=np.int64)


def rewrite_bytes(data, start, end, mode, table, alignment=None):
    """Packs pieces, replaces bytes (mode & 1), and puts a prefix before (mode & 2); see kernels/cpu/rewrite.py."""
    words = [int(code).to_bytes(4, "little")[:width] for width, code in table.T]
    parts, offsets = [], [0]  # parts: (bytes, the byte of data that they come from)
    for a, b, how in zip(start.tolist(), end.tolist(), mode.tolist(), strict=True):
        parts += [(words[256], a)] * (how >> 1)
        parts += [(words[data[p]] if how & 1 else bytes([data[p]]), p) for p in range(a, b)]
        offsets.append(sum(len(word) for word, _ in parts))
    source = np.array([p for word, p in parts for _ in word], np.int64)
    aligned = None if alignment is None else tuple(origin[source] for origin in alignment)
    return np.frombuffer(b"".join(word for word, _ in parts), np.uint8), np.array(offsets), aligned
