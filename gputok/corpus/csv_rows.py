"""Reads the documents of CSV files: the fields of one column. A quoted field may have several lines."""

from __future__ import annotations

import csv
import importlib.util
import io
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from gputok.checks import short, shortened
from gputok.corpus.document_kinds import refuse_binary
from gputok.corpus.options import Errors, Options, choose_column
from gputok.corpus.packing import checked_rows
from gputok.corpus.streams import fill
from gputok.files.file_systems import Stream
from gputok.files.locations import File
from gputok.text.pieces import LONGEST, TextBatch

_HEAD_BYTES = 1 << 20  # bytes at the start that must hold the names of the columns and the first row
_BLOCK_BYTES = 32 << 20  # bytes that are read at a time; Arrow refuses a longer row
_QUIET = 0.05  # seconds without a read after which PyArrow's thread that reads ahead counts as ended


def read_stream(file: File, stream: BinaryIO, options: Options) -> Iterator[TextBatch]:
    """Yields the fields of a column: of `column`, else "text", else the only one whose first field is not a number.

    PyArrow parses if it is installed and memory is not limited, else Python's module `csv`. Raises ValueError if rows
    have different numbers of fields.
    """
    where, whole = str(file), _Whole(file, stream)
    head = whole.begin()
    if not head.strip():
        return
    refuse_binary(where, head)
    try:
        names, first = _first_rows(head)
    except csv.Error as error:
        raise ValueError(f"{where}: not readable as CSV ({error})") from None
    of_strings = [name for name, field in zip(names, first, strict=False) if not _is_number(field)]
    column = choose_column(names, of_strings if first else names, options.column, where)
    # A limit on memory changes `longest`. Then Arrow is not used, since it reads 32 blocks ahead
    by_arrow = options.longest == LONGEST and importlib.util.find_spec("pyarrow")
    fields = _by_arrow if by_arrow else _by_python
    yield from fields(whole, column, where, f"{where}, column {short(column)}", options)


def _by_arrow(file: _Whole, column: str, where: str, shown: str, options: Options) -> Iterator[TextBatch]:
    """The fields of a column, read by PyArrow: the fast way."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    from gputok.corpus.columns import text_batches

    n_before = 0
    try:
        with arrow_csv.open_csv(
            pa.PythonFile(file, mode="r"),
            arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(include_columns=[column], column_types={column: pa.large_binary()}),
        ) as reader:
            for table in reader:
                array = table.column(0)
                yield from text_batches(array, options.errors, shown, options.batch_bytes, n_before)
                n_before += len(array)
    except BaseException as error:
        file.end()
        if not isinstance(error, pa.ArrowException):
            raise
        why = shortened(str(error).partition("\n")[0])
        raise ValueError(f"{where}: not readable as CSV ({why})") from None


def _by_python(file: _Whole, column: str, where: str, shown: str, options: Options) -> Iterator[TextBatch]:
    """The fields of a column, read by Python's module: the same batches of text, more slowly."""
    csv.field_size_limit(max(csv.field_size_limit(), _BLOCK_BYTES))
    text = io.TextIOWrapper(io.BufferedReader(file, _HEAD_BYTES), "utf-8-sig", "surrogateescape", newline="")
    rows = csv.reader(text)
    names = next(row for row in rows if row)
    index, fields, n_bytes, n_before = names.index(column), [], 0, 0
    try:
        for row in filter(None, rows):
            if len(row) != len(names):
                raise csv.Error(f"expected {len(names)} fields, got {len(row)}, in line {rows.line_num}")
            fields.append(row[index].encode("utf-8", "surrogateescape"))
            n_bytes += len(fields[-1])
            if n_bytes >= options.batch_bytes:
                yield _batch(fields, shown, options.errors, n_before)
                n_before, fields, n_bytes = n_before + len(fields), [], 0
    except csv.Error as error:
        raise ValueError(f"{where}: not readable as CSV ({error})") from None
    if fields:
        yield _batch(fields, shown, options.errors, n_before)


def _batch(fields: list[bytes], shown: str, errors: Errors, n_before: int) -> TextBatch:
    """Packs fields; `n_before`: rows before them, for errors."""
    offsets = np.cumsum([0, *map(len, fields)], dtype=np.int64)
    return checked_rows(TextBatch(np.frombuffer(b"".join(fields), np.uint8), offsets), errors, shown, n_before)


def _first_rows(head: bytes) -> tuple[list[str], list[str]]:
    """The names of the columns, and the fields of the first row; no fields if no row follows."""
    lines = csv.reader(io.StringIO(head.decode("utf-8-sig", "replace"), newline=""))
    found = [row for row, _ in zip((row for row in lines if row), range(2), strict=False)]
    return found[0], found[1] if len(found) > 1 else []


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


class _Whole(Stream):
    """All bytes of a stream, also those that `begin` has read; after `end`, the stream has no more bytes.

    PyArrow reads ahead in a thread of its own, which needs Python's lock (the GIL) for each read. When PyArrow's reader
    ends, it holds that lock and waits for the thread, so both would wait for ever; at the end of the process, Python
    aborts. So `_by_arrow` calls `end` if it stops before the end of the file.
    """

    def __init__(self, file: File, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._file, self._n_before = file, 0
        self._ended = self._reading = False
        self._last = 0.0

    def begin(self) -> bytes:
        """Reads the first bytes, which `read` gives once more."""
        head = bytes(self._filled(_HEAD_BYTES))
        self._head = io.BytesIO(head)
        return head

    def end(self) -> None:
        """Lets further reads find the end of the file, and waits until the thread that reads ahead has seen it."""
        self._ended, self._last = True, time.monotonic()
        while self._reading or time.monotonic() < self._last + _QUIET:
            time.sleep(_QUIET / 10)

    def read(self, size: int = -1) -> Any:
        self._reading = True
        try:
            return b"" if self._ended else self._head.read(size) or self._filled(size)
        finally:
            self._last, self._reading = time.monotonic(), False

    def _filled(self, n_bytes: int) -> memoryview:
        buffer = np.empty(n_bytes, np.uint8).data  # memory that is never touched costs nothing
        n = fill(self._file, self._inner, buffer, self._n_before)
        self._n_before += n
        return buffer[:n]
