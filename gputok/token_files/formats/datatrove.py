"""datatrove and nanotron: `NAME_00000_unshuffled.ds`, `.ds.index` and `.ds.metadata`.

`.ds` has the ids of all documents, one after the other, uint16 if the vocabulary has at most 65,536 tokens, else
uint32. `.ds.index` has the end of each document in tokens, uint64, without a header and a first 0. `.ds.metadata` is
text: the name of the tokenizer, `|` and the bytes of an id; the number of tokens; that number for people. Source:
`datatrove/pipeline/tokens/tokenizer.py` of https://github.com/huggingface/datatrove.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np

from gputok.token_files.formats import base

_KINDS = ("_unshuffled.ds", "_shuffled.ds")


class Datatrove(base.TokenFormat):
    """`.ds`, `.ds.index` and `.ds.metadata`."""

    name, suffix = "datatrove", ".ds"
    by_prefix = joins_documents = True

    def data_name(self, stem: str, number: int | None, shuffled: bool) -> str:
        """Returns the name with the number of the shard, which there always is."""
        return f"{stem}_{number or 0:05d}{_KINDS[shuffled]}"

    def beside(self, name: str) -> tuple[str, ...]:
        return f"{name}.index", f"{name}.metadata"

    def write_beside(self, shard: base.Shard, folder: pathlib.Path) -> None:
        index, metadata = (folder / name for name in self.beside(shard.name))
        base.write_file(index, shard.rows[1:].astype("<u8"))
        size = shard.about.dtype.itemsize
        text = f"{shard.about.tokenizer}|{size}\n{shard.n_ids}\n{_for_people(shard.n_ids)}"
        base.write_file(metadata, text.encode())

    def is_at(self, path: pathlib.Path) -> bool:
        return bool(self.data_paths(path))

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        if path.suffix == self.suffix:
            return [path] if path.is_file() else []
        folder, start = (path, "") if path.is_dir() else (path.parent, path.name + "_")
        if not folder.is_dir():
            return []
        found = [file for file in folder.iterdir() if file.name.startswith(start)]
        return sorted(file for file in found if file.suffix == self.suffix)

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens the ids and the index; the metadata tells how large an id is."""
        index, metadata = (path.with_name(name) for name in self.beside(path.name))
        ends = base.mapped(index, "<u8")
        n_ids = int(ends[-1]) if len(ends) else 0
        size, n_bytes = _size_of_an_id(metadata), path.stat().st_size
        if size is None:
            size = 4 if n_ids and n_bytes == 4 * n_ids else 2
        if n_bytes != size * n_ids:
            but = f"but {path.name} has {n_bytes:,} bytes"
            raise ValueError(f"{index}: end of the last document: {n_ids:,} ids of {size} bytes, {but}")
        if n_ids >= 1 << 62:
            raise ValueError(f"{index}: end of the last document: {n_ids:,} ids")
        rows = np.append(np.zeros(1, np.int64), ends.astype(np.int64))
        yield base.Contiguous(base.mapped(path, f"<u{size}"), base.checked_rows(rows, n_ids, index, "ends"))


def _size_of_an_id(metadata: pathlib.Path) -> int | None:
    """Reads how many bytes an id has; None: there is no such file, which datatrove needn't write."""
    try:
        first = metadata.read_text(errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return None
    size = first.rpartition("|")[2]
    if size not in ("2", "4"):
        raise ValueError(f"{metadata}: token size: expected TOKENIZER|2 or TOKENIZER|4, got {first[:80]!r}")
    return int(size)


def _for_people(n: int) -> str:
    """Writes a number of tokens in three digits, with the prefixes of SI; `T` at the end is the unit, tokens.

    >>> _for_people(7), _for_people(1234), _for_people(43_210_000)
    ('7.00 T', '1.23 kT', '43.2 MT')
    """
    power = min((len(str(n)) - 1) // 3, 10)
    prefix = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"][power]
    value = n / 1000**power
    return f"{value:.{max(3 - len(str(int(value))), 0)}f} {prefix}T"
