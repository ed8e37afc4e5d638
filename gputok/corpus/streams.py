"""Reads files that can only be read from beginning to end: compressed files, CSV, pipes."""

from __future__ import annotations

import contextlib
import io
import pathlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np

from gputok.corpus.byte_ranges import refuse_shrunk
from gputok.corpus.document_kinds import MAGIC
from gputok.corpus.options import Options
from gputok.corpus.packing import split_documents, too_long
from gputok.files.arrow import needed_for
from gputok.files.locations import File, LocalFile, OpenFile, RemoteError
from gputok.text.pieces import TextBatch


@contextlib.contextmanager
def open_stream(file: File, compression: str, options: Options) -> Iterator[BinaryIO]:
    """Opens a file for reading its unpacked bytes; if the caller opened it, its first bytes tell the compression."""
    with file.open() as packed:  # closing what unpacks a file does not close the file
        if isinstance(file, OpenFile):  # the name may be the name of the unpacked file
            head = cast("io.BufferedReader", packed).peek(8)
            compression = next((ending for ending, magic in MAGIC.items() if head.startswith(magic)), "")
        with _unpacking(file, packed, compression, options) as stream:
            yield stream


def _unpacking(file: File, packed: BinaryIO, compression: str, options: Options) -> BinaryIO:
    if compression == ".gz":
        import gzip

        return cast("BinaryIO", gzip.open(packed))
    if compression == ".xz":
        import lzma

        return cast("BinaryIO", lzma.open(packed))
    if compression == ".zst":
        with needed_for(f"{file}: unpacking .zst"):
            import pyarrow as pa  # unlike the package zstandard, its reader tells a truncated file from a whole one

        if options.unpackers > 1:
            from gputok.corpus.zst_frames import Frames

            return cast("BinaryIO", Frames(packed, options.unpackers, options.ahead_bytes))
        return pa.CompressedInputStream(packed, "zstd")
    return packed


def fill(file: File, stream: BinaryIO, buffer: memoryview, n_before: int) -> int:
    """Reads until a buffer is full or the file ends; returns how many bytes; n_before: bytes before, for errors."""
    import lzma  # imported late, as gzip: plain files need neither
    import zlib

    n = 0
    try:
        while n < len(buffer) and (step := stream.readinto(buffer[n:])):  # type: ignore[attr-defined]
            n += step
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, RemoteError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        if isinstance(error, EOFError) or "runcated" in str(error):
            raise ValueError(
                f"{file}: broken off in the middle of its compressed data, after {n_before + n} bytes of text; "
                f"copy or download it again"
            ) from None
        raise ValueError(f"{file}: not a valid {pathlib.PurePath(file.name).suffix} file ({error})") from None
    return n


def document_batches(file: File, stream: BinaryIO, options: Options) -> Iterator[tuple[TextBatch, int, bool]]:
    """Yields batches of whole documents, each with its position in the unpacked file, and True if known to be UTF-8."""
    opened = file.path.stat() if isinstance(file, LocalFile) else None
    separator = None if options.separator is None else options.separator.encode()
    buffer = np.empty(0, np.uint8)
    rest = buffer  # the document that the last read began and did not end
    position = 0  # of the first byte of `rest`
    while True:
        # Memory that is never touched costs nothing, so a small file pays nothing for a large buffer. If all buffers
        # have one size, malloc can use freed ones again. Doubling reads a very long document in linear time.
        n_bytes = max(options.batch_bytes, min(2 * len(rest), len(rest) + options.longest))
        # With a separator, the documents were copied out of the buffer, so that it can be used again.
        if separator is None or n_bytes != len(buffer):
            buffer = np.empty(n_bytes, np.uint8)
        buffer[: len(rest)] = rest
        size = len(rest) + fill(file, stream, buffer.data[len(rest) :], position + len(rest))
        is_last = size < len(buffer)
        if is_last:
            refuse_shrunk(file, opened)
        batch, n_used, is_valid = split_documents(buffer[:size], separator, is_last)
        if batch.n_documents:
            yield batch, position, is_valid
        if is_last:
            return
        if size - n_used > options.longest:
            head = buffer[n_used : n_used + 80].tobytes().decode(errors="replace")
            raise too_long(f"{file}, byte {position + n_used}", head, options.longest)
        # copied, because a view would keep the whole buffer alive
        rest, position = buffer[n_used:size].copy(), position + n_used


def unpacked(file: File, stream: BinaryIO, batch_bytes: int) -> BinaryIO:
    """Writes a stream to a temporary file, which the system removes when it is closed, and returns the open file."""
    buffer, n = memoryview(bytearray(batch_bytes)), 0
    import tempfile

    whole = tempfile.TemporaryFile()
    while step := fill(file, stream, buffer, n):
        whole.write(buffer[:step])
        n += step
    return cast("BinaryIO", whole)
