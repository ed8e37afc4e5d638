"""Documents in columns: Arrow arrays and tables, and datasets, whose buffers are taken as they are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.corpus.column_names import choose_column
from gputok.corpus.packing import Errors, checked, cuts, packed
from gputok.files.arrow import needed_for
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.types import Array

with needed_for("reading Arrow data"):
    import pyarrow as pa
    import pyarrow.compute as pc

_ROWS = 1 << 13  # rows that are decoded at once where a column is not stored as plain strings


def read(source: Any, column: str | None, errors: Errors, batch_bytes: int) -> Iterator[TextBatch]:
    """Batches of an Arrow array, table or stream, or of a dataset; strings stored as such are not copied."""
    n_before = 0
    if _is_lazy_column(source):  # dataset["text"]
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
    """A string or binary array of any layout, in parts of about `batch_bytes`; null becomes an empty document.

    `where` and the number of rows before these name the place of an error; `trusted` arrays are known to be UTF-8.
    """
    for part in _parts(array, where, batch_bytes):
        if part.null_count:
            part = part.fill_null("" if part.type in (pa.string(), pa.large_string()) else b"")
        offsets = _offsets(part)
        start, stop = int(offsets[0]), int(offsets[-1])
        data = np.frombuffer(part.buffers()[2] or b"", np.uint8)[start:stop]
        batch = TextBatch(data, np.subtract(offsets, start, dtype=np.int64))

        def place(byte: int, offsets=batch.offsets, n_before=n_before) -> str:
            row = int(np.searchsorted(offsets, byte, "right")) - 1
            return f"{where}, row {n_before + row}, byte {byte - offsets[row]}"

        yield batch if trusted else checked(batch, errors, place)
        n_before += len(part)


def _parts(array: pa.Array, where: str, batch_bytes: int) -> Iterator[pa.Array]:
    """Slices that are stored as offsets and bytes, none empty; other layouts are decoded a few rows at a time."""
    if not _is_text(array.type):
        raise ValueError(f"{where} holds {array.type}, not strings")
    if len(array) and _is_plain(array.type):
        for first, last in itertools.pairwise(cuts(_offsets(array), batch_bytes)):
            yield array.slice(first, last - first)
    elif pa.types.is_dictionary(array.type):
        for start in range(0, len(array), _ROWS):
            yield from _parts(array.slice(start, _ROWS).dictionary_decode(), where, batch_bytes)
    else:
        for start in range(0, len(array), _ROWS):
            yield from _parts(array.slice(start, _ROWS).cast(pa.large_binary()), where, batch_bytes)


def _offsets(array: pa.Array) -> Array:
    """int32 or int64[n_rows + 1], as Arrow holds them: where each row of a plain array begins in its bytes."""
    width = np.int64 if array.type in (pa.large_string(), pa.large_binary()) else np.int32
    return np.frombuffer(array.buffers()[1], width)[array.offset : array.offset + len(array) + 1]


def schema_column(schema: pa.Schema, column: str | None, where: str) -> str:
    """`choose_column` among the columns of a table; the chosen one holds strings."""
    of_strings = [field.name for field in schema if _is_text(field.type)]
    column = choose_column(schema.names, of_strings, column, where)
    if column not in of_strings:
        kind = schema.field(schema.names.index(column)).type
        others = f"; {', '.join(of_strings)} would do, by column=" if of_strings else ""
        raise ValueError(f"{where}, column {column!r} holds {kind}, not strings{others}")
    return column


def total_bytes(source: Any, column: str | None) -> int | None:
    """The bytes of text in arrays that are there already, else None."""
    if isinstance(source, pa.RecordBatchReader) or _is_custom(source):
        return None
    if _is_dataset(source):
        if source._indices is not None:
            return None
        source = source.data.table
    elif not isinstance(source, pa.Array | pa.ChunkedArray | pa.Table | pa.RecordBatch):
        return None
    arrays = list(_arrays(source, column))
    if not all(_is_plain(array.type) for array in arrays):
        return None
    compute: Any = pc  # pyarrow makes its functions when it is imported
    return sum(compute.sum(compute.binary_length(array)).as_py() or 0 for array in arrays)


def _arrays(source: Any, column: str | None) -> Iterator[pa.Array]:
    """The arrays of the chosen column, in order."""
    if type(source).__module__.startswith("datasets."):
        yield from _dataset_arrays(source, column)
    elif isinstance(source, pa.Table | pa.RecordBatch):
        name = schema_column(source.schema, column, f"the {type(source).__name__}")
        yield from _arrays(source.column(name), None)
    elif isinstance(source, pa.RecordBatchReader):
        name = schema_column(source.schema, column, "the RecordBatchReader")
        yield from (batch.column(name) for batch in source)
    elif type(source).__module__ == "pyarrow._dataset":  # which is not imported where nobody has one
        name = schema_column(source.schema, column, f"the {type(source).__name__}")
        yield from (batch.column(name) for batch in source.to_batches(columns=[name], batch_size=_ROWS))
    elif isinstance(source, pa.ChunkedArray):
        for chunk in source.chunks:
            yield from _arrays(chunk, column)
    elif isinstance(source, pa.StructArray):
        yield from _arrays(pa.RecordBatch.from_struct_array(source), column)
    elif isinstance(source, pa.Array):
        yield source
    else:  # pandas, polars, ... hand their columns over in Arrow's C interface
        yield from _arrays(pa.chunked_array(source), column)


def _dataset_arrays(source: Any, column: str | None) -> Iterator[pa.Array]:
    """A dataset's own Arrow buffers, in the order that `select`, `shuffle` or `sort` gave it."""
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
    """A dataset whose rows pass through a function of the user's (`set_transform`): only Python can read it."""
    return _is_dataset(source) and source.format["type"] == "custom"


def _is_lazy_column(source: Any) -> bool:
    return type(source).__module__.startswith("datasets.") and hasattr(source, "column_name")


def _is_plain(kind: pa.DataType) -> bool:
    """Stored as 32- or 64-bit offsets and bytes: the layout of a TextBatch."""
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return _is_plain(kind) or pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
