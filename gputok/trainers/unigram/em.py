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
from ...kernels.cpu.unigram import Trie
from .seeds import Seeds, Text, Words, greatest

_LEAST = 0.5  # a piece expected less often than this is dropped
_SLICE = 1 << 13  # pieces in one task


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
    small = np.flatnonzero(x < 10)
    least = x[small]
    steps = sum(1 / (least + i) for i in range(10))
    x[small] = least + 10
    square = 1 / (x * x)
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    result = np.log(x) - 0.5 / x - series
    result[small] -= steps
    return result


def expect(words: Words, p: Lexicon, threads: int) -> tuple[Lexicon, float]:
    """The E-step: expected counts under probabilities `p`, and the mean log-likelihood of a word."""
    scale = 2.0 ** min(40, 62 - words.n_characters.bit_length())
    slots: queue.SimpleQueue = queue.SimpleQueue()
    tables = []
    for _ in range(threads):
        own = [np.zeros((len(values), 2)) for values in p]  # a probability, and a count as int64, for each
        for table, values in zip(own, p, strict=True):
            table[:, 0] = values
        tables.append([table.view(np.int64) for table in own])
        slots.put((own[0], tables[-1][0], own[1], tables[-1][1]))

    def work(trie: Trie) -> float:
        slot = slots.get()
        result = kernels.expect(trie, *slot, words.shift, scale)
        slots.put(slot)
        return result

    likelihood = sum(pool.run(work, ((trie,) for trie in words.tries), threads))
    counts = (np.sum([own[i][:, 1] for own in tables], axis=0) / scale for i in (0, 1))
    return Lexicon(*counts), likelihood / max(1, words.n_words)


def maximize(counts: Lexicon, threads: int) -> Lexicon:
    """The M-step, Bayesian as in SentencePiece: rare pieces are dropped and counts sharpened by digamma.

    A character is never dropped, so that every word can be spelt: it counts as expected once in two corpora.
    """
    char = np.maximum(counts.char, _LEAST)
    char[0] = 0
    piece = np.where(counts.piece >= _LEAST, counts.piece, 0)
    log_total = digamma(np.array([char.sum() + piece.sum()]))[0]
    p = Lexicon(np.zeros_like(char), np.zeros_like(piece))

    def sharpen(count: np.ndarray, probability: np.ndarray) -> None:
        live = np.flatnonzero(count)
        probability[live] = np.exp(digamma(count[live]) - log_total)

    slices = [slice(i, i + _SLICE) for i in range(0, len(piece), _SLICE)]
    list(pool.run(sharpen, [(char, p.char), *((piece[part], p.piece[part]) for part in slices)], threads))
    return p


def prune(text: Text, seeds: Seeds, p: Lexicon, counts: Lexicon, target: int, threads: int) -> Lexicon:
    """Probabilities with all but about `target` pieces dropped: those whose loss would cost the least likelihood.

    The loss of a piece is its share of all words times the log-probability it gains over its best other spelling, in
    a model where that spelling takes its count. A piece that another spelling already beats is dropped.
    """
    with np.errstate(divide="ignore"):
        log_char, log_piece = np.log(p.char), np.log(p.piece)
    lattice = (
        text.ids,
        seeds.place,
        seeds.length,
        seeds.arc_at,
        seeds.parent,
        seeds.shift,
        log_char,
        log_piece,
    )
    # Counts in one array, so that a part of a spelling, a piece or -1 - character, is an index into it.
    every, total = np.concatenate([counts.piece, counts.char[:0:-1]]), counts.total()

    def losses(pieces: np.ndarray) -> np.ndarray:
        score, parts, rows = kernels.best_spellings(*lattice, pieces)
        count, n_parts = counts.piece[pieces], np.diff(rows)
        log_parts = np.log(every[parts] + np.repeat(count, n_parts))
        log_other = np.add.reduceat(log_parts, rows[:-1]) - n_parts * np.log(total + count * (n_parts - 1))
        loss = count * (np.log(count) - np.log(total) - log_other)
        return np.where(score > log_piece[pieces], -np.inf, loss)

    live = np.flatnonzero(p.piece)
    slices = [(live[i : i + _SLICE],) for i in range(0, len(live), _SLICE)]
    loss = np.concatenate([np.empty(0), *pool.run(losses, slices, threads)])
    live, loss = live[loss > -np.inf], loss[loss > -np.inf]
    kept = live[greatest(loss, target - (len(p.char) - 1))]
    piece = np.zeros_like(p.piece)
    piece[kept] = p.piece[kept]
    return Lexicon(p.char, piece)
