"""Regex, the public class of patterns; cutting text at their matches; the search for the few that are not automata.

These few patterns backtrack, in the `regex` package, and some would run for years on 35 letters. So the CPU time for a
text is limited to `SECONDS`, plus `SECONDS_PER_CHARACTER` for each character: a hundred times the time for a text whose
matches need little backtracking. A pattern that takes longer raises ValueError with the pattern and the position.
(Oniguruma gives up a match after ten million steps back, about 0.2 seconds; `tokenizers` then panics.)
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton import compile_literal, compile_pattern
from gputok.checks import WrongValue, brief, checked, is_object, reading, string, wrong_type
from gputok.lazy import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.automaton.syntax import Backtracking
    from gputok.kernels import Automaton
    from gputok.types import Behavior, Bytes, Mask, Positions

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


# -- fields of components: a string, which stands for itself, or a Regex


def _checked(value: Any) -> str | Regex:
    if isinstance(value, str):
        return string(value)
    if not isinstance(value, Regex):
        raise wrong_type(value, "str | Regex")
    return value


def _form(pattern: str | Regex) -> dict[str, str]:
    return {"String": pattern} if isinstance(pattern, str) else {"Regex": pattern.pattern}


def _read(form: Any) -> str | Regex:
    if not is_object(form) or len(form) != 1 or not form.keys() <= {"String", "Regex"}:
        raise WrongValue(f'must be {{"String": ...}} or {{"Regex": ...}}, not {brief(form)}')
    ((kind, text),) = form.items()
    text = reading(kind, string, text)
    return text if kind == "String" else reading(kind, Regex, text)


def _shown(pattern: str | Regex) -> str:
    ((kind, text),) = _form(pattern).items()
    return f'{kind}("{text}")'


PATTERN: dict[str, Any] = {"check": _checked, "shown": _shown, "written": _form, "read": _read}
"""The arguments of `gputok.checks.field` for a pattern."""


# -- matches


def spans(
    pattern: Backtracking, text: str, seconds: float = SECONDS, per_character: float = SECONDS_PER_CHARACTER
) -> Iterator[tuple[int, int, bool]]:
    """Cuts a text into gaps (False) and matches (True), as Oniguruma's `find_iter` does: (first, last + 1, matched).

    An empty match that touches the last match does not count, and the search continues one character later.
    Raises ValueError if the search takes more CPU time than `seconds`, plus `per_character` for each character.
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
    """Yields the spans of matches. Raises TimeoutError at `deadline`, a value of `time.process_time`.

    Each search begins where the last match ended, and one character later if that match was empty.
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


# A pattern divides a text into spans: its matches, and the text between them. _CUTS[behavior][i][j] is 1 if the text
# is cut between two neighbouring spans, where i and j are 1 if the first and the second span, respectively, is a match.
_CUTS: dict[Behavior, Any] = {
    "removed": ((1, 1), (1, 1)),
    "isolated": ((1, 1), (1, 1)),
    "merged_with_previous": ((1, 0), (1, 1)),
    "merged_with_next": ((1, 1), (0, 1)),
    "contiguous": ((0, 1), (1, 0)),
}
BEHAVIORS: dict[Behavior, str] = {name: name.title().replace("_", "") for name in _CUTS}
"""Behavior -> the word for it in JSON and in a `repr`."""


@functools.cache
def cut_rule(behavior: Behavior, invert: bool = False) -> tuple[Mask, Mask]:
    """Returns a behavior as the kernels read it: (cut, drop).

    cut: bool[2, 2], see `_CUTS`; drop: bool[2], drop[1] if matches are removed, drop[0] if the text between them is.
    `invert` exchanges matches and the text between them.
    """
    cut, drop = np.array(_CUTS[behavior], bool), np.array([False, behavior == "removed"])
    return (cut[::-1, ::-1], drop[::-1]) if invert else (cut, drop)


def split_words(
    text: tuple[Bytes, Positions, Positions, Mask | None],
    pattern: Automaton | Backtracking,
    cut: Mask,
    drop: Mask,
    keep_empty: bool = False,
) -> tuple[Positions, Positions, Positions]:
    """Cuts text (data, start, end, frozen) as `kernels.cpu.split.split_words` does, also by a backtracking pattern."""
    if isinstance(pattern, tuple):
        from gputok.kernels.cpu.split import split_words

        return split_words(*text, pattern, cut, drop, keep_empty)
    data, start, end, frozen = text
    words: list[tuple[int, int]] = []
    rows = [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if frozen is not None and frozen[i]:
            words.append((a, b))
        else:
            part = data[a:b].tobytes().decode()
            found = list(spans(pattern, part))
            flags = [flag for *_, flag in found]
            word = a
            for (first, last, flag), following in zip(found, [*flags[1:], None], strict=False):
                a += len(part[first:last].encode())
                if following is None or cut[int(flag), int(following)]:
                    if (word < a or (keep_empty and flag)) and not drop[int(flag)]:
                        words.append((word, a))
                    word = a
        rows.append(len(words))
    word_start, word_end = np.array(words, np.int64).reshape(-1, 2).T
    return word_start, word_end, np.array(rows)
