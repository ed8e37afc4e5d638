"""PyArrow, which not every installation has: the extra `arrow` brings it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from gputok.types import PackedIds, Positions

RecordBatch: TypeAlias = Any
"""A pyarrow.RecordBatch. PyArrow has no type annotations."""

Table: TypeAlias = Any
"""A pyarrow.Table."""

Schema: TypeAlias = Any
"""A pyarrow.Schema."""


@contextlib.contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Around imports of PyArrow: if it is missing, the error says what needs it and how to install it.

    Args:
        what: the start of the message, such as "reading Parquet".

    Raises:
        ImportError: if PyArrow is not installed.

    Example:
        >>> with needed_for("reading Parquet"):
        ...     raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        Traceback (most recent call last):
            ...
        ImportError: reading Parquet needs PyArrow: pip install 'gputok[arrow]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise ImportError(f"{what} needs PyArrow: pip install 'gputok[arrow]'") from None


def table_of(batches: Iterable[RecordBatch], schema: Schema) -> Table:
    """The table of some batches with this schema; no batch is copied."""
    import pyarrow as pa

    return pa.Table.from_batches(batches, schema)


def ids_schema(dtype: np.dtype[Any]) -> Schema:
    """The column of encoded documents: `ids`, large_list of this type of integers."""
    import pyarrow as pa

    return pa.schema([("ids", pa.large_list(pa.from_numpy_dtype(dtype)))])


def ids_batch(ids: PackedIds, rows: Positions, schema: Schema) -> RecordBatch:
    """Encoded documents as a batch with the schema `ids_schema`: document i is ids[rows[i]:rows[i + 1]]."""
    import pyarrow as pa

    lists = pa.LargeListArray.from_arrays(rows - rows[0], pa.array(ids[rows[0] : rows[-1]]))
    return pa.record_batch([lists], schema=schema)
