"""Expectation maximization over seed pieces, and pruning by the loss of likelihood, as SentencePiece does it.

Kudo, "Subword regularization" (2018), section 3.2. A model is one array: the probabilities (or expected counts) of the
characters by their dense ids, where 0 is none, and then of longer pieces. Logarithms and digamma are taken here, in one
place; the kernels only multiply and add.
"""

from __future__ import annotations

import queue

import numpy as np

from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import tries as kernels
from gputok.kernels.cpu.train_unigram.tries import Trie
from gputok.models.unigram.seeds import Seeds, Text, Words, greatest

_LEAST = 0.5  # a piece expected less often than this is dropped
# of a character's expected count, when it spells another piece: much of it is from spellings that are never the best one.
# Half made the held-out text of four corpora longer, a sixteenth made that of three less likely.
_CHARACTER_SHARE = 0.25
_SLICE = 1 << 13  # pieces in one task
_SPARSE = 1.5  # so many numbers to a piece are too many


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


def expect(words: Words, p: np.ndarray, threads: int) -> tuple[np.ndarray, float]:
    """The E-step: expected counts under probabilities `p` (float64[k] both), and the mean log-likelihood of a word."""
    scale = 2.0 ** min(40, 62 - words.n_characters.bit_length())
    slots: queue.SimpleQueue = queue.SimpleQueue()
    tables = []
    for _ in range(threads):
        table = np.zeros(2 * len(p))  # a probability, and a count as int64, for each piece
        table[::2] = p
        tables.append(table.view(np.int64))
        slots.put((table, tables[-1]))

    def work(trie: Trie) -> float:
        slot = slots.get()
        spelt, exponent = kernels.expect(trie, *slot, words.shift, scale)
        slots.put(slot)
        return float((trie.weight * (np.log(spelt) - kernels.LOG_HUGE * exponent)).sum())

    likelihood = sum(pool.run(work, ((trie,) for trie in words.tries), threads))
    return sum(table[1::2] for table in tables) / scale, likelihood / max(1, words.n_words)


def maximize(counts: np.ndarray, n_characters: int, threads: int) -> np.ndarray:
    """The M-step, Bayesian as in SentencePiece: rare pieces are dropped and counts sharpened by digamma.

    A character (the first n_characters) is never dropped, so that every word can be spelt: it counts as expected once
    in two corpora.
    """
    kept = np.where(counts >= _LEAST, counts, 0)
    kept[1:n_characters] = np.maximum(counts[1:n_characters], _LEAST)
    log_total = digamma(np.array([kept.sum()]))[0]
    p = np.zeros_like(kept)

    def sharpen(part: slice) -> None:
        live = part.start + np.flatnonzero(kept[part])
        p[live] = np.exp(digamma(kept[live]) - log_total)

    list(pool.run(sharpen, ((slice(i, i + _SLICE),) for i in range(0, len(p), _SLICE)), threads))
    return p


def prune(
    text: Text,
    seeds: Seeds,
    numbers: np.ndarray,
    p: np.ndarray,
    counts: np.ndarray,
    target: int,
    threads: int,
) -> np.ndarray:
    """Probabilities with all but about `target` pieces dropped: those whose loss would cost the least likelihood.

    The loss of a piece is its share of all words times the log-probability it gains over its best other spelling, in
    a model where that spelling takes its count, characters counting in part (_CHARACTER_SHARE). A piece that another spelling already beats is dropped. `p` and `counts`
    are of the seeds `numbers` (int64[k]).
    """
    log_p, count = np.full(len(seeds.length), -np.inf), np.zeros(len(seeds.length))
    with np.errstate(divide="ignore"):
        log_p[numbers], count[numbers] = np.log(p), counts
    count[: len(text.occurrences)] *= _CHARACTER_SHARE
    lattice = text.ids, seeds.place, seeds.length, seeds.arc_at, seeds.parent, seeds.shift, log_p
    total, n_characters = counts.sum(), len(text.occurrences)

    def losses(pieces: np.ndarray) -> np.ndarray:
        score, parts, rows = kernels.best_spellings(*lattice, pieces)
        own, n_parts = count[pieces], np.diff(rows)
        log_parts = np.log(count[parts] + np.repeat(own, n_parts))
        log_other = np.add.reduceat(log_parts, rows[:-1]) - n_parts * np.log(total + own * (n_parts - 1))
        loss = own * (np.log(own) - np.log(total) - log_other)
        return np.where(score > log_p[pieces], -np.inf, loss)

    live = n_characters + np.flatnonzero(p[n_characters:])
    slices = [(numbers[live[i : i + _SLICE]],) for i in range(0, len(live), _SLICE)]
    loss = np.concatenate([np.empty(0), *pool.run(losses, slices, threads)])
    live, loss = live[loss > -np.inf], loss[loss > -np.inf]
    kept = live[greatest(loss, target - (n_characters - 1))]
    pruned = np.zeros_like(p)
    pruned[:n_characters], pruned[kept] = p[:n_characters], p[kept]
    return pruned


def compact(words: Words, numbers: np.ndarray, p: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, p) without the pieces that were dropped, and new numbers in the tries: the arcs become fewer, and what
    they name moves together. As long as that is few, nothing changes."""
    kept = np.append(0, np.flatnonzero(p))  # 0 is no character, but keeps its place
    if len(p) <= _SPARSE * len(kept):
        return numbers, p
    renumbered = np.full(len(p), kernels.NO_ARC)
    renumbered[kept] = np.arange(len(kept))
    list(pool.run(kernels.renumber, ((trie, renumbered, words.shift) for trie in words.tries), threads))
    return numbers[kept], p[kept]
