"""Parquet files of word counts: columns `word` (binary) and `count` (int64), and a description in the metadata.

A file that gputok writes has its words in the order of their keys, hence by partition (`gputok.counts.partitions`), and
its description says how many words each partition has. If there are many words, no row group has words of two
partitions, so that one partition of many files can be read without the others.

Other programs write such files, too: then nothing is known about their order, a word may be there several times, and
the caller says whether words are byte-level and what the columns are called.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gputok.checks import (
    WrongValue,
    brief,
    checked,
    choice,
    integer,
    listed,
    needed,
    optional,
    reading,
    several,
    short,
    shortened,
    string,
    switch,
)
from gputok.files.arrow import check_array, check_offsets, from_numpy, needed_for, text_offsets, to_numpy
from gputok.files.locations import find
from gputok.files.outputs import writing
from gputok.files.parquet import open_parquet, readable_parquet
from gputok.kernels.cpu.count_words import word_keys
from gputok.kernels.cpu.lines import find_invalid_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from gputok.files.arrow import RecordBatch, Schema
    from gputok.files.locations import File, StorageOptions
    from gputok.types import Bytes, Counts, Positions


MOST = 2**63 - 1
"""The largest sum of the counts of all words: then no sum of some of them needs more than 64 bits."""
_METADATA, _VERSION = b"gputok.word_counts", 2
_HASH, _PARTITIONS = "word_key/2", 64  # the hash that tells the partition of a word, and how many partitions there are
_KEY_SHIFT = np.uint64(64 - 6)  # the upper six bits of a word's key are the number of its partition
_FEW_WORDS = 1 << 16  # a file of fewer words has one row group
_ROWS_AT_ONCE = 1 << 16


class WordColumns(NamedTuple):
    """Words and their counts: word i is data[offsets[i]:offsets[i + 1]]."""

    data: Bytes  # uint8[n_bytes]
    offsets: Positions  # int64[n_words + 1]
    counts: Counts  # int64[n_words]
    byte_level: bool

    def word(self, i: int) -> bytes:
        """Returns word i."""
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()


class ColumnNames(NamedTuple):
    """What the caller must say of a file that another program wrote, since the file does not."""

    byte_level: bool | None = None  # None: gputok wrote the file
    word: str = "word"
    count: str = "count"

    @classmethod
    def of(cls, byte_level: Any, word: Any, count: Any) -> ColumnNames:
        """Checks the arguments of public functions."""
        return cls(
            checked("byte_level", optional(switch), byte_level),
            checked("word_column", string, word),
            checked("count_column", string, count),
        )

    def check(self, names: Sequence[str], where: str) -> None:
        """Raises ValueError if a table with columns of these names lacks one."""
        for name in (self.word, self.count):
            if name not in names:
                raise ValueError(
                    f"{where}: has no column {short(name)}; it has {several(names)}. Name the columns of words and of "
                    "counts by word_column= and count_column="
                )


def write(
    path: str | os.PathLike[str],
    partitions: Iterable[WordColumns],
    sizes: Sequence[int],
    byte_level: bool,
    storage_options: StorageOptions = None,
    few_words: int = _FEW_WORDS,
    scale: Fraction | int = 1,
    part: str | None = None,
) -> None:
    """Writes a file at a path or URL, atomically.

    partitions: the words of each partition, in the order of their keys; sizes: how many each has. few_words: a file of
    fewer words has one row group, any other file one for each partition with words. scale: what a word of weight 1
    counts for. part: of which part of which corpus the words are, for a file in the work folder of a run.
    """
    with needed_for(f"{os.fspath(path)}: writing word counts"):
        import pyarrow as pa
        from pyarrow import parquet

    description = {"version": _VERSION, "byte_level": byte_level, "hash": _HASH, "partitions": sizes}
    description |= {} if scale == 1 else {"scale": str(scale)}
    description |= {} if part is None else {"part": part}
    schema = words_schema().with_metadata({_METADATA: json.dumps(description)})
    with (
        writing(path, storage_options) as temporary,
        parquet.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=cast("Any", ["count"]),
            write_page_checksum=True,  # damaged words or counts would look like others
        ) as writer,
    ):
        tables = (pa.table(_arrays(words), schema=schema) for words in partitions)
        if sum(sizes) < few_words:
            # `schema.empty_table()` imports pandas
            writer.write_table(pa.concat_tables([*tables, pa.Table.from_batches([], schema)]))
            return
        for table in tables:
            if len(table):
                writer.write_table(table)
                pa.default_memory_pool().release_unused()


def words_schema() -> Schema:
    """The columns of counted words: `word`, large_binary, and `count`, int64."""
    import pyarrow as pa

    return pa.schema([("word", pa.large_binary()), ("count", pa.int64())])


def words_batch(words: WordColumns) -> RecordBatch:
    """Counted words as a batch with the schema `words_schema`, without a copy of the words."""
    import pyarrow as pa

    return pa.record_batch(_arrays(words), schema=words_schema())


def _arrays(words: WordColumns) -> list[Any]:
    """The columns `word` and `count` as Arrow arrays, without a copy of the words."""
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(words.offsets)), pa.py_buffer(words.data)]
    return [pa.Array.from_buffers(pa.large_binary(), len(words.counts), buffers), from_numpy(words.counts)]


def find_files(source: Any, storage_options: StorageOptions = None) -> list[File]:
    """The files of a path, URL, folder, glob or list without what engines add: no `_*`; only `.parquet`, if any is."""
    files = find(source, storage_options)
    chosen = [file for file in files if not file.name.startswith("_")]
    return [file for file in chosen if file.name.endswith(".parquet")] or chosen


class CountFile:
    """A Parquet file of word counts, which is read in parts.

    columns: what a file of another program does not say; is_limited: True: there is a limit on memory, so
    Arrow gives freed memory back after each batch.
    """

    def __init__(self, file: File, columns: ColumnNames, *, is_limited: bool = False) -> None:
        """Reads the description. Raises ValueError if the file has none and `columns` does not stand for it."""
        with needed_for(f"{file}: reading word counts"):
            from pyarrow import parquet

        self.file, self._columns, self._is_limited = file, columns, is_limited
        with readable_parquet(file), file.open_for_arrow() as opened:
            self._metadata = parquet.ParquetFile(opened).metadata
            schema = self._metadata.schema.to_arrow_schema()
        description = _description(str(file), {**(self._metadata.metadata or {}), **(schema.metadata or {})})
        self.scale = _scale((description or {}).get("scale", "1"))
        if description is None:
            if columns.byte_level is None:
                raise ValueError(
                    f"{file}: holds no word counts of gputok (`gputok count`, WordCounts.save); if another program "
                    "wrote words and counts there, say by byte_level= whether the words are byte-level"
                )
            self.byte_level, self._sizes = columns.byte_level, None
        else:
            self.byte_level, self._sizes = description["byte_level"], description["partitions"]
            if sum(self._sizes) != self.n_words:
                # Another program has changed the file
                description = self._sizes = None
            if columns.byte_level not in (None, self.byte_level):
                raise ValueError(
                    f"{file}: its words are {'' if self.byte_level else 'not '}byte-level, but byte_level="
                    f"{columns.byte_level} was given"
                )
        self.part: str | None = None if description is None else description.get("part")
        self.is_distinct = description is not None  # no word is there twice
        columns.check(schema.names, str(file))

    @property
    def n_words(self) -> int:
        """The number of rows."""
        return self._metadata.num_rows

    @property
    def is_partitioned(self) -> bool:
        """True if the description says that a partition can be read without the others."""
        return self._sizes is not None and self._metadata.num_row_groups > 1

    def batches(self) -> Iterator[WordColumns]:
        """The rows in order, some at a time."""
        yield from self._read(range(self._metadata.num_row_groups))

    def partition(self, number: int) -> Iterator[WordColumns]:
        """The words of one partition. Raises ValueError if they belong to another one."""
        assert self._sizes is not None
        first = sum(self._sizes[:number])
        n_rows = np.array([self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)])
        ends = np.cumsum(n_rows)
        groups = np.flatnonzero((first < ends) & (ends - n_rows < first + self._sizes[number]))
        for words in self._read(groups.tolist()):
            if np.any(word_keys(words.data, words.offsets) >> _KEY_SHIFT != number):
                raise ValueError(
                    f"{self.file}: its words are not in the order that its description says, so another program has "
                    "changed the file; load it alone and save it again"
                )
            yield words

    def _read(self, groups: Sequence[int]) -> Iterator[WordColumns]:
        """Yields the words of some row groups. Variables that refer to Arrow's memory are deleted: it can be freed."""
        import pyarrow as pa

        if not groups:
            return
        names = [self._columns.word, self._columns.count]
        with readable_parquet(self.file), self.file.open_for_arrow() as opened:
            reader = open_parquet(self.file, opened, self._metadata, page_checksum_verification=True)
            batches = reader.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=names, use_threads=False)
            n_before = 0
            del reader
            try:
                for batch in batches:
                    yield from_arrow(batch, self.byte_level, self._columns, str(self.file), n_before)
                    n_before += len(batch)
                    del batch
                    if self._is_limited:
                        pa.default_memory_pool().release_unused()
            finally:
                del batches
                if self._is_limited:
                    pa.default_memory_pool().release_unused()


def record_batches(table: Any) -> Iterator[Any]:
    """The pyarrow.RecordBatches of an object that holds or exports some."""
    import pyarrow as pa

    if isinstance(table, pa.RecordBatch):
        yield table
    elif isinstance(table, pa.Table):  # not by a stream, in which broken arrays would not be found
        yield from table.to_batches()
    elif hasattr(table, "__arrow_c_stream__"):
        yield from pa.RecordBatchReader.from_stream(table)
    elif isinstance(table, Iterable):
        for item in table:
            yield from record_batches(item)
    else:
        raise TypeError(f"expected Arrow data of words and counts, got {type(table).__name__}")


def from_arrow(table: Any, byte_level: bool, columns: ColumnNames, where: str, n_before: int = 0) -> WordColumns:
    """The words and counts of a pyarrow.Table or RecordBatch, row by row; `where`, `n_before` (rows): for messages.

    Raises ValueError if a column or value is missing, or wrong: a count is an integer of 64 bits above 0.
    """
    import pyarrow as pa

    columns.check(table.schema.names, where)
    words = _cast(table.column(columns.word), pa.large_binary(), f"{where}, column {short(columns.word)}")
    counts = _cast(table.column(columns.count), pa.int64(), f"{where}, column {short(columns.count)}")
    ends = text_offsets(words)
    packed = WordColumns(
        np.frombuffer(words.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]],
        ends - ends[0],
        to_numpy(counts),
        byte_level,
    )
    check(packed, where, n_before)
    return packed


def check_arrays(words: WordColumns, where: str) -> None:
    """Checks arrays that another program made, before a kernel gets them; raises TypeError, or what `check` raises."""
    for name, dtype in (("data", np.uint8), ("offsets", np.int64), ("counts", np.int64)):
        array = getattr(words, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            raise TypeError(
                f"{where}: {name} must be an array of {np.dtype(dtype)} of one dimension, not {brief(array)}"
            )
    checked(f"{where}: byte_level", switch, words.byte_level)
    if len(words.offsets) != len(words.counts) + 1:
        raise ValueError(f"{where}: {len(words.counts)} counts need one offset more, not {len(words.offsets)}")
    check_offsets(words.offsets, len(words.data), where)
    check(words, where)


def exact_sum(counts: Counts) -> int:
    """Returns the sum of counts, which may need more than 64 bits."""
    return (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())


def check_total(total: int, where: str, what: str = "the counts of all words") -> None:
    """Raises ValueError if counts, or what is added up from them, would not fit into int64."""
    if abs(total) > MOST:
        raise ValueError(
            f"{where}: {what} add up to {total:,}, more than the 2**63 - 1 that can be counted; divide all counts by "
            "the same number"
        )


def check(words: WordColumns, where: str, n_before: int = 0) -> None:
    """Raises ValueError if a count is below 1, their sum too large, or a word that is not byte-level is not UTF-8."""
    data, offsets, counts, byte_level = words
    if len(counts) and counts.min() < 1:
        i = int(counts.argmin())
        raise ValueError(f"{where}: word {n_before + i} occurs {counts[i]} times; counts must be at least 1")
    check_total(exact_sum(counts), where)
    if byte_level:
        return
    at = find_invalid_utf8(data)
    if at < 0:  # all words together are UTF-8, but one may begin inside a character of the word before
        begins = offsets[:-1][offsets[:-1] < offsets[1:]]
        torn = begins[(data[begins] & 0xC0) == 0x80]
        at = int(torn[0]) if len(torn) else -1
    if at >= 0:
        i = int(np.searchsorted(offsets, at, "right")) - 1
        word = data[offsets[i] : offsets[i + 1]].tobytes()
        raise ValueError(f"{where}: word {n_before + i}, {short(word)}, is not UTF-8 (are the words byte-level?)")


def _cast(column: Any, kind: Any, where: str) -> Any:
    """A column as one array of this type."""
    import pyarrow as pa

    check_array(column, where)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if array.null_count:
        raise ValueError(f"{where}: {array.null_count} values are missing (null)")
    types, given, of_numbers = pa.types, array.type, kind == pa.int64()
    is_number = types.is_integer(given) or types.is_decimal(given) or types.is_floating(given)
    if is_number == of_numbers and not types.is_boolean(given):
        try:
            return array.cast(kind)
        except pa.ArrowNotImplementedError:  # a list, say
            pass
        except pa.ArrowInvalid as error:
            raise ValueError(f"{where}: {shortened(str(error))}") from None
    wanted = "integers of 64 bits" if of_numbers else "words (binary or string)"
    raise ValueError(f"{where}: expected {wanted}, got {shortened(str(given))}")


def _description(path: str, metadata: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    """Reads the description in the metadata; raises ValueError if this version of gputok does not know it."""
    if _METADATA not in metadata:
        return None
    where = f"{path}: its description"
    try:
        description = json.loads(metadata[_METADATA])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: is no JSON: {error}") from None
    version = reading(where, lambda value: integer(0, 2**31)(needed(value, "version")), description)
    if version != _VERSION:
        raise ValueError(
            f"{path}: word counts of version {version}, but this gputok reads version {_VERSION}; "
            "count the words again, or use the gputok that wrote the file"
        )
    reading(where, _check_description, description)
    return description


def _scale(value: Any) -> Fraction:
    from fractions import Fraction

    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,99}(/[1-9][0-9]{0,99})?", value):
        raise WrongValue(f"must be a fraction such as 10 or 1/2, not {brief(value)}")
    return Fraction(value)


def _check_description(description: dict[str, Any]) -> None:
    """Checks every field but the version: the code that uses the fields does not check them again."""
    reading("byte_level", switch, needed(description, "byte_level"))
    reading("scale", _scale, description.get("scale", "1"))
    reading("part", optional(string), description.get("part"))
    reading("hash", choice(_HASH), needed(description, "hash"))
    sizes = reading("partitions", listed(integer(0, 2**63 - 1)), needed(description, "partitions"))
    if len(sizes) != _PARTITIONS:
        raise WrongValue(f"must be a list of {_PARTITIONS} numbers, not {len(sizes)}", "partitions")
