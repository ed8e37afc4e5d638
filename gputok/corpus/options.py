"""Arguments of a read of a corpus (places in files, options, the column), and what it reports (rows without text)."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from gputok.checks import several, short, warn
from gputok.kernels.signatures import NamedTuple
from gputok.text.pieces import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok.files.locations import File, Lender, StorageOptions
    from gputok.types import Array


@dataclass(frozen=True)
class Part:
    """A part of a file: the documents that begin in it. Any process on any machine can read it alone.

    >>> Part("books/a.txt", 0, 1_000_000) == Part("books/a.txt", 0, 1_000_000)
    True
    """

    file: str  # a path or URL
    start: int = 0  # the first byte of text or JSON Lines; the first row group of Parquet
    stop: int | None = None  # the last one + 1; None: to the end of the file


class Place(NamedTuple):
    """A `Part` whose file was looked up already."""

    file: File
    start: int = 0
    stop: int | None = None


BATCH_BYTES = 1 << 21
"""The default size of a batch. Reading it takes much longer than handing it to another thread, and it is small enough
that malloc uses the same memory again (measured: reading takes a fifth of the time that it takes with 16 MB)."""

PART_BYTES = 256 << 20
"""The default size of a part: some seconds of work; a corpus of terabytes has few enough parts for a list."""


Errors = Literal["strict", "replace"]


class ReadOptions(TypedDict, total=False):
    """How a corpus is read: keyword arguments of all functions that read a corpus. All may be left out.

    Attributes:
        errors: "strict" raises an error for bytes that are not UTF-8, and lone surrogates; "replace" puts U+FFFD there.
        column: the column of JSON Lines, CSV, Parquet, tables, datasets; None: "text", or the only column of strings.
        separator: cuts text files instead of each newline, and is left out. If it occurs nowhere, a file is a document.
        storage_options: options of the file systems of URLs (`gputok.files.locations`).
    """

    errors: Errors
    column: str | None
    separator: str | None
    storage_options: StorageOptions


class ReadSizes(NamedTuple):
    """How much text is read together, in bytes."""

    batch: int = BATCH_BYTES  # of a batch, unless the caller asks for another size
    small: int = 1 << 20  # a thread reads several smaller files together; of others, ranges not smaller than this
    remote: int = 8 << 20  # the least that is requested from a network at once
    # The most that a thread reads and then works on. Python's part of that work takes 0.5 ms, in one thread at a time:
    # 1.4 % of the time to encode 16 MB, 2.2 % for half as much. More bytes don't make kernels slower per byte, since
    # kernels work in windows that stay in the caches
    task: int = 16 << 20
    slack: int = 1 << 12  # read together with a range, after it: the range's last document mostly ends there
    part: int = PART_BYTES  # of a part whose words are counted together, if the counts of each part are saved


SIZES = ReadSizes()


class Options(NamedTuple):
    """The options of a read; see `gputok.corpus.read`."""

    column: str | None
    separator: str | None
    errors: Errors
    batch_bytes: int
    missing: MissingRows
    # Returns memory to read text into, uint8[n]. If it is set, lines of large local files come as RawLines.
    memory: Callable[[int], Array] | None = None
    # They lend memory for the text of local files, and for where lines start; it comes back when a batch is freed
    text_lender: Lender | None = None
    starts_lender: Lender | None = None
    unpackers: int = 1  # how many threads unpack the frames of one .zst file
    ahead_bytes: int = 0  # how many bytes of frames they may unpack before their turn
    longest: int = LONGEST  # the most bytes that one document, or one line of JSON, may have
    sizes: ReadSizes = SIZES


_MOST_NAMED = 3  # the most files that a warning names


class MissingRows:
    """Counts the rows of files whose field is missing or null, while several threads read.

    >>> missing = MissingRows()
    >>> missing.add("a.jsonl", "text", 2)
    >>> missing.message()
    "2 rows of a.jsonl have no 'text'; they count as empty documents"
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, file: str, column: str, n_rows: int) -> None:
        """Adds a number of rows of a file that have no `column`."""
        if n_rows:
            with self._lock:
                self._counts[file, column] += n_rows

    def clear(self) -> None:
        """Forgets all rows, when another read begins."""
        self._counts.clear()

    def message(self) -> str:
        """Returns how many rows were counted, the same text for any number of threads; "" if no row was counted."""
        if not self._counts:
            return ""
        files = sorted({file for file, _ in self._counts})
        columns = sorted({column for _, column in self._counts})
        n_rows, more = sum(self._counts.values()), len(files) - _MOST_NAMED
        named = ", ".join(files[:_MOST_NAMED]) + (f" and {more} more files" if more > 0 else "")
        rows, have, count = "row", "has", "it counts as an empty document"
        if n_rows != 1:
            rows, have, count = "rows", "have", "they count as empty documents"
        return f"{n_rows:,} {rows} of {named} {have} no {' or '.join(map(repr, columns))}; {count}"

    def warn(self) -> None:
        """Issues the message as a warning, unless it is empty, and forgets the rows."""
        if message := self.message():
            self.clear()
            warn(message)


def choose_column(names: Sequence[str], of_strings: Sequence[str], column: str | None, where: str) -> str:
    """Chooses the column to read: `column` or, if that is None, "text" or the only column that holds strings.

    Raises ValueError if `column` does not exist, or if it is None and several columns could be meant, or none.

    >>> choose_column(["id", "text"], [], None, "a.csv")
    'text'
    """
    if column is None:
        column = "text" if "text" in names else of_strings[0] if len(of_strings) == 1 else None
        if column is None:
            raise ValueError(f"{where} has the columns {several(names)}: name the one to read by column=")
    elif column not in names:
        raise ValueError(f"{where} has no column {short(column)}; it has {several(names)}")
    return column
