"""Training parity-aware BPE: each step merges the most frequent pair of the language that is worst off.

The source is Foroutan et al., "Parity-Aware Byte-Pair Encoding", 2025, arXiv:2508.04796; `reference.train_parity_bpe` is the
definition. Each language has its own words, pairs and queue. The development words of a language are one more language,
which is merged but never chosen. All pairs are in one hash table by (language, left, right). The words of a pair are a
linked list. A queue is a pairing heap: building the heap costs one comparison a pair, and most pairs are never looked at
again. If a count has fallen, that is noticed when the pair comes up; if a count has risen, the pair is queued again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeMerges, ParityLimits
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import resized
from gputok.kernels.cpu.primitives.constants import GOLDEN, U32
from gputok.kernels.cpu.primitives.memory import owned, view
from gputok.kernels.cpu.primitives.token_strings import (
    index_names,
    learnt,
    log_merge,
    merge_word,
    merged_token,
    power_of_two,
    room,
)
from gputok.kernels.signatures import Bools, F64s, I64s, NamedTuple, U8s, U32s, U64s, boolean, f64, i64

_SLICE = 2_000_000  # symbols between two calls of progress
_TOKEN_BITS, _LANGUAGE_BITS = 24, 15  # a key has a language, left and right
_MERGES, _TOKENS, _PAIRS, _ENTRIES, _NODES, _FREE, _RISEN, _CHOICES, _EXHAUSTED, _N_SCALARS = range(10)
# of a pair; _WORDS: its first node or -1; _STAMP: the step in which its count rose
_KEY, _COUNT, _WORDS, _STAMP, _FIELDS = range(5)
# of an entry of a queue; _QUEUED: the count when it was queued
_PAIR, _QUEUED, _CHILD, _SIBLING = range(4)


class _State(NamedTuple):
    at: I64s  # int64[_N_SCALARS]
    prefix: U8s  # uint8[k], continuing_subword_prefix
    symbols: U32s  # uint32[n], each word from its start on
    length: U32s  # uint32[n], of each symbol in initial symbols
    start: I64s  # int64[words]
    size: I64s  # int64[words], in symbols
    counts: I64s  # int64[words]
    languages: I64s  # int64[words]
    visited: I64s  # int64[words], the last step that merged in it
    total: F64s  # float64[languages], number of symbols of the texts to balance
    first: F64s  # float64[languages], the same before any merge
    exhausted: Bools  # bool[languages]
    recent: I64s  # int64[window], the last choices
    chosen: I64s  # int64[languages], how often each language is among the last choices
    waiting: Bools  # bool[languages]
    text_end: I64s  # int64[ids + 1]
    head: U64s  # uint64[ids], the first eight bytes of each token, for comparisons
    names: U32s  # uint32[power of two], see index_names
    root: I64s  # int64[2 * languages + 1], the first entry of each queue, or -1


class _Grown(NamedTuple):
    """What a step may replace by larger copies."""

    text: U8s  # uint8[bytes], the tokens' strings
    merges: U32s  # uint32[3 * m]: left, right, merged
    merge_counts: I64s  # int64[m]
    slots: I64s  # int64[power of two], a hash table: pair + 1, or 0
    pairs: I64s  # int64[_FIELDS * pairs]
    nodes: I64s  # int64[2 * nodes], word and next node
    risen: I64s  # int64[pairs], the pairs whose count rose in this step
    entries: I64s  # int64[4 * entries]


# ---- pairs


@kernel(inline=True)
def _key(language, a, b):
    return np.int64(language) << 2 * _TOKEN_BITS | np.int64(a) << _TOKEN_BITS | np.int64(b)


# The helpers take views: arrays would be reference-counted at each change


@kernel(inline=True)
def _slot(slots, mask, pairs, key):
    """The slot of a pair, or the free slot where the pair belongs; mask: number of slots - 1."""
    at = np.uint64(key) * GOLDEN
    at = (at ^ at >> U32) & mask
    while slots[at] > 0 and pairs[_FIELDS * (slots[at] - 1) + _KEY] != key:
        at = (at + np.uint64(1)) & mask
    return at


@kernel(inline=True)
def _change(at, tables, key, amount, step):
    """Adds to the count of a pair; returns the pair. tables: slots, their mask, pairs, nodes, risen."""
    slots, mask, pairs, _, risen = tables
    slot = _slot(slots, mask, pairs, key)
    if slots[slot] == 0:
        new = _FIELDS * at[_PAIRS]
        pairs[new + _KEY] = key
        pairs[new + _COUNT] = 0
        pairs[new + _WORDS] = -1
        pairs[new + _STAMP] = -1
        at[_PAIRS] += 1
        slots[slot] = at[_PAIRS]
    pair = slots[slot] - 1
    pairs[_FIELDS * pair + _COUNT] += amount
    if amount > 0 and pairs[_FIELDS * pair + _STAMP] != step:
        pairs[_FIELDS * pair + _STAMP] = step
        risen[at[_RISEN]] = pair
        at[_RISEN] += 1
    return pair


@kernel(inline=True)
def _add_word(at, pairs, nodes, pair, word):
    """Adds a word to the list of a pair. Words are visited in order, so comparing with the head of the list avoids duplicates."""
    first = pairs[_FIELDS * pair + _WORDS]
    if first >= 0 and nodes[2 * first] == word:
        return
    node = at[_FREE]
    if node >= 0:
        at[_FREE] = nodes[2 * node + 1]
    else:
        node = at[_NODES]
        at[_NODES] += 1
    nodes[2 * node] = word
    nodes[2 * node + 1] = first
    pairs[_FIELDS * pair + _WORDS] = node


@kernel
def _with_room(at, slots, pairs, nodes, risen, size):
    """The arrays, with room for the changes of a word of `size` symbols, in its language and in the sum of all."""
    changes = 8 * size
    pairs = room(pairs, _FIELDS * (at[_PAIRS] + changes))
    nodes = room(nodes, 2 * (at[_NODES] + 2 * size))
    risen = room(risen, at[_RISEN] + changes)
    if 2 * (at[_PAIRS] + changes) > len(slots):
        capacity = len(slots)
        while capacity < 4 * (at[_PAIRS] + changes):
            capacity *= 2
        slots = np.zeros(capacity, np.int64)
        table, mask, rows = owned(slots), np.uint64(capacity - 1), owned(pairs)
        for pair in range(at[_PAIRS]):
            table[_slot(table, mask, rows, rows[_FIELDS * pair + _KEY])] = pair + 1
    return slots, pairs, nodes, risen


# ---- queues


@kernel(inline=True)
def _head(text, start, end):
    head = np.uint64(0)
    for i in range(8):
        head = head << np.uint64(8) | np.uint64(text[start + i] if start + i < end else 0)
    return head


@kernel(inline=True)
def _after(text, text_end, head, a, b):
    """Whether the string of token a comes after the string of another token b."""
    if head[a] != head[b]:
        return head[a] > head[b]
    i, j = text_end[a], text_end[b]
    while i < text_end[a + 1] and j < text_end[b + 1] and text[i] == text[j]:
        i += 1
        j += 1
    return i < text_end[a + 1] and (j == text_end[b + 1] or text[i] > text[j])


@kernel(inline=True)
def _link(entries, pairs, text, text_end, head, i, j):
    """Joins two heaps: the higher count is on top; of equal counts, the pair whose strings come last."""
    count, other = entries[4 * i + _QUEUED], entries[4 * j + _QUEUED]
    swap = other > count
    if other == count:
        key = pairs[_FIELDS * entries[4 * i + _PAIR] + _KEY]
        other_key = pairs[_FIELDS * entries[4 * j + _PAIR] + _KEY]
        mask = (1 << _TOKEN_BITS) - 1
        a, c = key >> _TOKEN_BITS & mask, other_key >> _TOKEN_BITS & mask
        b, d = key & mask, other_key & mask
        swap = _after(text, text_end, head, c, a) if a != c else b != d and _after(text, text_end, head, d, b)
    if swap:
        i, j = j, i
    entries[4 * j + _SIBLING] = entries[4 * i + _CHILD]
    entries[4 * i + _CHILD] = j
    return i


@kernel
def _push(entries, root, pairs, text, text_end, head, queue, entry):
    entries[4 * entry + _CHILD], entries[4 * entry + _SIBLING] = -1, -1
    top = root[queue]
    root[queue] = entry if top < 0 else _link(entries, pairs, text, text_end, head, top, entry)


@kernel
def _pop(entries, root, pairs, text, text_end, head, queue):
    """Removes the first entry: its children are joined in pairs, then one after the other."""
    tree = entries[4 * root[queue] + _CHILD]
    joined = np.int64(-1)
    while tree >= 0:
        other = entries[4 * tree + _SIBLING]
        following = np.int64(-1)
        if other >= 0:
            following = entries[4 * other + _SIBLING]
            tree = _link(entries, pairs, text, text_end, head, tree, other)
        entries[4 * tree + _SIBLING] = joined
        joined, tree = tree, following
    top = np.int64(-1)
    while joined >= 0:
        following = entries[4 * joined + _SIBLING]
        entries[4 * joined + _SIBLING] = -1
        top = joined if top < 0 else _link(entries, pairs, text, text_end, head, top, joined)
        joined = following
    root[queue] = top


@kernel
def _queue_risen(at, risen, entries, root, pairs, text, text_end, head):
    entries = room(entries, 4 * (at[_ENTRIES] + at[_RISEN]))
    for i in range(at[_RISEN]):
        pair = _FIELDS * risen[i]
        if pairs[pair + _COUNT] > 0:
            entry = at[_ENTRIES]
            at[_ENTRIES] += 1
            entries[4 * entry + _PAIR], entries[4 * entry + _QUEUED] = risen[i], pairs[pair + _COUNT]
            _push(entries, root, pairs, text, text_end, head, pairs[pair + _KEY] >> 2 * _TOKEN_BITS, entry)
    at[_RISEN] = 0
    return entries


# ---- the stage


@kernel(_State, _Grown, i64, i64, i64, boolean)
def _count_pairs(state, grown, begin, end, n, in_all):
    """Counts the pairs of some words, without queueing them."""
    at, symbols, start, size, counts, languages = (
        state.at, state.symbols, state.start, state.size, state.counts, state.languages,
    )  # fmt: skip
    text, merges, merge_counts, slots, pairs, nodes, risen, entries = grown
    for word in range(begin, end):
        slots, pairs, nodes, risen = _with_room(at, slots, pairs, nodes, risen, size[word])
        language, scalars = languages[word], view(at)
        tables = owned(slots), np.uint64(len(slots) - 1), owned(pairs), owned(nodes), owned(risen)
        for p in range(start[word], start[word] + size[word] - 1):
            amount = counts[word] if language < n else 0
            pair = _change(scalars, tables, _key(language, symbols[p], symbols[p + 1]), amount, 0)
            _add_word(scalars, tables[2], tables[3], pair, word)
            if in_all and amount > 0:
                _change(scalars, tables, _key(2 * n, symbols[p], symbols[p + 1]), amount, 0)
    return _Grown(text, merges, merge_counts, slots, pairs, nodes, risen, entries)


@kernel
def _choose(at, total, first, ratio, exhausted, recent, chosen, waiting, threshold):
    """Chooses the language that is worst off, unless it was chosen too often of late."""
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
        index = at[_CHOICES] % window
        if at[_CHOICES] >= window:
            chosen[recent[index]] -= 1
        recent[index] = best
        chosen[best] += 1
        at[_CHOICES] += 1
    return best


@kernel
def _best_pair(at, entries, root, pairs, text, text_end, head, queue, least):
    """The first pair of a queue, or -1; counts that have fallen are corrected on the way."""
    while root[queue] >= 0:
        entry = root[queue]
        pair = entries[4 * entry + _PAIR]
        count = pairs[_FIELDS * pair + _COUNT]
        _pop(entries, root, pairs, text, text_end, head, queue)
        if count > 0 and entries[4 * entry + _QUEUED] == count:
            return pair if count >= least else -1
        if count > 0:
            entries[4 * entry + _QUEUED] = count
            _push(entries, root, pairs, text, text_end, head, queue, entry)
    return -1


@kernel(inline=True)
def _change_in_word(context, left, right, sign):
    """Changes the count of a pair (left is -1: none) by an occurrence in a word.

    context: the scalars, the tables that `_change` takes, the language, the word, its weight, what makes the key of the same
    pair of all languages together, or 0, and the step.
    """
    at, tables, language, word, weight, to_all, step = context
    if left >= 0:
        key = _key(language, left, right)
        changed = _change(at, tables, key, sign * weight, step)
        if sign > 0:
            _add_word(at, tables[2], tables[3], changed, word)
        if to_all > 0 and weight != 0:
            _change(at, tables, key + to_all, sign * weight, step)


@kernel(_State, _Grown, i64, i64, i64, i64, i64, boolean, f64[:], f64, i64)
def _merge_pairs(state, grown, n, merges_wanted, least, max_length, global_merges, dev, ratio, threshold, work):
    """Merges for about `work` symbols: (whether training is done, what has grown)."""
    (
        at, prefix, symbols, length, start, size, counts, _, visited, total, first, exhausted, recent, chosen,
        waiting, text_end, head, names, root,
    ) = state  # fmt: skip
    text, merges, merge_counts, slots, pairs, nodes, risen, entries = grown
    entries = _queue_risen(at, risen, entries, root, pairs, text, text_end, head)
    scalars, all_symbols, lengths = view(at), view(symbols), view(length)
    done = False
    while work > 0:
        if at[_MERGES] >= merges_wanted or at[_EXHAUSTED] == n:
            done = True
            break
        # 1. The language, and its pair
        in_all = at[_MERGES] < global_merges
        queue = 2 * n
        if not in_all:
            queue = _choose(at, total, first, ratio, exhausted, recent, chosen, waiting, threshold)
        pair = _best_pair(at, entries, root, pairs, text, text_end, head, queue, least)
        work -= 1
        if pair < 0 and in_all:
            done = True
            break
        if pair < 0:
            if not exhausted[queue]:
                exhausted[queue] = True
                at[_EXHAUSTED] += 1
            continue
        key = pairs[_FIELDS * pair + _KEY] & ((1 << 2 * _TOKEN_BITS) - 1)
        a, b = np.uint64(key >> _TOKEN_BITS), np.uint64(key & ((1 << _TOKEN_BITS) - 1))

        # 2. The merged token
        text, new = merged_token(at[_TOKENS], prefix, text, text_end, names, a, b)
        if new == at[_TOKENS]:
            at[_TOKENS] += 1
            head[new] = _head(text, text_end[new], text_end[new + 1])
        count = pairs[_FIELDS * pair + _COUNT]
        merges, merge_counts = log_merge(merges, merge_counts, at[_MERGES], (a, b, new), count)
        at[_MERGES] += 1
        step = at[_MERGES]

        # 3. Merge in the words that each language knows to contain the pair
        for language in range(2 * n):
            mask = np.uint64(len(slots) - 1)
            pair = slots[_slot(owned(slots), mask, owned(pairs), _key(language, a, b))] - 1
            if pair < 0 or pairs[_FIELDS * pair + _WORDS] < 0:
                continue
            node = pairs[_FIELDS * pair + _WORDS]
            pairs[_FIELDS * pair + _WORDS] = -1
            merge = a, b, new, max_length if language < n else np.int64(1) << 62
            to_all = (2 * n - language) << 2 * _TOKEN_BITS if in_all else 0
            while node >= 0:
                word, following = nodes[2 * node], nodes[2 * node + 1]
                nodes[2 * node + 1] = at[_FREE]
                at[_FREE] = node
                node = following
                if visited[word] == step:
                    continue
                visited[word] = step
                slots, pairs, nodes, risen = _with_room(at, slots, pairs, nodes, risen, size[word])
                work -= size[word]
                begin, stop = start[word], start[word] + size[word]
                tables = owned(slots), np.uint64(len(slots) - 1), owned(pairs), owned(nodes), owned(risen)
                context = scalars, tables, language, word, counts[word] if language < n else 0, to_all, step
                end = merge_word(all_symbols, lengths, begin, stop, merge, _change_in_word, context)
                if (language >= n) == dev:
                    total[language % n] -= counts[word] * (stop - end)
                size[word] = end - begin
            if in_all and language < n:
                tables = owned(slots), np.uint64(len(slots) - 1), owned(pairs), owned(nodes), owned(risen)
                _change(scalars, tables, _key(2 * n, a, b), -pairs[_FIELDS * pair + _COUNT], step)
            pairs[_FIELDS * pair + _COUNT] = 0
        entries = _queue_risen(at, risen, entries, root, pairs, text, text_end, head)
    return done, _Grown(text, merges, merge_counts, slots, pairs, nodes, risen, entries)


def train_parity_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    languages: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: ParityLimits,
    progress: Callable[[int, int], None] | None = None,
    slice_length: int = _SLICE,
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
    size = np.diff(offsets)
    balanced = (languages >= n) == limits.dev
    # Ints if empty
    total = np.bincount(languages[balanced] % n, (size * counts)[balanced], n).astype(np.float64)
    exhausted = (total == 0) if limits.ratio else np.zeros(n, np.bool_)
    state = _State(
        at=np.zeros(_N_SCALARS, np.int64),
        prefix=np.frombuffer(limits.prefix, np.uint8),
        symbols=symbols.astype(np.uint32),
        length=np.ones(len(symbols), np.uint32),
        start=offsets[:-1].copy(),
        size=size,
        counts=counts,
        languages=languages,
        visited=np.zeros(len(counts), np.int64),
        total=total,
        first=total.copy(),
        exhausted=exhausted,
        recent=np.empty(limits.window, np.int64),
        chosen=np.zeros(n, np.int64),
        waiting=np.zeros(n, np.bool_),
        text_end=resized(token_offsets, ids + 1),
        head=np.empty(ids, np.uint64),
        names=np.zeros(power_of_two(2 * ids + 2), np.uint32),
        root=np.full(2 * n + 1, -1, np.int64),
    )
    nothing = np.empty(0, np.int64)
    grown = _Grown(tokens.copy(), np.empty(0, np.uint32), nothing, np.zeros(1024, np.int64), *[nothing] * 4)
    state.at[_TOKENS], state.at[_FREE], state.at[_EXHAUSTED] = n_tokens, -1, exhausted.sum()
    index_names(grown.text, state.text_end, n_tokens, state.names)
    heads = (tokens[a : min(a + 8, b)].tobytes().ljust(8, b"\0") for a, b in itertools.pairwise(token_offsets.tolist()))
    state.head[:n_tokens] = np.frombuffer(b"".join(heads), ">u8")
    cuts = np.searchsorted(offsets, np.arange(slice_length, len(symbols), slice_length)).tolist()
    for begin, end in itertools.pairwise([0, *cuts, len(counts)]):
        grown = _count_pairs(state, grown, begin, end, n, limits.global_merges > 0)
        if progress is not None:
            progress(0, limits.merges)
    done = False
    while not done:
        done, grown = _merge_pairs(
            state,
            grown,
            n,
            limits.merges,
            max(1, limits.min_frequency),
            limits.max_token_length,
            limits.global_merges,
            limits.dev,
            np.array(limits.ratio, np.float64),
            limits.threshold,
            slice_length,
        )
        if progress is not None:
            progress(int(state.at[_MERGES]), limits.merges)
    return learnt(*grown[:3], state.text_end, state.at[_MERGES], state.at[_TOKENS])
