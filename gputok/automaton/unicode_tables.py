"""Character properties as `tokenizers` uses them: properties and case folding of Oniguruma, character sets of Rust.

tests/make_unicode_tables.py generates the data, unicode.npy, from the `tokenizers` package itself, because its parts
use different Unicode versions, and neither `regex` nor `unicodedata` agrees with any of them.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton.charset import CharSet

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.types import Positions, Positions32


@functools.cache
def _tables() -> dict[str, npt.NDArray[Any]]:
    # The file has arrays one after the other. For a ZIP archive, as np.savez writes it, NumPy would import modules,
    # which takes 7 ms of each process
    with open(os.path.join(os.path.dirname(__file__), "unicode.npy"), "rb") as file:
        return {name: np.load(file) for name in ("names", "offsets", "steps", "one", "several")}


@functools.cache
def property_names() -> dict[str, int]:
    """All names that `property_set` knows, and the line of each in the tables."""
    lines = _tables()["names"].tobytes().decode().split("\n")
    return {name: i for i, line in enumerate(lines) for name in line.split(" ")}


@functools.cache
def property_set(name: str) -> CharSet:
    r"""The set of characters that have a property. Raises KeyError if Oniguruma has no property of that name.

    `name` is a property of Oniguruma (case, spaces, `-` and `_` are ignored), `[:alpha:]`, `\w`, or a set of a
    pre-tokenizer in Rust: `rust:numeric` (Digits), `rust:space` (WhitespaceSplit), `rust:punctuation` (Punctuation,
    BertPreTokenizer), `rust:bertspace`, `rust:regexspace` and `rust:regexother` (Whitespace: `\s`, `[^\w\s]`).

    >>> len(property_set("L")), "Ⅷ" in property_set("Letter_Number")
    (141028, True)
    """
    key = name.lower().translate({ord(c): None for c in " -_"}) if name[:1] not in "[\\" else name
    line = property_names()[key]
    tables = _tables()
    start, end = tables["offsets"][line : line + 2]
    return CharSet(np.cumsum(tables["steps"][start:end]))


def script_sets() -> list[CharSet]:
    """The scripts that the pre-tokenizer UnicodeScripts knows. Characters outside of all sets join any script."""
    return [property_set(name) for name in property_names() if name.startswith("rust:script:")]


@functools.cache
def _fold_classes() -> list[str]:
    """Classes of characters that match one another under `(?i:...)`."""
    return _tables()["one"].tobytes().decode().split("\n")


@functools.cache
def _folds() -> tuple[Positions32, Positions]:
    """The code points that have case, int32[n], and the index of the class of each, int64[n]."""
    classes = _fold_classes()
    points = np.array([ord(c) for chars in classes for c in chars], np.int32)
    return points, np.repeat(np.arange(len(classes)), [len(chars) for chars in classes])


@functools.lru_cache(maxsize=1024)
def any_case(chars: CharSet) -> CharSet:
    """Adds every character that matches a member of the set under `(?i:...)`.

    >>> any_case(CharSet.chars("s")) == CharSet.chars("sSſ")
    True
    """
    points, classes = _folds()
    hit = np.zeros(len(_fold_classes()), bool)
    hit[classes[chars.has(points)]] = True
    return chars | CharSet.chars("".join(map(chr, points[hit[classes]])))


@functools.cache
def _canonical() -> dict[int, str]:
    return str.maketrans({c: chars[0] for chars in _fold_classes() for c in chars})


def canonical(text: str) -> str:
    """Maps texts that match one another character by character under `(?i:...)` to the same text."""
    return text.translate(_canonical())


@functools.cache
def long_folds() -> dict[str, str]:
    """Characters that match a longer string under `(?i:...)`, with that string: `ß` matches `ss`."""
    return {line[0]: line[1:] for line in _tables()["several"].tobytes().decode().split("\n")}


@functools.cache
def joined_folds() -> dict[str, CharSet]:
    """The reverse of `long_folds`, by canonical string: `ss` matches `ß` and `ẞ`."""
    joined: dict[str, str] = {}
    for c, fold in long_folds().items():
        joined[canonical(fold)] = joined.get(canonical(fold), "") + c
    return {fold: CharSet.chars(chars) for fold, chars in joined.items()}
