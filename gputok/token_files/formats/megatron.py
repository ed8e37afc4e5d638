"""Megatron-LM, NeMo and GPT-NeoX: `PREFIX.bin` and `PREFIX.idx`, as `IndexedDataset` of megatron-core reads them.

`.bin` has the ids of all documents, one after the other. `.idx`, all numbers little-endian:

| bytes | content                                                                                 |
|-------|-----------------------------------------------------------------------------------------|
| 9     | `MMIDIDX`, two zero bytes                                                               |
| 8     | uint64 version: 1                                                                       |
| 1     | uint8 type of the ids: 4 int32, 8 uint16, and others                                    |
| 8     | uint64 number of sequences S                                                            |
| 8     | uint64 length of the document index D                                                   |
| 4 S   | int32 ids of each sequence                                                              |
| 8 S   | int64 byte offset of each sequence in `.bin`                                            |
| 8 D   | int64 document index: 0, then the number of sequences up to the end of each document    |

A document is one sequence. As in Megatron's `tools/preprocess_data.py`, a document without ids has no sequence and no
end token, and ids are uint16 if the vocabulary is below 65,500, else int32. Source:
`megatron/core/datasets/indexed_dataset.py` of https://github.com/NVIDIA/Megatron-LM.
"""

from __future__ import annotations

import itertools
import pathlib
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from gputok.token_files.formats import base
from gputok.types import Array, Positions

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_CODES = {1: "|u1", 2: "|i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}  # 6 and 7 are floating-point numbers
_MOST_IN_SEQUENCE = (1 << 31) - 1


class Megatron(base.TokenFormat):
    """`PREFIX.bin` and `PREFIX.idx`."""

    name, suffix = "megatron", ".bin"
    by_prefix = joins_documents = True
    dtypes = ("uint16", "int32")
    ends_empty = False

    def dtype_of(self, vocab_size: int) -> np.dtype[Any]:
        """Returns uint16 for a vocabulary below 65,500, else int32, as Megatron does."""
        return np.dtype(np.uint16 if vocab_size < 65_500 else np.int32)

    def stem(self, output: str) -> str:
        return output.removesuffix(".bin").removesuffix(".idx")

    def beside(self, name: str) -> tuple[str, ...]:
        return (name.removesuffix(".bin") + ".idx",)

    def check_rows(self, rows: Positions, first_document: int, path: str) -> None:
        if rows[-1] - rows[0] <= _MOST_IN_SEQUENCE:
            return
        lengths = np.diff(rows)
        i = int(lengths.argmax())
        if lengths[i] > _MOST_IN_SEQUENCE:
            stored = f"format='megatron' stores at most {_MOST_IN_SEQUENCE:,} in a document: cut it"
            raise ValueError(f"{path}: document {first_document + i:,} has {int(lengths[i]):,} ids; {stored}")

    def write_beside(self, shard: base.Shard, folder: pathlib.Path) -> None:
        dtype = shard.about.dtype
        code = next(code for code, name in _CODES.items() if np.dtype(name) == dtype)
        lengths = np.diff(shard.rows)
        kept = lengths > 0
        documents = np.append(0, np.cumsum(kept))
        base.write_file(
            folder / self.beside(shard.name)[0],
            _HEADER.pack(_MAGIC, 1, code, int(documents[-1]), len(documents)),
            lengths[kept].astype("<i4"),
            (shard.rows[:-1][kept] * dtype.itemsize).astype("<i8"),
            documents.astype("<i8", copy=False),
        )

    def is_at(self, path: pathlib.Path) -> bool:
        return self._index(path).is_file() and not path.is_dir()

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        return [path.with_name(self.stem(path.name) + ".bin")]

    def _index(self, path: pathlib.Path) -> pathlib.Path:
        return path.with_name(self.stem(path.name) + ".idx")

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        index = self._index(path)
        data = base.mapped(index, "u1")
        if len(data) < _HEADER.size:
            raise ValueError(f"{index}: header: expected {_HEADER.size} bytes, got {len(data)}")
        magic, version, code, n_sequences, n_documents = _HEADER.unpack(data[: _HEADER.size].tobytes())
        for field, found, right in (("magic", magic, _MAGIC), ("version", version, 1)):
            if found != right:
                raise ValueError(f"{index}: {field}: expected {right!r}, got {found!r}")
        if code not in _CODES:
            raise ValueError(f"{index}: type: expected one of {[*_CODES]} (integers), got {code}")
        modes = _HEADER.size + 12 * n_sequences + 8 * n_documents
        if len(data) not in (modes, modes + n_sequences):  # corpora with images have one more byte for each sequence
            need = f"{n_sequences:,} and {n_documents:,} need {modes:,} bytes, but the file has {len(data):,}"
            raise ValueError(f"{index}: number of sequences, length of the document index: {need}")
        counts = n_sequences, n_sequences, n_documents
        at = itertools.accumulate((4 * n_sequences, 8 * n_sequences), initial=_HEADER.size)
        each = zip(("<i4", "<i8", "<i8"), counts, at, strict=True)
        lengths, pointers, documents = (np.frombuffer(data, dtype, n, start) for dtype, n, start in each)
        ids = base.mapped(path, _CODES[code])
        _check_sequences(index, lengths, pointers, ids)
        base.checked_rows(documents, n_sequences, index, "document index")
        ends = np.append(pointers // ids.dtype.itemsize, len(ids))
        yield base.Contiguous(ids, ends[documents])


def _check_sequences(index: pathlib.Path, lengths: Array, pointers: Array, ids: Array) -> None:
    """Raises ValueError unless the sequences lie in `ids` one after the other and cover all of `ids`."""
    n_before, size = 0, ids.dtype.itemsize
    for first in range(0, len(lengths), base.IDS_AT_ONCE):
        part = lengths[first : first + base.IDS_AT_ONCE].astype(np.int64)
        if part.min() < 0:
            i = first + int(part.argmin())
            raise ValueError(f"{index}: length of sequence {i}: {lengths[i]} is negative")
        ends = n_before + np.cumsum(part)
        wrong = np.flatnonzero(pointers[first : first + base.IDS_AT_ONCE] != size * (ends - part))
        if len(wrong):
            i, right = first + int(wrong[0]), size * int((ends - part)[wrong[0]])
            raise ValueError(f"{index}: offset of sequence {i}: expected {right:,}, got {pointers[i]:,}")
        n_before = int(ends[-1])
    if n_before != len(ids):
        together = f"{n_before:,} ids together"
        raise ValueError(f"{index}: lengths of sequences: {together}, but the .bin file has {len(ids):,}")
