"""Encodes a text of up to MOST_BYTES in one call: a walk cuts it into units, and a cache has the ids of known units.

A *unit* is a part of a text that has the same ids in any text. It is a word, if one walk over the text finds the words;
else it is the text between two cuts that no token and no step of the tokenizer reaches across. Of the units that the
cache lacks, short words are merged by `encode_words/short_words.py`, if the model allows it. `encode.py` encodes the
others like texts; the handle for this has only the steps after the cut (none for a word).

The corpus stage `encode_corpus` does the same for many documents, and returns to Python for the new units of many
blocks that its kernel can't encode. Here only the result returns to Python: a call takes less than a microsecond.

Bounds: a text is copied to `block` in blocks of at most BLOCK_BYTES; `block`, `codes` and `bounds` have MARGIN elements
more. `ids` has room for MOST_BYTES ids, and one group more. Before each group of N_KEYS units, there must be room for
as many ids as they have bytes, for MOST_INLINE ids of each, and for SLACK bytes; before the ids of an encoded unit are
written, for these and the same for the rest of its group. A unit with a RUN in the cache has no more ids than bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.cache import (
    KIND,
    MASKS,
    MOST_INLINE,
    N_KEYS,
    NEW,
    NOWHERE,
    WordCache,
    enter,
    find_keys,
    give_ids,
)
from gputok.kernels.cpu.encode_corpus.rounds import give_value, learn, next_event, note_new
from gputok.kernels.cpu.encode_one.encode import LONGEST, MAX_SPECIAL, SPECIAL, encode_text
from gputok.kernels.cpu.encode_one.steps import (
    AT_START,
    IF_ANY,
    NEVER,
    TOO_MUCH,
    Extract,
    Form,
    finder_of,
    put_steps,
    step_of,
    walk_piece,
)
from gputok.kernels.cpu.encode_words import short_words
from gputok.kernels.cpu.encode_words.short_words import BATCH, STATE, WORK, ShortWords
from gputok.kernels.cpu.find_tokens import next_token
from gputok.kernels.cpu.normalize import inert_run
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U4, U8
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.primitives.memory import address_of, as_views, record_at, store_u32, tail, view
from gputok.kernels.cpu.walk.blocks import BLOCK_BYTES, MARGIN, fill_block, walk_block
from gputok.kernels.cpu.walk.tables import Walk, steps_of
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U32s, U64s, i64

# The largest text. For longer texts it pays to use threads.
MOST_BYTES = 1 << 18
# The result instead of a number of ids: the caller must see whether the cache should grow and whether the walk has
# better tables by now, and call again. It comes when the bytes in `left` are used up.
RENEW = -2
# The most bytes of a block that `walk_rest` walks as it is. `walk_block` would first make codes of its characters.
FEW_BYTES = 1 << 9
MOST_BYTES_OF_WORD = short_words.MOST_BYTES
SLACK = 64 + 4 * MAX_SPECIAL  # bytes of `ids`: the special tokens after a text, and 64 more
_GROUP_BYTES = 4 * MOST_INLINE * N_KEYS + SLACK


class TextInUnits(NamedTuple):
    """The fields of a handle."""

    steps: U64s  # the handles of the steps before the cut: first EXTRACT, perhaps FORM, perhaps EXTRACT
    n_steps: int
    alone: bool  # a text with added tokens is TOO_MUCH
    space: int  # which pieces get a space in front: NEVER, IF_ANY, ... of steps.py
    walk: Walk
    cache: WordCache  # for ids of four bytes
    inner: int  # the address of the handle that encodes units
    unit_ids: U32s  # where that handle's kernel writes ids
    before: U32s  # uint32[at most MAX_SPECIAL], special tokens
    after: U32s
    left: I64s  # int64[1], how many bytes of text are encoded until the result is RENEW
    edges: I64s  # int64[2], begin and end of a piece of text
    masks: U64s  # MASKS of the cache
    keys: U64s  # uint64[4 * N_KEYS]
    block: U8s  # uint8[BLOCK_BYTES + MARGIN]
    codes: U8s
    bounds: U32s  # uint32[likewise]
    ids: U32s
    grouped: bool  # `words` is the model, and merges new units of at most MOST_BYTES_OF_WORD bytes together
    words: ShortWords
    hashes: U64s  # memory of `merge_words`
    merging: U32s
    merge_state: U64s
    event_at: U64s  # uint64[words of a block]: how many ids stand before each event; see `_put_ids`
    event_of: U64s  # the number of the new word of each event
    new_begin: U64s  # uint64[words of a block], of each new word: its first byte in `block`
    new_end: U64s
    new_lines: U64s  # its line of the cache
    new_rows: U64s  # where its ids begin in `new_ids`
    new_ids: U32s  # uint32[bytes of a block]


def new_handle(steps_before: Sequence[Handle], alone: bool, space: int) -> Handle:
    """Makes a handle without memory, walk, cache and model; alone, space: the fields of `TextInUnits`."""
    handle = Handle(TextInUnits, alone=alone, space=space, grouped=False)
    put_steps(handle, steps_before)
    return handle


def with_memory(handle: Handle, inner: Handle) -> Handle:
    """Copies a handle, and gives the copy memory for one text at a time; inner: such a copy of encode.py, for units."""
    own = handle.copy()
    own.put(inner=inner.address, unit_ids=inner["ids"], masks=MASKS, left=np.zeros(1, np.int64))
    own.keep(inner)
    sizes = {"edges": 2, "keys": 4 * N_KEYS, "ids": MOST_BYTES + 2 * MAX_SPECIAL + _GROUP_BYTES // 4}
    n = BLOCK_BYTES + MARGIN
    sizes |= dict.fromkeys(("block", "codes", "bounds"), n)
    if own["grouped"]:
        sizes |= {"hashes": BATCH, "merging": WORK, "merge_state": STATE}
        new = ("new_begin", "new_end", "new_lines", "new_rows", "new_ids")
        sizes |= dict.fromkeys(("event_at", "event_of", *new), n)
    for name, size in sizes.items():
        own.make(name, size)
    return own


@kernel(i64, i64, i64, i64)
def encode_units(address, text, n_bytes, flags):
    """Writes the ids of n_bytes, at most MOST_BYTES, at the address `text`. -> their number, or TOO_MUCH or RENEW."""
    handle, given = record_at(address, TextInUnits), view((np.uint64(text), np.uint64(n_bytes)), np.uint8)
    left = handle.left
    left[U0] -= n_bytes
    if left[U0] < 0:
        return np.int64(RENEW)
    n_steps = handle.n_steps
    for i in range(1, n_steps - 1):  # normalization forms, which seldom change a text: here they must not
        form = record_at(step_of(handle, i), Form).form
        if inert_run(given, 0, n_bytes, form.page, form.member, form.n_inert, True)[0] < n_bytes:
            return np.int64(TOO_MUCH)
    out = np.int64(0)
    if flags & SPECIAL:
        out = _put_special(handle.ids, handle.before, out)
    out = _cut_at_tokens(handle, given, n_bytes, n_steps, out)
    if out >= 0 and flags & SPECIAL:
        out = _put_special(handle.ids, handle.after, out)
    return out >> 2 if out >= 0 else np.int64(TOO_MUCH)


@kernel(inline=True)
def _put_special(ids, tokens, out):
    """Appends special tokens, at most MAX_SPECIAL, to the ids; out: the bytes of ids before. -> those afterwards."""
    ids = view(ids, np.uint8)
    for k in range(len(tokens)):
        store_u32(ids, np.uint64(out), tokens[k])
        out += 4
    return out


@kernel  # not inline: Numba inlines what an inline function calls, too
def _cut_at_tokens(handle, given, n_bytes, n_steps, out):
    """Encodes a text, cut at the added tokens of the first step, then of the last. -> bytes of ids, or TOO_MUCH."""
    first, last = record_at(step_of(handle, 0), Extract), record_at(step_of(handle, n_steps - 1), Extract)
    finder, ids, any_tokens = finder_of(first)
    several = n_steps > 1 and len(last.options) > 0
    if not any_tokens and not several:
        return _encode_piece(handle, given, 0, n_bytes, True, out) if n_bytes else out
    if not several or not any_tokens:
        out, _ = _between(handle, last if several else first, given, 0, n_bytes, out, True)
        return out
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
    """Encodes given[begin:stop], cut at the added tokens of a step. -> bytes of ids or TOO_MUCH; new `at_start`."""
    finder, ids, _ = finder_of(step)
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
    if handle.alone or out + _GROUP_BYTES > 4 * len(handle.ids):
        return np.int64(TOO_MUCH)
    store_u32(view(handle.ids, np.uint8), np.uint64(out), np.uint32(id))
    return out + 4


@kernel
def _encode_piece(handle, given, begin, end, at_start, out):
    """Encodes a piece without added tokens, not empty; at_start: the first piece. -> the bytes of ids, or TOO_MUCH."""
    walk, block, codes, bounds, edges = (as_views(handle.walk), handle.block, handle.codes, handle.bounds, handle.edges)
    edges[U0] = begin
    edges[U1] = end
    start, n_room = begin, BLOCK_BYTES + MARGIN
    n_before = np.int64(1) if wants_space(handle, given, begin, end, at_start) else np.int64(0)
    while start < end:
        block[U0] = 0x20  # the text is written after this space if `n_before` is 1, else over it
        copied, n, _ = fill_block(
            given, edges, np.int64(0), start, end, walk, tail(block, n_before), n_room - n_before, edges, False
        )
        if copied == 0:
            return np.int64(TOO_MUCH)
        start += copied
        n += n_before
        n_before = np.int64(0)
        if n <= FEW_BYTES:
            n_words = walk_piece(block, U0, np.uint64(n), walk.pair, steps_of(walk), bounds)
        else:
            n_words = walk_block(block, np.uint64(n), walk, bounds, codes)
        out = _put_ids(handle, n_words - U1, out)  # END_OF_TEXT is the last word
        if out < 0:
            break
    return out


@kernel(inline=True)
def wants_space(handle, given, begin, end, at_start):
    """Whether a piece gets a space in front. The character `▁` (0xE2 0x96 0x81) stands for a space."""
    space = handle.space
    if space == NEVER or (space == AT_START and not at_start):
        return False
    if space == IF_ANY:
        return True
    is_mark = end - begin >= 3 and given[begin] == np.uint8(0xE2)
    is_mark = is_mark and given[begin + 1] == np.uint8(0x96) and given[begin + 2] == np.uint8(0x81)
    return given[begin] != np.uint8(0x20) and not is_mark


@kernel
def _put_ids(handle, n_words, out):
    """Appends the ids of the n_words units that begin at `bounds` in `block`. -> the bytes of ids, or TOO_MUCH.

    New words of `ShortWords` are merged together after all units are looked up, since most of the time of a merge is
    waiting for memory. Until then, an *event* notes where the ids of a new word belong; `_insert` puts them there.
    """
    out, n_events, n_new, failed = _look_up(handle, n_words, np.uint64(out))
    if n_new:  # even if something failed: no unit stays in the cache without ids
        _merge_new(handle, n_new)
    if failed:
        return np.int64(TOO_MUCH)
    return np.int64(_insert(handle, n_events, out) if n_events else out)


@kernel
def _look_up(handle, n_words, out):
    """Appends ids of units, notes new words. -> bytes of ids, numbers of events and new words, whether it failed."""
    known, masks, block, bounds = as_views(handle.cache), handle.masks, handle.block, handle.bounds
    keys = handle.keys
    ids, unit_ids = view(handle.ids, np.uint8), handle.unit_ids
    event_at, event_of = handle.event_at, handle.event_of
    new_words = handle.new_begin, handle.new_end, handle.new_lines
    grouped = handle.grouped
    room, n_events, n_new = np.uint64(4 * len(handle.ids) - _GROUP_BYTES), U0, U0
    for done in range(U0, n_words, np.uint64(N_KEYS)):
        m, begins = min(n_words - done, np.uint64(N_KEYS)), tail(bounds, done)
        if out + U4 * np.uint64(begins[m] - begins[U0]) > room:
            return out, n_events, n_new, True
        find_keys(known, block, begins, m, masks, keys)
        i = U0
        while True:
            i, slot, value, out, _ = next_event(
                known, block, begins, keys, i, m, ids, out, U2, (keys, ids), False, keys, U0, False
            )
            if i == m:
                break
            key = keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2]
            begin, length = np.uint64(begins[i]), np.uint64(begins[i + U1] - begins[i])
            if value == U0 and grouped and length <= np.uint64(MOST_BYTES_OF_WORD):
                value = (n_new + U1) << U8 | NEW
                line = give_value(known, slot, keys, i, block, begin, length, value)
                note_new(new_words, n_new, np.int64(begin), length, line)
                n_new += U1
            i += U1
            if value & KIND == NEW:
                room -= U4 * length
                event_at[n_events] = out >> U2
                event_of[n_events] = (value >> U8) - U1
                n_events += U1
                continue
            found = _encode_unit(handle, begin, np.int64(length))
            n = np.uint64(found)
            if found < 0 or out + U4 * (n + np.uint64(begins[m] - begins[i])) > room:
                return out, n_events, n_new, True
            for k in range(n):
                store_u32(ids, out + U4 * k, unit_ids[k])
            out += U4 * n
            if slot == NOWHERE:  # the cache lacks the unit, and not only its ids
                slot = enter(known, *key, block, begin, length, U0)
            if slot != NOWHERE:  # the unit is not too long for the cache
                give_ids(known, U4, slot, unit_ids, U0, n, length)
    return out, n_events, n_new, False


@kernel
def _merge_new(handle, n_new):
    """Merges the new words of a block, and gives them their ids in the cache."""
    words, found = (handle.new_begin, handle.new_end, n_new), (handle.new_ids, handle.new_rows)
    memory = handle.hashes, handle.merging, handle.merge_state
    learn(handle.block, words, handle.new_lines, as_views(handle.words), as_views(handle.cache), memory, found)


@kernel(inline=True)
def _insert(handle, n_events, out):
    """Inserts the ids of new words at their events, from the last one to the first. -> the bytes of ids."""
    at, of, learnt, rows = handle.event_at, handle.event_of, handle.new_ids, handle.new_rows
    ids, stop, more = handle.ids, out >> U2, U0
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
    """Encodes a unit of `block`. -> the number of its ids in `unit_ids`, or TOO_MUCH."""
    if length > LONGEST:
        return np.int64(TOO_MUCH)
    return encode_text(handle.inner, address_of(handle.block) + np.int64(begin), length, np.int64(0))
