"""Training of BPE, in plain Python."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable

import numpy as np

from .. import BpeLimits, BpeMerges, ParityLimits


def count_characters(
    data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, *, byte_level: bool, n_roles: int
) -> np.ndarray:
    """How often each character stands in each role (not first: 1, last: 2): int64[characters, n_roles]."""
    totals = np.zeros((0x110000, n_roles), np.int64)
    for word, count in zip(_words(data, offsets, byte_level), counts, strict=True):
        for i, character in enumerate(word):
            totals[ord(character), _role(n_roles, i, word)] += count
    return totals


def spell_words(
    data: np.ndarray, offsets: np.ndarray, ids: np.ndarray, *, byte_level: bool, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """The words as symbols (dtype[m], offsets int64[u + 1]); ids: int32[characters, roles], -1 drops a character."""
    spelt = [
        [token for i, c in enumerate(word) if (token := ids[ord(c), _role(ids.shape[1], i, word)]) >= 0]
        for word in _words(data, offsets, byte_level)
    ]
    return np.array([*itertools.chain(*spelt)], dtype), np.cumsum([0, *map(len, spelt)], dtype=np.int64)


def _words(data: np.ndarray, offsets: np.ndarray, byte_level: bool) -> list[str]:
    encoding = "latin-1" if byte_level else "utf-8"
    return [data[a:b].tobytes().decode(encoding) for a, b in itertools.pairwise(offsets)]


def _role(n_roles: int, i: int, word: str) -> int:
    return 0 if n_roles == 1 else (i > 0) + 2 * (i == len(word) - 1)


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of the words symbols[offsets[i]:offsets[i + 1]] (token ids), each with its count.

    tokens, token_offsets: the strings of the tokens there are (uint8[bytes], int64[t + 1]).

    This is the queue of the namesake, entry by entry. An entry owns the words known when it was queued, and merging
    a pair does not lower that pair's own count. That matters only where two merges spell the same string: then
    a pair can be queued twice, and is merged again, in the words of the older entry, once its count is corrected.
    Of two equal entries that which was pushed first comes first (there it depends on hash order, but is mostly so).
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights = counts.tolist()
    words = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    count: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for (a, _), (b, _) in itertools.pairwise(word):
            count[a, b] += weights[i]
            where[a, b].add(i)

    queue: list[tuple[int, tuple[int, int], int, set[int]]] = []  # -count, pair, number of the entry, words
    n_queued = itertools.count()
    merges = []
    while len(names) < limits.vocab_size:
        for pair, found in where.items():
            if count[pair] > 0:
                heapq.heappush(queue, (-count[pair], pair, next(n_queued), found))
        where.clear()
        while queue and -queue[0][0] != (current := count[queue[0][1]] % 2**64):
            heapq.heapreplace(queue, (-current, queue[0][1], next(n_queued), queue[0][3]))
        if not queue or -queue[0][0] < max(1, limits.min_frequency):
            break
        _, (a, b), _, found = heapq.heappop(queue)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
        merges.append((a, b, new))
        for i in found:
            words[i], changes = merge_word(words[i], a, b, new, limits.max_token_length)
            for pair, sign in changes:
                count[pair] += sign * weights[i]
                if sign > 0:
                    where[pair].add(i)

    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    return BpeMerges(*columns, text, np.cumsum([0, *map(len, names)], dtype=np.int64))


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
    """All merges of parity-aware BPE over words as in `train_bpe`; tokens and token_offsets likewise.

    languages: int64[words], which language's training word each is, from `limits.languages` on (plus the language)
    development words.

    Every merge is the most frequent pair of one language, among equals that of the last strings, and is applied to
    all. That language is the longest, or with `ratio` the least compressed for its ratio. A language without a pair is
    exhausted. As in `train_bpe`, merging a pair forgets its count and the words known to have it, whatever is left.
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
        *_, a, b = max(able)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
        merges.append((a, b, new))
        for language in range(2 * n):
            # Development words are merged wherever the pair stands
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
    return BpeMerges(*columns, text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def choose_language(urgency: list[float], recent: deque[int], limits: ParityLimits) -> int:
    """The most urgent language, the first of equals, but one that isn't too frequent in `recent`, if there is one.

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
            return chosen  # nobody is left; the namesake sometimes looks for one forever
        waiting.add(chosen)


def merge_word(
    word: list[tuple[int, int]], a: int, b: int, new: int, max_length: int
) -> tuple[list[tuple[int, int]], list[tuple[tuple[int, int], int]]]:
    """The word (token, length in initial symbols) with each (a, b) merged, and the pairs lost (-1) and won (+1).

    >>> merge_word([(0, 1), (1, 1), (2, 1), (2, 1), (3, 1)], 2, 2, 4, 10)  # h e l l o -> h e ll o
    ([(0, 1), (1, 1), (4, 2), (3, 1)], [((1, 2), -1), ((1, 4), 1), ((2, 3), -1), ((4, 3), 1)])
    """
    merged: list[tuple[int, int]] = []
    changes = []
    i = 0
    while i < len(word):
        if [token for token, _ in word[i : i + 2]] != [a, b]:
            merged.append(word[i])
            i += 1
            continue
        length = word[i][1] + word[i + 1][1]
        if merged:
            left, left_length = merged[-1]
            changes += [((left, a), -1)] + [((left, new), 1)] * (left_length + length < max_length)
        if i + 2 < len(word):
            right, right_length = word[i + 2]
            changes += [((b, right), -1)] + [((new, right), 1)] * (right_length + length < max_length)
        merged.append((new, length))
        i += 2
    return merged, changes
