"""Encodings as HTML: the tokens coloured over the text. Nothing in the text becomes markup."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gputok.types import Array, public

_STYLE = """
.gputok { font-family: ui-monospace, monospace; line-height: 2.2; white-space: pre-wrap; overflow-wrap: anywhere; }
.gputok .token { color: #111; border-radius: 3px; padding: 2px 0; }
.gputok .even-token { background: #cfe8ff; }
.gputok .odd-token { background: #ffe3b3; }
.gputok .multi-token { border-bottom: 2px solid #c33; }
.gputok .special-token { background: #ddd; color: #333; font-size: 85%; padding: 2px 4px; margin: 0 1px; border-radius: 3px; }
.gputok .annotation { border-bottom: 3px solid; padding-bottom: 3px; }
.gputok .annotation::after { content: attr(data-label); color: inherit; font-size: 70%; vertical-align: super; }
"""


@public("gputok.tools")
class Annotation:
    """A labelled range of characters of a text."""

    start: int
    end: int
    label: str

    def __init__(self, start: int, end: int, label: str) -> None:
        self.start, self.end, self.label = start, end, label


class Encoded(Protocol):
    """What is shown of an Encoding."""

    tokens: list[str]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    special_tokens_mask: list[int]


def page(body: str) -> str:
    """A part of a page with its style."""
    return f'<style>{_STYLE}</style><div class="gputok" dir="auto">{body}</div>'


def encoding_html(encoding: Encoded, given: Sequence[str | Sequence[str]] | None) -> str:
    """An encoding over what was encoded (one or two texts, or lists of words), or if that is unknown, its tokens."""
    tokens, sequences, words = encoding.tokens, encoding.sequence_ids, encoding.word_ids
    special = encoding.special_tokens_mask
    parts = []
    at = 0
    while at < len(tokens):
        sequence = sequences[at]
        if given is None or special[at] or sequence is None or sequence >= len(given):
            parts.append(_special(tokens[at]) if special[at] else _span(tokens[at], [at], ""))
            at += 1
            continue
        last = next(
            (i for i in range(at, len(tokens)) if sequences[i] != sequence or special[i]), len(tokens)
        )
        text, offsets = given[sequence], encoding.offsets[at:last]
        if not isinstance(text, str):  # words: offsets are counted from the start of each
            starts = list(itertools.accumulate((len(word) + 1 for word in text), initial=0))
            offsets = [
                (a + starts[word or 0], b + starts[word or 0])
                for (a, b), word in zip(offsets, words[at:last], strict=True)
            ]
            text = " ".join(text)
        parts.append(text_html(text, tokens, list(zip(range(at, last), offsets, strict=True)), []))
        at = last
    return page("".join(parts))


def text_html(
    text: str,
    tokens: Sequence[str],
    spans: Sequence[tuple[int, tuple[int, int]]],
    annotations: Sequence[Annotation],
    colors: dict[str, str] | None = None,
) -> str:
    """A text with its tokens (index, (first, last + 1) character) and annotations as coloured spans."""
    first_token, n_tokens = _layers(len(text), [(index, a, b) for index, (a, b) in reversed(spans)])
    note, _ = _layers(len(text), [(i, one.start, one.end) for i, one in enumerate(annotations)])
    changes = (
        np.flatnonzero((np.diff(first_token) != 0) | (np.diff(note) != 0) | (np.diff(n_tokens > 1) != 0)) + 1
    )
    parts: list[str] = []
    groups = itertools.pairwise([0, *changes.tolist(), len(text)]) if text else ()
    for mark, inside in itertools.groupby(groups, key=lambda group: int(note[group[0]])):
        pieces = []
        for a, b in inside:
            token = int(first_token[a])
            classes = "multi-token" if n_tokens[a] > 1 else ""
            pieces.append(
                _span(text[a:b], [token] if token >= 0 else [], classes, tokens[token] if token >= 0 else "")
            )
        if mark >= 0:
            label = annotations[mark].label
            color = (colors or {}).get(label, "inherit")
            pieces = [
                f'<span class="annotation" style="color:{color}" data-label="{html.escape(str(label))}">',
                *pieces,
                "</span>",
            ]
        parts.extend(pieces)
    return "".join(parts)


def _layers(n: int, spans: list[tuple[int, int, int]]) -> tuple[Array, Array]:
    """For each character, the last given span that covers it (or -1), and how many do."""
    top, count = np.full(n, -1), np.zeros(n, int)
    for index, a, b in spans:
        top[a:b] = index
        count[a:b] += 1
    return top, count


def _span(text: str, token: list[int], classes: str, title: str = "") -> str:
    kind = ("token odd-token" if token[0] % 2 else "token even-token") if token else "non-token"
    hint = f' title="{html.escape(title)}"' if title else ""
    return f'<span class="{f"{kind} {classes}".strip()}"{hint}>{html.escape(text)}</span>'


def _special(token: Any) -> str:
    return f'<span class="special-token">{html.escape(token)}</span>'
