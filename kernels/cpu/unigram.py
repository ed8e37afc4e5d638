"""Training a Unigram model: a trie of words, and expectation over it.

Everything here works on ranges of words or chunks that do not depend on the number of threads, and what threads add up
are integers: the same bits come out for any number of them. `suffixes.py` makes the text and the pieces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import kernel

_TINY = 2.0**-256  # forward sums below this are scaled up, by an exact power of two
_HUGE = 2.0**256


class Trie(NamedTuple):
    """The unique words, sorted, as prefix tries in preorder: one trie for each chunk of words.

    Word w shares its first `lcp[w]` nodes with the words before it in its chunk and owns the others, which stand at
    `node[w]:node[w + 1]`. The arcs of a node are the pieces of two and more characters that end there.
    """

    lcp: np.ndarray  # int32[words]
    node: np.ndarray  # int64[words + 1]
    weight: np.ndarray  # int64[words], how often each word occurs
    character: np.ndarray  # uint32[nodes], dense character id
    parent: np.ndarray  # int32[nodes], steps back to the parent node; 0: at the root
    arc: np.ndarray  # int64[nodes + 1], row offsets of arcs
    arcs: np.ndarray  # uint32[arcs], piece << shift | length - 1


# -------------------------------------------------------------------------------------------------------- trie


@kernel
def measure_words(text, words, first, last, fresh, lcp, n_chars):
    """lcp and length of the sorted words first:last; `fresh[w]`: a chunk begins with word w, nothing is shared."""
    for w in range(first, last):
        p = words[w]
        common = 0
        if not fresh[w]:
            q = words[w - 1]
            while text[p + common] != 0 and text[p + common] == text[q + common]:
                common += 1
        lcp[w] = common
        n = common
        while text[p + n] != 0:
            n += 1
        n_chars[w] = n


@kernel
def count_arcs(words, n_chars, lcp, node, first, last, piece_at, parent, length, longest, arcs_of):
    """arcs_of[v] += pieces that end at node v, over the nodes that the words first:last own."""
    for w in range(first, last):
        p, common = words[w], np.int64(lcp[w])
        own = node[w] - common - 1  # node at depth d: own + d
        for at in range(max(0, common + 1 - longest), n_chars[w] - 1):
            piece = piece_at[p + at]
            while piece >= 0:
                depth = at + length[piece]
                if depth <= common:
                    break  # prefixes of this piece are shorter still
                arcs_of[own + depth] += 1
                piece = parent[piece]


@kernel
def fill_trie(trie, words, n_chars, text, first, last, piece_at, parent, length, longest, shift, place, path):
    """Writes characters, parents and arcs of the nodes that the words first:last own; place starts as trie.arc."""
    for w in range(first, last):
        p, common = words[w], np.int64(trie.lcp[w])
        own = trie.node[w] - common - 1
        for depth in range(common + 1, n_chars[w] + 1):
            node = own + depth
            trie.character[node] = text[p + depth - 1]
            trie.parent[node] = 0 if depth == 1 else node - path[depth - 1]
            path[depth] = node
        for at in range(max(0, common + 1 - longest), n_chars[w] - 1):
            piece = piece_at[p + at]
            while piece >= 0:
                depth = at + length[piece]
                if depth <= common:
                    break
                node = own + depth
                trie.arcs[place[node]] = piece << shift | (length[piece] - 1)
                place[node] += 1
                piece = parent[piece]


@kernel
def drop_arcs(arc, arcs, first, last, p_piece, shift, kept):
    """Moves the arcs of nodes first:last whose piece is alive to the front of their range; kept[v] = how many."""
    at = arc[first]
    for v in range(first, last):
        before = at
        for i in range(arc[v], arc[v + 1]):
            piece = arcs[i] >> shift
            if p_piece[piece] > 0:
                arcs[at] = arcs[i]
                at += 1
        kept[v] = at - before


# ----------------------------------------------------------------------------------------------------------- EM


@kernel
def expect(
    trie, first, last, p_char, p_piece, shift, scale, alpha, exponent, n_char, n_piece, word_p, word_e
):
    """One E-step over the words first:last of one chunk: adds expected counts, times `scale`, to n_char and n_piece.

    Forward and backward over the trie in linear space. `alpha[v]` is the probability that a prefix is spelt, divided by
    2**(-256 * exponent[v]): exact powers of two keep it in range, so the only rounding is that of products
    and sums in a fixed order. Expected counts are rounded to integers one by one; integers commute.
    The probability of word w is word_p[w] * 2**(-256 * word_e[w]).
    """
    mask = np.uint32((1 << shift) - 1)
    shift32 = np.uint32(shift)
    base = trie.node[first]
    deepest = 0
    for w in range(first, last):
        deepest = max(deepest, trie.lcp[w] + trie.node[w + 1] - trie.node[w])
    s = np.empty(deepest + 1)
    e = np.zeros(deepest + 1, np.int32)
    d = np.zeros(deepest + 1)
    power = np.array([1.0, _HUGE, _HUGE * _HUGE, _HUGE * _HUGE * _HUGE])
    s[0] = 1.0
    for w in range(first, last):
        depth = np.int64(trie.lcp[w])
        for v in range(trie.node[w], trie.node[w + 1]):
            here = e[np.uint64(depth)]
            total = s[np.uint64(depth)] * p_char[trie.character[v]]
            for i in range(trie.arc[v], trie.arc[v + 1]):
                arc = trie.arcs[np.uint64(i)]
                u = np.uint64(depth - np.int64(arc & mask))
                x = s[u] * p_piece[arc >> shift32]
                if e[u] != here:
                    x *= power[min(here - e[u], 3)]
                total += x
            if total < _TINY:
                total *= _HUGE
                here += 1
            depth += 1
            s[np.uint64(depth)] = total
            e[np.uint64(depth)] = here
            alpha[np.uint64(v - base)] = total
            exponent[np.uint64(v - base)] = here
        word_p[w], word_e[w] = s[depth], e[depth]

    shared = np.int64(0)  # depth to which s and e already hold the path of word w
    for w in range(last - 1, first - 1, -1):
        common = np.int64(trie.lcp[w])
        depth = common + trie.node[w + 1] - trie.node[w]
        v = trie.node[w + 1] - 1
        node, at = v, depth
        while at > shared:
            s[np.uint64(at)] = alpha[np.uint64(node - base)]
            e[np.uint64(at)] = exponent[np.uint64(node - base)]
            node -= np.int64(trie.parent[node])
            at -= 1
        shared = common
        d[depth] += trie.weight[w] * scale / s[depth]
        while depth > common:
            g = d[np.uint64(depth)]
            d[np.uint64(depth)] = 0.0
            here = e[np.uint64(depth)]
            depth -= 1
            character = trie.character[np.uint64(v)]
            x = g * p_char[character]
            if e[np.uint64(depth)] != here:
                x *= power[min(here - e[np.uint64(depth)], 3)]
            d[np.uint64(depth)] += x
            n_char[character] += np.int64(x * s[np.uint64(depth)] + 0.5)
            for i in range(trie.arc[v], trie.arc[v + 1]):
                arc = trie.arcs[np.uint64(i)]
                u = np.uint64(depth - np.int64(arc & mask))
                piece = arc >> shift32
                x = g * p_piece[piece]
                if e[u] != here:
                    x *= power[min(here - e[u], 3)]
                d[u] += x
                n_piece[piece] += np.int64(x * s[u] + 0.5)
            v -= 1
        d[0] = 0.0


@kernel
def best_spellings(
    text, place, length, piece_at, parent, log_char, log_piece, first, last, score, spelling, n_parts
):
    """For each of the pieces first:last, its best spelling by other pieces and characters (Viterbi).

    text[place[k]:] is where piece k stands. score[k] is the spelling's log-probability, spelling[k, :n_parts[k]] its parts,
    last to first: a piece, or -1 - character. Among equals the first found wins: shorter last parts.
    """
    best = np.empty(spelling.shape[1] + 1)
    back = np.empty(spelling.shape[1] + 1, np.int64)
    for k in range(first, last):
        if log_piece[k] == -np.inf:  # dropped already
            continue
        p, n = place[k], length[k]
        best[0] = 0.0
        best[1 : n + 1] = -np.inf
        for at in range(n):
            character = text[p + at]
            x = best[at] + log_char[character]
            if x > best[at + 1]:
                best[at + 1] = x
                back[at + 1] = -1 - np.int64(character)
            piece = piece_at[p + at]
            while piece >= 0:
                stop = at + length[piece]
                if stop <= n and piece != k:
                    x = best[at] + log_piece[piece]
                    if x > best[stop]:
                        best[stop] = x
                        back[stop] = piece
                piece = parent[piece]
        score[k] = best[n]
        parts, at = 0, np.int64(n)
        while at > 0:
            spelling[k, parts] = back[at]
            at -= length[back[at]] if back[at] >= 0 else 1
            parts += 1
        n_parts[k] = parts
