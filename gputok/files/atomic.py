"""Files that are either there whole or not there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator


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
    name before keeps it. Devices and pipes are written directly. Raises FileNotFoundError where there is no folder
    to write in, before any work is done.

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
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
