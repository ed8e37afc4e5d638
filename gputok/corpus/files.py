"""Documents in files: plain text, JSON Lines and Parquet, each of them compressed or not."""

from __future__ import annotations

import glob
import gzip
import json
import lzma
import os
import pathlib
import stat
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from gputok.corpus.packing import Errors, checked, packed
from gputok.text.pieces import TextBatch
from gputok.types import Array

_COMPRESSED = (".gz", ".xz", ".zst")
_MOST_ROWS = 1 << 13  # of Parquet at once, however small they look: a value that repeats is stored once
_JSON = (".jsonl", ".json", ".ndjson")
_MOST_SHOWN = 200  # characters, in an error, of a text that was given where a path belongs


class Options(NamedTuple):
    column: str | None
    separator: str | None
    errors: Errors
    batch_bytes: int


def find(source: Any) -> list[pathlib.Path]:
    """The files that a path, a folder, a glob, or a list of them names; folders and globs in sorted order."""
    if not isinstance(source, list | tuple):
        return _find_one(os.fspath(source))
    try:
        return [path for item in source for path in _find_one(os.fspath(item))]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} (for texts instead of paths, give an iterator: iter(texts))"
        ) from None


def _find_one(name: str) -> list[pathlib.Path]:
    path = pathlib.Path(name)
    shown = name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "…"
    # unlike pathlib's, False for what can't be a path: a text too long, or with a null in it
    if os.path.isdir(name):
        found = sorted(
            item for item in path.rglob("*") if item.is_file() and not _is_hidden(item.relative_to(path))
        )
    elif os.path.exists(name):
        return [path]
    elif glob.has_magic(name):
        found = sorted(
            path for match in glob.glob(name, recursive=True) if (path := pathlib.Path(match)).is_file()
        )
    else:
        raise FileNotFoundError(f"{shown}: no such file or folder")
    if not found:
        raise FileNotFoundError(f"{shown}: no file {'below it' if os.path.isdir(name) else 'matches'}")
    return found


def _is_hidden(path: pathlib.Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def total_bytes(paths: list[pathlib.Path]) -> int | None:
    states = [path.stat() for path in paths]
    is_plain = all(_kind(path) == ("", "") for path in paths) and all(stat.S_ISREG(s.st_mode) for s in states)
    return sum(state.st_size for state in states) if is_plain else None


def read(path: pathlib.Path, options: Options) -> Iterator[TextBatch]:
    """The documents of one file, by the ending of its name."""
    kind, compression = _kind(path)
    if not kind and options.column is not None:
        raise ValueError(f"{path}: plain text has no column {options.column!r}; leave column= out")
    if kind and options.separator is not None:
        raise ValueError(
            f"{path}: separator= cuts plain text; the rows of a {kind} file are documents already"
        )
    with _open(path, compression) as file:
        if kind == ".parquet":
            yield from _parquet(path, file, compression, options)
        else:
            yield from (_json_lines if kind else _text)(path, file, options)


def _kind(path: pathlib.Path) -> tuple[str, str]:
    """(".parquet", a member of _JSON, or "" for plain text; a member of _COMPRESSED or "")."""
    name = path.name.lower()
    compression = next((ending for ending in _COMPRESSED if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    return next((ending for ending in (".parquet", *_JSON) if name.endswith(ending)), ""), compression


def _open(path: pathlib.Path, compression: str) -> BinaryIO:
    if compression == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if compression == ".xz":
        return cast(BinaryIO, lzma.open(path))
    if compression == ".zst":
        import pyarrow as pa  # its reader, unlike that of the package zstandard, tells a truncated file from a whole one

        path.stat()  # Arrow's own error for a missing file is a poor one
        return pa.CompressedInputStream(str(path), "zstd")
    return open(path, "rb", buffering=0)


def _fill(path: pathlib.Path, file: BinaryIO, buffer: memoryview, n_before: int) -> int:
    """Reads until `buffer` is full or the file ends; the number of bytes read."""
    n = 0
    try:
        while n < len(buffer) and (step := file.readinto(buffer[n:])):  # type: ignore[attr-defined]
            n += step
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if isinstance(error, EOFError) or "runcated" in str(error):
            raise ValueError(
                f"{path}: broken off in the middle of its compressed data, after {n_before + n} bytes of text; "
                f"copy or download it again"
            ) from None
        raise ValueError(f"{path}: not a valid {path.suffix} file ({error})") from None
    return n


def _chunks(path: pathlib.Path, file: BinaryIO, options: Options) -> Iterator[tuple[TextBatch, int]]:
    """Whole documents, cut but not yet checked, and the position of each batch in the (uncompressed) file.

    Raises ValueError where the file shrinks meanwhile.
    """
    opened = path.stat()
    separator = None if options.separator is None else options.separator.encode()
    buffer = np.empty(0, np.uint8)
    rest = buffer  # what the last read began and did not end
    position = 0  # of the first byte of `rest`
    while True:
        # Memory that isn't touched costs nothing, so a small file pays nothing for a large buffer; buffers of one size
        # fill each other's holes. Doubling keeps a document much longer than a batch linear.
        n_bytes = max(options.batch_bytes, 2 * len(rest))
        if separator is None or n_bytes != len(buffer):  # with one, documents have been copied out
            buffer = np.empty(n_bytes, np.uint8)
        buffer[: len(rest)] = rest
        size = len(rest) + _fill(path, file, memoryview(buffer)[len(rest) :], position + len(rest))
        is_last = size < len(buffer)
        if is_last:
            _refuse_shrunk(path, opened)
        batch, n_used = _cut(buffer[:size], separator, is_last)
        if batch.n_documents:
            yield batch, position
        if is_last:
            return
        # a view would keep the whole buffer alive
        rest, position = buffer[n_used:size].copy(), position + n_used


def _refuse_shrunk(path: pathlib.Path, opened: os.stat_result) -> None:
    """An end that came too early looks like any other, also of a compressed file of several parts."""
    try:
        now = path.stat()
    except OSError:  # it was removed: what is open is read to its end
        return
    if stat.S_ISREG(now.st_mode) and os.path.samestat(opened, now) and now.st_size < opened.st_size:
        raise ValueError(
            f"{path}: shrank from {opened.st_size} to {now.st_size} bytes while it was read, so the end of its text is "
            "lost; read it again when nothing writes to it"
        )


def _cut(data: Array, separator: bytes | None, is_last: bool) -> tuple[TextBatch, int]:
    """The documents that end in `data` (the last one may end without a mark), and how many bytes they took."""
    if separator is None:
        from gputok.kernels.cpu.text import line_ends

        ends = line_ends(data)
        n_used = int(ends[-1]) if len(ends) else 0
        if is_last and n_used < len(data):
            ends, n_used = np.append(ends, len(data)), len(data)
        return TextBatch(data[:n_used], np.concatenate([[0], ends])), n_used
    from gputok.kernels.cpu.ragged import gather
    from gputok.kernels.cpu.text import find_bytes

    at = find_bytes(data, np.frombuffer(separator, np.uint8))
    start, end = np.concatenate([[0], at + len(separator)]), np.append(at, len(data))
    rest = 0 if is_last and start[-1] < len(data) else 1  # whether the last piece may go on in the next read
    data, offsets = gather(data, start[: len(start) - rest], end[: len(end) - rest])
    return TextBatch(data, offsets), int(start[-1]) if rest else int(end[-1])


def _text(path: pathlib.Path, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    n_separator = len((options.separator or "").encode())
    for batch, position in _chunks(path, file, options):

        def place(byte: int, offsets=batch.offsets, position=position) -> str:
            n_separators = int(np.searchsorted(offsets, byte, "right")) - 1
            return f"{path}, byte {position + byte + n_separator * n_separators}"

        yield checked(batch, options.errors, place, lines=options.separator is None)


def _json_lines(path: pathlib.Path, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    from gputok.corpus.columns import text_batches

    column = options.column
    n_before = 0  # lines of earlier batches
    for lines, position in _chunks(path, file, options):
        lines = checked(
            lines, options.errors, lambda byte, start=position: f"{path}, byte {start + byte}", lines=True
        )
        if n_before == 0:
            column = _json_column(path, lines, column)
        if column is not None:
            array = _json_array(lines, column)
            if array is None:
                yield _json_rows(path, lines, column, n_before, options.errors)
            else:
                for chunk in array.chunks:
                    yield from text_batches(
                        chunk, options.errors, str(path), options.batch_bytes, trusted=True
                    )
            n_before += lines.n_documents


def _json_column(path: pathlib.Path, lines: TextBatch, column: str | None) -> str | None:
    """The column to read, looked for in the first rows; None where there is no row yet."""
    from gputok.corpus.columns import choose_column

    rows = (_json_row(path, i + 1, line) for i, line in enumerate(lines.strings()) if line.strip())
    first = next(rows, None)
    if first is None or column in first or (column is not None and any(column in row for row in rows)):
        return column
    of_strings = [name for name, value in first.items() if isinstance(value, str)]
    return choose_column(list(first), of_strings, column, str(path))


def _json_array(lines: TextBatch, column: str) -> Any | None:
    """One column as Arrow's parser reads it (pyarrow.ChunkedArray), or None where it finds a fault."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    longest = int(np.diff(lines.offsets).max())
    try:
        table = arrow_json.read_json(
            pa.BufferReader(pa.py_buffer(lines.data)),
            arrow_json.ReadOptions(block_size=max(1 << 20, longest + 1)),  # a row must lie within two blocks
            arrow_json.ParseOptions(pa.schema([(column, pa.string())]), unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    return table.column(column)


def _json_rows(path: pathlib.Path, lines: TextBatch, column: str, n_before: int, errors: Errors) -> TextBatch:
    """`_json_array` with Python's parser: knows the line of a fault, and takes some oddities that Arrow's does not."""
    numbers, texts = [], []
    for number, line in enumerate(lines.strings(), n_before + 1):
        if line.strip():
            value = _json_row(path, number, line).get(column)
            if not isinstance(value, str | None):
                raise ValueError(f"{path}, line {number}: {column!r} is {type(value).__name__}, not a string")
            numbers.append(number)
            texts.append(value or "")
    return packed(texts, lambda i: f"{path}, line {numbers[i]}", errors)


def _json_row(path: pathlib.Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: a JSON object is expected, this is {type(row).__name__}")
    return row


def _parquet(path: pathlib.Path, file: BinaryIO, compression: str, options: Options) -> Iterator[TextBatch]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    from gputok.corpus.columns import schema_column, text_batches

    if compression:  # Parquet is read from its end
        file = _unpacked(path, file, options.batch_bytes)
    try:
        # With a buffer, pages are read one after the other; without, a whole row group's column at once.
        parquet = pq.ParquetFile(file, buffer_size=1 << 20)
        column = schema_column(parquet.schema_arrow, options.column, str(path))
        rows = _rows_of(parquet.metadata, column, options.batch_bytes)
        where, n_before = f"{path}, column {column!r}", 0
        for table in parquet.iter_batches(rows, columns=[column]):
            array = table.column(0)
            yield from text_batches(array, options.errors, where, options.batch_bytes, n_before)
            n_before += len(array)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _unpacked(path: pathlib.Path, file: BinaryIO, batch_bytes: int) -> BinaryIO:
    """A compressed file written out to a temporary one."""
    buffer, n = memoryview(bytearray(batch_bytes)), 0
    whole = tempfile.TemporaryFile()
    while step := _fill(path, file, buffer, n):
        whole.write(buffer[:step])
        n += step
    return cast(BinaryIO, whole)


def _rows_of(metadata: Any, column: str, batch_bytes: int) -> int:
    """Rows that have about `batch_bytes` bytes of the column, judged by the first row groups (a FileMetaData)."""
    paths = [metadata.schema.column(i).path for i in range(len(metadata.schema))]
    groups = [metadata.row_group(i) for i in range(min(100, metadata.num_row_groups))]
    n_bytes = sum(group.column(paths.index(column)).total_uncompressed_size for group in groups)
    n_rows = sum(group.num_rows for group in groups)
    return max(1, min(_MOST_ROWS, n_rows * batch_bytes // max(1, n_bytes)))
