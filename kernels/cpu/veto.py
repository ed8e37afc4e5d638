"""Which pairs may not be merged, because of the words, characters and colons of the merged token (see `kernels.Veto`).

What decides that is one number for each token, its *traits*. Those of a merged token follow from those of its parts, so
the strings of tokens are read only once, before the first merge. An empty array of traits means that there is no veto.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import Veto
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.signatures import i64, u8, u64

# Fields of the traits: 28 bits for the number of words, 28 for the number of characters, then five flags
COUNT_BITS = 28
_BITS = np.uint64(COUNT_BITS)
_MOST = np.uint64((1 << COUNT_BITS) - 1)
_BEGINS_WORD = np.uint64(1 << 56)  # the first character is no space
_ENDS_WORD = np.uint64(1 << 57)
_BEGINS_SPACE = np.uint64(1 << 58)
_ENDS_COLON = np.uint64(1 << 59)
_COLON_SPACE = np.uint64(1 << 60)
_COLON = np.uint8(ord(":"))
_CONTINUES, _KIND = np.uint8(0x80), np.uint8(0xC0)  # of a byte of UTF-8 that is no first byte

MAX_WORDS, MAX_CHARACTERS, COLONS, N_VETO = range(4)  # fields of `limits`


def veto_limits(veto: Veto | None) -> np.ndarray:
    """The limits of a veto, int64[N_VETO]."""
    if veto is None:
        return np.zeros(N_VETO, np.int64)
    most = (1 << COUNT_BITS) - 1
    return np.array([min(veto.max_words, most), min(veto.max_characters, most), veto.colons], np.int64)


def token_traits(text: np.ndarray, text_end: np.ndarray, veto: Veto | None) -> np.ndarray:
    """The traits of tokens: uint64[n], empty without a veto. text, text_end: their strings, uint8[], int64[n + 1]."""
    traits = np.zeros(0 if veto is None else len(text_end) - 1, np.uint64)
    put_traits(text, text_end, len(traits), veto, traits)
    return traits


def put_traits(text: np.ndarray, text_end: np.ndarray, n_tokens: int, veto: Veto | None, traits: np.ndarray) -> None:
    """Writes the traits of the first n_tokens tokens, if there is a veto."""
    if veto is not None:
        _find_traits(text, text_end, n_tokens, np.frombuffer(veto.space, np.uint8), traits)


@kernel(u8[:], i64[:], i64, u8[:], u64[:])
def _find_traits(text, text_end, n_tokens, space, traits):
    """Writes the traits of the string text[text_end[i]:text_end[i + 1]] of each token; space: the bytes of a space.

    `text_end` bounds the indices into text; `space` is read only as far as the string goes.
    """
    for token in range(n_tokens):
        at, end = np.uint64(text_end[token]), np.uint64(text_end[token + 1])
        words = characters = flags = np.uint64(0)
        in_word = after_colon = False
        first = True
        while at < end:
            k = np.uint64(0)
            while k < np.uint64(len(space)) and at + k < end and text[at + k] == space[k]:
                k += U1
            if k == np.uint64(len(space)):
                flags |= (_BEGINS_SPACE if first else np.uint64(0)) | (_COLON_SPACE if after_colon else np.uint64(0))
                in_word = after_colon = False
                characters += U1
                at += k
            else:
                flags |= _BEGINS_WORD if first else np.uint64(0)
                words += np.uint64(0) if in_word else U1
                in_word = True
                after_colon = text[at] == _COLON
                characters += U1 if text[at] & _KIND != _CONTINUES else np.uint64(0)
                at += U1
            first = False
        flags |= (_ENDS_WORD if in_word else np.uint64(0)) | (_ENDS_COLON if after_colon else np.uint64(0))
        traits[token] = flags | min(characters, _MOST) << _BITS | min(words, _MOST)


@kernel(inline=True)
def _words(left, right):
    """The number of words of a merged token, by the traits of its parts: a word may go on from one to the other."""
    joined = left & _ENDS_WORD != 0 and right & _BEGINS_WORD != 0
    return (left & _MOST) + (right & _MOST) - (U1 if joined else np.uint64(0))


@kernel(inline=True)
def _characters(left, right):
    return (left >> _BITS & _MOST) + (right >> _BITS & _MOST)


@kernel(inline=True)
def _colon_space(left, right):
    """Whether two tokens together have a colon before a space."""
    return (left | right) & _COLON_SPACE != 0 or (left & _ENDS_COLON != 0 and right & _BEGINS_SPACE != 0)


@kernel(inline=True)
def may_merge(n_traits, traits, limits, a, b):
    """Whether tokens a and b may be merged.

    n_traits: uint64, 0 without a veto, else ids + 1; traits, limits: views of uint64[n_traits] and int64[N_VETO].
    """
    if n_traits == np.uint64(0):
        return True
    left, right = traits[a], traits[b]
    return (
        _words(left, right) <= np.uint64(limits[MAX_WORDS])
        and _characters(left, right) < np.uint64(limits[MAX_CHARACTERS])
        and (limits[COLONS] != 0 or not _colon_space(left, right))
    )


@kernel(inline=True)
def merged_traits(left, right):
    """The traits of a merged token, by those of its parts."""
    flags = (left & (_BEGINS_WORD | _BEGINS_SPACE)) | (right & (_ENDS_WORD | _ENDS_COLON))
    flags |= _COLON_SPACE if _colon_space(left, right) else np.uint64(0)
    return flags | min(_characters(left, right), _MOST) << _BITS | min(_words(left, right), _MOST)
