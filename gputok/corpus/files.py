"""Documents in files: plain text, JSON Lines, CSV and Parquet, each of them compressed or not.

A file is read in parts that know nothing of each other: a range of bytes of text or JSON Lines, some row groups of
Parquet, or, of what can only be read from its beginning (compressed files, CSV, pipes), the whole. A range has the documents
that begin in it: its reader looks for the first end of a document behind the byte before it, and goes on past its end
to the end of the last document that it has. So ranges may be cut anywhere, by whoever wants to: threads of one process
(`tasks` cuts a batch each), or `parts`, for a run that goes on after it was broken off, or for many machines.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import lzma
import os
import pathlib
import re
import stat
import tempfile
import threading
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from gputok.corpus.column_names import choose_column
from gputok.corpus.packing import Errors, checked, packed
from gputok.corpus.parts import Part, Place
from gputok.corpus.readers import Task
from gputok.files.arrow import needed_for
from gputok.files.locations import File, LocalFile, OpenFile, RemoteError
from gputok.text.pieces import RawLines, TextBatch

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable, Iterator

    from gputok.corpus.missing_rows import MissingRows
    from gputok.types import Array

_COMPRESSED = (".gz", ".xz", ".zst")
_MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}  # none of them begins UTF-8
_MOST_ROWS = 1 << 13  # of Parquet at once, however small they look: a value that repeats is stored once
_JSON = (".jsonl", ".json", ".ndjson")
_SMALL_BYTES = 1 << 20  # of smaller files a thread reads several, and no smaller ranges
_REMOTE_BYTES = 8 << 20  # that a network is asked for at once
_SLACK = 1 << 12  # bytes behind a range that are read with it: mostly its last document ends there


class Options(NamedTuple):
    """The options of a read; see `gputok.corpus.read`."""

    column: str | None
    separator: str | None
    errors: Errors
    batch_bytes: int
    missing: MissingRows
    # Memory to read text into, uint8[n]. With it, lines of large local files come as RawLines
    memory: Callable[[int], Array] | None = None


def parts(files: list[File], part_bytes: int, separator: str | None) -> Iterator[Part]:
    """The files in parts of about `part_bytes` bytes (of Parquet, of all its columns unpacked)."""
    for file in files:
        kind = _kind(file)
        if kind == (".parquet", ""):
            for first, last in _row_groups(_metadata(file), None, part_bytes):
                yield Part(str(file), first, last)
        elif _can_be_cut(file, separator):
            for start, stop in _ranges(0, file.size or 0, part_bytes):
                yield Part(str(file), start, stop)
        else:
            yield Part(str(file))


def total_bytes(files: Iterable[Place]) -> int | None:
    """Returns the bytes of text in files; None if that is not known before they are read."""
    n_bytes = 0
    for file, start, stop in files:
        size = file.size if _kind(file) == ("", "") and not isinstance(file, OpenFile) else None
        if size is None:
            return None
        n_bytes += (size if stop is None else min(stop, size)) - start
    return n_bytes


def tasks(files: Iterable[Place], options: Options) -> Iterator[Task]:
    """What several threads can read at a time: about a batch each, where a file can be cut.

    files: each with where its part starts and stops, as `Part` says. Small ones are read together; what they hold when
    they are unpacked nobody knows, so that they count as long.
    """
    small: list[Place] = []
    n_bytes = 0
    for place in files:
        file, start, stop = place
        size = file.size if start == 0 and stop is None else None
        if size is not None and size < _SMALL_BYTES and _kind(file)[0] != ".parquet":
            small.append(place)
            n_bytes += size
            if n_bytes >= _SMALL_BYTES:
                yield Task(functools.partial(_read_each, small, options), is_long=True)
                small, n_bytes = [], 0
            continue
        if small:
            yield Task(functools.partial(_read_each, small, options), is_long=True)
            small, n_bytes = [], 0
        yield from _tasks_of(place, options)
    if small:
        yield Task(functools.partial(_read_each, small, options), is_long=True)


def _read_each(files: list[Place], options: Options) -> Iterator[TextBatch | RawLines]:
    options = options._replace(memory=None)  # what is small is joined, which needs offsets
    for place in files:
        for task in _tasks_of(place, options):
            yield from task.read()


def _tasks_of(place: Place, options: Options) -> Iterator[Task]:
    file, start, stop = place
    kind, compression = _kind(file)
    if not kind and options.column is not None:
        raise ValueError(f"{file}: plain text has no column {options.column!r}; leave column= out")
    if kind and options.separator is not None:
        raise ValueError(
            f"{file}: separator= cuts plain text; the rows of a {kind} file are documents already"
        )
    if kind == ".parquet" and not compression and not isinstance(file, OpenFile):
        yield from _parquet_tasks(place, options)
    elif not _can_be_cut(file, options.separator):
        if start or stop is not None:
            raise ValueError(f"{file}: can only be read from its beginning to its end, not in parts")
        yield Task(functools.partial(_stream, file, kind, compression, options), is_long=True)
    else:
        file = file.held()
        size = file.size or 0
        ranges = list(_ranges(start, size if stop is None else min(stop, size), _range_bytes(file, options)))
        column = _JsonColumn(file, options) if kind else None
        for first, last in ranges:
            yield Task(functools.partial(_range, file, (first, last, size), options, column))


def _stream(file: File, kind: str, compression: str, options: Options) -> Iterator[TextBatch]:
    """The documents of what is read from its beginning to its end."""
    with _open(file, compression) as stream:
        if kind == ".parquet":
            yield from _parquet(file, stream, compression, options)
        else:
            read = {".csv": _csv, "": _text}.get(kind, _json_lines)
            yield from read(file, stream, options)


def _can_be_cut(file: File, separator: str | None) -> bool:
    """Whether ranges of a file can be read alone: what ends a document must mean so wherever reading begins.

    Where a separator can overlap with itself (as two newlines do), what comes before decides which of them count.
    """
    kind, compression = _kind(file)
    if compression or kind in (".parquet", ".csv") or isinstance(file, OpenFile) or not file.size:
        return False
    mark = (separator or "\n").encode()
    return not any(mark.startswith(mark[i:]) for i in range(1, len(mark)))


def _range_bytes(file: File, options: Options) -> int:
    n_bytes = max(options.batch_bytes, _REMOTE_BYTES if file.is_remote else _SMALL_BYTES)
    # Into given memory, all that is read of a range is to be at most a batch
    return n_bytes if options.memory is None else n_bytes - 2 * _SLACK


def _ranges(start: int, stop: int, n_bytes: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, n_bytes):
        yield first, min(first + n_bytes, stop)


def _range(
    file: File, place: tuple[int, int, int], options: Options, column: _JsonColumn | None
) -> Iterator[TextBatch | RawLines]:
    """The documents that begin in a range of a file of text or, with `column`, of JSON Lines."""
    separator = None if options.separator is None else options.separator.encode()
    is_raw = separator is None and column is None and isinstance(file, LocalFile)
    position, data = _whole_documents(file, *place, separator or b"\n", options.memory if is_raw else None)
    if len(data) == 0:
        return
    if is_raw and options.memory is not None:
        yield RawLines(data, functools.partial(_checked_lines, file, data, position, options))
        return
    batch, _, is_valid = _cut(data, separator, is_last=True, in_place=data.flags.writeable)
    if column is None:
        yield _text_batch(file, batch, position, options, is_valid)
    else:
        yield from _json_batches(
            file, batch, position, options, is_valid, column, _LinesBefore(file, position)
        )


def _checked_lines(file: File, data: Array, position: int, options: Options) -> TextBatch:
    batch, _, is_valid = _cut(data, None, is_last=True)
    return _text_batch(file, batch, position, options, is_valid)


def _whole_documents(
    file: File, start: int, stop: int, size: int, mark: bytes, memory: Callable[[int], Array] | None = None
) -> tuple[int, Array]:
    """The bytes of the documents that begin from `start` to before `stop`, and where in the file they begin.

    size: of the file; mark: what ends a document, which does not overlap with itself; memory: what a local file is read
    into.
    """
    first = max(0, start - len(mark))  # a document begins where a mark ends
    data = _exactly(file, first, min(stop + _SLACK, size), size, memory)
    search = _pattern(mark).search
    begin = 0
    if start > 0:
        found = search(data.data[: stop - first])
        if found is None or first + found.end() >= stop:
            return start, data[:0]
        begin = found.end()
    looked_at = max(begin, stop - first - len(mark))
    while stop < size:
        found = search(data.data, looked_at)
        if found is not None:
            return first + begin, data[begin : found.end()]
        if first + len(data) == size:
            break
        # The last document goes on: twice as much at a time, so that one much longer than a range takes linear time.
        looked_at = max(begin, len(data) - len(mark) + 1)
        more = _exactly(file, first + len(data), min(first + 2 * len(data), size), size)
        data = np.concatenate([data, more])
    return first + begin, data[begin:]


@functools.cache
def _pattern(mark: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(mark))


def _exactly(
    file: File, start: int, stop: int, size: int, memory: Callable[[int], Array] | None = None
) -> Array:
    if memory is not None and isinstance(file, LocalFile):
        data = file.read_into(memory(stop - start), start)
    else:
        data = file.read_range(start, stop - start)
    if len(data) < stop - start:
        raise _shrunk(file, size, min(start + len(data), file.size or 0))
    return data


def _kind(file: File) -> tuple[str, str]:
    """(".parquet", ".csv", a member of _JSON, or "" for plain text; a member of _COMPRESSED or "")."""
    name = file.name.lower()
    compression = next((ending for ending in _COMPRESSED if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    kinds = ".parquet", ".csv", *_JSON
    return next((ending for ending in kinds if name.endswith(ending)), ""), compression


def _open(file: File, compression: str) -> BinaryIO:
    stream = file.open()
    if isinstance(file, OpenFile):  # its name may be that of what it unpacks
        head = cast("io.BufferedReader", stream).peek(8)
        compression = next((ending for ending, magic in _MAGIC.items() if head.startswith(magic)), "")
    if compression == ".gz":
        return cast("BinaryIO", gzip.open(stream))
    if compression == ".xz":
        return cast("BinaryIO", lzma.open(stream))
    if compression == ".zst":
        with needed_for(f"{file}: unpacking .zst"):
            import pyarrow as pa  # unlike the package zstandard, its reader tells a truncated file from a whole one

        return pa.CompressedInputStream(stream, "zstd")
    return stream


def _fill(path: File, file: BinaryIO, buffer: memoryview, n_before: int) -> int:
    """Reads until `buffer` is full or the file ends; the number of bytes read."""
    n = 0
    try:
        while n < len(buffer) and (step := file.readinto(buffer[n:])):  # type: ignore[attr-defined]
            n += step
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, RemoteError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        if isinstance(error, EOFError) or "runcated" in str(error):
            raise ValueError(
                f"{path}: broken off in the middle of its compressed data, after {n_before + n} bytes of text; "
                f"copy or download it again"
            ) from None
        raise ValueError(f"{path}: not a valid {pathlib.PurePath(path.name).suffix} file ({error})") from None
    return n


def _chunks(path: File, file: BinaryIO, options: Options) -> Iterator[tuple[TextBatch, int, bool]]:
    """Whole documents, the position of each batch in the (uncompressed) file, and whether it is known to be UTF-8.

    Raises ValueError where the file shrinks meanwhile.
    """
    opened = path.path.stat() if isinstance(path, LocalFile) else None
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
        size = len(rest) + _fill(path, file, buffer.data[len(rest) :], position + len(rest))
        is_last = size < len(buffer)
        if is_last:
            _refuse_shrunk(path, opened)
        batch, n_used, is_valid = _cut(buffer[:size], separator, is_last)
        if batch.n_documents:
            yield batch, position, is_valid
        if is_last:
            return
        # a view would keep the whole buffer alive
        rest, position = buffer[n_used:size].copy(), position + n_used


def _refuse_shrunk(file: File, opened: os.stat_result | None) -> None:
    """An end that came too early looks like any other, also of a compressed file of several parts."""
    if opened is None or not isinstance(file, LocalFile):
        return
    try:
        now = file.path.stat()
    except OSError:  # it was removed: what is open is read to its end
        return
    if stat.S_ISREG(now.st_mode) and os.path.samestat(opened, now) and now.st_size < opened.st_size:
        raise _shrunk(file, opened.st_size, now.st_size)


def _shrunk(file: File, before: int, now: int) -> ValueError:
    return ValueError(
        f"{file}: shrank from {before} to {now} bytes while it was read, so the end of its text is lost; read it again "
        "when nothing writes to it"
    )


def _cut(
    data: Array, separator: bytes | None, is_last: bool, in_place: bool = False
) -> tuple[TextBatch, int, bool]:
    """Cuts documents from the start of `data`; is_last: the last document may end without a separator.

    in_place: nobody else needs `data`, so that documents move in it where separators are left out.
    Returns the documents, how many bytes they have, and whether these are known to be UTF-8.
    """
    if separator is None:
        from gputok.kernels.cpu.lines import lines

        offsets, is_valid = lines(data)
        n_used = int(offsets[-1])
        if is_last and n_used < len(data):
            offsets, n_used = np.append(offsets, len(data)), len(data)
        return TextBatch(data[:n_used], offsets), n_used, is_valid
    from gputok.kernels.cpu.rewrite import close_gaps, gather
    from gputok.kernels.cpu.text import find_bytes

    pack = close_gaps if in_place else gather

    at = find_bytes(data, np.frombuffer(separator, np.uint8))
    start, end = np.concatenate([[0], at + len(separator)]), np.append(at, len(data))
    rest = 0 if is_last and start[-1] < len(data) else 1  # whether the last piece may go on in the next read
    data, offsets = pack(data, start[: len(start) - rest], end[: len(end) - rest])
    return TextBatch(data, offsets), int(start[-1]) if rest else int(end[-1]), False


def _text(path: File, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    for batch, position, is_valid in _chunks(path, file, options):
        yield _text_batch(path, batch, position, options, is_valid)


def _text_batch(path: File, batch: TextBatch, position: int, options: Options, is_valid: bool) -> TextBatch:
    """Documents that were cut at `position`, checked."""
    if is_valid:
        return batch
    n_separator = len((options.separator or "").encode())

    def place(byte: int) -> str:
        n_separators = int(np.searchsorted(batch.offsets, byte, "right")) - 1
        return f"{path}, byte {position + byte + n_separator * n_separators}"

    return checked(batch, options.errors, place, lines=options.separator is None)


def _json_lines(path: File, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    column = _JsonColumn(None, options)
    n_before = 0  # lines of earlier batches
    for lines, position, is_valid in _chunks(path, file, options):
        yield from _json_batches(path, lines, position, options, is_valid, column, lambda n=n_before: n)
        n_before += lines.n_documents


def _json_batches(
    path: File,
    lines: TextBatch,
    position: int,
    options: Options,
    is_valid: bool,
    column_of: _JsonColumn,
    n_before: Callable[[], int],
) -> Iterator[TextBatch]:
    """The rows of some lines that were cut at `position`; `n_before()` is the number of lines before them."""
    lines = _json_checked(path, lines, position, options, is_valid)
    column = column_of(path, lines)
    if column is None:
        return
    array = _json_array(lines, column)
    if array is None:
        yield _json_rows(path, lines, column, n_before, options)
        return
    from gputok.corpus.columns import text_batches

    options.missing.add(str(path), column, array.null_count)
    for chunk in array.chunks:
        yield from text_batches(chunk, options.errors, str(path), options.batch_bytes, trusted=True)


def _json_checked(path: File, lines: TextBatch, position: int, options: Options, is_valid: bool) -> TextBatch:
    if is_valid:
        return lines
    return checked(lines, options.errors, lambda byte: f"{path}, byte {position + byte}", lines=True)


class _JsonColumn:
    """The column of a file to read: its first rows tell, whichever range of it is read first."""

    def __init__(self, file: File | None, options: Options) -> None:
        """file: None where its batches come in order, so that the first of them that has rows tells."""
        self._file, self._options = file, options
        self._column: str | None = None
        self._is_known = False
        self._lock = threading.Lock()

    def __call__(self, path: File, lines: TextBatch) -> str | None:
        """The column; None where there is no row yet. lines: those that are about to be read."""
        with self._lock:
            file = self._file
            if not self._is_known and file is None:
                self._look(path, lines, 0)
            elif not self._is_known and file is not None:
                n_before = 0
                with file.open() as stream:
                    for head, position, is_valid in _chunks(file, stream, self._options):
                        self._look(
                            path, _json_checked(path, head, position, self._options, is_valid), n_before
                        )
                        n_before += head.n_documents
                        if self._is_known:
                            break
                self._is_known = True
            return self._column

    def _look(self, path: File, lines: TextBatch, n_before: int) -> None:
        column = self._options.column
        rows = (
            _json_row(path, lambda i=i: n_before + i, line)
            for i, line in enumerate(lines.strings(), 1)
            if line.strip()
        )
        first = next(rows, None)
        if first is None:
            return
        self._is_known = True
        if column in first or (column is not None and any(column in row for row in rows)):
            self._column = column
            return
        of_strings = [name for name, value in first.items() if isinstance(value, str)]
        self._column = choose_column(list(first), of_strings, column, str(path))


class _LinesBefore:
    """How many lines of a file end before a position; counted when somebody asks, for an error."""

    def __init__(self, file: File, position: int) -> None:
        self._file, self._position = file, position

    def __call__(self) -> int:
        ranges = _ranges(0, self._position, _SMALL_BYTES)
        return sum(
            int(np.count_nonzero(self._file.read_range(start, stop - start) == 10)) for start, stop in ranges
        )


def _json_array(lines: TextBatch, column: str) -> Any | None:
    """One column as Arrow's parser reads it (pyarrow.ChunkedArray); None if it finds a fault, or isn't installed."""
    try:
        import pyarrow as pa
        from pyarrow import json as arrow_json
    except ModuleNotFoundError:
        return None  # Python's parser reads the same, more slowly
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


def _json_rows(
    path: File, lines: TextBatch, column: str, n_before: Callable[[], int], options: Options
) -> TextBatch:
    """`_json_array` with Python's parser: knows the line of a fault, and takes some oddities that Arrow's does not."""
    numbers, texts = [], []  # numbers: of lines in this batch, from 1
    n_missing = 0
    for number, line in enumerate(lines.strings(), 1):
        if line.strip():
            value = _json_row(path, lambda number=number: n_before() + number, line).get(column)
            if not isinstance(value, str | None):
                raise ValueError(
                    f"{path}, line {n_before() + number}: {column!r} is {type(value).__name__}, not a string"
                )
            numbers.append(number)
            texts.append(value or "")
            n_missing += value is None
    options.missing.add(str(path), column, n_missing)
    return packed(texts, lambda i: f"{path}, line {n_before() + numbers[i]}", options.errors)


def _csv(path: File, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    from gputok.corpus import csv_rows

    n_before = 0

    def read(n_bytes: int) -> bytes:
        nonlocal n_before
        buffer = bytearray(n_bytes)
        n = _fill(path, file, memoryview(buffer), n_before)
        n_before += n
        return bytes(buffer[:n])

    yield from csv_rows.rows(read, str(path), options.column, options.errors, options.batch_bytes)


def _json_row(path: File, number: Callable[[], int], line: str) -> dict[str, Any]:
    """The object of a line; `number()` is that of the line in its file."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number()}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number()}: a JSON object is expected, this is {type(row).__name__}")
    return row


def _parquet(path: File, file: BinaryIO, compression: str, options: Options) -> Iterator[TextBatch]:
    """All of a Parquet file that lies in another or was opened by somebody else."""
    seekable = path.open_for_arrow() if isinstance(path, OpenFile) else file
    if compression or not seekable.seekable():  # Parquet is read from its end
        seekable = _unpacked(path, file, options.batch_bytes)
    with _readable(path):
        metadata = _open_parquet(path, seekable).metadata
        groups = range(metadata.num_row_groups)
        yield from _row_group_batches(
            path, lambda: contextlib.nullcontext(seekable), metadata, groups, options
        )


def _parquet_tasks(place: Place, options: Options) -> Iterator[Task]:
    file, start, stop = place
    metadata = _metadata(file)
    column = _parquet_column(file, metadata, options)
    stop = metadata.num_row_groups if stop is None else min(stop, metadata.num_row_groups)
    for first, last in _row_groups(metadata, column, options.batch_bytes, start, stop):
        groups = range(first, last)
        read = functools.partial(_row_group_batches, file, file.open_for_arrow, metadata, groups, options)
        yield Task(read, is_long=True)


def _metadata(file: File) -> Any:
    """The pyarrow.parquet.FileMetaData of a file."""
    with _readable(file), file.open_for_arrow() as opened:
        return _open_parquet(file, opened).metadata


def _open_parquet(file: File, opened: Any, metadata: Any = None) -> Any:
    from pyarrow import parquet as pq

    # With a buffer, pages are read one after the other; without, a whole row group's column at once. A network answers
    # few large requests faster than many small ones.
    buffer_size = 0 if file.is_remote else 1 << 20
    return pq.ParquetFile(opened, metadata=metadata, buffer_size=buffer_size, pre_buffer=file.is_remote)


def _row_group_batches(
    file: File, open_file: Callable[[], Any], metadata: Any, groups: range, options: Options
) -> Iterator[TextBatch]:
    """The rows of some row groups, in order."""
    from gputok.corpus.columns import text_batches

    with _readable(file), open_file() as opened:
        parquet = _open_parquet(file, opened, metadata)
        column = _parquet_column(file, metadata, options)
        rows = _rows_of(metadata, column, options.batch_bytes)
        where = f"{file}, column {column!r}"
        n_before = sum(metadata.row_group(i).num_rows for i in range(groups.start))
        for table in parquet.iter_batches(rows, row_groups=groups, columns=[column], use_threads=False):
            array = table.column(0)
            options.missing.add(str(file), column, array.null_count)
            yield from text_batches(array, options.errors, where, options.batch_bytes, n_before)
            n_before += len(array)


def _parquet_column(file: File, metadata: Any, options: Options) -> str:
    from gputok.corpus.columns import schema_column

    return schema_column(metadata.schema.to_arrow_schema(), options.column, str(file))


def _row_groups(
    metadata: Any, column: str | None, n_bytes: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, int]]:
    """Row groups, from the first to behind the last, that have about so many bytes of a column, or of all."""
    end = metadata.num_row_groups if stop is None else stop
    at = _column_number(metadata, column)
    first, size = start, 0
    for i in range(start, end):
        group = metadata.row_group(i)
        size += group.total_byte_size if at is None else group.column(at).total_uncompressed_size
        if size >= n_bytes or i == end - 1:
            yield first, i + 1
            first, size = i + 1, 0


def _column_number(metadata: Any, column: str | None) -> int | None:
    if column is None:
        return None
    return next((i for i in range(len(metadata.schema)) if metadata.schema.column(i).path == column), None)


@contextlib.contextmanager
def _readable(file: File) -> Iterator[None]:
    """Errors of Parquet with the name of the file."""
    with needed_for(f"{file}: reading Parquet"):
        import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, RemoteError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        if file.is_remote and not isinstance(error, pa.ArrowInvalid):
            raise RemoteError(f"{file}: {str(error).splitlines()[0]}") from None
        raise ValueError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _unpacked(path: File, file: BinaryIO, batch_bytes: int) -> BinaryIO:
    """A compressed file written out to a temporary one."""
    buffer, n = memoryview(bytearray(batch_bytes)), 0
    whole = tempfile.TemporaryFile()
    while step := _fill(path, file, buffer, n):
        whole.write(buffer[:step])
        n += step
    return cast("BinaryIO", whole)


def _rows_of(metadata: Any, column: str, batch_bytes: int) -> int:
    """Rows that have about `batch_bytes` bytes of the column, judged by the first row groups (a FileMetaData)."""
    paths = [metadata.schema.column(i).path for i in range(len(metadata.schema))]
    groups = [metadata.row_group(i) for i in range(min(100, metadata.num_row_groups))]
    n_bytes = sum(group.column(paths.index(column)).total_uncompressed_size for group in groups)
    n_rows = sum(group.num_rows for group in groups)
    return max(1, min(_MOST_ROWS, n_rows * batch_bytes // max(1, n_bytes)))
