"""Tokens during training: their strings, packed in one array, with a hash table that finds the token of a string.

Also merging in one word, for the ways of training that keep words apart (`train_bpe/queue.py`, `train_parity_bpe.py`).
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import longer
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.hashing import hash_bytes, same_bytes
from gputok.kernels.cpu.primitives.memory import copy, owned, view
from gputok.kernels.signatures import i64, u8, u32

# The helpers take views (text uint8, text_end int64, names uint32): see train_bpe/layout.py


@kernel(inline=True)
def name_slot(text, text_end, names, mask, start, end):
    """The slot of the string text[start:end]: the slot of the token with that string, or an empty slot (0)."""
    start, length = np.uint64(start), np.uint64(end) - np.uint64(start)
    at = hash_bytes(text, start, length) & mask
    while names[at] != 0:
        token = np.uint64(names[at]) - U1
        other = np.uint64(text_end[token])
        if np.uint64(text_end[token + U1]) - other == length and same_bytes(text, other, text, start, length):
            break
        at = (at + U1) & mask
    return at


@kernel(u8[:], i64[:], i64, u32[:])
def index_names(text, text_end, n_tokens, names):
    """Fills the hash table of the strings of tokens; names: uint32[power of two], all 0; becomes token + 1."""
    mask = np.uint64(len(names) - 1)
    text, text_end, names = view(text), view(text_end), view(names)
    for token in range(n_tokens):
        slot = name_slot(text, text_end, names, mask, text_end[token], text_end[token + 1])
        names[slot] = token + 1


@kernel(inline=True)
def spell_merged(text, text_end, prefix, n_prefix, a, b, end):
    """Writes the string of a merge to text[end:], b without the prefix, and returns the end of the string."""
    first, end = np.uint64(text_end[a]), np.uint64(end)
    size = np.uint64(text_end[a + U1]) - first
    copy(text, end, text, first, size)
    i, stop = np.uint64(text_end[b]), np.uint64(text_end[b + U1])
    k = np.uint64(0)
    while k < min(n_prefix, stop - i) and text[i + k] == prefix[k]:
        k += U1
    if k == n_prefix:
        i += k
    copy(text, end + size, text, i, stop - i)
    return np.int64(end + size + stop - i)


@kernel
def room(array, n):
    """Returns the array, or a larger copy if the array has fewer than n elements."""
    if n <= len(array):
        return array
    return longer(array, len(array), 2 * n)


@kernel(inline=True)
def merged_token(n_tokens, prefix, text, text_end, names, a, b):
    """Finds the token that tokens a and b are merged to: (text, token). `text` may be a larger copy.

    If no token has the joined string, the token is n_tokens, and its string is added.
    """
    begin = text_end[n_tokens]
    text = room(text, begin + text_end[a + U1] - text_end[a] + text_end[b + U1] - text_end[b])
    strings, ends, all_names = owned(text), view(text_end), view(names)
    end = spell_merged(strings, ends, view(prefix), np.uint64(len(prefix)), a, b, begin)
    slot = name_slot(strings, ends, all_names, np.uint64(len(names) - 1), begin, end)
    if names[slot] == 0:
        names[slot] = n_tokens + 1
        text_end[n_tokens + 1] = end
    return text, np.int64(names[slot]) - 1


@kernel(inline=True)
def log_merge(merges, counts, n, merge, count):
    """Writes merge n, (left, right, merged), and its count; returns both arrays, which may be larger copies."""
    merges, counts = room(merges, 3 * n + 3), room(counts, n + 1)
    merges[3 * n], merges[3 * n + 1], merges[3 * n + 2] = merge
    counts[n] = count
    return merges, counts


@kernel(inline=True)
def merge_word(symbols, length, begin, stop, merge, change, context):
    """Merges in the word symbols[begin:stop], and returns where the word ends now.

    length: of each symbol in initial symbols; merge: left, right and merged token, and the length from which on new pairs
    don't count. change(context, left, right, sign), an inline kernel, is called for each pair that occurs once more or
    less; left is -1 if there is none.
    """
    a, b, new, longest = merge
    kept, p = begin, begin
    while p < stop:
        if symbols[p] != a or p + 1 == stop or symbols[p + 1] != b:
            symbols[kept], length[kept] = symbols[p], length[p]
            kept += 1
            p += 1
            continue
        merged_length = np.int64(length[p]) + length[p + 1]
        none, before, after = np.int64(-1), np.int64(-1), np.int64(-1)
        if kept > begin:
            before = np.int64(symbols[kept - 1])
        if p + 2 < stop:
            after = np.int64(symbols[p + 2])
        grows_left = before >= 0 and length[kept - 1] + merged_length < longest
        grows_right = after >= 0 and length[p + 2] + merged_length < longest
        symbols[kept], length[kept] = new, merged_length
        kept += 1
        p += 2
        for left, right, sign in (
            (before, np.int64(a), -1),
            (before if grows_left else none, np.int64(new), 1),
            (np.int64(b) if after >= 0 else none, after, -1),
            (np.int64(new) if grows_right else none, after, 1),
        ):
            change(context, left, right, sign)
    return kept


def learnt(
    text: np.ndarray, merges: np.ndarray, counts: np.ndarray, text_end: np.ndarray, n_merges: int, n_tokens: int
) -> BpeMerges:
    """What a training has learnt: copies of the used parts of its arrays; merges: uint32[3 * m], left, right and merged."""
    offsets, columns = text_end[: n_tokens + 1].copy(), merges[: 3 * n_merges].reshape(-1, 3).T.copy()
    return BpeMerges(*columns, counts[:n_merges].copy(), text[: offsets[-1]].copy(), offsets)


def power_of_two(at_least: int) -> int:
    """The smallest power of two that is at least `at_least`."""
    return 1 << (int(at_least) - 1).bit_length()
