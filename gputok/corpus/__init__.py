r"""Reads every source of text as batches of limited size: packed UTF-8 bytes, and offsets of whole documents.

    read(source)        files, folders, globs, URLs, Arrow data, datasets, iterators of strings -> TextBatch, ...
    parts(source)       cuts files into a list of parts; any process can read any part alone, because a part is a source
    Source.of(source)   looks files up once, for reading, for their number of bytes, parts and states

| source                                     | one document is                                                      |
|--------------------------------------------|----------------------------------------------------------------------|
| plain text (any other name)                | a line, cut at \n only, ending kept; or what `separator=` cuts |
| `.jsonl`, `.json`, `.ndjson`               | the field `column` of a line's object                                |
| `.parquet`                                 | a row of `column`                                                    |
| `.csv` (names of the columns in its first line) | a field of `column`                                             |
| each of these with `.gz`, `.xz`, `.zst`    | the same as without                                                  |
| a folder, a glob                           | as above, for all files below it but hidden ones, in sorted order    |
| a URL of any of these                      | the same as for a path; `gputok.files.locations` lists the URLs      |
| a file object in binary mode               | as its name says, compressed or not; without a name, plain text      |
| `datasets.Dataset`, `IterableDataset`      | a row of `column`                                                    |
| PyArrow arrays, tables, datasets, and whatever exports Arrow data (pandas, polars) | a row; of a table, of `column` |
| iterators of `str`, or of lists of `str`   | a string                                                             |

A missing value (null) becomes an empty document, so that document i is row i; if files have missing values, a warning
says how many. `column` may be left out if a column is called "text", or if only one column holds strings.

Several threads read (`gputok.corpus.readers`): ranges of large files, row groups, small files and compressed files. The
threads also cut and check the text. Batches come in the order of the source, the same for any number of threads. The
memory in use is at most the batch size times the threads, plus the longest document, plus the text of compressed files
and Parquet that threads unpack ahead (32 batches a thread, and 64 MB a thread at most). A .zst file of several frames,
as `pzstd` writes it, is unpacked by several threads (`gputok.corpus.zst_frames`); any other compressed file by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Unpack

from gputok.corpus.options import BATCH_BYTES, PART_BYTES, SIZES, Part, ReadOptions, ReadSizes
from gputok.corpus.source import Source
from gputok.files.locations import StorageOptions
from gputok.files.outputs import refuse_inputs
from gputok.text.pieces import LONGEST, TextBatch

__all__ = ["BATCH_BYTES", "Part", "ReadOptions", "Source", "parts", "read", "refuse_output"]


def read(
    source: Any,
    *,
    batch_bytes: int | None = None,
    threads: int | None = None,
    ahead_bytes: int = 1 << 62,
    longest: int = LONGEST,
    sizes: ReadSizes = SIZES,
    **options: Unpack[ReadOptions],
) -> Iterator[TextBatch]:
    r"""Reads the documents of a source in batches.

    Args:
        source: A string, a path, or a list of them names files, folders, globs or URLs. See the table above.
        batch_bytes: About the bytes of a batch, which holds whole documents, so can be larger; None: BATCH_BYTES.
        threads: How many threads read files. None: GPUTOK_NUM_THREADS, or else the number of cores.
        ahead_bytes: How many bytes of compressed files and Parquet are unpacked before their turn, at most.
        longest: How many bytes a document, or a line of JSON Lines, may have, at most.
        sizes: How much text is read together.
        options: How text is read: `ReadOptions`.

    Returns:
        An iterator of batches, in the order of the source; `offsets` go from 0 to `len(data)`, which may be read-only.

    Raises:
        FileNotFoundError: if no file has that path, or matches that glob.
        ValueError: if text is not UTF-8, a column does not exist, a file is truncated or damaged, or an argument does
            not suit the source. The message names the file, and the byte, line or row.
        TypeError: if an item is not a string. The message names the item.

    >>> batch, = read(iter(["one", ["two", "three"]]))
    >>> batch.offsets.tolist()
    [0, 3, 6, 11]
    """
    found = Source.of(source, longest=longest, ahead_bytes=ahead_bytes, sizes=sizes, **options)
    return found.read(threads, batch_bytes)


def refuse_output(output: str | os.PathLike[str], source: Any, storage_options: StorageOptions = None) -> None:
    """Raises ValueError if an output is one of the files of a source, which it would replace.

    Args:
        output: A path or URL.
        source: As for `read`, or a `Source`.
        storage_options: As for `read`, for the output and the source.

    Raises:
        FileNotFoundError: if no file has the path of the source, or matches its glob.
    """
    found = source if isinstance(source, Source) else Source.of(source, storage_options=storage_options)
    if found.is_files:
        refuse_inputs(output, (place.file for place in found.content), storage_options)


def parts(
    source: Any, *, part_bytes: int = PART_BYTES, separator: str | None = None, storage_options: StorageOptions = None
) -> list[Part]:
    r"""Cuts files into parts, which can be read alone, in any order and in any process.

    A part has the documents that begin in it; those of all parts, in order, are the documents of the source. A file is
    one part if it can only be read from its beginning (compressed, or with a separator that can overlap with itself).

    Args:
        source: Files, folders, globs or URLs, or a list of them.
        part_bytes: About the size of a part, in bytes of the file; for Parquet, in unpacked bytes of all columns.
        separator: As for `read`. Pass the same separator to `read`.
        storage_options: As for `read`.

    Returns:
        The parts, in the order of the source.

    Raises:
        TypeError: if the source does not name files.
        ValueError: if `part_bytes` is less than 1, or a Parquet file is damaged.
        FileNotFoundError: if no file has that path, or matches that glob.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> _ = path.write_text("one\ntwo\nthree\n")
    >>> [[*batch.strings()] for part in parts(path, part_bytes=6) for batch in read(part)]
    [['one\n', 'two\n'], ['three\n']]
    """
    found = Source.of(source, separator=separator, storage_options=storage_options)
    return [part for part, _ in found.parts(part_bytes)]
