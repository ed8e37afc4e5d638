"""Atomic file writes: a file appears complete under its name, or not at all. And locks, and reads by threads."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import stat
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import io
    import threading
    from collections.abc import Iterator

    import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)
_N_RANDOM = len("01234567.part")
_MOST_BYTES = 255 - len("..01234567.part")
"""The most bytes of a name that fit into the name of a temporary file, in most file systems."""
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Errors that only writing has, and that often name no file."""
# A link is an error, and no pipe is waited for
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def real_target(path: str | os.PathLike[str], *, follow: bool = True) -> pathlib.Path:
    """Resolves symbolic links, so that writing replaces the file that a link points to, and keeps the link.

    follow: False: `path` itself is not resolved, only its folder. Raises IsADirectoryError if `path` is a folder,
    FileNotFoundError if the folder that would hold it does not exist.
    """
    folder, name = os.path.split(path)
    target = pathlib.Path(os.path.realpath(path) if follow else os.path.join(os.path.realpath(folder), name))
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(f"{path}: expected the name of a file to write, but this is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {target.parent} does not exist; create it first")
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, follow: bool = True) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder, which is renamed to `path` when the block ends without exception.

    If an exception leaves the block (a full disk, Ctrl-C), the temporary file is removed, and an older file named
    `path` stays as it was. A killed process leaves its temporary file; the next call for the same `path` removes that
    file. If `path` is a device or a pipe, or what an enclosing call yielded, the block writes to it directly.

    follow: True if the user chose the name: a symbolic link stays, and the file that it points to is replaced. False
    for files that gputok names itself: a link of that name is replaced, and what it points to stays. Raises the errors
    of `real_target` before the block runs.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tokens.txt")
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("whole")
    ...     path.exists()
    False
    >>> path.read_text()
    'whole'
    """
    target = real_target(path, follow=follow)
    is_temporary = _TEMPORARY.fullmatch(target.name) is not None  # of an enclosing call, which renames it
    if follow and target.exists() and (is_temporary or not target.is_file()):
        with naming(path):
            yield target
        return
    _remove_left(target)
    temporary, locked = _create_locked(path, target)
    try:
        with naming(path, temporary):
            yield temporary
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if locked is not None:
            os.close(locked)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], *temporaries: pathlib.Path) -> Iterator[None]:
    """Makes errors of the system about temporary files, and about a full disk, name the file that the user asked for.

    >>> with naming("ids.npy"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'ids.npy'
    """
    try:
        yield
    except OSError as error:
        text, names = str(error), [*map(str, temporaries)]
        if error.errno is None or error.filename == os.fspath(path):
            raise
        is_temporary = str(error.filename) in names or any(name in text for name in names)
        if not is_temporary and not (error.filename is None and error.errno in _WRITING):
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error


def _create_locked(path: str | os.PathLike[str], target: pathlib.Path) -> tuple[pathlib.Path, int | None]:
    """Creates a temporary file beside `target` and locks it; the lock ends with the process, or with the descriptor."""
    while True:
        temporary = target.with_name(f".{_stem(target.name)}.{os.urandom(4).hex()}.part")
        if fcntl is None:
            return temporary, None
        with naming(path, temporary):
            descriptor = os.open(temporary, _NEW | _NO_LINK, 0o666)
        try:
            with contextlib.suppress(FileNotFoundError):
                if _lock(descriptor) is not False and os.path.samestat(os.fstat(descriptor), os.lstat(temporary)):
                    return temporary, descriptor
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        os.close(descriptor)  # before the lock, another process removed the file as one of a dead process


def is_plain(path: pathlib.Path) -> bool:
    """Says whether a file has this name, and not a link, a folder, a device or a pipe, which one might wait for."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def created(path: pathlib.Path) -> io.BufferedRandom:
    """Creates an empty file for reading and writing, which replaces what had that name before, also a link."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, _NEW | _NO_LINK, 0o666), "r+b")


def reopened(path: pathlib.Path) -> io.BufferedRandom | None:
    """Opens a file that an interrupted run created, for reading and writing.

    None if none is there, or what is there may be another file too: a symbolic link, a second name of a file, a pipe.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | _NO_LINK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            return None
        raise
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1 or path.is_symlink():
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "r+b")


def read_at(file: Any, lock: threading.Lock, buffer: np.ndarray, start: int) -> int:
    """Fills an array of bytes from a position of an unbuffered file on; returns how many there were: fewer at its end.

    Several threads may read, with one lock, and the file be written at its end meanwhile.
    """
    view, n = buffer.data, 0
    while n < len(buffer):
        if hasattr(os, "preadv"):
            step = os.preadv(file.fileno(), [view[n:]], start + n)
        else:
            with lock:  # seeking and reading are two steps
                file.seek(start + n)
                step = file.readinto(view[n:])
                file.seek(0, os.SEEK_END)
        if not step:
            break
        n += step
    return n


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Locks an existing file or folder until the block or the process ends; BlockingIOError: it is locked."""
    if fcntl is None:  # without locks; and Windows opens no folders
        yield
        return
    descriptor = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | _NO_LINK)
    try:
        if _lock(descriptor) is False:
            raise BlockingIOError(errno.EWOULDBLOCK, "another process works there", str(path))
        yield
    finally:
        os.close(descriptor)


def _stem(name: str) -> str:
    """What the names of temporary files of a target have in common: its name, or of a long name as much as fits."""
    encoded = os.fsencode(name)
    if len(encoded) <= _MOST_BYTES:
        return name
    return encoded[: _MOST_BYTES - 9].decode(errors="ignore") + f"~{zlib.crc32(encoded):08x}"


def _remove_left(target: pathlib.Path) -> None:
    """Removes the temporary files of a target that dead processes have left."""
    begin = f".{_stem(target.name)}."
    names: list[str] = []
    with contextlib.suppress(OSError):  # a folder in which one may write, and not read
        names = os.listdir(target.parent)
    for name in names:  # `glob` would compile a pattern for each new name
        if not name.startswith(begin) or len(name) != len(begin) + _N_RANDOM or not _TEMPORARY.fullmatch(name):
            continue
        with contextlib.suppress(OSError):  # the file does not exist any more, or belongs to another user
            descriptor = os.open(target.parent / name, os.O_RDWR | _NO_LINK)
            try:
                if _lock(descriptor):  # without locks, which tell that a process is dead, the file stays
                    os.unlink(target.parent / name)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Locks an open file; False: another process has a lock. None: the system or the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
