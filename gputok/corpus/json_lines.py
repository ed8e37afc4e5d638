"""Documents in JSON Lines: one field of the object of each line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from gputok.corpus.byte_ranges import ranges, whole_documents
from gputok.corpus.column_names import choose_column
from gputok.corpus.documents import checked_documents, split_documents
from gputok.corpus.packing import packed
from gputok.corpus.streams import document_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.corpus.options import Options
    from gputok.files.locations import File
    from gputok.text.pieces import TextBatch

_COUNTED_BYTES = 1 << 20  # of a file at a time, when its lines are counted


def read_range(
    file: File, start: int, stop: int, size: int, options: Options, column: JsonColumn
) -> Iterator[TextBatch]:
    """The rows that begin in a range of a file of `size` bytes."""
    position, data = whole_documents(file, start, stop, size, b"\n")
    if len(data) == 0:
        return
    lines, _, is_valid = split_documents(data, None, is_last=True)
    yield from _row_batches(file, lines, position, options, is_valid, column, _LinesBefore(file, position))


def read_stream(path: File, file: BinaryIO, options: Options) -> Iterator[TextBatch]:
    """The rows of a stream, in batches."""
    column = JsonColumn(None, options)
    n_before = 0  # lines of earlier batches
    for lines, position, is_valid in document_batches(path, file, options):
        yield from _row_batches(path, lines, position, options, is_valid, column, lambda n=n_before: n)
        n_before += lines.n_documents


def _row_batches(
    path: File,
    lines: TextBatch,
    position: int,
    options: Options,
    is_valid: bool,
    column_of: JsonColumn,
    n_before: Callable[[], int],
) -> Iterator[TextBatch]:
    """The rows of some lines that were cut at `position`; `n_before()` is the number of lines before them."""
    lines = checked_documents(path, lines, position, options, is_valid)
    column = column_of(path, lines)
    if column is None:
        return
    array = _arrow_column(lines, column)
    if array is None:
        yield _python_column(path, lines, column, n_before, options)
        return
    from gputok.corpus.columns import text_batches

    options.missing.add(str(path), column, array.null_count)
    for chunk in array.chunks:
        yield from text_batches(chunk, options.errors, str(path), options.batch_bytes, trusted=True)


class JsonColumn:
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
                    for head, position, is_valid in document_batches(file, stream, self._options):
                        self._look(
                            path, checked_documents(path, head, position, self._options, is_valid), n_before
                        )
                        n_before += head.n_documents
                        if self._is_known:
                            break
                self._is_known = True
            return self._column

    def _look(self, path: File, lines: TextBatch, n_before: int) -> None:
        column = self._options.column
        rows = (
            _row(path, lambda i=i: n_before + i, line)
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
        return sum(
            int(np.count_nonzero(self._file.read_range(start, stop - start) == 10))
            for start, stop in ranges(0, self._position, _COUNTED_BYTES)
        )


def _arrow_column(lines: TextBatch, column: str) -> Any | None:
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


def _python_column(
    path: File, lines: TextBatch, column: str, n_before: Callable[[], int], options: Options
) -> TextBatch:
    """`_json_array` with Python's parser: knows the line of a fault, and takes some oddities that Arrow's does not."""
    numbers, texts = [], []  # numbers: of lines in this batch, from 1
    n_missing = 0
    for number, line in enumerate(lines.strings(), 1):
        if line.strip():
            value = _row(path, lambda number=number: n_before() + number, line).get(column)
            if not isinstance(value, str | None):
                raise ValueError(
                    f"{path}, line {n_before() + number}: {column!r} is {type(value).__name__}, not a string"
                )
            numbers.append(number)
            texts.append(value or "")
            n_missing += value is None
    options.missing.add(str(path), column, n_missing)
    return packed(texts, lambda i: f"{path}, line {n_before() + numbers[i]}", options.errors)


def _row(path: File, number: Callable[[], int], line: str) -> dict[str, Any]:
    """The object of a line; `number()` is that of the line in its file."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number()}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number()}: a JSON object is expected, this is {type(row).__name__}")
    return row
