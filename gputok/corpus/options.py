"""The options of a read, which every reader of files gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from gputok.text.pieces import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.corpus.missing_rows import MissingRows
    from gputok.corpus.packing import Errors
    from gputok.files.locations import Lender, StorageOptions
    from gputok.types import Array


BATCH_BYTES = 1 << 21
"""The default size of a batch. Reading it takes much longer than handing it to another thread, and it is small enough
that malloc uses the same memory again (measured: reading takes a fifth of the time that it takes with 16 MB)."""

PART_BYTES = 256 << 20
"""The default size of a part: some seconds of work; a corpus of terabytes has few enough parts for a list."""


class ReadOptions(TypedDict, total=False):
    """How a corpus is read: keyword arguments of all that reads one. All may be left out.

    Attributes:
        errors: "strict" raises an error for bytes that are not UTF-8, and for lone surrogates; "replace" puts U+FFFD there.
        column: the column of JSON Lines, CSV, Parquet, tables and datasets; None: "text", or the only column of strings.
        separator: cut text files here instead of after each line; the separators are left out. A separator that occurs
            nowhere makes each file one document.
        storage_options: options of the file systems of URLs (`gputok.files.locations`).
    """

    errors: Errors
    column: str | None
    separator: str | None
    storage_options: StorageOptions


class Sizes(NamedTuple):
    """How much text is read together, in bytes.

    Attributes:
        batch: a batch that is handed on, unless the caller asks for another size.
        small: a thread reads several files that are smaller, and ranges that are not smaller.
        remote: the least that is requested from a network at once.
        task: what a thread reads, and works on, at most. What Python does for it takes 0.2 ms, one thread at a time; and the
            text stays in the cache that a core shares with others.
        slack: what is read after a range: most last documents end there.
        part: what is counted together if the counts of each part are saved.
    """

    batch: int = BATCH_BYTES
    small: int = 1 << 20
    remote: int = 8 << 20
    task: int = 8 << 20
    slack: int = 1 << 12
    part: int = PART_BYTES


SIZES = Sizes()


class Options(NamedTuple):
    """The options of a read; see `gputok.corpus.read`."""

    column: str | None
    separator: str | None
    errors: Errors
    batch_bytes: int
    missing: MissingRows
    # Returns memory to read text into, uint8[n]. If it is set, lines of large local files come as RawLines.
    memory: Callable[[int], Array] | None = None
    # Memory for the text of local files and for the starts of their lines, which batches give back when they are dropped.
    text_lender: Lender | None = None
    starts_lender: Lender | None = None
    unpackers: int = 1  # how many threads unpack the frames of one .zst file
    ahead_bytes: int = 0  # how many bytes of frames they may unpack before their turn
    longest: int = LONGEST  # the most bytes that one document, or one line of JSON, may have
    sizes: Sizes = SIZES
