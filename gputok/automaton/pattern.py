"""Regular expressions in the namesake's syntax, and what the few of them do that are no automaton.

Those few backtrack, in the `regex` package, and some pattern needs more time on 35 letters than there is. So the time for
a text has a bound: `SECONDS`, and `SECONDS_PER_CHARACTER` more for each of its characters, of the process's CPU time. That
is a hundred times what a text takes whose matches are found without going far back. A pattern that takes longer raises
ValueError with the pattern and the place in the text. (Oniguruma gives up a match after ten million steps back, some 0.2
seconds; `tokenizers` then panics.) An automaton has no bound and needs none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gputok.automaton import Backtracking, compile_literal, compile_pattern
from gputok.types import Array, public

if TYPE_CHECKING:
    from gputok.kernels import Automaton

SECONDS = 5.0
SECONDS_PER_CHARACTER = 1e-4


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


def matcher(pattern: str | Regex) -> Automaton | Backtracking:
    """What finds a pattern, a `str` being the text to find (and "" a match between any two characters)."""
    return compile_pattern(pattern.pattern) if isinstance(pattern, Regex) else compile_literal(pattern)


def spans(pattern: Backtracking, text: str) -> Iterator[tuple[int, int, bool]]:
    """Gaps (False) and matches (True) of a backtracking pattern, in characters, as Oniguruma's `find_iter` gives them.

    An empty match that touches the last match is no match, and the search goes on one character later.

    Raises ValueError where it takes longer than the bound.
    """
    at = gap = 0
    last = None  # where the last match ended
    deadline = time.process_time() + SECONDS + SECONDS_PER_CHARACTER * len(text)
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
        seconds = SECONDS + SECONDS_PER_CHARACTER * len(text)
        raise ValueError(
            f"pattern {pattern.pattern!r} took more than {seconds:.1f} s for a text of {len(text)} characters and was "
            f"given up at character {at}, before {text[at : at + 20]!r}: it can match in too many ways there; write "
            "it so that fewer of its parts can match the same characters"
        ) from None
    if gap < len(text):
        yield gap, len(text), False


def _matches(pattern: Backtracking, text: str, deadline: float) -> Iterator[tuple[int, int]]:
    """Matches from left to right, each from where the last ended or, after an empty one, a character later.

    Raises TimeoutError at the deadline, by the clock that the package looks at.
    """
    at = 0
    while at <= len(text):
        for match in pattern.compiled.finditer(text, at, timeout=max(deadline - time.process_time(), 1e-9)):
            yield match.span()
            if match.start() == (at := match.end()):
                break  # here, the package itself goes on in another way than Oniguruma
        else:
            return
        at += 1


def split_words(
    data: Array,
    start: Array,
    end: Array,
    frozen: Array | None,
    pattern: Backtracking,
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
