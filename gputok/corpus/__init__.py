r"""Reads every source of text as batches of limited size: packed UTF-8 bytes, and offsets of whole documents.

    read(source)        files, folders, globs, URLs, Arrow data, datasets, iterators of strings -> TextBatch, ...
    read_raw(source, memory)  like `read`, into the caller's memory; does not find or check the lines of large files
    read_texts(texts)   like `read`, for an iterable whose strings are documents, never paths
    total_bytes(source) the number of bytes to read, if that is known before reading
    parts(source)       cuts files into a list of parts; any process can read any part alone, because a part is a source
    located(source)     looks files up once, for `read` and `total_bytes`

| source                                     | one document is                                                      |
|--------------------------------------------|----------------------------------------------------------------------|
| plain text (any other name)                | a line, cut at \n only, ending kept; with `separator=` what lies between two separators |
| `.jsonl`, `.json`, `.ndjson`               | the field `column` of a line's object                                |
| `.parquet`                                 | a row of `column`                                                    |
| `.csv` (names of the columns in its first line) | a field of `column`                                             |
| each of these with `.gz`, `.xz`, `.zst`    | the same as without                                                  |
| a folder, a glob                           | as above, for all files below it but hidden ones, in sorted order    |
| a URL of any of these                      | the same as for a path; `gputok.files.locations` lists the URLs      |
| a file object in binary mode               | as its name says, compressed or not; without a name, plain text      |
| `datasets.Dataset`, `IterableDataset`      | a row of `column`                                                    |
| PyArrow arrays, tables and datasets, and whatever exports Arrow data (pandas, polars) | a row; of a table, of `column` |
| iterators of `str`, or of lists of `str`   | a string                                                             |

A missing value (null) becomes an empty document, so that document i is row i; if files have missing values, a warning
says how many. `column` may be left out if a column is called "text", or if only one column holds strings.

Several threads read (`gputok.corpus.readers`): ranges of large files, row groups, small files and compressed files. The
threads also cut and check the text. Batches come in the order of the source, the same for any number of threads. The
memory in use is at most the batch size times the threads, plus the longest document, plus the text of compressed files
and Parquet that threads unpack ahead (32 batches a thread, and 64 MB a thread at most).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from gputok.corpus.documents import refuse_long
from gputok.corpus.memory_sources import check_batch, is_columnar, text_batches
from gputok.corpus.missing_rows import MissingRows
from gputok.corpus.parts import Part, Place
from gputok.corpus.regrouping import regroup
from gputok.files.locations import Lender, StorageOptions, find, is_location, locate
from gputok.kernels.threads import thread_count
from gputok.text.pieces import LONGEST, RawLines, TextBatch

if TYPE_CHECKING:
    import os

    from gputok.corpus.packing import Errors
    from gputok.files.temporary import MemoryLimit
    from gputok.types import Array

__all__ = [
    "BATCH_BYTES",
    "Part",
    "located",
    "parts",
    "read",
    "read_texts",
    "refuse_output",
    "state",
    "total_bytes",
    "within",
]

BATCH_BYTES = 1 << 21
"""The default size of a batch. Reading it takes much longer than handing it to another thread, and it is small enough
that malloc uses the same memory again (measured: reading takes a fifth of the time that it takes with 16 MB)."""

PART_BYTES = 256 << 20
"""The default size of a part: some seconds of work; a corpus of terabytes has few enough parts for a list."""

# Each thread but the first may unpack so much of compressed files and row groups before its turn.
_AHEAD_BATCHES = 32
_MOST_AHEAD_BYTES = 64 << 20
_REMOTE_READERS = 8  # threads at least, if a file is remote: these threads mostly wait


def read(
    source: Any,
    *,
    column: str | None = None,
    separator: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
    threads: int | None = None,
    ahead_bytes: int = 1 << 62,
    longest: int = LONGEST,
    storage_options: StorageOptions = None,
) -> Iterator[TextBatch]:
    r"""Reads the documents of a source in batches.

    Args:
        source: A string, a path, or a list of them names files, folders, globs or URLs. Every other iterable yields
            texts. The table above lists all sources.
        column: The column or field that holds the documents. None: "text", or the only column that holds strings.
        separator: Cuts plain text at this string instead of after `\n`, and leaves the string out.
        errors: "strict" raises an error for bytes that are not UTF-8; "replace" puts U+FFFD there, as `bytes.decode`
            does.
        batch_bytes: About the size of a batch, in bytes. A batch holds whole documents, so it can be larger.
        threads: How many threads read files. None: GPUTOK_NUM_THREADS, or else the number of cores.
        ahead_bytes: How many bytes of compressed files and Parquet are unpacked before their turn, at most.
        longest: How many bytes a document, or a line of JSON Lines, may have, at most.
        storage_options: Options for the file system of a URL; see `gputok.files.locations`.

    Returns:
        An iterator of batches, in the order of the source. The `offsets` of a batch begin at 0 and end at `len(data)`;
        `data` may be a read-only view of Arrow's memory.

    Raises:
        FileNotFoundError: if no file has that path, or matches that glob.
        ValueError: if text is not UTF-8, a column does not exist, a file is truncated or damaged, or an argument does
            not suit the source. The message names the file, and the byte, line or row.
        TypeError: if an item is not a string. The message names the item.

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
        longest=longest,
        storage_options=storage_options,
    )
    return cast("Iterator[TextBatch]", batches)


def read_raw(
    source: Any, memory: Callable[[int], Array], *, batch_bytes: int = BATCH_BYTES, **options: Any
) -> Iterator[TextBatch | RawLines]:
    r"""Reads like `read`, but leaves it to the caller to find the lines of large local text files and to check UTF-8.

    Args:
        source: As for `read`.
        memory: A function that takes a number of bytes, mostly `batch_bytes` at most, and returns memory to read into,
            uint8[n]. As soon as the caller drops a batch, the caller may use its memory again.
        batch_bytes: As for `read`.
        options: The other options of `read`.

    Returns:
        An iterator of batches, in order. Text that `read` would cut into lines, if it is a range of a large local file,
        comes as RawLines.

    Raises:
        FileNotFoundError: As for `read`.
        ValueError: As for `read`; for RawLines, `checked()` raises it if the text is not UTF-8.
        TypeError: As for `read`.

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
    longest: int = LONGEST,
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
        options = Options(
            column, separator, errors, batch_bytes, missing, memory, Lender(), Lender(), longest
        )
        found = _places(source, storage_options)
        is_remote = any(place.file.is_remote for place in found)
        n_readers = max(thread_count(threads), _REMOTE_READERS if is_remote else 1)
        ahead_bytes = min(ahead_bytes, (n_readers - 1) * min(_AHEAD_BATCHES * batch_bytes, _MOST_AHEAD_BYTES))
        batches = readers.in_order(files.tasks(found, options), n_readers, ahead_bytes)
        return _then_warned(regroup(_bounded(batches, longest, "the corpus"), batch_bytes), missing)
    if separator is not None:
        raise ValueError("separator= cuts plain text files; this source already has its documents apart")
    return read_texts(source, column=column, errors=errors, batch_bytes=batch_bytes, longest=longest)


def within(memory: MemoryLimit | None) -> dict[str, int]:
    """Returns the options of `read` that keep text within a share of a limit on memory."""
    if memory is None:
        return {}
    # A document takes five times its bytes while it is read and its words are found. Each thread may have one.
    return {"ahead_bytes": memory.n_bytes // 8, "longest": memory.n_bytes // 24}


def _bounded(
    batches: Iterator[TextBatch | RawLines], longest: int, what: str
) -> Iterator[TextBatch | RawLines]:
    """Yields the batches; raises ValueError for a document of more than `longest` bytes."""
    n_before = 0
    for batch in batches:
        if isinstance(batch, TextBatch):
            refuse_long(batch, longest, lambda i, n=n_before: f"{what}, document {n + i}")
            n_before += batch.n_documents
        yield batch


def _then_warned(
    batches: Iterator[TextBatch | RawLines], missing: MissingRows
) -> Iterator[TextBatch | RawLines]:
    """Yields the batches; after the last one, warns if rows had no text."""
    yield from batches
    missing.warn()


def read_texts(
    texts: Iterable[Any],
    *,
    column: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
    longest: int = LONGEST,
) -> Iterator[TextBatch]:
    """Reads texts that are in memory already: here, the strings of a list are documents, not file names.

    Args:
        texts: An iterable of strings or of lists of strings, Arrow data, or a dataset.
        column: As for `read`.
        errors: As for `read`.
        batch_bytes: As for `read`.
        longest: As for `read`.

    Returns:
        An iterator of batches, in order.

    Raises:
        TypeError: if `texts` is not one of these, or an item is not a string.
        ValueError: if text is not UTF-8, or the column does not exist.

    >>> [batch.n_documents for batch in read_texts(["a line", "another"])]
    [2]
    """
    if not is_columnar(texts) and (isinstance(texts, bytes | dict) or not isinstance(texts, Iterable)):
        raise TypeError(
            f"no text can be read from {type(texts).__name__}: pass file names, Arrow data, or an iterator of str"
        )
    found = _bounded(text_batches(texts, column, errors, batch_bytes), longest, f"the {type(texts).__name__}")
    batches = regroup(found, batch_bytes)
    return cast("Iterator[TextBatch]", batches)


def located(source: Any, storage_options: StorageOptions = None) -> Any:
    """Looks up the files of a source, so that `read` and `total_bytes` need not.

    Args:
        source: As for `read`.
        storage_options: As for `read`.

    Returns:
        A list of the files, which is a source; if `source` does not name files, `source` itself.

    Raises:
        FileNotFoundError: if no file has that path, or matches that glob.
    """
    return _places(source, storage_options) if _is_paths(source) else source


def refuse_output(
    output: str | os.PathLike[str], source: Any, storage_options: StorageOptions = None
) -> None:
    """Raises ValueError if an output is one of the files of a source, which it would replace.

    Args:
        output: A path or URL.
        source: As for `read`.
        storage_options: As for `read`, of both.

    Raises:
        FileNotFoundError: if no file has the path of the source, or matches its glob.
    """
    if _is_paths(source):
        from gputok.files.outputs import refuse_inputs

        refuse_inputs(output, (place.file for place in _places(source, storage_options)), storage_options)


def parts(
    source: Any,
    *,
    part_bytes: int = PART_BYTES,
    separator: str | None = None,
    storage_options: StorageOptions = None,
) -> list[Part]:
    r"""Cuts files into parts, which can be read alone, in any order and in any process.

    A part has the documents that begin in it; the documents of all parts, in order, are the documents of the source. If
    a file can only be read from its beginning (a compressed file, or text with a separator that can overlap with
    itself), the whole file is one part.

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
    return [part for part, _ in sized_parts(source, part_bytes, separator, storage_options)]


def sized_parts(
    source: Any, part_bytes: int, separator: str | None, storage_options: StorageOptions = None
) -> Iterator[tuple[Part, int]]:
    """Cuts files into parts, as `parts` does.

    Args:
        source: As for `parts`.
        part_bytes: As for `parts`.
        separator: As for `parts`.
        storage_options: As for `parts`.

    Yields:
        The parts, in the order of the source, and about how many bytes each has.

    Raises:
        TypeError: As for `parts`.
        ValueError: As for `parts`.
        FileNotFoundError: As for `parts`.
    """
    from gputok.corpus import files

    if not _is_paths(source):
        raise TypeError(f"only files can be read in parts, not {type(source).__name__}")
    if part_bytes < 1:
        raise ValueError(f"part_bytes={part_bytes}: must be at least 1")
    yield from files.parts(find(source, storage_options), part_bytes, separator)


def total_bytes(
    source: Any, *, column: str | None = None, storage_options: StorageOptions = None
) -> int | None:
    """Returns the number of bytes of text that `read` will give.

    Args:
        source: As for `read`.
        column: As for `read`.
        storage_options: As for `read`.

    Returns:
        The number of bytes; None if only reading can tell it (iterators, compressed files, ...). If the source is read
        with a `separator`, the number is an upper bound, because separators are left out.

    Raises:
        FileNotFoundError: if no file has that path, or matches that glob.
        ValueError: if the column does not exist.
    """
    if isinstance(source, TextBatch):
        check_batch(source)
        return int(source.offsets[-1] - source.offsets[0])
    if _is_paths(source):
        from gputok.corpus import files

        return files.total_bytes(_places(source, storage_options))
    if is_columnar(source):
        from gputok.corpus import columns

        return columns.total_bytes(source, column)
    return None


def state(source: Any, storage_options: StorageOptions = None) -> list[tuple[Any, ...]] | None:
    """Returns values that change if the files of a source change.

    Args:
        source: As for `read`.
        storage_options: As for `read`.

    Returns:
        For each file or part, its state, and where the part starts and stops; None if the source does not name files.

    Raises:
        FileNotFoundError: if no file has that path, or matches that glob.
    """
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
    """The files of a source. Each `Place` says where its part starts and stops."""
    items = source if isinstance(source, list | tuple) and not isinstance(source, Place) else [source]
    if not any(isinstance(item, Part | Place) for item in items):
        return [Place(file) for file in find(source, storage_options)]
    names = dict.fromkeys(item.file for item in items if isinstance(item, Part))
    files = {
        name: locate(name, storage_options) for name in names
    }  # each file is looked up once, for all of its parts
    places: list[Place] = []
    for item in items:
        if isinstance(item, Part):
            places.append(Place(files[item.file], item.start, item.stop))
        elif isinstance(item, Place):
            places.append(item)
        else:
            places += map(Place, find(item, storage_options))
    return places
