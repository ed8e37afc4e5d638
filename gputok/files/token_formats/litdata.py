"""litdata and litgpt: a folder of chunks and `index.json`, for `litdata.StreamingDataset` with `TokensLoader`.

A chunk, all numbers little-endian: uint32 number of items n, uint32[n + 1] offset of each item and of the end, then the ids of
all items. An item is a document. `TokensLoader(block_size)` reads blocks across items, and drops what is left at the end of a
chunk.

Source: `src/litdata/streaming/writer.py` and `item_loader.py` of https://github.com/Lightning-AI/litData.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.fields import WrongValue, file_name, in_file, is_list, listed, needed, short
from gputok.files.atomic import created
from gputok.files.token_formats.base import (
    About,
    Contiguous,
    Name,
    Shard,
    ShardFacts,
    TokenFormat,
    check_rising,
    copy_bytes,
    mapped,
    write_all,
)
from gputok.files.token_formats.folders import check_size, field, read_index

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable

    from gputok.files.token_formats.base import OpenShard
    from gputok.types import Array

_CHUNK_BYTES = 1 << 26
"""Bytes of a chunk, the default of litdata."""
# litdata numbers the types of PyTorch; of two names for a type it writes the last
_TYPES = {"uint16": 20, "int32": 16, "int64": 18}
_READ = {20: "uint16", 15: "int32", 16: "int32", 17: "int64", 18: "int64"}


class LitData(TokenFormat):
    """A folder of chunks."""

    name, suffix, index = "litdata", ".bin", "index.json"
    dtypes = tuple(_TYPES)
    in_place = False
    most_ids, shard_tokens = 1 << 28, _CHUNK_BYTES // 4

    def dtype_of(self, vocab_size: int) -> np.dtype[Any]:
        """Returns int32, as litgpt's tokenizer gives; versions of litdata before PyTorch 2.3 know no uint16."""
        return np.dtype(np.int32)

    def stem(self, output: Name) -> Name:
        """Returns the name of the folder."""
        return output

    def data_name(self, stem: Name, number: int | None, shuffled: bool) -> Name:
        """Returns the name of a chunk in the folder."""
        return f"chunk-0-{number or 0}.bin"

    def write(self, shard: Shard, ids: Array, path: pathlib.Path) -> ShardFacts:
        """Writes a chunk."""
        head = 4 + 4 * len(shard.rows)
        offsets = head + shard.rows * shard.about.dtype.itemsize
        check_size(int(offsets[-1]), shard.name)
        with created(path) as file:
            write_all(file, np.array([shard.n_documents], "<u4"))
            write_all(file, offsets.astype("<u4"))
            copy_bytes(shard.ids_path, ids.nbytes, file)
        return ShardFacts(shard.name, shard.n_documents, shard.n_ids, int(offsets[-1]))

    def index_of(self, shards: list[ShardFacts], about: About) -> bytes:
        """Returns `index.json`."""
        config = {
            "chunk_bytes": _CHUNK_BYTES,
            "chunk_size": None,
            "compression": None,
            "data_format": [f"no_header_tensor:{_TYPES[about.dtype.name]}"],
            "data_spec": '[1, {"type": null, "context": null, "children_spec": []}]',  # a tensor, in no container
            "encryption": None,
            "item_loader": "TokensLoader",
        }
        entries = [
            {
                "chunk_bytes": shard.n_bytes,
                "chunk_size": shard.documents,
                "dim": shard.tokens,
                "filename": shard.name,
            }
            for shard in shards
        ]
        return json.dumps({"chunks": entries, "config": config}, sort_keys=True).encode()

    def is_at(self, path: pathlib.Path) -> bool:
        """Returns True for a folder with an `index.json` that has chunks."""
        return path.is_dir() and (path / self.index).is_file() and "chunks" in read_index(path / self.index)

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        """Returns the chunks of a folder."""
        index = path / self.index
        with in_file(index):
            entries = listed(lambda entry: field(entry, "filename", file_name))
            names = field(read_index(index), "chunks", entries)
        return [path / name for name in names]

    def open(self, path: pathlib.Path) -> Iterable[OpenShard]:
        """Opens a chunk; `index.json` tells the dtype."""
        index = path.parent / self.index
        with in_file(index):
            number = field(read_index(index), "config", _number_of_dtype)
        dtype = np.dtype(_READ[number])
        data = mapped(path, "u1")
        if len(data) < 8:
            raise ValueError(f"{path}: number of items: the file has only {len(data)} bytes")
        n = int(np.frombuffer(data, "<u4", 1)[0])
        if 4 + 4 * (n + 1) > len(data):
            raise ValueError(f"{path}: number of items: {n:,}, too many for {len(data):,} bytes")
        offsets = np.frombuffer(data, "<u4", n + 1, 4)
        check_rising(offsets, path, "offsets")
        if offsets[0] != 4 + 4 * (n + 1) or offsets[-1] != len(data):
            raise ValueError(
                f"{path}: offsets: are from {offsets[0]:,} to {offsets[-1]:,}, but the items are at "
                f"{4 + 4 * (n + 1):,} to {len(data):,}"
            )
        rows, rest = np.divmod(offsets.astype(np.int64) - int(offsets[0]), dtype.itemsize)
        if rest.any():
            raise ValueError(f"{path}: offsets: item {int(rest.argmax()) - 1} has no whole number of ids")
        yield Contiguous(mapped(path, dtype, int(offsets[0])), rows)


def _number_of_dtype(config: Any) -> int:
    """Returns the number of the dtype in a configuration of chunks, a key of `_READ`."""
    if needed(config, "compression") is not None or needed(config, "encryption") is not None:
        raise WrongValue("compression, encryption: chunks must be plain")
    forms = needed(config, "data_format")
    known = {f"no_header_tensor:{number}": number for number in _READ}
    if not is_list(forms) or len(forms) != 1 or not isinstance(forms[0], str) or forms[0] not in known:
        wanted = f"expected one of {', '.join(known)}"
        raise WrongValue(f"{wanted}, got {short(forms)}", "data_format")
    return known[forms[0]]
