"""Text with its tokens in colours, in a terminal."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BACKGROUNDS = (153, 223, 158, 183, 229)  # light colours among the 256 of terminals, under black letters
_BAR = "│"  # stands between tokens if there are no colours


def colored(text: str, offsets: Sequence[tuple[int, int]], *, color: bool = True, first: int = 0) -> tuple[str, int]:
    r"""Shows the tokens of a text by backgrounds, or by bars between them.

    Characters that several tokens share (bytes of a letter) are shown as one token, underlined. Control characters are
    written as escapes such as `\x1b`, so that no text can command the terminal; a line break in a token is shown as `↵`.

    offsets: (first, last + 1) character of each token, in order. color: colours, by escape sequences of ANSI; False: bars.
    first: which colour comes first, by its number from 0. Returns the text to print, and the number of the colour for the
    token after it.

    >>> colored("low lower", [(0, 3), (3, 7), (7, 9)], color=False)
    ('low│ low│er', 3)
    """
    parts: list[str] = []
    number = first
    for (start, end, n_tokens), (following, *_) in itertools.pairwise(
        [*_groups(offsets, len(text)), (len(text), len(text), 0)]
    ):
        shown = _visible(text[start:end], marks_lines=n_tokens > 0)
        if not color:
            parts.append(shown + (_BAR if following < len(text) and not shown.endswith("\n") else ""))
        elif n_tokens:
            underline = "4;" if n_tokens > 1 else ""
            begin = f"\x1b[{underline}30;48;5;{_BACKGROUNDS[number % len(_BACKGROUNDS)]}m"
            parts.append("\n".join(f"{begin}{line}\x1b[0m" if line else "" for line in shown.split("\n")))
        else:
            parts.append(shown)
        number += n_tokens > 0
    return "".join(parts), number


def _groups(offsets: Sequence[tuple[int, int]], length: int) -> Iterator[tuple[int, int, int]]:
    """Cuts a text where tokens begin and end: (first, last + 1, number of tokens there), 0 for text of no token."""
    at = i = 0
    while i < len(offsets):
        start, end = offsets[i]
        last = i + 1
        while last < len(offsets) and offsets[last][0] < end:
            end = max(end, offsets[last][1])
            last += 1
        start = max(start, at)
        if start < end:
            if at < start:
                yield at, start, 0
            yield start, end, last - i
            at = end
        i = last
    if at < length:
        yield at, length, 0


def _visible(text: str, *, marks_lines: bool) -> str:
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("\n", "↵\n") if marks_lines else shown
