"""Trains a Unigram model from word counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gputok.checks import warn
from gputok.counts.word_counts import WordCounts
from gputok.kernels.threads import thread_count
from gputok.models.unigram import em, seeds
from gputok.models.unigram.seeds import Seeds, SeedSizes, WordText
from gputok.types import Positions, Scores

# With more seeds than this for each piece of the vocabulary, held-out text got more tokens
_SEEDS_PER_PIECE = 10
# Decimals of a score in a file; of more than 15 digits, tokenizers reads some scores one bit off
_DECIMALS = 13
_DESIRED = 1.1  # EM ends with this many times the pieces of the vocabulary, which takes the likeliest of them


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
    sizes: SeedSizes = seeds.SIZES,
) -> list[tuple[str, float]]:
    """Learns `vocab_size` pieces and their scores that make the words as likely as possible.

    The algorithm is that of Kudo (2018), as SentencePiece and `tokenizers` implement it, with four differences, each of
    which reduced the number of tokens of held-out text: seeds are weighted by how often their words occur; a suffix of
    a single repeated word can be a seed; at most ten seeds for each piece of the vocabulary are used; and the cost of
    dropping a piece is computed from expected counts, of which characters contribute a quarter.

    The options are those of `UnigramTrainer`; the result does not depend on `threads`, nor on `sizes` of tasks. `taken`
    are special tokens, which must not be pieces, unless they are a character.

    Returns (piece, logarithm of its probability), by falling score, then by code points. All characters of the words
    and of the initial alphabet are pieces; ValueError: more than `vocab_size`. The order of the words changes no bit.
    """
    threads, words = thread_count(threads), words.spelled_out()
    report = progress or (lambda stage, done, total: None)
    # 1. The characters, all of which become pieces
    text = seeds.make_text(words.data, words.offsets, words.counts, threads, sizes)
    alphabet = {chr(point) for point in text.code_points[1:]} | {string[0] for string in initial_alphabet if string}
    if len(alphabet) > vocab_size:
        raise ValueError(
            f"vocab_size={vocab_size} is smaller than the {len(alphabet)} different characters of the corpus, which a "
            "Unigram vocabulary must hold: raise it, or normalize the text"
        )
    if len(words.data) == 0:
        return [(character, 0.0) for character in sorted(alphabet)]
    # 2. Seed pieces from sorted suffixes
    report("sorting suffixes", 0, 1)
    n_seeds = min(seed_size, _SEEDS_PER_PIECE * vocab_size)
    # Tables have room for the longest piece, and no piece is longer than the longest word
    max_piece_length = min(max_piece_length, int(np.diff(words.offsets).max()))
    candidates = seeds.find_seeds(text, max_piece_length, n_seeds, threads)
    lattice = seeds.build_tries(text, candidates, max_piece_length, threads)
    report("sorting suffixes", 1, 1)
    # 3. EM and pruning in turn, until few enough pieces are left
    counts = candidates.score.astype(np.float64)
    numbers, p = np.arange(len(counts)), counts / max(1, counts.sum())
    desired = int(vocab_size * _DESIRED)
    first = int(np.count_nonzero(p))
    while True:
        for _ in range(n_sub_iterations):
            numbers, p = em.drop_dead_pieces(lattice, numbers, p, threads)
            counts, spelt = em.expect(lattice, p, threads)
            p = em.maximize(counts, len(text.occurrences), threads, sizes.pieces)
            if progress:
                live, objective = int(np.count_nonzero(p)), em.mean_log_likelihood(lattice, spelt)
                progress(f"EM: {live} pieces, objective {objective:.4f}", first - live, first - desired)
        if np.count_nonzero(p) <= desired:
            break
        target = max(desired, int(shrinking_factor * np.count_nonzero(p)))
        p = em.prune(text, candidates, numbers, p, counts, target, threads)
    # 4. The alphabet, and the likeliest of the other pieces
    pieces = _finalize(text, candidates, numbers, p, sorted(alphabet), vocab_size, {*taken})
    if len(pieces) < vocab_size:
        few = f"only {len(pieces)} pieces were learned, fewer than vocab_size={vocab_size}"
        warn(f"{few}: no other repeated substring makes the corpus more likely")
    return pieces


def _finalize(
    text: WordText,
    candidates: Seeds,
    numbers: Positions,
    p: Scores,
    alphabet: Sequence[str],
    vocab_size: int,
    taken: set[str],
) -> list[tuple[str, float]]:
    """Chooses the pieces of the vocabulary; numbers, p: int64[k], float64[k], the seeds left, their probabilities."""
    n_characters = len(text.occurrences)
    characters = text.code_points[1:].astype("<u4").tobytes().decode("utf-32-le")
    live = n_characters + np.flatnonzero(p[n_characters:])
    names, scores = _strings(text, candidates, numbers[live]), _scores(p[live])
    best = [i for i in _falling(names, scores) if names[i] not in taken][: vocab_size - len(alphabet)]
    names = [*characters, *(names[i] for i in best)]
    scores = np.concatenate([_scores(p[1:n_characters]), scores[best]])
    # Characters that only the initial alphabet has get slightly different scores, as in `tokenizers`, in a fixed order.
    seen, least = {*characters}, float(scores.min(initial=0.0))
    unseen = [character for character in alphabet if character not in seen]
    names += unseen
    scores = np.append(scores, [round(least + 0.0001 * i, _DECIMALS) for i in range(len(unseen))])
    order = _falling(names, scores)
    return [(names[i], score) for i, score in zip(order, scores[order].tolist(), strict=True)]


def _scores(probabilities: Scores) -> Scores:
    scores: Scores = np.log(probabilities)
    return np.round(scores, _DECIMALS)


def _falling(names: Sequence[str], scores: Scores) -> list[int]:
    """The order by falling score, then by code points, without tuples, which set off Python's garbage collector."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    ends, order = np.append(starts[1:], len(order)), order.tolist()
    for start, end in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        order[start:end] = sorted(order[start:end], key=names.__getitem__)
    return order


def _strings(text: WordText, candidates: Seeds, pieces: Positions) -> list[str]:
    """Returns the texts of seed pieces; pieces: int64[k], their numbers."""
    ends = np.cumsum(candidates.length[pieces])
    starts = ends - candidates.length[pieces]
    at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(candidates.at[pieces] - starts, ends - starts)
    characters = text.code_points[text.ids[at]].astype("<u4").tobytes().decode("utf-32-le")
    return [characters[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
