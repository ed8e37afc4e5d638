"""Every stage in plain Python: the shortest true version, and what the tests hold the fast ones to."""

from __future__ import annotations

import numpy as np

# ---- text


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1: all is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def line_ends(data: np.ndarray) -> np.ndarray:
    """The offset after each `\\n` of data (uint8[n]): int64[number of newlines]."""
    return np.flatnonzero(data == 10) + 1


# ---- pieces of text


def gather(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of each piece, packed: uint8[total], offsets int64[n_pieces + 1]."""
    pieces = [data[a:b] for a, b in zip(start, end, strict=True)]
    return np.concatenate([data[:0], *pieces]), np.cumsum([0, *map(len, pieces)], dtype=np.int64)


def rewrite_bytes(data, start, end, mode, table, alignment=None):
    """Packs pieces with each byte replaced by others (mode & 1), a prefix before some (mode & 2); see kernels/cpu."""
    words = [int(code).to_bytes(4, "little")[:width] for width, code in table.T]
    parts, offsets = [], [0]  # parts: (bytes, the byte of data that they come from)
    for a, b, how in zip(start.tolist(), end.tolist(), mode.tolist(), strict=True):
        parts += [(words[256], a)] * (how >> 1)
        parts += [(words[data[p]] if how & 1 else bytes([data[p]]), p) for p in range(a, b)]
        offsets.append(sum(len(word) for word, _ in parts))
    source = np.array([p for word, p in parts for _ in word], np.int64)
    aligned = None if alignment is None else tuple(origin[source] for origin in alignment)
    return np.frombuffer(b"".join(word for word, _ in parts), np.uint8), np.array(offsets), aligned
