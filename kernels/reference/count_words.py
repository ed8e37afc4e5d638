"""Documents as words, counted and encoded, in plain Python."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from gputok.kernels import DEAD


def words_of(text: str, automaton) -> list[str]:
    """The words of a document under a gapless `Automaton`: leftmost-first matches, one after the other."""
    classes = [int(automaton.member[automaton.page[ord(c) >> 7], ord(c) & 127]) for c in text] + [
        automaton.n_classes
    ]
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


def count_text(texts: list[str], automaton) -> dict[str, int]:
    """How often each word of some documents occurs, in order of first occurrence."""
    return dict(Counter(word for text in texts for word in words_of(text, automaton)))


def count_pieces(data, start, end, count):
    """The distinct non-empty words data[start[i]:end[i]] in order of first occurrence, with the sums of their counts."""
    total = Counter()
    for a, b, n in zip(start.tolist(), end.tolist(), count.tolist(), strict=True):
        if a < b:
            total[data[a:b].tobytes()] += n
    offsets = np.cumsum([0, *map(len, total)])
    return np.frombuffer(b"".join(total), np.uint8), offsets, np.array([*total.values()], np.int64)


def word_keys(data, offsets):
    """The number of each word data[offsets[i]:offsets[i + 1]], by which saved word counts are ordered.

    64 bits: its hash with the halves exchanged.
    """
    words = (data[a:b].tobytes() for a, b in itertools.pairwise(offsets.tolist()))
    keys = [(h << 32 | h >> 32) % 2**64 for h in map(_hash, words)]
    return np.array(keys, np.uint64)


def _hash(word):
    """Of words of at most 16 bytes a mix of these bytes and the length; longer ones are folded eight bytes at a time."""
    n = len(word)
    if n == 0:
        return 0
    if n <= 16:
        return _mixed(_number(word[:8]), _number(word[8:]), n)
    h = n * _K2 % 2**64
    for i in range(0, n - 8, 8):
        h = (h ^ _number(word[i : i + 8])) * _GOLDEN % 2**64
        h ^= h >> 32
    return _mixed(h, _number(word[-8:]), n)


_GOLDEN, _K2, _K3 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F


def _mixed(low, high, n):
    h = low * _GOLDEN % 2**64 ^ (high + n) * _K2 % 2**64
    h = (h ^ h >> 32) * _K3 % 2**64
    return h ^ h >> 29


def _number(part):
    return int.from_bytes(part, "little")
