"""Counts the rows that have no text; they become empty documents."""

from __future__ import annotations

import collections
import threading
import warnings

_MOST_NAMED = 3  # a warning names at most so many files


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

    def message(self) -> str:
        """Returns how many rows were counted, the same text for any number of threads; "" if no row was counted."""
        if not self._counts:
            return ""
        files = sorted({file for file, _ in self._counts})
        columns = sorted({column for _, column in self._counts})
        n_rows, more = sum(self._counts.values()), len(files) - _MOST_NAMED
        named = ", ".join(files[:_MOST_NAMED]) + (f" and {more} more files" if more > 0 else "")
        have, they = ("row", "has"), "it counts as an empty document"
        if n_rows != 1:
            have, they = ("rows", "have"), "they count as empty documents"
        return f"{n_rows:,} {have[0]} of {named} {have[1]} no {' or '.join(map(repr, columns))}; {they}"

    def warn(self) -> None:
        """Issues the message as a warning, unless it is empty."""
        if message := self.message():
            warnings.warn(message, stacklevel=3)
