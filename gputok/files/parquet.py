"""Opens Parquet files with PyArrow, and makes its errors name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gputok.checks import shortened
from gputok.files.arrow import broken, needed_for
from gputok.files.file_systems import RemoteError
from gputok.files.locations import File


@contextlib.contextmanager
def readable_parquet(
    file: File, wrong: str = "expected a Parquet file, got another or a damaged file", kind: str = "Parquet"
) -> Iterator[None]:
    """Wraps reading by PyArrow: its errors become a ValueError that names the file and says `wrong`.

    Raises RemoteError instead if the network failed; ImportError if PyArrow is missing, which names `kind` of files.
    """
    with needed_for(f"{file}: reading {kind}"):
        kinds = broken()
    try:
        yield
    except kinds as error:
        if isinstance(error, RemoteError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        why = shortened(str(error).partition("\n")[0])
        if file.is_remote and isinstance(error, OSError):
            raise RemoteError(f"{file}: {why}") from None
        raise ValueError(f"{file}: {wrong} ({why})") from None


def open_parquet(file: File, opened: Any, metadata: Any = None, **options: Any) -> Any:
    """Returns the pyarrow.parquet.ParquetFile of `file`, opened as `opened`; options: more arguments of ParquetFile."""
    from pyarrow import parquet

    # With a buffer, Arrow reads pages one after the other; without, the column of a whole row group at once. A network
    # answers few large requests faster than many small ones.
    buffer_size = 0 if file.is_remote else 1 << 20
    return parquet.ParquetFile(opened, metadata=metadata, buffer_size=buffer_size, pre_buffer=file.is_remote, **options)
