"""What `tokenizers` does to each character when it normalizes text, as small tables.

Each of its normalizers has a Unicode version of its own, so neither `unicodedata` nor `str.lower` is asked:
`tests/make_normalization_tables.py` asks `tokenizers` about every code point and writes `unicode_maps.npz`.
A code point c has the value `member[page[c >> 7], c & 127]`.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import NamedTuple

import numpy as np

from gputok.types import Array

STAYS, VANISHES, SPACED = 0, 1, 2  # rules of a character map; others are replacements


class CharacterMap(NamedTuple):
    """What becomes of each character, whatever stands beside it."""

    page: Array  # uint16[8704]
    member: Array  # uint16[pages, 128]: the rule of a code point
    ascii: Array  # uint8[128]: the ASCII character that another becomes; 255: look at its rule
    text: Array  # uint8[n]
    offsets: Array  # int32[rules + 1]; rule r >= 3 puts text[offsets[r]:offsets[r + 1]]


class NormalizationForm(NamedTuple):
    """Decompositions and their order; what is inert stays, whatever comes before or after it.

    Only the order of canonical combining classes matters, so `rank` is 0 for a starter and else counts them up.
    Hangul syllables are not in the tables, but computed.
    """

    page: Array  # uint16[8704]
    member: Array  # uint16[pages, 128]: the kind of a code point
    n_inert: int  # kinds below this one are inert
    rank: Array  # uint8[kinds]
    # int32[kinds + 1]; a kind decomposes into parts[offsets[k]:offsets[k + 1]], if there are any
    offsets: Array
    parts: Array  # uint32[n], code points
    parts_rank: Array  # uint8[n]


class Compositions(NamedTuple):
    """Pairs of characters that compose, Hangul aside."""

    pair: Array  # uint64[n], sorted: first << 32 | second
    to: Array  # uint32[n]


@functools.cache
def _arrays() -> dict[str, Array]:
    with importlib.resources.files("gputok.text").joinpath("unicode_maps.npz").open("rb") as file:
        return dict(np.load(file))


def _part(name: str) -> dict[str, Array]:
    return {key.partition(".")[2]: value for key, value in _arrays().items() if key.startswith(name + ".")}


@functools.cache
def character_map(name: str) -> CharacterMap:
    """One of: lowercase, uppercase, strip_accents, nmt, whitespace (which vanishes), bert_clean, bert_chinese,
    bert_clean_chinese, and, for text in NFD, bert_marks and bert_marks_lowercase.
    """
    part = _part(name)
    text, offsets = part["text"], part["offsets"]
    ascii = np.full(128, 255, np.uint8)
    for code, rule in enumerate(part["member"][part["page"][0]].tolist()):
        if rule == STAYS:
            ascii[code] = code
        elif rule > SPACED and offsets[rule + 1] - offsets[rule] == 1:
            ascii[code] = text[offsets[rule]]
    return CharacterMap(part["page"], part["member"], ascii, text, offsets)


@functools.cache
def normalization_form(name: str) -> NormalizationForm:
    """One of nfc, nfd, nfkc, nfkd."""
    part = _part(name)
    return NormalizationForm(**{**part, "n_inert": int(part["n_inert"])})


@functools.cache
def compositions() -> Compositions:
    """What NFC and NFKC put together again."""
    return Compositions(**_part("compose"))


@functools.cache
def grapheme_classes() -> tuple[Array, Array]:
    """page uint16[8704], member uint16[pages, 128] of the classes named in kernels/cpu/precompiled.py."""
    part = _part("grapheme")
    return part["page"], part["member"]
