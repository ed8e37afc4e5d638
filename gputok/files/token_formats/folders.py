"""Formats whose output is a folder with an `index.json`."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


def check_size(n_bytes: int, name: str) -> None:
    """Raises ValueError if offsets in a file of this size don't fit in 32 bits."""
    if n_bytes >= 1 << 32:
        raise ValueError(
            f"{name}: would have {n_bytes:,} bytes, but its offsets have 32 bits; choose fewer shard_tokens="
        )


def read_index(index: pathlib.Path) -> dict[str, Any]:
    """Reads `index.json`; raises ValueError if it is not a JSON object."""
    try:
        content = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{index}: expected JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{index}: expected a JSON object, got {type(content).__name__}")
    return content


@contextlib.contextmanager
def reading_field(index: pathlib.Path, field: str) -> Iterator[None]:
    """Around code that takes a field of JSON apart: if the field has another form, the error names file and field."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{index}: {field}: is missing or has another form ({error!r})") from None
