"""Encoding raw text in rounds: the model encodes each word once, and after that a cache gives the ids of the word.

A round takes the words of a text in order. The ids of known words are appended to one row; for each new word, and for each
end of a piece of text, an *event* notes the number of ids in the row. The model then encodes all new words of the round
together, and the row is copied to the result, with the ids of the events inserted. So the loop over the text knows no model,
and the model sees many words at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_corpus.cache import (
    END,
    KIND,
    MORE,
    MOST_LINES,
    N_INLINE,
    NEW,
    NOWHERE,
    RUN,
    VALUE,
    WordCache,
    enter,
    find,
    find_keys,
    first_two,
    grown,
    keep,
    most_ids,
    new_cache,
    run_of,
)
from gputok.kernels.cpu.encode_corpus.learned import Learning, Member
from gputok.kernels.cpu.encode_corpus.marks import CUT, MARK, mark_words
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U4, U8, U16, U24, U32, U64
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    likely,
    load_u32,
    load_u64,
    owned,
    prefetch,
    scratch,
    store_u32,
    store_u64,
    tail,
    view,
)
from gputok.kernels.cpu.walk import (
    BLOCK_BYTES,
    END_OF_TEXT,
    MARGIN,
    Walk,
    fill_block,
    walk_block,
)
from gputok.kernels.cpu.word_table import N_MASKS, put_masks
from gputok.kernels.signatures import I64s, U8s, U64s, i64, u8, u32, u64

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["Encoder", "encode_corpus", "encode_marked", "surround"]

N_KEYS = 256  # words whose keys are found before the words are looked up
ASKED_AHEAD = np.uint64(512)  # bytes of ids that are on the way while others are put together


class _Round(NamedTuple):
    """The output of a round; the memory is used again for the next round."""

    ids: U8s  # uint8[width * n], of words that were known
    marks: U8s  # uint8[n], of each of these ids, if pieces are marked
    at: I64s  # int64[n_events], bytes of `ids` before each
    what: U64s  # uint64[n_events], mark << MARK | number of a new word + 1; or 0: the end of a piece
    piece: I64s  # int64[], of each END
    begin: I64s  # int64[n_new], of each new word in the text
    end: I64s  # int64[n_new]
    lines: U64s  # uint64[n_new], where each is entered in the cache


class Encoder:
    """Known words, and memory to work in, for one model and one thread at a time.

    Args:
        dtype: of the ids, uint32 or uint16, large enough for all ids.
        most_lines: the largest size of the cache; a line, for two words, has 64 bytes of slots and 64 of ring.
        n_ids: how many ids of known words the memory of a round holds; it grows if one block of text has more.
        n_events: likewise, how many new words and ends of pieces.
        marked: for `encode_marked`.
        learning: of other encoders for the same model, with which it shares what it learns; None: of no others.
        sizes: arguments of `new_cache`.
    """

    def __init__(
        self,
        dtype: npt.DTypeLike = np.uint32,
        most_lines: int = MOST_LINES,
        n_ids: int = 1 << 19,
        n_events: int = 1 << 16,
        marked: bool = False,
        learning: Learning | None = None,
        **sizes: int,
    ) -> None:
        width = np.dtype(dtype).itemsize
        self.member = Member(Learning() if learning is None else learning)
        self.cache, self.most_lines = new_cache(width, **sizes), most_lines
        self.work = _new_round(width * n_ids, n_events, n_ids + 32 if marked else 0)

    def grow(self) -> None:
        """Makes the cache larger if that pays, and its size is not at the limit."""
        self.cache = grown(self.cache, self.most_lines)


def _new_round(n_bytes: int, n_events: int, n_marks: int) -> _Round:
    kinds = np.int64, np.uint64, np.int64, np.int64, np.int64, np.uint64
    events = (np.empty(n_events, kind) for kind in kinds)
    return _Round(np.empty(n_bytes, np.uint8), np.empty(n_marks, np.uint8), *events)


def encode_corpus(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: Walk,
    model: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    encoder: Encoder,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes pieces of text: the ids, one after the other, and where those of each piece end.

    data: uint8[n], valid UTF-8; offsets: int64[p + 1], the pieces in it; token: int64[p], an id that stands for the
    whole piece, or -1; None: all are -1. model(data, start, end) -> ids uint32[t], rows int64[words + 1] is called with
    words that the encoder doesn't know.
    Returns ids (uint16 or uint32)[t] and offsets int64[p + 1].
    """
    ids, ends, _ = _encoded(data, offsets, token, (automaton,), model, encoder)
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
    """Like `encode_corpus`, if merges may join words: text is cut into pieces that no merge reaches across, and ids have marks.

    cuts: uint8[], of `find_cuts` or `cut_bits`: where pieces begin; a word ends at each, too. inside: uint64[1024], bit last | first << 8:
    whether a token has these two bytes side by side. encoder: one that was made with `marked`.

    -> ids, ends, and uint8[t], a mark of each id: CUT, the first id of a piece; UNSURE, the first id of another word, with
    two bytes of `inside` around the word's begin; else 0.
    """
    return _encoded(data, offsets, token, (automaton, cuts, inside, int(offsets[0])), model, encoder)


def _encoded(
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    how: tuple[Any, ...],
    model: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    encoder: Encoder,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    encoder.grow()
    encoder.member.take(encoder.cache)
    cache, work, marked = encoder.cache, encoder.work, len(how) > 1
    look_up, put_together = (_look_up_marked, _put_marked) if marked else (_look_up, _put_together)
    start, stop = int(offsets[0]), int(offsets[-1])
    token = np.empty(0, np.int64) if token is None else np.ascontiguousarray(token, np.int64)
    dtype, ends, n_ids = np.dtype(f"u{cache.width}"), np.zeros(len(offsets), np.int64), 0
    parts: list[np.ndarray] = []
    marks: list[np.ndarray] = []
    while start < stop:
        piece = np.searchsorted(offsets, start, "right") - 1
        n_tokens = 0 if marked else len(token)  # else marks would have to know which text is left out
        text = pointer(data), pointer(offsets), pointer(token), n_tokens, piece
        start, n_bytes, n_events, n_new = look_up(text, start, stop, *how, cache, work)
        if n_events == 0:  # a single block is too much for the memory
            work = _new_round(2 * len(work.ids), 2 * len(work.at), 2 * len(work.marks))
            continue
        ids, rows = np.empty(0, np.uint32), np.zeros(1, np.int64)
        if n_new:
            begin, end = work.begin[:n_new], work.end[:n_new]
            ids, rows = model(data, begin, end)
            keep(cache, work.lines[:n_new], begin, end, ids, rows)
            encoder.member.give(data, begin, end, ids, rows)
        sizes = n_bytes, n_events, n_ids
        put = put_together(work, sizes, ids, rows, token, ends, cache.width)
        if marked:
            put, put_marks = put
            marks.append(put_marks)
        parts.append(put.view(dtype))
        n_ids += len(parts[-1])
    np.maximum.accumulate(ends, out=ends)  # a piece without words ends where the piece before ended
    return _joined(parts, dtype), ends, _joined(marks, np.dtype(np.uint8))


def _joined(parts: list[np.ndarray], dtype: np.dtype[Any]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


@kernel((i64, i64, i64, i64, i64), i64, i64, Walk, WordCache, _Round)
def _look_up(text, start, stop, walk, cache, work):
    """A round without marks."""
    return _do_round(text, start, stop, walk, cache, work, work.marks, work.what, 0, False)


@kernel((i64, i64, i64, i64, i64), i64, i64, Walk, u8[:], u64[:], i64, WordCache, _Round)
def _look_up_marked(text, start, stop, walk, cuts, inside, first, cache, work):
    """A round with marks; first: the byte of the first bit of `cuts`."""
    return _do_round(text, start, stop, walk, cache, work, cuts, inside, first, True)


@kernel(inline=True)
def _do_round(text, start, stop, walk, cache, work, cuts, inside, first, marked):
    """Does a round, until `stop`, or until an array may have too little room.

    text: the addresses of the text, of its pieces' offsets and tokens, the number of tokens (of all pieces, or 0), and the
    piece in which `start` is. The text of a piece with a token is left out: the model may not know its words. cuts, inside: of
    `encode_marked`. marked: a constant, so that LLVM leaves out what isn't needed.
    -> the byte where the round stopped, and the numbers of bytes of `work.ids`, of events, and of new words.
    """
    data, offsets, piece = view(text[0], np.uint8), view(text[1], np.int64), text[4]
    # `token` has one item for each piece, so what bounds `piece` bounds its index too
    token, has_tokens = (view(text[2], np.int64), text[3] > 0)
    n_block, views_of_walk = BLOCK_BYTES + MARGIN, as_views(walk)
    block, codes, bounds = scratch(n_block, np.uint8), scratch(n_block, np.uint8), scratch(n_block, np.uint32)
    masks, keys = scratch(N_MASKS, np.uint64), scratch(4 * N_KEYS, np.uint64)
    put_masks(masks)
    known, narrow = as_views(cache), cache.width == 2
    ids_shift, room = (U1, np.uint64(len(work.ids) >> 1)) if narrow else (U2, np.uint64(len(work.ids) >> 2))
    ids, at, what = view(work.ids), view(work.at), view(work.what)
    pieces = view(work.piece)
    new_words = view(work.begin), view(work.end), view(work.lines)
    out, n_events, n_ends, n_new = U0, U0, 0, U0
    marks, cuts, sides = view(work.marks), view(cuts), view(inside)
    united, mark_of = _room_for_marks(n_block if marked else 0)
    while start < stop:
        copied, n, _ = fill_block(
            data, offsets, piece, start, stop, views_of_walk, block, n_block, token, has_tokens
        )
        if copied == 0:
            n_block *= 2
            block, codes, bounds = (
                scratch(n_block, np.uint8),
                scratch(n_block, np.uint8),
                scratch(n_block, np.uint32),
            )
            united, mark_of = _room_for_marks(n_block if marked else 0)
            continue
        n_words = walk_block(block, np.uint64(n), views_of_walk, bounds, codes)
        if marked:
            here = data[start - 1] if start > 0 else np.uint8(0), start - first
            n_words = mark_words(block, bounds, n_words, here, cuts, sides, mark_of, united)
            bounds, united = united, bounds
        # 16 more: up to 32 bytes after the last ids are overwritten here, and read by _put_together
        needed = (out >> ids_shift) + most_ids(n_words, np.uint64(n)) + U16
        if needed > room or n_events + n_words > np.uint64(len(work.at)):
            break
        # `shift` takes an index in the block to one in the text; `ended` is the piece of the next END
        shift, ended = (start, n_ends)
        piece, n_ends = _note_pieces(offsets, piece, start, start + copied, pieces, n_ends)
        start += copied
        for done in range(U0, n_words, np.uint64(N_KEYS)):
            m, begins = min(n_words - done, np.uint64(N_KEYS)), tail(bounds, done)
            marking = tail(mark_of, done if marked else U0), marks
            find_keys(known, block, begins, m, masks, keys)
            i = U0
            while True:
                i, slot, value, out = next_event(
                    known, block, begins, keys, i, m, ids, out, ids_shift, marking, marked
                )
                if i == m:
                    break
                begin, length = np.uint64(begins[i]), np.uint64(begins[i + U1] - begins[i])
                if value == U0:
                    is_end = keys[U4 * i + U1] == np.uint64(END_OF_TEXT) and length == U1
                    value = END if is_end else (n_new + U1) << U8 | NEW
                    line = give_value(known, slot, keys, i, block, begin, length, value)
                    if not is_end:
                        note_new(new_words, n_new, shift + np.int64(begin), length, line)
                        n_new += U1
                if value == END:
                    shift -= 1
                    if (
                        has_tokens
                    ):  # one END was counted for each piece of the block by _note_pieces, in order
                        ended_piece = pieces[ended]
                        ended += 1
                        if token[ended_piece] >= 0:
                            shift += offsets[ended_piece + 1] - offsets[ended_piece]
                at[n_events] = out
                what[n_events] = value >> U8
                if marked and value != END:
                    what[n_events] = value >> U8 | np.uint64(marking[0][i]) << MARK
                n_events += U1
                i += U1
    return start, np.int64(out), np.int64(n_events), np.int64(n_new)


@kernel(inline=True)
def _room_for_marks(n):
    """What `mark_words` needs for a block of n bytes."""
    return scratch(n, np.uint32), scratch(n, np.uint8)


@kernel(inline=True)
def _mark_run(marks, out, n, mark):
    """The marks of n ids, the first of which has a mark."""
    for k in range(n):
        marks[out + k] = np.uint8(mark)
        mark = U0


@kernel(inline=True)
def next_event(known, block, begins, keys, i, n, ids, out, ids_shift, marking, marked):
    """Appends the ids of words from i on, until the cache has no ids of a word, whose number is returned; n if there is none.

    Also returns the slot of that word, or NOWHERE; its value there, or 0; and where the ids end. keys: of `find_keys`.
    """
    while True:
        i, out = _known_words(known.slots, keys, i, n, ids, out, ids_shift, marking, marked)
        if i == n:
            return i, NOWHERE, U0, out
        slot = find(known, keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2], block, np.uint64(begins[i]))
        value = known.slots[slot + VALUE] if slot != NOWHERE else U0
        if value & N_INLINE:  # `_known_words` has stored the mark
            out = _store_ids(ids, out, value, known.slots[slot + MORE], ids_shift)
        elif value & KIND == RUN:
            run = run_of(known, value)
            if run == NOWHERE:
                return i, slot, U0, out
            if marked:
                n_ids = np.uint64(load_u32(known.ring, run))
                _mark_run(marking[1], out >> ids_shift, n_ids, np.uint64(marking[0][i]))
            out = _copy_run(known.ring, run, ids, out, U1 << ids_shift)
        else:
            return i, slot, value, out
        i += U1


@kernel(inline=True)
def give_value(known, slot, keys, i, block, begin, length, value):
    """Gives a value to the slot of word i of `keys`, or to a new slot if it is NOWHERE. Returns the line where `keep` finds it."""
    line, low, high = keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2]
    if slot == NOWHERE:
        return enter(known, line, low, high, block, begin, length, value)
    known.slots[slot + VALUE] = value
    return line


@kernel(inline=True)
def _known_words(slots, keys, i, n, ids, out, ids_shift, marking, marked):
    """Appends the ids of the words from i on, until a word is not in the first slot of its line, or has more than a few ids.

    Returns the number of that word, or n, and where the ids end. Second slots are not looked at: only one or two
    words of a hundred are there, and all others would take longer.
    """
    while i < n:
        slot = tail(slots, keys[U4 * i])
        value = slot[VALUE]
        if marked:
            store_u32(marking[1], out >> ids_shift, np.uint32(marking[0][i]))
        end = _store_ids(ids, out, value, slot[MORE], ids_shift)
        other = (slot[U0] ^ keys[U4 * i + U1]) | (slot[U1] ^ keys[U4 * i + U2])
        if not likely((other == U0) & (value & N_INLINE != U0)):
            break
        out = end
        i += U1
    return i, out


@kernel(inline=True)
def _store_ids(ids, out, value, more, ids_shift):
    """Stores the ids of a slot and returns where they end: four are stored, however many they are."""
    if ids_shift == U1:
        store_u64(ids, out, more)
    else:
        store_u64(ids, out, first_two(value))
        store_u64(ids, out + U8, more)
    return out + ((value & N_INLINE) << ids_shift)


@kernel(inline=True)
def _note_pieces(offsets, piece, start, stop, pieces, n_ends):
    """Notes the pieces of which a part lies in start:stop; the last of them, and the number of all pieces noted."""
    while start < stop:
        while offsets[piece + 1] <= start:
            piece += 1
        start = min(offsets[piece + 1], stop)
        pieces[n_ends] = piece
        n_ends += 1
    return piece, n_ends


@kernel(inline=True)
def note_new(new_words, n_new, begin, length, line):
    """Notes a new word of a round."""
    begins, ends, lines = new_words
    begins[n_new] = begin
    ends[n_new] = begin + np.int64(length)
    lines[n_new] = line


@kernel(inline=True)
def _copy_run(ring, run, ids, out, width):
    """Appends a run of ids and returns where they end. Four bytes are stored for each; with ids of two bytes, the next overwrites two."""
    for k in range(np.uint64(load_u32(ring, run))):
        store_u32(ids, out, load_u32(ring, run + U4 * (k + U1)))
        out += width
    return out


@kernel(_Round, (i64, i64, i64), u32[:], i64[:], i64[:], i64[:], i64)
def _put_together(work, sizes, ids, rows, token, ends, width):
    """The ids of a round without marks."""
    return _put(work, sizes, ids, rows, token, ends, width, False)[0]


@kernel(_Round, (i64, i64, i64), u32[:], i64[:], i64[:], i64[:], i64)
def _put_marked(work, sizes, ids, rows, token, ends, width):
    """The ids of a round, and their marks."""
    return _put(work, sizes, ids, rows, token, ends, width, True)


@kernel(inline=True)
def _copy_wide(target, out, source, at, size):
    """Copies `size` bytes, 32 at a time: up to 31 bytes too many. The function of C takes long to begin."""
    for k in range(U0, size, U32):
        for part in (U0, U8, U16, U24):
            store_u64(target, out + k + part, load_u64(source, at + k + part))


@kernel(inline=True)
def _put(work, sizes, ids, rows, token, ends, width, marked):
    """Puts together all ids of a round, uint8[width * n]; ends[piece + 1] becomes the number of ids up to the piece's end.

    sizes: bytes of `work.ids`, events, and ids of the rounds before; ids, rows: of the new words. Four bytes are stored for
    each id; if ids have two bytes, the next id overwrites the upper two. Ids of known words are copied 32 bytes at a time: up
    to 31 bytes too many, which `work.ids` has, and for which `joined` has room. Marks, uint8[n], are copied likewise.
    """
    n_bytes, n_events, n_before = sizes
    source, learnt, step = view(work.ids), view(ids), np.uint64(width)
    shift, number, marks = np.uint64(width >> 1), ALL >> U8 if marked else ALL, view(work.marks)
    n_new = 0
    for i in range(n_events):
        what = work.what[i] & number
        n_new += 1 if what == U0 else rows[what] - rows[what - U1]  # a token may stand for a piece
    joined = np.empty(n_bytes + width * n_new + 32, np.uint8)
    joined_marks = np.empty((n_bytes + width * n_new >> np.int64(shift)) + 32 if marked else 0, np.uint8)
    target, target_marks = owned(joined), owned(joined_marks)
    out, begin, done, n_ends = U0, U0, U0, 0
    for i in range(n_events):
        what, size = work.what[i] & number, np.uint64(work.at[i]) - done
        for k in (U0, U64):
            prefetch(source, done + ASKED_AHEAD + k)
            prefetch(target, out + ASKED_AHEAD + k)
        _copy_wide(target, out, source, done, size)  # a piece is short
        if marked:
            _copy_wide(target_marks, out >> shift, marks, done >> shift, size >> shift)
        out += size
        done += size
        if what != U0:
            if marked:
                n = np.uint64(rows[what] - rows[what - U1])
                _mark_run(target_marks, out >> shift, n, work.what[i] >> MARK)
            for k in range(rows[what - U1], rows[what]):
                store_u32(target, out, learnt[k])
                out += step
        else:
            piece = work.piece[n_ends]
            n_ends += 1
            if len(token) and token[piece] >= 0:  # whatever its text would have been
                store_u32(target, begin, np.uint32(token[piece]))
                if marked:
                    target_marks[begin >> shift] = CUT
                out = begin + step
            ends[piece + 1] = n_before + np.int64(out // step)
            begin = out
    return joined[:out], joined_marks[: out >> shift]


def surround(
    ids: np.ndarray, rows: np.ndarray, before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Puts `before` and `after` around each row ids[rows[i]:rows[i + 1]]; returns the new ids and rows.

    All arrays are uint32, but rows int64[n + 1].
    """
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
