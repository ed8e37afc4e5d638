"""Parquet files of word counts: columns `word` (binary) and `count` (int64), and a description in the metadata."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gputok.files.locations import locate, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gputok.files.locations import StorageOptions
    from gputok.types import Bytes, Counts, Positions


_METADATA, _VERSION = b"gputok.word_counts", 1


class WordColumns(NamedTuple):
    """The content of a file: word i is data[offsets[i]:offsets[i + 1]]."""

    data: Bytes  # uint8[n_bytes]
    offsets: Positions  # int64[n_words + 1]
    counts: Counts  # int64[n_words]
    byte_level: bool


def write(path: str | os.PathLike[str], columns: WordColumns, storage_options: StorageOptions = None) -> None:
    """Writes a file, or what has a URL, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    buffers = [None, pa.py_buffer(columns.offsets), pa.py_buffer(columns.data)]
    words = pa.Array.from_buffers(pa.large_binary(), len(columns.counts), buffers)
    table = pa.table({"word": words, "count": columns.counts})
    description = json.dumps({"version": _VERSION, "byte_level": columns.byte_level})
    with writing(path, storage_options) as temporary:
        parquet.write_table(
            table.replace_schema_metadata({_METADATA: description}), temporary, compression="zstd"
        )


def read(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> WordColumns:
    """Reads a file, or what has a URL. Raises ValueError if the file is damaged, or was not written by `write`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = os.fspath(path)
    try:
        with locate(path, storage_options).open_for_arrow() as file:
            table = parquet.read_table(file)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: expected a Parquet file, got another or a damaged file ({error})"
        ) from None
    byte_level = _byte_level(path, table.schema.metadata or {})
    words, counts = table["word"].combine_chunks(), table["count"].combine_chunks()
    words = words.chunk(0) if isinstance(words, pa.ChunkedArray) else words
    _, offsets, data = words.cast(pa.large_binary()).buffers()
    offsets = np.frombuffer(offsets or bytes(8), np.int64)[words.offset : words.offset + len(words) + 1]
    return WordColumns(
        np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]],
        offsets - offsets[0],
        counts.to_numpy().astype(np.int64),
        byte_level,
    )


def _byte_level(path: str, metadata: Mapping[bytes, bytes]) -> bool:
    """Reads the description in the metadata; raises ValueError if this version of gputok does not know it."""
    if _METADATA not in metadata:
        raise ValueError(
            f"{path}: holds no word counts; they are written by `gputok count` or WordCounts.save"
        )
    description = json.loads(metadata[_METADATA])
    if description["version"] != _VERSION:
        raise ValueError(
            f"{path}: word counts of version {description['version']}, but this gputok reads version {_VERSION}; "
            "count the words again, or use the gputok that wrote the file"
        )
    return description["byte_level"]
