"""The strings of tokens while merges are learnt: packed in one array, and found by a hash table of token ids."""

from __future__ import annotations

import numpy as np

from . import kernel

_ONE = np.uint64(1)


@kernel(inline=True)
def name_slot(text, text_end, names, start, end):
    """The slot of the string text[start:end]: that of the token so called, or an empty one."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
    mask = np.uint64(len(names) - 1)
    at = (h ^ (h >> np.uint64(29))) & mask
    while names[at] > 0:
        other = text_end[names[at] - 1]
        if text_end[names[at]] - other == end - start:
            k = 0
            while k < end - start and text[other + k] == text[start + k]:
                k += 1
            if k == end - start:
                break
        at = (at + _ONE) & mask
    return np.int64(at)


@kernel
def index_names(text, text_end, n_tokens, names):
    """Fills the hash table of the tokens' strings: names int32[power of two], zeros; token + 1."""
    for token in range(n_tokens):
        slot = name_slot(text, text_end, names, text_end[token], text_end[token + 1])
        names[slot] = token + 1


@kernel(inline=True)
def spell_merged(text, text_end, prefix, a, b, end):
    """Writes the string of a merge at text[end:], b without the prefix, and returns its end."""
    for i in range(text_end[a], text_end[a + _ONE]):
        text[end] = text[i]
        end += 1
    i = text_end[b]
    k = 0
    while k < min(len(prefix), text_end[b + _ONE] - i) and text[i + k] == prefix[k]:
        k += 1
    if k == len(prefix):
        i += k
    while i < text_end[b + _ONE]:
        text[end] = text[i]
        end += 1
        i += 1
    return end


def resized(array: np.ndarray, size: int) -> np.ndarray:
    """A copy with room for more at its end."""
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


def power_of_two(at_least: int) -> int:
    return 1 << (int(at_least) - 1).bit_length()
