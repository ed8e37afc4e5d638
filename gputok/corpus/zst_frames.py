"""Reads a .zst file whose frames several threads unpack before their turn.

A file of `pzstd`, one in the seekable format, or several .zst files one after the other consist of frames, each of
which is unpacked alone; RFC 8878 tells where they end. `zstd` writes one frame, which one thread unpacks as it is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from gputok.files.file_systems import Stream
from gputok.kernels.threads import Submit, in_order

_MAGIC, _SKIPPED_MAGIC = 0xFD2FB528, 0x184D2A50  # the last four bits of the second may be any
_BLOCK_BYTES = 1 << 17  # the most unpacked bytes of a block
_RAW, _REPEATED = 0, 1  # of these kinds of blocks, the header tells the unpacked bytes
_UNIT_BYTES = 1 << 20  # small frames form a unit, unpacked together, until they may have this many unpacked bytes
_READ_BYTES = 1 << 18
_TASKS_AHEAD = 1  # units that may wait for a thread, besides those that threads unpack


class Frames(io.RawIOBase):
    """The unpacked bytes of a .zst file; closing this stream does not close the file.

    ahead_bytes: about how many bytes may be unpacked before their turn. From the first frame that is too large for its
    share on, the rest of the file is unpacked as it is read.
    """

    def __init__(self, packed: BinaryIO, threads: int, ahead_bytes: int) -> None:
        super().__init__()
        self._packed, self._most = packed, ahead_bytes // (threads + _TASKS_AHEAD + 1)
        self._read = bytearray()  # what was read of the file, from the next frame on
        self._at = 0  # the position of the next frame in the file
        self._units = in_order(self._tasks(), threads, _TASKS_AHEAD)
        self._now = memoryview(b"")  # the rest of the unit whose turn it is
        self._rest: Any = None  # a stream, once there are no more units

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads some bytes, as many as the buffer has or fewer; 0 at the end of the file; OSError: damage."""
        target = memoryview(buffer).cast("B")
        while not self._now and self._rest is None:
            if (unit := next(self._units, None)) is not None:
                self._now = unit[1]
            else:
                first, self._read = bytes(self._read), bytearray()
                self._rest = _stream(Stream(self._packed, first))
        if self._now:
            n = min(len(target), len(self._now))
            target[:n], self._now = self._now[:n], self._now[n:]
            return n
        assert self._rest is not None
        return self._rest.readinto(target)

    def close(self) -> None:
        """Ends the threads."""
        self._units.close()
        super().close()

    def _tasks(self) -> Iterator[tuple[None, Callable[[Submit], Callable[[], memoryview]]]]:
        while True:
            end = most = 0
            while max(end, most) < _UNIT_BYTES and (frame := self._frame(end, self._most - most)):
                end, most = frame[0], most + frame[1]
            if not end:
                return
            unit = bytes(memoryview(self._read)[:end])
            del self._read[:end]
            yield None, lambda submit, task=(unit, most, self._at): submit(_unpacked, *task).result
            self._at += end

    def _frame(self, start: int, most: int) -> tuple[int, int] | None:
        """Returns where a frame that starts at a byte of `_read` ends, and its unpacked bytes, at most.

        Returns None if the file ends before that, if the frame may have more bytes than `most`, or there is no frame.
        """
        if not self._has(start + 8):
            return None
        magic, unpacked = self._number(start, 4), 0
        if magic & ~15 == _SKIPPED_MAGIC:
            end = start + 8 + self._number(start + 4, 4)
        elif magic == _MAGIC:
            flags = self._read[start + 4]
            size, is_single, has_sum, dictionary = flags >> 6, flags >> 5 & 1, flags >> 2 & 1, flags & 3
            end = start + 5 + (1 - is_single) + (0, 1, 2, 4)[dictionary] + (is_single, 2, 4, 8)[size]
            is_last = 0
            while not is_last:
                if max(unpacked, end - start) > most or not self._has(end + 3):
                    return None
                block = self._number(end, 3)
                is_last, kind, n_bytes = block & 1, block >> 1 & 3, block >> 3
                unpacked += n_bytes if kind in (_RAW, _REPEATED) else _BLOCK_BYTES
                end += 3 + (1 if kind == _REPEATED else n_bytes)
            end += 4 * has_sum
        else:
            return None
        return (end, unpacked) if max(unpacked, end - start) <= most and self._has(end) else None

    def _number(self, start: int, n_bytes: int) -> int:
        return int.from_bytes(self._read[start : start + n_bytes], "little")

    def _has(self, n_bytes: int) -> bool:
        """Reads until `_read` has `n_bytes` bytes; False if the file ends before."""
        while (missing := n_bytes - len(self._read)) > 0:
            if not (more := self._packed.read(max(missing, _READ_BYTES))):
                return False
            self._read += more
        return True


def _unpacked(unit: bytes, most: int, at: int) -> memoryview:
    try:
        return memoryview(_stream(unit).read_buffer(most + 1)).cast("B")
    except OSError as error:
        raise OSError(f"{error}, between its bytes {at} and {at + len(unit)}") from None


def _stream(packed: Any) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.BufferReader(packed) if isinstance(packed, bytes) else packed, "zstd")
