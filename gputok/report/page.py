"""The page of a report, and one to type in: a template, and the numbers and samples as JSON inside it."""

from __future__ import annotations

import html
import importlib.resources
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.files.outputs import returned
from gputok.lazy import public
from gputok.report.figures import compression, curve
from gputok.report.measures import COLUMNS, Measures, Sample, own_pipeline
from gputok.report.portable import MOST_BYTES, NotPortable, parts, portable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from gputok.report import Report


def render(report: Report, most_bytes: int | None = MOST_BYTES) -> str:
    """Makes the whole page. It has the corpus only as JSON, of which its script makes text nodes, never markup."""
    body = importlib.resources.files("gputok.report").joinpath("page.html").read_text(encoding="utf-8")
    return filled(body, ["page.js"], report.made.title, _data(report, most_bytes))


def filled(body: str, scripts: Sequence[str], title: str, data: Any) -> str:
    """Makes a page: a title, its body, data, and scripts of this folder, which run one after the other."""
    folder = importlib.resources.files("gputok.report")

    def read(*names: str) -> str:
        return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)

    texts = {"TITLE": html.escape(title), "STYLE": read("style.css"), "BODY": body, "DATA": embedded(data)}
    texts["SCRIPT"] = read("tokenizer.js", "typing.js", *scripts)
    return re.sub(f"__({'|'.join(texts)})__", lambda found: texts[found[1]], read("frame.html"))


def embedded(value: Any) -> str:
    r"""Writes JSON that may stand inside an HTML script element: nothing in it can end the element or a line of script.

    >>> print(embedded("</script>"))
    "\u003c/script\u003e"
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def _data(report: Report, most_bytes: int | None) -> dict[str, Any]:
    text, made = report.text, report.made
    header = {"text": made.source, "tokenizer": ", ".join(one.name for one in report.tokenizers), "date": made.date}
    header |= {"gputok": made.version, "command": made.command}
    return {
        "text": [text.n_documents, text.n_bytes, text.n_characters, text.n_words],
        "summary": report.summary(),
        "columns": COLUMNS,
        "table": report.table()[1:],
        "groups": None if report.groups is None else [report.groups.table(), report.groups.said()],
        "scripts": text.scripts,
        "characters": text.script_characters.tolist(),
        "samples": report.samples,
        "made": [[name, value] for name, value in header.items() if value],
        "tokenizers": [_tokenizer(one, most_bytes) for one in report.tokenizers],
    }


def _tokenizer(measures: Measures, most_bytes: int | None) -> dict[str, Any]:
    shown = [_shown(sample) for sample in measures.encodings]
    used = sorted({id for ids, _, _ in shown for id in ids})
    position = np.searchsorted(measures.ids, used)
    of_vocabulary, of_text = measures.length_histogram()
    by_size = measures.compression_curve()
    try:
        kit, why_not = portable(measures.tokenizer, most_bytes), None
    except NotPortable as error:
        kit, why_not = None, str(error)
    return {
        "name": measures.name,
        "lengths": [of_vocabulary.tolist(), of_text.tolist()],
        "usage": curve(np.sort(measures.usage)[::-1]),
        "merges": None if measures.merge_counts is None else curve(measures.merge_counts),
        "sizes": None if by_size is None else compression(*by_size),
        "longest": measures.longest(),
        "scriptTokens": measures.script_tokens.tolist(),
        "scriptCovered": measures.script_covered.tolist(),
        "samples": shown,
        "tokens": {
            id: [measures.tokens[at], int(measures.usage[at])] for id, at in zip(used, position.tolist(), strict=True)
        },
        "kit": kit,
        "whyNot": why_not,
    }


def _shown(sample: Sample) -> list[list[int]]:
    """Lists the ids of the tokens of a sample, and the first and the last + 1 character of each token."""
    ids: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for n_characters, encoding in sample:
        ids += encoding.ids
        for start, end in encoding.offsets:
            starts.append(at + start)
            ends.append(at + end)
        at += n_characters
    return [ids, starts, ends]


@public("gputok.report")
def playground(
    tokenizers: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    text: str = "",
    title: str = "Tokenizer playground",
) -> str | None:
    """Makes a page that tokenizes what is typed or pasted, by each tokenizer, side by side.

    The page needs no network and no server, and sends nothing anywhere. It shows tokens in colours, ids, counts and
    offsets, without the special tokens around a text. A tokenizer.json that is dropped on it opens. What follows `#` in
    its address is the text.

    Args:
        tokenizers: tokenizers of gputok, `tokenizers` or `transformers`, by the names to show; may be empty.
        path: the file to write, atomically; None: the page is returned.
        text: the text that the box has at first.
        title: the title of the page.

    Returns:
        The page, or None if it was written.

    Raises:
        TypeError: if an argument is not a tokenizer.
        ValueError: if a page can't have one of the tokenizers; the message says why.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"it": 0, "goes": 1, "?": 2}, unk_token="?"))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> page = playground({"words": tokenizer}, text="it goes")
    """
    kits: list[dict[str, Any]] = []
    for name, tokenizer in tokenizers.items():
        try:
            kits.append({"name": name, "kit": portable(own_pipeline(name, tokenizer), None)})
        except NotPortable as error:
            raise ValueError(f"{name}: a page can't have this tokenizer: {error}") from None
    data = {"tokenizers": kits, "parts": parts(), "text": text}
    body = '<section id="typing"></section>\n'
    return returned(filled(body, ["opening.js", "playground.js"], title, data), path)
