"""Training a Unigram model from word counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gputok.kernels.threads import thread_count
from gputok.models.unigram import em, seeds
from gputok.models.unigram.seeds import Seeds, Text

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts

_SEEDS_PER_PIECE = 10  # more seeds than this times the vocabulary made held-out text longer, not shorter
# of a score: the namesake reads more than 15 digits one bit off, and then breaks ties otherwise
_DECIMALS = 13
_DESIRED = 1.1  # EM ends at this many times the vocabulary; the likeliest pieces are taken of those


def train_unigram(
    words: WordCounts,
    *,
    vocab_size: int,
    initial_alphabet: Sequence[str] = (),
    shrinking_factor: float = 0.75,
    max_piece_length: int = 16,
    n_sub_iterations: int = 2,
    seed_size: int = 1_000_000,
    taken: Sequence[str] = (),
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[tuple[str, float]]:
    """Learns the `vocab_size` pieces, with log-probabilities, under which the words are likeliest.

    Every character of the words and of the initial alphabet is among them. Pieces come by falling score, then by
    code points; no piece of more than one character is one of `taken`. The result is the same, bit for bit, for any number of threads and any order of the words.

    Source: Kudo (2018), as SentencePiece and `tokenizers` train it, with four differences, each of which made
    held-out text shorter: seeds are weighted by how often their words occur; a suffix of a single repeated word can
    be a seed; there are at most ten seeds for each piece asked for; and losses use expected counts, a quarter of
    those of characters.
    """
    threads, words = thread_count(threads), words.spelled_out()
    report = progress or (lambda stage, done, total: None)

    # 1. the characters, and room for them
    text = seeds.make_text(words.data, words.offsets, words.counts, threads)
    alphabet = {chr(point) for point in text.code_points[1:]} | {
        string[0] for string in initial_alphabet if string
    }
    if len(alphabet) > vocab_size:
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the {len(alphabet)} different characters of the corpus, which "
            "a Unigram vocabulary must hold: raise it, or normalize the text"
        )

    if len(words.data) == 0:
        return [(character, 0.0) for character in sorted(alphabet)]

    # 2. seed pieces from sorted suffixes
    report("sorting suffixes", 0, 1)
    n_seeds = min(seed_size, _SEEDS_PER_PIECE * vocab_size)
    candidates = seeds.find_seeds(text, max_piece_length, n_seeds, threads)
    lattice = seeds.build_tries(text, candidates, max_piece_length, threads)
    report("sorting suffixes", 1, 1)

    # 3. expectation maximization, pruning by likelihood until few enough are left
    counts = candidates.score.astype(np.float64)
    numbers, p = np.arange(len(counts)), counts / max(1, counts.sum())
    desired = int(vocab_size * _DESIRED)
    first = np.count_nonzero(p)
    while True:
        for _ in range(n_sub_iterations):
            numbers, p = em.compact(lattice, numbers, p, threads)
            counts, objective = em.expect(lattice, p, threads)
            p = em.maximize(counts, len(text.occurrences), threads)
            live = np.count_nonzero(p)
            report(f"EM: {live} pieces, objective {objective:.4f}", first - live, first - desired)
        if np.count_nonzero(p) <= desired:
            break
        target = max(desired, int(shrinking_factor * np.count_nonzero(p)))
        p = em.prune(text, candidates, numbers, p, counts, target, threads)

    # 4. the likeliest pieces beside the alphabet
    pieces = _finalize(text, candidates, numbers, p, sorted(alphabet), vocab_size, {*taken})
    if len(pieces) < vocab_size:
        warnings.warn(
            f"the corpus gave {len(pieces)} pieces, fewer than vocab_size={vocab_size}: it has no more repeated "
            "substrings that make it likelier",
            stacklevel=2,
        )
    return pieces


def _finalize(
    text: Text,
    candidates: Seeds,
    numbers: np.ndarray,
    p: np.ndarray,
    alphabet: Sequence[str],
    vocab_size: int,
    taken: set[str],
) -> list[tuple[str, float]]:
    n_characters = len(text.occurrences)
    characters = text.code_points[1:].astype("<u4").tobytes().decode("utf-32-le")
    scored = dict(zip(characters, _scores(p[1:n_characters]), strict=True))
    live = n_characters + np.flatnonzero(p[n_characters:])
    named = zip(_spelt(text, candidates, numbers[live]), _scores(p[live]), strict=True)
    best = sorted((-score, piece) for piece, score in named if piece not in taken)
    scored |= {piece: -loss for loss, piece in best[: vocab_size - len(alphabet)]}
    # Characters that only the initial alphabet has: a little apart, as in `tokenizers`, but in a fixed order.
    least = min(scored.values(), default=0.0)
    unseen = [character for character in alphabet if character not in scored]
    scored |= {character: round(least + 0.0001 * i, _DECIMALS) for i, character in enumerate(unseen)}
    return [(piece, -loss) for loss, piece in sorted((-score, piece) for piece, score in scored.items())]


def _scores(probabilities: np.ndarray) -> list[float]:
    return np.round(np.log(probabilities), _DECIMALS).tolist()


def _spelt(text: Text, candidates: Seeds, pieces: np.ndarray) -> list[str]:
    """Pieces as strings."""
    ends = np.cumsum(candidates.length[pieces])
    starts = ends - candidates.length[pieces]
    at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(candidates.place[pieces] - starts, ends - starts)
    joined = text.code_points[text.ids[at]].astype("<u4").tobytes().decode("utf-32-le")
    return [joined[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
