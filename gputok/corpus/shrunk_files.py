"""Finds files that become shorter while they are read, because the end of their text is then missing."""

from __future__ import annotations

import os
import stat

from gputok.files.locations import File, LocalFile


def refuse_shrunk(file: File, opened: os.stat_result | None) -> None:
    """Raises ValueError if a local file has become shorter since it was opened.

    Reading alone cannot tell: an end that comes too early looks like any other end, even in a compressed file, if that
    file has several parts.
    """
    if opened is None or not isinstance(file, LocalFile):
        return
    try:
        now = file.path.stat()
    except OSError:  # the file was removed: the open file is still read to its end
        return
    if stat.S_ISREG(now.st_mode) and os.path.samestat(opened, now) and now.st_size < opened.st_size:
        raise shrunk(file, opened.st_size, now.st_size)


def shrunk(file: File, before: int, now: int) -> ValueError:
    """Returns the error for a file that had `before` bytes and now has only `now` bytes."""
    return ValueError(
        f"{file}: shrank from {before} to {now} bytes while it was read, so the end of its text is lost; read it again "
        "when nothing writes to it"
    )
