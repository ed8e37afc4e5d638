"""Finding added tokens: the longest of many strings at the leftmost position, again and again, over bytes."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import longer, pointer
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U32
from gputok.kernels.cpu.primitives.memory import equal_bytes, trailing_zeros, view
from gputok.kernels.cpu.primitives.utf8 import character, character_before
from gputok.kernels.cpu.trie import children_of, follow
from gputok.kernels.signatures import boolean, i64, u8, u64

FEW = 4  # the most different first bytes of tokens, or pairs of bytes, that are searched for at once
ONE_PAIR = 2  # length of the list of first bytes that is one pair
SINGLE_WORD, LSTRIP, RSTRIP, IGNORED = 1, 2, 4, 8  # bits of `options`


def first_bytes(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What leads from the root of a trie, uint64[256] of `children_of`; and bytes that strings begin with, uint8[].

    The list has the two bytes that all strings begin with (mostly `<|`); or 2 * FEW bytes, if strings begin with at
    most FEW different pairs of bytes: the first bytes of the pairs, some more than once, then the second ones; or FEW
    bytes, some more than once, if at most FEW different bytes begin strings; or FEW + 1 bytes, if more do: then `_scan`
    looks at each byte of a text.
    """
    begins = children_of(edges)
    some = np.flatnonzero(begins)[: FEW + 1]  # mostly few, such as `<` or `[`
    if len(some) > FEW:
        return begins, some.astype(np.uint8)
    pairs = [(one, two) for one in some for two in np.flatnonzero(children_of(edges, begins[one] & LOW32))]
    if 0 < len(pairs) <= FEW and begins.max() <= LOW32:
        n = 1 if len(pairs) == 1 else FEW
        return begins, np.concatenate([np.resize(bytes, n) for bytes in zip(*pairs, strict=True)]).astype(np.uint8)
    return begins, np.resize(some, FEW).astype(np.uint8)


def find_tokens(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    skip: np.ndarray,
    edges: np.ndarray,
    options: np.ndarray,
    word_bits: np.ndarray,
    first: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cuts pieces at the added tokens in them.

    data uint8[n]; start, end int64[n_pieces]; skip bool[n_pieces]: leave the piece whole; edges: of `trie.build_trie`,
    for strings with ids from 0 on, of which only the first n_strings count; options uint8[n_strings], bits: 1 single
    word, 2 and 4 the token takes white space on its left and right, 8 ignore the token; word_bits uint8[0x110000 / 8],
    bit c: character c is part of words (for single words); first: `first_bytes(edges)`, if the caller has it.
    -> start, end int64[m]; string int32[m], -1 for text; rows int64[n_pieces + 1]: piece i became the pieces
    rows[i]:rows[i + 1]. Empty pieces are left out.

    As in `tokenizers` (`AddedVocabulary::find_matches`), the next search begins where the string itself ended, not
    where its white space ended. So pieces of tokens may overlap, and text after a token may already belong to a token
    before. Pieces of text don't overlap and are in order. A token that takes white space on its left begins where the
    token before ended, or later; if nothing is left of it, it is left out (`tokenizers` panics in one of these cases).
    """
    text = pointer(data), np.array(start), np.array(end), skip
    parts, rows = _find_tokens(text, edges, *(first or first_bytes(edges)), options, word_bits)
    start, end, token = np.ascontiguousarray(parts.reshape(-1, 3).T)
    return start, end, token.astype(np.int32), rows


def has_token(data: np.ndarray, edges: np.ndarray, n_strings: int, first: tuple[np.ndarray, np.ndarray]) -> bool:
    """Returns True if the bytes of one of n_strings strings of the trie are anywhere in data, uint8[n].

    first: `first_bytes(edges)`. The search ends at the first string, and reads 5 to 20 GB a second before that.
    """
    return _has_token(pointer(data), len(data), edges, n_strings, *first)


@kernel(i64, i64, u64[:, :], i64, u64[:], u8[:])
def _has_token(data, n, edges, n_strings, begins, few):
    data, trie, can_begin, some = view(data, np.uint8), _trie(edges, n_strings), view(begins), view(few)
    at = 0
    while True:
        at = _scan(data, at, n, can_begin, some, len(few))
        if at == n or _longest(data, at, n, trie, can_begin)[0] >= 0:
            return at < n
        at += 1


@kernel(inline=True)
def _trie(edges, n_strings):
    """What `_longest` takes: the edges of strings, and their mask, and how many strings count."""
    return view(edges), np.uint64(len(edges) - 1), np.uint64(n_strings)


@kernel((i64, i64[:], i64[:], boolean[:]), u64[:, :], u64[:], u8[:], u8[:], u8[:])
def _find_tokens(text_of, edges, begins, few, options, word_bits):
    data, start, end, skip = text_of
    n, data = len(start), view(data, np.uint8)
    trie = _trie(edges, len(options))
    finder = trie, view(begins), (view(few), len(few)), view(options), view(word_bits)
    parts, rows = np.empty(3 * (n + 64), np.int64), np.zeros(n + 1, np.int64)
    m = 0
    for i in range(n):
        first, stop = start[i], end[i]
        text = first  # where the text after the last token begins
        blank = first  # up to here, all that follows the last string is known to be white space
        at = stop if skip[i] else first
        while True:
            if 3 * m + 9 > len(parts):  # for text, a token, and the text after the last token
                parts = longer(parts, 3 * m, 6 * m)
            match, begin, finish, at, text, blank = next_token(data, first, stop, at, text, blank, finder)
            if match < 0:
                break
            if text < begin:
                m = _put(parts, m, text, begin, -1)
            m = _put(parts, m, begin, finish, match)
            text = finish
        if text < stop or skip[i]:
            m = _put(parts, m, text, stop, -1)
        rows[i + 1] = m
    return parts[: 3 * m], rows


@kernel(inline=True)
def next_token(data, first, stop, at, text, blank, finder):
    """The next token of the piece data[first:stop] that is found from `at` on.

    text: where the text after the last token begins; blank: see `_find_tokens`. finder, all as views: the trie, the two
    results of `first_bytes`, the second with its length, options and word bits.
    -> the string of the token, or -1 if there is none; its begin and end; and the next `at`, `text` and `blank`.
    """
    trie, can_begin, (few, n_few), options, word_bits = finder
    while True:
        at = _scan(data, at, stop, can_begin, few, n_few)
        if at == stop:
            return np.int64(-1), stop, stop, stop, text, blank
        match, match_end, _ = _longest(data, at, stop, trie, can_begin)
        if match < 0:
            at += 1
            continue
        begin, finish, option = at, match_end, options[match]
        at = match_end
        if option & IGNORED:
            continue
        if option & SINGLE_WORD and (
            (begin > first and _is_word(_before(data, begin)[0], word_bits))
            or (finish < stop and _is_word(character(data, finish)[0], word_bits))
        ):
            continue
        if option & LSTRIP:
            while begin > text:
                code, before = _before(data, begin)
                if not is_space(code):
                    break
                begin = before
            begin = max(begin, text)  # the token before may have taken white space
        if option & RSTRIP:
            blank = max(blank, finish)  # so matches before the same white space look through it only once
            while blank < stop:
                code, size = character(data, blank)
                if not is_space(code):
                    break
                blank += size
            finish = blank
        if begin < finish:
            return match, begin, finish, at, text, blank
        text = begin


@kernel(inline=True)
def longest_token(data, at, stop, finder):
    """The string of the longest token at byte `at`, or -1; and for how many bytes from there on a token may go on."""
    trie, can_begin, _, _, _ = finder
    if not can_begin[data[at]]:
        return np.int64(-1), np.int64(0)
    match, _, p = _longest(data, at, stop, trie, can_begin)
    return match, np.int64(p - at)


@kernel(inline=True)
def _longest(data, at, stop, trie, can_begin):
    """The string of the longest token at byte `at`, or -1; its end; and the end of the walk for longer ones."""
    edges, mask, n_strings = trie
    match, match_end, p = np.int64(-1), at, at
    value = can_begin[data[at]] if at < stop else U0
    node, string = value & LOW32, value >> U32
    while node != U0:
        p += 1
        if string - U1 < n_strings:  # `string` is 0 if none ends here, and 0 - 1 is the largest uint64
            match, match_end = np.int64(string - U1), p
        if p == stop:
            break
        node, string = follow(edges, mask, node, data[p])
    return match, match_end, p


@kernel(inline=True)
def reaches(data, begin, end, finder):
    """Whether a token, or the beginning of one, that starts in data[begin:end] reaches `end`."""
    found = False
    for at in range(begin, end):
        found |= at + longest_token(data, at, end, finder)[1] == end
    return found


@kernel(inline=True)
def _scan(data, at, stop, can_begin, few, n_few):
    """The first byte from `at` on that can begin a token; 64 bytes at a time if few bytes, or pairs of bytes, can."""
    at, stop = np.uint64(at), np.uint64(stop)
    while n_few == ONE_PAIR and at + np.uint64(64) < stop:
        hits = equal_bytes(data, at, few[0]) & equal_bytes(data, at + np.uint64(1), few[1])
        if hits:
            return np.int64(at + trailing_zeros(hits))
        at += np.uint64(64)
    while n_few == 2 * FEW and at + np.uint64(64) < stop:
        hits = _pair(data, at, few, 0) | _pair(data, at, few, 1)  # no loop, for the reason below
        hits |= _pair(data, at, few, 2) | _pair(data, at, few, 3)
        if hits:
            return np.int64(at + trailing_zeros(hits))
        at += np.uint64(64)
    while n_few == FEW and at + np.uint64(64) <= stop:
        # No loop: LLVM would carry 64 bits from turn to turn, each in a byte of its own, and take six times as long
        hits = equal_bytes(data, at, few[0]) | equal_bytes(data, at, few[1])
        hits |= equal_bytes(data, at, few[2]) | equal_bytes(data, at, few[3])
        if hits:
            return np.int64(at + trailing_zeros(hits))
        at += np.uint64(64)
    while at < stop and not can_begin[data[at]]:
        at += np.uint64(1)
    return np.int64(at)


@kernel(inline=True)
def _pair(data, at, few, i):
    """Where pair i of bytes is: a bit for each of 64 bytes."""
    return equal_bytes(data, at, few[i]) & equal_bytes(data, at + np.uint64(1), few[i + FEW])


@kernel(inline=True)
def _put(parts, m, start, end, token):
    parts[3 * m], parts[3 * m + 1], parts[3 * m + 2] = start, end, token
    return m + 1


@kernel(inline=True)
def _before(data, at):
    """(code point, first byte) of the character that ends before a byte."""
    begin = np.int64(character_before(data, np.uint64(at)))
    return character(data, begin)[0], begin


@kernel(inline=True)
def is_space(code):
    """Returns True if a code point has the Unicode property White_Space."""
    return (
        9 <= code <= 13
        or code in (0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
        or 0x2000 <= code <= 0x200A
    )


@kernel(inline=True)
def _is_word(code, word_bits):
    return word_bits[code >> 3] >> (code & 7) & 1 != 0
