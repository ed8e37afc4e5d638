"""From the characters of words to symbols, in plain Python."""

from __future__ import annotations

import itertools

import numpy as np


def count_characters(
    data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, *, byte_level: bool, n_roles: int
) -> np.ndarray:
    """Counts each character in each role (not first: 1, last: 2): int64[characters, n_roles]."""
    totals = np.zeros((0x110000, n_roles), np.int64)
    for word, count in zip(_words(data, offsets, byte_level), counts, strict=True):
        for i, character in enumerate(word):
            totals[ord(character), _role(n_roles, i, word)] += count
    return totals


def spell_words(
    data: np.ndarray, offsets: np.ndarray, ids: np.ndarray, *, byte_level: bool, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """Writes words as symbols (dtype[m], offsets int64[u + 1]); ids: int32[characters, roles], -1 leaves a character out."""
    spelt = [
        [token for i, c in enumerate(word) if (token := ids[ord(c), _role(ids.shape[1], i, word)]) >= 0]
        for word in _words(data, offsets, byte_level)
    ]
    return np.array([*itertools.chain(*spelt)], dtype), np.cumsum([0, *map(len, spelt)], dtype=np.int64)


def _words(data: np.ndarray, offsets: np.ndarray, byte_level: bool) -> list[str]:
    encoding = "latin-1" if byte_level else "utf-8"
    return [data[a:b].tobytes().decode(encoding) for a, b in itertools.pairwise(offsets)]


def _role(n_roles: int, i: int, word: str) -> int:
    return 0 if n_roles == 1 else (i > 0) + 2 * (i == len(word) - 1)
