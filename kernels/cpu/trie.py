"""A trie of byte strings as one hash table of edges, and the stage `match_longest`: WordPiece on it."""

from __future__ import annotations

import numpy as np
from gputok.kernels import WordPieceTables
from gputok.kernels.signatures import i64, u8, u32

from . import kernel
from .lookup import hash_pair, plain
from .memory import address, load_i64, load_u8, load_u64, store_u64
from .ragged import pointer

ROOT = 1
_U0, _U1, _U8, _U32 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@kernel(inline=True)
def follow(edges, mask, node, byte):
    """(child, id + 1 of the string that ends there or 0) behind an edge; child 0: there is none.

    `edges` is the address of uint64[capacity, 2]: node << 8 | byte (0: free), id + 1 << 32 | child.
    """
    key = node << _U8 | np.uint64(byte)
    at = hash_pair(key) & mask
    while True:
        there = load_u64(edges, at << _U1)
        if there == key:
            value = load_u64(edges, at << _U1 | _U1)
            return value & _LOW, value >> _U32
        if there == _U0:
            return _U0, _U0
        at = (at + _U1) & mask


@kernel(inline=True)
def slot_of(edges, mask, key):
    at = hash_pair(key) & mask
    while load_u64(edges, at << _U1) != _U0 and load_u64(edges, at << _U1) != key:
        at = (at + _U1) & mask
    return at


def build_trie(data, offsets, ids):
    """The edges of packed strings (uint8[n_bytes], int64[n + 1]) with ids uint32[n]; of equal ones the last counts."""
    return _build_trie(plain(data, np.uint8), plain(offsets, np.int64), plain(ids, np.uint32))


@kernel(u8[:], i64[:], u32[:])
def _build_trie(data, offsets, ids):
    table = np.zeros((1024, 2), np.uint64)
    edges, mask = address(table), np.uint64(1023)
    text = address(data)
    n_nodes = np.uint64(ROOT)
    for i in range(len(offsets) - 1):
        node, at = np.uint64(ROOT), _U0
        for p in range(offsets[i], offsets[i + 1]):
            key = node << _U8 | np.uint64(load_u8(text, p))
            at = slot_of(edges, mask, key)
            if load_u64(edges, at << _U1) == _U0:
                n_nodes += _U1
                store_u64(edges, at << _U1, key)
                store_u64(edges, at << _U1 | _U1, n_nodes)
                if n_nodes * np.uint64(3) > np.uint64(2) * mask:
                    old = table
                    table = np.zeros((2 * len(old), 2), np.uint64)
                    edges, mask = address(table), np.uint64(len(table) - 1)
                    for j in range(len(old)):
                        if old[j, 0]:
                            at = slot_of(edges, mask, old[j, 0])
                            table[at, 0], table[at, 1] = old[j, 0], old[j, 1]
                    at = slot_of(edges, mask, key)
            node = load_u64(edges, at << _U1 | _U1) & _LOW
        if node != np.uint64(ROOT):
            store_u64(edges, at << _U1 | _U1, (np.uint64(ids[i]) + _U1) << _U32 | node)
    return table


def match_longest(data, start, end, tables):
    """Cuts word i = data[start[i]:end[i]] into tokens rows[i]:rows[i + 1], each the longest that fits.

    A word that can't be cut so, or has too many characters, is one unknown token.
    data uint8[n]; start, end int64[n_words] -> ids uint32[t], start int64[t], end int64[t], rows int64[n_words + 1].
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    n = int((end - start).sum())
    tokens = np.empty(n, np.uint32), np.empty(n, np.int64), np.empty(n, np.int64)
    rows = np.empty(len(start) + 1, np.int64)
    t = _match_longest((pointer(data), pointer(start), pointer(end)), tables, tokens, rows)
    return *(column[:t] for column in tokens), rows


@kernel((i64, i64, i64), WordPieceTables, (u32[:], i64[:], i64[:]), i64[:])
def _match_longest(words, tables, tokens, rows):
    data, starts, ends = words
    edges, mask = address(tables.edges), np.uint64(len(tables.edges) - 1)
    ids, begins, stops = tokens
    behind_prefix = np.uint64(ROOT)  # where a token that continues a word begins
    for byte in tables.prefix:
        behind_prefix = follow(edges, mask, behind_prefix, byte)[0]
    t = np.int64(0)
    for w in range(len(rows) - 1):
        rows[w] = t
        first, last = load_i64(starts, w), load_i64(ends, w)
        n_chars = np.int64(0)
        for p in range(first, last):
            n_chars += load_u8(data, p) & np.uint8(0xC0) != np.uint8(0x80)
        fits = n_chars <= tables.max_chars
        at = first
        while fits and at < last:
            node = np.uint64(ROOT) if at == first else behind_prefix
            p, stop, id = at, at, _U0
            while p < last and node:
                node, found = follow(edges, mask, node, load_u8(data, p))
                p += 1
                if found:
                    stop, id = p, found
            fits = stop > at
            if fits:
                ids[t], begins[t], stops[t] = id - _U1, at, stop
                t, at = t + 1, stop
        if not fits:
            t = rows[w]
            ids[t], begins[t], stops[t] = tables.unk, first, last
            t += 1
    rows[len(rows) - 1] = t
    return t
