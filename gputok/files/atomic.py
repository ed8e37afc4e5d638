"""Atomic file writes: a file appears complete under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import pathlib
import re
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)
_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Errors that only writing has, and that often name no file."""


def real_target(path: str | os.PathLike[str]) -> pathlib.Path:
    """Resolves symbolic links, so that writing replaces the file that a link points to, and keeps the link.

    Args:
        path: the name under which to write.

    Returns:
        The file to write. It need not exist.

    Raises:
        IsADirectoryError: if `path` is a folder.
        FileNotFoundError: if the folder that would hold the file does not exist.
    """
    target = pathlib.Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: expected the name of a file to write, but this is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {target.parent} does not exist; create it first")
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder, which is renamed to `path` when the block ends without exception.

    If an exception leaves the block (a full disk, Ctrl-C), the temporary file is removed, and an older file named
    `path` stays as it was. A killed process leaves its temporary file; the next call for the same `path` removes that
    file. If `path` is a device or a pipe, or what an enclosing call yielded, the block writes to it directly.

    Args:
        path: the final name.

    Yields:
        The path to write to.

    Raises:
        IsADirectoryError: if `path` is a folder; before the block runs.
        FileNotFoundError: if the folder that would hold the file does not exist; before the block runs.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "tokens.txt")
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("whole")
        ...     path.exists()
        False
        >>> path.read_text()
        'whole'
    """
    target = real_target(path)
    is_temporary = _TEMPORARY.fullmatch(target.name) is not None  # of an enclosing call, which renames it
    if target.exists() and (is_temporary or not target.is_file()):
        with naming(path):
            yield target
        return
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part"):
        _remove_unless_locked(left)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    locked = None
    try:
        with naming(path, temporary):
            locked = _create_locked(temporary)
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

    Args:
        path: the name to give.
        temporaries: the names to replace.

    Raises:
        OSError: the error of the block, of its own class, with `path` as its `filename`.

    Example:
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


def _create_locked(path: pathlib.Path) -> int | None:
    """Creates a file and locks it; the lock ends with the process, or when the returned descriptor is closed."""
    if fcntl is None:
        return None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(FileNotFoundError):
            if _lock(descriptor) is not False and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # before the lock, another process removed the file as one of a dead process


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Locks an existing file until the block ends, or the process.

    Raises:
        BlockingIOError: another process has locked the file.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        if _lock(descriptor) is False:
            raise BlockingIOError(errno.EWOULDBLOCK, "another process works there", str(path))
        yield
    finally:
        os.close(descriptor)


def _remove_unless_locked(path: pathlib.Path) -> None:
    """Removes the temporary file of a dead process. Without locks, nobody can tell, and the file stays."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # the file does not exist any more, or belongs to another user
        descriptor = os.open(path, os.O_RDWR)
        try:
            if _lock(descriptor):
                path.unlink()
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
