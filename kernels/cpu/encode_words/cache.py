"""A cache of words and their tokens: one cache line for each word, at the index that the hash of the word gives."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U3, U4, U8, U16, U20
from gputok.kernels.cpu.primitives.hashing import mix
from gputok.kernels.cpu.primitives.memory import load_u32, load_u64

MAX_CACHED = 24, 8  # bytes and tokens of a word that is kept: with them it fills one cache line

NOWHERE = ALL  # no slot of a cache


def word_cache(capacity: int) -> np.ndarray:
    """An empty cache for about `capacity` encoded words, uint64[slots, 8], a cache line each; capacity 0: no cache.

    The hash of a word gives its slot, where it replaces another word: the size never grows. Element 0 is the `mark` of
    `recall` (0: free), the number of tokens << 8, and the end of token i << 16 + 5 * i; 1 to 3 are the bytes of the
    word, 4 to 7 its ids, uint32.
    """
    return np.zeros((1 << (capacity - 1).bit_length() if capacity else 0, 8), np.uint64)


@kernel(inline=True)
def _load_word(text, begin, n, part):
    """Bytes 8 * part to 8 * part + 7 of the n bytes from text[begin] on, padded with zeros."""
    at = np.uint64(8 * part)
    if n <= at:
        return U0
    left = n - at
    if left >= U8:
        return load_u64(text, begin + at)
    if n >= U8:
        return load_u64(text, begin + n - U8) >> (U8 * (U8 - left))
    if n >= U4:
        high = np.uint64(load_u32(text, begin + n - U4))
        return np.uint64(load_u32(text, begin)) | high << (U8 * (n - U4))
    middle, last = n >> U1, n - U1
    first = np.uint64(text[begin]) | np.uint64(text[begin + middle]) << (U8 * middle)
    return first | np.uint64(text[begin + last]) << (U8 * last)


@kernel(inline=True)
def recall(cache, text, begin, n, mark, tokens, t):
    """Writes the tokens of the n bytes from text[begin] on, if the cache has them.

    mark: n; or, as a part of a word can have other tokens than a word of the same bytes, another number below 256 for
    the part. -> whether the cache has the bytes; the number of all tokens now; and what `keep` takes: where their slot
    begins (NOWHERE: they are too many for one), and their key.
    """
    key, record = (U0, U0, U0), NOWHERE
    if n > np.uint64(MAX_CACHED[0]):
        return False, t, record, key
    slots, _, mask = cache
    key = _load_word(text, begin, n, 0), _load_word(text, begin, n, 1), _load_word(text, begin, n, 2)
    h = mix(mix(mix(mark ^ key[0]) ^ key[1]) ^ key[2])
    record = ((h >> U20) & mask) << U3
    same = slots[record] & np.uint64(255) == mark and slots[record + U1] == key[0]
    if same and slots[record + U2] == key[1] and slots[record + U3] == key[2]:
        return True, _replay(cache, record, tokens, t, np.int64(begin)), record, key
    return False, t, record, key


@kernel(inline=True)
def _replay(cache, record, tokens, t, at):
    """Writes the tokens of a cached word that begins at `at`; returns the number of all tokens now."""
    slots, kept, _ = cache
    ids, begins, stops = tokens
    head, begin = slots[record], at
    for i in range(head >> U8 & np.uint64(15)):
        stop = at + np.int64(head >> (U16 + np.uint64(5) * i) & np.uint64(31))
        ids[t] = kept[(record << U1) + U8 + i]
        begins[t] = begin
        stops[t] = stop
        begin = stop
        t += U1
    return t


@kernel(inline=True)
def keep(cache, record, mark, key, tokens, at, first, last):
    """Puts a word that begins at `at` and its tokens first:last into a slot of a cache, if they fit; see `recall`."""
    slots, kept, _ = cache
    ids, _, stops = tokens
    if record == NOWHERE or last - first > np.uint64(MAX_CACHED[1]):
        return
    if last > first and stops[last - U1] - at > MAX_CACHED[0]:
        return
    head = mark | (last - first) << U8
    for i in range(last - first):
        head |= np.uint64(stops[first + i] - at) << (U16 + np.uint64(5) * i)
        kept[(record << U1) + U8 + i] = ids[first + i]
    slots[record] = head
    slots[record + U1], slots[record + U2], slots[record + U3] = key
