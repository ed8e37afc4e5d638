"""Expectation maximization (EM) of the probabilities of seed pieces, and pruning by the loss of likelihood.

As in SentencePiece (Kudo, "Subword regularization", 2018, section 3.2). A model is one array: the probabilities (or
expected counts) of the characters by their dense ids, from 1, then those of the longer pieces. All logarithms and digammas
are computed here; the kernels only multiply and add.
"""

from __future__ import annotations

import functools
import queue
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import tries as kernels
from gputok.models.unigram.seeds import SIZES, greatest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.kernels.cpu.train_unigram.tries import Trie
    from gputok.models.unigram.seeds import Seeds, Text, Words
    from gputok.types import Positions, Positions32, Scores

_LEAST_EXPECTED = 0.5  # a piece that is expected to occur less often is dropped

# The share of a character's expected count that `prune` uses when the character replaces a longer piece: much of the count
# comes from segmentations that are never the best. With 1/2, held-out text of four corpora had more tokens; with 1/16,
# that of three corpora was less likely.
_CHARACTER_SHARE = 0.25

_TASKS = 16  # that each thread gets, if there are enough tries
_LONGEST_TASK = 64  # tries, which take about 0.05 s
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


def expect(words: Words, p: Scores, threads: int) -> tuple[Scores, list[tuple[Scores, Positions32]]]:
    """The E-step: returns the expected counts, float64[k], and of the words of each trie what `mean_log_likelihood` takes.

    p: float64[k], the probabilities of pieces.
    """
    scale = 2.0 ** min(40, 62 - words.n_characters.bit_length())
    slots: queue.SimpleQueue[Any] = queue.SimpleQueue()
    tables = []
    for _ in range(threads):
        table = np.zeros(2 * len(p))  # for each piece, a probability and (as int64) a count
        table[::2] = p
        tables.append(table.view(np.int64))
        slots.put((table, tables[-1]))

    def work(tries: Sequence[Trie]) -> list[tuple[Scores, Positions32]]:
        slot = slots.get()
        spelt = [kernels.expect(trie, *slot, words.shift, scale) for trie in tries]
        slots.put(slot)
        return spelt

    spelt = [pair for pairs in pool.run(work, _shares(words.tries, threads), threads) for pair in pairs]
    counts = functools.reduce(np.add, [table[1::2] for table in tables])
    return counts / scale, spelt


def mean_log_likelihood(words: Words, spelt: Sequence[tuple[Scores, Positions32]]) -> float:
    """Returns the mean logarithm of a word's likelihood, which EM raises.

    spelt: of the words of each trie, as `expect` returns them: the probability, divided by a power of 2, and its exponent.
    """
    likelihood = sum(
        float((trie.weight * (np.log(total) - kernels.LOG_HUGE * exponent)).sum())
        for trie, (total, exponent) in zip(words.tries, spelt, strict=True)
    )
    return likelihood / max(1, words.n_words)


def _shares(tries: Sequence[Trie], threads: int) -> list[tuple[Sequence[Trie]]]:
    """Divides tries among tasks: few, since handing out one costs as much as a tenth of a trie, but short ones."""
    size = max(1, min(_LONGEST_TASK, len(tries) // (_TASKS * threads)))
    return [(tries[i : i + size],) for i in range(0, len(tries), size)]


def maximize(counts: Scores, n_characters: int, threads: int, task_size: int = SIZES.pieces) -> Scores:
    """The M-step, Bayesian as in SentencePiece: returns probabilities, float64[k]; rare pieces get 0 (are dropped).

    counts: float64[k], expected counts. The characters (the first n_characters of the k) are never dropped, so that every
    word can be written; their expected counts are taken as at least _LEAST_EXPECTED. task_size: how many pieces one task
    works on.
    """
    kept = np.where(counts >= _LEAST_EXPECTED, counts, 0)
    kept[1:n_characters] = np.maximum(counts[1:n_characters], _LEAST_EXPECTED)
    log_total = digamma(np.array([kept.sum()]))[0]
    p = np.zeros_like(kept)

    def sharpen(part: slice) -> None:
        live = part.start + np.flatnonzero(kept[part])
        p[live] = np.exp(digamma(kept[live]) - log_total)

    list(pool.run(sharpen, ((slice(i, i + task_size),) for i in range(0, len(p), task_size)), threads))
    return p


def prune(
    text: Text,
    seeds: Seeds,
    numbers: Positions,
    p: Scores,
    counts: Scores,
    target: int,
    threads: int,
) -> Scores:
    """Returns the probabilities, float64[k], with 0 for all but about `target` pieces; these cost the least likelihood.

    The cost of dropping a piece is its share of all words, times the difference between the logarithm of its probability
    and that of its best segmentation into other pieces. In this segmentation, the counts of the other pieces are those of
    a model without the piece (they grow by its count), and the counts of characters are multiplied by _CHARACTER_SHARE. A
    piece is always dropped if a segmentation into other pieces is already more likely.

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
    n = max(1, text.sizes.pieces // 16)  # each takes longer here than in the M-step
    slices = [(numbers[live[i : i + n]],) for i in range(0, len(live), n)]
    loss = np.concatenate([np.empty(0), *pool.run(losses, slices, threads)])
    live, loss = live[loss > -np.inf], loss[loss > -np.inf]
    kept = live[greatest(loss, target - (n_characters - 1))]
    pruned = np.zeros_like(p)
    pruned[:n_characters], pruned[kept] = p[:n_characters], p[kept]
    return pruned


def drop_dead_pieces(words: Words, numbers: Positions, p: Scores, threads: int) -> tuple[Positions, Scores]:
    """Returns (numbers, p) without the pieces of probability 0, and renumbers the pieces in the tries of `words`.

    Then the tries have fewer arcs, and the entries that they refer to lie closer together. As long as only few pieces have
    been dropped, nothing changes.
    """
    kept = np.append(0, np.flatnonzero(p))  # 0, which is no character, stays 0
    if len(p) <= _SPARSE * len(kept):
        return numbers, p
    renumbered = np.full(len(p), kernels.NO_ARC)
    renumbered[kept] = np.arange(len(kept))

    def renumber(tries: Sequence[Trie]) -> None:
        for trie in tries:
            kernels.renumber(trie, renumbered, words.shift)

    list(pool.run(renumber, _shares(words.tries, threads), threads))
    return numbers[kept], p[kept]
