"""The character maps of normalizers, as small tables that agree with `tokenizers` for every code point.

The normalizers of `tokenizers` use different Unicode versions, so `unicodedata` and `str.lower` cannot be used.
`tests/make_normalization_tables.py` passes every code point through `tokenizers` and writes `unicode_maps.bin`: a line
of JSON, then the arrays of each table, compressed by zlib. (A ZIP archive of NumPy takes each process 10 ms, mostly for
imports.) The value of code point c is `member[page[c >> 7], c & 127]`.
"""

from __future__ import annotations

import functools
import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.kernels import CharacterMap, Compositions, NormalizationForm

if TYPE_CHECKING:
    import numpy.typing as npt

    Table = npt.NDArray[np.uint16]

FILE = "unicode_maps.bin"

# Rules of a character map: keep the character, remove it, or put spaces around it. Rules from 3 on are replacements.
STAYS, VANISHES, SPACED = 0, 1, 2


@functools.cache
def _tables() -> tuple[dict[str, Any], bytes]:
    """The first line of the file, which says where the arrays of each table are, and the bytes of all tables."""
    with open(os.path.join(os.path.dirname(__file__), FILE), "rb") as file:
        head, _, tables = file.read().partition(b"\n")
    return json.loads(head), tables


@functools.cache
def _part(name: str) -> dict[str, npt.NDArray[Any]]:
    """Reads the arrays of one table, by the names of its fields."""
    import zlib  # most tokenizers need no table

    index, tables = _tables()
    first, last, fields = index[name]
    data, at = zlib.decompress(tables[first:last]), 0
    part: dict[str, npt.NDArray[Any]] = {}
    for field, dtype, *shape in fields:
        part[field] = np.frombuffer(data, dtype, math.prod(shape), at).reshape(shape).copy()  # aligned
        at += part[field].nbytes
    return part


@functools.cache
def character_map(name: str) -> CharacterMap:
    """Loads a character map.

    name: lowercase, uppercase, strip_accents, nmt, whitespace (removes white space), bert_clean, bert_chinese,
    bert_clean_chinese or, for text that is in NFD already, bert_marks or bert_marks_lowercase.
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
    """Loads the tables of nfc, nfd, nfkc or nfkd."""
    part = dict(_part(name))
    n_inert = int(part.pop("n_inert"))
    return NormalizationForm(n_inert=n_inert, **part)


@functools.cache
def compositions() -> Compositions:
    """Loads the pairs that NFC and NFKC compose."""
    return Compositions(**_part("compose"))


@functools.cache
def grapheme_classes() -> tuple[Table, Table]:
    """Loads the classes named in kernels/cpu/precompiled.py: page uint16[8704], member uint16[pages, 128]."""
    part = _part("grapheme")
    return part["page"], part["member"]
