"""Byte-pair encodings without a list of merges: two neighbours that spell a token merge by its rank.

tiktoken and SentencePiece encode so. `tokenizers` wants pairs; which pairs these are, and whether a list of
pairs means the same, is decided here.

Why one list of pairs can be exact: take any moment at which neighbours a|b spell a token t. No merge has
crossed the ends of t so far, so within them the same merges were made as when t alone is encoded. Encoding t
alone passes through one state of two parts only. So t is only ever made of that one pair, whatever stands
around it; further pairs that spell t do no harm, as they never come to be neighbours, and neither does the
order among pairs of one token.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gputok.models import BPE
from gputok.tokens.vocabulary import Vocabulary
from gputok.types import Array


def merges_by_rank(vocabulary: Vocabulary, ranks: Array) -> Array:
    """All pairs of tokens that spell a token, by its rank, then by the ranks of the two: int64[m, 2], positions.

    ranks: int64[n], of each token; one below 0 is neither made nor part of another.

    >>> tokens = Vocabulary.from_mapping({"a": 0, "b": 1, "ab": 2, "aab": 3})
    >>> merges_by_rank(tokens, np.arange(4)).tolist()
    [[0, 1], [0, 2]]
    """
    from gputok.kernels.cpu import lookup

    data, offsets = vocabulary.data, vocabulary.offsets
    cut = np.flatnonzero((data & 0xC0) != 0x80)  # where a character begins
    token = np.searchsorted(offsets, cut, side="right") - 1
    inside = (cut > offsets[token]) & (ranks[token] >= 0)
    cut, token = cut[inside], token[inside]
    left = lookup.find_strings(vocabulary.strings, data, offsets[token], cut)
    right = lookup.find_strings(vocabulary.strings, data, cut, offsets[token + 1])
    both = (left >= 0) & (right >= 0)
    both[both] = (ranks[left[both]] >= 0) & (ranks[right[both]] >= 0)
    left, right, token = left[both], right[both], token[both]
    return np.stack([left, right], axis=1)[np.lexsort((ranks[right], ranks[left], ranks[token]))]


def bpe_of(vocabulary: Vocabulary, merges: Array, **options: Any) -> BPE:
    """A BPE from arrays. merges: int[m, 2], positions of tokens in the vocabulary, by rising rank."""
    model = BPE(**options)
    model.set_vocabulary(vocabulary, merges)
    return model


def made_otherwise(model: BPE, ranks: Array) -> str | None:
    """What keeps a model from giving the tokens that its vocabulary gives by ranks; None: nothing does.

    ranks: int64[n], of each token of the vocabulary, as in `merges_by_rank`.
    """
    vocabulary = model.vocabulary
    made = vocabulary.positions(model.merges[:, 2].astype(np.int64))
    order = ranks[made]
    if len(order) and order.min() < 0:
        token = vocabulary.tokens[int(made[np.argmin(order)])]
        return f"merges make {token!r}, which is no ordinary token"
    if (np.diff(order) < 0).any():
        first = int(np.argmax(np.diff(order) < 0))
        before, after = (vocabulary.tokens[int(made[at])] for at in (first, first + 1))
        return f"its merges are in another order: {before!r} is made before {after!r}, but ranks after it"
    by_rank = bpe_of(Vocabulary(vocabulary.data, vocabulary.offsets), merges_by_rank(vocabulary, ranks))
    by_pair = bpe_of(
        Vocabulary(vocabulary.data, vocabulary.offsets),
        vocabulary.positions(model.merges[:, :2].astype(np.int64)),
    )
    ordinary = np.flatnonzero(ranks >= 0)
    data, offsets = vocabulary.packed(ordinary)
    words = data, offsets[:-1], offsets[1:]
    (ids, rows), (pair_ids, pair_rows) = (
        one.encode_words(*words, byte_level=False) for one in (by_rank, by_pair)
    )
    if not np.array_equal(rows, pair_rows) or not np.array_equal(ids, pair_ids):
        differ = np.diff(rows) != np.diff(pair_rows)
        if not differ.any():
            differ[np.searchsorted(rows, np.flatnonzero(ids != pair_ids), side="right") - 1] = True
        token = vocabulary.tokens[int(ordinary[np.argmax(differ)])]
        return f"it has no merge for {token!r}, which its vocabulary makes"
    return None


def whole_only(model: BPE, ranks: Array) -> Array:
    """The positions of the tokens that no merges make, and that only a whole word can be."""
    vocabulary = model.vocabulary
    ordinary = np.flatnonzero(ranks >= 0)
    data, offsets = vocabulary.packed(ordinary)
    by_pair = bpe_of(
        Vocabulary(vocabulary.data, vocabulary.offsets),
        vocabulary.positions(model.merges[:, :2].astype(np.int64)),
    )
    _, rows = by_pair.encode_words(data, offsets[:-1], offsets[1:], byte_level=False)
    return ordinary[np.diff(rows) != 1]
