"""Cuts one short text into words: the steps of a tokenizer before its model, in memory that all texts use in turn.

For a text of a few words, all these steps take less time than passing arrays from Python to a kernel, so one call does
them. Each step does the work of the stage of the same name in another file, or calls this stage if it is needed seldom.

The text of all pieces is in one block. Piece i is text[start[i]:end[i]]; token[i] is the id of an added token, or -1. A
step that changes the text replaces the block and, if positions are needed, writes down the origin of each byte.

Bounds: the text has at most TEXT_BYTES bytes. The original text has at most encode.LONGEST bytes, and a step that would
make a longer text than TEXT_BYTES returns TOO_MUCH. After the text are MARGIN bytes; the walk writes two of them for a
moment, and reads no others. Before a step makes more pieces, the largest possible number of them (each added token,
piece of text and word of a walk has at least one byte) is compared with MAX_PIECES. `origin`, `until` and `bounds` have
an element for each byte of the text; a walk writes at most two bounds more than a piece has bytes. The stages that are
called state their own bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gputok.kernels import Automaton, CharacterMap, Charsmap, Compositions, NormalizationForm
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.edits import splice_pieces, strip_pieces
from gputok.kernels.cpu.find_tokens import next_token
from gputok.kernels.cpu.normalize import follow_sources, inert_run, map_pieces, normalize_pieces
from gputok.kernels.cpu.precompiled import normalize_precompiled_pieces
from gputok.kernels.cpu.primitives.arrays import put_row
from gputok.kernels.cpu.primitives.constants import U0, U1
from gputok.kernels.cpu.primitives.handle import WORDS, Handle
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    no_pointer,
    owned,
    pointer_to_all,
    record_at,
    scratch,
    tail,
    view,
)
from gputok.kernels.cpu.rewrite import MAP as MAP_BYTES
from gputok.kernels.cpu.rewrite import PREPEND, rewrite_pieces
from gputok.kernels.cpu.split import split_pieces
from gputok.kernels.cpu.walk.by_pairs import walk_rest
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, Walk, steps_of
from gputok.kernels.signatures import I32s, I64s, NamedTuple, U8s, U16s, U16x2, U32s, U32x2, U64s, U64x2

TEXT_BYTES = 1 << 17  # the size of the block; for a text that becomes larger, the result is TOO_MUCH
MARGIN = 64  # bytes after a text that may be read and written
MAX_PIECES = 2 * TEXT_BYTES + MARGIN  # text and added tokens in turn, each of at least one byte
TOO_MUCH = -1  # the result instead of a number of pieces: the stages of other files must encode the text

# The kinds of steps
EXTRACT, WALK, SPLIT, FORM, MAP, PRECOMPILED, REPLACE, STRIP, SPACES = range(9)
N_STEP = 16  # fields of the handle of a step: no kind has more
# `when` of SPACES, which pieces get a text in front: none; those that aren't empty; of these, those that begin neither
# with a space nor with `spelt`; of these, the one at the start of the text
NEVER, IF_ANY, IF_BARE, AT_START = range(4)


class ShortText(NamedTuple):
    """The fields of a handle: memory for one text, the steps, the special tokens, and the model."""

    start: I64s  # int64[MAX_PIECES]
    end: I64s
    token: I64s
    mode: U8s  # uint8[MAX_PIECES], the argument `frozen` or `mode` of the stages that are called
    new_start: I64s
    new_end: I64s
    new_token: I64s
    rows: I64s  # int64[MAX_PIECES + 1], the argument `rows` of `edits.splice`
    text: U8s  # uint8[TEXT_BYTES + MARGIN]
    origin: I32s  # int32[TEXT_BYTES + MARGIN]: byte i of the text stands for bytes origin[i]:until[i] of the original
    until: I32s
    bounds: U32s  # uint32[TEXT_BYTES + MARGIN]
    steps: U64s  # the handles of the steps, of N_STEP fields each
    n_steps: int
    asks_origin: bool  # one of the steps needs the origin of text
    # The tokens of the text, and memory of the model for one word; see encode.py
    ids: U32s  # uint32[MAX_TOKENS + MAX_SPECIAL]
    begins: I64s  # int64[the same], in characters of the original text; written with POSITIONS only
    ends: I64s
    words: I32s  # int32[the same], the number of the word, or -1
    leading: I32s  # int32[n_ids]: the number of white space characters at the start of each token; -1: not known yet
    trailing: I32s  # int32[n_ids]: at its end
    trims: U8s  # of each post-processor that trims positions, in order: 1 if it has add_prefix_space
    before: U32s  # uint32[at most MAX_SPECIAL]
    after: U32s
    cache: U64x2  # of encode_words.word_cache
    symbols: U32s
    symbol_offsets: I64s
    links_before: U32s
    links_after: U32s
    keys: U32s
    random: U64s
    model: int  # the address of the handle of the model's tables
    kind: int  # of the model, see `encode.KINDS`
    units: int  # the address of a handle of units.py, for positions.py
    # int32[n_ids]: the number of characters, or bytes, of each token, or what positions.py says
    lengths: I32s
    by_byte: bool  # lengths are bytes


class BaseStep(NamedTuple):
    """What the fields of each kind of step begin with."""

    kind: int


class Extract(NamedTuple):
    """Cuts at added tokens; see find_tokens.py. All arrays are empty if there are none."""

    kind: int
    edges: U64x2  # of build_trie, for strings with ids from 0 on
    first: U64s  # with `few`: of `first_bytes`
    few: U8s
    options: U8s
    word_bits: U8s
    ids: I64s  # of the tokens


class WalkStep(NamedTuple):
    """Cuts into the words of a gapless automaton."""

    kind: int
    walk: Walk


class Split(NamedTuple):
    """Cuts at the matches of an automaton, or (REPLACE) replaces each match."""

    kind: int
    automaton: Automaton
    rule: int
    content: U8s


class Form(NamedTuple):
    """A normalization form."""

    kind: int
    form: NormalizationForm
    pairs: Compositions


class Map(NamedTuple):
    """Replaces characters."""

    kind: int
    table: CharacterMap


class Precompiled(NamedTuple):
    """SentencePiece's character map."""

    kind: int
    table: Charsmap


class Strip(NamedTuple):
    """Leaves out white space at the ends of pieces."""

    kind: int
    page: U16s
    member: U16x2
    left: bool
    right: bool


class Spaces(NamedTuple):
    """Replaces some bytes, and puts a text before some pieces; see rewrite.py."""

    kind: int
    table: U32x2  # of `rewrite.rewrite_bytes`
    when: int
    spelt: U8s  # with IF_BARE and AT_START, a piece that begins with this text gets no other one in front
    replaces: bool  # whether the table replaces bytes


def put_steps(handle: Handle, steps: Sequence[Handle]) -> None:
    """Puts steps into a handle, which keeps them alive."""
    slots = [step.slots for step in steps] or [np.zeros((N_STEP, WORDS), np.uint64)]
    handle.put(steps=np.concatenate(slots, axis=None), n_steps=len(steps))
    handle.keep(*steps)


@kernel
def words_of(handle, given, n_bytes, aligned):
    """Cuts a text (a view of n_bytes, at most TEXT_BYTES) into words: pieces in the fields of a handle.

    aligned: write down the origin of the text, if a step changes it. -> the number of pieces, or TOO_MUCH; and the
    number of bytes of the changed text, or -1 if no step has changed it.
    """
    text, start, end, token = handle.text, handle.start, handle.end, handle.token
    copy(text, 0, given, 0, n_bytes)
    start[0] = 0
    end[0] = n_bytes
    token[0] = -1
    followed = aligned or handle.asks_origin
    n, n_changed = np.int64(1), np.int64(-1)
    for i in range(handle.n_steps):
        step = step_of(handle, i)
        kind = record_at(step, BaseStep).kind
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


@kernel(inline=True)
def step_of(handle, i):
    """The view of step i, from which `record_at` reads its fields."""
    return tail(handle.steps, WORDS * N_STEP * i)


# ---- cutting


@kernel(inline=True)
def _lists(handle):
    """The present pieces, and memory for the new pieces: start, end and token of each."""
    now = handle.start, handle.end, handle.token
    return now, (handle.new_start, handle.new_end, handle.new_token)


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
    text = handle.text
    now, new = _lists(handle)
    start, end, token = now
    finder, ids, any_tokens = finder_of(record_at(step, Extract))
    m = np.int64(0)
    for i in range(n):
        first, stop = start[i], end[i]
        if m + 2 * (stop - first) + 2 > MAX_PIECES:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            m = put_row(new, m, first, stop, token[i])
            continue
        done, blank = first, first  # the end of the last token, and of the white space after it
        at = first if any_tokens else stop
        while True:
            match, begin, finish, at, done, blank = next_token(text, first, stop, at, done, blank, finder)
            if match < 0:
                break
            if done < begin:
                m = put_row(new, m, done, begin, -1)
            m = put_row(new, m, begin, finish, ids[match])
            done = finish
        if done < stop:
            m = put_row(new, m, done, stop, -1)
    return _take(now, new, m)


@kernel(inline=True)
def finder_of(step):
    """The argument `finder` of `next_token` for an Extract step; the ids of its tokens; and whether it has any."""
    trie = view(step.edges, np.uint64), np.uint64(len(step.edges) // 2 - 1), np.uint64(len(step.options))
    finder = trie, step.first, (step.few, len(step.few)), step.options, step.word_bits
    return finder, step.ids, len(step.options) > 0


@kernel(inline=True)
def _walk(handle, step, n):
    """Cuts pieces into the words of a gapless automaton; see `kernels.cpu.walk`."""
    text, bounds = handle.text, handle.bounds
    now, new = _lists(handle)
    start, end, token = now
    walk = as_views(record_at(step, WalkStep).walk)
    pair, tables = walk.pair, steps_of(walk)
    m = np.int64(0)
    for i in range(n):
        begin, stop = np.uint64(start[i]), np.uint64(end[i])
        if m + np.int64(stop - begin) + 2 > MAX_PIECES:
            return np.int64(TOO_MUCH)
        if token[i] >= 0:
            m = put_row(new, m, begin, stop, token[i])
            continue
        # The walk needs END_OF_TEXT after the piece, where the next piece begins: so two bytes are replaced for a
        # moment. If the last match ended earlier, END_OF_TEXT makes the walk go back, so that the last word is known.
        first, second = text[stop], text[stop + U1]
        text[stop] = END_OF_TEXT
        text[stop + U1] = END_OF_TEXT
        n_words = walk_piece(text, begin, stop + U1, pair, tables, bounds) - U1  # the mark counts as a word
        text[stop] = first
        text[stop + U1] = second
        for k in range(n_words):
            m = put_row(new, m, bounds[k], bounds[k + 1], -1)
    return _take(now, new, m)


@kernel(inline=True)
def walk_piece(text, p, stop, pair, tables, bounds):
    """Walks text[p:stop], which ends with END_OF_TEXT: writes where words begin, then `stop`; returns their number."""
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
    """The spans that a split step cuts the pieces into; n_bytes: of `_as_stages_take_them`, which is called before."""
    split, capacity = record_at(step, Split), n + n_bytes // 4 + 16
    return split_pieces(pointer_to_all(handle.text), _pieces(handle, n), split.automaton, split.rule, capacity)


# ---- changing the text


@kernel(inline=True)
def _as_stages_take_them(handle, n):
    """Marks the added tokens, which stages leave unchanged; returns the number of bytes of all pieces."""
    start, end, token, frozen = handle.start, handle.end, handle.token, handle.mode
    n_bytes = np.int64(0)
    for i in range(n):
        frozen[i] = token[i] >= 0
        n_bytes += end[i] - start[i]
    return n_bytes


@kernel(inline=True)
def _pieces(handle, n):
    """The argument `pieces` of a stage: the addresses of start, end and mode, and the number of pieces."""
    return pointer_to_all(handle.start), pointer_to_all(handle.end), pointer_to_all(handle.mode), n


@kernel(inline=True)
def _stays(handle, step, n):
    """Returns True if all characters of the pieces are inert, so that normalization changes nothing."""
    text, start, end, token = handle.text, handle.start, handle.end, handle.token
    form = record_at(step, Form).form
    page, member = form.page, form.member
    for i in range(n):
        if token[i] < 0:
            at, _ = inert_run(text, start[i], end[i], page, member, form.n_inert, True)
            if at < end[i]:
                return False
    return True


@kernel
def _strip_pieces(handle, step, n):
    """Leaves out white space at the ends of pieces."""
    _as_stages_take_them(handle, n)
    of = record_at(step, Strip)
    space = pointer_to_all(of.page), pointer_to_all(of.member)
    starts, ends = strip_pieces(pointer_to_all(handle.text), _pieces(handle, n), *space, of.left, of.right)
    copy(handle.start, 0, owned(starts), 0, n)
    copy(handle.end, 0, owned(ends), 0, n)


@kernel
def _change(handle, step, n, n_given, aligned, n_changed):
    """Normalizes all pieces but added tokens; returns the number of pieces, or TOO_MUCH, and the bytes of the text.

    n_given: the bytes of the original text; n_changed: the bytes of the text now, or -1 if no step has changed it.
    """
    n_bytes, kind = _as_stages_take_them(handle, n), record_at(step, BaseStep).kind
    data, pieces = pointer_to_all(handle.text), _pieces(handle, n)
    if kind == MAP:
        new, offsets, source = map_pieces(data, pieces, record_at(step, Map).table, n_bytes, aligned)
    elif kind == FORM:
        of = record_at(step, Form)
        new, offsets, source = normalize_pieces(data, pieces, of.form, of.pairs, n_bytes, aligned)
    elif kind == PRECOMPILED:
        table = record_at(step, Precompiled).table
        new, offsets, source = normalize_precompiled_pieces(data, pieces, table, n_bytes, aligned)
    else:
        starts, ends, rows = _matches(handle, step, n, n_bytes)
        if len(starts) > MAX_PIECES:
            return np.int64(TOO_MUCH), n_changed
        if not _mark_matches(handle, n, starts, ends, rows):
            return n, n_changed
        begin, end, origin = handle.new_start, handle.new_end, handle.new_token
        cuts = pointer_to_all(handle.rows), pointer_to_all(begin), pointer_to_all(end), pointer_to_all(origin)
        content = record_at(step, Split).content
        given = pointer_to_all(content), len(content)
        new, offsets, source = splice_pieces(data, pieces, cuts, *given, aligned)
    if len(new) > TEXT_BYTES:
        return np.int64(TOO_MUCH), n_changed
    if aligned:
        _follow(handle, n_given, n_changed, owned(source), len(new))
    return n, _put_text(handle, new, offsets, n)


@kernel(inline=True)
def _mark_matches(handle, n, starts, ends, rows):
    """Writes matches as `edits.splice` takes them (see `gputok.text.edit.replace`); False: no piece has a match."""
    text, (now, new), cut_rows = handle.text, _lists(handle), handle.rows
    (start, end, token), (cut_start, cut_end, origin) = now, new
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
    text, mode, spaces = handle.text, handle.mode, record_at(step, Spaces)
    (start, end, token), _ = _lists(handle)
    when, spelt, n_spelt = spaces.when, spaces.spelt, len(spaces.spelt)
    begins = handle.origin
    replaces = np.uint8(MAP_BYTES if spaces.replaces else 0)
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
    origin = (pointer_to_all(handle.origin), pointer_to_all(handle.until)) if aligned else (no_pointer(), no_pointer())
    new, offsets, new_begins, new_ends = rewrite_pieces(
        pointer_to_all(handle.text), _pieces(handle, n), pointer_to_all(spaces.table), origin
    )
    if len(new) > TEXT_BYTES:
        return np.int64(TOO_MUCH), n_changed
    if aligned:
        copy(begins, 0, owned(new_begins), 0, len(new))
        copy(handle.until, 0, owned(new_ends), 0, len(new))
    return n, _put_text(handle, new, offsets, n)


@kernel(inline=True)
def _put_text(handle, new, offsets, n):
    """Replaces the text by packed pieces, and returns its number of bytes."""
    start, end = handle.start, handle.end
    copy(handle.text, 0, owned(new), 0, len(new))
    for i in range(n):
        start[i] = offsets[i]
        end[i] = offsets[i + 1]
    return np.int64(len(new))


@kernel(inline=True)
def _begin_following(handle, n_given, n_changed):
    """Before the first change, writes down the origin of each byte: itself, or byte 0 within the first character."""
    if n_changed >= 0:
        return
    text, begins, ends = handle.text, handle.origin, handle.until
    for i in range(n_given):
        begins[i] = i
        ends[i] = i + 1
    i = 1
    while i < n_given and text[i] & np.uint8(0xC0) == np.uint8(0x80):
        begins[i] = 0
        i += 1


@kernel(inline=True)
def _follow(handle, n_given, n_changed, source, n):
    """Writes down the origins of the n bytes of a new text; source: the bytes before that they come from."""
    _begin_following(handle, n_given, n_changed)
    begins, ends = handle.origin, handle.until
    new_begins, new_ends = scratch(n, np.int32), scratch(n, np.int32)
    old, new = (pointer_to_all(begins), pointer_to_all(ends)), (pointer_to_all(new_begins), pointer_to_all(new_ends))
    follow_sources(pointer_to_all(source), n, *old, *new)
    copy(begins, 0, new_begins, 0, n)
    copy(ends, 0, new_ends, 0, n)
