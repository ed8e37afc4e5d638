"""Writes files by path or URL, atomically: readers see the old file or the complete new one.

An object store shows an object when all of it has arrived, so an output is made in a local file, and uploaded at the
end. Other file systems show a file while it grows: there, the file is uploaded under another name, and then renamed.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

from gputok.files import file_systems
from gputok.files.atomic import replacing
from gputok.files.file_systems import StorageOptions
from gputok.files.locations import File, RemoteFile


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[pathlib.Path]:
    """Yields a new local path; when the block ends without an exception, that file gets the name `path`, a path or URL.

    Raises an error before the block runs if the folder or bucket does not exist.

    >>> from gputok.files.locations import read_bytes
    >>> with writing("memory://bucket/tokens.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> read_bytes("memory://bucket/tokens.txt")
    b'whole'
    """
    name = os.fspath(path)
    local = file_systems.local_path(name)
    if local is not None:
        with replacing(local) as temporary:
            yield temporary
        return
    import tempfile  # imported late: it takes some milliseconds

    target = Target(name, storage_options)
    with tempfile.TemporaryDirectory(prefix="gputok-") as folder:
        temporary = pathlib.Path(folder, target.name)
        yield temporary
        target.upload(temporary)


def returned(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Writes a text, its line ends unchanged, to a path or URL atomically; if `path` is None, returns it instead."""
    if path is None:
        return text
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return None


def refuse_inputs(
    output: str | os.PathLike[str], inputs: Iterable[File], storage_options: StorageOptions = None
) -> None:
    """Raises ValueError if an output is one of the files that it is made from, which it would replace.

    The output is a path, which may be a symbolic link or another name of an input, or a URL.

    >>> from gputok.files.locations import find
    >>> _ = returned("a", "memory://d/a")
    >>> refuse_inputs("memory://d/a", find("memory://d/*"))
    Traceback (most recent call last):
    ValueError: memory://d/a: is an input as well (memory://d/a), which the output would replace; name another output
    """
    name, same = os.fspath(output), None
    local = file_systems.local_path(name)
    if local is None:
        target = Target(name, storage_options)
        same = next((file for file in inputs if target.is_same(file)), None)
    else:
        try:
            state = os.stat(local)
        except OSError:  # a new file is no input
            return
        if stat.S_ISREG(state.st_mode):
            same = next((file for file in inputs if file.is_same(state)), None)
    if same is not None:
        raise ValueError(f"{name}: is an input as well ({same}), which the output would replace; name another output")


class Target:
    """A URL to write to; the constructor raises an error if that is impossible, before the caller does any work."""

    def __init__(self, url: str, storage_options: StorageOptions = None) -> None:
        self.url, self._storage_options = url, storage_options
        self._scheme = file_systems.scheme_of(url)
        self._filesystem, self._path = file_systems.open_filesystem(url, storage_options)
        self.name = self._path.rsplit("/", 1)[-1]
        if not self.name or url.endswith("/"):
            raise IsADirectoryError(f"{url}: is a folder; name a file to write")
        file_systems.check_bucket(url, self._filesystem, self._path)

    def is_same(self, file: File) -> bool:
        """Returns True if a file is what the URL names, also if its own URL has other options and credentials."""
        if not isinstance(file, RemoteFile) or file_systems.scheme_of(file.url) != self._scheme:
            return False
        servers = [urllib.parse.parse_qs(urllib.parse.urlsplit(url).query) for url in (self.url, file.url)]
        at = [query.get("endpoint_override") for query in servers]
        return file.path.strip("/") == self._path.strip("/") and at[0] == at[1]

    def beside(self, name: str) -> Target:
        """Returns the target of another name in the same folder."""
        return Target(self.url[: -len(self.name)] + name, self._storage_options)

    def upload(self, local: pathlib.Path) -> None:
        """Uploads a local file: readers see all of it or, if the upload fails, nothing.

        Arrow cannot cancel an upload (closing it would show a part of the file): Ctrl-C takes effect after it.
        """
        path = self._path
        if self._scheme not in file_systems.OBJECT_STORES:
            path = f"{path[: -len(self.name)]}.{self.name}.{os.urandom(4).hex()}.part"
        inner = file_systems.fsspec_of(self._filesystem)
        with file_systems.explained(self.url, "could not be written: "):
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
                with contextlib.suppress(NotImplementedError):  # raised by file systems without folders
                    inner.makedirs(inner._parent(path), exist_ok=True)
            inner.put_file(str(local), path)
            return
        from pyarrow import fs

        if self._scheme not in file_systems.OBJECT_STORES:
            self._filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        systems = {"source_filesystem": fs.LocalFileSystem(), "destination_filesystem": self._filesystem}
        parts = {"chunk_size": file_systems.UPLOAD_BYTES, "use_threads": False}
        fs.copy_files(str(local.absolute()), path, **systems, **parts)


def work_folder(url: str) -> pathlib.Path:
    """Returns a local folder in which an output is made before its upload to a URL; the caller removes the folder.

    The folder is the user's own. Its name is a hash of the URL, so that a run finds the files of an interrupted run.
    """
    import hashlib  # imported late: both take some milliseconds
    import tempfile

    user = getattr(os, "getuid", lambda: 0)()
    folder = pathlib.Path(tempfile.gettempdir(), f"gputok-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or (hasattr(os, "getuid") and state.st_uid != user):
        raise PermissionError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    folder /= hashlib.sha256(url.encode()).hexdigest()[:24]
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
