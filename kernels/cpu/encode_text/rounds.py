"""Encoding raw text in bulk: each word once by the model, every other time by a cache of words.

A round takes the words of some text in order. The ids of known words go to one row at once; for every new word, and for
every end of a piece of text, an *event* says how many ids the row had then. The model encodes all new words of the round
at once, and the row is copied to where it belongs, with what the events stand for put in between. So the loop over the
text knows nothing of models, and the model sees many words at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_text.cache import (
    COUNT,
    END_VALUE,
    MOST_LINES,
    NOWHERE,
    READY,
    RUN_VALUE,
    WordCache,
    enlarged,
    enter,
    find,
    is_too_small,
    keep,
    line_of,
    most_ids,
    new_cache,
    run_of,
    views,
)
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U3, U4, U8, U16, U20, U40, U62
from gputok.kernels.cpu.primitives.memory import (
    copy,
    load_u32,
    owned,
    prefetch,
    scratch,
    store_u32,
    store_u64,
    view,
)
from gputok.kernels.cpu.walk import BLOCK_BYTES, END_OF_TEXT, MARGIN, Walk, fill_block, walk_block
from gputok.kernels.cpu.word_table import N_KEYS, word_key
from gputok.kernels.signatures import I64s, U8s, U64s, i64, u32

__all__ = ["Encoder", "encode_text", "surround"]

MANY_SLOTS = 1 << 18  # up to which a cache that is too small becomes four times as large, then twice
N_IDS, N_EVENTS = 1 << 19, 1 << 16  # of a round
_INLINE = np.uint64(2)  # value >> 62 where a slot holds the ids themselves
_ID = np.uint64((1 << 20) - 1)


class _Round(NamedTuple):
    """What a round writes; the memory is used again for the next one."""

    ids: U8s  # uint8[width * n], of words that were known
    at: I64s  # int64[n_events], bytes of `ids` before each
    what: U64s  # uint64[n_events], number of a new word + 1, or END_VALUE
    piece: I64s  # int64[], of each END
    begin: I64s  # int64[n_new], of each new word in the text
    end: I64s  # int64[n_new]
    lines: U64s  # uint64[n_new], where each is entered in the cache


class Encoder:
    """Known words, and memory to work in: for one model and one thread at a time.

    Args:
        dtype: of the ids, uint32 or uint16, which has to hold them all.
        most_lines: how large the cache may become; a line is 64 bytes of slots and 32 of ring, for two words.
        sizes: of `new_cache`.
    """

    def __init__(self, dtype=np.uint32, most_lines: int = MOST_LINES, **sizes) -> None:
        width = np.dtype(dtype).itemsize
        self.cache, self.most_lines = new_cache(width, **sizes), most_lines
        self.work = _new_round(width * N_IDS, N_EVENTS)

    def grow(self) -> None:
        """Makes the cache larger if too many words are pushed out, and there may be more."""
        if is_too_small(self.cache) and len(self.cache.slots) < 2 * self.most_lines:
            few = 4 * len(self.cache.slots) <= min(2 * self.most_lines, MANY_SLOTS)
            self.cache = enlarged(self.cache, 4 if few else 2)


def _new_round(n_bytes: int, n_events: int) -> _Round:
    kinds = np.int64, np.uint64, np.int64, np.int64, np.int64, np.uint64
    return _Round(np.empty(n_bytes, np.uint8), *(np.empty(n_events, kind) for kind in kinds))


def encode_text(data, offsets, token, automaton, model, encoder):
    """The ids of pieces of text, one after the other, and where each piece's end.

    data: uint8[n], valid UTF-8; offsets: int64[p + 1], the pieces in it; token: int64[p], an id that stands for the
    whole piece, or -1; None: there are none. model(data, start, end) -> ids uint32[t], rows int64[words + 1] is called
    with words that the encoder doesn't know.
    Returns ids (uint16 or uint32)[t] and offsets int64[p + 1].
    """
    encoder.grow()
    cache, work = encoder.cache, encoder.work
    start, stop = int(offsets[0]), int(offsets[-1])
    token = np.empty(0, np.int64) if token is None else np.ascontiguousarray(token, np.int64)
    dtype, ends, parts, n_ids = np.dtype(f"u{cache.width}"), np.zeros(len(offsets), np.int64), [], 0
    while start < stop:
        text = pointer(data), pointer(offsets), np.searchsorted(offsets, start, "right") - 1
        start, n_bytes, n_events, n_new = _look_up(text, start, stop, automaton, cache, work)
        if n_events == 0:  # one block is more than there is room for
            work = _new_round(2 * len(work.ids), 2 * len(work.at))
            continue
        ids, rows = np.empty(0, np.uint32), np.zeros(1, np.int64)
        if n_new:
            begin, end = work.begin[:n_new], work.end[:n_new]
            ids, rows = model(data, begin, end)
            keep(cache, work.lines[:n_new], begin, end, ids, rows)
        sizes = n_bytes, n_events, n_ids
        parts.append(_put_together(work, sizes, ids, rows, token, ends, cache.width).view(dtype))
        n_ids += len(parts[-1])
    np.maximum.accumulate(ends, out=ends)  # a piece without words ends where the one before did
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts]), ends


@kernel((i64, i64, i64), i64, i64, Walk, WordCache, _Round)
def _look_up(text, start, stop, walk, cache, work):
    """A round: until `stop`, or until there may be too little room somewhere.

    -> where it stopped, bytes of `work.ids`, events, new words.
    """
    data, offsets, piece = view(text[0], np.uint8), view(text[1], np.int64), text[2]
    n_block = BLOCK_BYTES + MARGIN
    block, bounds = scratch(n_block, np.uint8), scratch(n_block, np.uint32)
    keys = scratch(4 * N_KEYS, np.uint64)
    known, narrow, width = views(cache), cache.width == 2, np.uint64(cache.width)
    slots, ring = known.slots, known.ring
    ids, at, what = view(work.ids), view(work.at), view(work.what)
    new_begin, new_end, lines = view(work.begin), view(work.end), view(work.lines)
    out, room = U0, np.uint64(len(work.ids)) // width
    n_events, n_ends, n_new = U0, 0, U0
    while start < stop:
        copied, n, _ = fill_block(data, offsets, piece, start, stop, walk, block, n_block)
        if copied == 0:
            n_block *= 2
            block, bounds = scratch(n_block, np.uint8), scratch(n_block, np.uint32)
            continue
        n_words = walk_block(block, np.uint64(n), walk, bounds)
        needed = out // width + most_ids(n_words, np.uint64(n)) + U4
        if needed > room or n_events + n_words > np.uint64(len(work.at)):
            break
        shift = start  # from a place in the block to one in the text
        there_is = start
        start += copied
        while there_is < start:
            while offsets[piece + 1] <= there_is:
                piece += 1
            there_is = min(offsets[piece + 1], start)
            work.piece[n_ends] = piece
            n_ends += 1
        done = U0
        while done < n_words:
            m = min(n_words - done, np.uint64(N_KEYS))
            for i in range(m):
                begin = np.uint64(bounds[done + i])
                length = np.uint64(bounds[done + i + U1]) - begin
                h, low, high = word_key(block, begin, length, U16)
                line = line_of(known, h)
                prefetch(slots, line)
                keys[U4 * i] = line
                keys[U4 * i + U1] = low
                keys[U4 * i + U2] = high
            for i in range(m):
                begin = np.uint64(bounds[done + i])
                length = np.uint64(bounds[done + i + U1]) - begin
                line, low, high = keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2]
                slot = find(known, line, low, high, block, begin, length)
                value = slots[slot + U3] if slot != NOWHERE else U0
                if value >> U62 == _INLINE:
                    if narrow:
                        store_u64(ids, out, value)
                    else:
                        store_u32(ids, out, np.uint32(value & _ID))
                        store_u32(ids, out + U4, np.uint32(value >> U20 & _ID))
                        store_u32(ids, out + U8, np.uint32(value >> U40 & _ID))
                    out += width * (value >> COUNT & U3)
                    continue
                if value >= RUN_VALUE and value < END_VALUE:
                    run = run_of(known, value)
                    if run != NOWHERE:
                        for k in range(np.uint64(load_u32(ring, run))):
                            store_u32(ids, out, load_u32(ring, run + U4 * (k + U1)))
                            out += width
                        continue
                    value = U0
                if value == U0 and low == np.uint64(END_OF_TEXT) and length == U1:
                    value = END_VALUE
                    enter(known, line, low, high, block, begin, length, value)
                elif value == U0:
                    new_begin[n_new] = shift + np.int64(begin)
                    new_end[n_new] = shift + np.int64(begin + length)
                    lines[n_new] = line
                    n_new += U1
                    value = n_new
                    if slot != NOWHERE:
                        slots[slot + U3] = value
                    else:
                        enter(known, line, low, high, block, begin, length, value)
                if value == END_VALUE:
                    shift -= 1
                at[n_events] = out
                what[n_events] = value
                n_events += U1
            done += m
    return start, np.int64(out), np.int64(n_events), np.int64(n_new)


@kernel(_Round, (i64, i64, i64), u32[:], i64[:], i64[:], i64[:], i64)
def _put_together(work, sizes, ids, rows, token, ends, width):
    """All ids of a round, uint8[width * n]; ends[piece + 1]: how many until the piece's end.

    sizes: bytes of `work.ids`, events, and ids of the rounds before; ids, rows: of the new words. Of an id four bytes are
    always stored; the next id then lies over the upper ones, which are zeros where it has two.
    """
    n_bytes, n_events, n_before = sizes
    source, learnt, step = view(work.ids), view(ids), np.uint64(width)
    n_new = 0
    for i in range(n_events):
        what = work.what[i]
        n_new += 1 if what == END_VALUE else rows[what] - rows[what - U1]  # a token may stand for a piece
    joined = np.empty(n_bytes + width * n_new + 8, np.uint8)
    target = owned(joined)
    out, begin, done, n_ends = U0, U0, 0, 0
    for i in range(n_events):
        what, size = work.what[i], work.at[i] - done
        copy(target, out, source, done, size)
        out += np.uint64(size)
        done += size
        if what < READY:
            for k in range(rows[what - U1], rows[what]):
                store_u32(target, out, learnt[k])
                out += step
        else:
            piece = work.piece[n_ends]
            n_ends += 1
            if len(token) and token[piece] >= 0:  # whatever its text would have been
                store_u32(target, begin, np.uint32(token[piece]))
                out = begin + step
            ends[piece + 1] = n_before + np.int64(out // step)
            begin = out
    return joined[:out]


def surround(ids, rows, before, after):
    """Each row ids[rows[i]:rows[i + 1]] between `before` and `after`; all uint32, but rows int64[n + 1]. -> ids, rows"""
    wider = rows + (len(before) + len(after)) * np.arange(len(rows))
    surrounded = np.empty(wider[-1], np.uint32)
    _surround(pointer(ids), rows, before, after, surrounded)
    return surrounded, wider


@kernel(i64, i64[:], u32[:], u32[:], u32[:])
def _surround(ids, rows, before, after, surrounded):
    ids, out, at = view(ids, np.uint32), view(surrounded), 0
    for i in range(len(rows) - 1):
        for k in range(len(before)):
            surrounded[at + k] = before[k]
        at += len(before)
        n = rows[i + 1] - rows[i]
        copy(out, at, ids, rows[i], n)
        at += n
        for k in range(len(after)):
            surrounded[at + k] = after[k]
        at += len(after)
