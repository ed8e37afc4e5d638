"""Taking tokens out of a BPE model: the last merges, or the tokens that a corpus misses least.

A token that other tokens are made of can't go before them. Leaf pruning takes, again and again, the least frequent
token that no other token is made of (a leaf); what it stood for in the text then counts for the two tokens that it was
made of, which may become leaves. So all tokens that stay can still be reached, which cutting by id or by frequency
alone breaks. Tokens that merges don't reach occur nowhere, and go first.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import numpy as np

from gputok.components import view
from gputok.models.bpe.model import BPE
from gputok.models.bpe.tables import positions
from gputok.text.byte_alphabet import BYTE_TOKENS
from gputok.tokens.vocabulary import Vocabulary
from gputok.types import Counts, Mask, Positions

_NO_RANK = 1 << 38  # more than the merges of any model; with 24 bits for a position in a token it fits 63 bits
_POSITION_BITS = 24


def without_dropout(model: BPE) -> BPE:
    """Returns the model without dropout."""
    return _without(model, "dropout", None)


def plain(model: BPE) -> BPE:
    """Returns the model without dropout and `ignore_merges`: tokens are what merges lead to."""
    return _without(without_dropout(model), "ignore_merges", False)


def _without(model: BPE, option: str, nothing: Any) -> BPE:
    if not getattr(model, option):
        return model
    other = view(model, vars(model))
    setattr(other, option, nothing)
    return other


def splits(model: BPE) -> Positions:
    """Finds the last merge that leads to each token: int64[n, 2], the positions in the vocabulary of its two tokens.

    -1: no merge leads to the token. A token that is one character is its own left part, and -1 on the right.
    """
    symbols, rows = _characters(model)
    n = len(model.vocabulary)
    split = np.full((n, 2), -1, np.int64)
    lengths = np.diff(rows)
    single = np.flatnonzero(lengths == 1)
    alone = single[symbols[rows[:-1][single]] == single]
    split[alone, 0] = alone
    left, right, made = positions(model)
    ranks = np.arange(len(made))
    if model.sentencepiece:  # all merges that make the same token have the rank of the first of them
        _, first, same = np.unique(made, return_index=True, return_inverse=True)
        ranks = first[same]
    keys = left << 32 | right
    order = np.argsort(keys)
    keys, ranks, made = keys[order], ranks[order], made[order]
    if not len(keys):
        return split

    token = np.flatnonzero(lengths > 1)
    row = np.repeat(np.arange(n), lengths)
    symbols = symbols[lengths[row] > 1]
    lengths = lengths[token]
    while len(token):  # each round does one merge in each token that is left
        starts = np.cumsum(lengths) - lengths
        pair = symbols[:-1] << 32 | symbols[1:]
        at = np.minimum(np.searchsorted(keys, pair), len(keys) - 1)
        rank = np.append(np.where(keys[at] == pair, ranks[at], _NO_RANK), _NO_RANK)
        rank[starts + lengths - 1] = _NO_RANK  # the last symbol of a token has no right neighbour
        position = np.arange(len(symbols)) - np.repeat(starts, lengths)
        best = np.minimum.reduceat(rank << _POSITION_BITS | position, starts)
        going = best >> _POSITION_BITS < _NO_RANK
        first = starts + (best & (1 << _POSITION_BITS) - 1)
        ends = going & (lengths == 2)
        chosen = first[ends]
        right_token = made[at[chosen]] == token[ends]
        split[token[ends][right_token]] = np.column_stack([symbols[chosen], symbols[chosen + 1]])[right_token]
        going &= ~ends
        chosen = first[going]
        symbols[chosen] = made[at[chosen]]
        kept = np.repeat(going, lengths)
        kept[chosen + 1] = False
        symbols, token, lengths = symbols[kept], token[going], lengths[going] - 1
    return split


def _characters(model: BPE) -> tuple[Positions, Positions]:
    """What each token is made of before the first merge: positions in the vocabulary (-1: no token), rows of tokens."""
    vocabulary = model.vocabulary
    prefix, suffix = model.continuing_subword_prefix or "", model.end_of_word_suffix or ""
    if prefix or suffix:
        return _characters_with_affixes(vocabulary, prefix, suffix)
    without = view(model, vars(plain(model)))
    without.set_vocabulary(vocabulary, np.empty((0, 2), np.int64))
    start, end = vocabulary.offsets[:-1], vocabulary.offsets[1:]
    ids, rows = without.encode_words(vocabulary.data, start, end, byte_level=False)
    return vocabulary.positions(ids.astype(np.int64)).astype(np.int64), rows


def _characters_with_affixes(vocabulary: Vocabulary, prefix: str, suffix: str) -> tuple[Positions, Positions]:
    spelled: list[list[str]] = []
    for token in vocabulary.tokens:
        begins, ends = not (prefix and token.startswith(prefix)), token.endswith(suffix)
        text = token.removeprefix(prefix).removesuffix(suffix)
        parts = [prefix + character for character in text]
        if begins and parts:
            parts[0] = text[0]
        if ends and parts:
            parts[-1] += suffix
        spelled.append(parts)
    index = {token: i for i, token in enumerate(vocabulary.tokens)}
    found = [index.get(part, -1) for part in itertools.chain.from_iterable(spelled)]
    return np.array(found, np.int64), np.cumsum([0, *map(len, spelled)], dtype=np.int64)


def alphabet(model: BPE, split: Positions) -> Mask:
    """bool[n]: tokens of one character that a text may not lose; no token if the model falls back to their bytes."""
    if model.byte_fallback and None not in model.vocabulary.find(BYTE_TOKENS):
        return np.zeros(len(model.vocabulary), bool)
    return (split[:, 0] >= 0) & (split[:, 1] < 0)


def leaves_pruned(frequency: Counts, split: Positions, fixed: Mask, ids: Positions, n_kept: int) -> Mask:
    """Chooses the tokens that stay, by leaf pruning: bool[n].

    frequency: how often each token occurs when the `plain` model encodes text. fixed: bool[n], tokens that stay anyway.
    ids: of equally frequent leaves, the larger id goes first. n_kept: how many should stay, no fewer than are fixed.

    Example:
        >>> split = np.array([[0, -1], [1, -1], [0, 1], [2, 2]])  # a, b, ab, abab
        >>> leaves_pruned(np.array([5, 5, 9, 1]), split, np.array([True, True, False, False]), np.arange(4), 3).tolist()
        [True, True, True, False]
    """
    made = split[:, 1] >= 0
    users = np.bincount(split[made].ravel(), minlength=len(split)).tolist()
    counts, parts, number = frequency.tolist(), split.tolist(), ids.tolist()
    may_go = (~fixed).tolist()
    kept = np.ones(len(split), bool)
    heap = [(counts[x], -number[x], x) for x in np.flatnonzero(~fixed).tolist() if users[x] == 0]
    heapq.heapify(heap)
    for _ in range(len(split) - n_kept):
        if not heap:
            break
        count, _, x = heapq.heappop(heap)
        kept[x] = False
        if parts[x][1] < 0:
            continue
        for part in parts[x]:
            counts[part] += count
            users[part] -= 1
            if users[part] == 0 and may_go[part]:  # all tokens made of it have gone: it is a leaf, its count is final
                heapq.heappush(heap, (counts[part], -number[part], part))
    return kept


def first_merged(model: BPE, fixed: Mask, n_kept: int) -> Mask:
    """Chooses the tokens that a training would have made that ended sooner: bool[n].

    These are the tokens that no merge makes, those in `fixed`, and then, up to `n_kept`, the ones that are made first.
    """
    made = positions(model)[2]
    tokens, first = np.unique(made, return_index=True)
    tokens = tokens[np.argsort(first)]
    kept = np.ones(len(model.vocabulary), bool)
    kept[tokens] = False
    kept |= fixed
    more = tokens[~kept[tokens]]
    kept[more[: max(0, n_kept - int(np.count_nonzero(kept)))]] = True
    return kept


def with_tokens(model: BPE, chosen: Positions) -> BPE:
    """Returns the model with these tokens (positions in the vocabulary), which get the ids 0, 1, 2 and so on."""
    new = np.full(len(model.vocabulary), -1, np.int64)
    new[chosen] = np.arange(len(chosen))
    data, offsets = model.vocabulary.packed(chosen)
    merges = new[positions(model)]  # a merge stays if both its tokens and the token that it makes stay
    other = view(model, vars(model))
    other.set_vocabulary(Vocabulary(data, offsets), merges[:2, (merges >= 0).all(axis=0)].T)
    return other
