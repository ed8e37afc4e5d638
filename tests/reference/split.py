"""Cutting pieces of text at the matches of an automaton, in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from gputok.kernels import Automaton

from tests.reference.count_words import words_of


def split_words(data, start, end, frozen, automaton, cut, drop, keep_empty=False):
    """Cuts pieces at the matches of an automaton; kernels/cpu/split.py explains the arguments and the result."""
    words, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        text = data[a:b].tobytes().decode()
        # of each character, and the end
        offset = [a, *(a + np.cumsum([len(c.encode()) for c in text])).tolist()]
        spans = [(0, len(text), True)] if frozen is not None and frozen[i] else list(_spans(text, automaton))
        word = 0
        for k, (_, stop, flag) in enumerate(spans):
            if k + 1 == len(spans) or cut[int(flag), int(spans[k + 1][2])]:
                if (word < stop + (flag and keep_empty) and not drop[int(flag)]) or (frozen is not None and frozen[i]):
                    words.append((offset[word], offset[stop]))
                word = stop
        rows.append(len(words))
    word_start, word_end = np.array(words, np.int64).reshape(-1, 2).T
    return word_start, word_end, np.array(rows)


def find_words(data: np.ndarray, offsets: np.ndarray, automaton: Automaton) -> np.ndarray:
    """Finds where the words of documents begin, by a gapless automaton; the last element is the number of bytes.

    -> uint32[words + 1].
    """
    starts = []
    for begin, end in itertools.pairwise(offsets.tolist()):
        for word in words_of(data[begin:end].tobytes().decode(), automaton):
            starts.append(begin)
            begin += len(word.encode())
    return np.array([*starts, len(data)], np.uint32)


def find_cuts(data: np.ndarray, offsets: np.ndarray, automaton: Automaton) -> np.ndarray:
    """Like `find_words`: a bit for each byte from offsets[0] on, 1 where a word begins, and 16 bytes more."""
    begins = np.zeros(8 * (int(offsets[-1] - offsets[0]) // 8 + 16), np.uint8)
    begins[find_words(data, offsets, automaton)[:-1] - int(offsets[0])] = 1
    return np.packbits(begins, bitorder="little")


def _spans(text: str, automaton) -> Iterator[tuple[int, int, bool]]:
    """The gaps (False) and matches (True) in a text, in order, by repeated leftmost-first searches."""
    ascii_class, page, member, delta, accept = automaton[:5]
    end_of_text = delta.shape[1] - 1
    classes = [ascii_class[ord(c)] if c < "\x80" else member[page[ord(c) >> 7], ord(c) & 127] for c in text]
    p = gap = 0
    last_match = None
    while p <= len(text):
        found, state = None, 0
        for q, k in enumerate([*classes[p:], end_of_text], p):
            found = q if accept[state, k] else found
            state = delta[state, k]
            if state == 0xFFFF:
                break
        if found is None or p == found == last_match:
            p += 1
            continue
        if gap < p:
            yield gap, p, False
        yield p, found, True
        p = gap = last_match = found
    if gap < len(text):
        yield gap, len(text), False
