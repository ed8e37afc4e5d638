"""Writes JSON with the same bytes as Rust's `serde_json`, from Python values or directly from arrays (`Packed`)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator, Sequence

    from gputok.kernels.cpu.json_tables import Column

_SMALL = re.compile(r"(-?)(\d)\.?(\d*)e-0(\d)")

Buffer = bytes | memoryview


def read_object(path: pathlib.Path, may_lack: bool = False) -> dict[str, Any]:
    """Reads a JSON object; raises ValueError if the file holds none. may_lack: {} if there is no file."""
    if may_lack and not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON object: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


@runtime_checkable
class Packed(Protocol):
    """A long value that is stored in arrays."""

    def plain(self) -> Any:
        """Returns the value as lists and dictionaries."""
        ...

    def json(self, newline: str) -> Iterable[Buffer]:
        """Returns the JSON text in parts; newline: a line feed and the indentation; "" puts all in one line."""
        ...


def parts(value: Any, pretty: bool = False) -> Iterator[Buffer]:
    r"""Writes a value as JSON, in parts of UTF-8, so that the whole text is never in memory.

    value: None, bool, int, float, str, list, tuple, dict or Packed, nested in any way; pretty: one item per line.

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
    elif type(value) not in (dict, list) and isinstance(value, Packed):  # `isinstance` of a Protocol is slow
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
    """Returns the line feed and the indentation of the next inner level; "" stays "", which puts all in one line."""
    return newline and newline + "  "


def number(value: float) -> str:
    """Writes a floating-point number: Python's digits, but 1e-7 for 1e-07 and 0.00001 for 1e-05."""
    text = repr(float(value))
    # Almost all numbers have no "e" (an exponent) and no "n" (inf, nan). Python's digits are then right, and returning
    # them here takes a third of the time.
    if "e" not in text and "n" not in text:
        return text
    text = json.dumps(value)
    if (found := _SMALL.fullmatch(text)) is None:
        return text
    sign, first, rest, exponent = found.groups()
    if exponent == "5":
        return f"{sign}0.0000{first}{rest}"
    return text.replace("e-0", "e-")


def rows(columns: Sequence[Column], newline: str, brackets: str) -> Iterator[Buffer]:
    r"""Writes a table as a JSON object or list, in parts; columns: see `kernels.cpu.json_tables.write_rows`.

    >>> import numpy as np
    >>> b"".join(rows([b",", np.array([7, 10])], "", "[]"))
    b'[7,10]'
    """
    from gputok.kernels.cpu.json_tables import write_rows

    before = b""
    for part in write_rows(columns, escaped=True):
        yield part if before else brackets[:1].encode() + part[1:]
        before = part
    yield (newline + brackets[1:]).encode() if before else brackets.encode()
