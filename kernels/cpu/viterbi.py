"""The stages `viterbi` and `sample_paths`: the tokens of words by a unigram language model.

The lattice of a word has a node between its characters, and an arc with a score for each token that fits. A character
that is no token has an arc with the score of the unknown token. One walk of the trie finds all arcs that begin at one
position, so that the cost of a word is at most its length times the length of the longest token.
"""

from __future__ import annotations

import math

import numpy as np
from gputok.kernels import UnigramTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import NONE
from gputok.kernels.cpu.match_longest import tokens_of_words
from gputok.kernels.cpu.primitives.arrays import put_row
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.hashing import next_random
from gputok.kernels.cpu.primitives.memory import as_views, scratch, view
from gputok.kernels.cpu.primitives.utf8 import width
from gputok.kernels.cpu.trie import ROOT, follow
from gputok.kernels.signatures import f64, i64, u32, u64

RESET = 100_000.0
"""When sums are rounded to float32, as in SentencePiece, a sum farther from 0 is subtracted from all from it on."""


def viterbi(data, start, end, tables):
    """Cuts word i = data[start[i]:end[i]] into the tokens rows[i]:rows[i + 1] of the highest sum of scores.

    Of two paths of equal sums to one position, the path whose last token begins first wins. Neighbouring unknown
    characters become one token, or with fallback the tokens of their bytes, each of which spans all of the characters.
    data uint8[n]; start, end int64[n_words] -> ids uint32[t], start int64[t], end int64[t], rows int64[n_words + 1].
    If a word needs an unknown token that the model lacks, t is -1 - the number of that word, and no array is filled.
    """
    return tokens_of_words(_viterbi, data, start, end, tables)


def sample_paths(data, start, end, tables, alpha, n_best, random):
    """Like viterbi, but with tokens drawn at random.

    With n_best > 0, one of the n_best best paths is drawn, with weight exp(alpha * score). Else the path is drawn from
    the whole lattice, with the weights of `tokenizers`, in which alpha scales the sum up to a node again at each node.
    random: uint64[1], not 0.
    """
    return tokens_of_words(_sample_paths, data, start, end, tables, alpha, n_best, random)


@kernel(inline=True)
def rounded(x, single):
    """A sum as SentencePiece rounds it if `single`, to float32."""
    return np.float64(np.float32(x)) if single else x


@kernel(inline=True)
def longest_word(starts, ends, n_words):
    """The number of bytes of the longest word."""
    longest = np.int64(0)
    for w in range(n_words):
        longest = max(longest, ends[w] - starts[w])
    return longest


@kernel(inline=True)
def write_path(data, first, n, options, path, tokens, t):
    """Writes the tokens of the path that ends at n to `tokens`, from number t on; returns the number of all tokens now.

    options: of `options_of`; path: by position, where the token that ends there begins, its id, and scratch, each of
    n + 1 numbers of 32 bits; tokens: ids, begins, ends. All are views: arrays would be reference-counted at each word.
    """
    edges, mask, unk, single, fallback, has_fallback = options
    origin, arc, after = path
    p = n
    while p > 0:
        before = np.int64(origin[p])
        after[before] = p
        p = before
    while p < n:
        stop = np.int64(after[p])
        id = arc[stop]
        if unk >= 0 and id == np.uint32(unk):
            while stop < n and arc[after[stop]] == id:
                stop = np.int64(after[stop])
            # These unknown characters together may be a token: `tokenizers` takes it, SentencePiece (`single`) doesn't.
            node, found = np.uint64(ROOT), np.uint64(0)
            q = p
            while not single and q < stop and node:
                node, found = follow(edges, mask, node, data[first + q])
                q += 1
            if found and node:
                id = np.uint32(found - U1)
            elif has_fallback:
                known = True
                for q in range(p, stop):
                    known = known and fallback[data[first + q]] != NONE
                if known:
                    for q in range(p, stop):
                        t = put_row(tokens, t, fallback[data[first + q]], first + p, first + stop)
                    p = stop
                    continue
        t = put_row(tokens, t, id, first + p, first + stop)
        p = stop
    return t


@kernel(inline=True)
def options_of(tables):
    """The views of UnigramTables as `write_path` takes them."""
    mask, has_fallback = np.uint64(len(tables.edges) // 2 - 1), len(tables.fallback) > 0
    return tables.edges, mask, tables.unk, tables.single, tables.fallback, has_fallback


@kernel((i64, i64, i64), UnigramTables, (u32[:], i64[:], i64[:]), i64[:])
def _viterbi(words, tables, tokens, rows):
    data, starts, ends = view(words[0], np.uint8), view(words[1], np.int64), view(words[2], np.int64)
    tables = as_views(tables)
    model = options_of(tables), tables.scores, tables.unk_score
    n_words = len(rows) - 1
    longest = longest_word(starts, ends, n_words)
    best, origin = scratch(longest + 1, np.float64), scratch(longest + 1, np.int32)
    arc, after = scratch(longest + 1, np.uint32), scratch(longest + 1, np.int32)
    path = origin, arc, after
    out = view(tokens[0]), view(tokens[1]), view(tokens[2])
    best[0] = 0.0
    t = np.int64(0)
    for w in range(n_words):
        rows[w] = t
        t = best_tokens(data, starts[w], ends[w] - starts[w], model, best, path, out, t)
        if t < 0:
            return -1 - w
    rows[n_words] = t
    return t


@kernel(inline=True)
def best_tokens(data, first, n, model, best, path, out, t):
    """Writes the tokens of the word data[first:first + n], and returns the number of all tokens now.

    The result is -1 if the word needs an unknown token that the model lacks. model: the result of options_of, the
    scores, and that of the unknown token; best: float64[n + 1], best[0] is 0; path, out: as `write_path` takes them.

    `arcs_of` has a copy of this loop over arcs: with one loop for both, which calls an inline kernel for each arc, this
    one took 3 % longer.
    """
    options, scores, unk_score = model
    edges, mask, unk, in_single, _, _ = options
    origin, arc, _ = path
    for p in range(n + 1):
        origin[p] = -1
    limit = RESET if in_single else np.inf
    p = furthest = np.int64(0)
    while p < n:
        size = width(data[first + p])
        score = best[p]
        if abs(score) > limit:
            for q in range(p, furthest + 1):
                if origin[q] >= 0:
                    best[q] = rounded(best[q] - score, True)
            score = 0.0
        single = False
        node, q = np.uint64(ROOT), p
        while q < n:
            node, found = follow(edges, mask, node, data[first + q])
            if not node:
                break
            q += 1
            if found:
                total = rounded(scores[found - U1] + score, in_single)
                if origin[q] < 0 or total > best[q]:
                    best[q], origin[q], arc[q] = total, p, found - U1
                single = single or q - p == size
        furthest = max(furthest, q)
        if not single:
            q = p + size
            furthest = max(furthest, q)
            total = rounded(unk_score + score, in_single)
            if origin[q] < 0 or total > best[q]:
                if unk < 0:
                    return np.int64(-1)
                best[q], origin[q], arc[q] = total, p, unk
        p += size
    return write_path(data, first, n, options, path, out, t)


@kernel(inline=True)
def log_add(a, b):
    """log(exp(a) + exp(b))."""
    low, high = min(a, b), max(a, b)
    return high + math.log(1.0 + math.exp(low - high)) if high - low <= 50.0 else high


@kernel(inline=True)
def arcs_of(data, first, n, tables):
    """The arcs of a word, int32[n_arcs, 3]: where the arc begins, where it ends, and its token; ordered by these."""
    edges, mask = view(tables.edges), np.uint64(len(tables.edges) - 1)
    n_arcs = 0
    arcs = np.empty((0, 3), np.int32)
    for fill in range(2):  # count, then write
        if fill:
            arcs = np.empty((n_arcs, 3), np.int32)
        n_arcs = 0
        p = np.int64(0)
        while p < n:
            size = width(data[first + p])
            single = False
            node, q = np.uint64(ROOT), p
            while q < n:
                node, found = follow(edges, mask, node, data[first + q])
                if not node:
                    break
                q += 1
                if found:
                    if fill:
                        arcs[n_arcs, 0], arcs[n_arcs, 1], arcs[n_arcs, 2] = p, q, found - U1
                    n_arcs += 1
                    single = single or q - p == size
            if not single:
                if fill:
                    arcs[n_arcs, 0], arcs[n_arcs, 1], arcs[n_arcs, 2] = p, p + size, tables.unk
                n_arcs += 1
            p += size
    return arcs


@kernel(inline=True)
def draw(weights, n, random):
    """Draws the index of one of n weights; 0 if the sum of weights is 0 or infinite."""
    total = 0.0
    for i in range(n):
        total += weights[i]
    if not 0.0 < total < math.inf:
        return 0
    left = next_random(random) * total
    for i in range(n):
        left -= weights[i]
        if left < 0.0:
            return i
    return n - 1


@kernel(inline=True)
def sample_lattice(arcs, n, tables, alpha, random, origin, arc):
    """Draws a path of the whole lattice, from its end to its beginning."""
    total = np.zeros(n + 1)
    first_arc, last_arc = np.full(n + 1, -1, np.int32), np.full(n + 1, -1, np.int32)
    # The arcs that end at each position, as a list that begins with last_arc
    before = np.empty(len(arcs), np.int32)
    widest, most = np.zeros(n + 1, np.int32), 0
    for i in range(len(arcs)):
        p, q, id = arcs[i]
        x = alpha * ((tables.unk_score if id == tables.unk else tables.scores[id]) + total[p])
        if first_arc[q] < 0:
            first_arc[q] = i
        total[q] = x if arcs[first_arc[q], 2] == id else log_add(total[q], x)
        before[i], last_arc[q] = last_arc[q], i
        widest[q] += 1
        most = max(most, widest[q])
    weights, choices = np.empty(most), np.empty(most, np.int32)
    q = n
    while q > 0:
        k, i, highest = 0, last_arc[q], -math.inf
        while i >= 0:
            p, id = arcs[i, 0], arcs[i, 2]
            weights[k] = total[p] + alpha * (tables.unk_score if id == tables.unk else tables.scores[id])
            highest = max(highest, weights[k])
            choices[k] = i
            k, i = k + 1, before[i]
        for j in range(k):
            weights[j] = math.exp(weights[j] - highest)
        i = choices[draw(weights, k, random)]
        origin[q], arc[q] = arcs[i, 0], arcs[i, 2]
        q = np.int64(arcs[i, 0])


@kernel(inline=True)
def sample_best(arcs, n, tables, alpha, n_best, random, origin, arc):
    """Draws one of the n_best paths with the highest sums."""
    totals = np.empty((n + 1, n_best))
    # The last arc of each path, and the number of the path to the beginning of that arc
    came_by = np.empty((n + 1, n_best, 2), np.int32)
    counts = np.zeros(n + 1, np.int64)
    totals[0, 0], counts[0] = 0.0, 1
    for i in range(len(arcs)):
        p, q, id = arcs[i]
        for j in range(counts[p]):
            x = (tables.unk_score if id == tables.unk else tables.scores[id]) + totals[p, j]
            if counts[q] == n_best and x <= totals[q, n_best - 1]:
                break
            at = min(counts[q], n_best - 1)
            while at > 0 and totals[q, at - 1] < x:
                totals[q, at] = totals[q, at - 1]
                came_by[q, at, 0], came_by[q, at, 1] = came_by[q, at - 1, 0], came_by[q, at - 1, 1]
                at -= 1
            totals[q, at], came_by[q, at, 0], came_by[q, at, 1] = x, i, j
            counts[q] = min(counts[q] + 1, n_best)
    j = draw(np.exp(alpha * totals[n, : counts[n]]), counts[n], random)
    q = n
    while q > 0:
        i, j = came_by[q, j]
        origin[q], arc[q] = arcs[i, 0], arcs[i, 2]
        q = np.int64(arcs[i, 0])


@kernel((i64, i64, i64), UnigramTables, f64, i64, u64[:], (u32[:], i64[:], i64[:]), i64[:])
def _sample_paths(words, tables, alpha, n_best, random, tokens, rows):
    data, starts, ends = view(words[0], np.uint8), view(words[1], np.int64), view(words[2], np.int64)
    n_words = len(rows) - 1
    longest = longest_word(starts, ends, n_words)
    origin, arc = scratch(longest + 1, np.int32), scratch(longest + 1, np.uint32)
    after = scratch(longest + 1, np.int32)
    options, path = options_of(as_views(tables)), (origin, arc, after)
    out = view(tokens[0]), view(tokens[1]), view(tokens[2])
    t = np.int64(0)
    for w in range(n_words):
        rows[w] = t
        first = starts[w]
        n = ends[w] - first
        if n > 0:
            arcs = arcs_of(data, first, n, tables)
            if n_best > 0:
                sample_best(arcs, n, tables, alpha, n_best, random, origin, arc)
            else:
                sample_lattice(arcs, n, tables, alpha, random, origin, arc)
            t = write_path(data, first, n, options, path, out, t)
    rows[n_words] = t
    return t
