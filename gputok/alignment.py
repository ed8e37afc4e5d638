"""Compares two tokenizers: the places of a text at which a token of each of them ends."""

from __future__ import annotations

import numpy as np

from gputok.checks import unwrapped
from gputok.tokenizer import Tokenizer
from gputok.types import Positions


def align(a: Tokenizer, b: Tokenizer, text: str) -> tuple[Positions, Positions, Positions]:
    """Finds all places of a text at which a token of each of two tokenizers ends.

    Between two such places, the tokens of `a` and those of `b` stand for the same bytes.

    Args:
        a: a tokenizer.
        b: another one.
        text: the text.

    Returns:
        The places, in bytes of UTF-8, and how many tokens of `a` and of `b` end there or before: int64[n_places] each.

    Example:
        >>> from gputok import Tokenizer, models
        >>> pairs = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
        >>> characters = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
        >>> [each.tolist() for each in align(pairs, characters, "abba")]
        [[2, 3, 4], [1, 2, 3], [2, 3, 4]]
    """
    ends_a, ends_b = _ends(a, text), _ends(b, text)
    places = np.intersect1d(ends_a, ends_b)
    return places, np.searchsorted(ends_a, places, "right"), np.searchsorted(ends_b, places, "right")


def _ends(tokenizer: Tokenizer, text: str) -> Positions:
    """Returns where each token of a text ends, in bytes: int64[n_tokens]."""
    tokenizer = unwrapped(tokenizer)
    encoding = tokenizer.encode(text, add_special_tokens=False, padding=None, truncation=None)
    spelled, raw = tokenizer.decode_bytes(encoding.ids_array), text.encode()
    if spelled in (raw, b" " + raw):  # a tokenizer may insert a space
        return np.maximum(tokenizer.byte_ends(encoding.ids_array) - (len(spelled) - len(raw)), 0)
    # The bytes of the tokens don't tell. Offsets do, but a token that is a part of a character ends with the character
    return np.maximum.accumulate(np.array([end for _, end in encoding.offsets_in_bytes], np.int64))
