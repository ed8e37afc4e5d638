"""A trie of byte strings as one hash table of edges."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import plain
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U8, U32
from gputok.kernels.cpu.primitives.hashing import hash_pair
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.signatures import boolean, i64, u8, u32, u64

ROOT = 1


@kernel(inline=True)
def follow(edges, mask, node, byte):
    """Follows an edge: (child, id + 1 of the string that ends there, or 0); child 0: no such edge.

    edges: flat view of uint64[capacity, 2]: a key, node << 8 | byte (0: free), and its value, (id + 1) << 32 | child.
    """
    key = node << U8 | np.uint64(byte)
    at = hash_pair(key) & mask
    while True:
        there = edges[at << U1]
        if there == key:
            value = edges[at << U1 | U1]
            return value & LOW32, value >> U32
        # `slot_of` would return free slots, too. Their values must not be read: they are arbitrary, or another thread
        # writes them at this moment
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
    """The edges of packed strings (uint8[n_bytes], int64[n + 1]) with ids uint32[n]; of equal ones the last counts."""
    return grow_trie(new_edges(len(offsets)), ROOT, data, offsets, ids, replace=True)[0]


def new_edges(n: int) -> np.ndarray:
    """The edges of a trie without strings, with room for n nodes: n distinct strings need n or more."""
    size = 1024
    while 3 * n > 2 * (size - 1):
        size *= 2
    return np.zeros((size, 2), np.uint64)


def grow_trie(
    edges: np.ndarray,
    n_nodes: int,
    data: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    *,
    replace: bool,
) -> tuple[np.ndarray, int]:
    """Adds strings to the edges of a trie, in place while there is room.

    Kernels may read the edges meanwhile: if they ignore strings with the new ids, they find the same as before.
    n_nodes: what was returned with the edges, or ROOT for none; replace: of equal strings the last counts.
    -> edges and n_nodes; n_nodes is -1 if, without `replace`, the trie has one of the strings.
    """
    strings, n = (plain(data, np.uint8), plain(offsets, np.int64), plain(ids, np.uint32)), 0
    while True:
        n, n_nodes = _add(edges, n_nodes, n, strings, replace)
        if n == len(ids) or n_nodes < 0:
            return edges, n_nodes
        smaller, edges = edges, np.zeros((2 * len(edges), 2), np.uint64)
        _move(smaller, edges)


@kernel(u64[:, :], i64, i64, (u8[:], i64[:], u32[:]), boolean)
def _add(edges, n_nodes, first, strings, replace):
    """Adds the strings from `first` on. -> the number of strings that the trie has now, and of its nodes or -1."""
    mask, (data, offsets, ids) = np.uint64(len(edges) - 1), strings
    edges, text, n_nodes = view(edges), view(data), np.uint64(n_nodes)
    for i in range(first, len(ids)):
        if np.uint64(3) * (n_nodes + np.uint64(offsets[i + 1] - offsets[i])) > np.uint64(2) * mask:
            return i, np.int64(n_nodes)
        node, at = np.uint64(ROOT), U0
        for p in range(offsets[i], offsets[i + 1]):
            key = node << U8 | np.uint64(text[p])
            at = slot_of(edges, mask, key)
            if edges[at << U1] == U0:
                n_nodes += U1
                edges[at << U1 | U1] = n_nodes
                edges[at << U1] = key
            node = edges[at << U1 | U1] & LOW32
        if node != np.uint64(ROOT):
            if edges[at << U1 | U1] > LOW32 and not replace:
                return i, np.int64(-1)
            edges[at << U1 | U1] = (np.uint64(ids[i]) + U1) << U32 | node
    return len(ids), np.int64(n_nodes)


@kernel(u64[:, :], u64[:, :])
def _move(old, new):
    """Puts the edges of a table in a larger one."""
    n, mask = len(old), np.uint64(len(new) - 1)
    old, new = view(old), view(new)
    for i in range(n):
        if old[2 * i]:
            at = slot_of(new, mask, old[2 * i])
            new[at << U1], new[at << U1 | U1] = old[2 * i], old[2 * i + 1]


@kernel(u64[:, :], i64, u64[:])
def _children(edges, node, values):
    mask, edges = np.uint64(len(edges) - 1), view(edges)
    for byte in range(256):
        child, string = follow(edges, mask, np.uint64(node), byte)
        values[byte] = string << U32 | child


def children_of(edges, node=ROOT):
    """The edges of a node, by bytes: uint64[256], id + 1 of the string that ends there or 0, << 32 | child."""
    values = np.empty(256, np.uint64)
    _children(edges, int(node), values)
    return values


def prefixes(data, offsets):
    """For each byte p of each packed string i: which string is data[offsets[i]:p], or -1 for none; int64[n_bytes]."""
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
