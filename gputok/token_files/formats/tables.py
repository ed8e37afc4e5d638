"""Arrow and Parquet: a column `ids` of lists, a row for each document."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from gputok.files.arrow import ids_batch, ids_schema, to_numpy
from gputok.files.locations import LocalFile
from gputok.files.parquet import readable_parquet
from gputok.token_files.batches import TokenBatch
from gputok.token_files.formats import base
from gputok.types import Array

_ROWS_AT_ONCE = 1 << 13  # documents of a record batch or row group


class TableFormat(base.TokenFormat):
    """A file of record batches or row groups."""

    in_place = False

    def is_at(self, path: pathlib.Path) -> bool:
        return path.suffix == self.suffix

    def write(self, shard: base.Shard, ids: Array, path: pathlib.Path) -> base.ShardFacts:
        path.unlink(missing_ok=True)
        schema = ids_schema(shard.about.dtype)
        with self._writer(path, schema) as writer:
            for first in range(0, shard.n_documents, _ROWS_AT_ONCE):
                rows = shard.rows[first : first + _ROWS_AT_ONCE + 1]
                writer.write_batch(ids_batch(ids, rows, schema))
        return base.ShardFacts(shard.name, shard.n_documents, shard.n_ids, path.stat().st_size)

    def _writer(self, path: pathlib.Path, schema: Any) -> Any:
        raise NotImplementedError


class Arrow(TableFormat):
    """An Arrow IPC file."""

    name, suffix = "arrow", ".arrow"

    def _writer(self, path: pathlib.Path, schema: Any) -> Any:
        import pyarrow as pa

        return pa.ipc.new_file(str(path), schema)

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens each record batch, which is mapped from the file and not copied."""
        with _readable(path, "expected an Arrow file of ids, got a damaged file"):
            import pyarrow as pa

            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                batch.validate(full=True)
                _check_column(batch.schema, path)
                yield _of_lists(batch.column("ids"))


class Parquet(TableFormat):
    """A Parquet file."""

    name, suffix = "parquet", ".parquet"

    def _writer(self, path: pathlib.Path, schema: Any) -> Any:
        from pyarrow import parquet as pq

        return pq.ParquetWriter(str(path.absolute()), schema)

    def open(self, path: pathlib.Path) -> Iterable[base.OpenShard]:
        """Opens each row group, which is unpacked when it is asked for."""
        with _readable(path, "expected a Parquet file of ids, got a damaged file"):
            from pyarrow import parquet as pq

            file = pq.ParquetFile(path.absolute())  # PyArrow would take a relative "s3:o.parquet" for a URL
            _check_column(file.schema_arrow, path)
        for group in range(file.num_row_groups):
            yield _RowGroup(file, group, path)


class _RowGroup:
    """A row group, which is unpacked when a document is first asked for."""

    def __init__(self, file: Any, group: int, path: pathlib.Path) -> None:
        self._file, self._group, self._path = file, group, path
        self._unpacked: base.Contiguous | None = None
        self.n_documents = int(file.metadata.row_group(group).num_rows)

    @property
    def n_ids(self) -> int:
        return self._open().n_ids

    def document(self, i: int) -> Array:
        return self._open().document(i)

    def batch(self, first: int, last: int) -> TokenBatch:
        """Returns the documents first:last; after the last document of the row group, frees the unpacked row group."""
        found = self._open().batch(first, last)
        if last == self.n_documents:
            self._unpacked = None
        return found

    def _open(self) -> base.Contiguous:
        if self._unpacked is None:
            with _readable(self._path, f"row group {self._group}"):
                table = self._file.read_row_group(self._group, columns=["ids"])
                self._unpacked = _of_lists(table["ids"].combine_chunks())
        return self._unpacked


def _of_lists(lists: Any) -> base.Contiguous:
    if (chunks := getattr(lists, "chunks", None)) is not None:
        lists = chunks[0]
    return base.Contiguous(to_numpy(lists.values), to_numpy(lists.offsets))


def _readable(path: pathlib.Path, wrong: str) -> AbstractContextManager[None]:
    return readable_parquet(LocalFile(path), wrong, f"{path.suffix} files")


def _check_column(schema: Any, path: pathlib.Path) -> None:
    """Raises ValueError unless the column `ids` has lists of integers."""
    import pyarrow as pa

    field = schema.field("ids") if "ids" in schema.names else None
    if field is None or not (pa.types.is_large_list(field.type) or pa.types.is_list(field.type)):
        raise ValueError(f"{path}: ids: expected a column of this name with lists of integers")
    if not pa.types.is_integer(field.type.value_type):
        raise ValueError(f"{path}: ids: expected lists of integers, got {field.type}")
