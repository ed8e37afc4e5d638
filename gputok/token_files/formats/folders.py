"""Formats whose output is a folder with an `index.json`."""

from __future__ import annotations

import pathlib
from typing import Any, ClassVar

import numpy as np

from gputok.checks import Check, checked, needed
from gputok.files.json_text import read_object
from gputok.token_files.formats import base
from gputok.types import Array, Positions

SHARD_BYTES = 1 << 26
"""Bytes of a shard, the default of MDSWriter and of litdata."""


class FolderFormat(base.TokenFormat):
    """A folder of shards of about SHARD_BYTES, and an `index.json` that lists them."""

    index = "index.json"
    in_place = False
    most_ids, shard_tokens = 1 << 28, SHARD_BYTES // 4
    key: ClassVar[str]  # the key of `index.json` whose value lists the shards

    def dtype_of(self, vocab_size: int) -> np.dtype[Any]:
        """Returns int32, PyTorch's `torch.IntTensor`, which holds the ids of every vocabulary here."""
        return np.dtype(np.int32)

    def stem(self, output: str) -> str:
        return output

    def is_at(self, path: pathlib.Path) -> bool:
        index = path / self.index
        return path.is_dir() and index.is_file() and self.key in read_object(index)


def read_offsets(path: pathlib.Path, items: str) -> tuple[Array, Positions]:
    """Reads the begin of a shard: uint32 number of items n, uint32[n + 1] offset of each item and of the end.

    Returns the whole file, uint8[n_bytes], and the offsets, int64[n + 1], which rise and point to what follows them in
    the file. Raises ValueError if the file is damaged. items: what the format calls its items, for errors.
    """
    data = base.mapped(path, "u1")
    if len(data) < 8:
        raise ValueError(f"{path}: number of {items}: the file has only {len(data)} bytes")
    n = int(np.frombuffer(data, "<u4", 1)[0])
    first = 4 + 4 * (n + 1)
    if first > len(data):
        raise ValueError(f"{path}: number of {items}: {n:,}, too many for {len(data):,} bytes")
    offsets = np.frombuffer(data, "<u4", n + 1, 4)
    base.check_rising(offsets, path, "offsets")
    if offsets[0] < first or offsets[-1] != len(data):
        found = f"are from {offsets[0]:,} to {offsets[-1]:,}"
        raise ValueError(f"{path}: offsets: {found}, but the {items} can be at {first:,} to {len(data):,}")
    return data, offsets.astype(np.int64)


def check_size(n_bytes: int, name: str) -> None:
    """Raises ValueError if offsets in a file of this size don't fit in 32 bits."""
    if n_bytes >= 1 << 32:
        but = "but its offsets have 32 bits; choose fewer shard_tokens="
        raise ValueError(f"{name}: would have {n_bytes:,} bytes, {but}")


def field(value: Any, name: str, check: Check) -> Any:
    """Returns a field of a JSON object, checked; the error says which field, as those of `gputok.checks.checked`."""
    return checked(name, check, needed(value, name))
