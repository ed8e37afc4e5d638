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
from .memory import address, leading_zeros, load_i64, prefetch, trailing_zeros

BUCKETS = 1 << 16  # suffixes are dealt by the top 16 bits of their keys
CLASSES = 64 * 32  # of scores
NO_ARC = np.uint32(0xFFFFFFFF)
_AHEAD = 16  # suffixes between asking for the memory of one and using it
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
        buckets[keys[places[i]] >> np.uint64(48)] += 1


@kernel
def deal_places(keys, places, first, last, at, order, cache):
    """Writes places[first:last] into order, bucket by bucket from at[bucket] on, and their keys into cache."""
    for i in range(first, last):
        key = keys[places[i]]
        k = at[key >> np.uint64(48)]
        at[key >> np.uint64(48)] += 1
        order[k], cache[k] = places[i], key


# ----------------------------------------------------------------------------------------------------- sorting


@kernel(inline=True)
def _less(keys, a, b, depth, limit, per_key, low):
    """Whether the suffix at a sorts before that at b, both alike in their first `depth` characters."""
    while depth < limit:
        x, y = keys[a + depth], keys[b + depth]
        if x != y:
            return x < y
        if x & low == 0:
            return False
        depth += per_key
    return False


@kernel
def sort_suffixes(keys, order, cache, edges, limit, per_key, low):
    """Sorts the suffixes of each bucket order[edges[i]:edges[i + 1]] up to `limit` characters.

    Multikey quicksort (Bentley and Sedgewick, 1997) whose character is a whole key. `cache` has the key of each
    entry, and then that of the current depth; `low` masks a key's last character, which is 0 if the word ends within the
    key.
    """
    stack = np.empty((256, 3), np.int64)
    for bucket in range(len(edges) - 1):
        stack[0] = edges[bucket], edges[bucket + 1], 0
        _sort_range(keys, order, cache, stack, limit, per_key, low)


@kernel(inline=True)
def _sort_range(keys, order, cache, stack, limit, per_key, low):
    top = 1
    while top:
        top -= 1
        lo, hi, depth = stack[top]
        if hi - lo <= _SMALL:
            for i in range(lo + 1, hi):
                key, position = cache[i], order[i]
                j = i
                while j > lo and (
                    key < cache[j - 1]
                    or (
                        key == cache[j - 1]
                        and key & low != 0
                        and _less(keys, position, order[j - 1], depth + per_key, limit, per_key, low)
                    )
                ):
                    cache[j], order[j] = cache[j - 1], order[j - 1]
                    j -= 1
                cache[j], order[j] = key, position
            continue
        a, b, c = cache[lo], cache[lo + (hi - lo) // 2], cache[hi - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        less, i, more = lo, lo, hi
        while i < more:
            key = cache[i]
            if key < pivot:
                position = order[i]
                cache[i], order[i] = cache[less], order[less]
                cache[less], order[less] = key, position
                less += 1
                i += 1
            elif key > pivot:
                more -= 1
                position = order[i]
                cache[i], order[i] = cache[more], order[more]
                cache[more], order[more] = key, position
            else:
                i += 1
        # The largest of the three parts is pushed first, so that the stack stays logarithmic.
        parts = ((lo, less, depth), (less, more, depth + per_key), (more, hi, depth))
        equal_done = pivot & low == 0 or depth + per_key >= limit
        if not equal_done:
            for i in range(less, more):
                cache[i] = keys[order[i] + depth + per_key]
        sizes = (less - lo, 0 if equal_done else more - less, hi - more)
        largest = 0
        for part in range(1, 3):
            if sizes[part] > sizes[largest]:
                largest = part
        for turn in range(3):
            part = (largest + turn) % 3
            if sizes[part] > 1:
                stack[top, 0], stack[top, 1], stack[top, 2] = parts[part]
                top += 1


@kernel(inline=True)
def _common_prefix(keys, a, b, depth, limit, bits, per_key, low):
    """Characters that the suffixes at a and b have in common, at most `limit`."""
    while depth < limit:
        x, y = keys[a + depth], keys[b + depth]
        if x != y:
            return min(limit, depth + np.int64(leading_zeros(x ^ y) // bits))
        if x & low == 0:
            used = np.uint64(64) - trailing_zeros(x)
            return min(limit, depth + np.int64((used + bits - np.uint64(1)) // bits)) if x else depth
        depth += per_key
    return limit


@kernel
def measure_words(keys, words, first, last, bits, per_key, low, lcp, n_chars):
    """Lengths of the sorted words first:last, and how many characters each has in common with the word before."""
    for w in range(first, last):
        p = words[w]
        lcp[w] = _common_prefix(keys, words[w - 1], p, 0, len(keys), bits, per_key, low) if w else 0
        n = lcp[w] // per_key * per_key
        while keys[p + n] & low:
            n += per_key
        used = np.uint64(64) - trailing_zeros(keys[p + n])
        n_chars[w] = n + np.int64((used + bits - np.uint64(1)) // bits) * (keys[p + n] != 0)


@kernel
def distinct_suffixes(text_length, words, counts, lcp, n_chars, node, first, last, places, weight):
    """The different suffixes of the words first:last, which are sorted by their reverses.

    words[w] is the place of word w in the reversed text. It has its last lcp[w] characters in common with the word
    before; its longer suffixes are new, and their places are written to places[node[w]:node[w + 1]].
    weight[place] is how often the suffix occurs in the words first:last.
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
            places[node[w] + depth - common - 1] = end - depth
            weight[end - depth] = occurs
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
def seed_candidates(text, keys, weight, order, first, last, longest, bits, per_key, low, least):
    """Finds the substrings that could be pieces in the sorted suffixes first:last.

    They are the intervals of common prefixes (substrings that two different characters, or a word's end, follow),
    and the suffixes to a word's end which occur in one word that occurs twice or more; of 2 to `longest`
    characters. Their score is occurrences times length, as in SentencePiece.
    -> int64[4, n]: those in score class `least` or above, as order[begin:end], length and score; and
    int64[CLASSES]: how many are in each class.
    """
    n = 0
    found = np.empty((4, 2 * (last - first)), np.int64)  # each suffix begins one interval at most
    classes = np.zeros(CLASSES, np.int64)
    stack_depth = np.empty(longest + 2, np.int64)
    stack_begin = np.empty(longest + 2, np.int64)
    stack_sum = np.empty(longest + 2, np.int64)
    top = 0
    total = np.int64(0)
    right = np.int64(0)
    keys_at, weight_at, order_at = address(keys), address(weight), address(order)
    for i in range(first, last):
        ahead = load_i64(order_at, min(i + _AHEAD, last - 1))
        prefetch(keys_at + np.uint64(8 * ahead))
        prefetch(weight_at + np.uint64(8 * ahead))
        before = total  # occurrences of all suffixes before suffix i
        p = order[i]
        total += weight[p]
        depth = right
        right = np.int64(0)
        if i + 1 < last:
            right = _common_prefix(keys, p, order[i + 1], 0, longest + 1, bits, per_key, low)
        depth = max(depth, right)
        if weight[p] > 1 and depth < longest:
            to_end = depth
            while to_end <= longest and text[p + to_end] != 0:
                to_end += 1
            if depth < to_end <= longest and to_end > 1:
                value = weight[p] * to_end
                score_class = _score_class(value)
                if score_class >= least:
                    classes[score_class] += 1
                    found[0, n], found[1, n], found[2, n], found[3, n] = i, i + 1, to_end, value
                    n += 1
        start, start_sum = i, before
        while top and stack_depth[top - 1] > right:
            top -= 1
            start, start_sum = stack_begin[top], stack_sum[top]
            depth = stack_depth[top]
            value = (total - start_sum) * depth
            if 1 < depth <= longest:
                score_class = _score_class(value)
                if score_class >= least:
                    classes[score_class] += 1
                    found[0, n], found[1, n], found[2, n], found[3, n] = start, i + 1, depth, value
                    n += 1
        if right and (top == 0 or stack_depth[top - 1] < right):
            stack_depth[top], stack_begin[top], stack_sum[top] = right, start, start_sum
            top += 1
    return found[:, :n].copy(), classes


@kernel
def place_pieces(order, first, last, begin, end, length, pieces, shift, deepest, parent, arc_at):
    """For the sorted suffixes first:last: the longest piece that each starts with, and each piece's longest prefix.

    `pieces` are those that begin there, by (begin, length): a prefix comes before what it is a prefix of. They
    are given as arcs, piece << shift | length - 1; `deepest` uint32 is scratch, by rank; `arc_at` is by place in the text.
    """
    deepest[first:last] = NO_ARC
    for piece in pieces:
        parent[piece] = deepest[begin[piece]]
        deepest[begin[piece] : end[piece]] = piece << shift | (length[piece] - 1)
    for i in range(first, last):
        arc_at[order[i]] = deepest[i]
