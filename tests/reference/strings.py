"""Packed strings, tries and tokens as Python objects, for several stages."""

from __future__ import annotations

import itertools

import numpy as np


def byte_strings(data, start, end) -> list[bytes]:
    """The words data[start[i]:end[i]]."""
    raw = data.tobytes()
    return [raw[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def strings_of(strings) -> list[bytes]:
    """The strings of a table."""
    raw = strings.data.tobytes()
    return [raw[a:b] for a, b in itertools.pairwise(strings.offsets.tolist())]


def trie_strings(edges) -> dict[bytes, int]:
    """The strings of a trie and their ids; a child's number is larger than its parent's."""
    spelled, found = {1: b""}, {}
    for key, value in sorted((row for row in edges.tolist() if row[0]), key=lambda row: row[1] & 0xFFFFFFFF):
        node = value & 0xFFFFFFFF
        spelled[node] = spelled[key >> 8] + bytes([key & 255])
        if value >> 32:
            found[spelled[node]] = (value >> 32) - 1
    return found


def tokens_of(found, start):
    """Turns the tokens of each word, (id, first, last + 1), to columns with positions in the text."""
    flat = [(id, at + a, at + b) for word, at in zip(found, start.tolist(), strict=False) for id, a, b in word]
    ids, begins, stops = np.array(flat, np.int64).reshape(-1, 3).T
    rows = np.cumsum([0, *map(len, found)])
    return ids.astype(np.uint32), begins.copy(), stops.copy(), rows
