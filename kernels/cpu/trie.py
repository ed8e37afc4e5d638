"""A trie of byte strings as one hash table of edges."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import plain
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U8, U32
from gputok.kernels.cpu.primitives.hashing import hash_pair
from gputok.kernels.cpu.primitives.memory import as_array, owned, view
from gputok.kernels.signatures import i64, u8, u32, u64

ROOT = 1


@kernel(inline=True)
def follow(edges, mask, node, byte):
    """Follows an edge: (child, id + 1 of the string that ends there, or 0); child 0: no such edge.

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
    """The slot of an edge, or the free slot where it belongs."""
    at = hash_pair(key) & mask
    while edges[at << U1] != U0 and edges[at << U1] != key:
        at = (at + U1) & mask
    return at


def build_trie(data, offsets, ids):
    """Builds the edges of packed strings (uint8[n_bytes], int64[n + 1]) with ids uint32[n]; of equal strings the last counts."""
    return _build_trie(plain(data, np.uint8), plain(offsets, np.int64), plain(ids, np.uint32)).reshape(-1, 2)


@kernel(u8[:], i64[:], u32[:])
def _build_trie(data, offsets, ids):
    size = 1024
    while 3 * len(offsets) > 2 * (size - 1):  # each string that differs from all others has a node
        size *= 2
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


def prefixes(data, offsets):
    """Which of the packed strings is data[offsets[i]:p], for each byte p of each string i: int64[n_bytes], or -1."""
    data, offsets = plain(data, np.uint8), plain(offsets, np.int64)
    found = np.empty(len(data), np.int64)
    _prefixes(data, offsets, build_trie(data, offsets, np.arange(len(offsets) - 1)), found)
    return found


@kernel(u8[:], i64[:], u64[:, :], i64[:])
def _prefixes(data, offsets, edges, found):
    text, mask = view(data), np.uint64(len(edges) - 1)
    edges = view(edges)
    for i in range(len(offsets) - 1):
        node, string = np.uint64(ROOT), U0
        for p in range(offsets[i], offsets[i + 1]):
            found[p] = np.int64(string) - 1
            node, string = follow(edges, mask, node, text[p])
