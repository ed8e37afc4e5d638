"""Writes files atomically: a file appears complete under its name, or not at all. Also locks, and reads by threads."""

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
"""A longer name is shortened in the name of its temporary file, since most file systems allow 255 bytes (`_stem`)."""
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Errors that only writing raises; the operating system often names no file in them, so `naming` does."""
# With these flags, opening a symbolic link is an error, and opening a pipe doesn't wait for the pipe's other end
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
    is_temporary = _TEMPORARY.fullmatch(target.name) is not None  # yielded by an enclosing call, which will rename it
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
    """Creates a temporary file beside `target`, and returns its path and the descriptor that locks it; None: no locks.

    The lock tells `_remove_left` of another process that this one is alive; it ends with the process or the descriptor.
    """
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
        # Another process saw the file before it was locked, and removes it as the file of a dead process. So try again
        os.close(descriptor)


def is_plain(path: pathlib.Path) -> bool:
    """Returns True for a regular file; False for a link, folder, device, pipe (a reader may wait for it) or nothing."""
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

    Returns None if the path has no such file: there is nothing, a folder or a pipe; or a symbolic link, or a file with
    a second name (a hard link), since writing would change a file that is not of that run.
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
    """Fills `buffer` from byte `start` of an unbuffered file on; returns how many bytes it read: fewer at the end.

    Several threads may call this at once if they share `lock`. The file may grow at its end meanwhile.
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
    """Locks an existing file or folder until the block or the process ends; BlockingIOError: it is locked already."""
    if fcntl is None:  # Windows, which has no `flock` and opens no folders
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
    """Returns what the names of a target's temporary files share: its name; a long one is cut, with a checksum."""
    encoded = os.fsencode(name)
    if len(encoded) <= _MOST_BYTES:
        return name
    return encoded[: _MOST_BYTES - 9].decode(errors="ignore") + f"~{zlib.crc32(encoded):08x}"


def _remove_left(target: pathlib.Path) -> None:
    """Removes the temporary files of a target that dead processes have left."""
    begin = f".{_stem(target.name)}."
    names: list[str] = []
    with contextlib.suppress(OSError):  # in some folders, a process may make files but not list them
        names = os.listdir(target.parent)
    for name in names:  # `glob` would compile a pattern for each new name
        if not name.startswith(begin) or len(name) != len(begin) + _N_RANDOM or not _TEMPORARY.fullmatch(name):
            continue
        with contextlib.suppress(OSError):  # the file does not exist any more, or belongs to another user
            descriptor = os.open(target.parent / name, os.O_RDWR | _NO_LINK)
            try:
                if _lock(descriptor):  # so its process is dead. If locks are missing (None), the file stays
                    os.unlink(target.parent / name)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Locks an open file and returns True; False: another process locks it; None: the (file) system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
