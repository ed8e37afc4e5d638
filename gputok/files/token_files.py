"""Files of the ids of a corpus: written batch by batch, resumable after an interruption, renamed when complete.

| name       | content                                                                                        |
|------------|-----------------------------------------------------------------------------------------------|
| `.npy`     | all ids, one after the other, for `numpy.load`; also writes `NAME.rows.npy`                    |
| `.bin`     | the same without a header, little-endian; also writes `NAME.rows.npy`                          |
| `.arrow`   | an Arrow IPC file with a column `ids` of lists, a row for each document                        |
| `.parquet` | the same as Parquet                                                                            |

`NAME.rows.npy` is int64[n_documents + 1]: document i has the ids rows[i]:rows[i + 1].
"""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from gputok.files.arrow import ids_batch, ids_schema, needed_for
from gputok.files.atomic import created, naming, real_target, reopened, replacing
from gputok.files.file_systems import local_path
from gputok.files.locations import downloaded
from gputok.files.outputs import Target, work_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gputok.files.locations import StorageOptions
    from gputok.types import PackedIds, Positions

KINDS = (".npy", ".bin", ".arrow", ".parquet")
_ROWS_AT_ONCE = 1 << 13  # documents of an Arrow or Parquet row group


class TokenBatch(NamedTuple):
    """The ids of some documents.

    Attributes:
        ids: uint16[n_ids] if every id of the vocabulary fits in 16 bits, else uint32[n_ids].
        rows: int64[n_documents + 1]; document i has ids[rows[i]:rows[i + 1]].
    """

    ids: PackedIds
    rows: Positions

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.rows) - 1


class Written(NamedTuple):
    """What a run wrote to a file of ids.

    Attributes:
        n_documents: documents in the file.
        n_new_documents: those of this run; fewer if it resumed an interrupted one.
        n_ids: ids of these.
        n_unknown: how many of these ids stand for text that the vocabulary lacks.
        n_bytes: UTF-8 of all documents, or 0 if an earlier run had encoded all of them.
    """

    n_documents: int
    n_new_documents: int
    n_ids: int
    n_unknown: int
    n_bytes: int


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id below vocab_size.

    >>> id_dtype(50_000), id_dtype(128_000)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the files that `write` makes.

    >>> names("s3://bucket/ids.npy"), names("ids.arrow")
    (['s3://bucket/ids.npy', 's3://bucket/ids.npy.rows.npy'], ['ids.arrow'])
    """
    name = os.fspath(path)
    return [name, f"{name}.rows.npy"] if name.endswith((".npy", ".bin")) else [name]


def write(
    path: str | os.PathLike[str],
    batches: Callable[[int], Iterable[TokenBatch]],
    dtype: np.dtype[Any],
    fingerprint: str,
    storage_options: StorageOptions = None,
) -> int:
    """Writes the ids of a corpus, batch by batch.

    Batches go to temporary files (`.NAME.*.part`) in the folder of the result, which get their final names at the end.
    If `path` is a symbolic link, the file that the link points to is replaced; `NAME.rows.npy` lies in the folder of the
    link. An interrupted run leaves its temporary files; the next run with the same `fingerprint` resumes after the last
    complete document, a run with another fingerprint starts from the beginning. If `path` is a URL, the files are made
    in a temporary folder of this machine and uploaded at the end; if the upload fails, the next run only uploads.

    Args:
        path: the result; its ending, one of KINDS, selects the format.
        batches: called once, with the number of documents that an interrupted run wrote; returns the batches after
            these documents.
        dtype: the dtype of ids in the file, see `id_dtype`.
        fingerprint: a hash of everything that the ids depend on: tokenizer, source, options.
        storage_options: of the file system of a URL, see `gputok.files.locations`.

    Returns:
        The number of documents in the file.

    Raises:
        ValueError: if the ending is not one of KINDS.
        OSError: if the files cannot be written.
    """
    name = os.fspath(path)
    suffix = pathlib.PurePath(name).suffix
    if suffix not in KINDS:
        raise ValueError(
            f"{name}: cannot write ids as {suffix or 'a file without ending'}; use {', '.join(KINDS)}"
        )
    if suffix in (".arrow", ".parquet"):  # now, not after the work
        with needed_for(f"{name}: writing {suffix} files"):
            import pyarrow as pa  # noqa: F401
    local = local_path(name)
    if local is not None:
        return _write(pathlib.Path(local), batches, dtype, fingerprint)
    target = Target(name, storage_options)
    made = work_folder(name) / target.name
    done = made.with_name("done")
    if not (done.exists() and done.read_text().startswith(fingerprint)):
        n_documents = _write(made, batches, dtype, fingerprint)
        done.write_text(f"{fingerprint} {n_documents}")
    n_documents = int(done.read_text().split()[1])
    if suffix in (".npy", ".bin"):
        rows = _rows_path(made)
        target.beside(rows.name).upload(rows)
    target.upload(made)
    shutil.rmtree(made.parent)
    return n_documents


def _write(
    path: pathlib.Path, batches: Callable[[int], Iterable[TokenBatch]], dtype: np.dtype, fingerprint: str
) -> int:
    target = real_target(path)
    ids_path, ends_path, run_path = (
        target.with_name(f".{target.name}.{part}.part") for part in ("ids", "ends", "run")
    )
    parts = ids_path, ends_path, run_path
    with naming(path, *parts):
        return _write_parts(path, target, parts, batches, dtype, fingerprint)


def _write_parts(
    path: pathlib.Path,
    target: pathlib.Path,
    parts: tuple[pathlib.Path, pathlib.Path, pathlib.Path],
    batches: Callable[[int], Iterable[TokenBatch]],
    dtype: np.dtype[Any],
    fingerprint: str,
) -> int:
    """Writes the temporary files `parts` (ids, ends of documents, fingerprint) and makes the result of them."""
    ids_path, ends_path, run_path = parts
    header = _header(path, dtype, 0)
    ids_file, ends_file = _opened(parts, header, fingerprint)
    with ids_file, ends_file:
        n_documents, n_ids = _recover(ids_file, ends_file, len(header), dtype)
        for batch in batches(n_documents):
            ids_file.write(np.ascontiguousarray(batch.ids, dtype).data)
            ids_file.flush()  # before the ends, so that a recorded end always has its ids
            ends_file.write((batch.rows[1:] - batch.rows[0] + n_ids).astype(np.int64).data)
            ends_file.flush()
            n_documents, n_ids = n_documents + batch.n_documents, n_ids + len(batch.ids)
        ids_file.seek(0)
        ids_file.write(_header(path, dtype, n_ids))
        ends_file.seek(0)
        rows = np.concatenate([[0], np.fromfile(ends_file, np.int64)])
    if path.suffix in (".arrow", ".parquet"):
        ids = np.fromfile(ids_path, dtype) if n_ids == 0 else np.memmap(ids_path, dtype, "r")
        with replacing(path) as temporary:
            _write_table(temporary, path.suffix, TokenBatch(ids, rows))
        ids_path.unlink()
    else:
        # After an interruption no file is better than a file with the rows of another one.
        target.unlink(missing_ok=True)
        with replacing(_rows_path(path), follow=False) as temporary, open(temporary, "wb") as file:
            np.save(file, rows)
        os.replace(ids_path, target)
    ends_path.unlink()
    run_path.unlink()
    return n_documents


def _opened(
    parts: tuple[pathlib.Path, pathlib.Path, pathlib.Path], header: bytes, fingerprint: str
) -> tuple[BinaryIO, BinaryIO]:
    """Opens the files of ids and ends that an interrupted run of this fingerprint left, or new ones.

    Their names are known beforehand, so somebody may have put links there: these are replaced, never followed.
    """
    files = [reopened(part) for part in parts]
    ids_file, ends_file, run_file = files
    if ids_file and ends_file and run_file and run_file.read(len(fingerprint) + 1) == fingerprint.encode():
        run_file.close()
        return ids_file, ends_file
    for file in files:
        if file:
            file.close()
    ids_path, ends_path, run_path = parts
    run_path.unlink(missing_ok=True)  # while the others are of two runs, nothing is to be continued
    ids_file, ends_file = created(ids_path), created(ends_path)
    ids_file.write(header)
    ids_file.flush()
    with created(run_path) as file:
        file.write(fingerprint.encode())
    return ids_file, ends_file


def read(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[TokenBatch]:
    """Reads a file that `write` wrote, some documents at a time, so that the file may be larger than memory.

    Args:
        path: the file; a URL is copied to this machine first.
        storage_options: of the file system of a URL, see `gputok.files.locations`.

    Yields:
        Batches of documents, in order.

    Raises:
        ValueError: if the ending is not one of KINDS.
        FileNotFoundError: if the file or its `NAME.rows.npy` does not exist.
    """
    name = os.fspath(path)
    beside = [_rows_path(pathlib.PurePath(name)).name] if name.endswith((".npy", ".bin")) else []
    others = [name[: name.rindex("/") + 1] + other for other in beside if "/" in name]
    with downloaded(name, *others, storage_options=storage_options) as local:
        yield from _read(local)


def _read(path: pathlib.Path) -> Iterator[TokenBatch]:
    if path.suffix in (".npy", ".bin"):
        rows = np.load(_rows_path(path))
        if path.suffix == ".npy":
            ids = np.load(path, mmap_mode="r" if rows[-1] else None)
        else:
            size = path.stat().st_size
            dtype = np.dtype(np.uint32 if size == 4 * rows[-1] else np.uint16)
            ids = np.memmap(path, dtype, "r") if size else np.zeros(0, dtype)
        for first in range(0, len(rows) - 1, _ROWS_AT_ONCE):
            part = rows[first : first + _ROWS_AT_ONCE + 1]
            yield TokenBatch(ids[part[0] : part[-1]], part - part[0])
    elif path.suffix in (".arrow", ".parquet"):
        for batch in _read_tables(path):
            lists = batch.column("ids")
            rows = lists.offsets.to_numpy()
            yield TokenBatch(lists.values.to_numpy()[rows[0] : rows[-1]], rows - rows[0])
    else:
        raise ValueError(
            f"{path}: expected a file of ids ({', '.join(KINDS)}), got {path.suffix or 'a file without ending'}"
        )


def _rows_path(path: Any) -> Any:
    return path.with_name(path.name + ".rows.npy")


def _header(path: pathlib.Path, dtype: np.dtype[Any], n_ids: int) -> bytes:
    """The header of a `.npy` file, whose size does not depend on `n_ids`; empty for other formats."""
    if path.suffix != ".npy":
        return b""
    import io

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_ids,)}
    )
    return header.getvalue()


def _recover(ids_file: BinaryIO, ends_file: BinaryIO, header: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Cuts both files after the last document that is complete in both; returns the numbers of documents and ids."""
    n_written = (ids_file.seek(0, os.SEEK_END) - header) // dtype.itemsize
    n_ends = ends_file.seek(0, os.SEEK_END) // 8
    ends_file.seek(0)
    ends = np.fromfile(ends_file, np.int64, n_ends)
    n_documents = int(np.searchsorted(ends, n_written, "right"))
    n_ids = int(ends[n_documents - 1]) if n_documents else 0
    ends_file.truncate(8 * n_documents)
    ends_file.seek(0, os.SEEK_END)
    ids_file.truncate(header + n_ids * dtype.itemsize)
    ids_file.seek(0, os.SEEK_END)
    return n_documents, n_ids


def _write_table(path: pathlib.Path, kind: str, batch: TokenBatch) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    schema = ids_schema(batch.ids.dtype)
    open_writer = pa.ipc.new_file if kind == ".arrow" else pq.ParquetWriter
    with open_writer(str(path), schema) as writer:
        for first in range(0, batch.n_documents, _ROWS_AT_ONCE):
            rows = batch.rows[first : first + _ROWS_AT_ONCE + 1]
            writer.write_batch(ids_batch(batch.ids, rows, schema))


def _read_tables(path: pathlib.Path) -> Iterator[Any]:
    """The record batches of a Parquet or Arrow file."""
    with needed_for(f"{path}: reading {path.suffix} files"):
        import pyarrow as pa
        from pyarrow import parquet as pq

    if path.suffix == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=["ids"])
        return
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
