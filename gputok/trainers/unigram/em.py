"""Expectation maximization over seed pieces, and pruning by the loss of likelihood, as SentencePiece does it.

Kudo, "Subword regularization" (2018), section 3.2. Logarithms and digamma are taken here, in one place, of the few
values of the vocabulary; the kernels only multiply and add.
"""

from __future__ import annotations

import queue
from typing import NamedTuple

import numpy as np

from ... import threads as pool
from ...kernels.cpu import unigram as kernels
from .seeds import Seeds, Text, Words

_LEAST = 0.5  # a piece expected less often than this is dropped
_CHUNKS_PER_TASK = 4


class Lexicon(NamedTuple):
    """A value for every character and every piece: probabilities, or expected counts."""

    char: np.ndarray  # float64[characters + 1], by dense id; [0] is unused
    piece: np.ndarray  # float64[pieces]; 0 for a piece that was dropped

    def total(self) -> float:
        return float(self.char.sum() + self.piece.sum())

    def n_live(self) -> int:
        """How many pieces there are, single characters included."""
        return len(self.char) - 1 + int(np.count_nonzero(self.piece))


def initial_counts(text: Text, seeds: Seeds) -> Lexicon:
    """Where EM begins: occurrences for characters, occurrences times length for pieces."""
    return Lexicon(text.occurrences.astype(np.float64), seeds.score.astype(np.float64))


def digamma(x: np.ndarray) -> np.ndarray:
    """The logarithmic derivative of the gamma function for x > 0, by recurrence and its asymptotic series.

    >>> float(digamma(np.array([1.0]))[0])  # minus Euler's constant
    -0.577215664901...
    """
    x = np.array(x, np.float64)
    result = np.zeros_like(x)
    while (small := x < 10).any():
        result[small] -= 1 / x[small]
        x[small] += 1
    square = 1 / (x * x)
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return result + np.log(x) - 0.5 / x - series


def expect(words: Words, p: Lexicon, threads: int) -> tuple[Lexicon, float]:
    """The E-step: expected counts under probabilities `p`, and the mean log-likelihood of a word."""
    trie, chunks, shift = words
    weight = int((trie.weight * (trie.lcp + np.diff(trie.node))).sum())
    scale = 2.0 ** min(40, 62 - weight.bit_length())
    word_p, word_e = np.ones(len(trie.weight)), np.zeros(len(trie.weight), np.int32)
    slots: queue.SimpleQueue = queue.SimpleQueue()
    room = max((int(trie.node[b] - trie.node[a]) for a, b in chunks), default=0)
    sums = []
    for _ in range(threads):
        sums.append((np.zeros(len(p.char), np.int64), np.zeros(len(p.piece), np.int64)))
        slots.put((np.empty(room), np.empty(room, np.int32), *sums[-1]))

    def work(first_chunk: int) -> None:
        slot = slots.get()
        for a, b in chunks[first_chunk : first_chunk + _CHUNKS_PER_TASK]:
            kernels.expect(trie, a, b, p.char, p.piece, shift, scale, *slot, word_p, word_e)
        slots.put(slot)

    list(pool.run(work, ((i,) for i in range(0, len(chunks), _CHUNKS_PER_TASK)), threads))
    char, piece = (np.sum([each[i] for each in sums], axis=0) / scale for i in (0, 1))
    log_words = np.log(word_p) - 256 * np.log(2.0) * word_e
    return Lexicon(char, piece), float(trie.weight @ log_words / max(1, int(trie.weight.sum())))


def maximize(counts: Lexicon) -> Lexicon:
    """The M-step, Bayesian as in SentencePiece: rare pieces are dropped and counts sharpened by digamma.

    A character is never dropped, so that every word can be spelt: it counts as expected once in two corpora.
    """
    char = np.maximum(counts.char, _LEAST)
    char[0] = 0
    piece = np.where(counts.piece >= _LEAST, counts.piece, 0)
    log_total = digamma(np.array([char.sum() + piece.sum()]))[0]
    p = Lexicon(np.zeros_like(char), np.zeros_like(piece))
    for source, target in zip((char, piece), p, strict=True):
        live = source > 0
        target[live] = np.exp(digamma(source[live]) - log_total)
    return p


def prune(text: Text, seeds: Seeds, p: Lexicon, counts: Lexicon, target: int, threads: int) -> Lexicon:
    """Probabilities with all but about `target` pieces dropped: those whose loss would cost the least likelihood.

    The loss of a piece is its share of all words times the log-probability it gains over its best other spelling, in
    a model where that spelling takes its count. A piece that another spelling already beats is dropped.
    """
    with np.errstate(divide="ignore"):
        log_char, log_piece = np.log(p.char), np.log(p.piece)
    longest = int(seeds.length.max(initial=1))
    live = np.flatnonzero(p.piece)
    score = np.empty(len(p.piece))
    spelling = np.empty((len(p.piece), longest), np.int32)
    n_parts = np.zeros(len(p.piece), np.int64)
    lattice = (text.ids, seeds.place, seeds.length, seeds.piece_at, seeds.parent, log_char, log_piece)
    tasks = (
        (*lattice, a, min(a + 4096, len(p.piece)), score, spelling, n_parts)
        for a in range(0, len(p.piece), 4096)
    )
    list(pool.run(kernels.best_spellings, tasks, threads))

    # Counts in one array, so that a part of a spelling, a piece or -1 - character, is an index into it.
    every = np.concatenate([counts.piece, counts.char[:0:-1]])
    count, total = counts.piece[live], counts.total()
    parts = spelling[live]
    used = np.arange(longest) < n_parts[live, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_parts = np.where(used, np.log(every[np.where(used, parts, 0)] + count[:, None]), 0).sum(axis=1)
        log_other = log_parts - n_parts[live] * np.log(total + count * (n_parts[live] - 1))
        loss = count * (np.log(count) - np.log(total) - log_other)
    loss[score[live] > log_piece[live]] = -np.inf
    n_keep = max(0, target - (len(p.char) - 1))
    kept = live[np.argsort(-loss, kind="stable")[:n_keep]]
    kept = kept[np.isin(kept, live[loss > -np.inf])]
    piece = np.zeros_like(p.piece)
    piece[kept] = p.piece[kept]
    return Lexicon(p.char, piece)


def compact(words: Words, p: Lexicon, threads: int) -> Words:
    """The trie without the arcs of dropped pieces, once they are more than three in ten."""
    trie, chunks, shift = words
    if np.count_nonzero(p.piece[trie.arcs[::64] >> np.uint32(shift)]) > 0.7 * len(trie.arcs[::64]):
        return words
    kept = np.zeros(len(trie.arc), np.int64)
    edges = [(int(trie.node[a]), int(trie.node[b])) for a, b in chunks]
    tasks = ((trie.arc, trie.arcs, a, b, p.piece, shift, kept[1:]) for a, b in edges)
    list(pool.run(kernels.drop_arcs, tasks, threads))
    arc = np.cumsum(kept)
    arcs = np.empty(arc[-1], np.uint32)

    def move(a: int, b: int) -> None:
        arcs[arc[a] : arc[b]] = trie.arcs[trie.arc[a] : trie.arc[a] + arc[b] - arc[a]]

    list(pool.run(move, edges, threads))
    return Words(trie._replace(arc=arc, arcs=arcs), chunks, shift)
