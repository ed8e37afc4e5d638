"""Regex, the public class of patterns, and the search for the few patterns that are not automata.

These few patterns backtrack, in the `regex` package, and some patterns would run for years on 35 letters. So the CPU time
for a text is limited to `SECONDS`, plus `SECONDS_PER_CHARACTER` for each character: a hundred times the time for a text
whose matches need little backtracking. A pattern that takes longer raises ValueError with the pattern and the position in
the text. (Oniguruma gives up a match after ten million steps back, about 0.2 seconds; `tokenizers` then panics.)
Automata need no limit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from gputok.automaton import compile_literal, compile_pattern
from gputok.checks import checked, string
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.automaton import Backtracking
    from gputok.kernels import Automaton
    from gputok.types import Bytes, Mask, Positions

SECONDS = 5.0
SECONDS_PER_CHARACTER = 1e-4


@public("gputok")
class Regex:
    r"""A regular expression in Oniguruma's Ruby syntax.

    Args:
        pattern: the pattern; `gputok.automaton.compile_pattern` compiles it at once, so errors appear here.

    Raises:
        TypeError: if the pattern is not a string.
        ValueError: if the pattern is wrong, or uses a construct that gputok cannot run as `tokenizers` does.

    Example:
        >>> Regex(r"\p{N}{1,3}").pattern
        '\\p{N}{1,3}'
    """

    __slots__ = ("pattern",)

    def __init__(self, pattern: str) -> None:
        checked("pattern", string, pattern)
        compile_pattern(pattern)  # for its errors; the result is cached
        self.pattern = pattern

    def __reduce__(self) -> tuple[type[Regex], tuple[str]]:
        return Regex, (self.pattern,)


def matcher(pattern: str | Regex) -> Automaton | Backtracking:
    """Compiles a pattern or a text to find; the empty text matches between any two characters."""
    return compile_pattern(pattern.pattern) if isinstance(pattern, Regex) else compile_literal(pattern)


def spans(
    pattern: Backtracking, text: str, seconds: float = SECONDS, per_character: float = SECONDS_PER_CHARACTER
) -> Iterator[tuple[int, int, bool]]:
    """Cuts a text into gaps (False) and matches (True), as Oniguruma's `find_iter` does: (first, last + 1, matched).

    An empty match that touches the last match does not count, and the search continues one character later.
    Raises ValueError if the search takes longer than the limit.
    """
    at = gap = 0
    last = None  # end of the last match
    seconds += per_character * len(text)
    deadline = time.process_time() + seconds
    try:
        for start, end in _matches(pattern, text, deadline):
            at = end
            if start == end == last:
                continue
            if gap < start:
                yield gap, start, False
            yield start, end, True
            gap = last = end
    except TimeoutError:
        raise ValueError(
            f"pattern {pattern.pattern!r} took more than {seconds:.1f} s for a text of {len(text)} characters and was "
            f"given up at character {at}, before {text[at : at + 20]!r}: the pattern can match there in too many ways; "
            "rewrite the pattern so that fewer of its parts can match the same characters"
        ) from None
    if gap < len(text):
        yield gap, len(text), False


def _matches(pattern: Backtracking, text: str, deadline: float) -> Iterator[tuple[int, int]]:
    """Matches from left to right. Each search starts at the end of the last match, or a character after an empty match.

    Raises TimeoutError at the deadline, in CPU time of the process, which the `regex` package measures as well.
    """
    at = 0
    while at <= len(text):
        for match in pattern.compiled.finditer(text, at, timeout=max(deadline - time.process_time(), 1e-9)):
            yield match.span()
            if match.start() == (at := match.end()):
                break  # after an empty match, the `regex` package would continue in another way than Oniguruma
        else:
            return
        at += 1


def split_words(
    data: Bytes, start: Positions, end: Positions, frozen: Mask | None, pattern: Backtracking, cut: Mask, drop: Mask
) -> tuple[Positions, Positions, Positions]:
    """Like the kernel of the same name in kernels/cpu/split.py, for a backtracking pattern instead of an automaton."""
    words: list[tuple[int, int]] = []
    rows = [0]
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
