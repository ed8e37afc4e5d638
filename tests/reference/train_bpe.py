"""Training of BPE, in plain Python."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges, Veto


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """Learns all merges of the words symbols[offsets[i]:offsets[i + 1]] (token ids), which occur counts[i] times.

    symbols uint32[n_symbols]; offsets int64[n_words + 1]; counts int64[n_words]; tokens, token_offsets: the strings of
    the tokens before training (uint8[bytes], int64[n_tokens + 1]); progress: not called; the faster versions call
    progress(number of merges, wanted number).

    This is the queue of `tokenizers`, entry by entry. An entry has the words that were known when it was queued, and
    merging a pair does not lower its count. Both matter only if two merges spell the same string: then a pair can be
    queued twice, and is merged again, in the words of the older entry, after its count was corrected. Of equal entries,
    the one that was pushed first comes first (in `tokenizers` that depends on hash order, but is mostly so).
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights = counts.tolist()
    words = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    count: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for (a, _), (b, _) in itertools.pairwise(word):
            if may_merge(names[a], names[b], limits.veto):
                count[a, b] += weights[i]
                where[a, b].add(i)

    lengths = [1] * len(names)  # in initial symbols

    def before_others(pair: tuple[int, int]) -> tuple[int, bytes]:
        """What comes first among equally frequent pairs, before their ids."""
        if not limits.shorter_first:
            return 0, b""
        return lengths[pair[0]] + lengths[pair[1]], names[pair[0]] + names[pair[1]]

    # -count, before_others, pair, number of the entry, words
    queue: list[tuple[int, tuple[int, bytes], tuple[int, int], int, set[int]]] = []
    n_queued = itertools.count()
    merges, merge_counts = [], []
    while len(names) < limits.vocab_size:
        for pair, found in where.items():
            if count[pair] > 0:
                heapq.heappush(queue, (-count[pair], before_others(pair), pair, next(n_queued), found))
        where.clear()
        while queue and -queue[0][0] != (current := count[queue[0][2]] % 2**64):
            heapq.heapreplace(queue, (-current, *queue[0][1:3], next(n_queued), queue[0][4]))
        if not queue or -queue[0][0] < max(1, limits.min_frequency):
            break
        minus_count, _, (a, b), _, found = heapq.heappop(queue)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
            lengths.append(lengths[a] + lengths[b])
        merges.append((a, b, new))
        merge_counts.append(-minus_count)
        for i in found:
            words[i], changes = merge_word(words[i], a, b, new, limits.max_token_length)
            for pair, sign in changes:
                if not may_merge(names[pair[0]], names[pair[1]], limits.veto):
                    continue
                count[pair] += sign * weights[i]
                if sign > 0:
                    where[pair].add(i)

    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    picked = np.array(merge_counts, np.uint64).astype(np.int64)
    return BpeMerges(*columns, picked, text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def may_merge(left: bytes, right: bytes, veto: Veto | None) -> bool:
    """Whether tokens may be merged, by their strings.

    >>> veto = Veto(max_words=2, colons=False)
    >>> may_merge(b" by", b" the", veto), may_merge(b" by the", b" w", veto), may_merge(b" by the", b"n", veto)
    (True, False, True)
    >>> may_merge(b"a:", b" ", veto), may_merge(b"a: ", b"b", veto), may_merge(b"a", b":", veto)
    (False, False, True)
    """
    if veto is None:
        return True
    merged = (left + right).replace(veto.space, b" ")
    n_words = len(merged.split(b" ")) - merged.split(b" ").count(b"")
    return (
        n_words <= veto.max_words
        and sum(byte & 0xC0 != 0x80 for byte in merged) < veto.max_characters
        and (veto.colons or b": " not in merged)
    )


def merge_word(
    word: list[tuple[int, int]], a: int, b: int, new: int, max_length: int
) -> tuple[list[tuple[int, int]], list[tuple[tuple[int, int], int]]]:
    """Merges each (a, b) in a word of (token, length in initial symbols); also returns pairs lost (-1) and won (+1).

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
