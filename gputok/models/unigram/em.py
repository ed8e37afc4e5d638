"""Expectation maximization (EM) of the probabilities of seed pieces, and pruning by the loss of likelihood.

As in SentencePiece (Kudo, "Subword regularization", 2018, section 3.2). A model is one array: the probabilities (or
expected counts) of the characters by their dense ids, from 1, then those of the longer pieces. All logarithms and
digammas are computed here; the kernels only multiply and add.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import tries as kernels
from gputok.kernels.cpu.train_unigram.suffixes import NO_ARC
from gputok.kernels.cpu.train_unigram.tries import Trie
from gputok.models.unigram.seeds import SIZES, Seeds, Words, WordText, greatest
from gputok.types import Counts, Positions, Positions32, Scores

_LEAST_EXPECTED = 0.5  # a piece that is expected to occur less often is dropped

# The share of a character's expected count that `prune` uses when the character replaces a longer piece: much of the
# count comes from segmentations that are never the best. With 1/2, held-out text of four corpora had more tokens; with
# 1/16, that of three corpora was less likely.
_CHARACTER_SHARE = 0.25

_SPARSE = 1.5  # if there are more numbers than this for each piece, pieces are renumbered


def digamma(x: Scores) -> Scores:
    """Returns the logarithmic derivative of the gamma function at x > 0, by recurrence and an asymptotic series.

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


def expect(words: Words, p: Scores, threads: int) -> tuple[Scores, list[tuple[Trie, Scores, Positions32]]]:
    """The E-step: expected counts, float64[k], and `spelt` of `mean_log_likelihood`; p: probabilities, float64[k]."""
    scale = 2.0 ** min(40, 62 - words.n_characters.bit_length())

    def work(tries: Iterator[Trie]) -> tuple[Counts, list[tuple[Trie, Scores, Positions32]]]:
        table = np.zeros(2 * len(p))  # for each piece, a probability and (as int64) a count
        table[::2] = p
        counts = table.view(np.int64)
        return counts[1::2], [(trie, *kernels.expect(trie, table, counts, words.shift, scale)) for trie in tries]

    tables, spelt = zip(*pool.share(work, words.tries, threads), strict=True)
    return functools.reduce(np.add, tables) / scale, list(itertools.chain(*spelt))


def mean_log_likelihood(words: Words, spelt: Sequence[tuple[Trie, Scores, Positions32]]) -> float:
    """The mean log-likelihood of a word; spelt: tries, for their words the probability times 2**(256 * n), and n."""
    parts = ((trie.weight * (np.log(total) - kernels.LOG_HUGE * power)).sum() for trie, total, power in spelt)
    return math.fsum(parts) / max(1, words.n_words)


def maximize(counts: Scores, n_characters: int, threads: int, task_size: int = SIZES.pieces) -> Scores:
    """The M-step, Bayesian as in SentencePiece: returns probabilities, float64[k]; rare pieces get 0 (are dropped).

    counts: float64[k], expected counts. The characters (the first n_characters of the k) are never dropped, so that
    every word can be written; their counts are taken as at least _LEAST_EXPECTED. task_size: pieces of one task.
    """
    kept = np.where(counts >= _LEAST_EXPECTED, counts, 0)
    kept[1:n_characters] = np.maximum(counts[1:n_characters], _LEAST_EXPECTED)
    log_total = digamma(np.array([kept.sum()]))[0]
    p = np.zeros_like(kept)

    def sharpen(part: slice) -> None:
        live = part.start + np.flatnonzero(kept[part])
        p[live] = np.exp(digamma(kept[live]) - log_total)

    pool.results(sharpen, ((slice(i, i + task_size),) for i in range(0, len(p), task_size)), threads)
    return p


def prune(
    text: WordText, seeds: Seeds, numbers: Positions, p: Scores, counts: Scores, target: int, threads: int
) -> Scores:
    """Returns the probabilities, float64[k], with 0 for all but about `target` pieces; these cost the least likelihood.

    The cost of dropping a piece is its share of all words, times the difference between the logarithm of its
    probability and that of its best segmentation into other pieces. In this segmentation, the counts of the other
    pieces are those of a model without the piece (they grow by its count), and the counts of characters are multiplied
    by _CHARACTER_SHARE. A piece is always dropped if a segmentation into other pieces is already more likely.

    numbers: int64[k], the seeds that `p` and `counts` (float64[k] each) belong to.
    """
    log_p, count = np.full(len(seeds.length), -np.inf), np.zeros(len(seeds.length))
    with np.errstate(divide="ignore"):
        log_p[numbers], count[numbers] = np.log(p), counts
    count[: len(text.occurrences)] *= _CHARACTER_SHARE
    lattice = text.ids, seeds.at, seeds.length, seeds.arc_at, seeds.parent, seeds.shift, log_p
    total, n_characters = counts.sum(), len(text.occurrences)

    def losses(pieces: Positions) -> Scores:
        score, parts, rows = kernels.best_spellings(*lattice, pieces)
        counted, n_parts = count[pieces], np.diff(rows)
        log_parts = np.log(count[parts] + np.repeat(counted, n_parts))
        log_other = np.add.reduceat(log_parts, rows[:-1]) - n_parts * np.log(total + counted * (n_parts - 1))
        loss = counted * (np.log(counted) - np.log(total) - log_other)
        return np.where(score > log_p[pieces], -np.inf, loss)

    live = n_characters + np.flatnonzero(p[n_characters:])
    n = max(1, text.sizes.pieces // 16)  # a piece takes longer here than in the M-step, so a task has fewer
    slices = [(numbers[live[i : i + n]],) for i in range(0, len(live), n)]
    loss = np.concatenate([np.empty(0), *pool.results(losses, slices, threads)])
    live, loss = live[loss > -np.inf], loss[loss > -np.inf]
    kept = live[greatest(loss, target - (n_characters - 1))]
    pruned = np.zeros_like(p)
    pruned[:n_characters], pruned[kept] = p[:n_characters], p[kept]
    return pruned


def drop_dead_pieces(words: Words, numbers: Positions, p: Scores, threads: int) -> tuple[Positions, Scores]:
    """Returns (numbers, p) without the pieces of probability 0, if they are many, and renumbers those in the tries.

    Then the tries have fewer arcs, and the entries that they refer to lie closer together.
    """
    kept = np.append(0, np.flatnonzero(p))  # 0, which is no character, stays 0
    if len(p) <= _SPARSE * len(kept):
        return numbers, p
    renumbered = np.full(len(p), NO_ARC)
    renumbered[kept] = np.arange(len(kept))

    def renumber(tries: Iterator[Trie]) -> None:
        for trie in tries:
            kernels.renumber(trie, renumbered, words.shift)

    pool.share(renumber, words.tries, threads)
    return numbers[kept], p[kept]
