"""Training a Unigram model: tries of words, and the E-step of EM over them: how often each piece (token) is expected.

All functions work on ranges of words that do not depend on the number of threads, and threads add up only integers: so
the result has the same bits for any number of threads. `suffixes.py` makes the text and the pieces.
"""

from __future__ import annotations

import math

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import longer
from gputok.kernels.cpu.primitives.memory import prefetch, view
from gputok.kernels.cpu.train_unigram.suffixes import NO_ARC
from gputok.kernels.signatures import I32s, I64s, NamedTuple, U16orU32, U32s, f64, i32, i64, u32

_AHEAD = 8  # how many words or pieces ahead to prefetch: they lie anywhere in the text
_BLOCK = 64  # characters whose arcs are gathered before they are written
_TINY = 2.0**-256  # forward sums below this are scaled up, by an exact power of two
_HUGE = 2.0**256
LOG_HUGE = math.log(_HUGE)


class Trie(NamedTuple):
    """Some of the sorted words as prefix tries, in preorder; a node is a prefix of a word, one character or more.

    Word w shares its first `lcp[w]` nodes with the words before it; the arcs of its other nodes follow, up to
    `arcs[stop[w]]`. An arc is piece << shift | length - 1. A node has the arcs of all pieces that end at it. The piece
    of one character comes first, and so marks where the arcs of a node begin.
    """

    lcp: I32s  # int32[words], 0 for the first
    weight: I64s  # int64[words], how often each word occurs
    deepest: int  # number of characters of the longest word
    stop: I64s  # int64[words]
    arcs: U32s  # uint32[arcs]


# -------------------------------------------------------------------------------------------------------- trie


@kernel(U16orU32, i64[:], i32[:], i64[:], i64, i64, u32[:], u32[:], i64, i64)
def fill_trie(text, words, lcp, n_chars, first, last, arc_at, parent, longest, shift):
    """Makes `stop` and `arcs` of the `Trie` of the sorted words first:last; word w begins at text[words[w]].

    arc_at[position] is the longest arc of two characters or more that begins there; parent[piece], the next shorter.
    """
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    n_nodes = 0
    for w in range(first, last):
        n_nodes += n_chars[w] - lcp[w]
    stops = np.empty(last - first, np.int64)
    arcs, n_arcs = np.empty(6 * n_nodes + 1024, np.uint32), 0
    longest, ring = max(np.int64(1), longest), np.int64(1)
    while ring < longest + _BLOCK:
        ring *= 2
    ending = np.empty((ring, longest), np.uint32)  # the arcs that end at the next nodes, the longest first
    n_ending = np.zeros(ring, np.int64)
    row = np.uint64(ring - 1)
    source, longest_at, prefix = view(text), view(arc_at), view(parent)
    for w in range(first, last):
        later = min(w + _AHEAD, last - 1)
        prefetch(source, words[later] + np.int64(lcp[later]))
        prefetch(longest_at, words[later] + max(np.int64(0), np.int64(lcp[later]) + 1 - longest))
        prefetch(longest_at, words[later] + np.int64(lcp[later]))
        p, common = np.uint64(words[w]), np.int64(lcp[w])
        for block in range(max(0, common + 1 - longest), n_chars[w], _BLOCK):
            stop = min(block + _BLOCK, n_chars[w])
            for at in range(block, stop):
                new = longest_at[p + np.uint64(at)]
                while new != NO_ARC:
                    to = at + np.int64(new & mask)
                    if to < common:
                        break  # the parents of this arc are shorter still
                    to = np.uint64(to) & row
                    ending[to, np.uint64(n_ending[to])] = new
                    n_ending[to] += 1
                    new = prefix[np.uint64(new >> shift)]
            if n_arcs + _BLOCK * longest > len(arcs):
                arcs = longer(arcs, n_arcs, 2 * n_arcs + _BLOCK * longest)
            for at in range(max(block, common), stop):
                arcs[np.uint64(n_arcs)] = np.uint32(source[p + np.uint64(at)]) << shift
                n_arcs += 1
                here = np.uint64(at) & row
                for i in range(n_ending[here]):
                    arcs[np.uint64(n_arcs)] = ending[here, np.uint64(i)]
                    n_arcs += 1
                n_ending[here] = 0
        stops[w - first] = n_arcs
    return stops, arcs[:n_arcs].copy()


@kernel(Trie, u32[:], i64)
def renumber(trie, numbers, shift):
    """Gives the pieces of a trie the numbers numbers[old]; drops a piece if its new number is NO_ARC."""
    stop, arcs = trie.stop, trie.arcs
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    i, kept = 0, 0
    for w in range(len(stop)):
        while i < stop[w]:
            arc = arcs[np.uint64(i)]
            number = numbers[np.uint64(arc >> shift)]
            arcs[np.uint64(kept)] = number << shift | arc & mask
            kept += number != NO_ARC
            i += 1
        stop[w] = kept


# ----------------------------------------------------------------------------------------------------------- EM


@kernel(Trie, f64[:], i64[:], i64, f64)
def expect(trie, p, count, shift, scale):
    """One E-step over the words of a trie: adds expected counts, times `scale`.

    p[2 * k] (float64) is the probability of piece k; `count` is the same memory as int64, and count[2 * k + 1] gets the
    count of piece k, so that both lie in one cache line.
    -> the probability of each word divided by 2**(-256 * n), float64[words], and n, int32[words].

    Forward and backward pass, without logarithms: `s[d]` is the probability of the first d characters of the word,
    divided by 2**(-256 * e[d]). These exact powers of two keep `s` in range, so that only products and sums in a fixed
    order are rounded. Each expected count is rounded to an integer: sums of integers don't depend on their order. The
    backward pass handles a node as soon as no later word shares it, while its arcs are still in the cache.
    """
    lcp, weight, deepest, stop, arcs = trie
    mask = np.uint32((1 << shift) - 1)
    shift, one = np.uint32(shift), np.uint64(1)
    n_words = len(weight)
    spelt, exponent = np.empty(n_words), np.empty(n_words, np.int32)
    s, e, d = np.empty(deepest + 1), np.zeros(deepest + 1, np.int32), np.zeros(deepest + 1)
    arcs_end = np.empty(deepest + 1, np.int64)  # where the arcs of the node at each depth end
    power = np.array([1.0, _HUGE, _HUGE * _HUGE, _HUGE * _HUGE * _HUGE])
    s[0] = 1.0
    i = np.int64(0)
    for w in range(n_words):
        depth, end = np.int64(lcp[w]), stop[w]
        total, here = s[depth], e[depth]
        exponent[w] = here
        while i < end:
            # The arc of one character, then the longer arcs.
            total *= p[np.uint64(arcs[np.uint64(i)] >> shift) << one]
            # Exponents only grow: if the farthest node from which an arc comes has this one, all between have it.
            alike = here == 0 or e[np.uint64(max(np.int64(0), depth - np.int64(mask)))] == here
            i += 1
            while i < end:
                arc = arcs[np.uint64(i)]
                if arc & mask == 0:
                    break
                u = np.uint64(depth - np.int64(arc & mask))
                x = s[u] * p[np.uint64(arc >> shift) << one]
                if alike:
                    total += x
                else:
                    total += x * power[min(here - e[u], 3)]
                i += 1
            if total < _TINY:
                total *= _HUGE
                here += 1
                exponent[w] = here  # a store here makes this a branch: a select would wait for each sum
            depth += 1
            s[np.uint64(depth)], e[np.uint64(depth)], arcs_end[np.uint64(depth)] = total, here, i
        spelt[w] = total

        shared = np.int64(lcp[w + 1]) if w + 1 < n_words else np.int64(0)
        g = d[depth] + weight[w] * scale / total
        d[depth] = 0.0
        while depth > shared:
            here = e[np.uint64(depth)]
            j = np.uint64(arcs_end[np.uint64(depth)])
            depth -= 1
            alike = here == 0 or e[np.uint64(max(np.int64(0), depth - np.int64(mask)))] == here
            while True:
                j -= one
                arc = arcs[j]
                k = np.uint64(arc >> shift) << one
                if arc & mask == 0:
                    break
                u = np.uint64(depth - np.int64(arc & mask))
                x = g * p[k]
                if not alike:
                    x *= power[min(here - e[u], 3)]
                d[u] += x
                count[k | one] += np.int64(x * s[u] + 0.5)
            g *= p[k]
            if not alike:
                g *= power[min(here - e[np.uint64(depth)], 3)]
            count[k | one] += np.int64(g * s[np.uint64(depth)] + 0.5)
            g += d[np.uint64(depth)]
            d[np.uint64(depth)] = 0.0
        d[depth] = g
    return spelt, exponent


@kernel(U16orU32, i64[:], i64[:], u32[:], u32[:], i64, f64[:], i64[:])
def best_spellings(text, begins, length, arc_at, parent, shift, log_p, pieces):
    """Finds the best spelling of each of `pieces` by other pieces (Viterbi).

    Piece k stands at text[begins[k]:]; arc_at, parent: as in `fill_trie`.
    -> log-probability float64[n]; the parts of all spellings, int64[parts], each spelling from its last part to its
    first; and row offsets int64[n + 1]. Of equal spellings the first one found wins: that with shorter last parts.
    """
    longest, n_chars = np.int64(1), np.int64(0)
    for k in pieces:
        longest = max(longest, length[k])
        n_chars += length[k]
    mask = np.uint32((1 << shift) - 1)
    shift = np.uint32(shift)
    score, rows = np.empty(len(pieces)), np.zeros(len(pieces) + 1, np.int64)
    parts, n_parts = np.empty(n_chars, np.int64), np.int64(0)
    best = np.empty(longest + 1)
    back = np.empty(longest + 1, np.int64)
    source, longest_at, prefix, log_of = view(text), view(arc_at), view(parent), view(log_p)
    for i in range(len(pieces)):
        later = begins[pieces[min(i + _AHEAD, len(pieces) - 1)]]
        prefetch(source, later)
        prefetch(longest_at, later)
        k = pieces[i]
        at, n = begins[k], length[k]
        best[0] = 0.0
        best[1 : n + 1] = -np.inf
        for start in range(n):
            character = np.int64(source[at + start])
            x = best[start] + log_of[character]
            if x > best[start + 1]:
                best[start + 1] = x
                back[start + 1] = character
            arc = longest_at[at + start]
            while arc != NO_ARC:
                stop, piece = start + np.int64(arc & mask) + 1, np.int64(arc >> shift)
                if stop <= n and piece != k:
                    x = best[start] + log_of[piece]
                    if x > best[stop]:
                        best[stop] = x
                        back[stop] = piece
                arc = prefix[piece]
        score[i] = best[n]
        stop = np.int64(n)
        while stop > 0:
            parts[n_parts] = back[stop]
            stop -= length[back[stop]]
            n_parts += 1
        rows[i + 1] = n_parts
    return score, parts[:n_parts].copy(), rows
