"""Shows encodings as HTML: the text with coloured tokens. Markup in the text is escaped."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gputok.lazy import public
from gputok.types import Positions

_STYLE = """
.gputok { margin: 0; padding: 0; border: 0; background: none; font-size: 14px; line-height: 2.2; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.gputok .token { color: #111; border-radius: 3px; padding: 2px 0; }
.gputok .even-token { background: #cfe8ff; }
.gputok .odd-token { background: #ffe3b3; }
.gputok .multi-token { border-bottom: 2px solid #c33; }
.gputok .special-token { background: #ddd; color: #333; font-size: 85%; padding: 2px 4px; margin: 0 1px;
  border-radius: 3px; }
.gputok .annotation { border-bottom: 3px solid; padding-bottom: 3px; }
.gputok .annotation::after { content: attr(data-label); color: inherit; font-size: 70%; vertical-align: super; }
"""
_FONT = "font-family: ui-monospace, monospace"


@public("gputok.tools")
class Annotation:
    """A labelled range of characters of a text.

    Args:
        start: the first character.
        end: the last character + 1.
        label: the text to show.
    """

    start: int
    end: int
    label: str

    def __init__(self, start: int, end: int, label: str) -> None:
        self.start, self.end, self.label = start, end, label


def page(body: str) -> str:
    """Wraps a part of a page in its style.

    The element is `pre`: where a page that shows a notebook drops the style, line breaks and indentations stay. The
    font is an attribute of the element: JupyterLab and its exports give `pre` a font of their own, not of fixed width.
    """
    return f'<style>{_STYLE}</style><pre class="gputok" dir="auto" style="{_FONT}">{body}</pre>'


def encoding_html(encoding: Any, inputs: Sequence[str | Sequence[str]] | None) -> str:
    """Shows an Encoding over its input sequences (texts or lists of words); None: shows the tokens alone."""
    tokens: list[str] = encoding.tokens
    sequences, words, special = encoding.sequence_ids, encoding.word_ids, encoding.special_tokens_mask
    parts: list[str] = []
    at = 0
    while at < len(tokens):
        sequence = sequences[at]
        if inputs is None or special[at] or sequence is None or sequence >= len(inputs):
            shown = f'<span class="special-token">{html.escape(tokens[at])}</span>'
            parts.append(shown if special[at] else _span(tokens[at], [at], ""))
            at += 1
            continue
        last = next((i for i in range(at, len(tokens)) if sequences[i] != sequence or special[i]), len(tokens))
        text: Any = inputs[sequence]
        offsets = encoding.offsets[at:last]
        if not isinstance(text, str):  # a list of words: offsets count from the start of each word
            starts = list(itertools.accumulate((len(word) + 1 for word in text), initial=0))
            shifts = [starts[word or 0] for word in words[at:last]]
            offsets = [(a + shift, b + shift) for (a, b), shift in zip(offsets, shifts, strict=True)]
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
    """Shows a text with coloured tokens and annotations.

    spans: (number of a token, (first, last + 1) character); colors: label of annotations -> color of CSS.
    """
    first_token, n_tokens = _layers(len(text), [(index, a, b) for index, (a, b) in reversed(spans)])
    note, _ = _layers(len(text), [(i, note.start, note.end) for i, note in enumerate(annotations)])
    changes = np.flatnonzero((np.diff(first_token) != 0) | (np.diff(note) != 0) | (np.diff(n_tokens > 1) != 0)) + 1
    parts: list[str] = []
    groups = itertools.pairwise([0, *changes.tolist(), len(text)]) if text else ()
    for mark, inside in itertools.groupby(groups, key=lambda group: int(note[group[0]])):
        pieces: list[str] = []
        for a, b in inside:
            token = int(first_token[a])
            classes = "multi-token" if n_tokens[a] > 1 else ""
            pieces.append(_span(text[a:b], [token] if token >= 0 else [], classes, tokens[token] if token >= 0 else ""))
        if mark >= 0:
            label = annotations[mark].label
            color, data = (colors or {}).get(label, "inherit"), html.escape(str(label))
            parts.append(f'<span class="annotation" style="color:{color}" data-label="{data}">')
        parts += [*pieces, "</span>"] if mark >= 0 else pieces
    return "".join(parts)


def _layers(n: int, spans: list[tuple[int, int, int]]) -> tuple[Positions, Positions]:
    """For each of n characters, the index of the last span that covers it (or -1), and the number of such spans."""
    top, count = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    for index, a, b in spans:
        top[a:b] = index
        count[a:b] += 1
    return top, count


def _span(text: str, token: list[int], classes: str, title: str = "") -> str:
    kind = ("token odd-token" if token[0] % 2 else "token even-token") if token else "non-token"
    hint = f' title="{html.escape(title)}"' if title else ""
    return f'<span class="{f"{kind} {classes}".strip()}"{hint}>{html.escape(text)}</span>'
