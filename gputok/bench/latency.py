"""Times `encode` of one short text in gputok and in tokenizers: repeated texts, and lines that each occur once.

The results are compared before the first measurement. gputok and tokenizers take turns, and medians are reported.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import random
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

_SENTENCE = "The quick brown fox jumps over the lazy dog, doesn't it? Ye"
_REPEATED = {
    "11 characters": "Hello world",
    "58 characters": _SENTENCE[:58],
    "900 characters": (_SENTENCE + "s, it does. ") * 12 + _SENTENCE[:48],
    "21, not ASCII": "Hëllo wörld 漢字 Ωμ 🙂 ok",
}
_ASKED: dict[str, Callable[[Any], Any]] = {
    "ids": lambda encoding: encoding.ids,
    "ids, tokens, offsets": lambda encoding: (encoding.ids, encoding.tokens, encoding.offsets),
}
_LINES = 1000  # each run encodes so many new lines
_SAMPLE_SECONDS = 0.002  # each run repeats one text for about this time


class LatencyRow(NamedTuple):
    """The times of one kind of text, in microseconds for a text: medians of all runs."""

    tokenizer: str  # the name of the file
    text: str  # the kind of text
    asked: str  # the attribute that is read from each encoding
    gputok: float
    tokenizers: float

    def line(self) -> str:
        """Describes the text in one line of the table."""
        ratio = self.gputok / self.tokenizers
        return f"{self.tokenizer:16.16} {self.text:24} {self.asked:22}{self.gputok:9.2f}{self.tokenizers:12.2f}{ratio:8.2f}"


def latency(
    tokenizers: Sequence[str | os.PathLike[str]], *, text: str | os.PathLike[str] | None = None, runs: int = 21
) -> list[LatencyRow]:
    """Times each kind of text with each tokenizer, with its padding and truncation turned off.

    tokenizers: paths of tokenizer.json files; text: a text file, whose lines of 20 to 70 characters are encoded once each,
    None: lines of made-up words; runs: measurements of each kind of text. Raises ValueError if gputok and tokenizers give
    different results, or `text` has too few lines.
    """
    from tokenizers import Tokenizer as Peer

    from gputok import Tokenizer

    rows = []
    for path in map(pathlib.Path, tokenizers):
        both: list[Any] = [Tokenizer.from_file(str(path)), Peer.from_file(str(path))]
        for one in both:
            one.no_padding()
            one.no_truncation()
        texts = _REPEATED | {"with special tokens": _with_special_tokens(both[0])}
        lines = _lines(text, _LINES * (len(_ASKED) * runs + 1))
        if len(lines) < (least := _LINES * (len(_ASKED) + 1)):
            raise ValueError(
                f"{text} has {len(lines):,} different lines of 20 to 70 characters, but {least:,} are needed"
            )
        for line in [*texts.values(), *lines[:_LINES]]:  # from here on, caches contain these lines and their words
            _verify(path, line, *both)
        for asked, ask in _ASKED.items():
            for name, line in texts.items():
                rows.append(LatencyRow(path.stem, name, asked, *_medians(both, line, ask, runs)))
        new = [lines[first : first + _LINES] for first in range(_LINES, len(lines), _LINES)]
        for i, (asked, ask) in enumerate(_ASKED.items()):
            seconds = [[_seconds(one, part, ask) / len(part) for one in both] for part in new[i :: len(_ASKED)]]
            ours, theirs = (1e6 * statistics.median(column) for column in zip(*seconds, strict=True))
            rows.append(LatencyRow(path.stem, "new lines, each once", asked, ours, theirs))
    return rows


def table(rows: Sequence[LatencyRow]) -> str:
    """Returns the rows as a table."""
    from gputok.kernels.native import choose

    head = f"{'tokenizer':16} {'text':24} {'asked':22}{'gputok':>9}{'tokenizers':>12}{'ratio':>8}"
    return "\n".join([f"microseconds for a text; kernels: {choose().reason}", head, *(row.line() for row in rows)])


def to_json(rows: Sequence[LatencyRow]) -> str:
    """Returns the rows as JSON."""
    from gputok.kernels.native import choose

    return json.dumps({"kernels": choose().reason, "rows": [row._asdict() for row in rows]}, indent=2)


def _with_special_tokens(tokenizer: Any) -> str:
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    first, last = (special[0], special[-1]) if special else ("<s>", "</s>")
    return f"{first}user: hello, you{last}{first}model: what else? {last}"


def _lines(text: str | os.PathLike[str] | None, n: int) -> list[str]:
    """Returns n distinct lines, or all lines if there are fewer."""
    if text is not None:
        with open(text, encoding="utf-8") as file:
            fitting = (line.rstrip("\n") for line in file if 20 < len(line) <= 70)
            return list(dict.fromkeys(itertools.islice(fitting, 2 * n)))[:n]
    rng = random.Random(n)
    parts = "ba be co da en fi go hu in ka lo ma ne or pu qui re st te un vo wa xi zo".split()

    def word() -> str:
        return "".join(rng.choices(parts, k=rng.randint(1, 4)))

    return [" ".join(word() for _ in range(7)).capitalize() + "." for _ in range(n)]


def _verify(path: pathlib.Path, text: str, ours: Any, theirs: Any) -> None:
    ask = _ASKED["ids, tokens, offsets"]
    found, wanted = ask(ours.encode(text)), ask(theirs.encode(text))
    if found != wanted:
        raise ValueError(f"not timed: with {path}, gputok gives {found} for {text!r}, and tokenizers {wanted}")


def _medians(both: Sequence[Any], text: str, ask: Callable[[Any], Any], runs: int) -> tuple[float, float]:
    """Returns the microseconds for a text: by gputok, and by tokenizers."""
    quickest = [min(_seconds(one, [text] * 3, ask) / 3 for _ in range(5)) for one in both]
    times = [max(1, round(_SAMPLE_SECONDS / seconds)) for seconds in quickest]
    taken: list[list[float]] = [[], []]
    for _ in range(runs):
        for one, n, seconds in zip(both, times, taken, strict=True):
            seconds.append(_seconds(one, [text] * n, ask) / n)
    ours, theirs = (1e6 * statistics.median(seconds) for seconds in taken)
    return ours, theirs


def _seconds(tokenizer: Any, texts: Sequence[str], ask: Callable[[Any], Any]) -> float:
    encode = tokenizer.encode
    start = time.perf_counter()
    for text in texts:
        ask(encode(text))
    return time.perf_counter() - start
