"""Training parity-aware BPE: each step merges the most frequent pair of the language that is worst off (`_choose`).

The source is Foroutan et al., "Parity-Aware Byte-Pair Encoding", 2025, arXiv:2508.04796; the definition is
`tests/reference/train_parity_bpe.py`. Each of the n languages has its own words, pairs and queue, and queue 2 * n has
the sums of all languages. The development words of language i are language n + i, which is merged but never chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeMerges, ParityLimits
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import owned, view
from gputok.kernels.cpu.train_bpe import known
from gputok.kernels.signatures import Bools, F64s, I64s, NamedTuple, boolean, i64

_TOKEN_BITS, _LANGUAGE_BITS = 24, 15  # the key of a pair has its language, left and right token
_TOKEN = (1 << _TOKEN_BITS) - 1


class _Balance(NamedTuple):
    languages: I64s  # int64[words]
    visited: I64s  # int64[words], the number of merges after the last step that merged in each word
    total: F64s  # float64[languages], number of symbols of the texts to balance
    first: F64s  # float64[languages], the same before any merge
    ratio: F64s  # float64[languages], target compressions; empty: the language with the most symbols is worst off
    exhausted: Bools  # bool[languages]
    recent: I64s  # int64[window], the last choices
    chosen: I64s  # int64[languages], how often each language is among the last choices
    waiting: Bools  # bool[languages]
    threshold: float


@kernel(inline=True)
def _key(language, a, b):
    return np.int64(language) << 2 * _TOKEN_BITS | np.int64(a) << _TOKEN_BITS | np.int64(b)


@kernel(inline=True)
def _parts(key):
    return np.uint64(key >> _TOKEN_BITS & _TOKEN), np.uint64(key & _TOKEN)


@kernel(inline=True)
def _after(text, text_end, a, b):
    """Whether the string of token a comes after the string of another token b."""
    i, j = text_end[a], text_end[b]
    while i < text_end[a + 1] and j < text_end[b + 1] and text[i] == text[j]:
        i += 1
        j += 1
    return i < text_end[a + 1] and (j == text_end[b + 1] or text[i] > text[j])


@kernel(inline=True)
def _before(context, i, j):
    """The higher count, then the pair whose strings come last."""
    entries, pairs, (text, text_end) = context
    if entries[i + known.QUEUED] != entries[j + known.QUEUED]:
        return entries[i + known.QUEUED] > entries[j + known.QUEUED]
    a, b = _parts(pairs[entries[i + known.PAIR] + known.KEY])
    c, d = _parts(pairs[entries[j + known.PAIR] + known.KEY])
    return _after(text, text_end, a, c) if a != c else b != d and _after(text, text_end, b, d)


@kernel
def _queue_born(at, root, pairs, births, entries, pool, text, text_end):
    strings = owned(text), view(text_end)
    return known.queue_born(at, root, pairs, births, entries, pool, _before, strings, 2 * _TOKEN_BITS)


@kernel
def _best_pair(at, root, pairs, entries, text, text_end, queue, least):
    """The first pair of a queue, or -1. Counts that have fallen are corrected; of a pair only the last entry counts."""
    context = owned(entries), owned(pairs), (owned(text), view(text_end))
    while root[queue] >= 0:
        entry = known.pop(root, queue, _before, context)
        pair = entries[entry + known.PAIR]
        count = pairs[pair + known.COUNT]
        if count <= 0 or entry != pairs[pair + known.ENTRY]:
            continue
        if entries[entry + known.QUEUED] == count:
            return pair if count >= least else np.int64(-1)
        known.push(at, root, queue, entry, _before, context)
    return np.int64(-1)


@kernel
def _choose(at, balance):
    """Chooses the language with the most symbols, or the least compression for its target, unless it must wait."""
    _, _, total, first, ratio, exhausted, recent, chosen, waiting, threshold = balance
    n, window = len(total), len(recent)
    waiting[:] = False
    n_waiting = 0
    while True:
        best, highest = 0, -np.inf
        for language in range(n):
            if exhausted[language] or waiting[language]:
                continue
            urgency = total[language]
            if len(ratio) > 0:
                urgency = -(first[language] / total[language]) / ratio[language]
            if urgency > highest:
                best, highest = language, urgency
        if window == 0 or chosen[best] / window <= threshold or waiting[best] or n_waiting == n - 1:
            break
        waiting[best] = True
        n_waiting += 1
    if window > 0:
        index = at[known.CHOICES] % window
        if at[known.CHOICES] >= window:
            chosen[recent[index]] -= 1
        recent[index] = best
        chosen[best] += 1
        at[known.CHOICES] += 1
    return best


@kernel(inline=True)
def _changed(context, left, right, sign):
    """Adds (sign 1) or removes (-1) an occurrence of a pair in a word; if to_all > 0, also in the sum of languages."""
    at, tables, language, word, weight, to_all = context
    key = _key(language, left, right)
    known.change(at, tables, key, sign * weight, word, sign > 0)
    if to_all > 0 and weight != 0:
        known.change(at, tables, key + to_all, sign * weight, -1, sign > 0)


@kernel(known.Words, known.Grown, _Balance, i64, i64, boolean)
def _count_pairs(words, grown, balance, begin, end, in_all):
    """Counts the pairs of some words."""
    at, _, symbols, _, start, size, counts, text_end, _, root = words
    text, merges, merge_counts, slots, pairs, births, entries, pool = grown
    n, languages, scalars = len(balance.total), balance.languages, view(at)
    for word in range(begin, end):
        slots, pairs, births = known.visit(at, slots, pairs, births, size[word])
        language = languages[word]
        of_word = (
            language,
            word,
            counts[word] if language < n else 0,
            (2 * n - language) << 2 * _TOKEN_BITS if in_all else 0,
        )
        context = scalars, known.tables_of(slots, pairs, births), *of_word
        for p in range(start[word], start[word] + size[word] - 1):
            _changed(context, symbols[p], symbols[p + 1], 1)
    entries, pool = _queue_born(at, root, pairs, births, entries, pool, text, text_end)
    return known.Grown(text, merges, merge_counts, slots, pairs, births, entries, pool)


@kernel(known.Words, known.Grown, _Balance, (i64, i64, i64, i64), boolean, i64)
def _merge_pairs(words, grown, balance, limits, dev, work):
    """Merges for about `work` symbols: (whether training is done, what has grown).

    limits: merges, global_merges, min_frequency (at least 1) and max_token_length.
    """
    at, _, symbols, length, start, size, counts, text_end, _, root = words
    _, visited, total, _, _, exhausted, _, _, _, _ = balance
    text, merges, merge_counts, slots, pairs, births, entries, pool = grown
    merges_wanted, global_merges, least, max_length = limits
    n, scalars, all_symbols, lengths = len(total), view(at), view(symbols), view(length)
    done = False
    while work > 0 and not done:
        if at[known.MERGES] >= merges_wanted or at[known.EXHAUSTED] == n:
            done = True
            break
        # 1. The language, and its pair
        in_all = at[known.MERGES] < global_merges
        queue = 2 * n if in_all else _choose(at, balance)
        pair = _best_pair(at, root, pairs, entries, text, text_end, queue, least)
        work -= 1
        if pair < 0:
            done = in_all
            if not in_all and not exhausted[queue]:
                exhausted[queue] = True
                at[known.EXHAUSTED] += 1
            continue

        # 2. The merged token
        (a, b), count = _parts(pairs[pair + known.KEY]), pairs[pair + known.COUNT]
        text, merges, merge_counts, new = known.take_merge(words, text, merges, merge_counts, a, b, count)

        # 3. Merge the pair, in each language, in the words where it was born; it may have gone from some of them
        for language in range(2 * n):
            slots_of, mask, rows, _ = known.tables_of(slots, pairs, births)
            pair = slots_of[known.slot_of(slots_of, mask, rows, _key(language, a, b))] - 1
            entry = pairs[pair + known.ENTRY] if pair >= 0 else np.int64(-1)
            if entry < 0:
                continue
            pairs[pair + known.ENTRY] = -1
            merge = a, b, new, max_length if language < n else np.int64(1) << 62
            to_all = (2 * n - language) << 2 * _TOKEN_BITS if in_all else 0
            while entry >= 0:
                for i in range(entries[entry + known.START], entries[entry + known.END]):
                    word = pool[i]
                    if visited[word] == at[known.MERGES]:
                        continue
                    visited[word] = at[known.MERGES]
                    work -= size[word]
                    slots, pairs, births = known.visit(at, slots, pairs, births, size[word])
                    tables, weight = known.tables_of(slots, pairs, births), counts[word] if language < n else 0
                    context = scalars, tables, language, word, weight, to_all
                    begin, stop = start[word], start[word] + size[word]
                    end = known.merge_word(all_symbols, lengths, begin, stop, merge, _changed, context)
                    if (language >= n) == dev:
                        total[language % n] -= counts[word] * (stop - end)
                    size[word] = end - begin
                entry = entries[entry + known.EARLIER]
            if to_all > 0 and language < n:
                tables = known.tables_of(slots, pairs, births)
                known.change(scalars, tables, _key(2 * n, a, b), -pairs[pair + known.COUNT], 0, False)
            pairs[pair + known.COUNT] = 0
        entries, pool = _queue_born(at, root, pairs, births, entries, pool, text, text_end)
    return done, known.Grown(text, merges, merge_counts, slots, pairs, births, entries, pool)


def train_parity_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    languages: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: ParityLimits,
    progress: Callable[[int, int], None] | None = None,
    slice_length: int = known.SLICE,
) -> BpeMerges:
    """Learns the merges of parity-aware BPE; see `reference.train_parity_bpe`.

    slice_length: symbols between two calls of progress; the result does not depend on it.

    Raises:
        OverflowError: Too many tokens could be learnt, or there are too many languages.
    """
    n, n_tokens = limits.languages, len(token_offsets) - 1
    ids = n_tokens + min(limits.merges, len(symbols))
    if ids >= 1 << _TOKEN_BITS:
        raise OverflowError(
            f"{ids:,} tokens could be learnt, and at most {1 << _TOKEN_BITS:,} are possible: lower num_merges"
        )
    if 2 * n + 1 >= 1 << _LANGUAGE_BITS:
        raise OverflowError(f"{n:,} languages: at most {(1 << _LANGUAGE_BITS - 1) - 1:,} are possible")
    words, grown = known.begun(symbols, offsets, counts, tokens, token_offsets, limits.prefix, ids, 2 * n + 1)
    balanced = (languages >= n) == limits.dev
    # np.bincount returns ints if no word is balanced
    total = np.bincount(languages[balanced] % n, (words.size * counts)[balanced], n).astype(np.float64)
    balance = _Balance(
        languages=languages,
        visited=np.zeros(len(counts), np.int64),
        total=total,
        first=total.copy(),
        ratio=np.array(limits.ratio, np.float64),
        exhausted=(total == 0) if limits.ratio else np.zeros(n, np.bool_),
        recent=np.empty(limits.window, np.int64),
        chosen=np.zeros(n, np.int64),
        waiting=np.zeros(n, np.bool_),
        threshold=limits.threshold,
    )
    words.at[known.EXHAUSTED] = balance.exhausted.sum()
    cuts = np.searchsorted(offsets, np.arange(slice_length, len(symbols), slice_length)).tolist()
    for begin, end in itertools.pairwise([0, *cuts, len(counts)]):
        grown = _count_pairs(words, grown, balance, begin, end, limits.global_merges > 0)
        if progress is not None:
            progress(0, limits.merges)
    grown = grown._replace(births=np.empty(0, np.int64))  # merging makes fewer births than counting has made
    most = limits.merges, limits.global_merges, max(1, limits.min_frequency), limits.max_token_length
    done = False
    while not done:
        done, grown = _merge_pairs(words, grown, balance, most, limits.dev, slice_length)
        if progress is not None:
            progress(int(words.at[known.MERGES]), limits.merges)
    return known.ended(words, grown)
