"""JSON with the same bytes as Rust's `serde_json`, from plain values or directly from packed tokens."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from gputok.types import Bytes, Positions

    Column = bytes | tuple[Bytes, Positions, Positions]
    """A column of a table of text: the same bytes in every row, or (data, start, end), where row i has data[start[i]:end[i]]."""

_SMALL = re.compile(r"(-?)(\d)\.?(\d*)e-0(\d)")

Buffer = bytes | memoryview


@runtime_checkable
class Packed(Protocol):
    """A long value that is stored in arrays."""

    def plain(self) -> Any:
        """Returns the value as lists and dictionaries."""
        ...

    def json(self, newline: str) -> Iterable[Buffer]:
        """Returns the JSON text of the value in parts.

        newline: a line feed and the indentation of the value; "": write everything in one line.
        """
        ...


def parts(value: Any, pretty: bool = False) -> Iterator[Buffer]:
    r"""Writes a value as JSON, in parts, so that the whole text is never in memory.

    Args:
        value: None, bool, int, float, str, list, tuple, dict or Packed, nested in any way.
        pretty: True: one item per line, indented by two spaces per level; False: everything in one line.

    Yields:
        Parts of the text, as UTF-8.

    Example:
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
    """The line feed and the indentation of the next inner level."""
    return newline and newline + "  "


def number(value: float) -> str:
    """Writes a floating-point number: Python's digits, but 1e-7 for 1e-07 and 0.00001 for 1e-05."""
    text = repr(float(value))
    # Almost all numbers pass this test, in a third of the time of the rest of this function.
    if "e" not in text and "n" not in text:
        return text
    text = json.dumps(value)
    if (found := _SMALL.fullmatch(text)) is None:
        return text
    sign, first, rest, exponent = found.groups()
    if exponent == "5":
        return f"{sign}0.0000{first}{rest}"
    return text.replace("e-0", "e-")


def escaped(data: Bytes, offsets: Positions) -> tuple[Bytes, Positions]:
    """Escapes packed strings (uint8[n_bytes], int64[n + 1]) for JSON; returns packed strings."""
    at = np.flatnonzero((data < ord(" ")) | (data == ord('"')) | (data == ord("\\")))
    if not len(at):
        return data, offsets
    text, width = data.tobytes(), np.ones(256, np.int64)
    # The backslash first: the others are replaced by text that has one
    for byte in sorted({ord("\\"), *data[at].tolist()}, key=lambda byte: (byte != ord("\\"), byte)):
        escape = json.dumps(chr(byte))[1:-1].encode()
        text, width[byte] = text.replace(bytes([byte]), escape), len(escape)
    longer = np.concatenate([[0], np.cumsum(width[data[at]] - 1)])
    return np.frombuffer(text, np.uint8), offsets + longer[np.searchsorted(at, offsets)]


def digits(numbers: npt.NDArray[np.integer[Any]]) -> tuple[Bytes, Positions, Positions]:
    """Writes non-negative integers in decimal, as a Column."""
    width = len(str(numbers.max(initial=0)))
    text, before = np.empty((len(numbers), width), np.uint8), np.zeros_like(numbers)
    n_digits = np.ones(len(numbers), np.int64)
    for i in range(width):  # NumPy divides by one number several times as fast as by an array
        power = 10 ** (width - 1 - i)
        quotient = numbers // power
        text[:, i] = quotient - 10 * before + ord("0")
        before = quotient
        n_digits += (numbers >= power) & (i < width - 1)
    end = np.arange(1, len(numbers) + 1) * width
    return text.ravel(), end - n_digits, end


def woven(columns: Sequence[Column]) -> Buffer:
    """Joins the columns of each row of a table, and then the rows.

    >>> bytes(woven([b"<", digits(np.array([7, 10])), b">"]))
    b'<7><10>'
    """
    from gputok.kernels.cpu.rewrite import weave

    def column(of: Column) -> tuple[Bytes, Positions, Positions]:
        if isinstance(of, bytes):
            return np.frombuffer(of, np.uint8), np.zeros(1, np.int64), np.array([len(of)])
        return of

    return weave([*map(column, columns)]).data
