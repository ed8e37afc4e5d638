"""Files that can only be read from their beginning to their end: compressed files, CSV, pipes."""

from __future__ import annotations

import gzip
import lzma
import pathlib
import tempfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from gputok.corpus.documents import split_documents
from gputok.corpus.file_kinds import MAGIC
from gputok.corpus.shrunk_files import refuse_shrunk
from gputok.files.arrow import needed_for
from gputok.files.locations import File, LocalFile, OpenFile, RemoteError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from gputok.corpus.options import Options
    from gputok.text.pieces import TextBatch


def open_stream(file: File, compression: str) -> BinaryIO:
    """Opens a file to read what it unpacks to."""
    stream = file.open()
    if isinstance(file, OpenFile):  # its name may be that of what it unpacks
        head = cast("io.BufferedReader", stream).peek(8)
        compression = next((ending for ending, magic in MAGIC.items() if head.startswith(magic)), "")
    if compression == ".gz":
        return cast("BinaryIO", gzip.open(stream))
    if compression == ".xz":
        return cast("BinaryIO", lzma.open(stream))
    if compression == ".zst":
        with needed_for(f"{file}: unpacking .zst"):
            import pyarrow as pa  # unlike the package zstandard, its reader tells a truncated file from a whole one

        return pa.CompressedInputStream(stream, "zstd")
    return stream


def fill(path: File, file: BinaryIO, buffer: memoryview, n_before: int) -> int:
    """Reads until `buffer` is full or the file ends; the number of bytes read."""
    n = 0
    try:
        while n < len(buffer) and (step := file.readinto(buffer[n:])):  # type: ignore[attr-defined]
            n += step
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, RemoteError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        if isinstance(error, EOFError) or "runcated" in str(error):
            raise ValueError(
                f"{path}: broken off in the middle of its compressed data, after {n_before + n} bytes of text; "
                f"copy or download it again"
            ) from None
        raise ValueError(f"{path}: not a valid {pathlib.PurePath(path.name).suffix} file ({error})") from None
    return n


def document_batches(path: File, file: BinaryIO, options: Options) -> Iterator[tuple[TextBatch, int, bool]]:
    """Whole documents, the position of each batch in the (uncompressed) file, and whether it is known to be UTF-8.

    Raises ValueError where the file shrinks meanwhile.
    """
    opened = path.path.stat() if isinstance(path, LocalFile) else None
    separator = None if options.separator is None else options.separator.encode()
    buffer = np.empty(0, np.uint8)
    rest = buffer  # what the last read began and did not end
    position = 0  # of the first byte of `rest`
    while True:
        # Memory that isn't touched costs nothing, so a small file pays nothing for a large buffer; buffers of one size
        # fill each other's holes. Doubling keeps a document much longer than a batch linear.
        n_bytes = max(options.batch_bytes, 2 * len(rest))
        if separator is None or n_bytes != len(buffer):  # with one, documents have been copied out
            buffer = np.empty(n_bytes, np.uint8)
        buffer[: len(rest)] = rest
        size = len(rest) + fill(path, file, buffer.data[len(rest) :], position + len(rest))
        is_last = size < len(buffer)
        if is_last:
            refuse_shrunk(path, opened)
        batch, n_used, is_valid = split_documents(buffer[:size], separator, is_last)
        if batch.n_documents:
            yield batch, position, is_valid
        if is_last:
            return
        # a view would keep the whole buffer alive
        rest, position = buffer[n_used:size].copy(), position + n_used


def unpacked(path: File, file: BinaryIO, batch_bytes: int) -> BinaryIO:
    """A compressed file written out to a temporary one."""
    buffer, n = memoryview(bytearray(batch_bytes)), 0
    whole = tempfile.TemporaryFile()
    while step := fill(path, file, buffer, n):
        whole.write(buffer[:step])
        n += step
    return cast("BinaryIO", whole)
