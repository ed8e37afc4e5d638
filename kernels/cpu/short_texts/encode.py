"""One short text to ids, in one call: the steps before the model (steps.py), the model, and special tokens.

A call takes the address of a handle, that of the text, its bytes and flags, and gives the number of tokens, which are
then in the memory that the handle names; or a negative number for a text that is left to the stages of other files.
Nothing is allocated for most texts. A word that was encoded before is found in a cache; another is encoded at once.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.backtrack import _Views as VocabularyViews
from gputok.kernels.cpu.encode_words.merge import SHORT, Model, encode_word
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.cpu.short_texts.handle import Handle, handle_at, memory, number, size
from gputok.kernels.cpu.short_texts.steps import (
    BOUNDS,
    END,
    FROM,
    MARGIN,
    MAX_PIECES,
    N_MEMORY,
    START,
    TEXT,
    TEXT_BYTES,
    TOKEN,
    TOO_MUCH,
    UNTIL,
    put_memory,
    words_of,
)
from gputok.kernels.signatures import i64

LONGEST = TEXT_BYTES // 2  # bytes of a text; from some hundred on other ways are as fast
MAX_TOKENS = TEXT_BYTES + MAX_PIECES
MAX_SPECIAL = 64  # special tokens around a text

SPECIAL, POSITIONS = 1, 2  # flags: put special tokens around the text; say where each token is

# Places of a handle, behind those of steps.py: the tokens, what stands around them, and the model.
(
    IDS,  # uint32[MAX_TOKENS + MARGIN]
    BEGINS,  # int64[the same], characters of the text, with POSITIONS
    ENDS,
    WORDS,  # int32[the same], the number of the word, or -1
    BEFORE,  # uint32[at most MAX_SPECIAL]
    BEHIND,
    CACHE,  # uint64[] of merge.word_cache
    SYMBOLS,  # memory for encode_word
    PLACES,
    LINKS_BEFORE,
    LINKS_AFTER,
    KEYS,
    CLOSED,
    RANDOM,
    NAMES,  # the fields of BpeTables, from here on
    PAIR_SLOTS,
    PAIR_BITS,
    MERGED,
    BYTE_RANKS,
    TABLE,
    N_COLUMNS,
    VARIANT,
    FALLBACK,
    PREFIX,
    SUFFIX,
    UNK,
    FUSE_UNK,
    SPELT_SLOTS,  # Backtrack
    SPELT_BITS,
    SPELT_SEEN,
    SPELT_TOKENS,
    SPELT_CELLS,
    WHOLE_SLOTS,
    WHOLE_DATA,
    WHOLE_OFFSETS,
    INSIDE_SLOTS,
    INSIDE_BITS,
    CROSSING,
    DIVISIBLE,
    HARMLESS,
    ORDERED,
    N_PLACES,
) = range(N_MEMORY, N_MEMORY + 42)


def new_handle() -> Handle:
    """A handle of any short text's kernel; tables, steps and special tokens are still to be put there."""
    return Handle(N_PLACES)


def put_bpe(handle: Handle, tables) -> None:
    """Puts BpeTables without dropout there."""
    backtrack, whole = tables.backtrack, tables.whole
    for place, value in (
        (NAMES, tables.ids),
        (PAIR_SLOTS, tables.pairs.slots),
        (PAIR_BITS, tables.pairs.bits),
        (MERGED, tables.merged),
        (BYTE_RANKS, tables.byte_ranks),
        (TABLE, tables.symbols),
        (N_COLUMNS, tables.symbols.shape[1]),
        (VARIANT, tables.variant),
        (FALLBACK, tables.fallback),
        (PREFIX, tables.prefix),
        (SUFFIX, tables.suffix),
        (UNK, tables.unk),
        (FUSE_UNK, tables.fuse_unk),
        (SPELT_SLOTS, backtrack.pairs.slots),
        (SPELT_BITS, backtrack.pairs.bits),
        (SPELT_SEEN, backtrack.seen),
        (SPELT_TOKENS, backtrack.tokens),
        (SPELT_CELLS, backtrack.cells),
        (WHOLE_SLOTS, whole.slots),
        (WHOLE_DATA, whole.data),
        (WHOLE_OFFSETS, whole.offsets),
        (INSIDE_SLOTS, tables.inside.slots),
        (INSIDE_BITS, tables.inside.bits),
        (CROSSING, tables.crossing),
        (DIVISIBLE, tables.divisible),
        (HARMLESS, tables.harmless),
        (ORDERED, tables.ordered),
    ):
        handle.put(place, value)


def with_memory(handle: Handle, cache: np.ndarray) -> Handle:
    """A copy with memory of its own, for one text at a time. cache: of merge.word_cache, likewise."""
    own = handle.copy()
    put_memory(own)
    own.put(CACHE, cache)
    n = TEXT_BYTES + MARGIN
    for place, dtype in ((SYMBOLS, np.uint32), (LINKS_BEFORE, np.uint32), (LINKS_AFTER, np.uint32)):
        own.put(place, np.empty(n, dtype))
    own.put(PLACES, np.empty(n, np.int64))
    own.put(KEYS, np.empty(SHORT + 2, np.uint32))
    own.put(CLOSED, np.empty(n // 64 + 1, np.uint64))
    own.put(RANDOM, np.ones(1, np.uint64))
    n = MAX_TOKENS + MAX_SPECIAL
    for place, dtype in ((IDS, np.uint32), (BEGINS, np.int64), (ENDS, np.int64), (WORDS, np.int32)):
        own.put(place, np.empty(n, dtype))
    return own


@kernel(i64, i64, i64, i64)
def encode_bpe(address, text, n_bytes, flags):
    """The tokens of a text by a BPE model. text: its address; n_bytes: at most LONGEST."""
    handle = handle_at(address, N_PLACES)
    given = view((np.uint64(text), np.uint64(n_bytes)), np.uint8)
    positions = flags & POSITIONS != 0
    n, n_changed = words_of(handle, given, n_bytes, positions)
    if n < 0:
        return n
    text = memory(handle, TEXT, np.uint8)
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    token, words = memory(handle, TOKEN, np.int64), memory(handle, WORDS, np.int32)
    model, cache = _bpe(handle), memory(handle, CACHE, np.uint64)
    kept = cache, view(cache, np.uint32), np.uint64(size(handle, CACHE) // 64 - 1)
    work = (
        memory(handle, SYMBOLS, np.uint32),
        memory(handle, PLACES, np.int64),
        memory(handle, LINKS_BEFORE, np.uint32),
        memory(handle, LINKS_AFTER, np.uint32),
        memory(handle, KEYS, np.uint32),
        memory(handle, CLOSED, np.uint64),
        memory(handle, RANDOM, np.uint64),
    )
    tokens = (
        memory(handle, IDS, np.uint32),
        memory(handle, BEGINS, np.int64),
        memory(handle, ENDS, np.int64),
    )
    out = (*tokens, True)
    first = np.uint64(size(handle, BEFORE) // 4 if flags & SPECIAL else 0)
    t = first
    for i in range(n):
        before = t
        if np.int64(t) + end[i] - start[i] >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            t = _put(tokens, t, token[i], start[i], end[i])
        else:
            t = encode_word(text, np.uint64(start[i]), np.uint64(end[i]), model, kept, True, work, out, t)
        if positions:
            for k in range(before, t):
                words[k] = i
    if positions:
        _place(handle, given, n_bytes, n_changed, tokens, first, t)
    return _around(handle, tokens, words, t, flags)


@kernel(inline=True)
def _bpe(handle):
    """The Model that `put_bpe` has put there."""
    pair_slots, spelt_slots = memory(handle, PAIR_SLOTS, np.uint64), memory(handle, SPELT_SLOTS, np.uint64)
    inside_slots, n_names = memory(handle, INSIDE_SLOTS, np.uint64), size(handle, NAMES) // 4
    n_spelt = size(handle, SPELT_TOKENS) // 16
    vocabulary = VocabularyViews(
        np.uint32(n_spelt),
        spelt_slots,
        np.uint64(size(handle, SPELT_SLOTS) // 8 - 1),
        np.uint64(number(handle, SPELT_BITS)),
        memory(handle, SPELT_SEEN, np.uint8),
        np.uint64(8 * size(handle, SPELT_SEEN) - 1),
        memory(handle, SPELT_TOKENS, np.uint32),
        memory(handle, SPELT_CELLS, np.uint64),
    )
    whole = (
        memory(handle, WHOLE_SLOTS, np.uint64),
        memory(handle, WHOLE_DATA, np.uint8),
        memory(handle, WHOLE_OFFSETS, np.uint64),
        np.uint64(size(handle, WHOLE_SLOTS) // 8 - 1),
    )
    inside = (
        inside_slots,
        np.uint64(size(handle, INSIDE_SLOTS) // 8 - 1),
        np.uint64(number(handle, INSIDE_BITS)),
    )
    return Model(
        memory(handle, NAMES, np.uint32),
        (
            pair_slots,
            np.uint64(size(handle, PAIR_SLOTS) // 8 - 1),
            np.uint64(number(handle, PAIR_BITS)),
        ),
        memory(handle, MERGED, np.uint32),
        memory(handle, BYTE_RANKS, np.uint32),
        np.uint32(n_names),
        memory(handle, TABLE, np.uint32),
        np.uint64(number(handle, N_COLUMNS)),
        memory(handle, VARIANT, np.int64),
        memory(handle, FALLBACK, np.uint32),
        memory(handle, PREFIX, np.uint8),
        memory(handle, SUFFIX, np.uint8),
        memory(handle, UNK, np.uint32),
        size(handle, FALLBACK) // 4,
        size(handle, PREFIX),
        size(handle, SUFFIX),
        size(handle, UNK) // 4,
        number(handle, FUSE_UNK) != 0,
        0.0,
        vocabulary,
        n_spelt > 0,
        whole,
        size(handle, WHOLE_OFFSETS) > 8,
        inside,
        memory(handle, CROSSING, np.uint8),
        number(handle, DIVISIBLE) != 0,
        number(handle, HARMLESS) != 0,
        number(handle, ORDERED) != 0,
        size(handle, BYTE_RANKS) > 0,
    )


@kernel(inline=True)
def _put(tokens, t, id, begin, end):
    """Writes one token."""
    ids, begins, ends = tokens
    ids[t] = id
    begins[t] = begin
    ends[t] = end
    return t + U1


@kernel(inline=True)
def _around(handle, tokens, words, t, flags):
    """Writes the special tokens before and behind those of the text, if the flags say so: how many there are now."""
    if flags & SPECIAL:
        n_before, n_behind = size(handle, BEFORE) // 4, size(handle, BEHIND) // 4
        before, behind = memory(handle, BEFORE, np.uint32), memory(handle, BEHIND, np.uint32)
        for k in range(n_before):
            words[k] = -1
            _put(tokens, np.uint64(k), before[k], 0, 0)
        for k in range(n_behind):
            words[t] = -1
            t = _put(tokens, t, behind[k], 0, 0)
    return np.int64(t)


@kernel(inline=True)
def _place(handle, given, n_bytes, n_changed, tokens, first, t):
    """Makes of the tokens' places in the text those in the given one, in characters.

    As `gputok.pipeline.tokenize` has it: a part of a character counts as all of it, and what a normalizer put behind the
    last character keeps its place in bytes.
    """
    _, begins, ends = tokens
    if n_changed >= 0:
        came_from, until = memory(handle, FROM, np.int32), memory(handle, UNTIL, np.int32)
        for k in range(first, t):
            begins[k] = came_from[min(begins[k], n_changed - 1)] if n_changed else 0
            ends[k] = until[min(max(ends[k] - 1, 0), n_changed - 1)] if n_changed else 0
    wide = np.uint8(0)
    for p in range(n_bytes):
        wide |= given[p]
    if wide < np.uint8(0x80):
        return
    n_before = memory(handle, BOUNDS, np.uint32)  # characters that begin before each byte
    count = np.uint32(0)
    for p in range(n_bytes):
        n_before[p] = count
        count += np.uint32(given[p] & np.uint8(0xC0) != np.uint8(0x80))
    n_before[n_bytes] = count
    for k in range(first, t):
        begin = begins[k]
        if begin < n_bytes:
            begins[k] = np.int64(n_before[begin + 1]) - 1
            ends[k] = np.int64(n_before[ends[k]])
