"""Encodes one short text in one call: the steps before the model (steps.py), the model, and special tokens.

A call takes the address of a handle (of a `steps.ShortText`), the address of the text, its number of bytes, and flags.
It writes the tokens to the fields `ids`, `begins`, `ends` and `words`, and returns their number; a negative result: the
stages of other files must encode the text. A cache holds the words that were encoded before.

Bounds: a word has at most as many tokens as bytes (models that could give more have no handle), and before each word
that number is compared with MAX_TOKENS. `ids`, `begins`, `ends` and `words` have MAX_SPECIAL elements more, for the
special tokens of a text. The memory for one word has TEXT_BYTES + MARGIN elements of each kind, and no word is longer
than the text. `bounds` is used again for the number of characters before each byte of the original text: it has more
elements than this text has bytes.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeTables, UnigramTables, WordLevelTables, WordPieceTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_one.steps import MARGIN, MAX_PIECES, TEXT_BYTES, TOO_MUCH, ShortText, words_of
from gputok.kernels.cpu.encode_words.cache import keep, recall
from gputok.kernels.cpu.encode_words.encode import encode_word
from gputok.kernels.cpu.encode_words.merge import SHORT
from gputok.kernels.cpu.lookup import find_string
from gputok.kernels.cpu.match_longest import match_word, word_pieces
from gputok.kernels.cpu.primitives.arrays import put_row
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.primitives.memory import as_views, record_at, view
from gputok.kernels.cpu.viterbi import best_tokens, options_of
from gputok.kernels.signatures import i64

# The most bytes of a text. For longer texts, other stages take 1.5 times as long; for 9,000 characters, 1.9 to 3 times
LONGEST = TEXT_BYTES // 2
MAX_TOKENS = TEXT_BYTES + MAX_PIECES
MAX_SPECIAL = 64  # special tokens around a text

SPECIAL, POSITIONS = 1, 2  # flags: put special tokens around the text; write the position of each token
# The tables of each kind of model; `kind` is the number of one of them
KINDS = BpeTables, WordPieceTables, UnigramTables, WordLevelTables


def new_handle(tables: BpeTables | WordPieceTables | UnigramTables | WordLevelTables) -> Handle:
    """Makes a handle for a model (without dropout); the caller puts steps and special tokens into its fields."""
    model = Handle.holding(tables)
    handle = Handle(ShortText, model=model.address, kind=KINDS.index(type(tables)))
    handle.keep(model)
    return handle


def with_memory(handle: Handle, cache: np.ndarray) -> Handle:
    """Copies a handle, and gives the copy its own memory, for one text at a time. cache: a new `word_cache`."""
    own = handle.copy()
    own.put(cache=cache, random=np.ones(1, np.uint64))
    for name in ("start", "end", "token", "new_start", "new_end", "new_token", "mode"):
        own.make(name, MAX_PIECES)
    own.make("rows", MAX_PIECES + 1)
    for name in ("text", "origin", "until", "bounds", "symbols", "symbol_offsets", "links_before", "links_after"):
        own.make(name, TEXT_BYTES + MARGIN)
    own.make("keys", SHORT + 2)
    for name in ("ids", "begins", "ends", "words"):
        own.make(name, MAX_TOKENS + MAX_SPECIAL)
    return own


@kernel(i64, i64, i64, i64)
def encode_text(address, text, n_bytes, flags):
    """Encodes a text, n_bytes at an address, at most LONGEST. -> the number of tokens, or TOO_MUCH."""
    handle, given = record_at(address, ShortText), view((np.uint64(text), np.uint64(n_bytes)), np.uint8)
    n, n_changed = words_of(handle, given, n_bytes, flags & POSITIONS != 0)
    kind = handle.kind
    if kind == 0:
        t = _encode(handle, n, flags, _merging(handle), _by_merges)
    elif kind == 1:
        t = _encode(handle, n, flags, _matching(handle), _by_longest_match)
    elif kind == 2:
        t = _encode(handle, n, flags, _scoring(handle), _by_best_path)
    else:
        t = _encode(handle, n, flags, as_views(record_at(handle.model, WordLevelTables)), _by_name)
    if n < 0 or t < 0:
        return np.int64(TOO_MUCH)
    if flags & POSITIONS:
        _convert_positions(handle, given, n_bytes, n_changed, _n_before(handle, flags), t)
    return _surround(handle, t) if flags & SPECIAL else t


@kernel(inline=True)
def _encode(handle, n, flags, model, encode):
    """Writes the tokens of n words by encode(handle, model, begin, end, t). -> the number of tokens, or TOO_MUCH."""
    start, end, token = handle.start, handle.end, handle.token
    t = _n_before(handle, flags)
    for i in range(n):
        before = t
        if t + end[i] - start[i] >= MAX_TOKENS:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            t = put_row(_tokens(handle), t, token[i], start[i], end[i])
        else:
            t = encode(handle, model, start[i], end[i], t)
        if t < 0:
            break
        if flags & POSITIONS:
            words = handle.words
            for k in range(before, t):
                words[k] = i
    return t


@kernel(inline=True)
def _merging(handle):
    links = handle.links_before, handle.links_after
    work = handle.symbols, handle.symbol_offsets, *links, handle.keys, handle.random
    return handle.text, as_views(record_at(handle.model, BpeTables)), _cache(handle), work, (*_tokens(handle), True)


@kernel(inline=True)
def _by_merges(handle, model, begin, end, t):
    text, tables, kept, work, out = model
    word = np.uint64(begin), np.uint64(end)
    return np.int64(encode_word(text, *word, tables, 0.0, kept, True, work, out, np.uint64(t)))


@kernel(inline=True)
def _matching(handle):
    pieces = word_pieces(as_views(record_at(handle.model, WordPieceTables)))
    return handle.text, pieces, _cache(handle), _tokens(handle)


@kernel(inline=True)
def _by_longest_match(handle, model, begin, end, t):
    text, pieces, kept, tokens = model
    known, found, record, key = _recall(text, begin, end, kept, tokens, t)
    if not known:
        found = match_word(text, begin, end, pieces, tokens, t)
        _remember(begin, end, kept, record, key, tokens, t, found)
    return found


@kernel(inline=True)
def _scoring(handle):
    tables, best = as_views(record_at(handle.model, UnigramTables)), view(handle.symbol_offsets, np.float64)
    best[0] = 0.0
    path = view(handle.links_before, np.int32), handle.symbols, view(handle.links_after, np.int32)
    options = options_of(tables), tables.scores, tables.unk_score
    return handle.text, options, best, path, _cache(handle), _tokens(handle)


@kernel(inline=True)
def _by_best_path(handle, model, begin, end, t):
    text, options, best, path, kept, tokens = model
    known, found, record, key = _recall(text, begin, end, kept, tokens, t)
    if not known:
        found = best_tokens(text, begin, end - begin, options, best, path, tokens, t)
        if found >= 0:
            _remember(begin, end, kept, record, key, tokens, t, found)
    return found


@kernel(inline=True)
def _by_name(handle, model, begin, end, t):
    found = find_string(model.strings, handle.text, np.uint64(begin), np.uint64(end - begin))
    id = np.int64(model.ids[found]) if found >= 0 else model.unk
    return put_row(_tokens(handle), t, id, begin, end) if id >= 0 else np.int64(TOO_MUCH)


@kernel(inline=True)
def _recall(text, begin, end, kept, tokens, t):
    """`recall` of a word, with signed numbers."""
    n = np.uint64(end - begin)
    known, t, record, key = recall(kept, text, np.uint64(begin), n, n, tokens, np.uint64(t))
    return known, np.int64(t), record, key


@kernel(inline=True)
def _remember(begin, end, kept, record, key, tokens, first, last):
    """Stores the tokens first to last - 1 of a word in the cache, unless there are gaps: it has only their ends."""
    _, begins, ends = tokens
    at = begin
    for k in range(first, last):
        if begins[k] != at:
            return
        at = ends[k]
    keep(kept, record, np.uint64(end - begin), key, tokens, begin, np.uint64(first), np.uint64(last))


@kernel(i64, i64, i64)
def trim(address, first, last):
    """Leaves out the white space at both ends of tokens, in the positions that a call with POSITIONS wrote.

    address: of the handle; first, last: the tokens first to last - 1 are those of a text, and the call wrote them.
    -> last; or TOO_MUCH, and no position is changed, if `leading` of a token is not known.
    """
    handle = record_at(address, ShortText)
    ids, begins, ends = _tokens(handle)
    leading, trailing, trims = handle.leading, handle.trailing, handle.trims
    if len(trims) == 0:
        return last
    for k in range(first, last):
        if np.int64(ids[k]) >= len(leading) or leading[ids[k]] < 0:
            return np.int64(TOO_MUCH)
    for i in range(len(trims)):
        for k in range(first, last):
            before, after = np.int64(leading[ids[k]]), np.int64(trailing[ids[k]])
            if trims[i] and before == 1 and (begins[k] == 0 or k == first):
                before = np.int64(0)
            end = ends[k]
            begins[k] = min(begins[k] + before, end)
            if after and end >= after:
                ends[k] = max(end - after, begins[k])
    return last


@kernel(inline=True)
def _tokens(handle):
    return handle.ids, handle.begins, handle.ends


@kernel(inline=True)
def _cache(handle):
    cache = handle.cache
    return view(cache, np.uint64), view(cache, np.uint32), np.uint64(len(cache) // 8 - 1)


@kernel(inline=True)
def _n_before(handle, flags):
    """The number of special tokens before the text."""
    return len(handle.before) if flags & SPECIAL else np.int64(0)


@kernel
def _surround(handle, t):
    """Writes the special tokens before and after the t tokens of the text. -> the number of all tokens."""
    tokens, words, before, after = _tokens(handle), handle.words, handle.before, handle.after
    for k in range(len(before)):
        words[k] = -1
        put_row(tokens, k, before[k], 0, 0)
    for k in range(len(after)):
        words[t] = -1
        t = put_row(tokens, t, after[k], 0, 0)
    return t


@kernel
def _convert_positions(handle, given, n_bytes, n_changed, first, t):
    """Converts the positions of tokens in the normalized text to positions in the original text, in characters.

    A part of a character counts as the character. Tokens of text that a step appended keep positions in bytes.
    """
    _, begins, ends = _tokens(handle)
    if n_changed >= 0:
        came_from, until = handle.origin, handle.until
        for k in range(first, t):
            begins[k] = came_from[min(begins[k], n_changed - 1)] if n_changed else 0
            ends[k] = until[min(max(ends[k] - 1, 0), n_changed - 1)] if n_changed else 0
    wide = np.uint8(0)
    for p in range(n_bytes):
        wide |= given[p]
    if wide < np.uint8(0x80):
        return
    n_before = handle.bounds  # characters that begin before each byte
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
