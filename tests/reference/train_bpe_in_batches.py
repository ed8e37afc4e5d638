"""Training of BPE many merges at a time, in plain Python: what those of the CPU and of CUDA do, and why it is exact.

Pairs are ordered by falling count, then by rising ids: one merge at a time takes the first. A *batch* is the longest
prefix p1, p2, ..., pk of that order such that no id is the left part of one of them and the right part of one of them.
(A pair of equal ids has such an id; it makes a batch alone, if it comes first.) A batch's pairs are merged at once.

**Claim.** The merges are those of one at a time, in the same order.

Proof. Let pi = (ai, bi), let C be the counts, and let ni be the id that pi becomes. Ids of merges are larger than all
before them. A batch of one pair is one merge; let there be more, so that no ai is a bj (also for i = j).

1. *Occurrences don't overlap.* If two of them shared a symbol, it would be the right part of one and the left part of
   the other. So merging them from left to right, one pair after the other, or all at once gives the same words.
2. *Merging pi changes no count of another pair pj of the batch.* It takes counts from pairs (x, ai) and (bi, y) alone.
   If such a pair were pj, ai would be a right part, or bi a left part.
3. *What comes later stays later.* Claim: before each merge of the batch, every pair outside of it sorts after those of
   the batch that are left. It holds in the beginning, as the batch is a prefix. Merging pi lowers counts of pairs
   outside, which moves them back, and makes pairs (x, ni), (ni, y) and (ni, ni).
   An occurrence of (x, ni) was one of (x, ai), so that C(x, ni) is at most what C(x, ai) was, and (x, ai) was outside
   (by 2). Let pj be left. C(x, ai) <= C(pj). If C(x, ni) < C(pj), it sorts after pj. Otherwise the counts of all three
   are equal, and (x, ai) sorts after pj = (aj, bj) by its ids. So x > aj, or x = aj; in both cases (x, ni) sorts after
   pj as well, in the second since ni > bj.
   (ni, y) and (ni, ni) come from (bi, y) and (bi, ai) in the same way, and ni > aj.
4. So after p1 the first pair is p2, and so on to pk. []

Any part of a batch from its beginning on is a batch, too: it may be cut anywhere, and a batch of one pair is one merge.

Two options change the order. With `shorter_first`, equal counts are ordered by the length and string of the new token:
then (x, ni) of 3 sorts after (x, ai) because its string is longer. With a veto or `max_token_length`, some pairs don't
count. If (x, ai) doesn't, neither does (x, ni), because what a veto forbids in a string it forbids in each longer
string that contains it; so all new pairs that count come from pairs that did, and 3 holds.

It needs that a merge makes a new id. If it spells a token that is there (a special token, say), the id of that one need
not be larger than others: such a merge ends its batch, since 3 is not needed for the last one.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges

from tests.reference.train_bpe import may_merge

Word = list[tuple[int, int]]  # tokens, with their lengths in initial symbols


def train_bpe_in_batches(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    sizes: list[int] | None = None,
    most: int = 2**62,
) -> BpeMerges:
    """`reference.train_bpe` for `limits` without a prefix, in batches of at most `most` merges.

    `sizes` becomes the sizes of the batches.
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights = counts.tolist()
    words: list[Word] = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    merges: list[tuple[int, int, int]] = []
    merge_counts: list[int] = []
    lengths = [1] * len(names)  # in initial symbols

    def order(pair: tuple[int, int]) -> tuple[int, int, bytes, tuple[int, int]]:
        shorter_first = limits.shorter_first
        length, name = lengths[pair[0]] + lengths[pair[1]], names[pair[0]] + names[pair[1]]
        return -found[pair], length if shorter_first else 0, name if shorter_first else b"", pair

    while len(names) < limits.vocab_size:
        found = count_pairs(words, weights, limits.max_token_length)
        frequent = [
            (a, b)
            for (a, b), count in found.items()
            if count >= max(1, limits.min_frequency) and may_merge(names[a], names[b], limits.veto)
        ]
        batch: dict[tuple[int, int], int] = {}
        for a, b in leading_pairs(sorted(frequent, key=order))[:most]:
            if len(names) == limits.vocab_size:
                break
            name = names[a] + names[b]
            is_new = name not in ids
            batch[a, b] = ids.setdefault(name, len(names))
            merges.append((a, b, batch[a, b]))
            merge_counts.append(found[a, b])
            if not is_new:
                break
            names.append(name)
            lengths.append(lengths[a] + lengths[b])
        if not batch:
            break
        words = [merge_batch(word, batch) for word in words]
        if sizes is not None:
            sizes.append(len(batch))
    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    return BpeMerges(*columns, np.array(merge_counts, np.int64), text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def count_pairs(words: list[Word], weights: list[int], max_length: int) -> Counter[tuple[int, int]]:
    """How often each pair stands in all words. Pairs longer than `max_length` don't count; two symbols always do."""
    found: Counter[tuple[int, int]] = Counter()
    for word, weight in zip(words, weights, strict=True):
        for (a, m), (b, n) in itertools.pairwise(word):
            if m + n < max_length or m + n == 2:
                found[a, b] += weight
    return found


def leading_pairs(order: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The batch with which this order of pairs begins.

    >>> leading_pairs([(3, 4), (3, 5), (1, 4), (4, 6)])
    [(3, 4), (3, 5), (1, 4)]
    >>> leading_pairs([(3, 3), (1, 2)]), leading_pairs([(1, 2), (3, 3)])
    ([(3, 3)], [(1, 2)])
    """
    left, right = set(), set()
    for n, (a, b) in enumerate(order):
        left.add(a)
        right.add(b)
        if left & right:
            return order[: max(n, 1)]
    return order


def merge_batch(word: Word, batch: dict[tuple[int, int], int]) -> Word:
    """The word with each pair of a batch merged.

    >>> merge_batch([(1, 1), (2, 1), (1, 1), (2, 1), (3, 1)], {(1, 2): 9})
    [(9, 2), (9, 2), (3, 1)]
    """
    merged: Word = []
    i = 0
    while i < len(word):
        pair = tuple(token for token, _ in word[i : i + 2])
        if (new := batch.get(pair)) is None:  # type: ignore[call-overload]
            merged.append(word[i])
            i += 1
        else:
            merged.append((new, word[i][1] + word[i + 1][1]))
            i += 2
    return merged
