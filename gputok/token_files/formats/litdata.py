"""litdata and litgpt: a folder of chunks and `index.json`, for `litdata.StreamingDataset` with `TokensLoader`.

A chunk, all numbers little-endian: uint32 number of items n, uint32[n + 1] offset of each item and of the end, then the
ids of all items. An item is a document. `TokensLoader(block_size)` reads blocks across items, and drops what is left at
the end of a chunk. Source: `src/litdata/streaming/{writer,item_loader}.py` of https://github.com/Lightning-AI/litData.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from gputok.checks import WrongValue, file_name, in_file, is_list, listed, needed, short
from gputok.files.atomic import created
from gputok.files.json_text import read_object
from gputok.token_files.formats import base
from gputok.token_files.formats.folders import SHARD_BYTES, FolderFormat, check_size, field, read_offsets
from gputok.types import Array

# litdata's numbers for PyTorch's types. Some types have two names and so two numbers; litdata writes the last
_TYPES = {"uint16": 20, "int32": 16, "int64": 18}
_READ = {20: "uint16", 15: "int32", 16: "int32", 17: "int64", 18: "int64"}


class LitData(FolderFormat):
    """A folder of chunks. The ids are int32, as litgpt's tokenizer gives; before PyTorch 2.3, litdata has no uint16."""

    name, suffix, key = "litdata", ".bin", "chunks"
    dtypes = tuple(_TYPES)
    joins_documents = True

    def data_name(self, stem: str, number: int | None, shuffled: bool) -> str:
        return f"chunk-0-{number or 0}.bin"

    def write(self, shard: base.Shard, ids: Array, path: pathlib.Path) -> base.ShardFacts:
        head = 4 + 4 * len(shard.rows)
        offsets = head + shard.rows * shard.about.dtype.itemsize
        check_size(int(offsets[-1]), shard.name)
        with created(path) as file:
            base.write_all(file, np.array([shard.n_documents], "<u4"))
            base.write_all(file, offsets.astype("<u4"))
            base.copy_bytes(shard.ids_path, ids.nbytes, file)
        return base.ShardFacts(shard.name, shard.n_documents, shard.n_ids, int(offsets[-1]))

    def index_of(self, shards: list[base.ShardFacts], about: base.About) -> bytes:
        config = {
            "chunk_bytes": SHARD_BYTES,
            "chunk_size": None,
            "compression": None,
            "data_format": [f"no_header_tensor:{_TYPES[about.dtype.name]}"],
            "data_spec": '[1, {"type": null, "context": null, "children_spec": []}]',  # a tensor, in no container
            "encryption": None,
            "item_loader": "TokensLoader",
        }
        entries = [
            {"chunk_bytes": shard.n_bytes, "chunk_size": shard.documents, "dim": shard.tokens, "filename": shard.name}
            for shard in shards
        ]
        return json.dumps({"chunks": entries, "config": config}, sort_keys=True).encode()

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        index = path / self.index
        with in_file(index):
            entries = listed(lambda entry: field(entry, "filename", file_name))
            names = field(read_object(index), "chunks", entries)
        return [path / name for name in names]

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens a chunk; `index.json` tells the dtype."""
        index = path.parent / self.index
        with in_file(index):
            number = field(read_object(index), "config", _number_of_dtype)
        dtype = np.dtype(_READ[number])
        _, offsets = read_offsets(path, "items")
        if offsets[0] != 4 * (len(offsets) + 1):
            raise ValueError(f"{path}: offsets: begin at {offsets[0]:,}, but the items at {4 * (len(offsets) + 1):,}")
        rows, rest = np.divmod(offsets - offsets[0], dtype.itemsize)
        if rest.any():
            raise ValueError(f"{path}: offsets: item {int(rest.argmax()) - 1} has no whole number of ids")
        yield base.Contiguous(base.mapped(path, dtype, int(offsets[0])), rows)


def _number_of_dtype(config: Any) -> int:
    """Returns the number of the dtype in a configuration of chunks, a key of `_READ`."""
    if needed(config, "compression") is not None or needed(config, "encryption") is not None:
        raise WrongValue("compression, encryption: chunks must be plain")
    forms = needed(config, "data_format")
    known = {f"no_header_tensor:{number}": number for number in _READ}
    if not is_list(forms) or len(forms) != 1 or not isinstance(forms[0], str) or forms[0] not in known:
        raise WrongValue(f"expected one of {', '.join(known)}, got {short(forms)}", "data_format")
    return known[forms[0]]
