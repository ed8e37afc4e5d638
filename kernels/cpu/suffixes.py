"""Sorting the suffixes of words, and the substrings that could be pieces of a Unigram model.

The text is one array of dense character ids, `text: uint32[n]`, the unique words one after the other with a 0 behind
each. `keys: uint64[n]` holds, for each position, the next characters packed from the top bit down, cut at the word's
end, so that suffixes compare a handful of characters at a time. A key has `per_key` characters of `bits` bits, from 8
of 8 to 3 of 21, as the alphabet asks.

Everything here works on ranges of words or buckets that do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import leading_zeros, trailing_zeros

BUCKETS = 1 << 16  # suffixes are dealt by the top 16 bits of their keys
CLASSES = 64 * 32  # of scores
NO_ARC = np.uint32(0xFFFFFFFF)
_TOP = np.uint64(48)
_SMALL = 12  # ranges up to this length are sorted by insertion


# -------------------------------------------------------------------------------------------------------- text


@kernel
def count_characters(data, offsets, first, last, n_chars):
    """n_chars[w] = characters of word w, for the words first:last."""
    for w in range(first, last):
        n = 0
        for i in range(offsets[w], offsets[w + 1]):
            n += (data[i] & 0xC0) != 0x80
        n_chars[w] = n


@kernel
def decode_words(data, offsets, first, last, counts, place, text, histogram):
    """Writes the code points + 1 of words first:last at text[place[w]:], a 0 behind each, and sums their counts."""
    for w in range(first, last):
        at = place[w]
        i = offsets[w]
        count = counts[w]
        while i < offsets[w + 1]:
            lead = np.int64(data[i])
            if lead < 0x80:
                point = lead
                i += 1
            elif lead < 0xE0:
                point = (lead & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F)
                i += 2
            elif lead < 0xF0:
                point = (
                    (lead & 0xF) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | (np.int64(data[i + 2]) & 0x3F)
                )
                i += 3
            else:
                point = (
                    (lead & 7) << 18
                    | (np.int64(data[i + 1]) & 0x3F) << 12
                    | (np.int64(data[i + 2]) & 0x3F) << 6
                    | (np.int64(data[i + 3]) & 0x3F)
                )
                i += 4
            text[at] = point + 1
            histogram[point] += count
            at += 1
        text[at] = 0


@kernel
def pack_keys(text, first, last, bits, per_key, keys):
    """Packs the keys of text[first:last], which ends behind a word."""
    top = np.uint64(64) - bits
    keep = ~np.uint64(0) << (np.uint64(64) - bits * per_key)
    key = np.uint64(0)
    for i in range(last - 1, first - 1, -1):
        key = (key >> bits | np.uint64(text[i]) << top) & keep if text[i] else np.uint64(0)
        keys[i] = key


@kernel
def count_buckets(keys, places, first, last, buckets):
    """Counts places[first:last] by the top 16 bits of their keys."""
    for i in range(first, last):
        buckets[keys[places[i]] >> _TOP] += 1


@kernel
def deal_places(keys, places, weights, first, last, group_of, at, order, cache, weight):
    """Writes places[first:last], their keys and weights into the group of each one's bucket, from at[group] on."""
    for i in range(first, last):
        key = keys[places[i]]
        group = group_of[key >> _TOP]
        k = at[group]
        at[group] += 1
        order[k], cache[k], weight[k] = places[i], key, weights[i]


# ----------------------------------------------------------------------------------------------------- sorting


@kernel(inline=True)
def _sort_pairs(key, index, lo, hi, stack):
    """Sorts key[lo:hi] and moves index[lo:hi] along. Quicksort, with three parts for equal keys."""
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
def _radix_sort(key, index, other_key, other_index, unused):
    """Sorts keys but for their `unused` lowest bits, and index along with them; -> (key, index), of either pair of arrays.

    Digits from the lowest up, of at most 11 bits; the last one is the top 16 bits, of which a group has few values.
    """
    n = len(key)
    n_digits = (58 - unused) // 11
    width = np.uint64((47 - unused + n_digits) // n_digits)
    mask = (np.uint64(1) << width) - np.uint64(1)
    least, greatest = key[0] >> _TOP, key[0] >> _TOP
    for i in range(n):
        least, greatest = min(least, key[i] >> _TOP), max(greatest, key[i] >> _TOP)
    last = np.uint64(n_digits << 11)
    starts = np.zeros((n_digits << 11) + np.int64(greatest - least) + 1, np.int64)
    for i in range(n):
        starts[last + (key[i] >> _TOP) - least] += 1
        k = key[i] >> np.uint64(unused)
        for digit in range(n_digits):
            starts[np.uint64(digit << 11) + (k & mask)] += 1
            k >>= width
    total = np.int64(0)
    for value in range(len(starts)):
        if value & 2047 == 0 and value <= n_digits << 11:
            total = 0
        starts[value], total = total, total + starts[value]
    for digit in range(n_digits + 1):
        first, shift = np.uint64(digit << 11), np.uint64(unused) + np.uint64(digit) * width
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


@kernel
def sort_suffixes(keys, order, cache, weight, limit, bits, per_key, low, heavy):
    """Sorts the suffixes of a group (order, with their keys in cache, and weight) by their first `limit` characters.

    Those with more than a key in common, if their weights make less than `heavy`, stay as they are. `low` masks a key's
    last character, which is 0 if the word ends within the key. `cache` is spent.
    -> int32[n]: characters that each has in common with the one before, at most `limit`; 0 for the first.
    """
    n = len(order)
    lcp = np.zeros(n, np.int32)
    if n == 0:
        return lcp
    n_chars = np.arange(64 + bits) // bits  # in so many bits
    scratch = np.empty(n, np.int64)
    key, index = _radix_sort(cache, np.arange(n), np.empty(n, np.uint64), scratch, 64 - bits * per_key)
    pending = np.empty((n // 2 + 1, 3), np.int64)  # disjoint runs of equal keys, and their depth
    stack = np.empty((128, 2), np.int64)
    pending[0, 0], pending[0, 1], pending[0, 2] = 0, n, 0
    top = 1
    while top:
        top -= 1
        lo, hi, depth = pending[top, 0], pending[top, 1], pending[top, 2]
        if depth:
            for i in range(lo, hi):
                key[i] = keys[np.uint64(order[np.uint64(index[i])] + depth)]
            _sort_pairs(key, index, lo, hi, stack)
        start = lo
        while start < hi:
            k, total = key[start], weight[np.uint64(index[start])]
            stop = start + 1
            alike = np.int64(per_key)
            if k & low == 0:
                alike = n_chars[np.uint64(63 + bits) - trailing_zeros(k)] if k else np.int64(0)
            common = min(limit, depth + alike)
            while stop < hi and key[stop] == k:
                lcp[stop] = common
                total += weight[np.uint64(index[stop])]
                stop += 1
            if stop < hi:
                lcp[stop] = min(limit, depth + n_chars[leading_zeros(k ^ key[stop])])
            if stop - start > 1 and k & low and total >= heavy and depth + per_key < limit:
                pending[top, 0], pending[top, 1], pending[top, 2] = start, stop, depth + per_key
                top += 1
            start = stop
    for i in range(n):
        cache[i] = order[index[i]]
    for i in range(n):
        order[i], cache[i] = cache[i], weight[index[i]]
    for i in range(n):
        weight[i] = cache[i]
    return lcp


@kernel
def distinct_suffixes(text_length, words, counts, lcp, n_chars, node, first, last, places, weight):
    """The different suffixes of the words first:last, which are sorted by their reverses.

    words[w] is the place of word w in the reversed text. It has its last lcp[w] characters in common with the word
    before; its longer suffixes are new: places[node[w]:node[w + 1]], and how often each occurs in the words first:last.
    """
    deepest = 0
    for w in range(first, last):
        deepest = max(deepest, n_chars[w])
    carried = np.zeros(deepest + 1, np.int64)
    for w in range(last - 1, first - 1, -1):
        common = np.int64(lcp[w])
        end = text_length - 1 - words[w]
        occurs = counts[w]
        for depth in range(n_chars[w], common, -1):
            occurs += carried[depth]
            carried[depth] = 0
            i = node[w] + depth - common - 1
            places[i], weight[i] = end - depth, occurs
        carried[common] += occurs


@kernel
def spread_arcs(text_length, words, lcp, first, last, arc_at):
    """Gives every suffix of the words first:last the arc of the same suffix that `distinct_suffixes` wrote."""
    for w in range(first + 1, last):
        to, source = text_length - 1 - words[w], text_length - 1 - words[w - 1]
        for depth in range(1, lcp[w] + 1):
            arc_at[to - depth] = arc_at[source - depth]


# ------------------------------------------------------------------------------------------------------- seeds


@kernel(inline=True)
def _score_class(score):
    """A score's place in a histogram with 32 classes for each power of two; it rises with the score."""
    top = np.int64(64) - np.int64(leading_zeros(np.uint64(score)))
    if top <= 6:
        return score
    return np.int64((top - 6) * 32 + (score >> (top - 6)))


@kernel
def seed_candidates(text, order, weight, lcp, first, longest, least):
    """Finds the substrings that could be pieces in a group of sorted suffixes (order, weight, lcp), whose first one has
    rank `first`.

    They are the intervals of common prefixes (substrings that two different characters, or a word's end, follow),
    and the suffixes to a word's end which occur in one word that occurs twice or more; of 2 to `longest`
    characters. Their score is occurrences times length, as in SentencePiece.
    -> int64[5, n]: those with a score of `least` or above, as ranks begin and end, length, score and its class, by begin
    and length; and int64[CLASSES]: how many are in each class.
    """
    n = len(order)
    found, at = np.empty((5, 2 * n), np.int64), 2 * n  # each suffix begins one interval at most
    classes = np.zeros(CLASSES, np.int64)
    stack_depth = np.empty(longest + 2, np.int64)
    stack_end = np.empty(longest + 2, np.int64)
    stack_sum = np.empty(longest + 2, np.int64)
    top = 0
    total, left = np.int64(0), np.int64(0)
    # From the last to the first: intervals end up in the order in which they begin.
    for i in range(n - 1, -1, -1):
        after = total  # occurrences of all suffixes after suffix i
        own = weight[i]
        total += own
        depth = left
        left = np.int64(lcp[i])
        depth = max(depth, left)
        if own > 1 and own * longest >= least and depth < longest:
            to_end = depth
            while to_end <= longest and text[order[i] + to_end] != 0:
                to_end += 1
            value = own * to_end
            if depth < to_end <= longest and to_end > 1 and value >= least:
                at -= 1
                found[0, at], found[1, at], found[2, at], found[3, at] = (
                    first + i,
                    first + i + 1,
                    to_end,
                    value,
                )
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

    >>> [_score_class(least_score(score_class)) for score_class in (0, 63, 64, 100, 2000)]
    [0, 63, 64, 100, 2000]
    """
    power = max(0, score_class // 32 - 1)
    return (score_class - 32 * power) << power


@kernel
def place_pieces(order, begin, end, length, numbers, first, shift, deepest, parent, arc_at):
    """For a group of sorted suffixes: the longest piece that each starts with, and each piece's longest prefix.

    The pieces that begin there, by (begin, length): a prefix comes before what it is a prefix of. `numbers` are theirs;
    an arc is number << shift | length - 1; `deepest` uint32[n] is scratch; `first` is the rank of order[0]; `parent` is by
    number; `arc_at` is by place in the text.
    """
    deepest[:] = NO_ARC
    for i in range(len(begin)):
        parent[numbers[i]] = deepest[begin[i] - first]
        deepest[begin[i] - first : end[i] - first] = numbers[i] << shift | (length[i] - 1)
    for i in range(len(order)):
        arc_at[order[i]] = deepest[i]
