"""Merges for byte-pair encodings that have only ranks of tokens: neighbours merge if they form a token, by its rank.

tiktoken and SentencePiece encode in this way. `tokenizers` needs a list of pairs. This module makes such a list, and
decides whether a given list has the same effect as ranks.

A list of pairs can be exact for this reason. Consider any moment at which the neighbours a and b form a token t. No
merge has crossed the ends of t so far, so between these ends the same merges were made as if t alone were encoded,
which passes through exactly one state with two parts. So t is always made of the same pair, in every context. Other
pairs that form t have no effect, as they never become neighbours, nor has the order of the pairs that form t.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.checks import short
from gputok.kernels.cpu.trie import prefixes
from gputok.models import BPE
from gputok.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.types import Positions


def bytes_of(source: Any) -> tuple[bytes, str]:
    """Returns the bytes of a file, or bytes as they are, and the name that errors begin with."""
    if isinstance(source, bytes):
        return source, "these bytes"
    name = os.fspath(source)
    with open(name, "rb") as file:
        return file.read(), name


def merges_by_rank(vocabulary: Vocabulary, ranks: npt.NDArray[np.integer[Any]]) -> Positions:
    """Finds all pairs of tokens that form a token, in time and memory in proportion to the text of the tokens.

    ranks: int64[n_tokens]; a token of a rank below 0 is in no pair and is not formed. Returns int64[m, 3], positions in
    the vocabulary: the two tokens and the token that they form, by its rank, then by the ranks of the two.

    >>> tokens = Vocabulary.from_mapping({"a": 0, "b": 1, "ab": 2, "aab": 3})
    >>> merges_by_rank(tokens, np.arange(4)).tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    data, offsets = vocabulary.data, vocabulary.offsets
    cut = np.flatnonzero((data & 0xC0) != 0x80)  # the first byte of each character
    token = np.searchsorted(offsets, cut, side="right") - 1
    inside = (cut > offsets[token]) & (ranks[token] >= 0)
    cut, token = cut[inside], token[inside]
    left = prefixes(data, offsets)[cut]
    # Suffixes are prefixes of the reversed bytes, in which the last token is number 0
    right = prefixes(data[::-1], len(data) - offsets[::-1])[len(data) - cut]
    both = (left >= 0) & (right >= 0)
    left, right, token = left[both], len(offsets) - 2 - right[both], token[both]
    pairs = np.stack([left, right, token], axis=1)[np.lexsort((ranks[right], ranks[left], ranks[token]))]
    return pairs[(ranks[pairs] >= 0).all(axis=1)]


def bpe_of(vocabulary: Vocabulary, merges: npt.NDArray[np.integer[Any]], **options: Any) -> BPE:
    """Makes a BPE; merges: int64[m, 3] as of `merges_by_rank`; options: arguments of BPE."""
    model = BPE(**options)
    model.set_vocabulary(vocabulary, merges[:, :2], merges[:, 2])
    return model


def _without_ids(model: BPE) -> BPE:
    """Makes a BPE with the same merges whose ids are the positions in the vocabulary, and no other options."""
    vocabulary = model.vocabulary
    merges = vocabulary.positions(model.merges.astype(np.int64))
    return bpe_of(Vocabulary(vocabulary.data, vocabulary.offsets), merges)


def difference_to_ranks(model: BPE, ranks: npt.NDArray[np.integer[Any]]) -> str | None:
    """Returns why a model gives other tokens than merging by `ranks` (`merges_by_rank`); None: it gives the same."""
    vocabulary = model.vocabulary
    vocabulary.require_own_ids("ranks of tokens")
    made = vocabulary.positions(model.merges[:, 2].astype(np.int64))
    order = ranks[made]
    if len(order) and order.min() < 0:
        token = vocabulary.tokens[int(made[np.argmin(order)])]
        return f"merges make {short(token)}, which is not an ordinary token"
    if (np.diff(order) < 0).any():
        first = int(np.argmax(np.diff(order) < 0))
        before, after = (vocabulary.tokens[int(made[at])] for at in (first, first + 1))
        return f"its merges are in another order: {short(before)} is made before {short(after)}, but its rank is higher"
    by_rank = bpe_of(Vocabulary(vocabulary.data, vocabulary.offsets), merges_by_rank(vocabulary, ranks))
    by_pair = _without_ids(model)
    ordinary = np.flatnonzero(ranks >= 0)
    data, offsets = vocabulary.packed(ordinary)
    words = data, offsets[:-1], offsets[1:]
    ids, rows = by_rank.encode_words(*words, byte_level=False)
    pair_ids, pair_rows = by_pair.encode_words(*words, byte_level=False)
    if not np.array_equal(rows, pair_rows) or not np.array_equal(ids, pair_ids):
        differ = np.diff(rows) != np.diff(pair_rows)
        if not differ.any():
            differ[np.searchsorted(rows, np.flatnonzero(ids != pair_ids), side="right") - 1] = True
        token = vocabulary.tokens[int(ordinary[np.argmax(differ)])]
        return f"it has no merge for {short(token)}, which tokens of its vocabulary form"
    return None


def tokens_without_merges(model: BPE, ranks: npt.NDArray[np.integer[Any]]) -> Positions:
    """Returns the positions of tokens that merges don't make, even of their own text; ranks: as of `merges_by_rank`."""
    ordinary = np.flatnonzero(ranks >= 0)
    data, offsets = model.vocabulary.packed(ordinary)
    _, rows = _without_ids(model).encode_words(data, offsets[:-1], offsets[1:], byte_level=False)
    return ordinary[np.diff(rows) != 1]
