"""Counting words, in plain Python. A table has the position and the count of each word."""

from __future__ import annotations

import itertools

import numpy as np
from gputok.kernels import DEAD, Automaton

Table = dict[bytes, tuple[int, int]]


def words_of(text: str, automaton: Automaton) -> list[str]:
    """The words of a document, by a gapless `Automaton`: leftmost-first matches, one after the other."""
    classes = [int(automaton.member[automaton.page[ord(c) >> 7], ord(c) & 127]) for c in text] + [automaton.n_classes]
    words, start = [], 0
    while start < len(text):
        state, end, p = 0, start, start
        while state != DEAD:
            if automaton.accept[state, classes[p]]:
                end = p
            state, p = int(automaton.delta[state, classes[p]]), p + 1
        words.append(text[start:end])
        start = end
    return words


def count_words(data: np.ndarray, offsets: np.ndarray, position: int, automaton: Automaton, table: Table) -> Table:
    """The table with the words of documents data[offsets[i]:offsets[i + 1]] added; position: that of the first byte."""
    for begin, end in itertools.pairwise(offsets.tolist()):
        for word in words_of(data[begin:end].tobytes().decode(), automaton):
            _add(table, word.encode(), position + begin, 1)
            begin += len(word.encode())
    return table


def count_pieces(
    data: np.ndarray, start: np.ndarray, end: np.ndarray, count: np.ndarray, position: int, table: Table
) -> Table:
    """The table with the non-empty words data[start[i]:end[i]] added count[i] times each, at `position` + i."""
    for i, (a, b, n) in enumerate(zip(start.tolist(), end.tolist(), count.tolist(), strict=True)):
        if a < b:
            _add(table, data[a:b].tobytes(), position + i, n)
    return table


def _add(table: Table, word: bytes, position: int, count: int) -> None:
    first, before = table.get(word, (position, 0))
    table[word] = min(first, position), before + count


def distinct_words(tables: list[Table]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of tables, by position: data uint8[], offsets int64[n + 1], counts int64[n]."""
    total: Table = {}
    for table in tables:
        for word, (position, count) in table.items():
            _add(total, word, position, count)
    words = sorted(total, key=total.__getitem__)
    offsets = np.cumsum([0, *map(len, words)])
    counts = np.array([total[word][1] for word in words], np.int64)
    return np.frombuffer(b"".join(words), np.uint8), offsets, counts


def word_keys(data, offsets):
    """The number of each word data[offsets[i]:offsets[i + 1]], by which saved word counts are ordered.

    64 bits: its hash with the halves exchanged.
    """
    words = (data[a:b].tobytes() for a, b in itertools.pairwise(offsets.tolist()))
    keys = [(h << 32 | h >> 32) % 2**64 for h in map(_hash, words)]
    return np.array(keys, np.uint64)


def _hash(word):
    """Of words of at most 16 bytes a mix of them and the length; longer ones are folded sixteen bytes at a time."""
    n = len(word)
    if n == 0:
        return 0
    if n <= 16:
        h = _folded(_number(word[:8]) ^ _GOLDEN, _number(word[8:]) ^ _K2 ^ n)
        return _folded(h ^ _K3, _K4)
    h = n * _K2 % 2**64
    for i in range(0, n - 16, 16):
        h = _folded(_number(word[i : i + 8]) ^ _K3, _number(word[i + 8 : i + 16]) ^ h)
    h = _folded(_number(word[-16:-8]) ^ _K4, _number(word[-8:]) ^ h)
    return _folded(h ^ _K3, _K4)


_GOLDEN, _K2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
_K3, _K4 = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB


def _folded(a, b):
    return a * b % 2**64 ^ a * b >> 64


def _number(part):
    return int.from_bytes(part, "little")
