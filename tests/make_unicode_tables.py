"""Writes gputok/automaton/unicode.npy: the sets of characters that the installed `tokenizers` uses.

    python -m tests.make_unicode_tables

This takes some minutes. The parts of `tokenizers` use different Unicode versions, so each is the source of its sets:
the properties and case folding of Oniguruma (patterns), and the sets inside Digits, Whitespace, WhitespaceSplit,
Punctuation, BertPreTokenizer and UnicodeScripts (Rust). `test_automaton.py` compares the sets again.
"""

from __future__ import annotations

import itertools
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Regex, pre_tokenizers

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES = pathlib.Path(__file__).parent.parent / "gputok" / "automaton" / "unicode.npy"
CODE_POINTS = np.r_[0:0xD800, 0xE000:0x110000]  # all but the surrogates, which no text contains
EVERYTHING = "".join(map(chr, CODE_POINTS))
POSIX = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()


def known_property_names() -> list[str]:
    """The names that Oniguruma takes in `\\p{...}`, found among those that the `regex` package knows."""
    from regex import _regex_core

    values = {name for _, names in _regex_core.PROPERTIES.values() for name in names}
    names = values | set(_regex_core.PROPERTIES) | {f"In_{name}" for name in values} | {"Newline"}
    return sorted(name.lower().replace("_", "") for name in names if is_pattern(rf"\p{{{name}}}"))


def is_pattern(pattern: str) -> bool:
    try:
        Regex(pattern)
    except Exception:  # tokenizers raises bare Exception
        return False
    return True


def members(outside: str) -> np.ndarray:
    """Boundaries of the runs of code points that the pattern `outside` does not match."""
    pieces = pre_tokenizers.Split(Regex(outside), "removed").pre_tokenize_str(EVERYTHING)
    return boundaries(span for _, span in pieces)


def boundaries(spans: Iterable[tuple[int, int]]) -> np.ndarray:
    """Spans of EVERYTHING as an inversion list of code points: int32[2 * n_runs], where membership changes."""
    inside = np.zeros(0x110000 + 2, np.int8)
    for start, end in spans:
        inside[CODE_POINTS[start:end] + 1] = 1
    return np.flatnonzero(np.diff(inside)).astype(np.int32)


def property_sets() -> dict[str, np.ndarray]:
    """For each property name: its members. POSIX brackets as `[:alpha:]`; `\\w`, `\\d`, `\\s` by themselves."""
    sets = {name: members(rf"\p{{^{name}}}+") for name in known_property_names()}
    sets |= {f"[:{name}:]": members(f"[[:^{name}:]]+") for name in POSIX}
    return sets | {rf"\{lower}": members(rf"\{lower.upper()}+") for lower in "wdsh"}


def component_sets() -> dict[str, np.ndarray]:
    """The sets inside the pre-tokenizers that are no patterns, named `rust:...`."""
    runs = [span for _, span in pre_tokenizers.Digits().pre_tokenize_str(EVERYTHING)]
    numeric = runs[["0" in EVERYTHING[a:b] for a, b in runs].index(True) % 2 :: 2]
    space = pre_tokenizers.WhitespaceSplit().pre_tokenize_str(EVERYTHING)
    punctuation = pre_tokenizers.Punctuation("removed").pre_tokenize_str(EVERYTHING)
    bert = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(EVERYTHING)
    # Whitespace is `\w+|[^\w\s]+`: after "a", a word character joins, white space is removed, others start anew
    spread = "".join(f"a{c}" for c in EVERYTHING) + " "
    covered = np.zeros(len(spread), bool)
    others = []
    for _, (start, end) in pre_tokenizers.Whitespace().pre_tokenize_str(spread):
        covered[start:end] = True
        if end - start == 1 and start % 2:
            others.append((start // 2, start // 2 + 1))
    gaps = [(i // 2, i // 2 + 1) for i in np.flatnonzero(~covered[:-1]).tolist()]
    return {
        "rust:numeric": boundaries(numeric),
        "rust:space": complement(boundaries(span for _, span in space)),
        "rust:punctuation": complement(boundaries(span for _, span in punctuation)),
        "rust:bertspace": complement(boundaries(span for _, span in bert)),
        "rust:regexspace": boundaries(gaps),
        "rust:regexother": boundaries(others),
    }


def complement(runs: np.ndarray) -> np.ndarray:
    """All code points outside, surrogates apart."""
    inside = np.zeros(0x110000, bool)
    for start, end in runs.reshape(-1, 2):
        inside[start:end] = True
    return boundaries((i, i + 1) for i in np.flatnonzero(~inside[CODE_POINTS]).tolist())


def script_sets() -> dict[str, np.ndarray]:
    """`rust:script:N`: the scripts as UnicodeScripts sees them; the characters that join any script are in none."""
    split = pre_tokenizers.UnicodeScripts()

    def cut(left: str, right: str) -> bool:
        return len(split.pre_tokenize_str(left + right)) == 2

    scripted = [c for c in EVERYTHING if cut("a", c) or cut("α", c)]
    classes: dict[str, list[str]] = {}
    previous = None
    for c in scripted:
        if previous is None or cut(previous, c):
            previous = next((first for first in classes if not cut(first, c)), c)
        classes.setdefault(previous, []).append(c)
    index = {c: i for i, c in enumerate(EVERYTHING)}
    return {
        f"rust:script:{n}": boundaries((index[c], index[c] + 1) for c in chars)
        for n, chars in enumerate(classes.values())
    }


def all_sets() -> dict[str, np.ndarray]:
    return property_sets() | component_sets() | script_sets()


def case_folds() -> tuple[list[str], list[str]]:
    """Characters that match one another under `(?i:...)`, and `character + what it folds to` where that is longer."""
    cased = np.zeros(0x110000, bool)
    for name in ("cwcf", "cwcm", "cased"):
        for start, end in members(rf"\p{{^{name}}}+").reshape(-1, 2):
            cased[start:end] = True
    text = "".join(map(chr, np.flatnonzero(cased)))
    apart = "\n".join(text)  # or `ﬆ` would match the neighbours s and t
    classes, seen = [], set()
    for c in text:
        if c not in seen:
            found = matches(f"(?i:{c})", apart)
            seen.update(found)
            classes += [found] if len(found) > 1 else []
    several = {c: c.casefold() for c in text if len(c.casefold()) > 1}
    return classes, [c + fold for c, fold in several.items() if matches(f"(?i:{c})", fold) == fold]


def matches(pattern: str, text: str) -> str:
    """The matched characters of `text`, joined."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return "".join(piece for piece, _ in split.pre_tokenize_str(text))


def pack(sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Equal sets are kept once: names joined by spaces, one line a set; boundaries as differences."""
    names: dict[bytes, list[str]] = {}
    for name, runs in sets.items():
        names.setdefault(runs.tobytes(), []).append(name)
    runs = [np.frombuffer(key, np.int32) for key in names]
    offsets = [0, *itertools.accumulate(len(run) for run in runs)]
    return {
        "names": np.frombuffer("\n".join(" ".join(line) for line in names.values()).encode(), np.uint8),
        "offsets": np.array(offsets, np.int32),
        "steps": np.concatenate([np.diff(run, prepend=0) for run in runs]).astype(np.int32),
    }


def main() -> None:
    one, several = case_folds()
    folds = {
        name: np.frombuffer("\n".join(lines).encode(), np.uint8) for name, lines in [("one", one), ("several", several)]
    }
    with open(TABLES, "wb") as file:
        for table in (pack(all_sets()) | folds).values():
            np.save(file, table)


if __name__ == "__main__":
    main()
