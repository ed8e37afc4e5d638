"""Training a Unigram model: tries of words, and expectation over them.

Everything here works on ranges of words that do not depend on the number of threads, and what threads add up are
integers: the same bits come out for any number of them. `suffixes.py` makes the text and the pieces.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import kernel
from .ragged import longer
from .suffixes import NO_ARC

_BLOCK = 64  # characters whose arcs are gathered before they are written
_TINY = 2.0**-256  # forward sums below this are scaled up, by an exact power of two
_HUGE = 2.0**256
_LOG_HUGE = math.log(_HUGE)


class Trie(NamedTuple):
    """Some of the sorted words as prefix tries in preorder.

    Word w shares its first `lcp[w]` nodes with the words before it and owns the others, which stand at
    `node[w]:node[w + 1]`. The arcs of a node are the pieces of two and more characters that end there.
    """

    lcp: np.ndarray  # int32[words], 0 for the first
    node: np.ndarray  # int64[words + 1]
    weight: np.ndarray  # int64[words], how often each word occurs
    character: np.ndarray  # uint32[nodes], dense character id
    arc: np.ndarray  # int64[nodes + 1], row offsets of arcs
    arcs: np.ndarray  # uint32[arcs], piece << shift | length - 1


# -------------------------------------------------------------------------------------------------------- trie


@kernel
def fill_trie(text, words, lcp, n_chars, node, first, last, arc_at, parent, longest, shift):
    """Characters, row offsets and arcs of the trie of the sorted words first:last: the last fields of a `Trie`.

    The arcs that begin at each character are `arc_at` and its parents (see `Seeds`); node int64[last - first + 1].
    """
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    n_nodes = node[len(node) - 1]
    character, arc = np.empty(n_nodes, np.uint32), np.zeros(n_nodes + 1, np.int64)
    arcs, n_arcs = np.empty(4 * n_nodes + 1024, np.uint32), 0
    longest, ring = max(np.int64(1), longest), np.int64(1)
    while ring < longest + _BLOCK:
        ring *= 2
    ending = np.empty((ring, longest), np.uint32)  # the arcs to the next nodes, the longest first
    n_ending = np.zeros(ring, np.int64)
    row = np.uint64(ring - 1)
    for w in range(first, last):
        p, common = np.uint64(words[w]), np.int64(lcp[w])
        v = node[w - first]
        for block in range(max(0, common + 1 - longest), n_chars[w], _BLOCK):
            stop = min(block + _BLOCK, n_chars[w])
            for at in range(block, stop):
                new = arc_at[p + np.uint64(at)]
                while new != NO_ARC:
                    to = at + np.int64(new & mask)
                    if to < common:
                        break  # prefixes of this piece are shorter still
                    to = np.uint64(to) & row
                    ending[to, np.uint64(n_ending[to])] = new
                    n_ending[to] += 1
                    new = parent[np.uint64(new >> shift)]
            if n_arcs + _BLOCK * longest > len(arcs):
                arcs = longer(arcs, n_arcs, 2 * n_arcs + _BLOCK * longest)
            for at in range(max(block, common), stop):
                here = np.uint64(at) & row
                for i in range(n_ending[here]):
                    arcs[np.uint64(n_arcs)] = ending[here, np.uint64(i)]
                    n_arcs += 1
                n_ending[here] = 0
                character[v] = text[p + np.uint64(at)]
                v += 1
                arc[v] = n_arcs
    return character, arc, arcs[:n_arcs].copy()


# ----------------------------------------------------------------------------------------------------------- EM


@kernel
def expect(trie, char, n_char, piece, n_piece, shift, scale):
    """One E-step over the words of a trie: adds expected counts, times `scale`, and gives their log-likelihood.

    Probabilities are `char[:, 0]` and `piece[:, 0]` (float64); the same arrays seen as int64 are `n_char` and `n_piece`,
    whose `[:, 1]` get the counts: what belongs together is fetched together. Arcs of pieces without
    probability are dropped from the trie.

    Forward and backward in linear space: `s[d]` is the probability that the first d characters of the present word
    are spelt, divided by 2**(-256 * e[d]). Exact powers of two keep it in range, so the only rounding is that of
    products and sums in a fixed order. Expected counts are rounded to integers one by one; integers commute.
    A node is left backward as soon as no later word shares it, while its arcs are still at hand.
    """
    lcp, node, weight, character, arc_end, arcs = trie
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    n_words = len(weight)
    deepest = 0
    for w in range(n_words):
        deepest = max(deepest, lcp[w] + node[w + 1] - node[w])
    s, e, d = np.empty(deepest + 1), np.zeros(deepest + 1, np.int32), np.zeros(deepest + 1)
    path = np.empty(deepest, np.uint64)  # the node below each depth
    power = np.array([1.0, _HUGE, _HUGE * _HUGE, _HUGE * _HUGE * _HUGE])
    s[0] = 1.0
    likelihood = 0.0
    stop, kept = np.int64(0), np.int64(0)
    for w in range(n_words):
        depth = np.int64(lcp[w])
        total, here = s[depth], e[depth]
        for v in range(node[w], node[w + 1]):
            total *= char[np.uint64(character[np.uint64(v)]), 0]
            # Exponents only grow: if the farthest that an arc can reach has this one, so have all.
            alike = here == 0 or e[np.uint64(max(np.int64(0), depth - np.int64(mask)))] == here
            start, stop = stop, arc_end[np.uint64(v + 1)]
            for i in range(start, stop):
                arc = arcs[np.uint64(i)]
                p = piece[np.uint64(arc >> shift), 0]
                arcs[np.uint64(kept)] = arc
                kept += p > 0.0
                u = np.uint64(depth - np.int64(arc & mask))
                if alike:
                    total += s[u] * p
                else:
                    total += s[u] * p * power[min(here - e[u], 3)]
            arc_end[np.uint64(v + 1)] = kept
            if total < _TINY:
                total *= _HUGE
                here += 1
            path[np.uint64(depth)] = v
            depth += 1
            s[np.uint64(depth)], e[np.uint64(depth)] = total, here
        likelihood += weight[w] * (math.log(total) - _LOG_HUGE * here)

        shared = np.int64(lcp[w + 1]) if w + 1 < n_words else np.int64(0)
        g = d[depth] + weight[w] * scale / total
        d[depth] = 0.0
        while depth > shared:
            here = e[np.uint64(depth)]
            depth -= 1
            v = path[np.uint64(depth)]
            alike = here == 0 or e[np.uint64(max(np.int64(0), depth - np.int64(mask)))] == here
            for i in range(arc_end[v], arc_end[v + np.uint64(1)]):
                arc = arcs[np.uint64(i)]
                u, k = np.uint64(depth - np.int64(arc & mask)), np.uint64(arc >> shift)
                x = g * piece[k, 0]
                if not alike:
                    x *= power[min(here - e[u], 3)]
                d[u] += x
                n_piece[k, 1] += np.int64(x * s[u] + 0.5)
            c = np.uint64(character[v])
            g *= char[c, 0]
            if not alike:
                g *= power[min(here - e[np.uint64(depth)], 3)]
            n_char[c, 1] += np.int64(g * s[np.uint64(depth)] + 0.5)
            g += d[np.uint64(depth)]
            d[np.uint64(depth)] = 0.0
        d[depth] = g
    return likelihood


@kernel
def best_spellings(text, place, length, arc_at, parent, shift, log_char, log_piece, pieces):
    """For each of some pieces, its best spelling by other pieces and characters (Viterbi).

    text[place[k]:] is where piece k stands; the arcs that begin at each character are `arc_at` and its parents.
    -> log-probability float64[n]; the parts of all, int32[parts], each spelling's last to first: a piece, or
    -1 - character; and row offsets int64[n + 1]. Among equals the first found wins: shorter last parts.
    """
    longest, n_chars = np.int64(1), np.int64(0)
    for k in pieces:
        longest = max(longest, length[k])
        n_chars += length[k]
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    score, rows = np.empty(len(pieces)), np.zeros(len(pieces) + 1, np.int64)
    parts, n_parts = np.empty(n_chars, np.int32), np.int64(0)
    best = np.empty(longest + 1)
    back = np.empty(longest + 1, np.int64)
    for i in range(len(pieces)):
        k = pieces[i]
        p, n = place[k], length[k]
        best[0] = 0.0
        best[1 : n + 1] = -np.inf
        for at in range(n):
            character = text[p + at]
            x = best[at] + log_char[character]
            if x > best[at + 1]:
                best[at + 1] = x
                back[at + 1] = -1 - np.int64(character)
            arc = arc_at[p + at]
            while arc != NO_ARC:
                stop, piece = at + np.int64(arc & mask) + 1, np.int64(arc >> shift)
                if stop <= n and piece != k:
                    x = best[at] + log_piece[piece]
                    if x > best[stop]:
                        best[stop] = x
                        back[stop] = piece
                arc = parent[piece]
        score[i] = best[n]
        at = np.int64(n)
        while at > 0:
            parts[n_parts] = back[at]
            at -= length[back[at]] if back[at] >= 0 else 1
            n_parts += 1
        rows[i + 1] = n_parts
    return score, parts[:n_parts].copy(), rows
