"""OLMo and dolma: `.npy` and `.csv.gz`.

`.npy` is no file of NumPy's format, but the ids of all documents, one after the other, for `numpy.memmap`. `.csv.gz`
beside it has a row for each document: start, end, id, source, line. Here, id and line are the number of the document in
the corpus, and source is empty. Source: `python/dolma/tokenizer/memmap_writer.py` of https://github.com/allenai/dolma.
"""

from __future__ import annotations

import array
import gzip
import pathlib
import re
import zlib
from collections.abc import Iterable

import numpy as np

from gputok.checks import short
from gputok.files.atomic import created
from gputok.token_files.formats import base
from gputok.types import Array

_DOCUMENTS_AT_ONCE = 1 << 16
_LONGEST_LINE = 1 << 16  # characters, far more than an id and the path of a source have


class Olmo(base.TokenFormat):
    """`.npy` and `.csv.gz`."""

    name, suffix = "olmo", ".npy"
    joins_documents = True

    def beside(self, name: str) -> tuple[str, ...]:
        return (name.removesuffix(".npy") + ".csv.gz",)

    def write_beside(self, shard: base.Shard, folder: pathlib.Path) -> None:
        # GzipFile gets no name and no time, so that the same rows always make the same bytes
        from gputok.kernels.cpu.records import olmo_lines

        with created(folder / self.beside(shard.name)[0]) as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
            for first in range(0, shard.n_documents, _DOCUMENTS_AT_ONCE):
                part = shard.rows[first : first + _DOCUMENTS_AT_ONCE + 1]
                base.write_all(packed, olmo_lines(part, shard.first_document + first))

    def is_at(self, path: pathlib.Path) -> bool:
        return path.suffix == self.suffix and path.with_name(self.beside(path.name)[0]).is_file()

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens ids and rows; the last end in the rows tells how large an id is."""
        beside = path.with_name(self.beside(path.name)[0])
        rows = _read_rows(beside)
        ids = base.ids_of_size(path, int(rows[-1]), f"{beside}: end of the last document")
        yield base.Contiguous(ids, base.checked_rows(rows, len(ids), beside, "end"))


def _read_rows(path: pathlib.Path) -> Array:
    """Reads where each document ends: int64[n_documents + 1]."""
    ends = array.array("q", [0])
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            # A line is read in parts of _LONGEST_LINE characters at most; the second part of a longer line is no row
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE), ""), 1):
                found = re.match(r"([0-9]{1,19}),([0-9]{1,19})(?![0-9])", line)
                if found is None or int(found[1]) != ends[-1]:
                    wanted = f"expected {ends[-1]} and an end"
                    raise ValueError(f"line {number}: start, end: {wanted}, got {short(line[:60])}")
                ends.append(int(found[2]))
        return np.array(ends, np.int64)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from None
