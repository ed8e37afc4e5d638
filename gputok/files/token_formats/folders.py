"""Formats whose output is a folder with an `index.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gputok.fields import checked, needed

if TYPE_CHECKING:
    import pathlib

    from gputok.fields import Check


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


def field(value: Any, name: str, check: Check) -> Any:
    """Returns a field of a JSON object, checked; the error says which field, as those of `gputok.fields.checked`."""
    return checked(name, check, needed(value, name))
