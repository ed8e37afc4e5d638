"""Sorting the suffixes of words, and finding the substrings that could be *pieces*: tokens of a Unigram model.

The text is one array of character ids: a 0, and then the unique words one after the other with a 0 after each word;
uint16[n], or uint32[n] for a large alphabet. A key (uint64) holds the characters from a position to the end of the word
and the 0, forwards (step 1) or backwards (step -1), in a `PrefixCode` that keeps their order: as many as fit KEY_BITS,
from the top bit down. So a comparison of two suffixes compares a dozen characters at a time.

All functions work on ranges of words or buckets that do not depend on the number of threads. An *arc* is the number of
a piece << shift | its length - 1, uint32.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import leading_zeros, prefetch, view
from gputok.kernels.cpu.primitives.utf8 import character
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U16orU32, U32orI64, U64s, i32, i64, u8, u16, u32, u64

BUCKETS = 1 << 16  # suffixes are dealt to buckets by the top 16 bits of their keys
CLASSES = 64 * 32  # the number of classes of scores
NO_ARC = np.uint32(0xFFFFFFFF)
LONGEST_CODE = 24  # bits
TABLE_BITS = 12  # bits of the longest codes whose length is found by one look-up
KEY_BITS = 60  # the top 16, and four digits of 11, for `_radix_sort`
_KEY = np.uint64(~((1 << 64 - KEY_BITS) - 1) & 0xFFFFFFFFFFFFFFFF)
_LENGTH = np.uint64(63)
_TOP = np.uint64(48)
_AHEAD, _FETCHED = 8, 16  # how many words ahead to prefetch, and how many characters before their ends
_SUFFIXES_AHEAD = 16  # how many suffixes ahead to prefetch
_SMALL = 12  # ranges up to this length are sorted by insertion


class PrefixCode(NamedTuple):
    """A prefix code of character ids that keeps their order by (length, id)."""

    words: U64s  # uint64[ids], the code of each id from the top bit down, and its length in the lowest 6 bits
    lengths: U8s  # uint8[1 << TABLE_BITS], the length of the code that begins with these bits, or 0 for longer codes
    beyond: I64s  # int64[LONGEST_CODE + 1], where codes longer than n bits begin, in LONGEST_CODE bits


# -------------------------------------------------------------------------------------------------------- text


@kernel(u8[:], i64[:], i64[:], i64, i64, i64[:], i64[:])
def character_counts(data, offsets, counts, first, last, n_chars, occurrences):
    """Writes the lengths of words first:last, counts their code points, and returns the greatest one, or 0."""
    utf8, greatest = view(data), np.int64(0)
    for w in range(first, last):
        n, i = 0, offsets[w]
        while i < offsets[w + 1]:
            code_point, size = character(utf8, i)
            occurrences[code_point] += counts[w]
            greatest = max(greatest, code_point)
            n += 1
            i += size
        n_chars[w] = n
    return greatest


@kernel(u8[:], i64[:], i64, i64, i64[:], u32[:], U16orU32)
def decode_words(data, offsets, first, last, start, dense, text):
    """Writes words first:last to text[start[w]:] as ids of characters, with a 0 after each; dense: id by code point."""
    utf8 = view(data)
    for w in range(first, last):
        at, i = start[w], offsets[w]
        while i < offsets[w + 1]:
            code_point, size = character(utf8, i)
            text[at] = dense[code_point]
            at += 1
            i += size
        text[at] = 0


# -------------------------------------------------------------------------------------------------------- keys


@kernel(inline=True)
def _key(text, at, step, codes, most, bits):
    """The key of a position, of at most `most` characters; only its first `bits` bits need be complete."""
    key, used, stop = np.uint64(0), np.uint64(0), at + most * step
    while at != stop and used < bits:
        dense = np.uint64(text[at])
        word = codes[dense]
        key |= (word & ~_LENGTH) >> used
        used += word & _LENGTH
        if dense == 0:
            break
        at += step
    return key & _KEY


@kernel(inline=True)
def _key_before(dense, key, codes):
    """The forward key of a position, from the id of the character there and the key of the next position."""
    word = codes[dense]
    return (key >> (word & _LENGTH) | word & ~_LENGTH) & _KEY


@kernel(inline=True)
def _code_length(key, lengths, beyond):
    """The number of bits of the first code of a key."""
    length = np.int64(lengths[key >> np.uint64(64 - TABLE_BITS)])
    if length == 0:
        length = np.int64(TABLE_BITS + 1)
        while np.int64(key >> np.uint64(64 - LONGEST_CODE)) >= beyond[length]:
            length += 1
    return length


@kernel(PrefixCode)
def bucket_cuts(code):
    """Whether each bucket has at most one character in common with the bucket before: bool[BUCKETS]."""
    cuts = np.empty(BUCKETS, np.bool_)
    table = view(code.lengths), view(code.beyond)
    for bucket in range(BUCKETS):
        key = np.uint64(bucket) << _TOP
        used = _code_length(key, *table)
        if used < 16:
            used += _code_length(key << np.uint64(used), *table)
        cuts[bucket] = used >= 16 or bucket & ((1 << (16 - used)) - 1) == 0
    return cuts


@kernel(inline=True)
def _fetch(text, end):
    """Prefetches what belongs to the characters before `end`: words in sorted order lie anywhere in the text."""
    prefetch(text, max(end - _FETCHED, 0))


# ----------------------------------------------------------------------------------------------------- dealing


@kernel(U16orU32, i64[:], i64, PrefixCode, i64, i64, u16[:], i64[:], U32orI64, u64[:], U32orI64)
def deal_words(text, starts, step, code, first, last, group_of, at, order, cache, weight):
    """Writes words first:last to the groups of their buckets, from at[group] on: starts[w], the key, and w.

    If `order` is empty, only counts the words of each bucket, in `at`. A group is a range of buckets.
    """
    source, codes, counts = view(text), view(code.words), len(order) == 0
    bits = 16 if counts else KEY_BITS
    for w in range(first, last):
        key = _key(source, starts[w], step, codes, bits, bits)
        if counts:
            at[key >> _TOP] += 1
            continue
        group = group_of[key >> _TOP]
        k = at[group]
        at[group] += 1
        order[k], cache[k], weight[k] = starts[w], key, w


@kernel(U16orU32, i64[:], i64[:], i32[:], i64[:], PrefixCode, i64, i64, u16[:], i64[:], U32orI64, u64[:], U32orI64)
def deal_suffixes(text, ends, counts, lcp, n_chars, code, first, last, group_of, at, order, cache, weight):
    """Writes the different suffixes of words first:last into the groups of their buckets, from at[group] on.

    Of each suffix: its position, its key, and the number of its occurrences in these words. The words are sorted by
    their reverses. text[ends[w]] is the 0 after word w. Word w has its last lcp[w] characters in common with the word
    before; its longer suffixes are new. If `order` is empty, only counts the suffixes of each bucket, in `at`.
    """
    deepest = 0
    for w in range(first, last):
        deepest = max(deepest, n_chars[w])
    source, codes = view(text), view(code.words)
    at_of, positions, cached, weights, counting = view(at), view(order), view(cache), view(weight), len(order) == 0
    # By length of a suffix. carried: occurrences in later words of suffixes up to this length; keys: of the suffixes of
    # the word after, whose last `common` characters word w shares
    carried, keys, common = np.zeros(deepest + 1, np.int64), np.empty(deepest + 1, np.uint64), 0
    keys[0] = codes[0] & _KEY
    for w in range(last - 1, first - 1, -1):
        earlier = max(w - _AHEAD, first)
        _fetch(source, ends[earlier] - lcp[min(earlier + 1, last - 1)])
        end, key = ends[w], keys[np.uint64(common)]
        for depth in range(common + 1, n_chars[w] + 1):
            key = _key_before(np.uint64(source[end - depth]), key, codes)
            keys[np.uint64(depth)] = key
        common = np.int64(lcp[w])
        if counting:
            for depth in range(common + 1, n_chars[w] + 1):
                at_of[keys[np.uint64(depth)] >> _TOP] += 1
            continue
        occurs = counts[w]
        for depth in range(n_chars[w], lcp[w], -1):
            occurs += carried[np.uint64(depth)]
            carried[np.uint64(depth)] = 0
            key = keys[np.uint64(depth)]
            group = group_of[key >> _TOP]
            k = at_of[group]
            at_of[group] = k + 1
            positions[k], cached[k], weights[k] = end - depth, key, occurs
        carried[lcp[w]] += occurs


@kernel(i64[:], i32[:], i64, i64, u32[:])
def spread_arcs(ends, lcp, first, last, arc_at):
    """Gives each suffix of the words first:last the arc of the equal suffix that `deal_suffixes` wrote."""
    arcs = view(arc_at)
    for w in range(first + 1, last):
        _fetch(arcs, ends[min(w + _AHEAD, last - 1)])
        for depth in range(1, lcp[w] + 1):
            arcs[ends[w] - depth] = arcs[ends[w - 1] - depth]


# ----------------------------------------------------------------------------------------------------- sorting


@kernel(inline=True)
def _sort_pairs(key, index, lo, hi, stack):
    """Sorts key[lo:hi], and index[lo:hi] along with it, by quicksort with three parts (less, equal, greater)."""
    stack[0, 0], stack[0, 1] = lo, hi
    top = 1
    while top:
        top -= 1
        lo, hi = stack[top, 0], stack[top, 1]
        if hi - lo <= _SMALL:
            for i in range(lo + 1, hi):
                k, x = key[i], index[i]
                j = i
                while j > lo and k < key[j - 1]:
                    key[j], index[j] = key[j - 1], index[j - 1]
                    j -= 1
                key[j], index[j] = k, x
            continue
        a, b, c = key[lo], key[lo + (hi - lo) // 2], key[hi - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        less, i, more = lo, lo, hi
        while i < more:
            k = key[i]
            if k < pivot:
                x = index[i]
                key[i], index[i] = key[less], index[less]
                key[less], index[less] = k, x
                less += 1
                i += 1
            elif k > pivot:
                more -= 1
                x = index[i]
                key[i], index[i] = key[more], index[more]
                key[more], index[more] = k, x
            else:
                i += 1
        # The larger part is pushed first, so that the stack stays logarithmic.
        parts = ((lo, less), (more, hi)) if less - lo > hi - more else ((more, hi), (lo, less))
        for part in parts:
            if part[1] - part[0] > 1:
                stack[top, 0], stack[top, 1] = part
                top += 1


@kernel(inline=True)
def _radix_sort(key, index, other_key, other_index):
    """Sorts keys, and index along with them; -> (key, index), in one of the two pairs of arrays.

    By digits of 11 bits, from the lowest of KEY_BITS up; the last digit is the top 16 bits, with few values in a group.
    """
    n = len(key)
    n_digits, width, mask = (KEY_BITS - 16) // 11, np.uint64(11), np.uint64(2047)
    unused = np.uint64(64 - KEY_BITS)
    least, greatest = key[0] >> _TOP, key[0] >> _TOP
    for i in range(n):
        least, greatest = min(least, key[i] >> _TOP), max(greatest, key[i] >> _TOP)
    last = np.uint64(n_digits << 11)
    starts = np.zeros((n_digits << 11) + np.int64(greatest - least) + 1, np.int64)
    for i in range(n):
        starts[last + (key[i] >> _TOP) - least] += 1
        k = key[i] >> unused
        for digit in range(n_digits):
            starts[np.uint64(digit << 11) + (k & mask)] += 1
            k >>= width
    total = np.int64(0)
    for value in range(len(starts)):
        if value & 2047 == 0 and value <= n_digits << 11:
            total = 0
        starts[value], total = total, total + starts[value]
    for digit in range(n_digits + 1):
        first, shift = np.uint64(digit << 11), unused + np.uint64(digit) * width
        if digit == n_digits:
            first, shift, mask = last - least, _TOP, ~np.uint64(0)
        for i in range(n):
            k = key[i]
            value = first + (k >> shift & mask)
            at = starts[value]
            starts[value] = at + 1
            other_key[at], other_index[at] = k, index[i]
        key, other_key = other_key, key
        index, other_index = other_index, index
    return key, index


@kernel(U16orU32, U32orI64, u64[:], U32orI64, i64, i64, PrefixCode, i64)
def sort_suffixes(text, order, cache, weight, limit, step, code, heavy):
    """Sorts the suffixes of a group (order, with their keys in cache, and weight) by their first `limit` characters.

    Suffixes with equal keys are not sorted further if the sum of their weights is below `heavy`: too few occurrences
    for a piece. The contents of `cache` are lost.
    -> int32[n]: the number of characters in common with the suffix before, at most `limit`; 0 for the first.
    """
    n = len(order)
    lcp = np.zeros(n, np.int32)
    if n == 0:
        return lcp
    scratch = np.empty(n, np.int64)
    key, index = _radix_sort(cache, np.arange(n), np.empty(n, np.uint64), scratch)
    pending = np.empty((n // 2 + 1, 3), np.int64)  # disjoint runs of equal keys, and the characters they have in common
    stack = np.empty((128, 2), np.int64)
    bits_before = np.zeros(KEY_BITS + 1, np.int64)  # by n: the bits of the first n characters of a key
    source, codes = view(text), view(code.words)
    table = view(code.lengths), view(code.beyond)
    end_length = np.int64(codes[0] & _LENGTH)
    end_code = codes[0] >> np.uint64(64 - end_length)
    pending[0, 0], pending[0, 1], pending[0, 2] = 0, n, 0
    top = 1
    while top:
        top -= 1
        lo, hi, depth = pending[top, 0], pending[top, 1], pending[top, 2]
        if depth:
            # Sorted suffixes lie anywhere in the text: their characters are fetched before the first key needs them
            for i in range(lo, hi + _SUFFIXES_AHEAD):
                if i < hi:
                    prefetch(source, np.int64(order[np.uint64(index[i])]) + depth * step)
                before = i - _SUFFIXES_AHEAD
                if before >= lo:
                    p = np.int64(order[np.uint64(index[before])]) + depth * step
                    key[before] = _key(source, p, step, codes, limit - depth, KEY_BITS)
            _sort_pairs(key, index, lo, hi, stack)
        # Characters that key[start] has in common with the key before; `bits_before` has their bits
        alike = 0
        start = lo
        while start < hi:
            k, total = key[start], np.int64(weight[np.uint64(index[start])])
            stop = start + 1
            while stop < hi and key[stop] == k:
                total += np.int64(weight[np.uint64(index[stop])])
                stop += 1
            if stop - start > 1:
                whole, used, ended = alike, bits_before[alike], False
                while used < KEY_BITS and depth + whole < limit and not ended:
                    rest = k << np.uint64(used)
                    length = _code_length(rest, *table)
                    used += length
                    if used <= KEY_BITS:
                        ended = length == end_length and rest >> np.uint64(64 - length) == end_code
                        whole += not ended
                common = min(limit, depth + whole)
                for i in range(start + 1, stop):
                    lcp[i] = common
                if not ended and total >= heavy and common < limit:
                    pending[top, 0], pending[top, 1], pending[top, 2] = start, stop, depth + whole
                    top += 1
            if stop < hi:
                bits = np.int64(leading_zeros(k ^ key[stop]))
                while bits_before[alike] > bits:
                    alike -= 1
                used = bits_before[alike]
                while True:
                    used += _code_length(k << np.uint64(used), *table)
                    if used > bits:
                        break
                    alike += 1
                    bits_before[alike] = used
                lcp[stop] = min(limit, depth + alike)
            start = stop
    for i in range(n):
        cache[i] = order[index[i]]
    for i in range(n):
        order[i], cache[i] = cache[i], weight[index[i]]
    for i in range(n):
        weight[i] = cache[i]
    return lcp


# ------------------------------------------------------------------------------------------------------- seeds


@kernel(inline=True)
def _score_class(score):
    """A score's class in a histogram with 32 classes for each power of two; it rises with the score."""
    top = np.int64(64) - np.int64(leading_zeros(np.uint64(score)))
    if top <= 6:
        return score
    return np.int64((top - 6) * 32 + (score >> (top - 6)))


@kernel(U16orU32, U32orI64, U32orI64, i32[:], i64, i64, i64)
def seed_candidates(text, order, weight, lcp, first, longest, least):
    """Finds the substrings that could be pieces in a group of sorted suffixes (order, weight, lcp).

    first: the rank of the first suffix. The substrings have 2 to `longest` characters. They are the common prefixes of
    suffixes (followed by two different characters, or by the end of a word), and the suffixes that occur in one word
    only, if that word occurs twice or more. Their score is occurrences times length, as in SentencePiece.
    -> int64[5, n]: those with a score of at least `least`, as first rank and end of the suffixes that begin with the
    substring, length, score and its class, ordered by first rank and length; and int64[CLASSES]: the number of
    substrings in each class.
    """
    n = len(order)
    found, at = np.empty((5, 2 * n), np.int64), 2 * n  # each suffix begins one interval at most
    classes = np.zeros(CLASSES, np.int64)
    stack_depth = np.empty(longest + 2, np.int64)
    stack_end = np.empty(longest + 2, np.int64)
    stack_sum = np.empty(longest + 2, np.int64)
    top = 0
    total, left = np.int64(0), np.int64(0)
    source = view(text)
    # From the last suffix to the first, so that the intervals of ranks end up in the order in which they begin.
    for i in range(n - 1, -1, -1):
        ahead = max(i - _SUFFIXES_AHEAD, 0)
        if np.int64(weight[ahead]) * longest >= least:
            prefetch(source, order[ahead])
        after = total  # occurrences of all suffixes after suffix i
        own = np.int64(weight[i])
        total += own
        depth = left
        left = np.int64(lcp[i])
        depth = max(depth, left)
        if own > 1 and own * longest >= least and depth < longest:
            to_end = depth
            while to_end <= longest and source[np.int64(order[i]) + to_end] != 0:
                to_end += 1
            value = own * to_end
            if depth < to_end <= longest and to_end > 1 and value >= least:
                at -= 1
                found[0, at], found[1, at], found[2, at], found[3, at] = (first + i, first + i + 1, to_end, value)
        end, end_sum = i + 1, after
        while top and stack_depth[top - 1] > left:
            top -= 1
            end, end_sum = stack_end[top], stack_sum[top]
            depth = stack_depth[top]
            value = (total - end_sum) * depth
            if 1 < depth <= longest and value >= least:
                at -= 1
                found[0, at], found[1, at], found[2, at], found[3, at] = first + i, first + end, depth, value
        if left and (top == 0 or stack_depth[top - 1] < left):
            stack_depth[top], stack_end[top], stack_sum[top] = left, end, end_sum
            top += 1
    for i in range(at, 2 * n):
        found[4, i] = _score_class(found[3, i])
        classes[found[4, i]] += 1
    return found[:, at:].copy(), classes


def least_score(score_class):
    """The least score of a class.

    >>> [least_score(score_class) for score_class in (0, 63, 64, 100)]
    [0, 63, 64, 144]
    """
    power = max(0, score_class // 32 - 1)
    return (score_class - 32 * power) << power


@kernel(U32orI64, i64[:], i64[:], i64[:], i64[:], i64, i64, u32[:], u32[:], u32[:])
def place_pieces(order, begin, end, length, numbers, first, shift, deepest, parent, arc_at):
    """For sorted suffixes: writes the arc of the longest piece that each begins with, and that of each piece's prefix.

    begin, end, length, numbers: of pieces, with begin and end as in `seed_candidates`, ordered by (begin, length), so
    that a piece comes after its prefixes. first: the rank of order[0]; deepest: scratch, uint32[n]; parent: by piece,
    the arc of the longest piece that is its prefix, or NO_ARC; arc_at: by position in the text.
    """
    deepest[:] = NO_ARC
    for i in range(len(begin)):
        parent[numbers[i]] = deepest[begin[i] - first]
        deepest[begin[i] - first : end[i] - first] = numbers[i] << shift | (length[i] - 1)
    arcs, n = view(arc_at), len(order)
    for i in range(n):
        prefetch(arcs, order[min(i + _SUFFIXES_AHEAD, n - 1)])
        arcs[order[i]] = deepest[i]
