"""Training BPE by pairs that know the words which have them: what `queue.py` and `train_parity_bpe.py` share.

A word is a row of symbols, which closes up when pairs in it are merged. All pairs are in one hash table. A *step*
counts the pairs of some words, or merges one pair in some words. A pair that occurs once more in a word is *born*
there; after the step, each pair that was born gets an entry with the words in which it was born. A queue is a pairing
heap of entries: building it costs one comparison an entry, and most entries are never looked at again. If a count has
fallen, that is noticed when the entry comes up. Pairs and entries are named by the index at which their fields begin.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import index_strings
from gputok.kernels.cpu.primitives.arrays import longer, resized
from gputok.kernels.cpu.primitives.constants import GOLDEN, U1, U32
from gputok.kernels.cpu.primitives.memory import as_views, owned
from gputok.kernels.cpu.train_bpe.token_strings import learnt, merged_token
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U32s, U64s

SLICE = 2_000_000  # symbols between two calls of progress
MERGES, TOKENS, PAIRS, ENTRIES, POOL, BIRTHS, BORN, VISITS, PUSHED, CHOICES, EXHAUSTED, N_SCALARS = range(12)
# Fields of a pair. FOUND: in how many words of this step it was born; VISIT: the number of the last visit of a word in
# which it was born; ENTRY: its last entry, or -1
KEY, COUNT, FOUND, VISIT, ENTRY, PAIR_SIZE = range(6)
# Fields of an entry. QUEUED, NUMBER: the count when it was queued, and the number of the push; START, END: its words in
# the pool; EARLIER: the entry of the pair before this one, or -1; CHILD, SIBLING: entries of the pairing heap, or -1
PAIR, QUEUED, NUMBER, START, END, EARLIER, CHILD, SIBLING, ENTRY_SIZE = range(9)


class Words(NamedTuple):
    """The words, the strings of tokens, and the queues."""

    at: I64s  # int64[N_SCALARS]
    prefix: U8s  # uint8[k], continuing_subword_prefix
    symbols: U32s  # uint32[n], each word from its start on
    length: U32s  # uint32[n], of each symbol in initial symbols
    start: I64s  # int64[words]
    size: I64s  # int64[words], in symbols
    counts: I64s  # int64[words]
    text_end: I64s  # int64[ids + 1]
    names: U64s  # uint64[power of two], the table of `Strings` that finds the tokens
    root: I64s  # int64[queues], the first entry of each, or -1


class Grown(NamedTuple):
    """What a step may replace by larger copies; the scalars say how much of it is used."""

    text: U8s  # uint8[bytes], the tokens' strings
    merges: U32s  # uint32[3 * m]: left, right, merged
    merge_counts: I64s  # int64[m]
    slots: I64s  # int64[power of two], a hash table: pair + 1, or 0
    pairs: I64s  # int64[PAIR_SIZE * pairs]
    births: I64s  # int64[2 * m], pair and word of each birth of this step
    entries: I64s  # int64[ENTRY_SIZE * entries]
    pool: I64s  # int64[m], words


def begun(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    prefix: bytes,
    ids: int,
    queues: int = 1,
) -> tuple[Words, Grown]:
    """The state of a training of at most `ids` tokens, before any pair is counted."""
    n_tokens = len(token_offsets) - 1
    words = Words(
        at=np.zeros(N_SCALARS, np.int64),
        prefix=np.frombuffer(prefix, np.uint8),
        symbols=symbols.astype(np.uint32),
        length=np.ones(len(symbols), np.uint32),
        start=offsets[:-1].copy(),
        size=np.diff(offsets),
        counts=counts,
        text_end=resized(token_offsets, ids + 1),
        names=index_strings(tokens, token_offsets, ids).slots,
        root=np.full(queues, -1, np.int64),
    )
    nothing = np.empty(0, np.int64)
    grown = Grown(tokens.copy(), np.empty(0, np.uint32), nothing, np.zeros(1024, np.int64), *[nothing] * 4)
    words.at[TOKENS] = n_tokens
    return words, grown


def ended(words: Words, grown: Grown) -> BpeMerges:
    """What has been learnt."""
    return learnt(*grown[:3], words.text_end, words.at[MERGES], words.at[TOKENS])


@kernel
def _room(array, n):
    """Returns the array, or a larger copy if the array has fewer than n elements."""
    if n <= len(array):
        return array
    return longer(array, len(array), 2 * n)


@kernel(inline=True)
def take_merge(words, text, merges, counts, a, b, count):
    """Logs the merge of a and b. Returns the arrays, or larger copies of them, and its token, which may be new."""
    at, ends, n_tokens = words.at, words.text_end, words.at[TOKENS]
    text = _room(text, ends[n_tokens] + ends[a + U1] - ends[a] + ends[b + U1] - ends[b])
    own, n = as_views(words), at[MERGES]
    token = merged_token((own.names, owned(text), own.text_end), own.prefix, a, b, n_tokens)
    at[TOKENS] += token == n_tokens
    merges, counts = _room(merges, 3 * n + 3), _room(counts, n + 1)
    merges[3 * n], merges[3 * n + 1], merges[3 * n + 2], counts[n] = a, b, token, count
    at[MERGES] += 1
    return text, merges, counts, token


# ---- pairs. The helpers take views: arrays would be reference-counted at each change (measured: four times as slow)


@kernel(inline=True)
def slot_of(slots, mask, pairs, key):
    """The slot of a pair, or the free slot where the pair belongs; mask: number of slots - 1."""
    at = np.uint64(key) * GOLDEN
    at = (at ^ at >> U32) & mask
    while slots[at] > 0 and pairs[slots[at] - 1] != key:
        at = (at + U1) & mask
    return at


@kernel(inline=True)
def change(at, tables, key, amount, word, is_born):
    """Adds to the count of a pair; is_born: it occurs once more in `word` (-1: in any word); tables: of `tables_of`."""
    slots, mask, pairs, births = tables
    slot = slot_of(slots, mask, pairs, key)
    if slots[slot] == 0:
        new = at[PAIRS]
        pairs[new + KEY], pairs[new + ENTRY] = key, -1
        pairs[new + COUNT] = pairs[new + FOUND] = pairs[new + VISIT] = 0
        slots[slot] = new + 1
        at[PAIRS] += PAIR_SIZE
    pair = slots[slot] - 1
    pairs[pair + COUNT] += amount
    if is_born and pairs[pair + VISIT] != at[VISITS] and (word >= 0 or pairs[pair + FOUND] == 0):
        pairs[pair + VISIT] = at[VISITS]
        at[BORN] += pairs[pair + FOUND] == 0
        pairs[pair + FOUND] += 1
        births[2 * at[BIRTHS]], births[2 * at[BIRTHS] + 1] = pair, word
        at[BIRTHS] += 1


@kernel
def visit(at, slots, pairs, births, size):
    """Begins to visit a word of `size` symbols: returns slots, pairs and births, with room for its changes.

    Counting and merging change at most four pairs for two symbols, each of them in its queue and in one more.
    """
    at[VISITS] += 1
    wanted = at[PAIRS] + 4 * size * PAIR_SIZE
    pairs, births = _room(pairs, wanted), _room(births, 2 * at[BIRTHS] + 4 * size)
    if 2 * wanted > len(slots) * PAIR_SIZE:
        capacity = len(slots)
        while capacity * PAIR_SIZE < 4 * wanted:
            capacity *= 2
        slots = np.zeros(capacity, np.int64)
        there, mask, rows = owned(slots), np.uint64(capacity - 1), owned(pairs)
        for pair in range(0, at[PAIRS], PAIR_SIZE):
            there[slot_of(there, mask, rows, rows[pair])] = pair + 1
    return slots, pairs, births


@kernel(inline=True)
def tables_of(slots, pairs, births):
    """Views of the tables of pairs, with the mask of slots."""
    return owned(slots), np.uint64(len(slots) - 1), owned(pairs), owned(births)


@kernel(inline=True)
def merge_word(symbols, length, begin, stop, merge, changed, context):
    """Merges in the word symbols[begin:stop], and returns where the word ends now.

    length: of each symbol in initial symbols; merge: left, right and merged token, and the length from which on new
    pairs don't count. changed(context, left, right, sign), an inline kernel, is called for each pair that changes.
    """
    a, b, new, longest = merge
    kept, p = begin, begin
    while p < stop:
        if symbols[p] != a or p + 1 == stop or symbols[p + 1] != b:
            symbols[kept], length[kept] = symbols[p], length[p]
            kept += 1
            p += 1
            continue
        merged_length = np.int64(length[p]) + length[p + 1]
        none, before, after = np.int64(-1), np.int64(-1), np.int64(-1)
        if kept > begin:
            before = np.int64(symbols[kept - 1])
        if p + 2 < stop:
            after = np.int64(symbols[p + 2])
        grows_left = before >= 0 and length[kept - 1] + merged_length < longest
        grows_right = after >= 0 and length[p + 2] + merged_length < longest
        symbols[kept], length[kept] = new, merged_length
        kept += 1
        p += 2
        for left, right, sign in (
            (before, np.int64(a), -1),
            (before if grows_left else none, np.int64(new), 1),
            (np.int64(b) if after >= 0 else none, after, -1),
            (np.int64(new) if grows_right else none, after, 1),
        ):
            if left >= 0:
                changed(context, left, right, sign)
    return kept


# ---- queues. before(context, i, j), an inline kernel, orders entries; context: views of entries and pairs, and strings


@kernel(inline=True)
def queue_born(at, root, pairs, births, entries, pool, before, strings, shift):
    """Gives each pair that was born an entry with its words, and queues it if its count is above 0: (entries, pool).

    strings: what else `before` needs; key >> shift: the queue of a pair.
    """
    entries, pool, first = _enter(at, pairs, births, entries, pool)
    context = owned(entries), owned(pairs), strings
    for entry in range(first, at[ENTRIES], ENTRY_SIZE):
        pair = entries[entry + PAIR]
        if pairs[pair + COUNT] > 0:
            push(at, root, pairs[pair + KEY] >> shift, entry, before, context)
    return entries, pool


@kernel
def _enter(at, pairs, births, entries, pool):
    """Makes the entries: (entries, pool, the first of the new entries)."""
    first = entry = at[ENTRIES]
    entries = _room(entries, first + ENTRY_SIZE * at[BORN])
    pool = _room(pool, at[POOL] + at[BIRTHS])
    for i in range(at[BIRTHS]):
        pair = births[2 * i]
        if pairs[pair + FOUND] > 0:
            entries[entry + PAIR], entries[entry + EARLIER] = pair, pairs[pair + ENTRY]
            entries[entry + START] = entries[entry + END] = at[POOL]
            at[POOL] += pairs[pair + FOUND]
            pairs[pair + ENTRY], pairs[pair + FOUND] = entry, 0
            entry += ENTRY_SIZE
        own = pairs[pair + ENTRY]
        pool[entries[own + END]] = births[2 * i + 1]
        entries[own + END] += 1
    at[ENTRIES], at[BIRTHS], at[BORN] = entry, 0, 0
    return entries, pool, first


@kernel(inline=True)
def _link(context, i, j, before):
    """Joins two heaps: the entry that comes first is on top."""
    entries = context[0]
    if before(context, j, i):
        i, j = j, i
    entries[j + SIBLING] = entries[i + CHILD]
    entries[i + CHILD] = j
    return i


@kernel(inline=True)
def push(at, root, queue, entry, before, context):
    """Queues an entry by the count that its pair has."""
    entries, pairs = context[0], context[1]
    entries[entry + QUEUED], entries[entry + NUMBER] = pairs[entries[entry + PAIR] + COUNT], at[PUSHED]
    entries[entry + CHILD], entries[entry + SIBLING] = -1, -1
    at[PUSHED] += 1
    root[queue] = entry if root[queue] < 0 else _link(context, root[queue], entry, before)


@kernel(inline=True)
def pop(root, queue, before, context):
    """Removes the first entry, and returns it: its children are joined in pairs, then one after the other."""
    entries, first = context[0], root[queue]
    tree = entries[first + CHILD]
    joined = np.int64(-1)
    while tree >= 0:
        other = entries[tree + SIBLING]
        following = np.int64(-1)
        if other >= 0:
            following = entries[other + SIBLING]
            tree = _link(context, tree, other, before)
        entries[tree + SIBLING] = joined
        joined, tree = tree, following
    top = np.int64(-1)
    while joined >= 0:
        following = entries[joined + SIBLING]
        entries[joined + SIBLING] = -1
        top = joined if top < 0 else _link(context, top, joined, before)
        joined = following
    root[queue] = top
    return first
