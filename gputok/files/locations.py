"""Finds and reads files by path, by URL, or as open file objects; `outputs.py` writes to the same paths and URLs.

| name                                       | read and written by                                                  |
|--------------------------------------------|----------------------------------------------------------------------|
| a path, `file://`                          | the operating system                                                 |
| `s3://`, `gs://`, `abfs://`, `hdfs://`     | pyarrow.fs                                                           |
| `hf://`, `memory://`, `http://`, and others | fsspec (`pip install 'gputok[remote]'`)                              |
| `zip://a.txt::s3://bucket/b.zip`           | fsspec, which chains them                                            |

`storage_options` are the arguments of the file system's class, such as `pyarrow.fs.S3FileSystem` (which here also takes
fsspec's names `key`, `secret`, `token`, `endpoint_url` and `anon`), or a class of fsspec. Without them, credentials
come from the environment. In a URL, `*`, `**` and `[...]` are globs; `?` begins a query.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import weakref
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from gputok.files import file_systems
from gputok.files.file_systems import RemoteError as RemoteError
from gputok.files.file_systems import StorageOptions as StorageOptions
from gputok.kernels.signatures import NamedTuple
from gputok.pool import Pool

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Mapping

_MOST_SHOWN = 200  # the most characters that an error shows of a text that is not the name of a file


class File:
    """A file that can be read."""

    name: str  # without the folders; the ending says what the file contains
    is_remote = False  # True if reading waits for a network
    # In bytes. None: unknown until all is read, and the file can only be read from its beginning (pipes, some servers)
    size: int | None = None

    def open(self) -> BinaryIO:
        """Opens the file for reading bytes by `readinto`; the caller closes it."""
        raise NotImplementedError

    def open_for_arrow(self) -> Any:
        """Opens the file for PyArrow, which reads ranges: a pyarrow.NativeFile, or a file that Python opened."""
        raise NotImplementedError

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        """Reads uint8[n_bytes] from byte `start` on, fewer at the end; of a file from `held`, with a `size`."""
        raise NotImplementedError(f"{self}: can be read only from its beginning")

    def held(self, lender: Lender | None = None) -> File:
        """Returns the file, open for `read_range`; lender: lends the memory that the ranges are read into.

        A local file is held: it stays the same file, even if another file takes its name.
        """
        return self

    def state(self) -> tuple:
        """Returns values by which a later run finds out whether the file has changed."""
        raise NotImplementedError

    def is_same(self, state: os.stat_result) -> bool:
        """Returns True if this file is the local file of which `os.stat` returned `state`."""
        return False


_SPARE = 4  # the most buffers that wait to be used again
# The first bytes of a buffer, which are not lent. A buffer begins at a memory page, and so does the system's copy of a
# file. If the offsets of source and target in their pages differ by 1 to 31 bytes, Zen 4 copies a third as fast (`rep
# movsb`)
_SKIPPED = 64


class Lender:
    """Lends buffers, each of which comes back for the next borrower when no array refers to it. Any thread may borrow.

    New memory would take as long as reading itself, if the allocator returns memory to the system at once, as Dask sets
    it to do.
    """

    def __init__(self) -> None:
        from gputok.kernels.cpu.primitives.arrays import new_memory

        self._new = new_memory
        self._spare = Pool(new_memory, _SPARE)

    def lend(self, n_bytes: int) -> np.ndarray:
        """Returns uint8[n_bytes] with any content (it is not cleared); n_bytes: at least 1."""
        memory = self._spare.take(n_bytes + _SKIPPED)
        if len(memory) < n_bytes + _SKIPPED:
            del memory  # frees the buffer before there is a larger one
            memory = self._new(n_bytes + _SKIPPED)
        # No slice of `memory`: all views of `lent` refer to `lent`, so when the last has gone, `finalize` gives back
        lent = np.frombuffer(memory.data, np.uint8, n_bytes, _SKIPPED)
        weakref.finalize(lent, self._spare.give, memory).atexit = False
        return lent


class LocalFile(File):
    """A file of the operating system."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.name = path, path.name

    def __str__(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int | None:
        """The size of the file in bytes; None if it is not a regular file."""
        state = self.path.stat()
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    def open(self) -> BinaryIO:
        return cast("BinaryIO", open(self.path, "rb", buffering=0))

    def open_for_arrow(self) -> Any:
        import pyarrow as pa

        try:
            # Many threads can read it at once, in contrast to a file of Python
            return pa.OSFile(str(self.path))
        except UnicodeEncodeError:  # a name that is not Unicode
            return self.open()

    def held(self, lender: Lender | None = None) -> LocalFile:
        return HeldFile(self.path, lender or Lender())

    def state(self) -> tuple:
        state = self.path.stat()
        return str(self.path), state.st_size, state.st_mtime_ns

    def is_same(self, state: os.stat_result) -> bool:
        try:
            return os.path.samestat(self.path.stat(), state)
        except OSError:
            return False


class HeldFile(LocalFile):
    """An open file, which several threads may read; closed when no object refers to it any more."""

    def __init__(self, path: pathlib.Path, lender: Lender) -> None:
        super().__init__(path)
        self._file = open(path, "rb", buffering=0)
        self._lock, self._lender = allocate_lock(), lender

    @property
    def size(self) -> int | None:
        return os.fstat(self._file.fileno()).st_size

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        return self.read_into(self._lender.lend(n_bytes), start)

    def read_into(self, buffer: np.ndarray, start: int) -> np.ndarray:
        """Reads bytes from a position on into a buffer; returns those that were read, fewer at the end of the file."""
        from gputok.files.atomic import read_at

        return buffer[: read_at(self._file, self._lock, buffer, start)]

    def held(self, lender: Lender | None = None) -> LocalFile:
        return self

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class RemoteFile(File):
    """A file of a file system of pyarrow or, through pyarrow's adapter, of fsspec."""

    is_remote = True

    def __init__(self, url: str, filesystem: Any, path: str, size: int | None, changed: Any = None) -> None:
        self.url, self.filesystem, self.path, self.size, self._changed = url, filesystem, path, size, changed
        self.name = path.rsplit("/", 1)[-1]
        self._lock, self._fsspec = allocate_lock(), file_systems.fsspec_of(filesystem)
        self._opened: Any = None

    def __str__(self) -> str:
        return self.url

    def open(self) -> BinaryIO:
        options = {"compression": None, "buffer_size": file_systems.UPLOAD_BYTES}
        with file_systems.explained(self.url):
            if self._fsspec is not None:
                file = _own(self._fsspec.open(self.path, "rb"))
            else:
                file = self.filesystem.open_input_stream(self.path, **options)
        return cast("BinaryIO", io.BufferedReader(file_systems.ExplainedStream(self.url, file), 1 << 20))

    def open_for_arrow(self) -> Any:
        with file_systems.explained(self.url):
            if self._fsspec is None:
                return self.filesystem.open_input_file(self.path)
            import pyarrow as pa

            return pa.PythonFile(_own(self._fsspec.open(self.path, "rb")), mode="r")

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        with file_systems.explained(self.url, f"at byte {start:,}: "):
            if self._fsspec is not None:
                raw = self._fsspec.cat_file(self.path, start=start, end=start + n_bytes)
            else:
                with self._lock:  # one thread opens it, by a request to the server; many may then read without the lock
                    self._opened = self._opened or self.filesystem.open_input_file(self.path)
                raw = self._opened.read_at(n_bytes, start)
        return np.frombuffer(raw, np.uint8)

    def state(self) -> tuple:
        return self.url, self.size, str(self._changed)


def _own(file: Any) -> Any:
    """Returns a file object with its own position, since fsspec gives all that open a `memory://` file one object."""
    return io.BytesIO(file.getvalue()) if isinstance(file, io.BytesIO) else file


class OpenFile(File):
    """A file object of the caller in binary mode, which is read once and not closed.

    name: as of `File`; shown: its name in errors. Both are by default the object's own name.
    """

    def __init__(self, file: Any, *, name: str | None = None, shown: str | None = None) -> None:
        own = getattr(file, "name", None) or getattr(file, "path", None)  # file objects of fsspec have a path
        self._file = file
        self._shown = shown or (own if isinstance(own, str) and own else f"the {type(file).__name__}")
        self.name = name or os.path.basename(self._shown)

    def __str__(self) -> str:
        return self._shown

    def open(self) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(file_systems.Stream(self._file), 1 << 20))

    def open_for_arrow(self) -> Any:
        seekable = getattr(self._file, "seekable", None)
        return self._file if seekable and seekable() else self.open()

    def state(self) -> tuple:
        return (os.urandom(16).hex(),)

    def is_same(self, state: os.stat_result) -> bool:
        try:  # standard input is such a file if a shell is told `< FILE`
            return os.path.samestat(os.fstat(self._file.fileno()), state)
        except (AttributeError, OSError, TypeError, ValueError):  # in memory, closed, or no file of the system
            return False


def is_location(source: object) -> bool:
    """Returns True if an object names or is a file: a path, a URL, a file object in binary mode, fsspec's OpenFile."""
    if isinstance(source, str | os.PathLike | LocalFile | RemoteFile | OpenFile):
        return True
    return _is_of_fsspec(source) or _is_binary(source)


def find(source: Any, storage_options: StorageOptions = None) -> list[File]:
    """Finds the files that a path, URL, folder, glob or open file, or a list of these, names.

    The files of folders and globs are in sorted order, without hidden ones. FileNotFoundError: a name has no file;
    PermissionError: a file system denies access; RemoteError: another machine's file system fails or does not answer;
    ImportError: a package that reads the scheme is missing; ValueError: no package knows the scheme, or the file system
    does not know an option.
    """
    if not isinstance(source, list | tuple):
        return _find_one(source, storage_options)
    filesystems: dict[str, Any] = {}
    try:
        return [file for item in source for file in _find_one(item, storage_options, filesystems)]
    except FileNotFoundError as error:
        # For Python alone: the command line, which takes no texts, shows no notes of errors
        error.add_note("for texts instead of paths, give an iterator: iter(texts)")
        raise


def locate(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> File:
    """Finds the file that a path or URL names, which must not be a folder or a glob. Raises the errors of `find`."""
    name = os.fspath(path)
    local = file_systems.local_path(name)
    if local is not None:
        import pathlib  # imported late, here and below: it takes some milliseconds

        path = pathlib.Path(local)
        path.stat()
        return LocalFile(path)
    (file,) = _find_url(name, storage_options, {}, is_glob=False)
    return file


def begins_with(path: str | os.PathLike[str], beginning: bytes) -> bool:
    """Whether a local file begins with these bytes; False for a URL, and for what is no file or can't be read."""
    local = file_systems.local_path(os.fspath(path))
    if local is not None and os.path.isfile(local):
        with contextlib.suppress(OSError), open(local, "rb") as file:
            return file.read(len(beginning)) == beginning
    return False


def opened(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> BinaryIO:
    """Opens the file that a path or URL names."""
    local = file_systems.local_path(os.fspath(path))
    return locate(path, storage_options).open() if local is None else cast("BinaryIO", open(local, "rb", buffering=0))


def read_bytes(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> bytes:
    """Reads a whole file, which must be small."""
    with opened(path, storage_options) as file:
        return file.read()


@contextlib.contextmanager
def downloaded(
    path: str | os.PathLike[str], *others: str, storage_options: StorageOptions = None
) -> Iterator[pathlib.Path]:
    """Yields the path of a local copy with the same name, beside copies of the URLs `others`; copies no local file."""
    import pathlib

    local = file_systems.local_path(os.fspath(path))
    if local is not None:
        yield pathlib.Path(local)
        return
    import tempfile  # imported late: it takes some milliseconds

    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        first, *_ = [copied(name, folder, storage_options) for name in (os.fspath(path), *others)]
        yield first


def copied(url: str, folder: str | os.PathLike[str], storage_options: StorageOptions) -> pathlib.Path:
    """Copies a file to a folder, under its own name; returns the path of the copy."""
    import pathlib
    import shutil

    file = locate(url, storage_options)
    with file.open() as source, open(pathlib.Path(folder, file.name), "wb") as copy:
        shutil.copyfileobj(source, copy, file_systems.UPLOAD_BYTES)
    return pathlib.Path(folder, file.name)


# -- finding


def _find_one(item: Any, storage_options: StorageOptions, filesystems: dict[str, Any] | None = None) -> list[File]:
    if isinstance(item, LocalFile | RemoteFile | OpenFile):
        return [item]
    if _is_of_fsspec(item):
        if item.compression is None:
            return [_of_fsspec(item.fs, item.path)]
        item.mode = "rb"  # gputok reads bytes, also if the caller chose a mode for str
        return [OpenFile(item.open())]
    if not isinstance(item, str | os.PathLike):
        return [OpenFile(item)]
    name = os.fspath(item)
    local = file_systems.local_path(name)
    if local is not None:
        return [LocalFile(path) for path in _find_local(local)]
    return _find_url(name, storage_options, {} if filesystems is None else filesystems)


def _find_local(name: str) -> list[pathlib.Path]:
    import glob
    import pathlib

    path = pathlib.Path(name)
    shown = name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "…"
    # `os.path.isdir` is False for a text that can't be a path (too long, or with a null); pathlib would raise an error
    if os.path.isdir(name):
        below = (item for item in path.rglob("*") if item.is_file())
        found = sorted(item for item in below if not _is_hidden(item.relative_to(path).parts))
    elif os.path.exists(name):
        return [path]
    elif glob.has_magic(name):
        found = sorted(path for match in glob.glob(name, recursive=True) if (path := pathlib.Path(match)).is_file())
    else:
        raise FileNotFoundError(f"{shown}: no such file or folder")
    if not found:
        raise FileNotFoundError(f"{shown}: no file {'below it' if os.path.isdir(name) else 'matches'}")
    return found


def _is_hidden(parts: tuple[str, ...] | list[str]) -> bool:
    return any(part.startswith(".") for part in parts)


class _Entry(NamedTuple):
    """A file in a listing."""

    path: str
    size: int | None
    changed: Any  # changes if the file changes


def _find_url(
    url: str, storage_options: StorageOptions, filesystems: dict[str, Any], *, is_glob: bool = True
) -> list[File]:
    plain, magic = file_systems.split_glob(url) if is_glob else (url, "")
    filesystem, path = file_systems.open_filesystem(plain, storage_options, filesystems)
    with file_systems.explained(url):
        if not magic:
            found = _look_up(filesystem, path)
            if isinstance(found, _Entry):
                return [RemoteFile(url, filesystem, *found)]
            if found is None or not is_glob:
                file_systems.check_bucket(url, filesystem, path)
                raise FileNotFoundError(f"{url}: {'is a folder' if found else 'no such file or folder'}")
        entries = _list(filesystem, path)
        if not entries:
            file_systems.check_bucket(url, filesystem, path)
    base, pattern = path.strip("/"), magic.split("/")
    files: list[File] = []
    for entry in sorted(entries, key=lambda entry: entry.path.split("/")):
        below = entry.path.strip("/").removeprefix(base).strip("/")
        names = below.split("/")
        if file_systems.glob_matches(names, pattern) if magic else not _is_hidden(names):
            files.append(RemoteFile(f"{plain.rstrip('/')}/{below}", filesystem, *entry))
    if not files:
        raise FileNotFoundError(f"{url}: no file {'matches' if magic else 'below it'}")
    return files


def _look_up(filesystem: Any, path: str) -> _Entry | bool | None:
    """Returns the file at a path; True: the path is a folder; None: the path does not exist."""
    from pyarrow import fs

    inner = file_systems.fsspec_of(filesystem)
    if inner is not None:
        try:
            details = inner.info(path)
        except FileNotFoundError:
            return None
        return True if details["type"] == "directory" else _entry(path, details)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        return _Entry(info.path, info.size, info.mtime_ns)
    return None if info.type == fs.FileType.NotFound else True


def _list(filesystem: Any, path: str) -> list[_Entry]:
    """Lists all files below a folder."""
    from pyarrow import fs

    inner = file_systems.fsspec_of(filesystem)
    if inner is not None:
        return [_entry(name, details) for name, details in inner.find(path, detail=True).items()]
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return [_Entry(info.path, info.size, info.mtime_ns) for info in infos if info.type == fs.FileType.File]


def _entry(path: str, details: Mapping[str, Any]) -> _Entry:
    """Converts fsspec's description of a file; file systems differ in what they call the value that changes with it."""
    names = ("ETag", "etag", "blob_id", "mtime", "LastModified", "last_modified", "created")
    return _Entry(path, details.get("size"), next((details[name] for name in names if name in details), None))


def _of_fsspec(inner: Any, path: str) -> File:
    from pyarrow import fs

    protocols = (inner.protocol,) if isinstance(inner.protocol, str) else inner.protocol
    if "file" in protocols:
        import pathlib

        return LocalFile(pathlib.Path(path))
    url = inner.unstrip_protocol(path)
    with file_systems.explained(url):
        return RemoteFile(url, fs.PyFileSystem(fs.FSSpecHandler(inner)), *_entry(path, inner.info(path)))


def _is_of_fsspec(source: object) -> bool:
    return type(source).__module__ == "fsspec.core" and hasattr(source, "fs") and hasattr(source, "path")


def _is_binary(source: object) -> bool:
    """Returns True for a file object whose `read` returns bytes."""
    if isinstance(source, io.RawIOBase | io.BufferedIOBase):
        return True
    if isinstance(source, io.TextIOBase) or not callable(getattr(source, "read", None)):
        return False
    mode = getattr(source, "mode", "")
    return type(source).__module__.startswith("pyarrow") or (isinstance(mode, str) and "b" in mode)
