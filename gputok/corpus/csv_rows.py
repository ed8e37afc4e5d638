"""Reads the documents of CSV files: the fields of one column. A quoted field may have several lines."""

from __future__ import annotations

import csv
import importlib.util
import io
import time
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from gputok.checks import short, shortened
from gputok.corpus.document_kinds import refuse_binary
from gputok.corpus.options import choose_column
from gputok.corpus.packing import checked
from gputok.corpus.streams import fill
from gputok.text.pieces import LONGEST, TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.corpus.options import Errors, Options
    from gputok.files.locations import File

_HEAD_BYTES = 1 << 20  # the names of the columns and the first row must lie in so many bytes
_BLOCK_BYTES = 32 << 20  # bytes that are read at a time; Arrow refuses a longer row
_QUIET = 0.05  # seconds without a read after which the thread that reads ahead has ended


def read_stream(file: File, stream: BinaryIO, options: Options) -> Iterator[TextBatch]:
    """Yields the rows of a stream in batches; raises ValueError as `rows` does, or if the file is damaged."""
    n_before = 0

    def read(n_bytes: int) -> memoryview:
        nonlocal n_before
        buffer = np.empty(n_bytes, np.uint8).data  # memory that is never touched costs nothing
        n = fill(file, stream, buffer, n_before)
        n_before += n
        return buffer[:n]

    by_arrow = options.longest == LONGEST  # else memory is limited, and Arrow reads 32 blocks ahead
    yield from rows(read, str(file), options.column, options.errors, options.batch_bytes, by_arrow)


def rows(
    read: Callable[[int], bytes | memoryview],
    where: str,
    column: str | None,
    errors: Errors,
    batch_bytes: int,
    by_arrow: bool = True,
) -> Iterator[TextBatch]:
    """Yields the fields of a column as documents.

    read: takes a number of bytes and returns the next bytes of the file; fewer only at its end. column: None: `text`,
    or the only column whose first field is not a number. by_arrow: PyArrow reads, if it is installed; else Python's
    module, in little memory. Raises ValueError if the file is of another kind, no such column exists, or a row has more
    or fewer fields than the first line.
    """
    head = bytes(read(_HEAD_BYTES))
    if not head.strip():
        return
    refuse_binary(where, head)
    try:
        names, first = _first_rows(head)
    except csv.Error as error:
        raise ValueError(f"{where}: not readable as CSV ({error})") from None
    of_strings = [name for name, field in zip(names, first, strict=False) if not _is_number(field)]
    column = choose_column(names, of_strings if first else names, column, where)
    shown = f"{where}, column {short(column)}"
    fields = _by_arrow if by_arrow and importlib.util.find_spec("pyarrow") else _by_python
    yield from fields(_HeadFirst(head, read), column, where, shown, errors, batch_bytes)


def _by_arrow(
    file: _HeadFirst, column: str, where: str, shown: str, errors: Errors, batch_bytes: int
) -> Iterator[TextBatch]:
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
                yield from text_batches(array, errors, shown, batch_bytes, n_before)
                n_before += len(array)
    except BaseException as error:
        file.end()
        if not isinstance(error, pa.ArrowException):
            raise
        why = shortened(str(error).splitlines()[0])
        raise ValueError(f"{where}: not readable as CSV ({why})") from None


def _by_python(
    file: _HeadFirst, column: str, where: str, shown: str, errors: Errors, batch_bytes: int
) -> Iterator[TextBatch]:
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
            if n_bytes >= batch_bytes:
                yield _batch(fields, shown, errors, n_before)
                n_before, fields, n_bytes = n_before + len(fields), [], 0
    except csv.Error as error:
        raise ValueError(f"{where}: not readable as CSV ({error})") from None
    if fields:
        yield _batch(fields, shown, errors, n_before)


def _batch(fields: list[bytes], shown: str, errors: Errors, n_before: int) -> TextBatch:
    """Packs fields; `n_before`: rows before them, for errors."""
    offsets = np.cumsum([0, *map(len, fields)], dtype=np.int64)

    def location(byte: int) -> str:
        row = int(np.searchsorted(offsets, byte, "right")) - 1
        return f"{shown}, row {n_before + row}, byte {byte - offsets[row]}"

    return checked(TextBatch(np.frombuffer(b"".join(fields), np.uint8), offsets), errors, location)


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


class _HeadFirst(io.RawIOBase):
    """A file whose first bytes, `head`, have been read already; it gives them once more.

    PyArrow reads ahead in a thread of its own, which needs Python's lock for each read. If that thread runs when the
    reader is removed, which waits for the thread and keeps the lock, both wait for ever; if it runs at the end of the
    process, Python aborts. So `end` is called before.
    """

    def __init__(self, head: bytes, read: Callable[[int], bytes | memoryview]) -> None:
        self._head, self._read = head, read
        self._ended = self._reading = False
        self._last = 0.0

    def end(self) -> None:
        """Ends the file here, for a thread that reads ahead, and waits until that thread has seen it."""
        self._ended, self._last = True, time.monotonic()
        while self._reading or time.monotonic() < self._last + _QUIET:
            time.sleep(_QUIET / 10)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> Any:
        self._reading = True
        try:
            if self._ended:
                return b""
            data, self._head = self._head[:size], self._head[size:]
            return data or self._read(size)
        finally:
            self._last, self._reading = time.monotonic(), False
