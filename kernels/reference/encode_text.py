"""Text to ids, in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from gputok.kernels import Automaton
from gputok.kernels.reference.count_words import words_of

Model = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def encode_text(
    data: np.ndarray, offsets: np.ndarray, token: np.ndarray | None, automaton: Automaton, model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the pieces data[offsets[i]:offsets[i + 1]] one after the other, and where those of each piece end.

    token: int64[pieces], an id that stands for the whole piece, or -1. model(data, start, end) -> ids, rows encodes words.
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
