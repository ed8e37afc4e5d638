"""What kind of documents a file has, and how they are compressed: its name says both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gputok.files.locations import File

MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}  # none of them begins UTF-8
_COMPRESSED = (".gz", ".xz", ".zst")
_JSON = (".jsonl", ".json", ".ndjson")


def file_kind(file: File) -> tuple[str, str]:
    """(".parquet", ".csv", a member of _JSON, or "" for plain text; a member of _COMPRESSED or "")."""
    name = file.name.lower()
    compression = next((ending for ending in _COMPRESSED if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    kinds = ".parquet", ".csv", *_JSON
    return next((ending for ending in kinds if name.endswith(ending)), ""), compression
