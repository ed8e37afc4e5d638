"""Reads the documents of JSON Lines: one field of the object of each line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from gputok.checks import short
from gputok.corpus.byte_ranges import ranges, whole_documents
from gputok.corpus.options import Options, choose_column
from gputok.corpus.packing import checked_documents, packed, split_documents
from gputok.corpus.streams import document_batches
from gputok.files.locations import File
from gputok.text.pieces import LONGEST, TextBatch, joined

_COUNTED_BYTES = 1 << 20  # bytes that are read at a time, to count the lines of a file


def read_range(file: File, start: int, stop: int, size: int, options: Options, column: JsonColumn) -> list[TextBatch]:
    """Returns the rows that begin in a range of a file: one batch or none; column: shared by all ranges of the file."""
    position, data = whole_documents(file, start, stop, size, b"\n", options)
    if len(data) == 0:
        return []

    def n_before() -> int:  # counted only when an error needs it
        each = (file.read_range(first, last - first) for first, last in ranges(0, position, _COUNTED_BYTES))
        return sum(int(np.count_nonzero(part == 10)) for part in each)

    lines, _, is_valid = split_documents(data, None, is_last=True, lender=options.starts_lender)
    block_bytes = min(len(data), 1 << 30)  # Arrow takes it as a number of 32 bits
    batches = [*_row_batches(file, lines, position, options, is_valid, column, n_before, block_bytes)]
    return [joined(batches)] if batches else []


def read_stream(file: File, stream: BinaryIO, options: Options) -> Iterator[TextBatch]:
    """Yields the rows of a stream in batches."""
    column = JsonColumn(None, options)
    n_before = 0  # lines of earlier batches
    for lines, position, is_valid in document_batches(file, stream, options):
        yield from _row_batches(file, lines, position, options, is_valid, column, lambda n=n_before: n)
        n_before += lines.n_documents


def _row_batches(
    file: File,
    lines: TextBatch,
    position: int,
    options: Options,
    is_valid: bool,
    column_of: JsonColumn,
    n_before: Callable[[], int],
    block_bytes: int = 1 << 20,
) -> Iterator[TextBatch]:
    """Yields the rows of lines from byte `position` of the file on, in batches.

    is_valid: the lines are known to be UTF-8; n_before(): the number of lines before them; block_bytes: the least size
    of a block of Arrow.
    """
    lines = checked_documents(file, lines, position, options, is_valid)
    column = column_of(file, lines)
    if column is None:
        return
    array = _arrow_column(lines, column, options.longest < LONGEST, block_bytes)
    if array is None:
        yield _python_column(file, lines, column, n_before, options)
        return
    from gputok.corpus.columns import text_batches

    options.missing.add(str(file), column, array.null_count)
    for chunk in array.chunks:
        yield from text_batches(chunk, options.errors, str(file), options.batch_bytes, trusted=True)


class JsonColumn:
    """Chooses the column to read from the first rows of the file, also if another range of the file is read first."""

    def __init__(self, file: File | None, options: Options) -> None:
        """file: None if its batches come in order, so that the first batch with rows decides."""
        self._file, self._options = file, options
        self._column: str | None = None
        self._is_known = False
        self._lock = threading.Lock()

    def __call__(self, file: File, lines: TextBatch) -> str | None:
        """Returns the column; None if no row has come yet. lines: the lines that the caller is about to read."""
        with self._lock:
            if not self._is_known and self._file is None:
                self._look(file, lines, 0)
            elif not self._is_known and self._file is not None:
                n_before, sizes = 0, self._options.sizes
                # The first row decides; but a column that the user names may be in any row that is looked at. How many
                # bytes are looked at must not depend on the number of threads
                size = sizes.batch if self._options.column is None else sizes.task
                with self._file.open() as stream:
                    for head, position, is_valid in document_batches(
                        self._file, stream, self._options._replace(batch_bytes=size)
                    ):
                        self._look(file, checked_documents(file, head, position, self._options, is_valid), n_before)
                        n_before += head.n_documents
                        if self._is_known:
                            break
                self._is_known = True
            return self._column

    def _look(self, file: File, lines: TextBatch, n_before: int) -> None:
        column = self._options.column
        rows = (_row(file, lambda i=i: n_before + i, line) for i, line in enumerate(lines.strings(), 1) if line.strip())
        first = next(rows, None)
        if first is None:
            return
        self._is_known = True
        if column in first or (column is not None and any(column in row for row in rows)):
            self._column = column
            return
        of_strings = [name for name, value in first.items() if isinstance(value, str)]
        self._column = choose_column(list(first), of_strings, column, str(file))


def _arrow_column(lines: TextBatch, column: str, is_limited: bool, block_bytes: int) -> Any | None:
    """One column, parsed by Arrow: a pyarrow.ChunkedArray; None if Arrow finds a fault, or is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import json as arrow_json
    except ModuleNotFoundError:
        return None  # Python's parser reads the same, more slowly
    longest = int(np.diff(lines.offsets).max())
    try:
        table = arrow_json.read_json(
            pa.BufferReader(pa.py_buffer(lines.data)),
            # Arrow needs each row within two blocks; and its threads only take time where all lines are one block
            arrow_json.ReadOptions(
                not is_limited and block_bytes < len(lines.data), block_size=max(block_bytes, longest + 1)
            ),
            arrow_json.ParseOptions(pa.schema([(column, pa.string())]), unexpected_field_behavior="ignore"),
            # If memory is limited, not Arrow's own pool: the pool would keep all that its threads have freed
            pa.system_memory_pool() if is_limited else None,
        )
    except pa.ArrowException:
        return None
    return table.column(column)


def _python_column(
    file: File, lines: TextBatch, column: str, n_before: Callable[[], int], options: Options
) -> TextBatch:
    """Like `_arrow_column`, but by Python's parser, which tells the line of a fault and accepts more than Arrow's."""
    numbers, texts = [], []  # numbers: the line of each text in this batch, from 1
    n_missing = 0
    for number, line in enumerate(lines.strings(), 1):
        if line.strip():
            value = _row(file, lambda number=number: n_before() + number, line).get(column)
            if not isinstance(value, str | None):
                raise ValueError(
                    f"{file}, line {n_before() + number}: {short(column)} is {type(value).__name__}, not a string"
                )
            numbers.append(number)
            texts.append(value or "")
            n_missing += value is None
    options.missing.add(str(file), column, n_missing)
    return packed(texts, lambda i: f"{file}, line {n_before() + numbers[i]}", options.errors)


def _row(file: File, number: Callable[[], int], line: str) -> dict[str, Any]:
    """The object of a line; `number()` returns the number of the line in its file, for errors."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}, line {number()}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{file}, line {number()}: a JSON object is expected, this is {type(row).__name__}")
    return row
