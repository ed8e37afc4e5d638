"""A trie of byte strings as a double array (Aoe 1989): each step is one load.

The children of a node lie at base + byte, for a number `base` that no other node has; children of other nodes may lie
between. A cell is (byte + 1) << 55 | base << 24 | token: the byte that leads to the node (0: the cell is free); the base of
its children (0: no children); and the longest token that begins the text of the node. Cells 0 to 255 are the nodes of one
byte, and each of them is a token.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U8, U32
from gputok.kernels.cpu.primitives.hashing import hash_pair
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.signatures import i64, u8, u32, u64

MAX_TOKENS = 1 << 24
CHECK, BASE = np.uint64(55), np.uint64(24)
TOKEN, BASES = np.uint64(MAX_TOKENS - 1), np.uint64((1 << 31) - 1)
# So many free cells are tried for the children of a node before the children go behind all cells: 256 instead of 16 tries
# save 5 % of the cells, and take three times as long (Qwen 3: 0.31 and 0.09 s).
_TRIES = 16


@kernel(inline=True)
def longest_token(cells, text, begin, end):
    """The longest token at the beginning of text[begin:end], which has at least one byte."""
    cell, i = cells[text[begin]], begin + U1
    while i < end:
        base = cell >> BASE & BASES
        if base == U0:
            break
        byte = np.uint64(text[i])
        child = cells[base + byte]
        if child >> CHECK != byte + U1:
            break
        cell = child
        i += U1
    return np.uint32(cell & TOKEN)


def build(data, offsets, tokens):
    """Builds the cells (uint64[]) of packed strings of at least two bytes, and the longest token that begins each token.

    data: uint8[n_bytes]; offsets: int64[n + 1], empty strings are left out; tokens: uint32[n], the numbers of the strings,
    from 256 to MAX_TOKENS. Returns None if two strings are equal.
    """
    capacity = 1 << int(2 * len(data) + 8).bit_length()
    edges = np.zeros(capacity, np.uint64)
    of_node = np.full(len(data) + 256, MAX_TOKENS - 1, np.uint32)
    of_node[:256] = np.arange(256)
    n_nodes = _enter(data, offsets, tokens, edges, of_node)
    if n_nodes < 0:
        return None
    edges = edges[edges > 0]
    parent = (edges >> np.uint64(40)).astype(np.int64)
    order = np.argsort(parent, kind="stable")
    edges, first = edges[order], np.searchsorted(parent[order], np.arange(n_nodes + 1))
    cells = np.zeros(2 * n_nodes + 1024, np.uint64)
    return _place(edges, first, of_node[:n_nodes], cells, int(tokens.max(initial=0)) + 1)


@kernel(u8[:], i64[:], u32[:], u64[:], u32[:])
def _enter(data, offsets, tokens, table, of_node):
    """Fills a hash table with the edges of the trie: (node << 8 | byte) << 32 | child.

    -> the number of nodes, or -1 if two strings are equal.
    """
    edges, mask = view(table), np.uint64(len(table) - 1)
    n_nodes = 256
    for i in range(len(tokens)):
        if offsets[i] == offsets[i + 1]:
            continue
        node = np.int64(data[offsets[i]])
        for p in range(offsets[i] + 1, offsets[i + 1]):
            key = np.uint64(node) << U8 | np.uint64(data[p])
            at = hash_pair(key) & mask
            slot = edges[at]
            while slot != U0 and slot >> U32 != key:
                at = (at + U1) & mask
                slot = edges[at]
            if slot == U0:
                slot = key << U32 | np.uint64(n_nodes)
                edges[at] = slot
                n_nodes += 1
            node = np.int64(slot & LOW32)
        if of_node[node] != MAX_TOKENS - 1:
            return -1
        of_node[node] = tokens[i]
    return n_nodes


@kernel(u64[:], i64[:], u32[:], u64[:], i64)
def _place(edges, first, of_node, cells, n_tokens):
    """Gives each node a cell, nodes of few bytes first: nodes near the root are needed most often.

    edges: uint64[n], in the order of their parents; first: int64[nodes + 1], where the edges from each node begin; of_node:
    uint32[nodes], the token that ends at each node. -> cells, and uint32[n_tokens], the longest token that begins each token.
    """
    n_nodes = len(of_node)
    prefix = np.zeros(n_tokens, np.uint32)
    queue, place = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.int64)
    taken = np.zeros(len(cells), np.bool_)  # whether a number is the base of a node
    free = np.arange(len(cells))  # of a taken cell: a cell nearer to the next free cell
    for node in range(256):
        queue[node], place[node] = node, node
        cells[node] = np.uint64(node)
    n_queued, top, lowest, scan = 256, 256, 256, 256
    for i in range(n_nodes):
        node = queue[i]
        begin, stop = first[node], first[node + 1]
        if begin == stop:
            continue
        least, most = np.int64(255), np.int64(0)
        for e in range(begin, stop):
            byte = np.int64(edges[e] >> U32 & np.uint64(255))
            least, most = min(least, byte), max(most, byte)
        while top + 1024 > len(cells):
            n = len(cells)
            cells, taken, free = _longer(cells), _longer(taken), _longer(free)
            for at in range(n, len(cells)):
                free[at] = at
        lowest = _next_free(free, lowest)
        at, tries = (lowest if stop - begin == 1 else max(scan, lowest)), 0
        while True:  # the cell for the child with the smallest byte
            at = _next_free(free, at)
            if at >= top:
                break
            fits = not taken[at - least]
            for e in range(begin, stop):
                fits = fits and cells[at - least + np.int64(edges[e] >> U32 & np.uint64(255))] == U0
            if fits:
                break
            tries += 1
            if tries == _TRIES:
                if stop - begin > 1:
                    scan = at
                at = top
                break
            at += 1
        while taken[at - least]:
            at += 1
        base = at - least
        taken[base] = True
        top = max(top, base + most + 1)
        cell, token = place[node], cells[place[node]] & TOKEN
        cells[cell] |= np.uint64(base) << BASE
        for e in range(begin, stop):
            byte, child = edges[e] >> U32 & np.uint64(255), np.int64(edges[e] & LOW32)
            own = np.uint64(of_node[child])
            if own != TOKEN:
                prefix[own] = token
            else:
                own = token
            place[child] = base + np.int64(byte)
            cells[place[child]] = (byte + U1) << CHECK | own
            free[place[child]] = place[child] + 1
            queue[n_queued] = child
            n_queued += 1
    return cells[: top + 256].copy(), prefix


@kernel(inline=True)
def _next_free(free, at):
    """The first free cell from `at` on; shortens the way to it for the next call."""
    while free[at] != at:
        free[at] = free[free[at]]
        at = free[at]
    return at


@kernel(inline=True)
def _longer(array):
    longer = np.zeros(2 * len(array), array.dtype)
    for i in range(len(array)):
        longer[i] = array[i]
    return longer
