"""Encodes one short text in one call: the steps before the model (steps.py), the model, and special tokens.

A call takes the address of a handle, the address of the text, its number of bytes, and flags. It writes the tokens to the
memory of the fields IDS, BEGINS, ENDS and WORDS of the handle, and returns their number. A negative result means that the
stages of other files must encode the text. Most texts need no new memory. A cache holds the words that were encoded before.

Bounds: a word has at most as many tokens as bytes (other models have no handle), and before each word that number is
compared with MAX_TOKENS. IDS, BEGINS, ENDS and WORDS have MAX_SPECIAL elements more, and a text gets at most that many
special tokens. The memory for one word has TEXT_BYTES + MARGIN elements of each kind, and no word is longer than the text.
BOUNDS is used again for the number of characters before each byte of the original text, and has more elements than the
text has bytes.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeTables, Strings, UnigramTables, WordPieceTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.cache import (
    MAX_CACHED,
    NOWHERE,
    holds,
    keep,
    key_words,
    record_of,
    replay,
)
from gputok.kernels.cpu.encode_words.encode import encode_word
from gputok.kernels.cpu.encode_words.merge import SHORT
from gputok.kernels.cpu.encode_words.tables import Model
from gputok.kernels.cpu.lookup import find_among
from gputok.kernels.cpu.match_longest import match_word, word_pieces
from gputok.kernels.cpu.primitives.constants import U0
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.cpu.short_texts.handle import Handle, handle_at, memory, number, real, size
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
from gputok.kernels.cpu.viterbi import best_tokens
from gputok.kernels.signatures import i64

# A text has at most so many bytes; from some hundred bytes on, other stages are as fast
LONGEST = TEXT_BYTES // 2
MAX_TOKENS = TEXT_BYTES + MAX_PIECES
MAX_SPECIAL = 64  # special tokens around a text

SPECIAL, POSITIONS = 1, 2  # flags: put special tokens around the text; write the position of each token

# Fields of a handle, after those of steps.py: the tokens, the special tokens around them, and the model.
(
    IDS,  # uint32[MAX_TOKENS + MARGIN]
    BEGINS,  # int64[the same], characters of the text, with POSITIONS
    ENDS,
    WORDS,  # int32[the same], the number of the word, or -1
    BEFORE,  # uint32[at most MAX_SPECIAL]
    AFTER,
    CACHE,  # uint64[] of encode_words.word_cache
    SYMBOLS,  # memory for encode_word
    SYMBOL_OFFSETS,
    LINKS_BEFORE,
    LINKS_AFTER,
    KEYS,
    RANDOM,
    NAMES,  # from here on, the fields of BpeTables
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
    CHARACTERS,
    CHARACTER_EDGES,
    WHOLE_SLOTS,
    WHOLE_DATA,
    WHOLE_OFFSETS,
    INSIDE_SLOTS,
    INSIDE_BITS,
    CROSSING,
    DIVISIBLE,
    HARMLESS,
    ORDERED,
    EDGES,  # fields of WordPieceTables and UnigramTables that BpeTables lacks
    MAX_CHARACTERS,
    SCORES,
    UNK_SCORE,
    SINGLE,
    N_FIELDS,
) = range(N_MEMORY, N_MEMORY + 43)


def new_handle() -> Handle:
    """Makes a handle; the caller must put the tables of a model, steps and special tokens into its fields."""
    return Handle(N_FIELDS)


def put_bpe(handle: Handle, tables: BpeTables) -> None:
    """Puts BpeTables, which have no dropout, into a handle."""
    whole = tables.whole
    for field, value in (
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
        (CHARACTERS, tables.characters),
        (CHARACTER_EDGES, tables.edges),
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
        handle.put(field, value)


def put_wordpiece(handle: Handle, tables: WordPieceTables) -> None:
    """Puts WordPieceTables into a handle."""
    handle.put(EDGES, tables.edges)
    handle.put(PREFIX, tables.prefix)
    handle.put(UNK, tables.unk)
    handle.put(MAX_CHARACTERS, tables.max_chars)


def put_unigram(handle: Handle, tables: UnigramTables) -> None:
    """Puts UnigramTables into a handle."""
    handle.put(EDGES, tables.edges)
    handle.put(SCORES, tables.scores)
    handle.put(UNK, tables.unk)
    handle.put(UNK_SCORE, float(tables.unk_score))
    handle.put(FALLBACK, tables.fallback)
    handle.put(SINGLE, tables.single)


def put_wordlevel(handle: Handle, strings: Strings, ids: np.ndarray, unk: int) -> None:
    """Puts the tokens of WordLevel into a handle: their Strings, their ids, and the id of the unknown token or -1."""
    handle.put(WHOLE_SLOTS, strings.slots)
    handle.put(WHOLE_DATA, strings.data)
    handle.put(WHOLE_OFFSETS, strings.offsets)
    handle.put(NAMES, ids)
    handle.put(UNK, unk)


def with_memory(handle: Handle, cache: np.ndarray) -> Handle:
    """Copies a handle and gives the copy its own memory, for one text at a time. cache: a new encode_words.word_cache."""
    own = handle.copy()
    put_memory(own)
    own.put(CACHE, cache)
    n = TEXT_BYTES + MARGIN
    for field, dtype in ((SYMBOLS, np.uint32), (LINKS_BEFORE, np.uint32), (LINKS_AFTER, np.uint32)):
        own.put(field, np.empty(n, dtype))
    own.put(SYMBOL_OFFSETS, np.empty(n, np.int64))
    own.put(KEYS, np.empty(SHORT + 2, np.uint32))
    own.put(RANDOM, np.ones(1, np.uint64))
    n = MAX_TOKENS + MAX_SPECIAL
    for field, dtype in ((IDS, np.uint32), (BEGINS, np.int64), (ENDS, np.int64), (WORDS, np.int32)):
        own.put(field, np.empty(n, dtype))
    return own


# ---- BPE


@kernel(i64, i64, i64, i64)
def encode_bpe(address, text, n_bytes, flags):
    """Encodes a text by a BPE model. text: its address; n_bytes: at most LONGEST. -> the number of tokens, or TOO_MUCH."""
    handle, given = handle_at(address, N_FIELDS), _given(text, n_bytes)
    n, n_changed = words_of(handle, given, n_bytes, flags & POSITIONS != 0)
    text, (start, end, token) = memory(handle, TEXT, np.uint8), _words(handle)
    model, kept, tokens = _bpe(handle), _cache(handle), _tokens(handle)
    work = (
        memory(handle, SYMBOLS, np.uint32),
        memory(handle, SYMBOL_OFFSETS, np.int64),
        memory(handle, LINKS_BEFORE, np.uint32),
        memory(handle, LINKS_AFTER, np.uint32),
        memory(handle, KEYS, np.uint32),
        memory(handle, RANDOM, np.uint64),
    )
    out = (*tokens, True)
    t = np.uint64(_n_before(handle, flags))
    for i in range(n):
        before = np.int64(t)
        if before + end[i] - start[i] >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            t = np.uint64(_put(tokens, before, token[i], start[i], end[i]))
        else:
            t = encode_word(text, np.uint64(start[i]), np.uint64(end[i]), model, kept, True, work, out, t)
        if flags & POSITIONS:
            _number_words(handle, before, np.int64(t), i)
    return _finish(handle, given, n_bytes, n, n_changed, np.int64(t), flags)


@kernel(inline=True)
def _bpe(handle):
    """The Model of the tables that `put_bpe` has put into a handle."""
    pair_slots = memory(handle, PAIR_SLOTS, np.uint64)
    inside_slots, n_names = memory(handle, INSIDE_SLOTS, np.uint64), size(handle, NAMES) // 4
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
        memory(handle, CHARACTERS, np.uint32),
        memory(handle, CHARACTER_EDGES, np.uint32),
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
        _whole(handle),
        size(handle, WHOLE_OFFSETS) > 8,
        inside,
        memory(handle, CROSSING, np.uint8),
        number(handle, DIVISIBLE) != 0,
        number(handle, HARMLESS) != 0,
        number(handle, ORDERED) != 0,
        size(handle, BYTE_RANKS) > 0,
        size(handle, CHARACTERS) > 0,
    )


@kernel(inline=True)
def _whole(handle):
    """The Strings of a handle, as `find_among` takes them."""
    return (
        memory(handle, WHOLE_SLOTS, np.uint64),
        memory(handle, WHOLE_DATA, np.uint8),
        memory(handle, WHOLE_OFFSETS, np.uint64),
        np.uint64(size(handle, WHOLE_SLOTS) // 8 - 1),
    )


# ---- WordPiece, Unigram and WordLevel


@kernel(i64, i64, i64, i64)
def encode_wordpiece(address, text, n_bytes, flags):
    """Encodes a text by a WordPiece model; arguments and result are those of `encode_bpe`."""
    handle, given = handle_at(address, N_FIELDS), _given(text, n_bytes)
    n, n_changed = words_of(handle, given, n_bytes, flags & POSITIONS != 0)
    text, (start, end, token) = memory(handle, TEXT, np.uint8), _words(handle)
    kept, tokens = _cache(handle), _tokens(handle)
    edges, n_edges = memory(handle, EDGES, np.uint64), size(handle, EDGES) // 16
    prefix, n_prefix = memory(handle, PREFIX, np.uint8), size(handle, PREFIX)
    pieces = word_pieces(
        edges, n_edges, prefix, n_prefix, number(handle, MAX_CHARACTERS), number(handle, UNK)
    )
    t = _n_before(handle, flags)
    for i in range(n):
        before = t
        if t + end[i] - start[i] >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            t = _put(tokens, t, token[i], start[i], end[i])
        else:
            t, record, key = _recall(text, start[i], end[i], kept, tokens, t)
            if t == before:
                t = match_word(text, start[i], end[i], pieces, tokens, t)
                _remember(start[i], end[i], kept, record, key, tokens, before, t)
        if flags & POSITIONS:
            _number_words(handle, before, t, i)
    return _finish(handle, given, n_bytes, n, n_changed, t, flags)


@kernel(i64, i64, i64, i64)
def encode_unigram(address, text, n_bytes, flags):
    """Encodes a text by a Unigram model; arguments and result are those of `encode_bpe`."""
    handle, given = handle_at(address, N_FIELDS), _given(text, n_bytes)
    n, n_changed = words_of(handle, given, n_bytes, flags & POSITIONS != 0)
    text, (start, end, token) = memory(handle, TEXT, np.uint8), _words(handle)
    kept, tokens = _cache(handle), _tokens(handle)
    options = (
        memory(handle, EDGES, np.uint64),
        np.uint64(size(handle, EDGES) // 16 - 1),
        number(handle, UNK),
        number(handle, SINGLE) != 0,
        memory(handle, FALLBACK, np.uint32),
        size(handle, FALLBACK) > 0,
    )
    model = options, memory(handle, SCORES, np.float64), real(handle, UNK_SCORE)
    best = memory(handle, SYMBOL_OFFSETS, np.float64)
    best[0] = 0.0
    path = (
        memory(handle, LINKS_BEFORE, np.int32),
        memory(handle, SYMBOLS, np.uint32),
        memory(handle, LINKS_AFTER, np.int32),
    )
    t = _n_before(handle, flags)
    for i in range(n):
        before = t
        if t + end[i] - start[i] >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            t = _put(tokens, t, token[i], start[i], end[i])
        else:
            t, record, key = _recall(text, start[i], end[i], kept, tokens, t)
            if t == before:
                t = best_tokens(text, start[i], end[i] - start[i], model, best, path, tokens, t)
                if t < 0:
                    return np.int64(TOO_MUCH)
                _remember(start[i], end[i], kept, record, key, tokens, before, t)
        if flags & POSITIONS:
            _number_words(handle, before, t, i)
    return _finish(handle, given, n_bytes, n, n_changed, t, flags)


@kernel(i64, i64, i64, i64)
def encode_wordlevel(address, text, n_bytes, flags):
    """Encodes a text by a WordLevel model; arguments and result are those of `encode_bpe`."""
    handle, given = handle_at(address, N_FIELDS), _given(text, n_bytes)
    n, n_changed = words_of(handle, given, n_bytes, flags & POSITIONS != 0)
    text, (start, end, token) = memory(handle, TEXT, np.uint8), _words(handle)
    tokens, names, strings = _tokens(handle), memory(handle, NAMES, np.uint32), _whole(handle)
    t = _n_before(handle, flags)
    for i in range(n):
        if t + 1 >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        id = token[i]
        if id < 0:
            found = find_among(strings, text, np.uint64(start[i]), np.uint64(end[i] - start[i]))
            id = np.int64(names[found]) if found >= 0 else number(handle, UNK)
        if id < 0:
            return np.int64(TOO_MUCH)
        t = _put(tokens, t, id, start[i], end[i])
        if flags & POSITIONS:
            _number_words(handle, t - 1, t, i)
    return _finish(handle, given, n_bytes, n, n_changed, t, flags)


@kernel(inline=True)
def _recall(text, begin, end, kept, tokens, t):
    """Writes the tokens of a word, if the word is in the cache.

    -> the number of all tokens now (unchanged if the word is not in the cache), and the record and key of the word.
    """
    n = np.uint64(end - begin)
    key, record = (U0, U0, U0), NOWHERE
    if n <= np.uint64(MAX_CACHED[0]):
        key = key_words(text, np.uint64(begin), n)
        record = record_of(kept, n, key)
        if holds(kept, record, n, key):
            t = np.int64(replay(kept, record, tokens, np.uint64(t), begin))
    return t, record, key


@kernel(inline=True)
def _remember(begin, end, kept, record, key, tokens, first, last):
    """Stores the tokens first to last - 1 of a word in the cache, if they cover the word without gaps."""
    _, begins, ends = tokens
    at = begin
    for k in range(first, last):
        if begins[k] != at:
            return
        at = ends[k]
    if record != NOWHERE:
        keep(kept, record, np.uint64(end - begin), key, tokens, begin, np.uint64(first), np.uint64(last))


# ---- before and after a model


@kernel(inline=True)
def _given(text, n_bytes):
    return view((np.uint64(text), np.uint64(n_bytes)), np.uint8)


@kernel(inline=True)
def _words(handle):
    return memory(handle, START, np.int64), memory(handle, END, np.int64), memory(handle, TOKEN, np.int64)


@kernel(inline=True)
def _tokens(handle):
    return memory(handle, IDS, np.uint32), memory(handle, BEGINS, np.int64), memory(handle, ENDS, np.int64)


@kernel(inline=True)
def _cache(handle):
    cache = memory(handle, CACHE, np.uint64)
    return cache, view(cache, np.uint32), np.uint64(size(handle, CACHE) // 64 - 1)


@kernel(inline=True)
def _n_before(handle, flags):
    """The number of special tokens before the text."""
    return size(handle, BEFORE) // 4 if flags & SPECIAL else np.int64(0)


@kernel(inline=True)
def _put(tokens, t, id, begin, end):
    """Writes one token."""
    ids, begins, ends = tokens
    ids[t] = id
    begins[t] = begin
    ends[t] = end
    return t + 1


@kernel(inline=True)
def _number_words(handle, first, last, word):
    words = memory(handle, WORDS, np.int32)
    for k in range(first, last):
        words[k] = word


@kernel(inline=True)
def _finish(handle, given, n_bytes, n, n_changed, t, flags):
    """Converts positions, and adds special tokens to the t tokens of n words. -> the number of tokens; n if n is TOO_MUCH."""
    if n < 0:
        return n
    if flags & POSITIONS:
        _convert_positions(handle, given, n_bytes, n_changed, _n_before(handle, flags), t)
    if flags & SPECIAL:
        t = _surround(handle, t)
    return t


@kernel
def _surround(handle, t):
    """Writes the special tokens before and after the t tokens of the text. -> the number of all tokens."""
    tokens, words = _tokens(handle), memory(handle, WORDS, np.int32)
    before, after = memory(handle, BEFORE, np.uint32), memory(handle, AFTER, np.uint32)
    for k in range(size(handle, BEFORE) // 4):
        words[k] = -1
        _put(tokens, k, before[k], 0, 0)
    for k in range(size(handle, AFTER) // 4):
        words[t] = -1
        t = _put(tokens, t, after[k], 0, 0)
    return t


@kernel
def _convert_positions(handle, given, n_bytes, n_changed, first, t):
    """Converts the positions of tokens in the normalized text to positions in the original text, in characters.

    As in `gputok.pipeline.tokenize`, a part of a character counts as the whole character, and text that a normalizer
    appended after the last character has positions in bytes.
    """
    _, begins, ends = _tokens(handle)
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
