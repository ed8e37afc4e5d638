"""Tells from the name of a file which kind of documents it has, and how they are compressed."""

from __future__ import annotations

from gputok.files.locations import File

# UTF-8 never begins with these bytes
MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}
_RENAME, _UNPACK = "end its name with {}", "unpack it, or pack it as .gz, .xz or .zst"
_ARROW = "read it by pyarrow, and give its table"
_BINARY = {
    **{magic: (f"a {ending} file", _RENAME.format(ending)) for ending, magic in MAGIC.items()},
    b"PAR1\x15": ("a Parquet file", _RENAME.format(".parquet")),
    **{b"BZh%d1AY&SY" % level: ("a bzip2 file", _UNPACK) for level in range(1, 10)},
    b"PK\x03\x04": ("a zip file", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z file", _UNPACK),
    b"\x04\x22\x4d\x18": ("an lz4 file", _UNPACK),
    b"ARROW1\0\0": ("an Arrow file", _ARROW),
    b"\xff\xff\xff\xff": ("an Arrow stream", _ARROW),
    b"ORC\n": ("an ORC file", _ARROW),
    b"Obj\x01": ("an Avro file", "write its texts as Parquet or JSON Lines"),
    b"\x93NUMPY": ("a NumPy file", "write its texts as Parquet or JSON Lines"),
    b"SQLite format 3\0": ("an SQLite file", "write its texts as Parquet or JSON Lines"),
    b"%PDF-": ("a PDF file", "extract its text"),
    b"\xff\xfe": ("text in UTF-16", "convert it to UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "convert it to UTF-8"),
}
"""First bytes of a file that gputok does not read, as it is not UTF-8 -> what it is, and what the user can do."""
_JSON = (".jsonl", ".json", ".ndjson")


def file_kind(file: File) -> tuple[str, str]:
    """Returns kind (".parquet", ".csv", one of _JSON; "": text) and compression (a key of MAGIC; "": none), by name."""
    name = file.name.lower()
    compression = next((ending for ending in MAGIC if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    kinds = ".parquet", ".csv", *_JSON
    return next((ending for ending in kinds if name.endswith(ending)), ""), compression


def refuse_binary(where: str, data: bytes) -> None:
    """Raises ValueError if the first bytes of a file are those of another kind, which errors="replace" would accept."""
    for magic, (kind, remedy) in _BINARY.items():
        if data.startswith(magic):
            raise ValueError(f"{where}: is {kind}, not text in UTF-8: {remedy}")
