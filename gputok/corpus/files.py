"""Cuts files into sections that can be read alone, and chooses the reader of each: text, JSON Lines, CSV or Parquet.

A section is a range of bytes of text or JSON Lines, or some row groups of Parquet. A file that can only be read from
its beginning (a compressed file, CSV, a pipe) is one section. `tasks` cuts sections of about a batch, for the threads
of one process; `parts` cuts larger ones, for many machines, or for a run that can be resumed after an interruption.
`gputok.corpus.read` lists the errors for damaged or wrong files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from gputok.checks import short
from gputok.corpus import json_lines, parquet_rows, plain_text
from gputok.corpus.byte_ranges import can_be_cut, range_bytes, ranges
from gputok.corpus.document_kinds import file_kind
from gputok.corpus.options import Options, Part, Place
from gputok.corpus.readers import Task
from gputok.corpus.streams import open_stream
from gputok.files.locations import File, LocalFile, OpenFile
from gputok.text.pieces import RawLines, TextBatch


def parts(place: Place, part_bytes: int, separator: str | None) -> Iterator[tuple[Part, int]]:
    """Cuts a file into parts, each with its approximate size; a place that is a part already stays as it is.

    part_bytes: about the size of a part (of Parquet, unpacked bytes of all columns); an unknown size counts as this.
    """
    file, first, last = place
    name, kind = str(file), file_kind(file)
    if (first, last) != (0, None):
        is_text = last is not None and kind != (".parquet", "")
        yield Part(name, first, last), last - first if is_text and last else part_bytes
    elif kind == (".parquet", ""):
        groups = [*parquet_rows.row_groups(parquet_rows.metadata_of(file), None, part_bytes)]
        n_bytes = part_bytes if len(groups) > 1 else file.size or part_bytes
        for first, last in groups:
            yield Part(name, first, last), n_bytes
    elif can_be_cut(file, separator):
        for start, stop in ranges(0, file.size or 0, part_bytes):
            yield Part(name, start, stop), stop - start
    else:
        yield Part(name), part_bytes if file.size is None else file.size


def total_bytes(files: Iterable[Place]) -> int | None:
    """Returns the number of bytes of text in files; None if only reading can tell it."""
    n_bytes = 0
    for file, start, stop in files:
        size = file.size if file_kind(file) == ("", "") and not isinstance(file, OpenFile) else None
        if size is None:
            return None
        n_bytes += (size if stop is None else min(stop, size)) - start
    return n_bytes


def tasks(files: Iterable[Place], options: Options) -> Iterator[Task]:
    """Cuts files into tasks for several threads: about a batch each, if a file can be cut.

    Small files share a task. It is marked `is_long`, since their unpacked text may be more than a batch. Raises
    ValueError if `column` or `separator` does not suit a kind of file, or a part was asked for of a file that can't be
    read in parts.
    """
    small: list[Place] = []
    n_bytes = 0
    for place in files:
        file, start, stop = place
        size = file.size if start == 0 and stop is None else None
        is_small = size is not None and size < options.sizes.small and file_kind(file)[0] != ".parquet"
        if is_small:
            small.append(place)
            n_bytes += size or 0
        if small and (not is_small or n_bytes >= options.sizes.small):
            yield Task(functools.partial(_read_each, small, options), is_long=True)
            small, n_bytes = [], 0
        if not is_small:
            yield from _tasks_of(place, options)
    if small:
        yield Task(functools.partial(_read_each, small, options), is_long=True)


def can_be_read_apart(files: Iterable[Place], options: Options) -> bool:
    """Returns True if all tasks of some files are ranges of large local files, as `Source.read_apart` needs them."""
    return all(
        isinstance(place.file, LocalFile)
        and can_be_cut(place.file, options.separator)
        and ((place.start, place.stop) != (0, None) or (place.file.size or 0) >= options.sizes.small)
        for place in files
    )


def _read_each(files: list[Place], options: Options) -> Iterator[TextBatch | RawLines]:
    options = options._replace(memory=None)  # no RawLines: the small batches will be joined, which needs offsets
    for place in files:
        for task in _tasks_of(place, options):
            yield from task.read()


def _tasks_of(place: Place, options: Options) -> Iterator[Task]:
    file, start, stop = place
    kind, compression = file_kind(file)
    if not kind and options.column is not None:
        raise ValueError(f"{file}: plain text has no column {short(options.column)}; leave column= out")
    if kind and options.separator is not None:
        raise ValueError(f"{file}: separator= cuts plain text; the rows of a {kind} file are documents already")
    if kind == ".parquet" and not compression and not isinstance(file, OpenFile):
        yield from parquet_rows.tasks(place, options)
    elif not can_be_cut(file, options.separator):
        if start or stop is not None:
            raise ValueError(f"{file}: can only be read from its beginning to its end, not in parts")
        yield Task(functools.partial(_stream, file, kind, compression, options), is_long=True)
    else:
        file = file.held(options.text_lender)
        size = file.size or 0
        cut = list(ranges(start, size if stop is None else min(stop, size), range_bytes(file, options)))
        if kind:
            column = json_lines.JsonColumn(file, options)
            read = functools.partial(json_lines.read_range, options=options, column=column)
        else:
            read = functools.partial(plain_text.read_range, options=options)
        for first, last in cut:
            yield Task(functools.partial(read, file, first, last, size))


def _stream(file: File, kind: str, compression: str, options: Options) -> Iterator[TextBatch]:
    with open_stream(file, compression, options) as stream:
        if kind == ".parquet":
            yield from parquet_rows.read_stream(file, stream, compression, options)
        elif kind == ".csv":
            from gputok.corpus import csv_rows

            yield from csv_rows.read_stream(file, stream, options)
        else:
            read = (json_lines if kind else plain_text).read_stream
            yield from read(file, stream, options)
