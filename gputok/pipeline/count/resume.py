"""Counts words in a work folder, so that an interrupted run can resume.

The corpus is cut into parts (`corpus.parts`). The counts of each part, or of several small parts together, are saved in
the folder once they are complete; at the end, all are added up. `run.json` identifies the corpus and the tokenizer.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from gputok.corpus import Part, Source
from gputok.counts import files as count_files
from gputok.counts import partitions
from gputok.counts.word_counts import WordCounts
from gputok.files.atomic import is_plain, locked, replacing
from gputok.files.locations import LocalFile
from gputok.pipeline import serialize
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import Run
from gputok.progress import reporting

_RUN, _PART = "run.json", "part-{:06d}.parquet"


def count_words(pipeline: Pipeline, source: Source, folder: str | os.PathLike[str], run: Run) -> WordCounts:
    """Counts the words of files, part by part, without the parts that an earlier run has counted into the folder.

    The folder is made if need be, and remains at the end (`remove` deletes it). Raises ValueError if the source is no
    files, or the folder has other files, or another run's work; BlockingIOError if another process works there.
    """
    return count_parts(pipeline, source, folder, partial(count_corpus, pipeline), run)


def count_parts(
    pipeline: Pipeline,
    source: Source,
    folder: str | os.PathLike[str],
    count: Callable[[Source, Run], WordCounts],
    run: Run,
    also: Sequence[Any] = (),
) -> WordCounts:
    """`count_words` for anything that `count` can count in a part; also: what else the counts depend on."""
    if not source.is_files or source.is_open:
        raise ValueError(
            f"resume={os.fspath(folder)!r}: only the counting of files can be resumed, not of an iterator of texts"
        )
    groups = _groups(source)
    options = {"column": source.column, "errors": source.errors, "separator": source.separator}
    # 2: a version, which changes if `_groups` groups parts in another way
    fingerprint = serialize.fingerprint(pipeline, source, [2, source.sizes.part, *options.items(), *also])
    total, done = source.total_bytes, 0
    with _opened(pathlib.Path(folder), fingerprint) as work, reporting(run.progress) as report:
        files = [work / _PART.format(i) for i in range(len(groups))]
        for group, file in zip(groups, files, strict=True):
            part = source.other(group)
            if not _is_whole(file, f"{fingerprint} {file.name}"):

                def shifted(stage: str, n: int, of: int | None, before: int = done) -> None:
                    if stage.startswith("count"):
                        report(stage, before + n, total)

                counts = count(part, run._replace(progress=shifted))
                with replacing(file, follow=False) as name:
                    _save(counts, name, f"{fingerprint} {file.name}")
            done += part.total_bytes or 0
        if not files:
            return count(source, run._replace(progress=report))
        return WordCounts.load(files, **run.limits)


def remove(folder: str | os.PathLike[str]) -> None:
    """Removes the files of `count_words` from a folder, and then the folder if it is empty."""
    work = pathlib.Path(folder)
    for inner in (work / "words", work / "pairs", *work.glob("runs-*")):
        if inner.is_dir():
            remove(inner)
    for file in [*sorted(work.glob("part-*.parquet")), *work.glob(".part-*.part"), work / _RUN]:
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()


def _groups(source: Source) -> list[list[Part]]:
    """Groups the parts of the corpus: many small files become few files of counts."""
    groups: list[list[Part]] = []
    size = most = source.sizes.part
    for part, n_bytes in source.parts(most):
        if size + n_bytes > most:
            groups.append([])
            size = 0
        groups[-1].append(part)
        size += n_bytes
    return groups


@contextlib.contextmanager
def _opened(folder: pathlib.Path, fingerprint: str) -> Generator[pathlib.Path, None, None]:
    """Opens and locks the folder; raises ValueError if it contains anything but the work of this run."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / _RUN
    if os.path.lexists(run) and not is_plain(run):
        raise ValueError(
            f"{run}: is a symbolic link or a pipe, which gputok does not make; remove it, or name another folder"
        )
    if not run.exists():
        if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            raise ValueError(
                f"{folder}: expected an empty folder or a work folder of gputok, but it contains {others[0]}; "
                "name another folder"
            )
        with replacing(run, follow=False) as temporary:
            temporary.write_text(json.dumps({"version": 1, "fingerprint": fingerprint}))
    with locked(run):
        try:
            found = json.loads(run.read_text())["fingerprint"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{run}: is damaged; remove the folder, or name another folder") from None
        if found != fingerprint:
            raise ValueError(
                f"{folder}: contains the work of another run: the corpus, the tokenizer or the options differ, or a "
                "file of the corpus has changed; remove the folder, or name another folder"
            )
        yield folder


def _save(counts: WordCounts, file: pathlib.Path, part: str) -> None:
    sizes, words = partitions.in_partitions(counts.columns())
    part = f"{part} {counts.byte_level}"
    count_files.write(file, words, sizes, counts.byte_level, scale=counts.scale, part=part)


def _is_whole(file: pathlib.Path, part: str) -> bool:
    """Whether the counts of this part are there: a crash may leave an empty file, and someone copy another part."""
    if not is_plain(file):  # not there, or a link or pipe of another program, which is replaced
        return False
    try:
        found = count_files.CountFile(LocalFile(file), count_files.ColumnNames())
        return found.part == f"{part} {found.byte_level}"
    except (FileNotFoundError, ValueError):
        return False
