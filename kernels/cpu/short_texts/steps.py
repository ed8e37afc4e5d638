"""The words of one short text: what a tokenizer does before its model, step by step, in memory that is used again.

A text of some words goes through these steps in less time than it takes to hand arrays from Python to one kernel. So all
steps are one call here; each does what the stage of the same name does in other files, and calls it where the text is
seldom changed by it.

The text of all pieces lies in one block. Piece i is text[start[i]:end[i]], and token[i] the added token that it is, or
-1. A step that changes the text puts another in its place and, if that is wanted, writes down where each byte came from.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.find_tokens import next_token
from gputok.kernels.cpu.normalize import _normalize_form, inert_run
from gputok.kernels.cpu.primitives.constants import U0, U1, U2
from gputok.kernels.cpu.primitives.memory import copy, owned, scratch, tail
from gputok.kernels.cpu.short_texts.handle import Handle, memory, number, pointer_at, size
from gputok.kernels.cpu.walk import END_OF_TEXT, RARE, _entry, _note, _single_steps

TEXT_BYTES = 1 << 14  # of the block; a text that grows larger is left to others
MARGIN = 64  # bytes behind a text that may be read and written
MAX_PIECES = 2 * TEXT_BYTES + MARGIN  # of text and of added tokens by turns, each at least a byte
TOO_MUCH = -1  # instead of a number of pieces: the text is left to others

# Places of a handle: memory for pieces, for their text, and for where it came from; and the steps.
(
    START,  # int64[MAX_PIECES]
    END,
    TOKEN,
    FROZEN,  # uint8[MAX_PIECES], 1: an added token
    NEW_START,
    NEW_END,
    NEW_TOKEN,
    TEXT,  # uint8[TEXT_BYTES + MARGIN]
    FROM,  # int32[TEXT_BYTES + MARGIN]: byte i of the text stands for bytes FROM[i]:UNTIL[i] of the given one
    UNTIL,
    BOUNDS,  # uint32[TEXT_BYTES + MARGIN]
    STEPS,  # handles of N_STEP places, one for each step
    N_STEPS,
    N_MEMORY,
) = range(14)

# The steps, by the number at KIND in the handle of each, and the other places of these handles.
EXTRACT, FORM, WALK = range(3)
KIND, N_STEP = 0, 16
CLASSES, CHILDREN, N_CLASSES, STRINGS, FIRST, FEW, OPTIONS, WORD_BITS, IDS = range(1, 10)  # EXTRACT
PAGE, MEMBER, N_INERT, RANK, OFFSETS, PARTS, PARTS_RANK, PAIR_KEYS, PAIR_VALUES = range(1, 10)  # FORM
KLASS, CLASS_PAGE, CLASS_MEMBER, PAIR, STEP, DELTA, ACCEPT, WIDTH, FRESH = range(1, 10)  # WALK


def put_memory(handle: Handle) -> None:
    """Gives a handle memory for one text at a time."""
    for place in (START, END, TOKEN, NEW_START, NEW_END, NEW_TOKEN):
        handle.put(place, np.empty(MAX_PIECES, np.int64))
    handle.put(FROZEN, np.empty(MAX_PIECES, np.uint8))
    handle.put(TEXT, np.empty(TEXT_BYTES + MARGIN, np.uint8))
    for place in (FROM, UNTIL):
        handle.put(place, np.empty(TEXT_BYTES + MARGIN, np.int32))
    handle.put(BOUNDS, np.empty(TEXT_BYTES + MARGIN, np.uint32))


@kernel(inline=True)
def words_of(handle, given, n_bytes, aligned):
    """The words of a text (a view of n_bytes, at most TEXT_BYTES), as pieces at the places of a handle.

    aligned: write down where the text came from, if it becomes another. -> The number of pieces, or TOO_MUCH; and the
    bytes of the text that it became, or -1 if it is still the given one.
    """
    text, token = memory(handle, TEXT, np.uint8), memory(handle, TOKEN, np.int64)
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    copy(text, 0, given, 0, n_bytes)
    start[0] = 0
    end[0] = n_bytes
    token[0] = -1
    n, n_changed = np.int64(1), np.int64(-1)
    for i in range(number(handle, N_STEPS)):
        step = tail(memory(handle, STEPS, np.uint64), 2 * N_STEP * i)
        kind = number(step, KIND)
        if kind == EXTRACT:
            n = _extract(handle, step, n)
        elif kind == WALK:
            n = _walk(handle, step, n)
        elif not _stays(handle, step, n):
            n, n_changed = _change(handle, step, n, n_bytes, aligned, n_changed)
        if n < 0:
            break
    return n, n_changed


# ---- cutting


@kernel(inline=True)
def _lists(handle):
    """The pieces, and memory for those that they become: start, end and token of each."""
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
    """The new pieces become those that are there."""
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
        behind, blank = first, first  # the last token; and white space behind it
        at = first if any_tokens else stop
        while True:
            match, begin, finish, at, behind, blank = next_token(text, first, stop, at, behind, blank, finder)
            if match < 0:
                break
            if behind < begin:
                m = _put(new, m, behind, begin, -1)
            m = _put(new, m, begin, finish, ids[match])
            behind = finish
        if behind < stop:
            m = _put(new, m, behind, stop, -1)
    return _take(now, new, m)


@kernel(inline=True)
def _walk(handle, step, n):
    """Cuts pieces into the words of a gapless automaton (see walk.py), each in its place in the text."""
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
        # The next piece begins where the end of this one has to be marked.
        first, second = text[stop], text[stop + U1]
        text[stop] = END_OF_TEXT
        text[stop + U1] = END_OF_TEXT
        n_words = _walk_piece(text, begin, stop + U1, pair, tables, bounds) - U1  # the mark is one as well
        text[stop] = first
        text[stop + U1] = second
        for k in range(n_words):
            m = _put(new, m, bounds[k], bounds[k + 1], -1)
    return _take(now, new, m)


@kernel(inline=True)
def _walk_piece(text, p, stop, pair, tables, bounds):
    """`walk_block` for text[p:stop], at one place: where its words begin, and how many there are."""
    state, n_bounds = tables[-1], U0
    while p < stop:
        while p < stop:
            entry = _entry(text, p, state, pair)
            if entry >= np.uint64(RARE):
                break
            state, n_bounds = _note(entry, p, bounds, n_bounds)
            p += U2
        p, state, n_bounds = _single_steps(text, p, stop, state, bounds, n_bounds, tables)
    if n_bounds > U0 and bounds[n_bounds - U1] == np.uint32(stop):  # a byte behind may have been stepped over
        n_bounds -= U1
    bounds[n_bounds] = stop
    return n_bounds


# ---- changing the text


@kernel(inline=True)
def _stays(handle, step, n):
    """Do all pieces stay what they are, whatever stands beside their characters?"""
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
def _change(handle, step, n, n_given, aligned, n_changed):
    """Normalizes all pieces but added tokens: the number of pieces, or TOO_MUCH, and the bytes of the text now."""
    start, end = memory(handle, START, np.int64), memory(handle, END, np.int64)
    token, frozen = memory(handle, TOKEN, np.int64), memory(handle, FROZEN, np.uint8)
    n_bytes = np.int64(0)
    for i in range(n):
        frozen[i] = token[i] >= 0
        n_bytes += end[i] - start[i]
    pieces = pointer_at(handle, START), pointer_at(handle, END), pointer_at(handle, FROZEN), n
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
    new, offsets, source = _normalize_form(pointer_at(handle, TEXT), pieces, tables, pairs, n_bytes, aligned)
    if len(new) > TEXT_BYTES:
        return np.int64(TOO_MUCH), n_changed
    text = memory(handle, TEXT, np.uint8)
    if aligned:
        _follow(handle, text, n_given, n_changed, owned(source), len(new))
    copy(text, 0, owned(new), 0, len(new))
    for i in range(n):
        start[i] = offsets[i]
        end[i] = offsets[i + 1]
    return n, len(new)


@kernel(inline=True)
def _follow(handle, text, n_given, n_changed, source, n):
    """Writes down where the n bytes of the new text came from; source: from where in the old one."""
    begins, ends = memory(handle, FROM, np.int32), memory(handle, UNTIL, np.int32)
    if n_changed < 0:  # the old text is the given one, whose first character is a place without parts
        for i in range(n_given):
            begins[i] = i
            ends[i] = i + 1
        i = 1
        begins[0] = 0
        while i < n_given and text[i] & np.uint8(0xC0) == np.uint8(0x80):
            begins[i] = 0
            i += 1
    new_begins, new_ends = scratch(n, np.int32), scratch(n, np.int32)
    for k in range(n):
        at = source[k]
        low = begins[max(at, ~at)]
        new_begins[k] = low
        new_ends[k] = ends[at] if at >= 0 else low
    copy(begins, 0, new_begins, 0, n)
    copy(ends, 0, new_ends, 0, n)
