"""Plain arrays of ids: `.npy` for NumPy, `.bin` without a header, and nanoGPT's `.bin`.

The ids of all documents stand one after the other, little-endian. Document i has the ids rows[i]:rows[i + 1] of
`NAME.rows.npy`, int64[n_documents + 1]. nanoGPT (`data/openwebtext/prepare.py`) maps `.bin` files of uint16 and appends
the end token to each document; it doesn't look at the rows.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gputok.token_files.formats import base
from gputok.types import Array

_ROWS = ".rows.npy"


class WithRows(base.TokenFormat):
    """A format with `NAME.rows.npy` beside its file of ids."""

    def beside(self, name: str) -> tuple[str, ...]:
        return (name + _ROWS,)

    def write_beside(self, shard: base.Shard, folder: pathlib.Path) -> None:
        rows = np.ascontiguousarray(shard.rows, "<i8")
        base.write_file(folder / (shard.name + _ROWS), base.array_header(rows.dtype, len(rows)), rows)

    def documents(self, path: pathlib.Path, ids: Callable[[int], Array]) -> Iterable[base.OpenShard]:
        """Opens ids and rows; ids: called with the number of ids that the rows tell, returns the ids."""
        beside = path.with_name(path.name + _ROWS)
        rows = base.read_array(beside, ("int64",), "rows")
        found = ids(int(rows[-1]) if len(rows) else 0)
        yield base.Contiguous(found, base.checked_rows(rows, len(found), beside, "rows"))


class Npy(WithRows):
    """A `.npy` file for `numpy.load`."""

    name, suffix, begins = "npy", ".npy", (b"\x93NUMPY",)
    dtypes = ("uint16", "uint32", "int32", "int64", "uint64")

    def space(self, dtype: np.dtype[Any]) -> int:
        return len(base.array_header(dtype, 0))

    def header(self, shard: base.Shard) -> bytes:
        return base.array_header(shard.about.dtype, shard.n_ids)

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        return self.documents(path, lambda n_ids: base.read_array(path, self.dtypes, "ids"))


class Bin(WithRows):
    """A `.bin` file for `numpy.memmap` and `numpy.fromfile`."""

    name, suffix = "bin", ".bin"

    def is_at(self, path: pathlib.Path) -> bool:
        return path.suffix == self.suffix and path.with_name(path.name + _ROWS).exists()

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        return self.documents(path, lambda n_ids: base.ids_of_size(path, n_ids, f"{path}{_ROWS}: end of the rows"))


class NanoGPT(Bin):
    """The `.bin` file of nanoGPT, whose ids are always uint16."""

    name = "nanogpt"
    dtypes = ("uint16",)
    joins_documents = True

    def is_at(self, path: pathlib.Path) -> bool:
        return False  # `Bin` reads these files too
