"""The stage `match_longest`: WordPiece, which cuts a word into tokens, each the longest that begins there."""

from __future__ import annotations

import numpy as np
from gputok.kernels import WordPieceTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer, put_row
from gputok.kernels.cpu.primitives.constants import U0, U1
from gputok.kernels.cpu.primitives.memory import as_views, view
from gputok.kernels.cpu.trie import ROOT, follow
from gputok.kernels.signatures import i64, u32


def match_longest(data, start, end, tables):
    """Cuts word i = data[start[i]:end[i]] into tokens rows[i]:rows[i + 1], each the longest that fits.

    A word that can't be cut in this way, or has too many characters, becomes one unknown token.
    data uint8[n]; start, end int64[n_words] -> ids uint32[t], start int64[t], end int64[t], rows int64[n_words + 1].
    """
    return tokens_of_words(_match_longest, data, start, end, tables)[1:]


def tokens_of_words(kernel, data, start, end, tables, *options):
    """Calls a kernel that writes the tokens of words. -> its result (their number, or below 0) and the tokens."""
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    n = int((end - start).sum())
    tokens = np.empty(n, np.uint32), np.empty(n, np.int64), np.empty(n, np.int64)
    rows = np.empty(len(start) + 1, np.int64)
    t = kernel((pointer(data), pointer(start), pointer(end)), tables, *options, tokens, rows)
    return t, *(column[: max(t, 0)] for column in tokens), rows


@kernel((i64, i64, i64), WordPieceTables, (u32[:], i64[:], i64[:]), i64[:])
def _match_longest(words, tables, tokens, rows):
    data, starts, ends = view(words[0], np.uint8), view(words[1], np.int64), view(words[2], np.int64)
    out = view(tokens[0]), view(tokens[1]), view(tokens[2])
    pieces = word_pieces(as_views(tables))
    t = np.int64(0)
    for w in range(len(rows) - 1):
        rows[w] = t
        t = match_word(data, starts[w], ends[w], pieces, out, t)
    rows[len(rows) - 1] = t
    return t


@kernel(inline=True)
def word_pieces(tables):
    """The views of WordPieceTables as `match_word` takes them."""
    edges, mask = tables.edges, np.uint64(len(tables.edges) // 2 - 1)
    after_prefix = np.uint64(ROOT)  # the node where a token that continues a word begins
    for i in range(len(tables.prefix)):
        after_prefix = follow(edges, mask, after_prefix, tables.prefix[i])[0]
    return edges, mask, after_prefix, tables.max_chars, tables.unk


@kernel(inline=True)
def match_word(data, first, last, pieces, tokens, t):
    """Writes the tokens of the word data[first:last], and returns the number of all tokens now."""
    edges, mask, after_prefix, max_chars, unk = pieces
    n_chars, before = np.int64(0), t
    for p in range(first, last):
        n_chars += data[p] & np.uint8(0xC0) != np.uint8(0x80)
    fits = n_chars <= max_chars
    at = first
    while fits and at < last:
        node = np.uint64(ROOT) if at == first else after_prefix
        p, stop, id = at, at, U0
        while p < last and node:
            node, found = follow(edges, mask, node, data[p])
            p += 1
            if found:
                stop, id = p, found
        fits = stop > at
        if fits:
            t = put_row(tokens, t, id - U1, at, stop)
            at = stop
    return t if fits else put_row(tokens, before, unk, first, last)
