"""Encodes a text of up to MOST_BYTES in one call: a walk cuts it into units, and a cache has the ids of units that came before.

A *unit* has the same ids wherever it stands. It is a word, if one walk over the text finds the words; else it is
the text between two cuts that no token and no step of the tokenizer reaches across. A unit that the cache lacks is encoded as a
text of its own by `encode.py`, whose handle has only the steps that come after the cut (none for a word).

The corpus stage `encode_text` does the same for many documents. There a model gets the new units of many blocks together,
in Python; here nothing but the result comes back to Python, since a call for a short text takes less than a microsecond.

Bounds: a text is copied to BLOCK in blocks of at most BLOCK_BYTES, and BLOCK, CODES and BOUNDS have MARGIN elements more, which
`fill_block` and `walk_block` need. IDS has ROOM bytes; before each group of N_KEYS units, and before more ids than fit a slot of
the cache are written, there must be room for these and for a whole group of MOST_INLINE ids each and SLACK bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_text.cache import (
    KIND,
    MORE,
    MOST_INLINE,
    N_INLINE,
    NEW,
    NOWHERE,
    RUN,
    VALUE,
    Views,
    WordCache,
    enter,
    find,
    find_keys,
    inline_ids,
    is_long,
    keep_words,
    run_of,
    write_run,
)
from gputok.kernels.cpu.encode_text.rounds import N_KEYS, copy_run, known_words, store_ids
from gputok.kernels.cpu.encode_words import byte_words
from gputok.kernels.cpu.encode_words.byte_words import (
    BATCH,
    STATE,
    WORK,
    ByteViews,
    ByteWords,
    merge_words,
    pack_ids,
)
from gputok.kernels.cpu.find_tokens import next_token
from gputok.kernels.cpu.normalize import inert_run
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U4, U8
from gputok.kernels.cpu.primitives.memory import (
    leading_zeros,
    load_u32,
    store_u32,
    tail,
    view,
)
from gputok.kernels.cpu.short_texts import encode as short_text
from gputok.kernels.cpu.short_texts import steps
from gputok.kernels.cpu.short_texts.encode import (
    LONGEST,
    MAX_SPECIAL,
    SPECIAL,
    encode_bpe,
    encode_unigram,
    encode_wordlevel,
    encode_wordpiece,
)
from gputok.kernels.cpu.short_texts.handle import Handle, handle_at, memory, number, size
from gputok.kernels.cpu.short_texts.steps import N_STEP, TOO_MUCH
from gputok.kernels.cpu.walk import (
    BLOCK_BYTES,
    MARGIN,
    Walk,
    WalkViews,
    fill_block,
    walk_block,
    walk_rest,
)
from gputok.kernels.cpu.word_table import N_MASKS
from gputok.kernels.signatures import i64

# The largest text. For longer texts it pays to use threads.
MOST_BYTES = 1 << 18
# Instead of a number of ids: the caller must look at the size of the cache and at the tables of the walk.
RENEW = -2
# A text of at most so many bytes is walked without codes, by `walk_rest`.
FEW_BYTES = 1 << 9
MOST_BYTES_OF_WORD = byte_words.MOST_BYTES
SLACK = 64 + 4 * MAX_SPECIAL
_GROUP_BYTES = 4 * MOST_INLINE * N_KEYS + SLACK

BPE, WORDPIECE, UNIGRAM, WORDLEVEL = range(4)  # values of MODEL
NEVER, IF_ANY, IF_BARE, AT_START = range(4)  # values of SPACE: the pieces of text that get a space in front

# Fields of the handle
(
    STEPS,  # the handles of the steps before the cut: first EXTRACT, perhaps FORM, perhaps EXTRACT
    N_STEPS,
    ALONE,  # 1: a text with added tokens is TOO_MUCH
    SPACE,
    KLASS,  # the fields of a Walk
    PAGE,
    MEMBER,
    PAIR,
    STEP,
    DELTA,
    ACCEPT,
    STRONG,
    WINDOWS,
    WIDTH,
    SLOTS,  # the fields of a WordCache for ids of four bytes
    RING,
    GHOSTS,
    HEAD,
    INNER,  # the address of the handle that encodes units
    MODEL,
    UNIT_IDS,  # uint32[], where that handle's kernel writes ids
    BEFORE,  # uint32[at most MAX_SPECIAL], special tokens
    AFTER,
    LEFT,  # int64[1], bytes of text until RENEW
    EDGES,  # int64[2]
    MASKS,  # uint64[N_MASKS] of `word_table.put_masks`
    KEYS,  # uint64[4 * N_KEYS]
    BLOCK,  # uint8[BLOCK_BYTES + MARGIN]
    CODES,
    BOUNDS,  # uint32[likewise]
    IDS,  # uint32[]
    GROUPED,  # 1: new units are words of the model below, and are merged together
    BYTE_SYMBOLS,  # the fields of ByteWords
    BYTE_KEYS,
    PAIR_SLOTS,
    PAIR_BITS,
    MERGED,
    NAMES,
    WHOLE_SLOTS,
    WHOLE_DATA,
    WHOLE_OFFSETS,
    CHARACTERS,
    CROSSING,
    N_SYMBOLS,
    HASHES,  # memory of `merge_words`
    MERGING,
    MERGE_STATE,
    EVENT_AT,  # uint64[words of a block], ids before an event, and the new word
    EVENT_OF,
    NEW_BEGIN,  # uint64[likewise], of each new word in BLOCK, and its line of the cache
    NEW_END,
    NEW_LINES,
    NEW_ROWS,
    NEW_IDS,  # uint32[bytes of a block]
    N_FIELDS,
) = range(55)


def new_handle(steps_before: Sequence[Handle], alone: bool, space: int) -> Handle:
    """Makes a handle without memory, walk, cache and model.

    steps_before: EXTRACT and FORM steps (steps.py). alone: only texts without added tokens. space: NEVER, IF_ANY, ...
    """
    handle = Handle(N_FIELDS)
    handle.put(STEPS, np.stack([step.slots for step in steps_before]))
    handle.put(N_STEPS, len(steps_before))
    handle.put(ALONE, alone)
    handle.put(SPACE, space)
    handle.keep(steps_before)
    return handle


def with_memory(handle: Handle, inner: Handle, model: int) -> Handle:
    """Copies a handle and gives the copy its own memory, for one text at a time.

    inner: a handle with memory for the same thread, which encodes units by the kernel `model` (BPE, WORDPIECE, ...).
    """
    own = handle.copy()
    own.put(INNER, inner.address)
    own.put(MODEL, model)
    own.put(UNIT_IDS, inner.array(short_text.IDS))
    own.keep([inner])
    own.put(LEFT, np.zeros(1, np.int64))
    own.put(EDGES, np.empty(2, np.int64))
    # As `word_table.put_masks` writes them
    lengths = [(min(n, 8), max(n - 8, 0)) for n in range(N_MASKS // 2)]
    own.put(MASKS, np.array([(1 << 8 * n) - 1 for pair in lengths for n in pair], np.uint64))
    own.put(KEYS, np.empty(4 * N_KEYS, np.uint64))
    n = BLOCK_BYTES + MARGIN
    for field, dtype in ((BLOCK, np.uint8), (CODES, np.uint8), (BOUNDS, np.uint32)):
        own.put(field, np.empty(n, dtype))
    if own.is_number(GROUPED, 1):
        own.put(HASHES, np.empty(BATCH, np.uint64))
        own.put(MERGING, np.empty(WORK, np.uint32))
        own.put(MERGE_STATE, np.empty(STATE, np.uint64))
        for field in (EVENT_AT, EVENT_OF, NEW_BEGIN, NEW_END, NEW_LINES, NEW_ROWS):
            own.put(field, np.empty(n, np.uint64))
        own.put(NEW_IDS, np.empty(n, np.uint32))
    own.put(IDS, np.empty(MOST_BYTES + 2 * MAX_SPECIAL + _GROUP_BYTES // 4, np.uint32))
    return own


def put_words(handle: Handle, words: ByteWords) -> None:
    """Lets units be merged by a byte-level BPE model; every unit must be a word of that model."""
    for field, value in (
        (GROUPED, 1),
        (BYTE_SYMBOLS, words.symbols),
        (BYTE_KEYS, words.byte_keys),
        (PAIR_SLOTS, words.pairs.slots),
        (PAIR_BITS, words.pairs.bits),
        (MERGED, words.merged),
        (NAMES, words.ids),
        (WHOLE_SLOTS, words.whole.slots),
        (WHOLE_DATA, words.whole.data),
        (WHOLE_OFFSETS, words.whole.offsets),
        (CHARACTERS, words.characters),
        (CROSSING, words.crossing),
        (N_SYMBOLS, words.n),
    ):
        handle.put(field, value)


def put_walk(handle: Handle, walk: Walk) -> None:
    """Puts the tables of a walk into a handle."""
    fields = KLASS, PAGE, MEMBER, PAIR, STEP, DELTA, ACCEPT, STRONG, WINDOWS
    for field, array in zip(fields, walk, strict=True):
        handle.put(field, array)
    handle.put(WIDTH, len(walk.step) - len(walk.delta))


def put_cache(handle: Handle, cache: WordCache) -> None:
    """Puts a cache of ids of four bytes into a handle."""
    if cache.width != 4:
        raise ValueError(f"expected a cache of ids of four bytes, not {cache.width}")
    for field, array in (
        (SLOTS, cache.slots),
        (RING, cache.ring),
        (GHOSTS, cache.ghosts),
        (HEAD, cache.head),
    ):
        handle.put(field, array)


@kernel(i64, i64, i64, i64)
def encode_units(address, text, n_bytes, flags):
    """Encodes a text. text: its address; n_bytes: at most MOST_BYTES. -> the number of ids, or TOO_MUCH or RENEW."""
    handle, given = handle_at(address, N_FIELDS), view((np.uint64(text), np.uint64(n_bytes)), np.uint8)
    left = memory(handle, LEFT, np.int64)
    left[U0] -= n_bytes
    if left[U0] < 0:
        return np.int64(RENEW)
    n_steps = number(handle, N_STEPS)
    for i in range(1, n_steps - 1):
        if not _is_inert(_step(handle, i), given, n_bytes):
            return np.int64(TOO_MUCH)
    out = np.int64(0)
    if flags & SPECIAL:
        out = _put_special(handle, BEFORE, out)
    out = _cut_at_tokens(handle, given, n_bytes, n_steps, out)
    if out >= 0 and flags & SPECIAL:
        out = _put_special(handle, AFTER, out)
    return out >> 2 if out >= 0 else np.int64(TOO_MUCH)


@kernel(inline=True)
def _step(handle, i):
    return tail(memory(handle, STEPS, np.uint64), 2 * N_STEP * i)


@kernel(inline=True)
def _is_inert(step, given, n_bytes):
    """Whether a step of the kind FORM leaves the text as it is."""
    page, member = memory(step, steps.PAGE, np.uint16), memory(step, steps.MEMBER, np.uint16)
    at, _ = inert_run(given, 0, n_bytes, page, member, number(step, steps.N_INERT), True)
    return at >= n_bytes


@kernel(inline=True)
def _put_special(handle, field, out):
    """Appends special tokens, of which there are at most MAX_SPECIAL, to the ids; out: bytes of ids."""
    ids, tokens = memory(handle, IDS, np.uint8), memory(handle, field, np.uint32)
    for k in range(size(handle, field) // 4):
        store_u32(ids, np.uint64(out), tokens[k])
        out += 4
    return out


# ---- added tokens


@kernel(inline=True)
def _finder(step):
    nodes = (
        memory(step, steps.CLASSES, np.uint8),
        memory(step, steps.CHILDREN, np.uint32),
        np.uint64(number(step, steps.N_CLASSES)),
        memory(step, steps.STRINGS, np.int32),
    )
    few = memory(step, steps.FEW, np.uint8), size(step, steps.FEW)
    options, word_bits = memory(step, steps.OPTIONS, np.uint8), memory(step, steps.WORD_BITS, np.uint8)
    return nodes, memory(step, steps.FIRST, np.uint8), few, options, word_bits


@kernel(inline=True)
def _has_tokens(step):
    return size(step, steps.CLASSES) > 0


@kernel  # not inline: Numba inlines what an inline function calls, too
def _cut_at_tokens(handle, given, n_bytes, n_steps, out):
    """Encodes the text between added tokens, and puts their ids between. -> the bytes of ids, or TOO_MUCH.

    The first step finds tokens in the text, and the last one finds other tokens in what is left.
    """
    first, last = _step(handle, 0), _step(handle, n_steps - 1)
    several = n_steps > 1 and _has_tokens(last)
    if not _has_tokens(first) and not several:
        return _encode_piece(handle, given, 0, n_bytes, True, out) if n_bytes else out
    if not several or not _has_tokens(first):
        out, _ = _between(handle, last if several else first, given, 0, n_bytes, out, True)
        return out
    finder, ids = _finder(first), memory(first, steps.IDS, np.int64)
    at, after, blank, at_start = np.int64(0), np.int64(0), np.int64(0), True
    while True:
        match, begin, finish, at, after, blank = next_token(given, 0, n_bytes, at, after, blank, finder)
        stop = begin if match >= 0 else n_bytes
        if after < stop:
            out, at_start = _between(handle, last, given, after, stop, out, at_start)
        if match < 0 or out < 0:
            return out
        out, at_start = _put_token(handle, ids[match], out), False
        if out < 0:
            return out
        after = finish


@kernel
def _between(handle, step, given, begin, stop, out, at_start):
    """Encodes given[begin:stop], cut at the tokens of one step; also returns False if `at_start` is no longer true."""
    finder, ids = _finder(step), memory(step, steps.IDS, np.int64)
    first, at, after, blank = begin, begin, begin, begin
    while True:
        match, begin, finish, at, after, blank = next_token(given, first, stop, at, after, blank, finder)
        end = begin if match >= 0 else stop
        if after < end:
            out = _encode_piece(handle, given, after, end, at_start, out)
            at_start = False
        if match < 0 or out < 0:
            return out, at_start
        out, at_start = _put_token(handle, ids[match], out), False
        if out < 0:
            return out, at_start
        after = finish


@kernel(inline=True)
def _put_token(handle, id, out):
    """Appends the id of an added token. -> the bytes of ids, or TOO_MUCH."""
    if number(handle, ALONE) != 0 or out + _GROUP_BYTES > size(handle, IDS):
        return np.int64(TOO_MUCH)
    store_u32(memory(handle, IDS, np.uint8), np.uint64(out), np.uint32(id))
    return out + 4


# ---- units


@kernel
def _encode_piece(handle, given, begin, end, at_start, out):
    """Encodes given[begin:end], which is not empty and has no added token. -> the bytes of ids, or TOO_MUCH.

    at_start: the piece is the first one of its text.
    """
    walk = _walk(handle)
    block, codes = memory(handle, BLOCK, np.uint8), memory(handle, CODES, np.uint8)
    bounds, edges = memory(handle, BOUNDS, np.uint32), memory(handle, EDGES, np.int64)
    edges[U0] = begin
    edges[U1] = end
    start, n_room = begin, BLOCK_BYTES + MARGIN
    n_before = np.int64(1) if _wants_space(handle, given, begin, end, at_start) else np.int64(0)
    while start < end:
        block[U0] = 0x20  # kept if `n_before` is 1
        copied, n, _ = fill_block(
            given,
            edges,
            np.int64(0),
            start,
            end,
            walk,
            tail(block, n_before),
            n_room - n_before,
            edges,
            False,
        )
        if copied == 0:
            return np.int64(TOO_MUCH)
        start += copied
        n += n_before
        n_before = np.int64(0)
        if n <= FEW_BYTES:
            characters, states = (walk.klass, walk.page, walk.member), (walk.delta, walk.accept, walk.step)
            tables = (*characters, *states, walk.width, walk.fresh)
            n_words = walk_rest(block, U0, np.uint64(n), walk.fresh, walk.pair, bounds, U0, tables)
            # The walk may have passed one byte after the end, and noted it as a word
            if n_words > U0 and bounds[n_words - U1] == np.uint32(n):
                n_words -= U1
            bounds[n_words] = n
        else:
            n_words = walk_block(block, np.uint64(n), walk, bounds, codes)
        out = _put_ids(handle, n_words - U1, out)  # END_OF_TEXT is the last word
        if out < 0:
            break
    return out


@kernel(inline=True)
def _walk(handle):
    """The Walk of a handle, as helpers take it."""
    width = np.uint64(number(handle, WIDTH))
    return WalkViews(
        memory(handle, KLASS, np.uint8),
        memory(handle, PAGE, np.uint16),
        memory(handle, MEMBER, np.uint8),
        memory(handle, PAIR, np.uint8),
        memory(handle, STEP, np.uint32),
        memory(handle, DELTA, np.uint16),
        memory(handle, ACCEPT, np.uint8),
        memory(handle, STRONG, np.uint8),
        memory(handle, WINDOWS, np.uint8),
        size(handle, WINDOWS) > 0,
        width,
        np.uint64(size(handle, DELTA) // 2) // width,
    )


@kernel(inline=True)
def _wants_space(handle, given, begin, end, at_start):
    """Whether a piece gets a space in front. The character `▁` (0xE2 0x96 0x81) stands for a space."""
    space = number(handle, SPACE)
    if space == NEVER or (space == AT_START and not at_start):
        return False
    if space == IF_ANY:
        return True
    is_mark = end - begin >= 3 and given[begin] == np.uint8(0xE2)
    is_mark = is_mark and given[begin + 1] == np.uint8(0x96) and given[begin + 2] == np.uint8(0x81)
    return given[begin] != np.uint8(0x20) and not is_mark


@kernel(inline=True)
def _cache(handle):
    """The cache of a handle, as `encode_text.cache.views` gives it."""
    slots, n_slots = memory(handle, SLOTS, np.uint64), np.uint64(size(handle, SLOTS) // 32)
    return Views(
        slots,
        leading_zeros(n_slots) + U2,
        memory(handle, RING, np.uint8),
        np.uint64(size(handle, RING) - 1),
        memory(handle, GHOSTS, np.uint32),
        memory(handle, HEAD, np.uint64),
    )


@kernel
def _put_ids(handle, n_words, out):
    """Appends the ids of the n_words units that BOUNDS tells. -> the bytes of ids, or TOO_MUCH.

    New words of a byte-level BPE model are merged together after the loop, since most of the time of a merge is waiting for
    memory. An *event* notes for each of them where its ids belong; the ids after an event are moved when their number is known.
    """
    out, n_events, n_new, failed = _look_up(handle, n_words, np.uint64(out))
    if n_new:  # even if something failed: no unit stays in the cache without ids
        _merge_new(handle, n_new)
    if failed:
        return np.int64(TOO_MUCH)
    return np.int64(_insert(handle, n_events, out) if n_events else out)


@kernel
def _look_up(handle, n_words, out):
    """Appends the ids of units; returns also the numbers of events and of new words, and whether there is too little room."""
    known, masks = _cache(handle), memory(handle, MASKS, np.uint64)
    block, bounds = memory(handle, BLOCK, np.uint8), memory(handle, BOUNDS, np.uint32)
    keys, slots = memory(handle, KEYS, np.uint64), known.slots
    ids, unit_ids = memory(handle, IDS, np.uint8), memory(handle, UNIT_IDS, np.uint32)
    event_at, event_of = memory(handle, EVENT_AT, np.uint64), memory(handle, EVENT_OF, np.uint64)
    new_begin, new_end = memory(handle, NEW_BEGIN, np.uint64), memory(handle, NEW_END, np.uint64)
    new_lines = memory(handle, NEW_LINES, np.uint64)
    grouped = number(handle, GROUPED) != 0
    room, n_events, n_new = np.uint64(size(handle, IDS) - _GROUP_BYTES), U0, U0
    for done in range(U0, n_words, np.uint64(N_KEYS)):
        if out > room:
            return out, n_events, n_new, True
        m, begins = min(n_words - done, np.uint64(N_KEYS)), tail(bounds, done)
        find_keys(known, block, begins, m, masks, keys)
        i = U0
        while True:
            i, out = known_words(slots, keys, i, m, ids, out, U2, (keys, ids), False)
            if i == m:
                break
            line, low, high = keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2]
            begin, length = np.uint64(begins[i]), np.uint64(begins[i + U1] - begins[i])
            i += U1
            slot = find(known, line, low, high, block, begin)
            value = slots[slot + VALUE] if slot != NOWHERE else U0
            if value & N_INLINE:
                out = store_ids(ids, out, value, slots[slot + MORE], U2)
                continue
            if value & KIND == RUN:
                run = run_of(known, value)
                if run != NOWHERE:
                    if out + U4 * np.uint64(load_u32(known.ring, run)) > room:
                        return out, n_events, n_new, True
                    out = copy_run(known.ring, run, ids, out, U4)
                    continue
                value = U0
            if value == U0 and grouped and length <= np.uint64(MOST_BYTES_OF_WORD):
                value = (n_new + U1) << U8 | NEW
                new_begin[n_new] = begin
                new_end[n_new] = begin + length
                if slot != NOWHERE:
                    slots[slot + VALUE] = value
                else:
                    line = enter(known, line, low, high, block, begin, length, value)
                new_lines[n_new] = line
                n_new += U1
            if value & KIND == NEW:
                # A word has at most as many ids as bytes
                room -= min(room, U4 * length)
                event_at[n_events] = out >> U2
                event_of[n_events] = (value >> U8) - U1
                n_events += U1
                if out > room:
                    return out, n_events, n_new, True
                continue
            found = _encode_unit(handle, begin, np.int64(length))
            if found < 0 or out + U4 * np.uint64(found) > room:
                return out, n_events, n_new, True
            n = np.uint64(found)
            for k in range(n):
                store_u32(ids, out + U4 * k, unit_ids[k])
            out += U4 * n
            _keep(known, slot, (line, low, high), block, begin, length, unit_ids, n)
    return out, n_events, n_new, False


@kernel
def _merge_new(handle, n_new):
    """Merges the new words of a block, and gives them their ids in the cache."""
    begin, end = memory(handle, NEW_BEGIN, np.uint64), memory(handle, NEW_END, np.uint64)
    ids, rows = memory(handle, NEW_IDS, np.uint32), memory(handle, NEW_ROWS, np.uint64)
    work = (
        memory(handle, HASHES, np.uint64),
        memory(handle, MERGING, np.uint32),
        memory(handle, MERGE_STATE, np.uint64),
    )
    bits = np.uint64(number(handle, PAIR_BITS))
    model = ByteViews(
        memory(handle, BYTE_SYMBOLS, np.uint32),
        memory(handle, BYTE_KEYS, np.uint32),
        (
            memory(handle, PAIR_SLOTS, np.uint64),
            np.uint64(size(handle, PAIR_SLOTS) // 8 - 1),
            bits,
            np.uint64(64) - U2 * bits,
        ),
        memory(handle, MERGED, np.uint32),
        memory(handle, NAMES, np.uint32),
        size(handle, NAMES) > 0,
        (
            memory(handle, WHOLE_SLOTS, np.uint64),
            memory(handle, WHOLE_DATA, np.uint8),
            memory(handle, WHOLE_OFFSETS, np.uint64),
            np.uint64(size(handle, WHOLE_SLOTS) // 8 - 1),
        ),
        size(handle, WHOLE_OFFSETS) > 8,
        memory(handle, CHARACTERS, np.uint32),
        memory(handle, CROSSING, np.uint32),
        np.uint32(number(handle, N_SYMBOLS)),
    )
    words = begin, end, n_new
    merge_words(memory(handle, BLOCK, np.uint8), words, model, work, ids, rows)
    pack_ids(words, (ids, rows), ids, rows)  # no word is longer than MOST_BYTES_OF_WORD
    keep_words(_cache(handle), U4, (memory(handle, NEW_LINES, np.uint64), begin, end, n_new), ids, rows)


@kernel(inline=True)
def _insert(handle, n_events, out):
    """Inserts the ids of new words at their events, from the last one to the first. -> the bytes of ids."""
    at, of = memory(handle, EVENT_AT, np.uint64), memory(handle, EVENT_OF, np.uint64)
    learnt, rows = memory(handle, NEW_IDS, np.uint32), memory(handle, NEW_ROWS, np.uint64)
    ids, stop, more = memory(handle, IDS, np.uint32), out >> U2, U0
    for e in range(n_events):
        more += rows[of[e] + U1] - rows[of[e]]
    out += U4 * more
    e = n_events
    while e > U0:
        e -= U1
        begin, first, n = at[e], rows[of[e]], rows[of[e] + U1] - rows[of[e]]
        for k in range(stop - begin):  # backwards, for both ranges may overlap
            last = stop - U1 - k
            ids[last + more] = ids[last]
        more -= n
        for k in range(n):
            ids[begin + more + k] = learnt[first + k]
        stop = begin
    return out


@kernel
def _encode_unit(handle, begin, length):
    """Encodes a unit of BLOCK. -> the number of its ids in UNIT_IDS, or TOO_MUCH."""
    if length > LONGEST:
        return np.int64(TOO_MUCH)
    inner, model, text = number(handle, INNER), number(handle, MODEL), number(handle, BLOCK) + np.int64(begin)
    if model == BPE:
        return encode_bpe(inner, text, length, np.int64(0))
    if model == WORDPIECE:
        return encode_wordpiece(inner, text, length, np.int64(0))
    if model == UNIGRAM:
        return encode_unigram(inner, text, length, np.int64(0))
    return encode_wordlevel(inner, text, length, np.int64(0))


@kernel(inline=True)
def _keep(known, slot, key, block, begin, length, ids, n):
    """Stores the n ids of a unit in the cache. slot: where the unit is, if the cache has lost only its ids."""
    line, low, high = key
    value, more = U0, U0
    if not is_long(high):
        value, more = inline_ids(U4, ids, U0, n)
    if value == U0 and n > length:
        return
    if slot == NOWHERE:
        line = enter(known, line, low, high, block, begin, length, U0)
        for at in range(line, line + U8, U4):
            if known.slots[at] == low and known.slots[at + U1] == high:
                slot = at
        if slot == NOWHERE:  # too long for the cache
            return
    if value != U0:
        known.slots[slot + VALUE] = value
        known.slots[slot + MORE] = more
    else:
        known.slots[slot + VALUE] = write_run(known, ids, U0, n)
