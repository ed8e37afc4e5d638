"""PyArrow, which not every installation has: the extra `arrow` brings it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
