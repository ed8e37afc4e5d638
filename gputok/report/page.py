"""The page of a report: a template, and the numbers and samples as JSON inside it."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from gputok.report.values import COLUMNS, Findings, Measures

_POINTS = 400  # of a curve: more than a chart has pixels to tell apart


def render(report: Findings) -> str:
    """The whole page. Text of the corpus is in it only as JSON, which the page's script turns into text nodes."""
    template = pathlib.Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return template.replace("__DATA__", embedded(_data(report)))


def embedded(value: Any) -> str:
    """JSON that may stand inside an HTML script element: nothing in it can end the element or a line of script.

    >>> print(embedded("</script>"))
    "\\u003c/script\\u003e"
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def _data(report: Findings) -> dict[str, Any]:
    text = report.text
    return {
        "text": [text.n_documents, text.n_bytes, text.n_characters, text.n_words],
        "columns": COLUMNS,
        "table": report.table()[1:],
        "scripts": text.scripts,
        "characters": text.script_characters.tolist(),
        "samples": report.samples,
        "tokenizers": [_tokenizer(one) for one in report.tokenizers],
    }


def _tokenizer(measures: Measures) -> dict[str, Any]:
    shown = [
        [encoding.ids, *map(list, zip(*encoding.offsets, strict=True))] if len(encoding) else [[], [], []]
        for encoding in measures.encodings
    ]
    used = sorted({id for ids, _, _ in shown for id in ids})
    position = np.searchsorted(measures.ids, used)
    of_vocabulary, of_text = measures.length_histogram()
    return {
        "name": measures.name,
        "lengths": [of_vocabulary.tolist(), of_text.tolist()],
        "usage": curve(np.sort(measures.usage)[::-1]),
        "merges": None if measures.merge_counts is None else curve(measures.merge_counts),
        "longest": measures.longest(),
        "scriptTokens": measures.script_tokens.tolist(),
        "scriptCovered": measures.script_covered.tolist(),
        "samples": shown,
        "tokens": {
            id: [measures.tokens[at], int(measures.usage[at])]
            for id, at in zip(used, position.tolist(), strict=True)
        },
    }


def curve(values: np.ndarray) -> list[list[int]]:
    """[place, value] of some of the values, evenly spread over a logarithmic scale of places, counted from 1.

    >>> curve(np.array([9, 5, 4]))
    [[1, 9], [2, 5], [3, 4]]
    """
    if not len(values):
        return []
    places = np.unique(np.geomspace(1, len(values), min(len(values), _POINTS)).round().astype(np.int64))
    places = np.union1d(places, np.arange(1, min(len(values), 20) + 1))
    return np.column_stack([places, values[places - 1]]).tolist()
