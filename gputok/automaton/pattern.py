"""Regular expressions in the namesake's syntax, and what the few of them do that are no automaton."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gputok.automaton import compile_literal, compile_pattern
from gputok.types import Array, public

if TYPE_CHECKING:
    import regex

    from gputok.kernels import Automaton


@public("gputok")
class Regex:
    r"""A regular expression in Oniguruma's Ruby syntax, compiled when it is made: see `gputok.automaton`.

    >>> Regex(r"\p{N}{1,3}").pattern
    '\\p{N}{1,3}'
    """

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise TypeError(f"pattern: '{type(pattern).__name__}' object is not an instance of 'str'")
        compile_pattern(pattern)  # an error in the pattern belongs here, not where it is first used
        self.pattern = pattern

    def __reduce__(self) -> tuple:
        return Regex, (self.pattern,)


def matcher(pattern: str | Regex) -> Automaton | regex.Pattern:
    """What finds a pattern, a `str` being the text to find (and "" a match between any two characters)."""
    return compile_pattern(pattern.pattern) if isinstance(pattern, Regex) else compile_literal(pattern)


def spans(pattern: regex.Pattern, text: str) -> Iterator[tuple[int, int, bool]]:
    """Gaps (False) and matches (True) of a backtracking pattern, in characters, as Oniguruma's `find_iter` gives them.

    An empty match that touches the last match is no match, and the search goes on one character later.
    """
    at = gap = 0
    last = None  # where the last match ended
    while at <= len(text) and (match := pattern.search(text, at)):
        start, end = match.span()
        if start == end == last:
            at += 1
            continue
        if gap < start:
            yield gap, start, False
        yield start, end, True
        at = gap = last = end
    if gap < len(text):
        yield gap, len(text), False


def split_words(
    data: Array,
    start: Array,
    end: Array,
    frozen: Array | None,
    pattern: regex.Pattern,
    cut: Array,
    drop: Array,
) -> tuple[Array, Array, Array]:
    """What the kernel of the same name does, with a backtracking pattern instead of an automaton."""
    words, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if frozen is not None and frozen[i]:
            words.append((a, b))
        else:
            text = data[a:b].tobytes().decode()
            found = list(spans(pattern, text))
            flags = [flag for *_, flag in found]
            word = a
            for (first, last, flag), following in zip(found, [*flags[1:], None], strict=False):
                a += len(text[first:last].encode())
                if following is None or cut[int(flag), int(following)]:
                    if word < a and not drop[int(flag)]:
                        words.append((word, a))
                    word = a
        rows.append(len(words))
    word_start, word_end = np.array(words, np.int64).reshape(-1, 2).T
    return word_start, word_end, np.array(rows)
