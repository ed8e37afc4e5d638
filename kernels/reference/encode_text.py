"""Documents to ids, in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from gputok.kernels.reference.count_words import words_of


def encode_text(pieces: list[str], token: list[int], automaton, encode_word: Callable[[str], list[int]]):
    """The ids of pieces of text, one after the other, and offsets; token[i] >= 0 stands for the whole piece."""
    rows = [
        [own] if own >= 0 else list(itertools.chain(*map(encode_word, words_of(text, automaton))))
        for text, own in zip(pieces, token, strict=True)
    ]
    return np.array([*itertools.chain(*rows)], np.uint32), np.cumsum([0, *map(len, rows)])
