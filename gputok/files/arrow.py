"""Helpers for PyArrow, which is optional (`gputok[arrow]`): checks, conversions, and errors if a package is missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

    from gputok.types import PackedIds, Positions

RecordBatch: TypeAlias = Any
"""A pyarrow.RecordBatch. PyArrow has no type annotations."""

Table: TypeAlias = Any
"""A pyarrow.Table."""

Schema: TypeAlias = Any
"""A pyarrow.Schema."""


@contextlib.contextmanager
def needing(message: str) -> Iterator[None]:
    """Wraps the import of an optional package: if the package is missing, the ImportError has this message."""
    try:
        yield
    except ImportError:
        raise ImportError(message) from None


@contextlib.contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Wraps the import of PyArrow: if PyArrow is missing, the error says what needs it, such as "reading Parquet".

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


def broken() -> tuple[type[Exception], ...]:
    """Returns PyArrow's exceptions for files that it can't read; UnicodeDecodeError is for names of columns."""
    import pyarrow as pa

    return pa.ArrowException, OSError, UnicodeDecodeError


def is_plain(kind: Any) -> bool:
    """Returns True if an Arrow type stores packed bytes and offsets of 32 or 64 bits: (large) string and binary."""
    import pyarrow as pa

    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def check_array(array: Any, where: str) -> None:
    """Raises ValueError if the buffers of an Arrow array don't hold what its type and its length say.

    With such buffers, Arrow and kernels would read memory that is not the array's. UTF-8 is not checked in plain texts
    (`is_plain`), which readers check themselves, nor in structs, whose columns are checked when they are read; in all
    other arrays, Arrow's full validation checks it. where: the name of the data, for errors.
    """
    import pyarrow as pa

    for part in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        try:
            part.validate(full=not is_plain(part.type) and not pa.types.is_struct(part.type))
        except pa.ArrowException as error:  # also if a dictionary array has an index beyond its dictionary
            raise ValueError(f"{where}: broken Arrow data: {error}") from None
        if is_plain(part.type):
            offsets = text_offsets(part)
            # Arrow has checked the last offset
            check_offsets(offsets, int(offsets[-1]), f"{where}: broken Arrow data")


def text_offsets(array: Any) -> npt.NDArray[np.int32 | np.int64]:
    """Returns where each row of a plain array (`is_plain`) begins in its bytes: int32 or int64[n_rows + 1]."""
    import numpy as np
    import pyarrow as pa

    width = np.int64 if array.type in (pa.large_string(), pa.large_binary()) else np.int32
    ends = array.buffers()[1]
    if ends is None or not len(ends):  # Arrow allows this in an array without rows
        return np.zeros(1, width)
    return np.frombuffer(ends, width, len(array) + 1, array.offset * np.dtype(width).itemsize)


def check_offsets(offsets: Any, n_bytes: int, where: str) -> None:
    """Raises ValueError if offsets, integers[n + 1], fall or leave the range 0 to `n_bytes`; where: name of the data.

    >>> import numpy as np
    >>> check_offsets(np.array([0, 4, 2]), 10, "the table")
    Traceback (most recent call last):
    ValueError: the table: row 1 begins at byte 4 and ends at byte 2; there are 10 bytes
    """
    import numpy as np

    is_wrong = offsets[1:] < offsets[:-1]
    if offsets[0] >= 0 and offsets[-1] <= n_bytes and not is_wrong.any():
        return
    is_wrong |= (offsets[:-1] < 0) | (offsets[1:] > n_bytes)
    row = int(np.argmax(is_wrong))
    first, *_, last = offsets[row : row + 2].tolist()
    raise ValueError(f"{where}: row {row} begins at byte {first} and ends at byte {last}; there are {n_bytes} bytes")


def from_numpy(numbers: npt.NDArray[Any]) -> Any:
    """Returns numbers as an Arrow array without a copy; `pyarrow.array` would import pandas: 50 MB, half a second.

    >>> import numpy as np
    >>> to_numpy(from_numpy(np.array([4, 2], np.uint16))[1:])
    array([2], dtype=uint16)
    """
    import numpy as np
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(numbers))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), buffers)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Returns the numbers of an Arrow array without nulls, not copied; the array's own method would import pandas."""
    import numpy as np

    dtype, values = np.dtype(array.type.to_pandas_dtype()), array.buffers()[1]
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(values, dtype, len(array), array.offset * dtype.itemsize)


def table_of(batches: Iterable[RecordBatch], schema: Schema) -> Table:
    """The table of some batches with this schema; no batch is copied."""
    import pyarrow as pa

    return pa.Table.from_batches(batches, schema)


def ids_schema(dtype: np.dtype[Any]) -> Schema:
    """Returns the schema of encoded documents: one column `ids`, a large_list of integers of this dtype."""
    import pyarrow as pa

    return pa.schema([("ids", pa.large_list(pa.from_numpy_dtype(dtype)))])


def ids_batch(ids: PackedIds, rows: Positions, schema: Schema) -> RecordBatch:
    """Encoded documents as a batch with the schema `ids_schema`: document i is ids[rows[i]:rows[i + 1]]."""
    import pyarrow as pa

    values = from_numpy(ids[rows[0] : rows[-1]])
    lists = pa.LargeListArray.from_arrays(from_numpy(rows - rows[0]), values)
    return pa.record_batch([lists], schema=schema)
