"""Where a file lies: a path, a URL, or a file that is open already; and writing to one so that it is there whole or not.

| name                                       | read and written by                                                  |
|--------------------------------------------|----------------------------------------------------------------------|
| a path, `file://`                          | the operating system                                                 |
| `s3://`, `gs://`, `abfs://`, `hdfs://`     | pyarrow.fs                                                           |
| `hf://`, `memory://`, `http://`, and others | fsspec (`pip install 'gputok[remote]'`)                              |
| `zip://a.txt::s3://bucket/b.zip`           | fsspec, which chains them                                            |

`storage_options` are the arguments of the file system: `pyarrow.fs.S3FileSystem` and its like, for which the usual
names of fsspec (`key`, `secret`, `token`, `endpoint_url`, `anon`) are taken too; else those of fsspec's class. Without
them, credentials come from the environment. In a URL `*`, `**` and `[...]` are globs; `?` begins a query.

An object store shows an object when all of it has arrived, so an output is made in a local file and uploaded at the
end; where a file system shows a file that grows, it is uploaded under another name and moved.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import pathlib
import re
import shutil
import stat
import tempfile
import threading
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np

from gputok.files.arrow import needed_for
from gputok.files.atomic import replacing

StorageOptions = Mapping[str, Any] | None

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NATIVE = {  # scheme: the class of pyarrow.fs
    "s3": "S3FileSystem",
    "gs": "GcsFileSystem",
    "gcs": "GcsFileSystem",
    "abfs": "AzureFileSystem",
    "abfss": "AzureFileSystem",
    "hdfs": "HadoopFileSystem",
    "viewfs": "HadoopFileSystem",
}
_SAME = {"s3a": "s3", "s3n": "s3"}  # as Hadoop spells them
_OF_FSSPEC = {  # for S3: what fsspec and pyarrow call the same thing
    "key": "access_key",
    "secret": "secret_key",
    "token": "session_token",
    "endpoint_url": "endpoint_override",
    "anon": "anonymous",
}
# Where a file is seen when it is whole, so that nothing need be moved; the others show it while it grows.
_OBJECT_STORES = {"s3", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "hf"}
_MOST_SHOWN = 200  # characters, in an error, of a text that was given where a path belongs
_UPLOAD_BYTES = 8 << 20


class RemoteError(OSError):
    """What went wrong with a file that is not on this machine: its URL, and why."""


class File(Protocol):
    """A file that can be read."""

    @property
    def name(self) -> str:
        """Without its folders: the ending says what it holds."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether reading waits for a network."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes; None: only reading tells, and only from the beginning (pipes, some servers)."""
        ...

    def __str__(self) -> str: ...

    def open(self) -> BinaryIO:
        """The bytes from the beginning, through `readinto`; closed by whoever opened it."""
        ...

    def open_for_arrow(self) -> Any:
        """The same for Arrow, which jumps in it: a pyarrow.NativeFile, or a file that Python opened."""
        ...

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        """uint8[n_bytes], or fewer where the file ends before; `size` must not be None."""
        ...

    def held(self) -> File:
        """The same file, for reading several ranges: they are of one file, whichever takes its name meanwhile."""
        ...

    def state(self) -> tuple:
        """Changes when the file does."""
        ...


class LocalFile:
    """A file of the operating system."""

    is_remote = False

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
        """Opens the file for reading bytes."""
        return cast("BinaryIO", open(self.path, "rb", buffering=0))

    def open_for_arrow(self) -> Any:
        """Opens the file as PyArrow reads it: several threads may read ranges."""
        import pyarrow as pa

        try:
            return pa.OSFile(str(self.path))  # read by many threads at once, as a file of Python's is not
        except UnicodeEncodeError:  # a name that is not Unicode
            return self.open()

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        """Reads bytes from a position on: uint8[n], fewer than `n_bytes` at the end of the file."""
        return self.read_into(np.empty(n_bytes, np.uint8), start)

    def read_into(self, buffer: np.ndarray, start: int) -> np.ndarray:
        """Reads bytes from a position on into a buffer; returns those that were read, fewer at the end of the file."""
        return self.held().read_into(buffer, start)

    def held(self) -> LocalFile:
        """Returns the file, opened once for many reads."""
        return _HeldFile(self.path)

    def state(self) -> tuple:
        """Returns what changes if the file changes."""
        state = self.path.stat()
        return str(self.path), state.st_size, state.st_mtime_ns


class _HeldFile(LocalFile):
    """A file that was opened, until nobody needs it any longer; several threads read it."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(path)
        self._file = open(path, "rb", buffering=0)
        self._lock = threading.Lock()

    @property
    def size(self) -> int | None:
        return os.fstat(self._file.fileno()).st_size

    def read_into(self, buffer: np.ndarray, start: int) -> np.ndarray:
        view, n = buffer.data, 0
        while n < len(buffer) and (step := self._read_at(view[n:], start + n)):
            n += step
        return buffer[:n]

    def _read_at(self, buffer: memoryview, start: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], start)
        with self._lock:  # seeking and reading are two steps
            self._file.seek(start)
            return self._file.readinto(buffer) or 0

    def held(self) -> LocalFile:
        return self

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class RemoteFile:
    """A file of a file system of pyarrow's or, through pyarrow's adapter, of fsspec's."""

    is_remote = True

    def __init__(self, url: str, filesystem: Any, path: str, size: int | None, changed: Any = None) -> None:
        self.url, self.filesystem, self.path, self.size, self._changed = url, filesystem, path, size, changed
        self.name = path.rsplit("/", 1)[-1]
        self._lock = threading.Lock()
        self._opened: Any = None

    def __str__(self) -> str:
        return self.url

    def open(self) -> BinaryIO:
        """Opens the file for reading bytes."""
        inner = _fsspec_of(self.filesystem)
        with _explained(self.url):
            if inner is not None:
                file = inner.open(self.path, "rb")
            else:
                file = self.filesystem.open_input_stream(
                    self.path, compression=None, buffer_size=_UPLOAD_BYTES
                )
        return cast("BinaryIO", io.BufferedReader(_Explained(self.url, file), 1 << 20))

    def open_for_arrow(self) -> Any:
        """Opens the file as PyArrow reads it: several threads may read ranges."""
        with _explained(self.url):
            return self.filesystem.open_input_file(self.path)

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        """Reads bytes from a position on: uint8[n], fewer than `n_bytes` at the end of the file."""
        inner = _fsspec_of(self.filesystem)
        with _explained(self.url, f"at byte {start:,}: "):
            if inner is not None:
                raw = inner.cat_file(self.path, start=start, end=start + n_bytes)
            else:
                with (
                    self._lock
                ):  # opening asks the server; reading ranges of what is open is for many threads
                    self._opened = self._opened or self.filesystem.open_input_file(self.path)
                raw = self._opened.read_at(n_bytes, start)
        return np.frombuffer(raw, np.uint8)

    def held(self) -> File:
        """Returns the file, opened once for many reads."""
        return self

    def state(self) -> tuple:
        """Returns what changes if the file changes."""
        return self.url, self.size, str(self._changed)


class OpenFile:
    """A file object in binary mode, of anybody's; it is read once, and left open."""

    is_remote = False
    size = None

    def __init__(self, file: Any, *, name: str | None = None, shown: str | None = None) -> None:
        """name: its ending says what the file holds; shown: what errors call the file. By default as the file says."""
        own = getattr(file, "name", None) or getattr(file, "path", None)  # fsspec's have a path
        self._file = file
        self._shown = shown or (own if isinstance(own, str) and own else f"the {type(file).__name__}")
        self.name = name or os.path.basename(self._shown)

    def __str__(self) -> str:
        return self._shown

    def open(self) -> BinaryIO:
        """Opens the file for reading bytes."""
        return cast("BinaryIO", io.BufferedReader(_NotClosed(self._file), 1 << 20))

    def open_for_arrow(self) -> Any:
        """Opens the file as PyArrow reads it: several threads may read ranges."""
        seekable = getattr(self._file, "seekable", None)
        return self._file if seekable and seekable() else self.open()

    def read_range(self, start: int, n_bytes: int) -> np.ndarray:
        """Reads bytes from a position on: uint8[n], fewer than `n_bytes` at the end of the file."""
        raise NotImplementedError(f"{self}: is read from its beginning only")

    def held(self) -> File:
        """Returns the file, opened once for many reads."""
        return self

    def state(self) -> tuple:
        """Returns what changes if the file changes."""
        return (uuid.uuid4().hex,)


def is_url(name: object) -> bool:
    """Whether a name is one of another file system: it begins with `scheme://`."""
    return isinstance(name, str) and _URL.match(name) is not None


def is_location(source: object) -> bool:
    """Whether something names or is a file: a path, a URL, a file object in binary mode, fsspec's OpenFile."""
    if isinstance(source, str | os.PathLike | LocalFile | RemoteFile | OpenFile):
        return True
    return _is_of_fsspec(source) or _is_binary(source)


def find(source: Any, storage_options: StorageOptions = None) -> list[File]:
    """The files that a path, URL, folder, glob or open file, or a list of them, names.

    Folders and globs in sorted order, without what is hidden.

    Raises:
        FileNotFoundError: something names nothing.
        PermissionError, RemoteError: a file system of another machine says no, or nothing.
        ImportError: a package that reads the scheme is missing; it says which.
        ValueError: nobody knows the scheme, or the file system does not know an option.
    """
    if not isinstance(source, list | tuple):
        return _find_one(source, storage_options)
    filesystems: dict[str, Any] = {}
    try:
        return [file for item in source for file in _find_one(item, storage_options, filesystems)]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} (for texts instead of paths, give an iterator: iter(texts))"
        ) from None


def locate(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> File:
    """The one file that a path or URL names, which is no folder and no glob. Raises as `find` does."""
    name = os.fspath(path)
    local = local_path(name)
    if local is not None:
        pathlib.Path(local).stat()
        return LocalFile(pathlib.Path(local))
    (file,) = _find_url(name, storage_options, {}, is_glob=False)
    return file


def read_bytes(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> bytes:
    """All of a small file, as `pathlib.Path.read_bytes`."""
    with locate(path, storage_options).open() as file:
        return file.read()


@contextlib.contextmanager
def downloaded(
    path: str | os.PathLike[str], *others: str, storage_options: StorageOptions = None
) -> Iterator[pathlib.Path]:
    """A local file with the same name and content, and the others beside it; the file itself where it is local."""
    local = local_path(os.fspath(path))
    if local is not None:
        yield pathlib.Path(local)
        return
    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        for name in (os.fspath(path), *others):
            file = locate(name, storage_options)
            with file.open() as source, open(pathlib.Path(folder, file.name), "wb") as copy:
                shutil.copyfileobj(source, copy, _UPLOAD_BYTES)
        yield pathlib.Path(folder, os.fspath(path).rsplit("/", 1)[1])


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[pathlib.Path]:
    """A new local path to write to; what is there when the block ends well takes the name `path`, path or URL.

    Where the block is left by an exception, nothing of it is seen under that name. Raises before any work is done
    where the folder or bucket to write in is not there.

    >>> with writing("memory://bucket/tokens.txt") as beside:
    ...     _ = beside.write_text("whole")
    >>> read_bytes("memory://bucket/tokens.txt")
    b'whole'
    """
    name = os.fspath(path)
    local = local_path(name)
    if local is not None:
        with replacing(local) as beside:
            yield beside
        return
    target = Target(name, storage_options)
    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        beside = pathlib.Path(folder, target.name)
        yield beside
        target.upload(beside)


class Target:
    """A URL that will be written to; where it can't be, that is said before any work is done."""

    def __init__(self, url: str, storage_options: StorageOptions = None) -> None:
        self.url, self._storage_options = url, storage_options
        self._scheme = _scheme(url)
        self._filesystem, self._path = _open_filesystem(url, storage_options)
        self.name = self._path.rsplit("/", 1)[-1]
        if not self.name or url.endswith("/"):
            raise IsADirectoryError(f"{url}: is a folder; name a file to write")
        _check_bucket(url, self._filesystem, self._path)

    def beside(self, name: str) -> Target:
        """Another name in the same folder."""
        return Target(self.url[: -len(self.name)] + name, self._storage_options)

    def upload(self, local: pathlib.Path) -> None:
        """The content of a local file becomes the target's: all of it at once, or, where this fails, nothing.

        Arrow cannot take back what it has begun to upload (closing it would show what has arrived), so that Ctrl-C
        is heard when the upload is done.
        """
        path = self._path
        if self._scheme not in _OBJECT_STORES:
            path = f"{path[: -len(self.name)]}.{self.name}.{uuid.uuid4().hex[:8]}.part"
        inner = _fsspec_of(self._filesystem)
        with _explained(self.url, "could not be written: "):
            try:
                self._copy(local, path, inner)
                if path != self._path and inner is not None:
                    inner.mv(path, self._path)
                elif path != self._path:
                    self._filesystem.move(path, self._path)
            except BaseException:
                if path != self._path:
                    with contextlib.suppress(Exception):
                        self._filesystem.delete_file(path)
                raise

    def _copy(self, local: pathlib.Path, path: str, inner: Any) -> None:
        if inner is not None:
            if "/" in path.strip("/"):
                with contextlib.suppress(NotImplementedError):  # of those that have no folders
                    inner.makedirs(inner._parent(path), exist_ok=True)
            inner.put_file(str(local), path)
            return
        from pyarrow import fs

        if self._scheme not in _OBJECT_STORES:
            self._filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        fs.copy_files(
            str(local.absolute()),
            path,
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=self._filesystem,
            chunk_size=_UPLOAD_BYTES,
            use_threads=False,
        )


def work_folder(url: str) -> pathlib.Path:
    """A folder of this user's, the same for the same URL, in which an output is made before it is uploaded.

    So that a run that was broken off finds what it had; whoever used it removes it.

    Raises:
        PermissionError: another user of this machine has taken the name.
    """
    import hashlib  # takes some milliseconds, and reading a local file needs none

    user = getattr(os, "getuid", lambda: 0)()
    folder = pathlib.Path(tempfile.gettempdir(), f"gputok-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or (hasattr(os, "getuid") and state.st_uid != user):
        raise PermissionError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    folder /= hashlib.sha256(url.encode()).hexdigest()[:24]
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


# -- finding


def _find_one(
    item: Any, storage_options: StorageOptions, filesystems: dict[str, Any] | None = None
) -> list[File]:
    if isinstance(item, LocalFile | RemoteFile | OpenFile):
        return [item]
    if _is_of_fsspec(item):
        if item.compression is None:
            return [_of_fsspec(item.fs, item.path)]
        item.mode = "rb"  # whatever it was: text is bytes here
        return [OpenFile(item.open())]
    if not isinstance(item, str | os.PathLike):
        return [OpenFile(item)]
    name = os.fspath(item)
    local = local_path(name)
    if local is not None:
        return [LocalFile(path) for path in _findlocal_path(local)]
    return _find_url(name, storage_options, {} if filesystems is None else filesystems)


def _findlocal_path(name: str) -> list[pathlib.Path]:
    path = pathlib.Path(name)
    shown = name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "…"
    # unlike pathlib's, False for what can't be a path: a text too long, or with a null in it
    if os.path.isdir(name):
        found = sorted(
            item
            for item in path.rglob("*")
            if item.is_file() and not _is_hidden(item.relative_to(path).parts)
        )
    elif os.path.exists(name):
        return [path]
    elif glob.has_magic(name):
        found = sorted(
            path for match in glob.glob(name, recursive=True) if (path := pathlib.Path(match)).is_file()
        )
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
    changed: Any  # whatever is another when the file is


def _find_url(
    url: str, storage_options: StorageOptions, filesystems: dict[str, Any], *, is_glob: bool = True
) -> list[File]:
    plain, magic = _split_glob(url) if is_glob else (url, "")
    filesystem, path = _open_filesystem(plain, storage_options, filesystems)
    with _explained(url):
        if not magic:
            found = _look_up(filesystem, path)
            if isinstance(found, _Entry):
                return [RemoteFile(url, filesystem, *found)]
            if found is None or not is_glob:
                _check_bucket(url, filesystem, path)
                raise FileNotFoundError(f"{url}: {'is a folder' if found else 'no such file or folder'}")
        entries = _list(filesystem, path)
        if not entries:
            _check_bucket(url, filesystem, path)
    base, pattern = path.strip("/"), _glob_pattern(magic) if magic else None
    files: list[File] = []
    for entry in sorted(entries, key=lambda entry: entry.path.split("/")):
        below = entry.path.strip("/").removeprefix(base).strip("/")
        if pattern.fullmatch(below) if pattern else not _is_hidden(below.split("/")):
            files.append(RemoteFile(f"{plain.rstrip('/')}/{below}", filesystem, *entry))
    if not files:
        raise FileNotFoundError(f"{url}: no file {'matches' if magic else 'below it'}")
    return files


def _check_bucket(url: str, filesystem: Any, path: str) -> None:
    """Raises FileNotFoundError where an object store of pyarrow's says that it has no bucket of this name.

    Whoever may write to a bucket need not be allowed to ask for it: no answer is no objection.
    """
    from pyarrow import fs

    bucket, kind = path.strip("/").split("/")[0], None
    if _scheme(url) in _NATIVE.keys() & _OBJECT_STORES and _fsspec_of(filesystem) is None:
        with contextlib.suppress(OSError):
            kind = filesystem.get_file_info(bucket).type
    if kind == fs.FileType.NotFound:
        raise FileNotFoundError(f"{url}: there is no bucket {bucket!r}")


def _look_up(filesystem: Any, path: str) -> _Entry | bool | None:
    """The file that has a path; True: it is a folder; None: nothing is there."""
    from pyarrow import fs

    inner = _fsspec_of(filesystem)
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
    """All files below a folder."""
    from pyarrow import fs

    inner = _fsspec_of(filesystem)
    if inner is not None:
        return [_entry(name, details) for name, details in inner.find(path, detail=True).items()]
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return [_Entry(info.path, info.size, info.mtime_ns) for info in infos if info.type == fs.FileType.File]


def _entry(path: str, details: Mapping[str, Any]) -> _Entry:
    """A file as fsspec describes it: each of its file systems has another word for what changes."""
    names = ("ETag", "etag", "blob_id", "mtime", "LastModified", "last_modified", "created")
    return _Entry(path, details.get("size"), next((details[name] for name in names if name in details), None))


def _split_glob(url: str) -> tuple[str, str]:
    """The folder that a glob lies in, and what of it is a pattern; "" where the URL is none."""
    scheme = _scheme(url)
    if scheme in ("http", "https") or "::" in url or not re.search(r"[*\[]", url):
        return url, ""
    start = url.index("://") + 3
    parts = url[start:].split("/")
    first = next(i for i, part in enumerate(parts) if re.search(r"[*\[]", part))
    if first == 0 and scheme in _NATIVE:
        raise ValueError(f"{url}: name the bucket; a glob stands for names in it")
    return url[:start] + "/".join(parts[:first]), "/".join(parts[first:])


def _glob_pattern(magic: str) -> re.Pattern[str]:
    """As Python's glob: `*` stays in a folder and leaves out hidden names, `**` is any folders, none too."""
    *folders, name = magic.split("/")
    text = ""
    for part in folders:
        text += r"(?:[^/.][^/]*/)*" if part == "**" else _part_pattern(part) + "/"
    text += r"(?:[^/.][^/]*/)*[^/.][^/]*" if name == "**" else _part_pattern(name)
    return re.compile(text)


def _part_pattern(part: str) -> str:
    pieces = re.findall(r"\*+|\[!?[^\]]+\]|.", part)
    text = "" if part.startswith(".") else r"(?!\.)"
    for piece in pieces:
        if piece.startswith("*"):
            text += "[^/]*"
        elif piece.startswith("[") and len(piece) > 1:
            text += (
                "[" + piece[1:-1].replace("\\", r"\\").replace("!", "^", 1 if piece[1] == "!" else 0) + "]"
            )
        else:
            text += re.escape(piece)
    return text


def _of_fsspec(inner: Any, path: str) -> File:
    """The file of fsspec's OpenFile."""
    from pyarrow import fs

    protocols = (inner.protocol,) if isinstance(inner.protocol, str) else inner.protocol
    if "file" in protocols:
        return LocalFile(pathlib.Path(path))
    url = inner.unstrip_protocol(path)
    with _explained(url):
        return RemoteFile(url, fs.PyFileSystem(fs.FSSpecHandler(inner)), *_entry(path, inner.info(path)))


# -- file systems


def _scheme(url: str) -> str:
    match = _URL.match(url)
    scheme = match[1].lower() if match else ""
    return _SAME.get(scheme, scheme)


def local_path(name: str) -> str | None:
    """The path of the operating system that a name is, or that its `file://` stands for; None: it lies elsewhere."""
    if not is_url(name):
        return name
    if _scheme(name) not in ("file", "local") or "::" in name:
        return None
    parsed = urllib.parse.urlsplit(name)
    if parsed.netloc not in ("", "localhost"):
        raise ValueError(
            f"{name}: a file:// URL has three slashes before its path, file:///{parsed.netloc}{parsed.path}"
        )
    path = name.split("://", 1)[1].removeprefix("localhost")
    return urllib.parse.unquote(path)


def _open_filesystem(
    url: str, storage_options: StorageOptions, known: dict[str, Any] | None = None
) -> tuple[Any, str]:
    """A pyarrow.fs.FileSystem, and the path in it. known: those that were opened, by scheme and host."""
    known = {} if known is None else known
    scheme = _scheme(url)
    with _explained(url):
        if scheme not in _NATIVE or "::" in url:
            return _open_fsspec(url, scheme, storage_options, known)
        return _open_native(url, scheme, storage_options, known)


def _open_native(
    url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]
) -> tuple[Any, str]:

    parsed = urllib.parse.urlsplit(f"{scheme}://" + url.split("://", 1)[1])
    bucket, key = parsed.netloc.rpartition("@")[2], parsed.path
    if not bucket and scheme != "hdfs":
        raise ValueError(f"{url}: names no bucket")
    place = f"{scheme}://{parsed.netloc}?{parsed.query}"
    if place not in known:
        known[place] = _native(scheme, parsed, storage_options)
    if _NATIVE[scheme] == "AzureFileSystem":
        bucket = parsed.username or bucket
    path = key if _NATIVE[scheme] == "HadoopFileSystem" else f"{bucket}{key}"
    return known[place], path.rstrip("/")


def _native(scheme: str, parsed: urllib.parse.SplitResult, storage_options: StorageOptions) -> Any:
    with needed_for(f"reading {scheme}://"):
        from pyarrow import fs

    given = dict(storage_options or {})
    if not hasattr(fs, _NATIVE[scheme]):
        raise ImportError(
            f"this pyarrow was built without {_NATIVE[scheme]}; install one of PyPI or conda-forge"
        )
    if scheme != "s3" and not given:
        return fs.FileSystem.from_uri(urllib.parse.urlunsplit(parsed._replace(path="/")))[0]
    if _NATIVE[scheme] == "AzureFileSystem" and parsed.username:
        given.setdefault("account_name", (parsed.hostname or "").split(".")[0])
    if _NATIVE[scheme] == "HadoopFileSystem":
        given = {"host": parsed.hostname or "default", "port": parsed.port or 0, **given}
    if scheme == "s3":
        given = _s3_options(parsed, given)
    try:
        return getattr(fs, _NATIVE[scheme])(**given)
    except TypeError as error:
        raise ValueError(f"storage_options: {_NATIVE[scheme]} of pyarrow: {error}") from None


def _s3_options(parsed: urllib.parse.SplitResult, given: dict[str, Any]) -> dict[str, Any]:
    from pyarrow import fs

    client = given.pop("client_kwargs", None) or {}
    given = {**{name: client[name] for name in ("endpoint_url",) if name in client}, **given}
    if "region_name" in client:
        given.setdefault("region", client["region_name"])
    given = {_OF_FSSPEC.get(name, name): value for name, value in given.items()}
    for name, value in urllib.parse.parse_qsl(parsed.query):  # s3://bucket/key?region=...
        given.setdefault(name, value)
    if parsed.username and parsed.password:
        given.setdefault("access_key", urllib.parse.unquote(parsed.username))
        given.setdefault("secret_key", urllib.parse.unquote(parsed.password))
    endpoint = (
        given.get("endpoint_override")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    if endpoint:
        scheme, separator, host = endpoint.rpartition("://")
        given["endpoint_override"] = host.rstrip("/")
        if separator:
            given.setdefault("scheme", scheme)
    elif not (given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        given["region"] = fs.resolve_s3_region(parsed.hostname)
    return given


def _open_fsspec(
    url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]
) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise ImportError(f"reading {scheme}:// needs fsspec: pip install 'gputok[remote]'") from None
    with needed_for(f"reading {scheme}://"):
        from pyarrow import fs

    try:
        inner, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
    except ImportError as error:
        extra = {"hf": "hub", "http": "remote", "https": "remote"}.get(scheme)
        how = f"pip install 'gputok[{extra}]'" if extra else str(error)
        raise ImportError(f"reading {scheme}:// needs another package: {how}") from None
    except ValueError as error:
        if "rotocol not known" not in str(error):
            raise
        raise ValueError(
            f"nobody knows {scheme}://; pyarrow reads {', '.join(_NATIVE)}, and fsspec what "
            f"fsspec.available_protocols() lists"
        ) from None
    except TypeError as error:
        raise ValueError(f"storage_options: {error}") from None
    place = f"{id(inner)}"
    if place not in known:
        known[place] = fs.PyFileSystem(fs.FSSpecHandler(inner))
    return known[place], path


def _fsspec_of(filesystem: Any) -> Any:
    """The file system of fsspec that pyarrow's adapter wraps; None: it is pyarrow's own."""
    return getattr(getattr(filesystem, "handler", None), "fs", None)


def _is_of_fsspec(source: object) -> bool:
    return type(source).__module__ == "fsspec.core" and hasattr(source, "fs") and hasattr(source, "path")


def _is_binary(source: object) -> bool:
    """A file object whose `read` gives bytes."""
    if isinstance(source, io.RawIOBase | io.BufferedIOBase):
        return True
    if isinstance(source, io.TextIOBase) or not callable(getattr(source, "read", None)):
        return False
    mode = getattr(source, "mode", "")
    return type(source).__module__.startswith("pyarrow") or (isinstance(mode, str) and "b" in mode)


# -- what goes wrong


@contextlib.contextmanager
def _explained(url: str, doing: str = "") -> Iterator[None]:
    """Errors of file systems, of which each says it in its own way, with the URL and what can be done."""
    try:
        yield
    except (RemoteError, KeyboardInterrupt, ImportError, NotImplementedError, MemoryError):
        raise
    except FileNotFoundError as error:
        text = str(error)
        raise FileNotFoundError(
            text if url in text else f"{url}: {doing}no such file ({_first_line(error)})"
        ) from None
    except Exception as error:
        raise _explanation(url, doing, error) from error


def _explanation(url: str, doing: str, error: Exception) -> Exception:
    text = _first_line(error)
    if url in text:
        return error if isinstance(error, OSError | ValueError) else RemoteError(text)
    denied = isinstance(error, PermissionError) or re.search(
        r"ACCESS_DENIED|Forbidden|\b40[13]\b|[Cc]redentials|INVALID_ACCESS_KEY|SIGNATURE", text
    )
    if denied:
        return PermissionError(
            f"{url}: {doing}access is denied; pass credentials by storage_options= (--storage-option), or set them in "
            f"the environment ({text})"
        )
    if re.search(r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket .*(not found|does not exist)", text):
        return FileNotFoundError(f"{url}: {doing}there is no such bucket ({text})")
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return ValueError(f"{url}: {doing}{text}")
    return RemoteError(f"{url}: {doing}{text}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


class _Explained(io.RawIOBase):
    """A stream whose errors say which URL it is of."""

    def __init__(self, url: str, file: Any) -> None:
        self._url, self._inner, self._n = url, file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explained(self._url, f"broken off after {self._n:,} bytes: "):
            raw = self._inner.read(len(buffer))
        buffer[: len(raw)] = raw
        self._n += len(raw)
        return len(raw)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(Exception):
                self._inner.close()
        super().close()


class _NotClosed(io.RawIOBase):
    """A file object of the caller's, who closes it."""

    def __init__(self, file: Any) -> None:
        self._inner = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raw = self._inner.read(len(buffer))
        buffer[: len(raw)] = raw
        return len(raw)
