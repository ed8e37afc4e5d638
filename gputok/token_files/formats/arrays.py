"""Plain arrays of ids: `.npy` for NumPy, `.bin` without a header, and nanoGPT's `.bin`.

The ids of all documents stand one after the other, little-endian. `NAME.rows.npy` beside them is int64[n_documents + 1]:
document i has the ids rows[i]:rows[i + 1]. nanoGPT (`data/openwebtext/prepare.py`) maps `.bin` files of uint16 and appends
the end token to each document; it doesn't look at the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.token_files.formats.base import (
    Contiguous,
    Name,
    Shard,
    TokenFormat,
    array_header,
    checked_rows,
    mapped,
    read_array,
    write_file,
)

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable

    from gputok.token_files.formats.base import OpenShard
    from gputok.types import Array

_ROWS = ".rows.npy"


class WithRows(TokenFormat):
    """A format with `NAME.rows.npy` beside its file of ids."""

    def beside(self, name: Name) -> tuple[Name, ...]:
        return (name + _ROWS,)

    def write_beside(self, shard: Shard, folder: pathlib.Path) -> None:
        rows = np.ascontiguousarray(shard.rows, "<i8")
        write_file(folder / (shard.name + _ROWS), array_header(rows.dtype, len(rows)), rows)

    def rows_of(self, path: pathlib.Path) -> Array:
        """Reads the rows."""
        rows = read_array(path.with_name(path.name + _ROWS), ("int64",), "rows")
        if len(rows) == 0:
            raise ValueError(f"{path}{_ROWS}: rows: expected a first value of 0, got nothing")
        return rows


class Npy(WithRows):
    """A `.npy` file for `numpy.load`."""

    name, suffix = "npy", ".npy"
    dtypes = ("uint16", "uint32", "int32", "int64", "uint64")

    def space(self, dtype: np.dtype[Any]) -> int:
        return len(array_header(dtype, 0))

    def header(self, shard: Shard) -> bytes:
        return array_header(shard.about.dtype, shard.n_ids)

    def is_at(self, path: pathlib.Path) -> bool:
        """Returns True for a `.npy` file with NumPy's header."""
        if path.suffix != self.suffix or not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(6) == b"\x93NUMPY"

    def open(self, path: pathlib.Path) -> Iterable[OpenShard]:
        rows = self.rows_of(path)
        ids = read_array(path, self.dtypes, "ids")
        yield Contiguous(ids, checked_rows(rows, len(ids), path.with_name(path.name + _ROWS), "rows"))


class Bin(WithRows):
    """A `.bin` file for `numpy.memmap` and `numpy.fromfile`."""

    name, suffix = "bin", ".bin"

    def is_at(self, path: pathlib.Path) -> bool:
        """Returns True for a `.bin` file with rows beside it."""
        return path.suffix == self.suffix and path.with_name(path.name + _ROWS).exists()

    def open(self, path: pathlib.Path) -> Iterable[OpenShard]:
        """Opens ids and rows; the number of ids in the rows tells how large an id is."""
        rows = self.rows_of(path)
        n_ids, size = int(rows[-1]), path.stat().st_size
        if size not in (2 * n_ids, 4 * n_ids):
            raise ValueError(
                f"{path.name}{_ROWS}: rows: end at {n_ids:,} ids, but {path} has {size:,} bytes, "
                "neither 2 nor 4 for each"
            )
        ids = mapped(path, "<u4" if n_ids and size == 4 * n_ids else "<u2")
        yield Contiguous(ids, checked_rows(rows, n_ids, path.with_name(path.name + _ROWS), "rows"))


class NanoGPT(Bin):
    """The `.bin` file of nanoGPT: uint16, also for a vocabulary of a few tokens."""

    name = "nanogpt"
    dtypes = ("uint16",)
    joins_documents = True

    def is_at(self, path: pathlib.Path) -> bool:
        """Returns False: `Bin` reads these files too."""
        return False
