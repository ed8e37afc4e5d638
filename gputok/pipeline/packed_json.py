"""Reads a tokenizer.json with its vocabulary and its merges as arrays, without a Python object for each token."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.fields import is_object
from gputok.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.models.bpe.merges import PackedMerges
    from gputok.types import Bytes

_SMALL = 1 << 16  # for texts of fewer bytes, the JSON parser is as fast
_BRACKET = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=[\[{])")


def read(text: bytes, loads: Callable[[bytes], Any]) -> Any:
    """Reads a JSON text; `model.vocab` is then a Vocabulary and `model.merges` a PackedMerges.

    A kernel reads the long tables, and a JSON parser reads the rest of the text.

    Args:
        text: the bytes of a file.
        loads: the JSON parser.

    Returns:
        The value of the text; None if the text is short, or if the kernel can read none of the tables. Then let a JSON
        parser read the whole text: only the JSON parser can say what is wrong.

    Raises:
        ValueError: if the rest of the text is not JSON.
    """
    if len(text) < _SMALL:
        return None
    data = np.frombuffer(text, np.uint8)
    tables: dict[str, Any] = {}
    spans: list[tuple[int, int, str]] = []
    for name, make in (("vocab", _vocabulary), ("merges", _merges)):
        begin = _table(text, name, spans)
        found = make(data, begin) if begin >= 0 else None
        if found is None or _table(text, name, [*spans, (begin, found[1], name)]) >= 0:  # several: which one?
            continue
        tables[name], end = found
        spans.append((begin, end, name))
    if not tables:
        return None
    # A random mark, which no file contains by chance, replaces each table. The parsed value shows where the marks are, and
    # so whether the tables were those of the model.
    mark = os.urandom(16).hex()
    rest: list[bytes] = []
    at = 0
    for begin, end, name in sorted(spans):
        rest += [text[at:begin], f'"{name} {mark}"'.encode()]
        at = end
    value = loads(b"".join([*rest, text[at:]]))
    model = value.get("model") if is_object(value) else None
    if not is_object(model) or any(model.get(name) != f"{name} {mark}" for name in tables):
        return None
    model.update(tables)
    return value


def _table(text: bytes, name: str, known: list[tuple[int, int, str]]) -> int:
    """The position of the bracket after the first key `name` outside of the tables that are known; -1: there is none.

    known: the begin, the end and the name of each table that was read.
    """
    key = f'"{name}"'.encode()
    edges = [0, *(edge for begin, end, _ in sorted(known) for edge in (begin, end)), len(text)]
    for at, stop in zip(edges[::2], edges[1::2], strict=True):
        while (at := text.find(key, at, stop)) >= 0:
            bracket = _BRACKET.match(text, at + len(key))
            # After a backslash the text is no key, but the end of a token
            if bracket and text[at - 1 : at] != b"\\" and bracket.end() not in edges:
                return bracket.end()
            at += 1
    return -1


def _vocabulary(data: Bytes, begin: int) -> tuple[Vocabulary, int] | None:
    from gputok.kernels.cpu import json_tables, lines

    table = json_tables.read_table(data, begin)
    if table is None or table.shape != json_tables.MAPPING or not lines.is_utf8(data[begin : table.end]):
        return None
    vocabulary = Vocabulary(table.data, table.offsets, table.numbers)
    # If a key occurs twice, its last value counts, in the position of the first: then the kernel's table is wrong.
    if np.count_nonzero(vocabulary.strings.slots) < len(vocabulary):
        return None
    return vocabulary, table.end


def _merges(data: Bytes, begin: int) -> tuple[PackedMerges, int] | None:
    from gputok.kernels.cpu import json_tables, lines, lookup
    from gputok.models.bpe.merges import PackedMerges

    table = json_tables.read_table(data, begin)
    if table is None or table.shape == json_tables.MAPPING or not lines.is_utf8(data[begin : table.end]):
        return None
    offsets = table.offsets
    if table.shape == json_tables.PAIRS:
        start, end = offsets[:-1].reshape(-1, 2).T, offsets[1:].reshape(-1, 2).T
        return PackedMerges(table.data, start, end), table.end
    middle = lookup.split_at_space(table.data, offsets)
    if (middle < 0).any() or b"#version" in table.data.tobytes():
        return None
    starts, ends = np.stack([offsets[:-1], middle + 1]), np.stack([middle, offsets[1:]])
    return PackedMerges(table.data, starts, ends), table.end
