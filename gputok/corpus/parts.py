"""Parts of files: a corpus is shared among machines, and resumed after an interruption, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gputok.files.locations import File


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
    """A part of a file that was looked up already."""

    file: File
    start: int = 0
    stop: int | None = None
