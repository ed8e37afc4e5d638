"""Tokens during training: their strings, packed in one array, with a hash table that finds the token of a string."""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.hashing import hash_bytes, same_bytes
from gputok.kernels.cpu.primitives.memory import copy, view
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


def learnt(
    text: np.ndarray, merges: np.ndarray, counts: np.ndarray, text_end: np.ndarray, n_merges: int, n_tokens: int
) -> BpeMerges:
    """What a training has learnt, as copies of the used parts of its arrays; merges: uint32[3 * m], see `State`."""
    offsets, columns = text_end[: n_tokens + 1].copy(), merges[: 3 * n_merges].reshape(-1, 3).T.copy()
    return BpeMerges(*columns, counts[:n_merges].copy(), text[: offsets[-1]].copy(), offsets)


def power_of_two(at_least: int) -> int:
    """The smallest power of two that is at least `at_least`."""
    return 1 << (int(at_least) - 1).bit_length()
