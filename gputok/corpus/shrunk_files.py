"""Files that become shorter while they are read: their text is not whole."""

from __future__ import annotations

import os
import stat

from gputok.files.locations import File, LocalFile


def refuse_shrunk(file: File, opened: os.stat_result | None) -> None:
    """An end that came too early looks like any other, also of a compressed file of several parts."""
    if opened is None or not isinstance(file, LocalFile):
        return
    try:
        now = file.path.stat()
    except OSError:  # it was removed: what is open is read to its end
        return
    if stat.S_ISREG(now.st_mode) and os.path.samestat(opened, now) and now.st_size < opened.st_size:
        raise shrunk(file, opened.st_size, now.st_size)


def shrunk(file: File, before: int, now: int) -> ValueError:
    """The error for a file that had `before` bytes and has only `now`."""
    return ValueError(
        f"{file}: shrank from {before} to {now} bytes while it was read, so the end of its text is lost; read it again "
        "when nothing writes to it"
    )
