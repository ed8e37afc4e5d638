"""Files that are either there whole or not there."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import uuid
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def real_target(path: str | os.PathLike[str]) -> pathlib.Path:
    """The file that is written under a name: the one that a symbolic link points to, so that the link stays.

    Raises IsADirectoryError for a folder, FileNotFoundError if the folder to write in isn't there.
    """
    target = pathlib.Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent} to write it in")
    return target


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A new path beside `path` to write to; it takes the name `path` when the block ends well.

    Where the block is left by an exception (a full disk, Ctrl-C), what was written is removed, and what had the
    name before keeps it. A run that was killed leaves its file, which the next one for the same `path` removes. Devices
    and pipes are written directly. Raises FileNotFoundError where there is no folder to write in, before any work is
    done.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tokens.txt")
    >>> with replacing(path) as beside:
    ...     _ = beside.write_text("whole")
    ...     path.exists()
    False
    >>> path.read_text()
    'whole'
    """
    target = real_target(path)
    if target.exists() and not target.is_file():
        yield target
        return
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part"):
        _remove_unless_held(left)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    held = None
    try:
        held = _hold(beside)
        yield beside
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _hold(path: pathlib.Path) -> int | None:
    """Makes a file, and locks it until the process ends or the result, its descriptor, is closed."""
    if fcntl is None:
        return None
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(FileNotFoundError):
            if _lock(held) is not False and os.path.samestat(os.fstat(held), os.stat(path)):
                return held
        os.close(held)  # before it was locked, another run took it for a dead one's


def _remove_unless_held(path: pathlib.Path) -> None:
    """Removes a file that no living process holds; without locks nobody can tell, and it stays."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # it is gone, or not ours to remove
        held = os.open(path, os.O_RDWR)
        try:
            if _lock(held):
                path.unlink()
        finally:
            os.close(held)


def _lock(held: int) -> bool | None:
    """Locks an open file; False: another process has. None: the file system has no locks."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
