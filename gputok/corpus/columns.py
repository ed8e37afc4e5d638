"""Reads documents from the columns of Arrow arrays, tables and datasets, if possible without copying their buffers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gputok.checks import several, short, shortened
from gputok.corpus.options import Errors, choose_column
from gputok.corpus.packing import checked_rows, cuts, packed
from gputok.files.arrow import check_array, is_plain, needed_for, text_offsets
from gputok.text.pieces import TextBatch

with needed_for("reading Arrow data"):
    import pyarrow as pa
    import pyarrow.compute as pc

_ROWS = 1 << 13  # rows that are decoded together if a column is not stored as plain strings


def read(source: Any, column: str | None, errors: Errors, batch_bytes: int) -> Iterator[TextBatch]:
    """Reads an Arrow array, table or stream, a dataset, or what exports Arrow data; plain strings are not copied."""
    n_before = 0
    if type(source).__module__.startswith("datasets.") and hasattr(source, "column_name"):  # dataset["text"]
        source, column = source.source, source.column_name
    if _is_custom(source):
        column = choose_column(source.column_names, [], column, "the dataset")
        for rows in source.iter(1000):
            yield packed(rows[column], lambda i, n=n_before: f"the dataset, row {n + i}", errors)
            n_before += len(rows[column])
        return
    for array in _arrays(source, column):
        yield from text_batches(array, errors, f"the {type(source).__name__}", batch_bytes, n_before)
        n_before += len(array)


def text_batches(
    array: pa.Array, errors: Errors, where: str, batch_bytes: int, n_before: int = 0, *, trusted: bool = False
) -> Iterator[TextBatch]:
    """Cuts a string or binary array of any layout into batches; null becomes an empty document.

    where: the name of the file or table, for errors; n_before: rows before the array, for errors; trusted: the caller
    knows that the array is UTF-8.
    """
    for part in _parts(array, where, batch_bytes):
        if part.null_count:
            part = part.fill_null("" if part.type in (pa.string(), pa.large_string()) else b"")
        offsets = text_offsets(part)
        start, stop = int(offsets[0]), int(offsets[-1])
        data = np.frombuffer(part.buffers()[2] or b"", np.uint8)[start:stop]
        batch = TextBatch(data, np.subtract(offsets, start, dtype=np.int64))
        yield batch if trusted else checked_rows(batch, errors, where, n_before)
        n_before += len(part)


def _parts(array: pa.Array, where: str, batch_bytes: int) -> Iterator[pa.Array]:
    """Yields slices, none empty, as plain arrays (`is_plain`); other layouts are decoded, _ROWS rows at a time."""
    if not _is_text(array.type):
        raise ValueError(f"{where} holds {array.type}, not strings")
    check_array(array, where)
    if len(array) and is_plain(array.type):
        for first, last in itertools.pairwise(cuts(text_offsets(array), batch_bytes)):
            yield array.slice(first, last - first)
        return
    is_coded = pa.types.is_dictionary(array.type)
    for start in range(0, len(array), _ROWS):
        rows = array.slice(start, _ROWS)
        yield from _parts(rows.dictionary_decode() if is_coded else rows.cast(pa.large_binary()), where, batch_bytes)


def schema_column(schema: pa.Schema, column: str | None, where: str) -> str:
    """Chooses the column of a table, like `choose_column`; raises ValueError if it does not hold strings."""
    of_strings = [field.name for field in schema if _is_text(field.type)]
    column = choose_column(schema.names, of_strings, column, where)
    if column not in of_strings:
        kind = schema.field(schema.names.index(column)).type
        others = f"; {several(of_strings)} would do, by column=" if of_strings else ""
        raise ValueError(f"{where}, column {short(column)} holds {shortened(str(kind))}, not strings{others}")
    return column


def total_bytes(source: Any, column: str | None) -> int | None:
    """Returns the number of bytes of text in a column; None if the data is not all in memory, or not plain strings."""
    if isinstance(source, pa.RecordBatchReader) or _is_custom(source):
        return None
    if _is_dataset(source):
        if source._indices is not None:
            return None
        source = source.data.table
    elif not isinstance(source, pa.Array | pa.ChunkedArray | pa.Table | pa.RecordBatch):
        return None
    arrays = list(_arrays(source, column))
    if not all(is_plain(array.type) for array in arrays):
        return None
    for array in arrays:
        check_array(array, f"the {type(source).__name__}")
    compute: Any = pc  # pyarrow makes its functions at import, so type checkers do not see them
    return sum(compute.sum(compute.binary_length(array)).as_py() or 0 for array in arrays)


def _arrays(source: Any, column: str | None) -> Iterator[pa.Array]:
    if type(source).__module__.startswith("datasets."):
        yield from _dataset_arrays(source, column)
    elif isinstance(source, pa.Table | pa.RecordBatch):
        name = schema_column(source.schema, column, f"the {type(source).__name__}")
        yield from _arrays(source.column(name), None)
    elif isinstance(source, pa.RecordBatchReader):
        name = schema_column(source.schema, column, "the RecordBatchReader")
        yield from (batch.column(name) for batch in source)
    # The class is compared by its name, because `pyarrow.dataset` is imported only by programs that use it.
    elif type(source).__module__ == "pyarrow._dataset":
        name = schema_column(source.schema, column, f"the {type(source).__name__}")
        yield from (batch.column(name) for batch in source.to_batches(columns=[name], batch_size=_ROWS))
    elif isinstance(source, pa.ChunkedArray):
        for chunk in source.chunks:
            yield from _arrays(chunk, column)
    elif isinstance(source, pa.StructArray):
        check_array(source, "the StructArray")
        yield from _arrays(pa.RecordBatch.from_struct_array(source), column)
    elif isinstance(source, pa.Array):
        yield source
    else:  # pandas, polars and others export their columns by Arrow's C interface
        yield from _arrays(pa.chunked_array(source), column)


def _dataset_arrays(source: Any, column: str | None) -> Iterator[pa.Array]:
    """Yields the Arrow arrays of a dataset's column, with rows in the order that `select`, `shuffle` or `sort` made."""
    import datasets

    if isinstance(source, datasets.DatasetDict | datasets.IterableDatasetDict):
        raise ValueError(
            f"a {type(source).__name__} has the splits {', '.join(map(str, source))}: pass one of them, source[split]"
        )
    if isinstance(source, datasets.Dataset):
        name = schema_column(source.data.schema, column, "the dataset")
        if source._indices is None:
            yield from source.data.table.column(name).chunks
            return
        source = source.select_columns([name])
    for table in source.with_format("arrow").iter(1000):
        name = schema_column(table.schema, column, "the dataset")
        yield from table.column(name).chunks


def _is_dataset(source: Any) -> bool:
    return type(source).__module__ == "datasets.arrow_dataset" and hasattr(source, "_indices")


def _is_custom(source: Any) -> bool:
    """True for a dataset whose rows pass through the user's function (`set_transform`), which only Python can call."""
    return _is_dataset(source) and source.format["type"] == "custom"


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return is_plain(kind) or pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
