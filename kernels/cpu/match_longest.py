"""A trie of byte strings as one hash table of edges, and the stage `match_longest`: WordPiece on it."""

from __future__ import annotations

import numpy as np
from gputok.kernels import WordPieceTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.cpu.trie import ROOT, follow
from gputok.kernels.signatures import i64, u32


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
    edges, mask = view(tables.edges), np.uint64(len(tables.edges) - 1)
    ids, begins, stops = tokens
    behind_prefix = np.uint64(ROOT)  # where a token that continues a word begins
    for byte in tables.prefix:
        behind_prefix = follow(edges, mask, behind_prefix, byte)[0]
    t = np.int64(0)
    for w in range(len(rows) - 1):
        rows[w] = t
        first, last = starts[w], ends[w]
        n_chars = np.int64(0)
        for p in range(first, last):
            n_chars += data[p] & np.uint8(0xC0) != np.uint8(0x80)
        fits = n_chars <= tables.max_chars
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
                ids[t], begins[t], stops[t] = id - U1, at, stop
                t, at = t + 1, stop
        if not fits:
            t = rows[w]
            ids[t], begins[t], stops[t] = tables.unk, first, last
            t += 1
    rows[len(rows) - 1] = t
    return t
