"""Atomic file writes: a file appears complete under its name, or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    `path` stays as it was. If `path` is a device or a pipe, the block writes to it directly.

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
    if target.exists() and not target.is_file():
        yield target
        return
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
