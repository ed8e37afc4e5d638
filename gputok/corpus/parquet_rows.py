"""Reads the documents of Parquet files: the rows of one column, some row groups at a time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from gputok.checks import short
from gputok.corpus.options import Options, Place
from gputok.corpus.packing import refuse_long
from gputok.corpus.readers import Task
from gputok.corpus.streams import unpacked
from gputok.files.locations import File, OpenFile
from gputok.files.parquet import open_parquet, readable_parquet
from gputok.text.pieces import LONGEST, TextBatch

# The most rows that are read together, even if they look small: a repeated value is stored only once
_MOST_ROWS = 1 << 13


def tasks(place: Place, options: Options) -> Iterator[Task]:
    """Cuts a Parquet file into tasks: row groups that together have about a batch of the column."""
    file, start, stop = place
    metadata = metadata_of(file)
    column = _column_of(file, metadata, options)
    stop = metadata.num_row_groups if stop is None else min(stop, metadata.num_row_groups)
    for first, last in row_groups(metadata, column, options.batch_bytes, start, stop):
        groups = range(first, last)
        read = functools.partial(_row_group_batches, file, file.open_for_arrow, metadata, groups, options)
        yield Task(read, is_long=True)


def read_stream(file: File, stream: BinaryIO, compression: str, options: Options) -> Iterator[TextBatch]:
    """Yields all rows of a Parquet file that is compressed as a whole, or is open already."""
    seekable = file.open_for_arrow() if isinstance(file, OpenFile) else stream
    with contextlib.ExitStack() as opened, readable_parquet(file):
        if compression or not seekable.seekable():  # reading Parquet begins at its end
            seekable = opened.enter_context(unpacked(file, stream, options.batch_bytes))
        metadata = open_parquet(file, seekable).metadata
        groups = range(metadata.num_row_groups)
        yield from _row_group_batches(file, lambda: contextlib.nullcontext(seekable), metadata, groups, options)


def metadata_of(file: File) -> Any:
    """Returns the pyarrow.parquet.FileMetaData of a file; raises ValueError if the file is damaged."""
    with readable_parquet(file), file.open_for_arrow() as opened:
        return open_parquet(file, opened).metadata


def row_groups(
    metadata: Any, column: str | None, n_bytes: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yields row groups as ranges first:last with about `n_bytes` unpacked bytes of a column (None: of all columns)."""
    end = metadata.num_row_groups if stop is None else stop
    at = next((i for i in range(len(metadata.schema)) if metadata.schema.column(i).path == column), None)
    first, size = start, 0
    for i in range(start, end):
        group = metadata.row_group(i)
        size += group.total_byte_size if at is None else group.column(at).total_uncompressed_size
        if size >= n_bytes or i == end - 1:
            yield first, i + 1
            first, size = i + 1, 0


def _row_group_batches(
    file: File, open_file: Callable[[], Any], metadata: Any, groups: range, options: Options
) -> Iterator[TextBatch]:
    """The rows of some row groups, in order."""
    from gputok.corpus.columns import text_batches

    with readable_parquet(file), open_file() as opened:
        parquet = open_parquet(file, opened, metadata)
        column = _column_of(file, metadata, options)
        rows = _rows_of(metadata, column, options.batch_bytes)
        where = f"{file}, column {short(column)}"
        n_before = sum(metadata.row_group(i).num_rows for i in range(groups.start))
        for table in parquet.iter_batches(rows, row_groups=groups, columns=[column], use_threads=False):
            array = table.column(0)
            options.missing.add(str(file), column, array.null_count)
            for batch in text_batches(array, options.errors, where, options.batch_bytes, n_before):
                yield refuse_long(batch, options.longest, lambda i, n=n_before: f"{where}, row {n + i}")
                n_before += batch.n_documents
            if options.longest < LONGEST:  # memory is limited, and Arrow would keep what this thread has freed
                import pyarrow as pa

                del table, array
                pa.default_memory_pool().release_unused()


def _column_of(file: File, metadata: Any, options: Options) -> str:
    from gputok.corpus.columns import schema_column

    with readable_parquet(file):
        schema = metadata.schema.to_arrow_schema()
    return schema_column(schema, options.column, str(file))


def _rows_of(metadata: Any, column: str, batch_bytes: int) -> int:
    """Returns how many rows have about `batch_bytes` bytes of the column, by the first 100 row groups on average."""
    paths = [metadata.schema.column(i).path for i in range(len(metadata.schema))]
    groups = [metadata.row_group(i) for i in range(min(100, metadata.num_row_groups))]
    n_bytes = sum(group.column(paths.index(column)).total_uncompressed_size for group in groups)
    n_rows = sum(group.num_rows for group in groups)
    return max(1, min(_MOST_ROWS, n_rows * batch_bytes // max(1, n_bytes)))
