"""Documents as words, counted and encoded, in plain Python."""

from __future__ import annotations

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
