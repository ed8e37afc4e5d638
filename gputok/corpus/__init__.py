r"""Every source of text becomes batches: packed UTF-8 bytes and offsets, whole documents, of bounded size.

    read(source)        files, folders, globs, URLs, Arrow data, datasets, iterators of strings -> TextBatch, ...
    read_raw(source, memory)  the same, read into given memory; lines of large files are neither looked for nor checked
    read_texts(texts)   the same for an iterable whose strings are documents, never paths
    total_bytes(source) how much there is to read, where that is known before reading it
    parts(source)       files as a list of parts that can be read alone, in any process: each is a source
    located(source)     files looked up once, for `read` and `total_bytes`

| source                                     | one document is                                                      |
|--------------------------------------------|----------------------------------------------------------------------|
| plain text (any other name)                | a line, cut at \n only, ending kept; with `separator=` what lies between two separators |
| `.jsonl`, `.json`, `.ndjson`               | the field `column` of a line's object                                |
| `.parquet`                                 | a row of `column`                                                    |
| `.csv` (names of the columns in its first line) | a field of `column`                                             |
| each of these with `.gz`, `.xz`, `.zst`    | as without                                                           |
| a folder, a glob                           | as above, for the files below it (hidden ones aside) in sorted order |
| a URL of any of these             | as a path; `gputok.files.locations` says who reads it                      |
| a file object in binary mode               | as its name says, compressed or not; without a name, plain text      |
| `datasets.Dataset`, `IterableDataset`      | a row of `column`                                                    |
| PyArrow arrays, tables and datasets, and whatever exports Arrow data (pandas, polars) | a row; of a table, of `column` |
| iterators of `str`, or of lists of `str`   | a string                                                             |

A missing value (null) is an empty document, so that rows and documents keep step; of files, they are counted, and a
warning says how many there were. `column` may be left out where there is one called "text" or only one of strings.

Several threads read (`gputok.corpus.readers`): ranges of large files, row groups, small files and compressed ones. They
also cut and check what they read, and what they give comes in the order of the source, the same for any number of them.
Memory is bounded by the batch size times the threads and, of compressed files and Parquet, by what is unpacked ahead
(32 batches a thread, 64 MB at most), besides the longest document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from gputok.corpus.memory_sources import is_columnar, text_batches
from gputok.corpus.missing_rows import MissingRows
from gputok.corpus.parts import Part, Place
from gputok.corpus.regrouping import regroup
from gputok.files.locations import StorageOptions, find, is_location, locate
from gputok.kernels.threads import thread_count
from gputok.text.pieces import RawLines, TextBatch

if TYPE_CHECKING:
    from gputok.corpus.packing import Errors
    from gputok.types import Array

__all__ = ["BATCH_BYTES", "Part", "located", "parts", "read", "read_texts", "state", "total_bytes"]

BATCH_BYTES = 1 << 21
"""Aimed at by default: large beside the cost of handing a batch over, small enough that malloc hands the same memory
out again (measured: reading takes a fifth of the time that it takes with 16 MB)."""

PART_BYTES = 256 << 20
"""Of a part, by default: some seconds of work, and few enough for a list of terabytes."""

_AHEAD_BATCHES = (
    32  # of compressed files and row groups, that each further thread may unpack before their turn
)
_MOST_AHEAD_BYTES = 64 << 20
_REMOTE_READERS = 8  # at least: they mostly wait


def read(
    source: Any,
    *,
    column: str | None = None,
    separator: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
    threads: int | None = None,
    ahead_bytes: int = 1 << 62,
    storage_options: StorageOptions = None,
) -> Iterator[TextBatch]:
    r"""Batches of the documents of `source`, each of about `batch_bytes` bytes (whole documents, so it can be more).

    A string, a path, or a list of them names files, folders, globs or URLs; every other iterable is one of texts.
    `threads` read files, by default GPUTOK_NUM_THREADS, or as many as there are cores; `storage_options` are those of
    the file system of a URL (`gputok.files.locations`). At most `ahead_bytes` of compressed files and Parquet are unpacked
    before their turn.
    A batch's `offsets` begin at 0 and end at `len(data)`; `data` may be a read-only view of Arrow's memory.
    With `separator`, plain text is cut there instead of after `\n`, and the separators are left out.
    `errors="replace"` puts U+FFFD for what is not UTF-8, as `bytes.decode` does.

    Raises FileNotFoundError for a path or glob that names nothing; ValueError for text that is not UTF-8 (with
    its file and byte), a column that is not there, a file that is broken off or not of its kind, or an argument
    that says nothing about the source; TypeError for an item that is no text. Each names where.

    >>> batch, = read(iter(["one", ["two", "three"]]))
    >>> batch.offsets.tolist()
    [0, 3, 6, 11]
    """
    batches = _read(
        source,
        column=column,
        separator=separator,
        errors=errors,
        batch_bytes=batch_bytes,
        threads=threads,
        ahead_bytes=ahead_bytes,
        storage_options=storage_options,
    )
    return cast("Iterator[TextBatch]", batches)


def read_raw(
    source: Any, memory: Callable[[int], Array], *, batch_bytes: int = BATCH_BYTES, **options: Any
) -> Iterator[TextBatch | RawLines]:
    r"""`read`, but for whoever can find lines and check UTF-8: lines of large local text files come as they were read.

    Args:
        source: As for `read`.
        memory: Called with a number of bytes, mostly `batch_bytes` at most, gives the memory to read them into, uint8[n].
            Nothing refers to that memory any longer when nothing refers to the batch.
        batch_bytes: As for `read`.
        options: Those of `read`.

    Returns:
        Batches in order; RawLines where `read` would give the lines of a range of a file.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> _ = path.write_text("line\n" * 300_000)
    >>> batch, = read_raw(path, lambda n_bytes: np.empty(n_bytes, np.uint8))
    >>> len(batch.data), batch.checked().n_documents
    (1500000, 300000)
    """
    return _read(source, batch_bytes=batch_bytes, memory=memory, **options)


def _read(
    source: Any,
    *,
    batch_bytes: int,
    column: str | None = None,
    separator: str | None = None,
    errors: Errors = "strict",
    threads: int | None = None,
    ahead_bytes: int = 1 << 62,
    storage_options: StorageOptions = None,
    memory: Callable[[int], Array] | None = None,
) -> Iterator[TextBatch | RawLines]:
    if errors not in ("strict", "replace"):
        raise ValueError(f"errors={errors!r}: must be 'strict' or 'replace'")
    if separator == "":
        raise ValueError(
            "separator='' cuts nothing; use one that does not occur to take each file as one document"
        )
    if batch_bytes < 1:
        raise ValueError(f"batch_bytes={batch_bytes}: must be at least 1")
    if _is_paths(source):
        from gputok.corpus import files, readers
        from gputok.corpus.options import Options

        missing = MissingRows()
        options = Options(column, separator, errors, batch_bytes, missing, memory)
        found = _places(source, storage_options)
        is_remote = any(place.file.is_remote for place in found)
        n_readers = max(thread_count(threads), _REMOTE_READERS if is_remote else 1)
        ahead_bytes = min(ahead_bytes, (n_readers - 1) * min(_AHEAD_BATCHES * batch_bytes, _MOST_AHEAD_BYTES))
        batches = readers.in_order(files.tasks(found, options), n_readers, ahead_bytes)
        return _then_warned(regroup(batches, batch_bytes), missing)
    if separator is not None:
        raise ValueError("separator= cuts plain text files; this source already has its documents apart")
    return read_texts(source, column=column, errors=errors, batch_bytes=batch_bytes)


def _then_warned(
    batches: Iterator[TextBatch | RawLines], missing: MissingRows
) -> Iterator[TextBatch | RawLines]:
    """The batches; at their end, a warning of rows that have no text."""
    yield from batches
    missing.warn()


def read_texts(
    texts: Iterable[Any],
    *,
    column: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[TextBatch]:
    """`read` for texts that are in Python already: a list of strings is documents here, not file names.

    >>> [batch.n_documents for batch in read_texts(["a line", "another"])]
    [2]
    """
    if not is_columnar(texts) and (isinstance(texts, bytes | dict) or not isinstance(texts, Iterable)):
        raise TypeError(
            f"{type(texts).__name__} is no source of text: pass file names, Arrow data, or an iterator of str"
        )
    batches = regroup(text_batches(texts, column, errors, batch_bytes), batch_bytes)
    return cast("Iterator[TextBatch]", batches)


def located(source: Any, storage_options: StorageOptions = None) -> Any:
    """A source whose files were looked up, so that `read` and `total_bytes` need not; any other source as it is.

    Raises what `locations.find` does.
    """
    return _places(source, storage_options) if _is_paths(source) else source


def parts(
    source: Any,
    *,
    part_bytes: int = PART_BYTES,
    separator: str | None = None,
    storage_options: StorageOptions = None,
) -> list[Part]:
    r"""Files as parts of about `part_bytes` bytes, which can be read alone, in any order and any process.

    A part has the documents that begin in it; those of all parts, in order, are those of the source. What can only be
    read from its beginning (compressed files, text with a separator that can overlap with itself) is one part a file.

    Args:
        source: files, folders, globs or URLs, or a list of them.
        part_bytes: of the file; of Parquet, of all columns of its row groups, unpacked.
        separator: as for `read`, which must be given the same.
        storage_options: as for `read`.

    Raises:
        TypeError: the source is no file. And what `read` raises for a file that can't be read.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt")
    >>> _ = path.write_text("one\ntwo\nthree\n")
    >>> [[*batch.strings()] for part in parts(path, part_bytes=6) for batch in read(part)]
    [['one\n', 'two\n'], ['three\n']]
    """
    from gputok.corpus import files

    if not _is_paths(source):
        raise TypeError(f"{type(source).__name__} is no file, and can't be read in parts")
    if part_bytes < 1:
        raise ValueError(f"part_bytes={part_bytes}: must be at least 1")
    return list(files.parts(find(source, storage_options), part_bytes, separator))


def total_bytes(
    source: Any, *, column: str | None = None, storage_options: StorageOptions = None
) -> int | None:
    """The bytes of text that `read` will give, or None where only reading tells (iterators, compressed files, ...).

    With a `separator` it is an upper bound, since separators are left out.
    """
    if isinstance(source, TextBatch):
        return int(source.offsets[-1] - source.offsets[0])
    if _is_paths(source):
        from gputok.corpus import files

        return files.total_bytes(_places(source, storage_options))
    if is_columnar(source):
        from gputok.corpus import columns

        return columns.total_bytes(source, column)
    return None


def state(source: Any, storage_options: StorageOptions = None) -> list[tuple[Any, ...]] | None:
    """What changes when the files of a source do; None: it is not of files, and nobody knows."""
    if not _is_paths(source):
        return None
    return [(*file.state(), start, stop) for file, start, stop in _places(source, storage_options)]


def _is_paths(source: Any) -> bool:
    if isinstance(source, list | tuple) and not isinstance(source, TextBatch | Place):
        return all(map(_is_path, source))
    return _is_path(source)


def _is_path(item: Any) -> bool:
    return isinstance(item, Part | Place) or is_location(item)


def _places(source: Any, storage_options: StorageOptions = None) -> list[Place]:
    """The files of a source, each with where its part starts and stops."""
    items = source if isinstance(source, list | tuple) and not isinstance(source, Place) else [source]
    if not any(isinstance(item, Part | Place) for item in items):
        return [Place(file) for file in find(source, storage_options)]
    names = dict.fromkeys(item.file for item in items if isinstance(item, Part))
    files = {name: locate(name, storage_options) for name in names}  # looked up once, for all of its parts
    places: list[Place] = []
    for item in items:
        if isinstance(item, Part):
            places.append(Place(files[item.file], item.start, item.stop))
        elif isinstance(item, Place):
            places.append(item)
        else:
            places += map(Place, find(item, storage_options))
    return places
