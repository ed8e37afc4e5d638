"""Ids of a whole corpus on disk: written as they come, resumed where a run broke off, whole under their final name.

| name       | holds                                                                                         |
|------------|-----------------------------------------------------------------------------------------------|
| `.npy`     | all ids, one after the other, for `numpy.load`; beside it `NAME.rows.npy`                      |
| `.bin`     | the same without a header, little-endian; beside it `NAME.rows.npy`                            |
| `.arrow`   | an Arrow IPC file with a column `ids` of lists, a row for each document                        |
| `.parquet` | the same as Parquet                                                                            |

`NAME.rows.npy` is int64[n_documents + 1]: document i has the ids rows[i]:rows[i + 1].
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gputok.files.atomic import real_target, replacing
from gputok.files.locations import StorageOptions, Target, downloaded, local_path, work_folder
from gputok.types import Array

KINDS = (".npy", ".bin", ".arrow", ".parquet")
_ROWS_AT_ONCE = 1 << 13  # documents of an Arrow or Parquet row group


class TokenBatch(NamedTuple):
    """The ids of some documents."""

    ids: Array  # uint16[n_ids] where the vocabulary allows it, else uint32
    rows: Array  # int64[n_documents + 1]; document i has ids[rows[i]:rows[i + 1]]

    @property
    def n_documents(self) -> int:
        return len(self.rows) - 1


def id_dtype(vocab_size: int) -> np.dtype:
    """The smallest type that holds every id.

    >>> id_dtype(50_000), id_dtype(128_000)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def write(
    path: str | os.PathLike[str],
    batches: Callable[[int], Iterable[TokenBatch]],
    dtype: np.dtype,
    fingerprint: str,
    storage_options: StorageOptions = None,
) -> int:
    """Writes the ids that `batches(n_documents)` gives after so many documents; returns how many documents there are.

    They go to files beside `path` (`.NAME.*.part`) that take their final name at the end; if `path` is a symbolic link,
    beside the file that it points to, which is replaced. `NAME.rows.npy` lies beside `path` itself. A run that was broken off
    leaves them, and the next one with the same `fingerprint` (whatever the ids depend on: tokenizer, source, options)
    goes on after the last whole document; any other begins anew. What has a URL is made in a folder of this machine's
    temporary one, and uploaded at the end; where that fails, the next run only uploads. Raises ValueError for an ending
    that is not one of KINDS.
    """
    name = os.fspath(path)
    suffix = pathlib.PurePath(name).suffix
    if suffix not in KINDS:
        raise ValueError(
            f"{name}: cannot write ids as {suffix or 'a file without ending'}; use {', '.join(KINDS)}"
        )
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
    if not (all(part.exists() for part in parts) and run_path.read_text() == fingerprint):
        run_path.unlink(missing_ok=True)  # while the others are of two runs, nothing is to be continued
        ids_path.write_bytes(_header(path, dtype, 0))
        ends_path.write_bytes(b"")
        run_path.write_text(fingerprint)

    header = len(_header(path, dtype, 0))
    with open(ids_path, "r+b") as ids_file, open(ends_path, "r+b") as ends_file:
        n_documents, n_ids = _recover(ids_file, ends_file, header, dtype)
        for batch in batches(n_documents):
            ids_file.write(np.ascontiguousarray(batch.ids, dtype).data)
            ids_file.flush()  # so that ids are there when their ends are
            ends_file.write((batch.rows[1:] - batch.rows[0] + n_ids).astype(np.int64).data)
            ends_file.flush()
            n_documents, n_ids = n_documents + batch.n_documents, n_ids + len(batch.ids)
        ids_file.seek(0)
        ids_file.write(_header(path, dtype, n_ids))

    rows = np.concatenate([[0], np.fromfile(ends_path, np.int64)])
    if path.suffix in (".arrow", ".parquet"):
        ids = np.fromfile(ids_path, dtype) if n_ids == 0 else np.memmap(ids_path, dtype, "r")
        with replacing(path) as beside:
            _write_table(beside, path.suffix, TokenBatch(ids, rows))
        ids_path.unlink()
    else:
        target.unlink(missing_ok=True)  # rather none than one with the rows of another
        with replacing(_rows_path(path)) as beside, open(beside, "wb") as file:
            np.save(file, rows)
        os.replace(ids_path, target)
    ends_path.unlink()
    run_path.unlink()
    return n_documents


def read(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[TokenBatch]:
    """The ids in a file that `write` wrote, some documents at a time; nothing is read before it is used.

    What has a URL is copied to this machine first.
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
            f"{path}: ids are in {', '.join(KINDS)} files, not in {path.suffix or 'one without ending'}"
        )


def _rows_path(path: Any) -> Any:
    return path.with_name(path.name + ".rows.npy")


def _header(path: pathlib.Path, dtype: np.dtype, n_ids: int) -> bytes:
    """NumPy's, which leaves room for any length, or none."""
    if path.suffix != ".npy":
        return b""
    import io

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_ids,)}
    )
    return header.getvalue()


def _recover(ids_file: BinaryIO, ends_file: BinaryIO, header: int, dtype: np.dtype) -> tuple[int, int]:
    """Cuts both files after the last document that is whole in both; (documents, ids) up to there."""
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

    schema = pa.schema([("ids", pa.large_list(pa.from_numpy_dtype(batch.ids.dtype)))])
    open_writer = pa.ipc.new_file if kind == ".arrow" else pq.ParquetWriter
    with open_writer(str(path), schema) as writer:
        for first in range(0, batch.n_documents, _ROWS_AT_ONCE):
            rows = batch.rows[first : first + _ROWS_AT_ONCE + 1]
            lists = pa.LargeListArray.from_arrays(rows - rows[0], pa.array(batch.ids[rows[0] : rows[-1]]))
            writer.write_batch(pa.record_batch([lists], schema=schema))


def _read_tables(path: pathlib.Path) -> Iterator:
    import pyarrow as pa
    from pyarrow import parquet as pq

    if path.suffix == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=["ids"])
        return
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
