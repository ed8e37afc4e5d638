"""Text to ids, in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from gputok.kernels import Automaton

from tests.reference.count_words import words_of

Model = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def encode_corpus(
    data: np.ndarray, offsets: np.ndarray, token: np.ndarray | None, automaton: Automaton, model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the pieces data[offsets[i]:offsets[i + 1]] one after the other, and where those of each piece end.

    token: int64[pieces], an id for the whole piece, or -1. model(data, start, end) -> ids, rows encodes words.
    """
    rows: list[list[int]] = []
    for i, (begin, end) in enumerate(itertools.pairwise(offsets.tolist())):
        if token is not None and token[i] >= 0:
            rows.append([int(token[i])])
            continue
        words = words_of(data[begin:end].tobytes().decode(), automaton)
        edges = np.cumsum([begin, *(len(word.encode()) for word in words)])
        rows.append(model(data, edges[:-1], edges[1:])[0].tolist())
    return np.array([*itertools.chain(*rows)], np.uint32), np.cumsum([0, *map(len, rows)])


def encode_marked(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: Automaton,
    cuts: np.ndarray,
    inside: np.ndarray,
    model: Model,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like `encode_corpus`, with a mark of each id; kernels/cpu/encode_corpus/marks.py explains them.

    cuts: a bit for each byte from offsets[0], 1 where a piece begins; inside: a bit for two bytes, first | second << 8.
    """
    begins = np.unpackbits(cuts, bitorder="little")
    rows: list[list[int]] = []
    marks: list[int] = []
    for i, (begin, end) in enumerate(itertools.pairwise(offsets.tolist())):
        if token is not None and token[i] >= 0:
            rows.append([int(token[i])])
            marks.append(1)
            continue
        words = words_of(data[begin:end].tobytes().decode(), automaton)
        own = {*itertools.accumulate((len(word.encode()) for word in words), initial=begin)}
        first = int(offsets[0])
        edges = np.array(sorted({*own, *(begin + np.flatnonzero(begins[begin - first : end - first])).tolist()}))
        ids, word_rows = model(data, edges[:-1], edges[1:])
        rows.append(ids.tolist())
        for at, n in zip(edges[:-1].tolist(), np.diff(word_rows).tolist(), strict=True):
            pair = int(data[at - 1]) | int(data[at]) << 8
            is_inside = int(inside[pair >> 6]) >> (pair & 63) & 1
            marks += [1 if begins[at - first] else 2 * is_inside, *([0] * (n - 1))]
    return (np.array([*itertools.chain(*rows)], np.uint32), np.cumsum([0, *map(len, rows)]), np.array(marks, np.uint8))
