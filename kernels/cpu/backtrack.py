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
from .lookup import FREE, NONE, capacity_for, hash_pair, index_pairs, rank_of
from .memory import address, leading_zeros, load_u8, load_u32, load_u64, store_i64, store_u32, store_u64

MAX_TOKENS = 1 << 22  # a node and a byte of the trie are 32 bits
LEAF = 1 << 31
MAX_BYTES = 63  # of a word: the places that can be come to are bits of one number

_U0, _U1, _U3, _U7, _U8, _U32, _U64 = (np.uint64(i) for i in (0, 1, 3, 7, 8, 32, 64))
_U40 = np.uint64(40)
_LOW32, _ALL = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFFFF)
_BYTE, _BYTES = np.uint64(255), np.uint64(256)


NOTHING = Backtrack(
    np.empty(0, np.uint32),
    Pairs(np.full(1, FREE), 1),
    np.empty(1, np.uint8),
    np.empty((0, 2), np.uint32),
    *(np.empty(0, dtype) for dtype in (np.uint32, np.uint8, np.uint32, np.uint64)),
)


def backtrack_tables(symbols, left, right, merged):
    """The tables of a vocabulary, or NOTHING if this way can't be taken.

    symbols: uint32[256], position in the vocabulary of each byte; left, right, merged: uint32[m], positions of the tokens of
    each merge, by rank.
    """
    symbols, n = np.concatenate([symbols, merged]).astype(np.uint32), 256 + len(merged)
    if n > MAX_TOKENS or np.bincount(symbols).max() > 1:
        return NOTHING
    own = np.arange(n, dtype=np.uint32)
    number = np.full(max(*(column.max(initial=0) for column in (symbols, left, right))) + 1, n, np.uint32)
    number[symbols] = own
    parts = np.stack([own, own], axis=1)
    parts[256:, 0], parts[256:, 1] = number[left], number[right]
    if (parts > own[:, None]).any() or (parts[256:] == own[256:, None]).any():
        return NOTHING
    pairs = index_pairs(parts[256:, 0], parts[256:, 1], np.arange(n - 256), n)
    seen = _filter_of(parts, pairs.bits)
    length, prefix, two = np.zeros(n, np.uint8), np.full(n, NONE, np.uint32), np.zeros(1 << 16, np.uint32)
    tables = Backtrack(symbols, pairs, seen, parts, prefix, length, two, NOTHING.edges)
    _find_lengths(tables)
    order = np.argsort(length, kind="stable").astype(np.uint32)
    order = order[np.count_nonzero(length == 0) :]
    edges = np.zeros(capacity_for(int(length.sum(dtype=np.int64))), np.uint64)
    if not _build_trie(parts, length, order, prefix, two, edges):
        return NOTHING
    return tables._replace(edges=_compact(edges, capacity_for(int(np.count_nonzero(edges))), two))


@kernel
def _filter_of(parts, bits):
    """A bit for each pair's hash, at least 16 times as many as there are pairs: few others meet a bit that is set."""
    seen = np.zeros(np.uint64(4) << (_U64 - leading_zeros(np.uint64(len(parts)))), np.uint8)
    mask = np.uint64(8 * len(seen) - 1)
    for i in range(256, len(parts)):
        h = hash_pair(np.uint64(parts[i, 0]) << np.uint64(bits) | np.uint64(parts[i, 1])) >> _U32 & mask
        seen[h >> _U3] |= np.uint8(1) << np.uint8(h & _U7)
    return seen


class _Addresses(NamedTuple):
    """A Backtrack as a hot loop sees it: arrays there would cost more than the search."""

    n_tokens: np.uint32
    symbols: np.uint64
    slots: np.uint64
    mask: np.uint64
    bits: np.uint64
    seen: np.uint64
    seen_mask: np.uint64
    parts: np.uint64
    prefix: np.uint64
    length: np.uint64
    two: np.uint64
    edges: np.uint64
    edge_mask: np.uint64


@kernel(inline=True)
def backtrack_addresses(tables):
    return _Addresses(
        np.uint32(len(tables.parts)),
        address(tables.symbols),
        address(tables.pairs.slots),
        np.uint64(len(tables.pairs.slots) - 1),
        np.uint64(tables.pairs.bits),
        address(tables.seen),
        np.uint64(8 * len(tables.seen) - 1),
        address(tables.parts),
        address(tables.prefix),
        address(tables.length),
        address(tables.two),
        address(tables.edges),
        np.uint64(len(tables.edges) - 1),
    )


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
            left = load_u32(tables.parts, np.uint64(left) << _U1 | _U1)
            if np.uint64(left) != limit:
                continue
            limit = np.uint64(right) + _U1
            right = load_u32(tables.parts, np.uint64(right) << _U1)
            if np.uint64(right) + _U1 == limit:
                return True
        else:
            limit = np.uint64(right) + _U1
            right = load_u32(tables.parts, np.uint64(right) << _U1)
            if np.uint64(right) + _U1 != limit:
                continue
            limit = np.uint64(left)
            left = load_u32(tables.parts, np.uint64(left) << _U1 | _U1)
            if np.uint64(left) == limit:
                return True
    return False


@kernel
def _find_lengths(tables):
    """Fills in the bytes of each token, 0 for those that are too long, or not the encoding of their own text."""
    length, where = tables.length, backtrack_addresses(tables)
    length[:256] = 1
    for token in range(256, len(length)):
        left, right = tables.parts[token]
        size = np.int64(length[left]) + np.int64(length[right])
        proper = length[left] and length[right] and size <= MAX_BYTES
        length[token] = size if proper and fit(where, left, right, np.uint64(token)) else 0


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
def _build_trie(parts, length, order, prefix, two, table):
    """Enters the tokens of `order`, shorter ones first. False: two have the same text."""
    edges, mask = address(table), np.uint64(len(table) - 1)
    n_nodes = len(length)
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
                stack[depth], stack[depth + 1] = parts[part, 1], parts[part, 0]
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
            if node < len(length):
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
        prefix[token] = longest
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
def backtrack(tables, word, n, tokens, places):
    """Encodes the n bytes at an address, 1 to MAX_BYTES, and returns how many tokens there are.

    tokens, places: addresses of uint32[n] and int64[n + 1], for each token and where it begins (at the end, n).
    """
    open_places = _ALL  # bit p: not known to be a place from which there is no way to the end
    at, count = _U0, _U0
    token = longest_token(tables, word, n)
    while at < n:
        end = at + np.uint64(load_u8(tables.length, np.uint64(token)))
        if open_places >> end & _U1 and (
            count == _U0 or fit(tables, load_u32(tokens, count - _U1), token, _ALL)
        ):
            store_u32(tokens, count, token)
            store_i64(places, count, np.int64(at))
            count += _U1
            at = end
            if at < n:
                token = longest_token(tables, word + at, n - at)
            continue
        token = load_u32(tables.prefix, np.uint64(token))
        while token == NONE:  # nothing fits here: back by one token, to try a shorter one
            open_places &= ~(_U1 << at)
            count -= _U1
            at = load_u64(places, count)
            token = load_u32(tables.prefix, np.uint64(load_u32(tokens, count)))
    store_i64(places, count, np.int64(n))
    return count
