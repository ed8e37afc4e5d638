"""`Source`, a corpus: its files are looked up once, and all that reads it uses the same options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from gputok.corpus.memory_sources import check_batch, is_columnar, text_batches
from gputok.corpus.options import SIZES, MissingRows, Options, Part, Place, ReadSizes
from gputok.corpus.packing import refuse_long, regroup
from gputok.files.locations import Lender, OpenFile, StorageOptions, find, is_location, locate
from gputok.kernels.threads import thread_count
from gputok.text.pieces import LONGEST, RawLines, TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from gputok.corpus.options import Errors
    from gputok.corpus.readers import Task
    from gputok.files.temporary import MemoryLimit
    from gputok.types import Array

# How much of compressed files and row groups each thread but the first may unpack before its turn.
_AHEAD_BATCHES = 32
_MOST_AHEAD_BYTES = 64 << 20
_REMOTE_READERS = 8  # threads at least, if a file is remote: these threads mostly wait
_TASKS = 8  # for each thread at least: with few, some threads would wait long for the last one
# With a limit on memory, a batch of text has at most the limit divided by this number.
_BATCHES = 128
# Bytes of the limit for each thread that reads: PyArrow keeps memory for each of them.
_READER_BYTES = 64_000_000


@dataclass(frozen=True)
class Source:
    """A corpus, and how its text is read.

    Attributes:
        content: the places of its files, in order; or the texts in memory, as `gputok.corpus.read` takes them.
        is_files: True if the corpus consists of files.
        readers: how many threads read files, at most.
        missing: the rows of files whose field was missing in the last read. The others are as for `gputok.corpus.read`.

    >>> source = Source.of(iter(["one", ["two", "three"]]))
    >>> [batch.offsets.tolist() for batch in source.read()]
    [[0, 3, 6, 11]]
    """

    content: Any
    is_files: bool
    column: str | None = None
    separator: str | None = None
    errors: Errors = "strict"
    longest: int = LONGEST
    ahead_bytes: int = 1 << 62
    storage_options: StorageOptions = field(default=None, repr=False)
    sizes: ReadSizes = SIZES
    readers: int = 1 << 10
    missing: MissingRows = field(default_factory=MissingRows, repr=False, compare=False)

    @classmethod
    def of(cls, given: Any, *, storage_options: StorageOptions = None, **reading: Any) -> Self:
        """Looks up the files of a corpus, as `read` takes it, or changes a `Source`; reading: the other attributes."""
        if isinstance(given, cls):
            return dataclasses.replace(given, **reading) if reading else given
        if not is_files(given):
            return cls(given, False, storage_options=storage_options, **reading)
        return cls(_places(given, storage_options), True, storage_options=storage_options, **reading)

    def within(self, memory: MemoryLimit | None) -> Self:
        """Returns the same corpus; reading it uses at most a share of a limit on memory for text."""
        if memory is None:
            return self
        # A document or a batch takes five times its bytes while it is read and its words are found. Each thread may
        # have one document of the greatest length, and has one or two batches.
        n, sizes = memory.n_bytes, self.sizes
        most = max(n // _BATCHES, 1)
        sizes = sizes._replace(batch=min(sizes.batch, most), small=min(sizes.small, most), task=min(sizes.task, most))
        readers = max(1, n // _READER_BYTES)
        longest = min(n // 24, LONGEST - 1)  # LONGEST: memory is not limited
        return dataclasses.replace(self, ahead_bytes=n // 16, longest=longest, sizes=sizes, readers=readers)

    def other(self, given: Any) -> Self:
        """Returns another corpus, which is read in the same way."""
        found = Source.of(given, storage_options=self.storage_options)
        return dataclasses.replace(self, content=found.content, is_files=found.is_files)

    @property
    def is_open(self) -> bool:
        """True if one of its files is open, such as standard input, and can be read only once."""
        return self.is_files and any(isinstance(place.file, OpenFile) for place in self.content)

    @property
    def state(self) -> list[tuple[Any, ...]] | None:
        """For each file or part, values that change with the file, and where it starts and stops; None: no files."""
        if not self.is_files:
            return None
        return [(*file.state(), start, stop) for file, start, stop in self.content]

    @cached_property
    def total_bytes(self) -> int | None:
        """The bytes of text, at most; None: only reading can tell them. Raises ValueError if the column is missing."""
        if isinstance(self.content, TextBatch):
            check_batch(self.content)
            return int(self.content.offsets[-1] - self.content.offsets[0])
        if self.is_files:
            from gputok.corpus import files

            return files.total_bytes(self.content)
        if is_columnar(self.content):
            from gputok.corpus import columns

            return columns.total_bytes(self.content, self.column)
        return None

    def parts(self, part_bytes: int) -> Iterator[tuple[Part, int]]:
        """Yields the parts that `gputok.corpus.parts` returns, each with its approximate number of bytes."""
        from gputok.corpus import files

        if not self.is_files:
            raise TypeError(f"only files can be read in parts, not {type(self.content).__name__}")
        if part_bytes < 1:
            raise ValueError(f"part_bytes={part_bytes}: must be at least 1")
        for place in self.content:
            yield from files.parts(place, part_bytes, self.separator)

    def read(self, threads: int | None = None, batch_bytes: int | None = None) -> Iterator[TextBatch]:
        """Reads the documents in batches, in order; see `gputok.corpus.read`; batch_bytes: None: `sizes.batch`."""
        return cast("Iterator[TextBatch]", self._read(threads, self._always(batch_bytes), None))

    def read_raw(
        self, memory: Callable[[int], Array], threads: int | None = None, batch_bytes: int | None = None
    ) -> Iterator[TextBatch | RawLines]:
        """Reads like `read`, but leaves it to the caller to find the lines of large local files and to check UTF-8.

        A range of such a file comes as RawLines. memory: returns memory to read into, uint8[n], usually `batch_bytes`.
        """
        return self._read(threads, self._always(batch_bytes), memory)

    def read_apart(self, threads: int | None = None, *, times: int = 1) -> Iterator[TextBatch] | Iterator[Task]:
        """Reads like `read`, but leaves large local text and JSON Lines to the caller's threads.

        Returns batches; or, if all is large local text or JSON Lines, tasks in order. Any thread may read a task, which
        gives at most one batch. A thread that reads a task and then works on the text finds it in its own cache, in
        memory that the task before has used. At the end of all tasks, the caller says which rows had no text
        (`missing.warn`). times: a factor for the task of `sizes`.
        """
        n_threads, sizes = thread_count(threads), self.sizes._replace(task=times * self.sizes.task)
        n_bytes = 0
        if self.is_files:
            from gputok.corpus import files

            n_bytes = sum((place.stop or place.file.size or 0) - place.start for place in self.content)
            options = self._options(n_threads, max(sizes.small, task_bytes(n_bytes, n_threads, sizes)), None, 0)
            if files.can_be_read_apart(self.content, options):
                self._check(options.batch_bytes)
                return files.tasks(self.content, options)

        def batch_bytes(n_before: int) -> int:
            return max(sizes.batch, task_bytes(n_bytes + n_before, n_threads, sizes))

        return cast("Iterator[TextBatch]", self._read(threads, batch_bytes, None))

    def _check(self, batch_bytes: int) -> None:
        if self.errors not in ("strict", "replace"):
            raise ValueError(f"errors={self.errors!r}: must be 'strict' or 'replace'")
        if self.separator == "":
            raise ValueError("separator='' cuts nothing; use one that does not occur to take each file as one document")
        if batch_bytes < 1:
            raise ValueError(f"batch_bytes={batch_bytes}: must be at least 1")

    def _always(self, batch_bytes: int | None) -> Callable[[int], int]:
        return lambda n_before: self.sizes.batch if batch_bytes is None else batch_bytes

    def _read(
        self, threads: int | None, batch_bytes: Callable[[int], int], memory: Callable[[int], Array] | None
    ) -> Iterator[TextBatch | RawLines]:
        """batch_bytes: bytes in the batches before -> about the size of a batch."""
        self._check(batch_bytes(0))
        if self.is_files:
            return self._read_files(thread_count(threads), batch_bytes(0), memory)
        if self.separator is not None:
            raise ValueError("separator= cuts plain text files; this source already has its documents apart")
        texts = self.content
        if not is_columnar(texts) and (isinstance(texts, bytes | dict) or not isinstance(texts, Iterable)):
            raise TypeError(
                f"no text can be read from {type(texts).__name__}: pass file names, Arrow data, or an iterator of str"
            )
        batches = text_batches(texts, self.column, self.errors, batch_bytes)
        return regroup(_bounded(batches, self.longest, f"the {type(texts).__name__}"), batch_bytes)

    def _read_files(
        self, threads: int, batch_bytes: int, memory: Callable[[int], Array] | None
    ) -> Iterator[TextBatch | RawLines]:
        from gputok.corpus import files, readers

        is_remote = any(place.file.is_remote for place in self.content)
        n_readers = min(max(threads, _REMOTE_READERS if is_remote else 1), self.readers)
        ahead_bytes = min(self.ahead_bytes, (n_readers - 1) * min(_AHEAD_BATCHES * batch_bytes, _MOST_AHEAD_BYTES))
        options = self._options(threads, batch_bytes, memory, ahead_bytes)
        batches = readers.in_order(files.tasks(self.content, options), n_readers, ahead_bytes)
        yield from regroup(_bounded(batches, self.longest, "the corpus"), lambda n_before: batch_bytes)
        self.missing.warn()

    def _options(
        self, threads: int, batch_bytes: int, memory: Callable[[int], Array] | None, ahead_bytes: int
    ) -> Options:
        n_files = max(1, len(self.content))  # if there are few files, several threads may unpack one of them
        lent, shares = (memory, Lender(), Lender()), (threads // n_files, ahead_bytes // n_files)
        how = self.column, self.separator
        self.missing.clear()
        return Options(*how, self.errors, batch_bytes, self.missing, *lent, *shares, self.longest, self.sizes)


def task_bytes(n_bytes: int, n_threads: int, sizes: ReadSizes = SIZES) -> int:
    """Returns how many of n_bytes bytes of text a thread works on at a time, so that each thread gets several tasks."""
    return min(n_bytes // (_TASKS * n_threads), sizes.task)


def is_files(given: Any) -> bool:
    """Returns True if what was given as a corpus names files, or parts of files."""
    if isinstance(given, list | tuple) and not isinstance(given, TextBatch | Place):
        return all(map(_is_path, cast("list[Any]", given)))
    return _is_path(given)


def _is_path(item: Any) -> bool:
    return isinstance(item, Part | Place) or is_location(item)


def _places(given: Any, storage_options: StorageOptions) -> list[Place]:
    """The files of a corpus. Each `Place` says where its part starts and stops."""
    items = given if isinstance(given, list | tuple) and not isinstance(given, Place) else [given]
    if not any(isinstance(item, Part | Place) for item in items):
        return [Place(file) for file in find(given, storage_options)]
    names = dict.fromkeys(item.file for item in items if isinstance(item, Part))
    # Each file is looked up once, for all of its parts
    files = {name: locate(name, storage_options) for name in names}
    places: list[Place] = []
    for item in items:
        if isinstance(item, Part):
            places.append(Place(files[item.file], item.start, item.stop))
        elif isinstance(item, Place):
            places.append(item)
        else:
            places += map(Place, find(item, storage_options))
    return places


def _bounded(batches: Iterator[TextBatch | RawLines], longest: int, what: str) -> Iterator[TextBatch | RawLines]:
    """Yields the batches; raises ValueError for a document of more than `longest` bytes."""
    n_before = 0
    for batch in batches:
        if isinstance(batch, TextBatch):
            refuse_long(batch, longest, lambda i, n=n_before: f"{what}, document {n + i}")
            n_before += batch.n_documents
        yield batch
