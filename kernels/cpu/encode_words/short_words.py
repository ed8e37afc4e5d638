"""Byte-pair encoding of many short words, several side by side.

Most of the time of a merge is waiting for memory: the rank of a pair, and the token that it becomes, lie anywhere in
megabytes of tables. So GROUP words are merged together. Each word takes one step and prefetches the memory for its
next; until that arrives, the other words take their steps. After that, time goes to instructions: so four slots of the
table are compared at once, and the positions of a word's symbols are the bits of a number. Measured on the new words of
English, 9 bytes on average, 32,000 tokens, one core of an AMD EPYC (Zen 4): 0.16 microseconds a word.

    one turn of a word:  look up the ranks of the two pairs that the last merge made; find the lowest of all ranks;
                         ask for the token that this pair becomes
    the next:            take that token; ask for the ranks of its pairs with both neighbours
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeTables, Pairs, Strings, rises_by_one
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.characters import row_of_character
from gputok.kernels.cpu.lookup import FREE, NONE, find_hashed, pair_ranks
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import ALL, LOW32, U0, U1, U2, U3, U4, U8, U32, U62, U63
from gputok.kernels.cpu.primitives.hashing import hash_bytes, hash_pair
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    has_ones,
    leading_zeros,
    least_of,
    likely,
    of_four,
    prefetch,
    scratch,
    trailing_zeros,
    view,
)
from gputok.kernels.cpu.primitives.utf8 import decode
from gputok.kernels.signatures import NamedTuple, U32s, i64, u32

MOST_BYTES = 62  # a longer word is encoded by `encode_words`
GROUP = 16  # words that are merged side by side
AHEAD = np.uint64(16)  # the text of a word is prefetched so many words before the word is begun
BATCH = 128  # words that are looked for among the tokens together, before they are merged
LANES = np.uint64(16)  # keys that `least_of` compares
POSITION_BITS = np.uint32(6)  # bits of a position in a word
# A word of a group has STRIDE symbols in `work`, then STRIDE keys: of the pair that begins at each symbol. Its first
# symbol is at position 1: before the word, and after it, stands a symbol in no pair.
STRIDE = 64
KEYS = np.uint64(STRIDE)
# In `state` it has: how many symbols it began as (0: there is no word), and a bit for each that it still has; where its
# ids go, and which word it is; which ranks were asked for (0, MERGED or FIRST), of which pairs (left << bits | right),
# and at which positions; the lowest key
SIZE, ALIVE, TARGET, NUMBER, ASKED, KEY_LEFT, KEY_RIGHT, AT_LEFT, AT_RIGHT, LEAST = (np.uint64(i) for i in range(10))
N_FIELDS = 16
# A word's fields are at i of `state`, its symbols at i * SYMBOLS_OF of `work`
SYMBOLS_OF = np.uint64(2 * STRIDE // N_FIELDS)
WORK, STATE = GROUP * 2 * STRIDE, GROUP * N_FIELDS  # elements of memory for a group
MERGED, FIRST = U1, U2  # the ranks of the two pairs of the last merge; those of all pairs of a new word
_MARK = ord("▁")


class ShortWords(NamedTuple):
    """A BPE model in which each word can be made of bytes. A symbol is the position of a token in the vocabulary."""

    symbols: U32s  # uint32[256], the symbol of each byte
    byte_keys: U32s  # uint32[256 * 256], rank << POSITION_BITS of the pair of two bytes, or NONE
    # uint32[0x110000], symbol + 1 of each wide character; 0: it begins as its bytes. Empty: all of them do
    wide: U32s
    pairs: Pairs  # of symbols
    merged: U32s  # uint32[m], the symbol that the pair of each rank becomes; empty: it is `first` + rank
    first: int
    ids: U32s  # uint32[n], of each symbol; empty: a symbol is its id
    whole: Strings  # the tokens, if a word that is a token isn't taken apart; else empty
    characters: U32s  # of `characters.character_tables`
    crossing: U32s
    n: int  # symbols


def byte_words(tables: BpeTables) -> ShortWords | None:
    """The model of byte-level BpeTables; None if words are more than merges of bytes."""
    if not len(tables.characters) or tables.dropout:
        return None
    symbols = np.ascontiguousarray(tables.symbols[0] - np.uint32(1))
    return _short_words(tables, symbols, tables.byte_ranks, np.empty(0, np.uint32))


def line_words(tables: BpeTables) -> ShortWords | None:
    """The model of BpeTables for characters, a space standing for ▁; None: words are more than merges of characters."""
    wide = tables.symbols[0]
    if not tables.harmless or tables.ordered or len(tables.whole.offsets) > 1 or not wide[_MARK]:
        return None
    symbols = tables.fallback.copy()  # of unknown characters
    ascii = wide[:0x80].copy()
    ascii[0x20] = wide[_MARK]
    symbols[:0x80] = np.where(ascii, ascii - np.uint32(1), symbols[:0x80])
    ranks = np.full((256, 256), NONE)
    ranks[:0x80, :0x80] = pair_ranks(tables.pairs, symbols[:0x80])
    return _short_words(tables, symbols, ranks, wide)


def _short_words(tables: BpeTables, symbols: np.ndarray, ranks: np.ndarray, wide: np.ndarray) -> ShortWords:
    """Makes the model; ranks: uint32[256, 256], of the pairs of two bytes."""
    n, m = len(tables.ids), len(tables.merged)
    ids = tables.ids[:0] if rises_by_one(tables.ids) and not tables.ids[:1].any() else tables.ids
    ranks = ranks.ravel()
    keys = np.where(ranks == NONE, NONE, ranks << POSITION_BITS)
    merged, first = tables.merged, int(tables.merged[0]) if m else 0
    if rises_by_one(merged):  # as trained: then no memory is read for the symbol of a rank
        merged = merged[:0]
    rest = tables.whole, tables.characters, tables.edges, n
    return ShortWords(symbols, keys, wide, tables.pairs, merged, first, ids, *rest)


NO_WORDS = np.empty(0, np.uint32), np.zeros(1, np.int64)


def encode_short_words(data, start, end, model, longer=NO_WORDS):
    """`encode_words` without positions.

    longer: ids and rows of the words of over MOST_BYTES, of `encode_words`. -> ids uint32[t], rows int64[n_words + 1].
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    lengths = end - start
    n_longer = np.count_nonzero(lengths > MOST_BYTES)
    if n_longer != len(longer[1]) - 1:  # the kernel would read rows that do not exist
        raise ValueError(f"{n_longer} words have more than {MOST_BYTES} bytes, but `longer` has {len(longer[1]) - 1}")
    ids = np.empty(int(lengths.sum()) + 4, np.uint32)  # `pack_ids` may read the last four, which are never written
    rows = np.empty(len(start) + 1, np.int64)
    _encode((pointer(data), pointer(start), pointer(end)), model, longer, ids, rows)
    return ids[: rows[-1]], rows


@kernel(inline=True)
def _ask(pairs, left, right):
    """Prefetches the slots where the rank of a pair may be. -> the pair as one number, left << bits | right."""
    slots = pairs.slots
    key = np.uint64(left) << np.uint64(pairs.bits) | np.uint64(right)
    at = hash_pair(key) & np.uint64(len(slots) - 1)
    prefetch(slots, at)
    prefetch(slots, at + U3)
    return key


@kernel(inline=True)
def _answer(pairs, key, position):
    """The key of a pair at a position, rank << POSITION_BITS | position; if it has no rank, all bits of `rank` are set.

    key: of `_ask`. Four slots are looked at together: mostly one of them has the pair, or is free. The table has at
    least four.
    """
    slots, mask, rank_bits = pairs.slots, np.uint64(len(pairs.slots) - 1), np.uint64(64 - 2 * pairs.bits)
    at = hash_pair(key) & mask
    first = min(at, mask - U3)
    found = of_four(slots, first, rank_bits, key)
    if not likely((found != FREE) | (has_ones(slots, first) & (first == at))):
        found = slots[at]
        while found >> rank_bits != key and found != FREE:
            at = (at + U1) & mask
            found = slots[at]
    return np.uint32((found & ((U1 << rank_bits) - U1)) << np.uint64(POSITION_BITS)) | np.uint32(position)


@kernel(inline=True)
def _first_symbols(text, begin, end, model, work, symbols):
    """Writes the symbols that text[begin:end] begins as to work[symbols:], and returns their number."""
    byte_symbols, characters, crossing, wide = model.symbols, model.characters, model.crossing, model.wide
    at, n = begin, U0
    while len(wide) and at < end:
        size, symbol = U1, np.uint32(0)
        if text[at] >= np.uint8(0x80):
            code, size = decode(text, at)
            symbol, size = wide[code], min(size, end - at)
        if symbol:
            work[symbols + n] = symbol - np.uint32(1)
            n += U1
        else:
            for k in range(size):
                work[symbols + n + k] = byte_symbols[text[at + k]]
            n += size
        at += size
    while at < end:
        row, size = row_of_character(text, begin, at, end, characters, crossing)
        if size:
            work[symbols + n] = characters[row] - np.uint32(1)
            second = characters[row + U1]
            if second:
                n += U1
                work[symbols + n] = second - np.uint32(1)
            at += size
        else:
            work[symbols + n] = byte_symbols[text[at]]
            at += U1
        n += U1
    return n


@kernel((i64, i64, i64), ShortWords, (u32[:], i64[:]), u32[:], i64[:])
def _encode(words, model, longer, tokens, rows):
    """Merges the words, and puts the ids of longer words between; a row of `longer` has at most one id a byte."""
    text, starts, ends = view(words[0], np.uint8), view(words[1], np.uint64), view(words[2], np.uint64)
    n_words, out, counts = np.uint64(len(rows) - 1), view(tokens), view(rows, np.uint64)
    memory = scratch(BATCH, np.uint64), scratch(WORK, np.uint32), scratch(STATE, np.uint64)
    merge_words(text, (starts, ends, n_words), as_views(model), memory, out, counts)

    long_ids, long_rows = view(longer[0]), view(longer[1], np.uint64)
    pack_ids((starts, ends, n_words), (long_ids, long_rows), out, counts)


@kernel(inline=True)
def _rank_pairs(pairs, work, state, i, symbols):
    """1. Writes the ranks that a word asked for: of the pairs of its last merge, or of all its first pairs."""
    keys, asked = symbols + KEYS, state[i + ASKED]
    if asked == MERGED:
        at = state[i + AT_RIGHT]
        work[keys + at] = _answer(pairs, state[i + KEY_RIGHT], at)
        at = state[i + AT_LEFT]
        work[keys + at] = _answer(pairs, state[i + KEY_LEFT], at)
    elif asked == FIRST:
        for at in range(U1, state[i + SIZE]):
            left, right = np.uint64(work[symbols + at]), np.uint64(work[symbols + at + U1])
            work[keys + at] = _answer(pairs, left << np.uint64(pairs.bits) | right, at)


@kernel(inline=True)
def _take_lowest(merged, work, state, i, symbols):
    """2. Finds the lowest key of a word, and asks for the symbol that its pair becomes."""
    keys, n = symbols + KEYS, state[i + SIZE]
    least = least_of(work, keys) if n else NONE
    if n > LANES:
        for k in range(LANES, n, LANES):
            least = min(least, least_of(work, keys + k))
    state[i + LEAST] = np.uint64(least)
    if len(merged):
        prefetch(merged, np.uint64(least >> POSITION_BITS))


@kernel(inline=True)
def _merge(model, work, state, i, symbols):
    """3. Merges the pair of the lowest key, and asks for the ranks of the pairs with both neighbours."""
    pairs, merged = model.pairs, model.merged
    least, alive = np.uint32(state[i + LEAST]), state[i + ALIVE]
    at, rank = np.uint64(least & np.uint32(STRIDE - 1)), least >> POSITION_BITS
    new = merged[np.uint64(rank)] if len(merged) else np.uint32(model.first) + rank
    after = alive & (ALL << at << U1)
    right, next_one = trailing_zeros(after), trailing_zeros(after & (after - U1))
    left = U63 - leading_zeros(alive & ((U1 << at) - U1))
    work[symbols + at] = new
    work[symbols + KEYS + right] = NONE
    state[i + ALIVE] = alive ^ (U1 << right)
    state[i + KEY_RIGHT] = _ask(pairs, new, work[symbols + next_one])
    state[i + KEY_LEFT] = _ask(pairs, work[symbols + left], new)
    state[i + AT_RIGHT], state[i + AT_LEFT], state[i + ASKED] = at, left, MERGED


@kernel(inline=True)
def _finish_word(model, work, state, i, symbols, out, counts):
    """4. Writes the ids of a word whose pairs have no rank any more, if there is a word at `i`."""
    names, named = model.ids, len(model.ids) > 0
    if state[i + SIZE]:
        count, target, alive = U0, state[i + TARGET], state[i + ALIVE]
        alive &= alive - U1
        rest = alive & (alive - U1)
        while rest:
            symbol = work[symbols + trailing_zeros(alive)]
            out[target + count] = names[symbol] if named else symbol
            count += U1
            alive = rest
            rest &= rest - U1
        counts[state[i + NUMBER]] = count
        state[i + SIZE] = U0
        state[i + ASKED] = U0


@kernel(inline=True)
def _skip_words(text, words, model, hashes, out, counts, seen):
    """5. Writes the ids of words that need no merge, up to one that does; seen: of `merge_words`. -> the new `seen`."""
    (starts, ends, n_words), (w, looked_for, room) = words, seen
    names, named, byte_symbols = model.ids, len(model.ids) > 0, model.symbols
    keeps_whole = len(model.whole.offsets) > 1
    while w < n_words:
        prefetch(text, starts[min(w + AHEAD, n_words - U1)])
        if keeps_whole and w == looked_for:
            looked_for = min(w + np.uint64(BATCH), n_words)
            _find_whole(model.whole, text, starts, ends, w, looked_for, hashes, counts)
        begin, n = starts[w], ends[w] - starts[w]
        if keeps_whole and counts[w] and n <= np.uint64(MOST_BYTES):
            symbol = np.uint32(counts[w] - U1)
            out[room] = names[symbol] if named else symbol
            counts[w] = U1
        elif n <= U1:
            if n:
                symbol = byte_symbols[text[begin]]
                out[room] = names[symbol] if named else symbol
            counts[w] = n
        elif n > np.uint64(MOST_BYTES):
            counts[w] = U0
        else:
            break
        room += n
        w += U1
    return w, looked_for, room


@kernel(inline=True)
def _start_word(text, begin, n, model, work, state, i, symbols):
    """6. Writes the symbols of a word of n bytes, and their keys; those of other pairs than bytes are asked for."""
    byte_symbols, byte_keys, keys = model.symbols, model.byte_keys, symbols + KEYS
    state[i + ASKED] = U0
    _no_keys(work, keys, n)
    left = np.uint64(text[begin])
    bytes_seen = left
    for k in range(U1, n):
        right = np.uint64(text[begin + k])
        bytes_seen |= right
        work[keys + k] = byte_keys[left << U8 | right] | np.uint32(k)
        work[symbols + k] = byte_symbols[left]
        left = right
    work[symbols + n] = byte_symbols[left]
    if bytes_seen >= np.uint64(0x80):
        n = _first_symbols(text, begin, begin + n, model, work, symbols + U1)
        _no_keys(work, keys, n)
        for k in range(U1, n):
            _ask(model.pairs, work[symbols + k], work[symbols + k + U1])
        state[i + ASKED] = FIRST
    state[i + SIZE] = n
    state[i + ALIVE] = ALL >> (U62 - n)
    work[symbols + n + U1] = np.uint32(model.n)


@kernel(inline=True)
def merge_words(text, words, model, memory, out, counts):
    """Writes the ids of each word text[starts[i]:ends[i]] and counts[i], their number; of words of over MOST_BYTES, 0.

    words: starts, ends, and their number; model: the views of ShortWords; memory: uint64[BATCH], uint32[WORK],
    uint64[STATE]; out: an element for each byte of the words, and four more; counts: for each word and one more. A word
    has at least as many bytes as ids: its ids are written where its first bytes would be if all words stood side by
    side, and `pack_ids` closes the gaps.

    Bounds: a word that is merged here has n symbols, at most MOST_BYTES, at the positions 1 to n of STRIDE; ALIVE has
    bits for these and for 0 and n + 1, which stay, so that each symbol has one before and one after it; a key below
    `no_rank` is that of a position from 1 to n - 1. Ranks are below the number of merges and symbols below n, since the
    tables hold no others.
    """
    (starts, ends, n_words), (hashes, work, state) = words, memory
    pairs, merged = model.pairs, model.merged
    no_rank = np.uint32(((U1 << np.uint64(64 - 2 * pairs.bits)) - U1) << np.uint64(POSITION_BITS))
    fields = np.uint64(N_FIELDS)
    used = min(n_words, np.uint64(GROUP)) * fields  # fewer words than a group take fewer turns
    for i in range(used):
        state[i] = U0
    for i in range(U0, used, fields):
        work[i * SYMBOLS_OF] = np.uint32(model.n)

    # The next word; the end of the words that were looked up as whole tokens; the byte position of the next word's ids
    w, looked_for, room = U0, U0, U0
    active = True
    while active:
        active = False
        # Three loops: in one, a vector of keys would be read right after single keys were stored, which takes long
        for i in range(U0, used, fields):
            _rank_pairs(pairs, work, state, i, i * SYMBOLS_OF)
        for i in range(U0, used, fields):
            _take_lowest(merged, work, state, i, i * SYMBOLS_OF)
        for i in range(U0, used, fields):
            symbols = i * SYMBOLS_OF
            if np.uint32(state[i + LEAST]) < no_rank:
                active = True
                _merge(model, work, state, i, symbols)
                continue
            _finish_word(model, work, state, i, symbols, out, counts)
            seen = w, looked_for, room
            w, looked_for, room = _skip_words(text, words, model, hashes, out, counts, seen)
            if w < n_words:
                active = True
                n = ends[w] - starts[w]
                state[i + TARGET], state[i + NUMBER] = room, w
                _start_word(text, starts[w], n, model, work, state, i, symbols)
                room += n
                w += U1


@kernel(inline=True)
def pack_ids(words, longer, out, counts):
    """Moves the ids that `merge_words` has written side by side, with those of longer words; counts become rows."""
    (starts, ends, n_words), (long_ids, long_rows) = words, longer
    n, room, n_long = U0, U0, U0
    for i in range(n_words):
        count, length = counts[i], ends[i] - starts[i]
        counts[i] = n
        if length > np.uint64(MOST_BYTES):
            first, count = long_rows[n_long], long_rows[n_long + U1] - long_rows[n_long]
            for k in range(count):
                out[n + k] = long_ids[first + k]
            n_long += U1
        elif likely((count <= U4) & (n + U4 <= room + length)):  # four are copied, however many they are
            ids = out[room], out[room + U1], out[room + U2], out[room + U3]
            out[n], out[n + U1], out[n + U2], out[n + U3] = ids
        else:
            for k in range(count):
                out[n + k] = out[room + k]  # n is never more than `room`
        n += count
        room += length
    counts[n_words] = n


@kernel(inline=True)
def _no_keys(work, keys, n):
    """Sets the keys of a word of n symbols to NONE."""
    for k in range(U0, n, LANES):
        for lane in range(LANES):
            work[keys + k + lane] = NONE


@kernel(inline=True)
def _find_whole(strings, text, starts, ends, first, last, hashes, found):
    """found[i] = index + 1 of each of the words first:last, at most BATCH, among `strings`; 0: it is none of them."""
    slots, data, offsets = strings
    mask = np.uint64(len(slots) - 1)
    for i in range(first, last):
        h = hash_bytes(text, starts[i], ends[i] - starts[i])
        hashes[i - first] = h
        prefetch(slots, h & mask)
    for i in range(first, last):
        h = hashes[i - first]
        slot = slots[h & mask]
        if slot and slot >> U32 == h >> U32:
            prefetch(offsets, (slot & LOW32) - U1)
    for i in range(first, last):
        h = hashes[i - first]
        slot = slots[h & mask]
        if slot and slot >> U32 == h >> U32:
            prefetch(data, offsets[(slot & LOW32) - U1])
    for i in range(first, last):
        found[i] = np.uint64(find_hashed(strings, hashes[i - first], text, starts[i], ends[i] - starts[i]) + 1)
