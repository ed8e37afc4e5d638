"""Reads the documents of plain text: lines, or the text between separators."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import BinaryIO

from gputok.corpus.byte_ranges import whole_documents
from gputok.corpus.options import Options
from gputok.corpus.packing import checked_documents, split_documents
from gputok.corpus.streams import document_batches
from gputok.files.locations import File, LocalFile
from gputok.text.pieces import RawLines, TextBatch
from gputok.types import Array


def read_range(file: File, start: int, stop: int, size: int, options: Options) -> list[TextBatch | RawLines]:
    """Returns the documents that begin in a range: one batch or none; local lines as RawLines if `options.memory`."""
    separator = None if options.separator is None else options.separator.encode()
    is_raw = separator is None and isinstance(file, LocalFile)
    memory = options.memory if is_raw else None
    position, data = whole_documents(file, start, stop, size, separator or b"\n", options, memory)
    if len(data) == 0:
        return []
    if memory is not None:
        return [RawLines(data, functools.partial(_checked_lines, file, data, position, options))]
    batch, _, is_valid = split_documents(
        data, separator, is_last=True, in_place=data.flags.writeable, lender=options.starts_lender
    )
    return [checked_documents(file, batch, position, options, is_valid)]


def _checked_lines(file: File, data: Array, position: int, options: Options) -> TextBatch:
    batch, _, is_valid = split_documents(data, None, is_last=True)
    return checked_documents(file, batch, position, options, is_valid)


def read_stream(file: File, stream: BinaryIO, options: Options) -> Iterator[TextBatch]:
    """Yields the documents of a stream in batches."""
    for batch, position, is_valid in document_batches(file, stream, options):
        yield checked_documents(file, batch, position, options, is_valid)
