"""MosaicML streaming: a folder of MDS shards (version 2) and `index.json`, for `streaming.StreamingDataset`.

A shard, all numbers little-endian:

| bytes        | content                                                           |
|--------------|-------------------------------------------------------------------|
| 4            | uint32 number of samples n                                        |
| 4 (n + 1)    | uint32 offset of each sample in the file, and of the end          |
| the JSON's   | an entry of `index.json`, without what only this shard has        |
| the rest     | samples                                                           |

Each sample is the column `tokens`. A document is `ndarray:int32`, of variable length: uint32 size of the column, a byte
(1 axis << 2 | log2 of the bytes of the length), the length, the ids. A block of `sequence_length` ids is
`ndarray:int32:2048`, the ids alone: documents are joined, then cut, and what is left at the end of the corpus is
dropped. The format can't store an array without values, so a document without ids is left out. Source:
`streaming/base/format/mds` of https://github.com/mosaicml/streaming.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gputok.checks import WrongValue, file_name, in_file, is_list, listed, needed, short
from gputok.files.atomic import created
from gputok.files.json_text import read_object
from gputok.token_files.batches import TokenBatch
from gputok.token_files.formats import base
from gputok.token_files.formats.folders import SHARD_BYTES, FolderFormat, check_size, field, read_offsets
from gputok.types import Array, Positions

_COLUMN = "tokens"
_IDS_AT_ONCE = 1 << 18  # about how many ids are made into samples at a time: few enough for a processor's cache


class Mds(FolderFormat):
    """A folder of shards."""

    name, suffix, key = "mds", ".mds", "shards"
    dtypes = ("uint16", "uint32", "int32", "int64")
    keeps_empty, takes_blocks = False, True

    def data_name(self, stem: str, number: int | None, shuffled: bool) -> str:
        return f"shard.{number or 0:05d}.mds"

    def write(self, shard: base.Shard, ids: Array, path: pathlib.Path) -> base.ShardFacts:
        from gputok.kernels.cpu.records import sample_offsets

        fixed = shard.about.sequence_length is not None
        offsets = sample_offsets(shard.rows, ids.itemsize, with_heads=not fixed)
        config = json.dumps(_config(shard.about), sort_keys=True).encode()
        offsets += 4 + 4 * len(offsets) + len(config)
        check_size(int(offsets[-1]), shard.name)
        with created(path) as file:
            base.write_all(file, np.array([len(offsets) - 1], "<u4"))
            base.write_all(file, offsets.astype("<u4"))
            base.write_all(file, config)
            if fixed:
                base.copy_bytes(shard.ids_path, int(shard.rows[-1]) * ids.itemsize, file)
            else:
                _write_samples(file, shard, ids.itemsize)
        return base.ShardFacts(shard.name, len(offsets) - 1, shard.n_ids, int(offsets[-1]))

    def index_of(self, shards: list[base.ShardFacts], about: base.About) -> bytes:
        common = {**_config(about), "zip_data": None}
        raw = [{"basename": shard.name, "bytes": shard.n_bytes, "hashes": {}} for shard in shards]
        entries = [
            {**common, "raw_data": data, "samples": shard.documents} for data, shard in zip(raw, shards, strict=True)
        ]
        return json.dumps({"shards": entries, "version": 2}, sort_keys=True).encode()

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        return [path / name for name in _entries(path / self.index)]

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens a shard; its configuration is that of its entry in `index.json`."""
        index = path.parent / self.index
        entry = _entries(index).get(path.name)
        if entry is None:
            raise ValueError(f"{index}: shards: none of them is called {short(path.name)}")
        dtype, length = _encoding(entry, index, path.name)
        data, offsets = read_offsets(path, "samples")
        n = len(offsets) - 1
        if length is not None:
            if n and (np.diff(offsets) != length * dtype.itemsize).any():
                raise ValueError(f"{path}: offsets: not all samples have {length} ids")
            ids = base.mapped(path, "u1", int(offsets[0])).view(dtype) if n else np.zeros(0, dtype)
            yield base.Contiguous(ids, np.arange(n + 1) * length)
        else:
            yield _spans(path, data, offsets, dtype)


class _Spans(NamedTuple):
    """Documents in a file that has other bytes between the ids of neighbouring documents."""

    data: Array  # uint8, the file
    start: Positions  # int64[n_documents], the first byte of the ids of each document
    rows: Positions  # int64[n_documents + 1], counted in ids, as if there were no other bytes between documents
    dtype: np.dtype[Any]  # of the ids

    @property
    def n_documents(self) -> int:
        return len(self.start)

    @property
    def n_ids(self) -> int:
        return int(self.rows[-1])

    def document(self, i: int) -> Array:
        """Returns the ids of a document, mapped from the file; the array may be unaligned in memory."""
        n = int(self.rows[i + 1] - self.rows[i])
        return np.frombuffer(self.data, self.dtype, n, int(self.start[i]))

    def batch(self, first: int, last: int) -> TokenBatch:
        rows, start = self.rows[first : last + 1], self.start[first:last]
        packed = base.gathered(self.data, start, start + np.diff(rows) * self.dtype.itemsize)
        return TokenBatch(packed.view(self.dtype), rows - rows[0])


def _write_samples(file: BinaryIO, shard: base.Shard, itemsize: int) -> None:
    """Writes samples of variable length. `check_size` refused shards from 2^32 bytes on, so lengths fit in 32 bits."""
    from gputok.kernels.cpu.records import mds_samples

    with open(shard.ids_path, "rb", buffering=0) as read:
        for first, last in base.batches(shard.rows, _IDS_AT_ONCE):
            rows = shard.rows[first : last + 1]
            ids = np.empty(int(rows[-1] - rows[0]) * itemsize, np.uint8)
            base.read_all(read, ids)
            base.write_all(file, mds_samples(rows, ids, itemsize))


def _spans(path: pathlib.Path, data: Array, offsets: Positions, dtype: np.dtype[Any]) -> _Spans:
    """Finds the ids in samples of variable length, and checks the bytes before the ids: size, axes, length."""
    n = len(offsets) - 1
    sizes = np.diff(offsets)
    _none_wrong(sizes < 6, path, "size of sample")
    at = offsets[:-1]
    head = data[at[:, None] + np.arange(6)] if n else np.zeros((0, 6), np.uint8)
    kinds = head[:, 4].astype(np.int64)
    _none_wrong((kinds < 4) | (kinds > 6), path, "axes of sample")
    heads = 5 + (1 << (kinds & 3))
    _none_wrong(sizes < heads, path, "size of sample")
    declared = head[:, :4].copy().view("<u4").ravel().astype(np.int64)
    _none_wrong(declared + 4 != sizes, path, "column size of sample")
    lengths = head[:, 5].astype(np.int64)
    for byte in (1, 2, 3):
        has = np.flatnonzero(byte < 1 << (kinds & 3))
        lengths[has] |= data[at[has] + 5 + byte].astype(np.int64) << 8 * byte
    _none_wrong(heads + lengths * dtype.itemsize != sizes, path, "length of sample")
    return _Spans(data, at + heads, np.append(0, np.cumsum(lengths)), dtype)


def _none_wrong(wrong: Array, path: pathlib.Path, field: str) -> None:
    if wrong.any():
        raise ValueError(f"{path}: {field} {int(wrong.argmax()):,}: does not fit the bytes of the sample")


def _config(about: base.About) -> dict[str, Any]:
    encoding, size = f"ndarray:{about.dtype.name}", None
    if about.sequence_length is not None:
        encoding, size = f"{encoding}:{about.sequence_length}", about.sequence_length * about.dtype.itemsize
    column = {"column_encodings": [encoding], "column_names": [_COLUMN], "column_sizes": [size]}
    return column | {"compression": None, "format": "mds", "hashes": [], "size_limit": SHARD_BYTES, "version": 2}


def _entries(index: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns the entries of the shards, by name."""
    content = read_object(index)
    with in_file(index):
        if content.get("version") != 2:
            raise WrongValue(f"expected 2, got {short(content.get('version'))}", "version")
        return dict(field(content, "shards", listed(_entry)))


def _entry(entry: Any) -> tuple[str, dict[str, Any]]:
    """Checks an entry of a shard; returns its name and the entry."""
    name = field(entry, "raw_data", lambda raw: field(raw, "basename", file_name))
    if needed(entry, "zip_data") is not None:
        raise WrongValue(f"{short(name)} is compressed; unpack the shards first", "zip_data")
    return name, entry


def _encoding(entry: dict[str, Any], index: pathlib.Path, name: str) -> tuple[np.dtype[Any], int | None]:
    """Returns the dtype of the ids, and how many ids each sample has if all have the same number."""
    names, encodings = entry.get("column_names"), entry.get("column_encodings")
    is_one = names == [_COLUMN] and is_list(encodings) and len(encodings) == 1
    encoding = str(encodings[0]) if is_one and encodings else ""
    found = re.fullmatch(r"ndarray:([a-z0-9]+)(?::([1-9][0-9]{0,9}))?", encoding)
    if found is None or found[1] not in Mds.dtypes:
        wanted = f"a column {_COLUMN!r} of ndarray:INTEGERS or ndarray:INTEGERS:LENGTH"
        got = f"{short(names)} and {short(encodings)}"
        raise ValueError(f"{index}: column_encodings of {short(name)}: expected {wanted}, got {got}")
    return np.dtype(found[1]), int(found[2]) if found[2] else None
