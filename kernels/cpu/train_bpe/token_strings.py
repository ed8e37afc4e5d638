"""Tokens during training: their strings, packed in one array, which a table of `lookup.py` finds."""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import string_slot
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1
from gputok.kernels.cpu.primitives.hashing import hash_bytes
from gputok.kernels.cpu.primitives.memory import copy


@kernel(inline=True)
def merged_token(tokens, prefix, a, b, n_tokens):
    """The token whose string is that of a and b, b without the prefix; if there is none, n_tokens gets the string.

    tokens: views of the slots of `Strings`, of the strings of all tokens, with room for one more, and of their ends.
    """
    (names, text, ends), n_prefix = tokens, np.uint64(len(prefix))
    begin, first, i = np.uint64(ends[n_tokens]), np.uint64(ends[a]), np.uint64(ends[b])
    size, stop = np.uint64(ends[a + U1]) - first, np.uint64(ends[b + U1])
    copy(text, begin, text, first, size)
    k = np.uint64(0)
    while k < min(n_prefix, stop - i) and text[i + k] == prefix[k]:
        k += U1
    if k == n_prefix:
        i += k
    copy(text, begin + size, text, i, stop - i)
    size += stop - i
    h = hash_bytes(text, begin, size)
    slot = string_slot((names, text, ends), h, text, begin, size)
    if names[slot] == U0:
        names[slot] = h & ~LOW32 | np.uint64(n_tokens + 1)
        ends[n_tokens + 1] = begin + size
    return np.int64(names[slot] & LOW32) - 1


def learnt(
    text: np.ndarray, merges: np.ndarray, counts: np.ndarray, text_end: np.ndarray, n_merges: int, n_tokens: int
) -> BpeMerges:
    """What a training has learnt, as copies of the used parts of its arrays; merges: uint32[3 * m], see `State`."""
    offsets, columns = text_end[: n_tokens + 1].copy(), merges[: 3 * n_merges].reshape(-1, 3).T.copy()
    return BpeMerges(*columns, counts[:n_merges].copy(), text[: offsets[-1]].copy(), offsets)


def power_of_two(at_least: int) -> int:
    """The smallest power of two that is at least `at_least`."""
    return 1 << (int(at_least) - 1).bit_length()
