"""What every format of files of ids has: how a writer asks it for files, and how a reader asks it for documents.

A writer hands each format a `Shard`: a file with the ids of some documents, one after the other, in the format's dtype,
with some free bytes before the first id. The format fills the free bytes with its header, or makes a file of its own
from the ids; then it writes other files beside that. A reader gets documents as slices of files mapped into memory.
"""

from __future__ import annotations

import errno
import io
import pathlib
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from gputok.checks import shortened
from gputok.files.atomic import created
from gputok.token_files.batches import TokenBatch, id_dtype
from gputok.types import Array, Positions

IDS_AT_ONCE = 1 << 22
"""About how many ids are copied at a time."""


class About(NamedTuple):
    """What a format may write about a corpus."""

    tokenizer: str  # its name
    dtype: np.dtype[Any]  # of the ids
    sequence_length: int | None = None  # the number of ids of each block; None: documents are stored as they are


class Shard(NamedTuple):
    """The ids of some documents in a file, from which a format makes its files."""

    name: str  # the final name of the file of ids
    ids_path: pathlib.Path  # the file: the bytes that `TokenFormat.space` keeps free, then the ids
    rows: Positions  # int64[n_documents + 1]; document i has the ids rows[i]:rows[i + 1]
    first_document: int  # its number in the corpus
    about: About

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.rows) - 1

    @property
    def n_ids(self) -> int:
        """The number of ids."""
        return int(self.rows[-1])


class ShardFacts(NamedTuple):
    """What is recorded of the files of a shard."""

    name: str  # the final name of the file of ids
    documents: int  # or blocks of `sequence_length` ids
    tokens: int  # ids
    n_bytes: int  # of the file of ids


class TokenFormat:
    """A format. Its methods have no state; each format is one instance."""

    name: ClassVar[str]  # that `format=` takes
    suffix: ClassVar[str] = ""  # how the name of a file of ids ends
    begins: ClassVar[tuple[bytes, ...]] = ()  # how a file of ids begins, one of these
    dtypes: ClassVar[tuple[str, ...]] = ("uint16", "uint32")  # those that the format can store, smallest first
    index: ClassVar[str] = ""  # the file that lists all shards; a format that has such a file writes a folder
    takes_blocks: ClassVar[bool] = False  # it can store blocks of a fixed number of ids
    end_first: ClassVar[bool] = False  # the end token stands before each document instead of after it
    # Programs that read the files join documents, so that only an end token tells where a document ends
    joins_documents: ClassVar[bool] = False
    keeps_empty: ClassVar[bool] = True  # False: a document without ids is left out
    ends_empty: ClassVar[bool] = True  # False: a document without ids gets no begin or end token
    most_ids: ClassVar[int] = 1 << 62  # of a shard
    shard_tokens: ClassVar[int | None] = None  # the ids of a shard if the user does not say; None: all in one
    in_place: ClassVar[bool] = True  # `Shard.ids_path` itself becomes the file of ids; False: `write` makes one
    by_prefix: ClassVar[bool] = False  # users name an output without an ending, as `PREFIX`

    # -- writing

    def dtype_of(self, vocab_size: int) -> np.dtype[Any]:
        """Returns the dtype that the format's own tools choose for ids below `vocab_size`."""
        return id_dtype(vocab_size)

    def stem(self, output: str) -> str:
        """Returns the name of an output without the ending of its file of ids."""
        return output.removesuffix(self.suffix)

    def output_name(self, output: str) -> str:
        """Returns the one name, which the manifest has, of an output that users may name with or without an ending."""
        stem = self.stem(output)
        return stem if self.by_prefix or self.index else stem + self.suffix

    def data_name(self, stem: str, number: int | None, shuffled: bool) -> str:
        """Returns the final name of a file of ids; number: of the shard, None if there is only one."""
        return f"{stem}{'' if number is None else f'_{number:05d}'}{self.suffix}"

    def beside(self, name: str) -> tuple[str, ...]:
        """Returns the names of the other files of a shard whose file of ids is called `name`."""
        return ()

    def space(self, dtype: np.dtype[Any]) -> int:
        """Returns how many bytes stand before the first id."""
        return 0

    def check_rows(self, rows: Positions, first_document: int, path: str) -> None:
        """Raises ValueError if the format can't store documents with these rows."""

    def header(self, shard: Shard) -> bytes:
        """Returns the bytes before the first id: as many as `space` says."""
        return b""

    def write(self, shard: Shard, ids: Array, path: pathlib.Path) -> ShardFacts:
        """Writes the file of ids, if that is not `shard.ids_path` itself."""
        raise NotImplementedError

    def write_beside(self, shard: Shard, folder: pathlib.Path) -> None:
        """Writes the files of `beside` into a folder, under their final names."""

    def index_of(self, shards: list[ShardFacts], about: About) -> bytes:
        """Returns the content of the file that lists all shards."""
        raise NotImplementedError

    # -- reading

    def is_at(self, path: pathlib.Path) -> bool:
        """Returns True if a path that has no manifest looks like an output of this format."""
        if not self.begins or path.suffix != self.suffix or not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(8).startswith(self.begins)

    def data_paths(self, path: pathlib.Path) -> list[pathlib.Path]:
        """Returns the files of ids of an output without a manifest."""
        return [path]

    def open(self, path: pathlib.Path) -> Iterable[OpenShard]:
        """Opens a file of ids, and checks the files that describe it; a ValueError names file and field."""
        raise NotImplementedError


class OpenShard(Protocol):
    """Some documents of a file."""

    @property
    def n_documents(self) -> int: ...

    @property
    def n_ids(self) -> int: ...

    def document(self, i: int) -> Array: ...  # its ids; 0 <= i < n_documents
    def batch(self, first: int, last: int) -> TokenBatch: ...  # the documents first:last


class Contiguous(TokenBatch):
    """Documents whose ids lie one after the other, mapped from a file; rows: int64 or uint64."""

    @property
    def n_ids(self) -> int:
        return int(self.rows[-1] - self.rows[0]) if len(self.rows) else 0

    def document(self, i: int) -> Array:
        return self.ids[int(self.rows[i]) : int(self.rows[i + 1])]

    def batch(self, first: int, last: int) -> TokenBatch:
        rows = np.asarray(self.rows[first : last + 1]).astype(np.int64)
        return TokenBatch(self.ids[rows[0] : rows[-1]], rows - rows[0])


# -- what several formats need


def ids_of_size(path: pathlib.Path, n_ids: int, where: str) -> Array:
    """Maps a file of `n_ids` ids, whose size tells whether they are uint16 or uint32; where: what says n_ids."""
    size = path.stat().st_size
    if size not in (2 * n_ids, 4 * n_ids):
        raise ValueError(f"{where}: {n_ids:,} ids, but {path.name} has {size:,} bytes, neither 2 nor 4 for each")
    return mapped(path, "<u4" if n_ids and size == 4 * n_ids else "<u2")


def mapped(path: pathlib.Path, dtype: Any, offset: int = 0) -> Array:
    """Maps what follows the first `offset` bytes of a file into memory; ValueError: it is no whole number of values."""
    dtype = np.dtype(dtype)
    n_bytes = path.stat().st_size - offset
    if n_bytes < 0 or n_bytes % dtype.itemsize:
        wanted = f"expected {offset} bytes and a whole number of {dtype.name} values"
        raise ValueError(f"{path}: has {n_bytes + offset:,} bytes: {wanted}")
    return np.memmap(path, dtype, "r", offset) if n_bytes else np.zeros(0, dtype)  # no system maps 0 bytes


def checked_rows(rows: Array, n_ids: int, path: pathlib.Path, field: str) -> Array:
    """Returns rows if they begin at 0, never fall, and end at `n_ids`; else raises ValueError."""
    if len(rows) == 0 or rows[0] != 0:
        raise ValueError(f"{path}: {field}: expected a first value of 0, got {rows[:1].tolist()}")
    check_rising(rows, path, field)
    if rows[-1] != n_ids:
        raise ValueError(f"{path}: {field}: ends at {int(rows[-1]):,} ids, but there are {n_ids:,}")
    return rows


def check_rising(values: Array, path: pathlib.Path, field: str) -> None:
    """Raises ValueError if an array has a value that is lower than the value before it."""
    for first in range(0, len(values), IDS_AT_ONCE):  # the array may be larger than memory
        part = values[first : first + IDS_AT_ONCE + 1]
        falls = np.flatnonzero(part[1:] < part[:-1])
        if len(falls):
            i = first + int(falls[0]) + 1
            raise ValueError(f"{path}: {field}[{i}]: {int(values[i]):,} is lower than the value before it")


def write_file(path: pathlib.Path, *contents: Any) -> None:
    """Writes buffers to a new file (`atomic.created`), and not by NumPy's `tofile`, which hides that a disk is full."""
    with created(path) as file:
        for content in contents:
            write_all(file, content)


def write_all(file: Any, content: Any) -> None:
    """Writes all bytes of a buffer to a file."""
    rest = memoryview(content)
    rest = rest.cast("B") if rest.nbytes else memoryview(b"")
    while rest:
        rest = rest[file.write(rest) :]


def copy_bytes(source: pathlib.Path, n_bytes: int, file: Any) -> None:
    """Appends the first bytes of a file to an open file."""
    with open(source, "rb", buffering=0) as read:
        for start in range(0, n_bytes, 1 << 20):
            part = np.empty(min(n_bytes - start, 1 << 20), np.uint8)
            read_all(read, part)
            write_all(file, part)


def read_all(file: Any, buffer: Array) -> None:
    """Fills an array of bytes from an unbuffered file; raises OSError if the file ends before."""
    rest = memoryview(buffer)
    while rest:
        n = file.readinto(rest)
        if not n:
            raise OSError(errno.EIO, f"ends {len(rest):,} bytes too early", str(file.name))
        rest = rest[n:]


def array_header(dtype: np.dtype[Any], n: int) -> bytes:
    """Returns the header of a `.npy` file with one axis. Its size does not depend on the number of values."""
    header, descr = io.BytesIO(), np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": (n,)})
    return header.getvalue()


def read_array(path: pathlib.Path, dtypes: tuple[str, ...], field: str) -> Array:
    """Maps a `.npy` file with one axis into memory; ValueError: it is none, or has another dtype or other axes."""
    try:
        array: Any = np.lib.format.open_memmap(path, mode="r")
        kind = f"one of {array.dtype} with {array.ndim} axes"
    except OSError:
        raise
    except Exception as error:  # NumPy answers damaged files with all kinds of errors
        array, kind = None, f"another or a damaged file ({shortened(str(error))})"
    if array is None or array.dtype.name not in dtypes or array.ndim != 1:
        raise ValueError(f"{path}: {field}: expected a .npy file of {' or '.join(dtypes)} with one axis, got {kind}")
    if (n_more := path.stat().st_size - array.offset - array.nbytes) != 0:
        raise ValueError(f"{path}: {field}: {n_more:,} bytes follow the {len(array):,} values that the header says")
    return array


def batches(rows: Positions, n_ids: int = IDS_AT_ONCE) -> Iterable[tuple[int, int]]:
    """Yields ranges first:last of documents with about `n_ids` ids, at least one document each."""
    first, n = 0, len(rows) - 1
    while first < n:
        last = int(np.searchsorted(rows, rows[first] + n_ids, "right")) - 1
        last = min(max(last, first + 1), n, first + IDS_AT_ONCE)
        yield first, last
        first = last


def gathered(data: Array, start: Positions, end: Positions) -> Array:
    """Returns the bytes data[start[i]:end[i]] for all i, one after the other: uint8[total]. All must lie in `data`."""
    from gputok.kernels.cpu.rewrite import gather

    return gather(np.asarray(data), start, end)[0]
