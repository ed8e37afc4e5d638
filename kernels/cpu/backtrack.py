"""Byte-pair encoding of a word without merging: the longest tokens that fit together, from the left.

Two tokens fit together if byte-pair encoding of both their texts gives just these two. A row of tokens is the encoding
of its text if every two neighbours fit, and there is but one such row (van Antwerpen and Neubeck 2024, "So many
tokens, so little time", github.com/github/rust-gems). So: take the longest token that fits the one before, else a
shorter one, else go back by one token and never come to this place again. Most words need one try for each token,
where merging costs two look-ups for each byte.

It holds where every token is the encoding of its own text (one that isn't never occurs, and is left out), is made by a
single merge, and is younger than its parts. Tokens are numbered by age: 0 to 255 are the bytes, then by rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import Backtrack, Pairs
from . import kernel
from .lookup import FREE, NONE, hash_pair, index_pairs, rank_of
from .memory import address, leading_zeros, load_u8, load_u32, load_u64, store_i64, store_u32, store_u64

LEAF = 1 << 31
LEFT, RIGHT, SHAPE, ID = range(4)  # columns of Backtrack.tokens
PREFIX_BITS = 22
NO_PREFIX = (1 << PREFIX_BITS) - 1  # and more than any token's number
MAX_BYTES = (1 << 32 - PREFIX_BITS) - 1  # of a token, and so of a word: a longer one may hold longer tokens

_U0, _U1, _U2, _U3, _U6, _U7, _U8, _U32, _U64 = (np.uint64(i) for i in (0, 1, 2, 3, 6, 7, 8, 32, 64))
_U40 = np.uint64(40)
_LOW6, _LOW32, _ALL = np.uint64(63), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFFFF)
_BYTE, _BYTES = np.uint64(255), np.uint64(256)


NOTHING = Backtrack(
    Pairs(np.full(1, FREE), 1),
    np.empty(1, np.uint8),
    np.empty((0, 4), np.uint32),
    np.empty(0, np.uint32),
    np.empty(0, np.uint64),
)


def backtrack_tables(ids, symbols, left, right, merged):
    """The tables of a vocabulary, or NOTHING if this way can't be taken.

    ids: uint32[n], of each position in the vocabulary; symbols: uint32[256], the position of each byte; left, right,
    merged: uint32[m], positions of the tokens of each merge, by rank.
    """
    symbols = np.concatenate([symbols, merged]).astype(np.int64)
    n, own = len(symbols), np.arange(len(symbols), dtype=np.uint32)
    if n > NO_PREFIX or np.bincount(symbols).max() > 1:
        return NOTHING
    number = np.full(len(ids), n, np.uint32)  # of each position; n for tokens that nothing makes
    number[symbols] = own
    tokens = np.stack([own, own, own, ids[symbols]], axis=1)
    tokens[256:, 0], tokens[256:, 1] = number[left], number[right]
    if (tokens[256:, :2] >= own[256:, None]).any():
        return NOTHING
    pairs = index_pairs(tokens[256:, 0], tokens[256:, 1], np.arange(n - 256), n)
    tables = Backtrack(
        pairs, _filter_of(tokens, pairs.bits), tokens, np.zeros(1 << 16, np.uint32), NOTHING.edges
    )
    _find_lengths(tables)
    length = tokens[:, 2] >> PREFIX_BITS
    order = np.argsort(length, kind="stable").astype(np.uint32)
    order = order[np.count_nonzero(length == 0) :]
    edges = np.zeros(_capacity(int(length.sum())), np.uint64)
    if not _build_trie(tokens, order, tables.two, edges):
        return NOTHING
    return tables._replace(edges=_compact(edges, _capacity(int(np.count_nonzero(edges))), tables.two))


def _capacity(n_edges: int) -> int:
    """Slots for so many edges: at most three quarters full, since a small table counts for more than short probes."""
    return 1 << max(3, (n_edges + n_edges // 3).bit_length())


@kernel
def _filter_of(tokens, bits):
    """A bit for each pair's hash, at least 16 times as many as there are pairs: few others meet a bit that is set."""
    seen = np.zeros(np.uint64(4) << (_U64 - leading_zeros(np.uint64(len(tokens)))), np.uint8)
    mask = np.uint64(8 * len(seen) - 1)
    for i in range(256, len(tokens)):
        h = hash_pair(np.uint64(tokens[i, 0]) << np.uint64(bits) | np.uint64(tokens[i, 1])) >> _U32 & mask
        seen[h >> _U3] |= np.uint8(1) << np.uint8(h & _U7)
    return seen


class _Addresses(NamedTuple):
    """A Backtrack as a hot loop sees it: arrays there would cost more than the search."""

    n_tokens: np.uint32
    slots: np.uint64
    mask: np.uint64
    bits: np.uint64
    seen: np.uint64
    seen_mask: np.uint64
    tokens: np.uint64
    two: np.uint64
    edges: np.uint64
    edge_mask: np.uint64


@kernel(inline=True)
def backtrack_addresses(tables):
    return _Addresses(
        np.uint32(len(tables.tokens)),
        address(tables.pairs.slots),
        np.uint64(len(tables.pairs.slots) - 1),
        np.uint64(tables.pairs.bits),
        address(tables.seen),
        np.uint64(8 * len(tables.seen) - 1),
        address(tables.tokens),
        address(tables.two),
        address(tables.edges),
        np.uint64(len(tables.edges) - 1),
    )


@kernel(inline=True)
def field(tables, token, column):
    return load_u32(tables.tokens, np.uint64(token) << _U2 | np.uint64(column))


@kernel(inline=True)
def merges_before(tables, left, right, limit):
    """Do two tokens become one that is older than `limit`?"""
    h = hash_pair(np.uint64(left) << tables.bits | np.uint64(right)) >> _U32 & tables.seen_mask
    if np.uint64(load_u8(tables.seen, h >> _U3)) >> (h & _U7) & _U1 == _U0:
        return False
    rank = rank_of((tables.slots, tables.mask, tables.bits), left, right)
    return rank != NONE and np.uint64(rank) + _BYTES < limit


@kernel(inline=True)
def fit(tables, left, right, limit):
    """Does encoding the texts of two tokens give these two, as far as merges that make tokens below `limit` go?

    Takes the younger of both apart, and looks whether the merge across the gap would have come before that.
    """
    while not merges_before(tables, left, right, limit):
        if left > right:  # of two of the same age the right one goes first: merging is leftmost-first
            limit = np.uint64(left)
            left = field(tables, left, RIGHT)
            if np.uint64(left) != limit:
                continue
            limit = np.uint64(right) + _U1
            right = field(tables, right, LEFT)
            if np.uint64(right) + _U1 == limit:
                return True
        else:
            limit = np.uint64(right) + _U1
            right = field(tables, right, LEFT)
            if np.uint64(right) + _U1 != limit:
                continue
            limit = np.uint64(left)
            left = field(tables, left, RIGHT)
            if np.uint64(left) == limit:
                return True
    return False


@kernel
def _find_lengths(tables):
    """Fills in the bytes of each token, 0 for those that are too long, or not the encoding of their own text."""
    tokens, where = tables.tokens, backtrack_addresses(tables)
    tokens[:256, SHAPE] = 1 << PREFIX_BITS | NO_PREFIX
    for token in range(256, len(tokens)):
        left, right = tokens[token, LEFT], tokens[token, RIGHT]
        first, second = tokens[left, SHAPE] >> PREFIX_BITS, tokens[right, SHAPE] >> PREFIX_BITS
        length = np.int64(first) + np.int64(second)
        proper = first and second and length <= MAX_BYTES
        if proper and fit(where, left, right, np.uint64(token)):
            tokens[token, SHAPE] = length << PREFIX_BITS
        else:
            tokens[token, SHAPE] = 0


@kernel(inline=True)
def find_edge(edges, mask, node, byte):
    """The slot of an edge, or the free one where it belongs; `edges` is the address, `mask` the slots - 1."""
    key = np.uint64(node) << _U8 | np.uint64(byte)
    at = hash_pair(key) & mask
    while True:
        slot = load_u64(edges, at)
        if slot == _U0 or slot >> _U32 == key:
            return at
        at = (at + _U1) & mask


@kernel
def _build_trie(tokens, order, two, table):
    """Enters the tokens of `order`, shorter ones first. False: two have the same text."""
    edges, mask = address(table), np.uint64(len(table) - 1)
    n_nodes = n_tokens = len(tokens)
    text = np.empty(MAX_BYTES, np.uint8)
    stack = np.empty(MAX_BYTES + 1, np.uint32)
    for token in order:
        n, depth = 0, 1
        stack[0] = token
        while depth:  # its bytes
            depth -= 1
            part = stack[depth]
            if part < 256:
                text[n] = part
                n += 1
            else:
                stack[depth], stack[depth + 1] = tokens[part, RIGHT], tokens[part, LEFT]
                depth += 2
        if n == 1:
            continue
        node = two[np.int64(text[0]) << 8 | text[1]]
        longest = np.uint32(text[0])
        if n == 2:
            if node:
                return False
            two[np.int64(text[0]) << 8 | text[1]] = token
        elif node == 0:
            node = np.uint32(n_nodes)
            n_nodes += 1
            two[np.int64(text[0]) << 8 | text[1]] = node
        for i in range(2, n):
            if node < n_tokens:
                longest = node
            at = find_edge(edges, mask, node, text[i])
            child = np.uint32(load_u64(edges, at) & _LOW32)
            if i == n - 1:
                if child:
                    return False
                child = token
            elif child == 0:
                child = np.uint32(n_nodes)
                n_nodes += 1
            store_u64(edges, at, (np.uint64(node) << _U8 | np.uint64(text[i])) << _U32 | np.uint64(child))
            node = child
        tokens[token, SHAPE] |= longest
    return True


@kernel
def _compact(table, capacity, two):
    """The same edges in a smaller table; there and in `two`, nodes from which no edge leads are marked as LEAF."""
    inner = np.zeros(2 * len(table), np.bool_)
    for slot in table:
        if slot:
            inner[slot >> _U40] = True
    smaller = np.zeros(capacity, np.uint64)
    edges, mask = address(smaller), np.uint64(capacity - 1)
    for slot in table:
        if slot:
            at = find_edge(edges, mask, slot >> _U40, slot >> _U32 & _BYTE)
            store_u64(edges, at, slot if inner[slot & _LOW32] else slot | np.uint64(LEAF))
    for i in range(len(two)):
        if two[i] and not inner[two[i]]:
            two[i] |= LEAF
    return smaller


@kernel(inline=True)
def longest_token(tables, word, n):
    """The longest token at the beginning of the n bytes at an address (n at least 1)."""
    first = np.uint64(load_u8(word, _U0))
    best = np.uint32(first)
    if n == _U1:
        return best
    node, i = load_u32(tables.two, first << _U8 | np.uint64(load_u8(word, _U1))), np.uint64(2)
    while node:
        if node & np.uint32(LEAF):
            return node ^ np.uint32(LEAF)
        if node < tables.n_tokens:
            best = node
        if i == n:
            break
        at = find_edge(tables.edges, tables.edge_mask, node, load_u8(word, i))
        node = np.uint32(load_u64(tables.edges, at) & _LOW32)
        i += _U1
    return best


@kernel(inline=True)
def backtrack(tables, word, n, tokens, places, closed):
    """Encodes the n bytes at an address, 1 to MAX_BYTES, and returns how many tokens there are.

    tokens, places: addresses of uint32[n] and int64[n + 1], for each token and where it begins (at the end, n).
    closed: that of uint64[n // 64 + 1], for a bit for each place from which there is no way to the end.
    """
    for i in range((n >> _U6) + _U1):
        store_u64(closed, i, _U0)
    at, count = _U0, _U0
    token = longest_token(tables, word, n)
    while at < n:
        shape = field(tables, token, SHAPE)
        end = at + np.uint64(shape >> np.uint32(PREFIX_BITS))
        if load_u64(closed, end >> _U6) >> (end & _LOW6) & _U1 == _U0 and (
            count == _U0 or fit(tables, load_u32(tokens, count - _U1), token, _ALL)
        ):
            store_u32(tokens, count, token)
            store_i64(places, count, np.int64(at))
            count += _U1
            at = end
            if at < n:
                token = longest_token(tables, word + at, n - at)
            continue
        token = shape & np.uint32(NO_PREFIX)
        while token == np.uint32(NO_PREFIX):  # nothing fits here: back by one token, to try a shorter one
            store_u64(closed, at >> _U6, load_u64(closed, at >> _U6) | _U1 << (at & _LOW6))
            count -= _U1
            at = load_u64(places, count)
            token = field(tables, load_u32(tokens, count), SHAPE) & np.uint32(NO_PREFIX)
    store_i64(places, count, np.int64(n))
    return count
