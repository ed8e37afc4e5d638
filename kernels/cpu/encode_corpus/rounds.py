"""Encoding raw text in rounds: the model encodes each word once, and after that a cache gives the ids of the word.

A round takes the words of a text in order. The ids of known words are appended to one row; the end of a piece of text
is a known word without ids. A new word gets one place in the row, which an *event* notes. The model then encodes all
new words of the round together, and the row is copied to the result with their ids at their places.

One call does all rounds of a text if its model is `ShortWords`: then a round ends while its row is still in the nearest
caches. It returns to Python for longer words, for any other model, and for more memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.cache import (
    END,
    END_BIT,
    FIRST_ID,
    IN_SLOT,
    KIND,
    MASKS,
    MORE,
    MOST_LINES,
    N_INLINE,
    N_KEYS,
    NEW,
    NOWHERE,
    RUN,
    VALUE,
    WordCache,
    enter,
    find,
    find_keys,
    grown,
    in_ring,
    is_there,
    keep,
    keep_words,
    most_ids,
    new_cache,
)
from gputok.kernels.cpu.encode_corpus.marks import CUT, MARK, mark_words
from gputok.kernels.cpu.encode_words.short_words import (
    BATCH,
    MOST_BYTES,
    STATE,
    WORK,
    ShortWords,
    merge_words,
    pack_ids,
)
from gputok.kernels.cpu.primitives.arrays import new_memory, pointer
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U4, U8, U16, U24, U32, U64
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    likely,
    load_u32,
    load_u64,
    prefetch,
    record_at,
    scratch,
    store_u32,
    store_u64,
    tail,
    view,
)
from gputok.kernels.cpu.walk.blocks import BLOCK_BYTES, MARGIN, block_room, next_block
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, Walk
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U32s, U64s, i64, u8, u32, u64

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["Encoder", "encode_corpus", "encode_marked", "surround"]

_ROOM = 1 << 10  # bytes that an array of ids has beyond what text before needed
_ROW = 1 << 15  # about how many ids are in the row of a round if the model is asked here: they stay in the L2
_LEARNED = 16  # ids of new words that a round has room for, for each event
_LEAST_BYTES_AN_ID = 1.5  # of text; memory for more ids is asked for only when it is needed: it might be refused
_FEW_BYTES = 1 << 11  # up to so many bytes are copied without memcpy
_LARGE = 1 << 22  # bytes of ids that get huge pages
_NO_ROUND = -1, 0, 0, 0, 0
_NO_IDS, _NO_ROWS = np.empty(0, np.uint32), np.zeros(1, np.int64)  # of new words
ASKED_AHEAD = np.uint64(512)  # how many bytes ahead ids are prefetched while ids are put together


class _Round(NamedTuple):
    """The output of a round; the memory is used again for the next round."""

    ids: U8s  # uint8[width * n], of words that were known, and a place for each new word
    marks: U8s  # uint8[n], of each of these ids, if pieces are marked
    at: I64s  # int64[n_events], the byte of `ids` where the place of a new word begins
    what: U64s  # uint64[n_events], mark << MARK | number of the new word + 1
    begin: I64s  # int64[n_new], of each new word in the text
    end: I64s  # int64[n_new]
    lines: U64s  # uint64[n_new], where each is entered in the cache
    learned: U32s  # uint32[], the ids of those that the kernel has encoded
    rows: I64s  # int64[n_new + 1], where the ids of each begin


class _Tables(NamedTuple):
    """What a round takes, by one address: while Python passes arrays, it holds the GIL, and all threads wait."""

    walk: Walk
    cache: WordCache
    work: _Round
    model: ShortWords  # without symbols: there is none, and the caller encodes all new words
    masks: U64s  # MASKS


class Encoder:
    """Known words, and memory to work in, for one model and one thread at a time.

    Args:
        dtype: of the ids, uint32 or uint16, large enough for all ids.
        most_lines: the largest size of the cache, of 128 bytes a line.
        n_ids: how many ids of known words the memory of a round holds, unless one block of text has more.
        n_events: likewise, how many occurrences of new words.
        marked: for `encode_marked`.
        sizes: arguments of `new_cache`.
    """

    def __init__(
        self,
        dtype: npt.DTypeLike = np.uint32,
        most_lines: int = MOST_LINES,
        n_ids: int = 1 << 19,
        n_events: int = 1 << 16,
        marked: bool = False,
        **sizes: int,
    ) -> None:
        self.dtype = np.dtype(dtype)
        width = self.dtype.itemsize
        self.cache, self.most_lines, self.bytes_an_id = new_cache(width, **sizes), most_lines, 3.0
        self.work = self._first = _new_round(width * n_ids, n_events, n_ids + 32 if marked else 0)
        self._tables = Handle(_Tables, cache=self.cache, work=self.work, masks=MASKS)
        self.address = self._tables.address

    def begin(self, walk: Walk, words: ShortWords | None = None) -> None:
        """Makes the cache larger if that pays; words: the model, if the kernels may encode its short words."""
        self.cache = grown(self.cache, self.most_lines)
        self._tables.put(walk=walk, cache=self.cache, **({} if words is None else {"model": words}))

    def widen(self) -> None:
        """Makes the memory of a round larger, until `narrow`."""
        ids, marks, at, *_ = map(len, self.work)
        self.work = _new_round(2 * ids, 2 * at, 2 * marks)
        self._tables.put(work=self.work)

    def narrow(self) -> None:
        """Lets go of the memory that one text has needed: a word of megabytes takes hundreds of them."""
        self.work = self._first
        self._tables.put(work=self.work)


def _new_round(n_bytes: int, n_events: int, n_marks: int) -> _Round:
    kinds = np.int64, np.uint64, np.int64, np.int64, np.uint64
    events = (np.empty(n_events, kind) for kind in kinds)
    learned = np.empty(0 if n_marks else _LEARNED * n_events, np.uint32), np.zeros(n_events + 1, np.int64)
    return _Round(np.empty(n_bytes, np.uint8), np.empty(n_marks, np.uint8), *events, *learned)


def encode_corpus(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: Walk,
    model: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    encoder: Encoder,
    words: ShortWords | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes pieces of text: the ids, one after the other, and where those of each piece end.

    data: uint8[n], valid UTF-8; offsets: int64[p + 1], the pieces in it; token: int64[p], an id that stands for the
    whole piece, or -1; None: all are -1. model(data, start, end) -> ids uint32[t], rows int64[words + 1] is called with
    unknown words; words: the same model, for kernels. Returns ids (uint16 or uint32)[t] and offsets int64[p + 1].
    """
    encoder.begin(automaton, words)
    ids, ends, _ = _encoded(data, offsets, token, _encode, (), model, encoder)
    return ids, ends


def encode_marked(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: Walk,
    cuts: np.ndarray,
    inside: np.ndarray,
    model: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    encoder: Encoder,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`encode_corpus` if merges may join words: text is cut into pieces that no merge joins, and ids have marks.

    cuts: uint8[], of `find_cuts` or `cut_bits`: where pieces begin; a word ends at each, too. inside: uint64[1024], bit
    a | b << 8: whether a token has the byte a, then the byte b. encoder: one that was made with `marked`.

    -> ids, ends, and uint8[t], a mark of each id: CUT, the first id of a piece; UNSURE, the first id of another word,
    if the byte before the word and its first byte are in `inside`; else 0.
    """
    encoder.begin(automaton)
    return _encoded(data, offsets, token, _encode_marked, (cuts, inside, int(offsets[0])), model, encoder)


def _encoded(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    kernel: Any,
    how: tuple[Any, ...],
    model: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    encoder: Encoder,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width, marked = encoder.cache.width, len(how) > 0
    start, stop, piece = int(offsets[0]), int(offsets[-1]), 0
    token = None if token is None else np.ascontiguousarray(token, np.int64)
    ends, n_ids, n_text = np.empty(len(offsets), np.int64), 0, stop - start
    ends[0] = 0
    pieces = pointer(offsets), pointer(token), 0 if token is None else len(token), pointer(ends)
    # For the ids of all rounds: an array for each round, joined at the end, would take the memory twice
    joined = _memory(int(width * n_text / encoder.bytes_an_id) + _ROOM)
    marks = np.empty(len(joined) if marked else 0, np.uint8)
    done, ids, rows = _NO_ROUND, _NO_IDS, _NO_ROWS
    while start < stop or done != _NO_ROUND:
        where = start, stop, piece, n_ids
        where, done, is_learned, needed = kernel(
            encoder.address, pointer(data), pieces, where, done, ids, rows, joined, marks, *how
        )
        start, _, piece, n_ids = where
        n_new, work = done[2], encoder.work
        if needed:
            bytes_an_id = max(width * (start - int(offsets[0])) / needed, _LEAST_BYTES_AN_ID)
            joined, before = _memory(_ROOM + max(5 * needed // 4, int(1.1 * width * n_text / bytes_an_id))), joined
            joined[: width * n_ids] = before[: width * n_ids]
            marks.resize(len(joined) if marked else 0, refcheck=False)
            if is_learned:
                ids, rows = work.learned, work.rows[: n_new + 1]
        elif n_new:
            begin, end, lines = (each[:n_new] for each in (work.begin, work.end, work.lines))
            ids, rows = model(data, begin, end)
            keep(encoder.cache, lines, begin, end, ids, rows)
        elif start < stop:  # a single block is too much for the memory
            encoder.widen()
    encoder.narrow()
    ends[piece + 1 :] = n_ids  # pieces without text at the end
    # Memory that is never touched costs nothing, but enlarging it costs a copy: so the densest text so far counts
    encoder.bytes_an_id = min(encoder.bytes_an_id, max((n_text + 1) / (1.25 * n_ids + 1), _LEAST_BYTES_AN_ID))
    if joined.base is None and len(joined) - n_ids * width > n_text // 8:  # else what is left isn't worth giving back
        joined.resize(n_ids * width, refcheck=False)
    return joined[: n_ids * width].view(encoder.dtype), ends, marks[: n_ids if marked else 0]


def _memory(n_bytes: int) -> np.ndarray:
    """Memory for ids: if it is large, huge pages; small ones took a tenth of the time for known words."""
    return np.empty(n_bytes, np.uint8) if n_bytes < _LARGE else new_memory(n_bytes)


_WHERE, _DONE = (i64, i64, i64, i64), (i64, i64, i64, i64, i64)


@kernel(i64, i64, _WHERE, _WHERE, _DONE, u32[:], i64[:], u8[:], u8[:])
def _encode(address, data, pieces, where, done, ids, rows, joined, marks):
    """Rounds without marks."""
    work = record_at(address, _Tables).work
    how = work.marks, work.what, 0
    return _do_rounds(address, data, pieces, where, done, view(ids), view(rows), (joined, marks), how, False)


@kernel(i64, i64, _WHERE, _WHERE, _DONE, u32[:], i64[:], u8[:], u8[:], u8[:], u64[:], i64)
def _encode_marked(address, data, pieces, where, done, ids, rows, joined, marks, cuts, inside, first):
    """Rounds with marks; first: the byte of the first bit of `cuts`."""
    how = view(cuts), view(inside), first
    return _do_rounds(address, data, pieces, where, done, view(ids), view(rows), (joined, marks), how, True)


@kernel(inline=True)
def _do_rounds(address, data, pieces, where, done, ids, rows, joined, how, marked):
    """Does rounds, until the text ends, or until the caller must encode new words or give more memory.

    address: of the encoder's tables; data: of the text; pieces: the addresses of the offsets of its pieces, and of
    their tokens, the number of tokens (of all pieces, or 0), and the address of `ends`, int64[pieces + 1]; where: where
    the next round begins, where the text ends, a piece that begins there or before, and the ids of the rounds before.
    done: a round whose ids are still to be put together, and ids, rows: of its new words; or its first number is -1.
    joined: arrays for ids and marks; how: `cuts`, `inside` and `first` of `encode_marked`; marked: a constant.
    -> where; done, if the caller must encode its new words, or give more memory; whether `work` has the ids of these
    words; and the bytes of ids that are needed, or 0. If no round is done and no bytes are needed, `work` is too small.
    """
    tables, (start, stop, piece, n_ids), is_learned, needed = record_at(address, _Tables), where, False, 0
    work, room = tables.work, _room_for_block(BLOCK_BYTES + MARGIN, marked)
    masks, keys = tables.masks, scratch(4 * N_KEYS, np.uint64)
    merging = scratch(BATCH, np.uint64), scratch(WORK, np.uint32), scratch(STATE, np.uint64)
    asks_here = len(tables.model.symbols) > 0 and not marked
    while True:
        if done[0] >= 0:
            filled = _put(tables, pieces, done, n_ids, ids, rows, joined, marked)
            if filled < 0:
                needed = -filled
                break
            n_ids, piece = filled, done[4]
        begun, done = start, (-1, 0, 0, 0, 0)
        if start == stop:
            break
        where = start, stop, piece, n_ids
        start, made, is_long = _do_round(tables, data, pieces, where, asks_here, (room, masks, keys), how, marked)
        if start == begun:
            if not is_long:
                break
            room = _room_for_block(2 * room[0][0], marked)
            continue
        done = made
        ids, rows = tail(work.learned, 0), tail(work.rows, 0)
        is_learned = done[2] == 0 or (asks_here and _learn(tables, data, done[2], merging))
        if not is_learned:
            break
    return (start, stop, piece, n_ids), done, is_learned, needed


@kernel(inline=True)
def _learn(tables, data, n_new, merging):
    """Encodes the new words of a round, and keeps their ids; False: the caller must do it."""
    work = tables.work
    begin, end, n_bytes, longest = work.begin, work.end, 0, 0
    for i in range(n_new):
        n_bytes += end[i] - begin[i]
        longest = max(longest, end[i] - begin[i])
    if longest > MOST_BYTES or n_bytes + 4 > len(work.learned):  # which `merge_words` needs
        return False
    words = view(begin, np.uint64), view(end, np.uint64), np.uint64(n_new)
    cache, found = tables.cache, (work.learned, view(work.rows, np.uint64))
    learn(view(data, np.uint8), words, work.lines, as_views(tables.model), as_views(cache), merging, found)
    return True


@kernel(inline=True)
def learn(text, words, lines, model, cache, memory, found):
    """Merges new words of at most MOST_BYTES, and gives them their ids in the cache; found: memory for ids and rows."""
    merge_words(text, words, model, memory, *found)
    pack_ids(words, found, *found)
    keep_words(cache, np.uint64(cache.width), (lines, *words), *found)


@kernel(inline=True)
def _do_round(tables, data, pieces, where, asks_here, memory, how, marked):
    """Does a round, until the text ends, or an array may have too little room; with `asks_here` the row is short.

    The text of a piece with a token is left out: the model may not know its words. ends[i + 1] becomes the number of
    ids up to the end of piece i, as far as the round goes, with one id for each new word, and none for a token.
    -> the byte where the round stopped; the numbers of bytes of `work.ids`, of events, and of new words, its first and
    its last piece; and whether it stopped at a word that is longer than a block.
    """
    (start, stop, piece, n_before), (cuts, inside, first) = where, how
    walk, cache, work = tables.walk, tables.cache, tables.work
    data, offsets = view(data, np.uint8), view(pieces[0], np.int64)
    # `token` and `ends` have an item for each piece. With marks, no text is left out: `cuts` has a bit for each byte
    token, has_tokens, ends = view(pieces[1], np.int64), pieces[2] > 0 and not marked, view(pieces[3], np.int64)
    (((n_block, block, codes, bounds), rows, (united, mark_of)), masks, keys), views_of_walk = memory, as_views(walk)
    known, narrow = as_views(cache), cache.width == 2
    ids_shift, room = (U1, np.uint64(len(work.ids) >> 1)) if narrow else (U2, np.uint64(len(work.ids) >> 2))
    ids, at, what, marks = work.ids, work.at, work.what, work.marks
    new_words = work.begin, work.end, work.lines
    out, n_events, n_new, longest_row = U0, U0, U0, np.uint64(_ROW) << ids_shift if asks_here else ALL
    is_long = False
    while offsets[piece + 1] <= start:  # `start` is before the last offset
        ends[piece + 1] = n_before
        piece += 1
    first_piece = piece
    while start < stop and out < longest_row:
        copied, n, _, n_words = next_block(
            data, offsets, piece, start, stop, views_of_walk, (n_block, block, codes, bounds), token, has_tokens
        )
        is_long = copied == 0
        if is_long:
            break
        if marked:
            here = data[start - 1] if start > 0 else np.uint8(0), start - first
            n_words = mark_words(block, bounds, n_words, here, cuts, inside, mark_of, united)
            bounds, united = united, bounds
        # 16 more: up to 32 bytes after the last ids are overwritten here, and read by `_put`
        needed = (out >> ids_shift) + most_ids(n_words, np.uint64(n)) + U16
        if needed > room or n_events + n_words > np.uint64(len(at)):  # each new word has an event
            break
        # One row for each END; one more is overwritten, and a block has MARGIN bytes more than words
        row, n_known, before = U0, n_new, out
        for done in range(U0, n_words, np.uint64(N_KEYS)):
            m, begins = min(n_words - done, np.uint64(N_KEYS)), tail(bounds, done)
            marking = tail(mark_of, done if marked else U0), marks
            find_keys(known, block, begins, m, masks, keys)
            i = U0
            while True:
                i, slot, value, out, row = next_event(
                    known, block, begins, keys, i, m, ids, out, ids_shift, marking, marked, rows, row, True
                )
                if i == m:
                    break
                begin, length = np.uint64(begins[i]), np.uint64(begins[i + U1] - begins[i])
                if value == U0:
                    is_end = keys[U4 * i + U1] == np.uint64(END_OF_TEXT) and length == U1
                    value = END if is_end else (n_new + U1) << U8 | NEW
                    line = give_value(known, slot, keys, i, block, begin, length, value)
                    if not is_end:
                        # The block has an END_OF_TEXT for each row before, the text has none
                        note_new(new_words, n_new, start + np.int64(begin - row), length, line)
                        n_new += U1
                if value == END:
                    rows[row] = out
                    row += U1
                else:
                    at[n_events] = out
                    what[n_events] = value >> U8
                    if marked:
                        what[n_events] = value >> U8 | np.uint64(marking[0][i]) << MARK
                    n_events += U1
                    out += U1 << ids_shift
                i += U1
        if has_tokens:
            _pass_tokens(offsets, piece, start, start + copied, token, new_words, n_known, n_new)
        found = rows, row, before, out, ids_shift
        piece = _note_ends(offsets, piece, start, start + copied, found, n_before, ends)
        start += copied
    return start, (np.int64(out), np.int64(n_events), np.int64(n_new), first_piece, piece), is_long


@kernel(inline=True)
def _room_for_block(n, marked):
    """What a block of n bytes needs: for `next_block`, for its rows, and for `mark_words`."""
    n_marks = n if marked else 0
    return block_room(n), scratch(n, np.uint64), (scratch(n_marks, np.uint32), scratch(n_marks, np.uint8))


@kernel(inline=True)
def _mark_run(marks, out, n, mark):
    """The marks of n ids, the first of which has a mark."""
    for k in range(n):
        marks[out + k] = np.uint8(mark)
        mark = U0


@kernel(inline=True)
def next_event(known, block, begins, keys, i, n, ids, out, ids_shift, marking, marked, rows, row, has_ends):
    """Appends the ids of words from i on, until the cache has no ids of a word. keys: of `find_keys`.

    marking: the marks of words, and the array for those of ids, if `marked`, a constant. rows: uint64[], gets the byte
    of `ids` at each END; has_ends: a constant, False: there are none, and no rows.
    -> the number of that word, or n; its slot, or NOWHERE; its value there, or 0; and where the ids and the rows end.
    """
    while True:
        i, out, row = _known_words(known.slots, keys, i, n, ids, out, ids_shift, marking, marked, rows, row, has_ends)
        if i == n:
            return i, NOWHERE, U0, out, row
        slot = find(known, keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2], block, np.uint64(begins[i]))
        value = known.slots[slot + VALUE] if slot != NOWHERE else U0
        if value & N_INLINE:  # `_known_words` has stored the mark
            out = _store_ids(ids, out, value, known.slots[slot + MORE], ids_shift)
        elif value & KIND == RUN:
            if not is_there(known, value >> U8):
                return i, slot, U0, out, row
            run = in_ring(known, value >> U8)
            if marked:
                n_ids = np.uint64(load_u32(known.ring, run))
                _mark_run(marking[1], out >> ids_shift, n_ids, np.uint64(marking[0][i]))
            out = _copy_run(known.ring, run, ids, out, U1 << ids_shift)
        else:
            return i, slot, value, out, row
        i += U1


@kernel(inline=True)
def give_value(known, slot, keys, i, block, begin, length, value):
    """Gives a value to a slot, or to a new one for word i of `keys`. Returns the line where `keep` finds it."""
    line, low, high = keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2]
    if slot != NOWHERE:
        known.slots[slot + VALUE] = value
        return line
    slot = enter(known, line, low, high, block, begin, length, value)
    return slot & ~U4 if slot != NOWHERE else line


@kernel(inline=True)
def _known_words(slots, keys, i, n, ids, out, ids_shift, marking, marked, rows, row, has_ends):
    """Appends the ids of words from i on, until one is not in the first slot of its line, or has more than a few ids.

    Returns the number of that word, or n, and where the ids and the rows end. Second slots are not looked at: few words
    are there. Each word writes a row, without a branch; the next overwrites it, but not after END.
    """
    while i < n:
        slot = tail(slots, keys[U4 * i])
        value = slot[VALUE]
        if marked:
            store_u32(marking[1], out >> ids_shift, np.uint32(marking[0][i]))
        end = _store_ids(ids, out, value, slot[MORE], ids_shift)
        other = (slot[U0] ^ keys[U4 * i + U1]) | (slot[U1] ^ keys[U4 * i + U2])
        if not likely((other == U0) & (value & IN_SLOT != U0)):
            break
        if has_ends:
            rows[row] = out
            row += value >> END_BIT & U1
        out = end
        i += U1
    return i, out, row


@kernel(inline=True)
def _store_ids(ids, out, value, more, ids_shift):
    """Stores the ids of a slot and returns where they end: four are stored, however many they are."""
    if ids_shift == U1:
        store_u64(ids, out, more)
    else:
        store_u64(ids, out, value >> U8 & FIRST_ID | value & (ALL << U32))  # the first two side by side
        store_u64(ids, out + U8, more)
    return out + ((value & N_INLINE) << ids_shift)


@kernel(inline=True)
def _note_ends(offsets, piece, start, stop, found, n_before, ends):
    """Writes ends[i + 1] of pieces with a part in the block start:stop, and of empty pieces; returns the last piece.

    found: the rows of the block, their number, where the ids of the round end before and after it, and the shift of
    ids; n_before: ids of the rounds before. If there were too few rows, `row < n_rows` would still bound the index.
    """
    rows, n_rows, before, after, ids_shift = found
    row, n_ids = U0, n_before + np.int64(before >> ids_shift)
    while start < stop:
        while offsets[piece + 1] <= start:
            ends[piece + 1] = n_ids
            piece += 1
        start = min(offsets[piece + 1], stop)
        n_ids = n_before + np.int64((rows[row] if row < n_rows else after) >> ids_shift)
        ends[piece + 1] = n_ids  # if only a part of the piece lies in the block, a later one writes it again
        row += U1
    return piece


@kernel(inline=True)
def _pass_tokens(offsets, piece, start, stop, token, new_words, n_known, n_new):
    """Adds the bytes of tokens, which the block start:stop lacks, to the places of new words after, from n_known on."""
    begins, ends, _ = new_words
    left_out = 0
    while n_known < n_new:  # they end before `stop`, and so before the last piece does
        while offsets[piece + 1] <= start:
            piece += 1
        if token[piece] >= 0:
            left_out += offsets[piece + 1] - start
        start = min(offsets[piece + 1], stop)
        while n_known < n_new and begins[n_known] + left_out < start:
            begins[n_known] += left_out
            ends[n_known] += left_out
            n_known += U1


@kernel(inline=True)
def note_new(new_words, n_new, begin, length, line):
    """Notes a new word of a round."""
    begins, ends, lines = new_words
    begins[n_new] = begin
    ends[n_new] = begin + np.int64(length)
    lines[n_new] = line


@kernel(inline=True)
def _copy_run(ring, run, ids, out, width):
    """Appends a run of ids and returns where they end. Four bytes are stored for each, whatever their width."""
    for k in range(np.uint64(load_u32(ring, run))):
        store_u32(ids, out, load_u32(ring, run + U4 * (k + U1)))
        out += width
    return out


@kernel(inline=True)
def _copy_known(target, out, source, marks, at, size, shift, marked):
    """Copies ids, and their marks: `size` bytes of ids from `at` on, to `out`."""
    for k in (U0, U64):
        prefetch(source, at + ASKED_AHEAD + k)
        prefetch(target[0], out + ASKED_AHEAD + k)
    _copy_wide(target[0], out, source, at, size)
    if marked:
        _copy_wide(target[1], out >> shift, marks, at >> shift, size >> shift)


@kernel(inline=True)
def _copy_wide(target, out, source, at, size):
    """Copies `size` bytes. Few are copied 32 at a time, up to 31 too many: memcpy takes long to begin."""
    if size > np.uint64(_FEW_BYTES):
        copy(target, out, source, at, size)
    else:
        for k in range(U0, size, U32):
            for part in (U0, U8, U16, U24):
                store_u64(target, out + k + part, load_u64(source, at + k + part))


@kernel(inline=True)
def _put(tables, pieces, made, n_before, learnt, rows, to, marked):
    """Writes all ids of a round after those of the rounds before; corrects `ends`; returns the number of all ids.

    made: of `_do_round`; n_before: the ids of the rounds before; learnt, rows: the ids of new words; to: arrays for ids
    and marks. For an id of two bytes four are stored, and the next id overwrites two. Ids of known words, and marks,
    are copied 32 bytes at a time: up to 31 bytes too many, which `work.ids` has, and for which `joined` has room.
    -> if there is too little room: instead, the number of bytes that are needed, below 0.
    """
    (n_bytes, n_events, _, first_piece, last_piece), (joined, joined_marks) = made, to
    token, ends = view(pieces[1], np.int64), view(pieces[3], np.int64)
    work, width, has_tokens = tables.work, tables.cache.width, pieces[2] > 0
    source, step, at, of = work.ids, np.uint64(width), work.at, work.what
    shift, number, marks, n_new = np.uint64(width >> 1), ALL >> U8 if marked else ALL, work.marks, 0
    for i in range(n_events):
        what = of[i] & number
        n_new += rows[what] - rows[what - U1]
    for piece in range(first_piece, last_piece + 1 if has_tokens else 0):
        n_new += 1 if token[piece] >= 0 else 0
    needed = width * (n_before + n_new) + n_bytes + 32
    if needed > len(joined):
        return -needed
    target, out = (view(joined), view(joined_marks)), np.uint64(n_before) << shift
    begin, done, event = out, U0, 0
    # Without events and tokens, `ends` is right
    for piece in range(first_piece, last_piece + 1 if n_events > 0 or has_tokens else first_piece):
        # `done` is at most `stop`: the ids up to it include one, a place, for each event before it
        stop = np.uint64(ends[piece + 1] - n_before) << shift
        while event < n_events and np.uint64(at[event]) < stop:
            size = np.uint64(at[event]) - done
            _copy_known(target, out, source, marks, done, size, shift, marked)
            out += size
            done += size + step
            what = of[event] & number
            if marked:
                n = np.uint64(rows[what] - rows[what - U1])
                _mark_run(target[1], out >> shift, n, of[event] >> MARK)
            for k in range(rows[what - U1], rows[what]):
                store_u32(target[0], out, learnt[k])
                out += step
            event += 1
        if has_tokens and token[piece] >= 0:  # its id is the only one of the piece
            _copy_known(target, out, source, marks, done, stop - done, shift, marked)
            store_u32(target[0], begin, np.uint32(token[piece]))
            if marked:
                target[1][begin >> shift] = CUT
            out, done = begin + step, stop
        begin = out + (stop - done)  # what lies between is copied with what follows it
        ends[piece + 1] = np.int64(begin >> shift)
    size = np.uint64(n_bytes) - done
    _copy_known(target, out, source, marks, done, size, shift, marked)
    return np.int64(out + size >> shift)


def surround(ids: np.ndarray, rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Puts `before` and `after` around each row ids[rows[i]:rows[i + 1]], all uint32; returns the new ids and rows."""
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
