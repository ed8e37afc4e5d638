"""Tells from the name of a file which kind of documents it has, and how they are compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gputok.files.locations import File

MAGIC = {
    ".gz": b"\x1f\x8b",
    ".xz": b"\xfd7zXZ\0",
    ".zst": b"\x28\xb5\x2f\xfd",
}  # UTF-8 never begins with these bytes
_COMPRESSED = (".gz", ".xz", ".zst")
_JSON = (".jsonl", ".json", ".ndjson")


def file_kind(file: File) -> tuple[str, str]:
    """Reads the kind and the compression of a file from its name.

    Returns:
        ".parquet", ".csv", one of _JSON, or "" for plain text; and one of _COMPRESSED, or "".
    """
    name = file.name.lower()
    compression = next((ending for ending in _COMPRESSED if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    kinds = ".parquet", ".csv", *_JSON
    return next((ending for ending in kinds if name.endswith(ending)), ""), compression
