"""Byte-pair encoding of a word without merging: the longest tokens that fit together, from the left.

Two tokens fit together if byte-pair encoding of their joined text gives exactly these two tokens. A sequence of tokens is
the encoding of its text if all neighbours fit, and there is only one such sequence (van Antwerpen and Neubeck 2024, "So many
tokens, so little time", github.com/github/rust-gems). So the search takes the longest token that fits the token before, or
else a shorter token, or else goes back by one token and never comes to this place again. Most words need one try for each
token, while merging costs two look-ups for each byte.

The method needs a vocabulary in which each token is the encoding of its own text (other tokens never occur, and are left
out), is made by a single merge, and is younger than its parts. Tokens are numbered by age: 0 to 255 are the bytes, the
others follow by rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import Backtrack, Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words import byte_trie
from gputok.kernels.cpu.encode_words.byte_trie import longest_token
from gputok.kernels.cpu.lookup import FREE, NONE, index_pairs, rank_of
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U3, U6, U7, U32, U63, U64
from gputok.kernels.cpu.primitives.hashing import hash_pair
from gputok.kernels.cpu.primitives.memory import View, copy, leading_zeros, view
from gputok.kernels.signatures import i64, u8, u32

LEFT, RIGHT, SHAPE, ID = range(4)  # columns of Backtrack.tokens
PREFIX_BITS = 22
NO_PREFIX = (1 << PREFIX_BITS) - 1  # greater than the number of any token
MAX_BYTES = (
    1 << 32 - PREFIX_BITS
) - 1  # of a token, and so of a word: a longer word may contain longer tokens

_BYTE = np.uint64(255)


NOTHING = Backtrack(
    Pairs(np.full(1, FREE), 1),
    np.empty(1, np.uint8),
    np.empty((0, 4), np.uint32),
    np.empty(0, np.uint64),
)


def backtrack_tables(ids, symbols, left, right, merged):
    """Makes the tables of a vocabulary, or NOTHING if it can't be encoded by backtracking.

    ids: uint32[n], the id of each position in the vocabulary; symbols: uint32[256], the position of each byte; left, right,
    merged: uint32[m], the positions of the tokens of each merge, by rank.
    """
    symbols = np.concatenate([symbols, merged]).astype(np.int64)
    n, own = len(symbols), np.arange(len(symbols), dtype=np.uint32)
    if n > NO_PREFIX or np.bincount(symbols).max() > 1:
        return NOTHING
    number = np.full(len(ids), n, np.uint32)  # of each position; n for tokens that no merge makes
    number[symbols] = own
    tokens = np.stack([own, own, own, ids[symbols]], axis=1)
    tokens[256:, 0], tokens[256:, 1] = number[left], number[right]
    if (tokens[256:, :2] >= own[256:, None]).any():
        return NOTHING
    pairs = index_pairs(tokens[256:, 0], tokens[256:, 1], np.arange(n - 256), n)
    tables = Backtrack(pairs, _filter_of(tokens, pairs.bits), tokens, NOTHING.cells)
    _find_lengths(tables)
    offsets = np.concatenate([[0], np.cumsum(tokens[:, SHAPE] >> PREFIX_BITS, dtype=np.int64)])
    text = np.empty(offsets[-1], np.uint8)
    _spell(tokens, offsets, text)
    trie = byte_trie.build(text, offsets[256:], own[256:])
    if trie is None:
        return NOTHING
    cells, prefix = trie
    tokens[256:, SHAPE] |= prefix[256:]
    return tables._replace(cells=cells)


@kernel(u32[:, :], i64)
def _filter_of(tokens, bits):
    """A bit for the hash of each pair, with at least 16 bits a pair: other pairs rarely meet a bit that is set."""
    seen = np.zeros(np.uint64(4) << (U64 - leading_zeros(np.uint64(len(tokens)))), np.uint8)
    mask = np.uint64(8 * len(seen) - 1)
    for i in range(256, len(tokens)):
        h = hash_pair(np.uint64(tokens[i, 0]) << np.uint64(bits) | np.uint64(tokens[i, 1])) >> U32 & mask
        seen[h >> U3] |= np.uint8(1) << np.uint8(h & U7)
    return seen


class _Views(NamedTuple):
    """A Backtrack as a hot loop sees it: arrays would cost more than the search."""

    n_tokens: np.uint32
    slots: View  # of uint64
    mask: np.uint64
    bits: np.uint64
    seen: View  # of uint8
    seen_mask: np.uint64
    tokens: View  # of uint32
    cells: View  # of uint64


@kernel(inline=True)
def backtrack_views(tables):
    """The views of a Backtrack."""
    return _Views(
        np.uint32(len(tables.tokens)),
        view(tables.pairs.slots),
        np.uint64(len(tables.pairs.slots) - 1),
        np.uint64(tables.pairs.bits),
        view(tables.seen),
        np.uint64(8 * len(tables.seen) - 1),
        view(tables.tokens),
        view(tables.cells),
    )


@kernel(inline=True)
def field(tables, token, column):
    """A column of Backtrack.tokens."""
    return tables.tokens[np.uint64(token) << U2 | np.uint64(column)]


@kernel(inline=True)
def merges_before(tables, left, right, limit):
    """Whether two tokens merge to a token that is older than `limit`."""
    h = hash_pair(np.uint64(left) << tables.bits | np.uint64(right)) >> U32 & tables.seen_mask
    if np.uint64(tables.seen[h >> U3]) >> (h & U7) & U1 == U0:
        return False
    rank = rank_of((tables.slots, tables.mask, tables.bits), left, right)
    return rank != NONE and np.uint64(rank) + np.uint64(256) < limit


@kernel(inline=True)
def fit(tables, left, right, limit):
    """Whether encoding the joined text of two tokens gives these two, with merges that make tokens older than `limit`.

    Takes the younger token apart, and tests whether a merge across the gap would have come before that token's merge.
    """
    while not merges_before(tables, left, right, limit):
        if left > right:  # of two equal tokens the right one is taken apart first: merging is leftmost-first
            limit = np.uint64(left)
            left = field(tables, left, RIGHT)
            if np.uint64(left) != limit:
                continue
            limit = np.uint64(right) + U1
            right = field(tables, right, LEFT)
            if np.uint64(right) + U1 == limit:
                return True
        else:
            limit = np.uint64(right) + U1
            right = field(tables, right, LEFT)
            if np.uint64(right) + U1 != limit:
                continue
            limit = np.uint64(left)
            left = field(tables, left, RIGHT)
            if np.uint64(left) == limit:
                return True
    return False


@kernel(Backtrack)
def _find_lengths(tables):
    """Fills in the length of each token; 0 if the token is too long, or is not the encoding of its own text."""
    tokens, where = tables.tokens, backtrack_views(tables)
    for byte in range(256):
        tokens[byte, SHAPE] = 1 << PREFIX_BITS | NO_PREFIX
    for token in range(256, len(tokens)):
        left, right = tokens[token, LEFT], tokens[token, RIGHT]
        first, second = tokens[left, SHAPE] >> PREFIX_BITS, tokens[right, SHAPE] >> PREFIX_BITS
        length = np.int64(first) + np.int64(second)
        proper = first and second and length <= MAX_BYTES
        if proper and fit(where, left, right, np.uint64(token)):
            tokens[token, SHAPE] = length << PREFIX_BITS
        else:
            tokens[token, SHAPE] = 0


@kernel(u32[:, :], i64[:], u8[:])
def _spell(tokens, offsets, text):
    """Writes the bytes of each token that has a length."""
    spelled = view(text)
    for token in range(len(tokens)):
        at, end = np.uint64(offsets[token]), np.uint64(offsets[token + 1])
        if token < 256:
            text[at] = token
        elif at < end:
            for part in (tokens[token, LEFT], tokens[token, RIGHT]):
                size = np.uint64(offsets[part + 1] - offsets[part])
                copy(spelled, at, spelled, offsets[part], size)
                at += size


@kernel(inline=True)
def backtrack(tables, text, begin, n, tokens, places, closed):
    """Encodes n bytes from text[begin] on, 1 to MAX_BYTES, and returns the number of tokens.

    tokens, places: uint32[n] and int64[n + 1], each token and its place, counted from `begin` (at the end, n).
    closed: uint64[n // 64 + 1], scratch memory: a bit for each place from which no way leads to the end.
    """
    for i in range((n >> U6) + U1):
        closed[i] = U0
    at, count = U0, U0
    token = longest_token(tables.cells, text, begin, begin + n)
    while at < n:
        shape = field(tables, token, SHAPE)
        end = at + np.uint64(shape >> np.uint32(PREFIX_BITS))
        if closed[end >> U6] >> (end & U63) & U1 == U0 and (
            count == U0 or fit(tables, tokens[count - U1], token, ALL)
        ):
            tokens[count] = token
            places[count] = at
            count += U1
            at = end
            if at < n:
                token = longest_token(tables.cells, text, begin + at, begin + n)
            continue
        token = shape & np.uint32(NO_PREFIX)
        while token == np.uint32(NO_PREFIX):
            # No token fits here: go back by one token, and try a shorter one
            closed[at >> U6] = closed[at >> U6] | U1 << (at & U63)
            count -= U1
            at = np.uint64(places[count])
            token = field(tables, tokens[count], SHAPE) & np.uint32(NO_PREFIX)
    places[count] = n
    return count
