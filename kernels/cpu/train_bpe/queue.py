"""Training BPE by the queue of `tokenizers`, for the case that two merges spell the same string.

That can happen if a prefix or a suffix consists of characters of the text. Then a pair can be queued twice, and the
order of merges depends on the words that each entry of the queue has (`tests/reference/train_bpe.py` shows how). This
is slower than `train.py`, but never quadratic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import owned, view
from gputok.kernels.cpu.train_bpe import known
from gputok.kernels.cpu.veto import may_merge, merged_traits, put_traits, veto_limits
from gputok.kernels.signatures import i64, u64


@kernel(inline=True)
def _before(context, i, j):
    """The higher count (as an unsigned number), then the smaller pair, then the earlier push."""
    entries, pairs, _ = context
    if entries[i + known.QUEUED] != entries[j + known.QUEUED]:
        return np.uint64(entries[i + known.QUEUED]) > np.uint64(entries[j + known.QUEUED])
    key, other = pairs[entries[i + known.PAIR] + known.KEY], pairs[entries[j + known.PAIR] + known.KEY]
    return key < other if key != other else entries[i + known.NUMBER] < entries[j + known.NUMBER]


@kernel
def _queue_born(at, root, pairs, births, entries, pool):
    return known.queue_born(at, root, pairs, births, entries, pool, _before, (), 63)


@kernel
def _first_entry(at, root, pairs, entries, least):
    """Takes the first entry out of the queue; those whose counts have changed are pushed again; -1: none is left."""
    context = owned(entries), owned(pairs), ()
    while root[0] >= 0:
        entry = known.pop(root, 0, _before, context)
        count = pairs[entries[entry + known.PAIR] + known.COUNT]
        if entries[entry + known.QUEUED] == count:
            return entry if np.uint64(count) >= np.uint64(least) else np.int64(-1)
        known.push(at, root, 0, entry, _before, context)
    return np.int64(-1)


@kernel(inline=True)
def _changed(context, left, right, sign):
    """Adds (sign 1) or removes (-1) an occurrence of a pair in a word, unless the pair may not merge.

    context: the scalars, the tables of `change`, the first arguments of `may_merge`, the word and its weight.
    """
    at, tables, (n_traits, traits, bounds), word, weight = context
    if may_merge(n_traits, traits, bounds, np.uint64(left), np.uint64(right)):
        known.change(at, tables, left << 32 | right, sign * weight, word, sign > 0)


@kernel(known.Words, known.Grown, (i64, i64, i64), i64[:], u64[:], i64)
def _merge_queued(words, grown, limits, veto, traits, work):
    """Merges for about `work` symbols: (whether training is done, what has grown). The first step counts all pairs.

    limits: vocab_size, min_frequency (at least 1) and max_token_length; veto: int64[N_VETO] of veto.py; traits:
    uint64[ids + 1], of each token, or uint64[0] without a veto.
    """
    at, _, symbols, length, start, size, counts, _, _, root = words
    text, merges, merge_counts, slots, pairs, births, entries, pool = grown
    vocab_size, least, max_length = limits
    scalars, all_symbols, lengths = view(at), view(symbols), view(length)
    merging = np.uint64(len(traits)), view(traits), view(veto)
    if at[known.VISITS] == 0:
        for word in range(len(counts)):
            slots, pairs, births = known.visit(at, slots, pairs, births, size[word])
            context = scalars, known.tables_of(slots, pairs, births), merging, word, counts[word]
            for p in range(start[word], start[word] + size[word] - 1):
                _changed(context, np.int64(symbols[p]), np.int64(symbols[p + 1]), 1)
        entries, pool = _queue_born(at, root, pairs, births, entries, pool)
    done = False
    while work > 0 and not done:
        entry = _first_entry(at, root, pairs, entries, least) if at[known.TOKENS] < vocab_size else np.int64(-1)
        work -= 1
        done = entry < 0
        if done:
            break
        key = np.uint64(pairs[entries[entry + known.PAIR] + known.KEY])
        a, b = key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)
        count = entries[entry + known.QUEUED]
        text, merges, merge_counts, token = known.take_merge(words, text, merges, merge_counts, a, b, count)
        new = np.uint64(token)
        if len(traits) > 0:
            traits[new] = merged_traits(traits[a], traits[b])
        for i in range(entries[entry + known.START], entries[entry + known.END]):
            word = pool[i]
            work -= size[word]
            slots, pairs, births = known.visit(at, slots, pairs, births, size[word])
            context = scalars, known.tables_of(slots, pairs, births), merging, word, counts[word]
            begin, merge = start[word], (a, b, new, max_length)
            stop = known.merge_word(all_symbols, lengths, begin, begin + size[word], merge, _changed, context)
            size[word] = stop - begin
        entries, pool = _queue_born(at, root, pairs, births, entries, pool)
    return done, known.Grown(text, merges, merge_counts, slots, pairs, births, entries, pool)


def train_bpe_queued(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    slice_length: int = known.SLICE,
) -> BpeMerges:
    """Learns merges like `reference.train_bpe`, in all cases. slice_length: symbols between two calls of progress."""
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + len(symbols)))
    words, grown = known.begun(symbols, offsets, counts, tokens, token_offsets, limits.prefix, ids)
    traits = np.zeros(0 if limits.veto is None else ids + 1, np.uint64)
    put_traits(grown.text, words.text_end, n_tokens, limits.veto, traits)
    most, veto = (limits.vocab_size, max(1, limits.min_frequency), limits.max_token_length), veto_limits(limits.veto)
    done = False
    while not done:
        done, grown = _merge_queued(words, grown, most, veto, traits, slice_length)
        if progress is not None:
            progress(int(words.at[known.TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
    return known.ended(words, grown)
