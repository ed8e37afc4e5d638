"""The unit in which a corpus can be shared out, or taken up again: a file, and from where to where in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gputok.files.locations import File


@dataclass(frozen=True)
class Part:
    """A part of a file, which can be read alone, anywhere: the documents that begin in it.

    >>> Part("books/a.txt", 0, 1_000_000) == Part("books/a.txt", 0, 1_000_000)
    True
    """

    file: str  # a path or URL
    start: int = 0  # the first byte of text or JSON Lines; the first row group of Parquet
    stop: int | None = None  # behind the last one; None: to the end of the file


class Place(NamedTuple):
    """A part whose file was looked up."""

    file: File
    start: int = 0
    stop: int | None = None
