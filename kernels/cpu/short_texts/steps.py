"""Cuts one short text into words: the steps of a tokenizer before its model, in memory that all texts use in turn.

For a text of a few words, all these steps take less time than passing arrays from Python to a kernel, so one call does all
of them. Each step does the work of the stage of the same name in another file; a step that seldom changes a text calls that
stage.

The text of all pieces is in one block. Piece i is text[start[i]:end[i]]; token[i] is the id of an added token, or -1 for
text. A step that changes the text replaces the block and, if positions are needed, writes down the origin of each byte.

Bounds: the text has at most TEXT_BYTES bytes. The original text has at most encode.LONGEST bytes, and a step that would
make a longer text than TEXT_BYTES returns TOO_MUCH instead. After the text are MARGIN bytes; the walk writes two of them
for a moment, and reads no others. Before a step makes more pieces, the largest possible number of them (each added token,
each piece of text and each word of a walk has at least one byte) is compared with MAX_PIECES. FROM, UNTIL and BOUNDS have an
element for each byte of the text; a walk writes at most two bounds more than a piece has bytes. The stages that are called
state their own bounds; in the checked build, the views here know their length.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.edits import _splice, _strip
from gputok.kernels.cpu.find_tokens import next_token
from gputok.kernels.cpu.normalize import _map_characters, _normalize_form, inert_run
from gputok.kernels.cpu.precompiled import _normalize_precompiled
from gputok.kernels.cpu.primitives.constants import U0, U1
from gputok.kernels.cpu.primitives.memory import copy, owned, scratch, tail
from gputok.kernels.cpu.rewrite import MAP as MAP_BYTES
from gputok.kernels.cpu.rewrite import PREPEND, _rewrite_bytes
from gputok.kernels.cpu.short_texts.handle import Handle, memory, no_pointer, number, pointer_at, size
from gputok.kernels.cpu.split import _split_words
from gputok.kernels.cpu.walk import END_OF_TEXT, walk_rest

TEXT_BYTES = 1 << 14  # the size of the block; for a text that becomes larger, the result is TOO_MUCH
MARGIN = 64  # so many bytes after a text may be read and written
MAX_PIECES = 2 * TEXT_BYTES + MARGIN  # text and added tokens in turn, each of at least one byte
TOO_MUCH = -1  # the result instead of a number of pieces: the stages of other files must encode the text

# Fields of a handle: memory for the pieces, for their text and for its origin; and the steps.
(
    START,  # int64[MAX_PIECES]
    END,
    TOKEN,
    MODE,  # uint8[MAX_PIECES], an argument of the stages that are called
    NEW_START,
    NEW_END,
    NEW_TOKEN,
    ROWS,  # int64[MAX_PIECES + 1]
    TEXT,  # uint8[TEXT_BYTES + MARGIN]
    FROM,  # int32[TEXT_BYTES + MARGIN]: byte i of the text stands for bytes FROM[i]:UNTIL[i] of the original
    UNTIL,
    BOUNDS,  # uint32[TEXT_BYTES + MARGIN]
    STEPS,  # the handles of the steps, of N_STEP fields each
    N_STEPS,
    ASKS_ORIGIN,  # 1: one of the steps needs the origin of text
    N_MEMORY,
) = range(16)

# The kinds of steps, which are at KIND in the handle of each step, and the other fields of these handles.
EXTRACT, WALK, SPLIT, FORM, MAP, PRECOMPILED, REPLACE, STRIP, SPACES = range(9)
KIND, N_STEP = 0, 16
CLASSES, CHILDREN, N_CLASSES, STRINGS, FIRST, FEW, OPTIONS, WORD_BITS, IDS = range(1, 10)  # EXTRACT
KLASS, CLASS_PAGE, CLASS_MEMBER, PAIR, STEP, DELTA, ACCEPT, WIDTH, FRESH = range(1, 10)  # WALK
# SPLIT: KLASS, CLASS_PAGE, CLASS_MEMBER, DELTA, ACCEPT of WALK, and
N_COLUMNS, RULE = 10, 11
PAGE, MEMBER, N_INERT, RANK, OFFSETS, PARTS, PARTS_RANK, PAIR_KEYS, PAIR_VALUES = range(1, 10)  # FORM
ASCII, REPLACEMENTS, REPLACEMENT_OFFSETS = 3, 4, 5  # MAP, and PAGE, MEMBER
UNITS, STRINGS_OF, PLAIN, LONGEST_STRING = 3, 4, 5, 6  # PRECOMPILED, and PAGE, MEMBER
CONTENT = 12  # REPLACE, and the fields of SPLIT
LEFT, RIGHT = 3, 4  # STRIP, and PAGE, MEMBER
WIDTHS, WHEN, SPELT, REPLACES = 1, 2, 3, 4  # SPACES

NEVER, IF_ANY, IF_BARE, AT_START = range(4)  # WHEN of SPACES: the pieces that get a text in front


def put_memory(handle: Handle) -> None:
    """Gives a handle memory for one text at a time."""
    for field in (START, END, TOKEN, NEW_START, NEW_END, NEW_TOKEN):
        handle.put(field, np.empty(MAX_PIECES, np.int64))
    handle.put(MODE, np.empty(MAX_PIECES, np.uint8))
    handle.put(ROWS, np.empty(MAX_PIECES + 1, np.int64))
    handle.put(TEXT, np.empty(TEXT_BYTES + MARGIN, np.uint8))
    for field in (FROM, UNTIL):
        handle.put(field, np.empty(TEXT_BYTES + MARGIN, np.int32))
    handle.put(BOUNDS, np.empty(TEXT_BYTES + MARGIN, np.uint32))


@kernel
def words_of(handle, given, n_bytes, aligned):
    """Cuts a text (a view of n_bytes, at most TEXT_BYTES) into words: pieces in the fields of a handle.

    aligned: write down the origin of the text, if a step changes it. -> the number of pieces, or TOO_MUCH; and the number
    of bytes of the changed text, or -1 if no step has changed it.
    """
    text, token = memory(handle, TEXT, np.uint8), memory(handle, TOKEN, np.int64)
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    copy(text, 0, given, 0, n_bytes)
    start[0] = 0
    end[0] = n_bytes
    token[0] = -1
    followed = aligned or number(handle, ASKS_ORIGIN) != 0
    n, n_changed = np.int64(1), np.int64(-1)
    for i in range(number(handle, N_STEPS)):
        step = tail(memory(handle, STEPS, np.uint64), 2 * N_STEP * i)
        kind = number(step, KIND)
        if kind == EXTRACT:
            n = _extract(handle, step, n)
        elif kind == WALK:
            n = _walk(handle, step, n)
        elif kind == SPLIT:
            n = _split(handle, step, n)
        elif kind == STRIP:
            _strip_pieces(handle, step, n)
        elif kind == SPACES:
            n, n_changed = _spell_spaces(handle, step, n, n_bytes, followed, n_changed)
        elif kind != FORM or not _stays(handle, step, n):
            n, n_changed = _change(handle, step, n, n_bytes, followed, n_changed)
        if n < 0:
            break
    return n, n_changed


# ---- cutting


@kernel(inline=True)
def _lists(handle):
    """The present pieces, and memory for the new pieces: start, end and token of each."""
    now = (
        memory(handle, START, np.int64),
        memory(handle, END, np.int64),
        memory(handle, TOKEN, np.int64),
    )
    new = (
        memory(handle, NEW_START, np.int64),
        memory(handle, NEW_END, np.int64),
        memory(handle, NEW_TOKEN, np.int64),
    )
    return now, new


@kernel(inline=True)
def _put(pieces, m, begin, finish, id):
    start, end, token = pieces
    start[m] = begin
    end[m] = finish
    token[m] = id
    return m + 1


@kernel(inline=True)
def _take(now, new, m):
    """Replaces the present pieces by the m new ones, and returns m."""
    copy(now[0], 0, new[0], 0, m)
    copy(now[1], 0, new[1], 0, m)
    copy(now[2], 0, new[2], 0, m)
    return m


@kernel(inline=True)
def _extract(handle, step, n):
    """Cuts pieces at added tokens (see find_tokens.py), and leaves out empty ones."""
    text = memory(handle, TEXT, np.uint8)
    now, new = _lists(handle)
    start, end, token = now
    nodes = (
        memory(step, CLASSES, np.uint8),
        memory(step, CHILDREN, np.uint32),
        np.uint64(number(step, N_CLASSES)),
        memory(step, STRINGS, np.int32),
    )
    few = memory(step, FEW, np.uint8), size(step, FEW)
    options, word_bits = memory(step, OPTIONS, np.uint8), memory(step, WORD_BITS, np.uint8)
    finder = nodes, memory(step, FIRST, np.uint8), few, options, word_bits
    ids, any_tokens = memory(step, IDS, np.int64), size(step, CLASSES) > 0
    m = np.int64(0)
    for i in range(n):
        first, stop = start[i], end[i]
        if m + 2 * (stop - first) + 2 > MAX_PIECES:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            m = _put(new, m, first, stop, token[i])
            continue
        done, blank = first, first  # the end of the last token, and of the white space after it
        at = first if any_tokens else stop
        while True:
            match, begin, finish, at, done, blank = next_token(text, first, stop, at, done, blank, finder)
            if match < 0:
                break
            if done < begin:
                m = _put(new, m, done, begin, -1)
            m = _put(new, m, begin, finish, ids[match])
            done = finish
        if done < stop:
            m = _put(new, m, done, stop, -1)
    return _take(now, new, m)


@kernel(inline=True)
def _walk(handle, step, n):
    """Cuts pieces into the words of a gapless automaton; see `kernels.cpu.walk`."""
    text, bounds = memory(handle, TEXT, np.uint8), memory(handle, BOUNDS, np.uint32)
    now, new = _lists(handle)
    start, end, token = now
    pair = memory(step, PAIR, np.uint8)
    characters = (
        memory(step, KLASS, np.uint8),
        memory(step, CLASS_PAGE, np.uint16),
        memory(step, CLASS_MEMBER, np.uint8),
    )
    states = (
        memory(step, DELTA, np.uint16),
        memory(step, ACCEPT, np.uint8),
        memory(step, STEP, np.uint32),
    )
    numbers = np.uint64(number(step, WIDTH)), np.uint64(number(step, FRESH))
    tables = (*characters, *states, *numbers)
    m = np.int64(0)
    for i in range(n):
        begin, stop = np.uint64(start[i]), np.uint64(end[i])
        if m + np.int64(stop - begin) + 2 > MAX_PIECES:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            m = _put(new, m, begin, stop, token[i])
            continue
        # The walk needs a mark at the end of the piece, where the first bytes of the next piece are. The mark is walked too:
        # it takes the walk back if the last match ended earlier, so that no state is left undecided.
        first, second = text[stop], text[stop + U1]
        text[stop] = END_OF_TEXT
        text[stop + U1] = END_OF_TEXT
        n_words = _walk_piece(text, begin, stop + U1, pair, tables, bounds) - U1  # the mark counts as a word
        text[stop] = first
        text[stop + U1] = second
        for k in range(n_words):
            m = _put(new, m, bounds[k], bounds[k + 1], -1)
    return _take(now, new, m)


@kernel(inline=True)
def _walk_piece(text, p, stop, pair, tables, bounds):
    """`walk_block` for text[p:stop] in one walk: writes the positions at which words begin, and returns their number."""
    n_bounds = walk_rest(text, p, stop, tables[-1], pair, bounds, U0, tables)
    # The walk may have passed one byte after `stop`, and counted it as a word
    if n_bounds > U0 and bounds[n_bounds - U1] == np.uint32(stop):
        n_bounds -= U1
    bounds[n_bounds] = stop
    return n_bounds


@kernel
def _split(handle, step, n):
    """Cuts pieces at the matches of an automaton; see split.py."""
    now, new = _lists(handle)
    starts, ends, rows = _matches(handle, step, n, _as_stages_take_them(handle, n))
    if len(starts) > MAX_PIECES:
        return np.int64(TOO_MUCH)
    token, new_token = now[2], new[2]
    for i in range(n):
        for k in range(rows[i], rows[i + 1]):
            new_token[k] = token[i]
    copy(now[0], 0, owned(starts), 0, len(starts))
    copy(now[1], 0, owned(ends), 0, len(ends))
    copy(token, 0, new_token, 0, len(starts))
    return np.int64(len(starts))


@kernel(inline=True)
def _matches(handle, step, n, n_bytes):
    """The spans that a split step cuts the pieces into; call `_as_stages_take_them` first."""
    tables = (
        pointer_at(step, KLASS),
        pointer_at(step, CLASS_PAGE),
        pointer_at(step, CLASS_MEMBER),
        pointer_at(step, DELTA),
        pointer_at(step, ACCEPT),
    )
    n_classes = number(step, N_COLUMNS) - 1
    capacity = n + n_bytes // 4 + 16
    pieces = _pieces(handle, n)
    return _split_words(pointer_at(handle, TEXT), pieces, tables, n_classes, number(step, RULE), capacity)


# ---- changing the text


@kernel(inline=True)
def _as_stages_take_them(handle, n):
    """Marks the pieces that are added tokens, which stages leave unchanged; returns the number of bytes of all pieces."""
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    token, frozen = memory(handle, TOKEN, np.int64), memory(handle, MODE, np.uint8)
    n_bytes = np.int64(0)
    for i in range(n):
        frozen[i] = token[i] >= 0
        n_bytes += end[i] - start[i]
    return n_bytes


@kernel(inline=True)
def _pieces(handle, n):
    """The pieces as stages take them."""
    return pointer_at(handle, START), pointer_at(handle, END), pointer_at(handle, MODE), n


@kernel(inline=True)
def _stays(handle, step, n):
    """Returns True if all characters of the pieces are inert, so that normalization changes nothing."""
    text, token = memory(handle, TEXT, np.uint8), memory(handle, TOKEN, np.int64)
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    page, member = memory(step, PAGE, np.uint16), memory(step, MEMBER, np.uint16)
    for i in range(n):
        if token[i] < 0:
            at, _ = inert_run(text, start[i], end[i], page, member, number(step, N_INERT), True)
            if at < end[i]:
                return False
    return True


@kernel
def _strip_pieces(handle, step, n):
    """Leaves out white space at the ends of pieces."""
    _as_stages_take_them(handle, n)
    space = pointer_at(step, PAGE), pointer_at(step, MEMBER)
    left, right = number(step, LEFT) != 0, number(step, RIGHT) != 0
    starts, ends = _strip(pointer_at(handle, TEXT), _pieces(handle, n), *space, left, right)
    copy(memory(handle, START, np.int64), 0, owned(starts), 0, n)
    copy(memory(handle, END, np.int64), 0, owned(ends), 0, n)


@kernel
def _change(handle, step, n, n_given, aligned, n_changed):
    """Normalizes all pieces but added tokens; returns the number of pieces, or TOO_MUCH, and the bytes of the text."""
    n_bytes, kind = _as_stages_take_them(handle, n), number(step, KIND)
    data, pieces = pointer_at(handle, TEXT), _pieces(handle, n)
    if kind == MAP:
        table = (
            pointer_at(step, PAGE),
            pointer_at(step, MEMBER),
            pointer_at(step, ASCII),
            pointer_at(step, REPLACEMENTS),
            pointer_at(step, REPLACEMENT_OFFSETS),
        )
        new, offsets, source = _map_characters(data, pieces, table, n_bytes, aligned)
    elif kind == FORM:
        tables = (
            pointer_at(step, PAGE),
            pointer_at(step, MEMBER),
            pointer_at(step, RANK),
            pointer_at(step, OFFSETS),
            pointer_at(step, PARTS),
            pointer_at(step, PARTS_RANK),
            number(step, N_INERT),
        )
        pairs = pointer_at(step, PAIR_KEYS), pointer_at(step, PAIR_VALUES), size(step, PAIR_KEYS) // 8
        new, offsets, source = _normalize_form(data, pieces, tables, pairs, n_bytes, aligned)
    elif kind == PRECOMPILED:
        maps = (
            pointer_at(step, UNITS),
            size(step, UNITS) // 4,
            pointer_at(step, STRINGS_OF),
            size(step, STRINGS_OF),
            pointer_at(step, PAGE),
            pointer_at(step, MEMBER),
            pointer_at(step, PLAIN),
            number(step, LONGEST_STRING),
        )
        new, offsets, source = _normalize_precompiled(data, pieces, maps, n_bytes, aligned)
    else:
        starts, ends, rows = _matches(handle, step, n, n_bytes)
        if len(starts) > MAX_PIECES:
            return np.int64(TOO_MUCH), n_changed
        if not _mark_matches(handle, n, starts, ends, rows):
            return n, n_changed
        cuts = (
            pointer_at(handle, ROWS),
            pointer_at(handle, NEW_START),
            pointer_at(handle, NEW_END),
            pointer_at(handle, NEW_TOKEN),
        )
        content = pointer_at(step, CONTENT)
        new, offsets, source = _splice(data, pieces, cuts, content, size(step, CONTENT), aligned)
    if len(new) > TEXT_BYTES:
        return np.int64(TOO_MUCH), n_changed
    if aligned:
        _follow(handle, n_given, n_changed, owned(source), len(new))
    return n, _put_text(handle, new, offsets, n)


@kernel(inline=True)
def _mark_matches(handle, n, starts, ends, rows):
    """Writes matches as `edits.splice` takes them (see `gputok.text.edit.replace`); returns False if no piece has one."""
    text, (now, new) = memory(handle, TEXT, np.uint8), _lists(handle)
    (start, end, token), (cut_start, cut_end, origin) = now, new
    cut_rows = memory(handle, ROWS, np.int64)
    m = np.int64(0)
    for i in range(n):
        cut_rows[i] = m
        if token[i] >= 0 or start[i] == end[i]:
            continue
        for k in range(rows[i], rows[i + 1]):
            at = ends[k] - 1
            while ends[k] > start[i] and text[at] & np.uint8(0xC0) == np.uint8(0x80):
                at -= 1
            cut_start[m] = starts[k]
            cut_end[m] = ends[k]
            origin[m] = at if ends[k] > start[i] else ~start[i]
            m += 1
    cut_rows[n] = m
    return m > 0


@kernel
def _spell_spaces(handle, step, n, n_given, aligned, n_changed):
    """Replaces some bytes, and puts a text before some pieces; see rewrite.py."""
    text, mode = memory(handle, TEXT, np.uint8), memory(handle, MODE, np.uint8)
    (start, end, token), _ = _lists(handle)
    when, spelt, n_spelt = number(step, WHEN), memory(step, SPELT, np.uint8), size(step, SPELT)
    begins = memory(handle, FROM, np.int32)
    replaces = np.uint8(MAP_BYTES if number(step, REPLACES) else 0)
    for i in range(n):
        mode[i] = 0
        if token[i] >= 0:
            continue
        first, length = start[i], end[i] - start[i]
        wanted = when != NEVER and length > 0
        if wanted and when != IF_ANY:
            bare = text[first] != np.uint8(0x20)
            if n_spelt and length >= n_spelt:
                k = 0
                while k < n_spelt and text[first + k] == spelt[k]:
                    k += 1
                bare = bare and k < n_spelt
            wanted = bare
        if wanted and when == AT_START:
            wanted = first == 0 if n_changed < 0 else begins[first] == 0
        mode[i] = replaces | np.uint8(PREPEND if wanted else 0)
    if aligned:
        _begin_following(handle, n_given, n_changed)
    origin = (
        (pointer_at(handle, FROM), pointer_at(handle, UNTIL)) if aligned else (no_pointer(), no_pointer())
    )
    new, offsets, new_begins, new_ends = _rewrite_bytes(
        pointer_at(handle, TEXT), _pieces(handle, n), pointer_at(step, WIDTHS), origin
    )
    if len(new) > TEXT_BYTES:
        return np.int64(TOO_MUCH), n_changed
    if aligned:
        copy(begins, 0, owned(new_begins), 0, len(new))
        copy(memory(handle, UNTIL, np.int32), 0, owned(new_ends), 0, len(new))
    return n, _put_text(handle, new, offsets, n)


@kernel(inline=True)
def _put_text(handle, new, offsets, n):
    """Replaces the text by packed pieces, and returns its number of bytes."""
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    copy(memory(handle, TEXT, np.uint8), 0, owned(new), 0, len(new))
    for i in range(n):
        start[i] = offsets[i]
        end[i] = offsets[i + 1]
    return np.int64(len(new))


@kernel(inline=True)
def _begin_following(handle, n_given, n_changed):
    """Writes down the origin of each byte of the original text, before the first change.

    All bytes of the first character begin at the same byte; each other byte has its own origin.
    """
    if n_changed >= 0:
        return
    text = memory(handle, TEXT, np.uint8)
    begins, ends = memory(handle, FROM, np.int32), memory(handle, UNTIL, np.int32)
    for i in range(n_given):
        begins[i] = i
        ends[i] = i + 1
    i = 1
    while i < n_given and text[i] & np.uint8(0xC0) == np.uint8(0x80):
        begins[i] = 0
        i += 1


@kernel(inline=True)
def _follow(handle, n_given, n_changed, source, n):
    """Writes down the origin of the n bytes of a new text; source: their positions in the present text, see normalize.py."""
    _begin_following(handle, n_given, n_changed)
    begins, ends = memory(handle, FROM, np.int32), memory(handle, UNTIL, np.int32)
    new_begins, new_ends = scratch(n, np.int32), scratch(n, np.int32)
    for k in range(n):
        at = source[k]
        low = begins[max(at, ~at)]
        new_begins[k] = low
        new_ends[k] = ends[at] if at >= 0 else low
    copy(begins, 0, new_begins, 0, n)
    copy(ends, 0, new_ends, 0, n)
