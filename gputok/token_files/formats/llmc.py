"""llm.c and modded-nanogpt: `.bin` with a header of 256 int32.

| header         | GPT-2    | Llama 3  |
|----------------|----------|----------|
| magic          | 20240520 | 20240801 |
| version        | 1        | 7        |
| number of ids  | below 2^31 | below 2^31 |
| (the rest)     | 0        | 0        |
| ids            | uint16   | uint32   |

The end token stands before each document. Readers of this format don't know where documents begin; gputok writes that
to `NAME.rows.npy`, as for a plain `.bin`. Source: `dev/data/data_common.py` of https://github.com/karpathy/llm.c.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from gputok.token_files.formats import base
from gputok.token_files.formats.arrays import WithRows

_HEADER_BYTES = 1024
_KINDS = {"uint16": (20240520, 1), "uint32": (20240801, 7)}  # dtype -> magic number, version


class LlmC(WithRows):
    """`.bin` with a header."""

    name, suffix = "llmc", ".bin"
    begins = tuple(np.array(kind, "<i4").tobytes() for kind in _KINDS.values())
    end_first = joins_documents = True
    most_ids = (1 << 31) - 1

    def space(self, dtype: np.dtype[Any]) -> int:
        return _HEADER_BYTES

    def header(self, shard: base.Shard) -> bytes:
        header = np.zeros(256, "<i4")
        header[:3] = *_KINDS[shard.about.dtype.name], shard.n_ids
        return header.tobytes()

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        with open(path, "rb") as file:
            start = file.read(_HEADER_BYTES)
        if len(start) < _HEADER_BYTES:
            raise ValueError(f"{path}: header: expected {_HEADER_BYTES} bytes, got {len(start)}")
        magic, version, n_ids = np.frombuffer(start, "<i4")[:3].tolist()
        kinds = {(*kind,): dtype for dtype, kind in _KINDS.items()}
        if magic not in {magic for magic, _ in kinds}:
            raise ValueError(f"{path}: magic: expected 20240520 or 20240801, got {magic}")
        if (magic, version) not in kinds:
            raise ValueError(f"{path}: version: {version} is unknown for magic {magic}")
        ids = base.mapped(path, np.dtype(kinds[magic, version]), _HEADER_BYTES)
        if n_ids != len(ids):
            raise ValueError(f"{path}: number of ids: the header says {n_ids:,}, but there are {len(ids):,}")
        return self.documents(path, lambda n_ids: ids)
