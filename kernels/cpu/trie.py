"""A trie of byte strings as one hash table of edges, and the stage `match_longest`: WordPiece on it."""

from __future__ import annotations

import numpy as np
from gputok.kernels import WordPieceTables
from gputok.kernels.signatures import i64, u8, u32

from . import kernel
from .constants import LOW32, U0, U1, U8, U32
from .hashing import hash_pair
from .lookup import plain
from .memory import as_array, owned, view
from .ragged import pointer

ROOT = 1


@kernel(inline=True)
def follow(edges, mask, node, byte):
    """(child, id + 1 of the string that ends there or 0) behind an edge; child 0: there is none.

    edges: view of uint64[capacity, 2], node << 8 | byte (0: free), id + 1 << 32 | child.
    """
    key = node << U8 | np.uint64(byte)
    at = hash_pair(key) & mask
    while True:
        there = edges[at << U1]
        if there == key:
            value = edges[at << U1 | U1]
            return value & LOW32, value >> U32
        if there == U0:
            return U0, U0
        at = (at + U1) & mask


@kernel(inline=True)
def slot_of(edges, mask, key):
    at = hash_pair(key) & mask
    while edges[at << U1] != U0 and edges[at << U1] != key:
        at = (at + U1) & mask
    return at


def build_trie(data, offsets, ids):
    """The edges of packed strings (uint8[n_bytes], int64[n + 1]) with ids uint32[n]; of equal ones the last counts."""
    return _build_trie(plain(data, np.uint8), plain(offsets, np.int64), plain(ids, np.uint32)).reshape(-1, 2)


@kernel(u8[:], i64[:], u32[:])
def _build_trie(data, offsets, ids):
    size = 1024
    edges, mask = owned(np.zeros(2 * size, np.uint64)), np.uint64(size - 1)
    text = view(data)
    n_nodes = np.uint64(ROOT)
    for i in range(len(offsets) - 1):
        node, at = np.uint64(ROOT), U0
        for p in range(offsets[i], offsets[i + 1]):
            key = node << U8 | np.uint64(text[p])
            at = slot_of(edges, mask, key)
            if edges[at << U1] == U0:
                n_nodes += U1
                edges[at << U1] = key
                edges[at << U1 | U1] = n_nodes
                if n_nodes * np.uint64(3) > np.uint64(2) * mask:
                    old = edges
                    edges, mask = owned(np.zeros(4 * size, np.uint64)), np.uint64(2 * size - 1)
                    for j in range(size):
                        if old[2 * j]:
                            at = slot_of(edges, mask, old[2 * j])
                            edges[at << U1], edges[at << U1 | U1] = old[2 * j], old[2 * j + 1]
                    size *= 2
                    at = slot_of(edges, mask, key)
            node = edges[at << U1 | U1] & LOW32
        if node != np.uint64(ROOT):
            edges[at << U1 | U1] = (np.uint64(ids[i]) + U1) << U32 | node
    return as_array(edges, 2 * size)


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
    data, starts, ends = view(words[0], np.uint8), view(words[1], np.int64), view(words[2], np.int64)
    out = view(tokens[0]), view(tokens[1]), view(tokens[2])
    pieces = word_pieces(
        view(tables.edges),
        len(tables.edges),
        view(tables.prefix),
        len(tables.prefix),
        tables.max_chars,
        tables.unk,
    )
    t = np.int64(0)
    for w in range(len(rows) - 1):
        rows[w] = t
        t = match_word(data, starts[w], ends[w], pieces, out, t)
    rows[len(rows) - 1] = t
    return t


@kernel(inline=True)
def word_pieces(edges, n_edges, prefix, n_prefix, max_chars, unk):
    """What `match_word` needs of WordPieceTables."""
    mask, behind_prefix = (
        np.uint64(n_edges - 1),
        np.uint64(ROOT),
    )  # where a token that continues a word begins
    for i in range(n_prefix):
        behind_prefix = follow(edges, mask, behind_prefix, prefix[i])[0]
    return edges, mask, behind_prefix, max_chars, unk


@kernel(inline=True)
def match_word(data, first, last, pieces, tokens, t):
    """Writes the tokens of the word data[first:last], and returns the number of all tokens now."""
    edges, mask, behind_prefix, max_chars, unk = pieces
    ids, begins, stops = tokens
    n_chars, before = np.int64(0), t
    for p in range(first, last):
        n_chars += data[p] & np.uint8(0xC0) != np.uint8(0x80)
    fits = n_chars <= max_chars
    at = first
    while fits and at < last:
        node = np.uint64(ROOT) if at == first else behind_prefix
        p, stop, id = at, at, U0
        while p < last and node:
            node, found = follow(edges, mask, node, data[p])
            p += 1
            if found:
                stop, id = p, found
        fits = stop > at
        if fits:
            ids[t] = id - U1
            begins[t] = at
            stops[t] = stop
            t, at = t + 1, stop
    if not fits:
        t = before
        ids[t] = unk
        begins[t] = first
        stops[t] = last
        t += 1
    return t
