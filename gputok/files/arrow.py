"""PyArrow, which the extra `arrow` brings, and what is said if a package is missing."""

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
    """Around imports of a package that not every installation has: if it is missing, the error has this message."""
    try:
        yield
    except ImportError:
        raise ImportError(message) from None


@contextlib.contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Around imports of PyArrow: if it is missing, the error says what (such as "reading Parquet") needs it.

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
    """Returns the exceptions that PyArrow raises for files that it can't read; the last is for names of columns."""
    import pyarrow as pa

    return pa.ArrowException, OSError, UnicodeDecodeError


def is_plain(kind: Any) -> bool:
    """Returns True if values of an Arrow type are stored as offsets of 32 or 64 bits and bytes, like packed texts."""
    import pyarrow as pa

    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def check_array(array: Any, where: str) -> None:
    """Raises ValueError if the buffers of an Arrow array don't hold what its type and its length say.

    Arrow and kernels would read other memory. Whether texts are UTF-8 is only looked at where Arrow's own check does
    so: in columns that are not plain texts, and in no struct, whose columns are checked when they are read. where: the
    name of the data.
    """
    import pyarrow as pa

    for part in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        try:
            part.validate(full=not is_plain(part.type) and not pa.types.is_struct(part.type))
        except pa.ArrowException as error:  # also of numbers beyond a dictionary
            raise ValueError(f"{where}: broken Arrow data: {error}") from None
        if is_plain(part.type):
            offsets = text_offsets(part)
            # Arrow has checked the last offset
            check_offsets(offsets, int(offsets[-1]), f"{where}: broken Arrow data")


def text_offsets(array: Any) -> npt.NDArray[np.int32 | np.int64]:
    """int32 or int64[n_rows + 1], as Arrow stores them: where each row of a plain array begins in its bytes."""
    import numpy as np
    import pyarrow as pa

    width = np.int64 if array.type in (pa.large_string(), pa.large_binary()) else np.int32
    ends = array.buffers()[1]
    if ends is None or not len(ends):  # as an array without rows may have it
        return np.zeros(1, width)
    return np.frombuffer(ends, width, len(array) + 1, array.offset * np.dtype(width).itemsize)


def check_offsets(offsets: Any, n_bytes: int, where: str) -> None:
    """Raises ValueError unless offsets, integers[n + 1], rise from 0 or more to at most `n_bytes`; where: of the data.

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
    """The Arrow array of numbers, without a copy. `pyarrow.array` imports pandas, which takes 50 MB and half a second.

    >>> import numpy as np
    >>> to_numpy(from_numpy(np.array([4, 2], np.uint16))[1:])
    array([2], dtype=uint16)
    """
    import numpy as np
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(numbers))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), buffers)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """The numbers of an Arrow array without nulls, without a copy; the array's own method imports pandas, too."""
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
    """The column of encoded documents: `ids`, large_list of this type of integers."""
    import pyarrow as pa

    return pa.schema([("ids", pa.large_list(pa.from_numpy_dtype(dtype)))])


def ids_batch(ids: PackedIds, rows: Positions, schema: Schema) -> RecordBatch:
    """Encoded documents as a batch with the schema `ids_schema`: document i is ids[rows[i]:rows[i + 1]]."""
    import pyarrow as pa

    values = from_numpy(ids[rows[0] : rows[-1]])
    lists = pa.LargeListArray.from_arrays(from_numpy(rows - rows[0]), values)
    return pa.record_batch([lists], schema=schema)
