"""JSON as Rust's `serde_json` writes it, to the byte: from plain values, and from packed tokens with no string made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gputok.types import Array

_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_ESCAPES = {bytes([byte]): json.dumps(chr(byte))[1:-1].encode() for byte in (*range(0x20), *b'"\\')}
_SMALL = re.compile(r"(-?)(\d)\.?(\d*)e-0(\d)")

Buffer = bytes | memoryview
Column = bytes | tuple[Array, Array, Array]  # the same in every row, or (data, start, end)


@runtime_checkable
class Packed(Protocol):
    """A long value that is kept in arrays."""

    def plain(self) -> Any:
        """As lists and dictionaries."""

    def json(self, newline: str) -> Iterable[Buffer]:
        """Parts of its JSON text; `newline` is what begins a line where it stands, "" to write all in one line."""


def parts(value: Any, pretty: bool = False) -> Iterator[Buffer]:
    """A value as JSON, in one line or with two spaces for each level, in parts that are nowhere joined.

    >>> b"".join(parts({"rate": 1e-07, "tokens": ["a", 'é"']}))
    b'{"rate":1e-7,"tokens":["a","\xc3\xa9\\""]}'
    """
    return _parts(value, "\n" if pretty else "")


def _parts(value: Any, newline: str) -> Iterator[Buffer]:
    if isinstance(value, float):
        yield number(value).encode()
    elif value is None or isinstance(value, str | int):
        yield json.dumps(value, ensure_ascii=False).encode()
    elif isinstance(value, Packed):
        yield from value.json(newline)
    elif not value:
        yield json.dumps(value).encode()
    else:
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        inner, before = deeper(newline), opening
        for item in value:
            yield (before + inner).encode()
            if isinstance(value, dict):
                yield from _parts(item, inner)
                yield b": " if newline else b":"
                item = value[item]
            yield from _parts(item, inner)
            before = ","
        yield (newline + closing).encode()


def deeper(newline: str) -> str:
    """What begins a line one level further in."""
    return newline and newline + "  "


def number(value: float) -> str:
    """A floating-point number: Python's digits, but 1e-7 for 1e-07 and no exponent in 0.00001."""
    text = repr(float(value))
    if "e" not in text and "n" not in text:  # in a third of the time of what follows
        return text
    text = json.dumps(value)
    if (found := _SMALL.fullmatch(text)) is None:
        return text
    sign, first, rest, exponent = found.groups()
    if exponent == "5":
        return f"{sign}0.0000{first}{rest}"
    return text.replace("e-0", "e-")


def escaped(data: Array, offsets: Array) -> tuple[Array, Array]:
    """Packed strings (uint8[n], int64[strings + 1]) as they stand between quotes, packed."""
    text = _ESCAPED.sub(lambda found: _ESCAPES[found[0]], data.tobytes())
    width = np.ones(256, np.int64)
    width[[character[0] for character in _ESCAPES]] = [*map(len, _ESCAPES.values())]
    ends = np.concatenate([[0], np.cumsum(width[data])])
    return np.frombuffer(text, np.uint8), ends[offsets]


def digits(numbers: Array) -> tuple[Array, Array, Array]:
    """A column of whole numbers in decimals."""
    width = len(str(numbers.max(initial=0)))
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    text = (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8).ravel()
    end = np.arange(width, len(text) + 1, width)
    return text, end - np.maximum((numbers[:, None] >= powers).sum(axis=1), 1), end


def woven(columns: Sequence[Column]) -> Buffer:
    """The rows of a table, its columns side by side, one after the other.

    >>> bytes(woven([b"<", digits(np.array([7, 10])), b">"]))
    b'<7><10>'
    """
    from gputok.kernels.cpu.ragged import gather

    n_rows = next(len(column[1]) for column in columns if not isinstance(column, bytes))
    pool: list[Array] = []
    start, end = np.empty((n_rows, len(columns)), np.int64), np.empty((n_rows, len(columns)), np.int64)
    base = 0
    for i, column in enumerate(columns):
        if isinstance(column, bytes):
            column = np.frombuffer(column, np.uint8), np.int64(0), np.int64(len(column))
        start[:, i], end[:, i] = base + column[1], base + column[2]
        pool.append(column[0])
        base += len(column[0])
    return gather(np.concatenate(pool), start.ravel(), end.ravel())[0].data
