"""Reads a corpus several times; what can be read only once, such as an iterator, is kept in a temporary file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gputok.files.temporary import TemporaryFile
from gputok.text.pieces import TextBatch


def is_one_shot(source: Any) -> bool:
    """Returns True if a source gives its texts only once: an iterator, or a stream of Arrow data.

    >>> is_one_shot(["a text"]), is_one_shot(text for text in ["a text"])
    (False, True)
    """
    return hasattr(source, "__next__")


class Reread:
    """Reads a corpus at each call; keep: the first call writes it to a file in `temporary`, and others read that."""

    def __init__(
        self,
        read: Callable[[], Iterator[TextBatch]],
        *,
        keep: bool = False,
        temporary: str | os.PathLike[str] | None = None,
    ) -> None:
        import tempfile  # imported late: it takes some milliseconds

        self._read, self.keeps = read, keep
        self._folder = tempfile.gettempdir() if temporary is None else str(temporary)
        self._file: TemporaryFile | None = None
        # Position, bytes and documents of each batch in the file
        self._batches: list[tuple[int, int, int]] = []
        self._first: tuple[int, int, bytes] | None = None  # documents, bytes and a hash of the first reading

    @property
    def n_bytes(self) -> int | None:
        """The bytes of all texts, once they have been read."""
        return None if self._first is None else self._first[1]

    def __call__(self) -> Iterator[TextBatch]:
        """Yields the batches; raises ValueError, at the end, if documents differ from those of the first reading."""
        import hashlib  # imported late: it takes some milliseconds

        if self.keeps and self._first is not None:
            yield from self._kept()
            return
        if self.keeps:
            self._file, self._batches = TemporaryFile(self._folder), []
        n_documents = n_bytes = 0
        seen = hashlib.blake2b(digest_size=16)
        for batch in self._read():
            n_documents += batch.n_documents
            n_bytes += int(batch.offsets[-1] - batch.offsets[0])
            # some bytes of each batch tell whether texts are the same, or another sample of a stream
            seen.update(batch.data[batch.offsets[0] : batch.offsets[-1]][:4096].tobytes())
            if self._file is not None:
                begin, end = batch.offsets[[0, -1]].tolist()
                self._batches.append((self._file.n_bytes, end - begin, batch.n_documents))
                self._file.append(np.ascontiguousarray(batch.offsets - begin, np.int64))
                self._file.append(np.ascontiguousarray(batch.data[begin:end]))
            yield batch
        found = n_documents, n_bytes, seen.digest()
        if self._first is not None and found != self._first:
            n, size, _ = self._first
            raise ValueError(
                f"the corpus has changed: it had {n:,} texts of {size:,} bytes when it was read first, and now other "
                f"ones, {n_documents:,} of {n_bytes:,} bytes; superwords are learned by reading it several times, so "
                "give files, a list, or an iterator, whose texts are kept"
            )
        self._first = found

    def _kept(self) -> Iterator[TextBatch]:
        assert self._file is not None
        for position, n_bytes, n_documents in self._batches:
            offsets = self._file.read(position, 8 * (n_documents + 1)).view(np.int64)
            yield TextBatch(self._file.read(position + 8 * len(offsets), n_bytes), offsets)
