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
    """Writes words as symbols (dtype[m], offsets int64[u + 1]); ids: int32[characters, roles], -1 omits a character."""
    spelt = [
        [token for i, c in enumerate(word) if (token := ids[ord(c), _role(ids.shape[1], i, word)]) >= 0]
        for word in _words(data, offsets, byte_level)
    ]
    return np.array([*itertools.chain(*spelt)], dtype), np.cumsum([0, *map(len, spelt)], dtype=np.int64)


def spell_cut_words(
    data: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    ids: np.ndarray,
    scripts: np.ndarray,
    *,
    any_script: int,
    inherited: int,
    dtype: type,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Writes words as sequences of two symbols or more, cut at characters without a symbol, and between scripts.

    Returns symbols dtype[m], offsets int64[s + 1], counts int64[s], and int64[d, 2]: cuts after a mark, as the code of
    the mark << 21 | the code after it, and the count of the word.
    """
    sequences, doubts = [], []
    for word, count in zip(_words(data, offsets, False), counts.tolist(), strict=True):
        found, last, before = [[]], any_script, None
        for code in map(ord, word):
            script = int(scripts[code])
            is_mark = script == inherited
            script = last if is_mark else script
            if ids[code] < 0:
                found.append([])
                last, before = any_script, None
                continue
            if script != last and any_script not in (script, last):
                found.append([])
                if before is not None:
                    doubts.append((before << 21 | code, count))
            found[-1].append(int(ids[code]))
            last, before = script, code if is_mark else None
        sequences += [(symbols, count) for symbols in found if len(symbols) > 1]
    spelt = [symbols for symbols, _ in sequences]
    return (
        np.array([*itertools.chain(*spelt)], dtype),
        np.cumsum([0, *map(len, spelt)], dtype=np.int64),
        np.array([count for _, count in sequences], np.int64),
        np.array(doubts, np.int64).reshape(-1, 2),
    )


def _words(data: np.ndarray, offsets: np.ndarray, byte_level: bool) -> list[str]:
    encoding = "latin-1" if byte_level else "utf-8"
    return [data[a:b].tobytes().decode(encoding) for a, b in itertools.pairwise(offsets)]


def _role(n_roles: int, i: int, word: str) -> int:
    return 0 if n_roles == 1 else (i > 0) + 2 * (i == len(word) - 1)
