"""Training of parity-aware BPE, in plain Python."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeMerges, ParityLimits

from tests.reference.train_bpe import merge_word


def train_parity_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    languages: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: ParityLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """Learns all merges of parity-aware BPE; the other arguments are those of `train_bpe`.

    languages: int64[words], the language of each training word; of development words, that plus `limits.languages`.

    Each merge is the most frequent pair of one language (of equal pairs, the pair whose strings come last), and is
    applied to all languages. That language is the longest, or with `ratio` the language that is compressed least for
    its ratio. A language without a pair is exhausted. As in `train_bpe`, merging a pair resets its count and its known
    words, even if occurrences are left.
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights, n = counts.tolist(), limits.languages
    words = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    count: list[Counter[tuple[int, int]]] = [Counter() for _ in range(2 * n)]
    where: list[defaultdict[tuple[int, int], set[int]]] = [defaultdict(set) for _ in range(2 * n)]
    lengths = [0] * n
    for i, (word, language) in enumerate(zip(words, languages.tolist(), strict=True)):
        for (a, _), (b, _) in itertools.pairwise(word):
            count[language][a, b] += weights[i]
            where[language][a, b].add(i)
        if (language >= n) == limits.dev:
            lengths[language % n] += weights[i] * len(word)
    first = lengths.copy()
    exhausted = {language for language in range(n) if limits.ratio and first[language] == 0}
    recent: deque[int] = deque(maxlen=limits.window)

    def urgency(language: int) -> float:
        if language in exhausted:
            return -math.inf
        if limits.ratio:
            return -(first[language] / lengths[language]) / limits.ratio[language]
        return lengths[language]

    merges: list[tuple[int, int, int]] = []
    merge_counts: list[int] = []
    while len(merges) < limits.merges and len(exhausted) < n:
        if len(merges) < limits.global_merges:
            chosen, candidates = -1, Counter()
            for counter in count[:n]:
                candidates.update(counter)
        else:
            chosen = choose_language([urgency(language) for language in range(n)], recent, limits)
            candidates = count[chosen]
            recent.append(chosen)
        least = max(1, limits.min_frequency)
        able = [(c, names[a], names[b], a, b) for (a, b), c in candidates.items() if c >= least]
        if not able and chosen < 0:
            break
        if not able:
            exhausted.add(chosen)
            continue
        picked, *_, a, b = max(able)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
        merges.append((a, b, new))
        merge_counts.append(picked)
        for language in range(2 * n):
            # Development words are merged wherever the pair occurs
            longest = limits.max_token_length if language < n else 2**62
            for i in where[language].pop((a, b), ()):
                before = len(words[i])
                words[i], changes = merge_word(words[i], a, b, new, longest)
                for pair, sign in changes:
                    count[language][pair] += sign * weights[i]
                    if sign > 0:
                        where[language][pair].add(i)
                if (language >= n) == limits.dev:
                    lengths[language % n] -= weights[i] * (before - len(words[i]))
                count[language][a, b] = 0

    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    return BpeMerges(*columns, np.array(merge_counts, np.int64), text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def choose_language(urgency: list[float], recent: deque[int], limits: ParityLimits) -> int:
    """The most urgent language (the first of equals) that isn't too frequent in `recent`, if any.

    >>> choose_language([5, 9], deque([1, 1]), ParityLimits(2, 9, window=2, threshold=0.5))
    0
    """
    waiting: set[int] = set()
    while True:
        able = [i for i, value in enumerate(urgency) if i not in waiting and value > -math.inf]
        chosen = max(able, key=urgency.__getitem__, default=0)
        if limits.window == 0 or recent.count(chosen) / limits.window <= limits.threshold:
            return chosen
        if chosen in waiting or len(waiting) == len(urgency) - 1:
            return chosen  # no language is left; upstream sometimes loops forever here
        waiting.add(chosen)
