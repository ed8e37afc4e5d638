"""Counts words in a work folder, so that an interrupted run can resume.

The corpus is cut into parts (`corpus.parts`). The counts of each part, or of several small parts together, are saved in the
folder as soon as they are complete; at the end, all counts are added up. `run.json` identifies the corpus and the tokenizer.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok import corpus
from gputok.fields import is_list
from gputok.files.atomic import is_plain, locked, replacing
from gputok.files.locations import StorageOptions, find
from gputok.files.temporary import MemoryLimit
from gputok.pipeline import encode_corpus
from gputok.progress import Progress, Report, reporting
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gputok.corpus import Part
    from gputok.pipeline.pipeline import Pipeline

_RUN, _PART = "run.json", "part-{:06d}.parquet"


def count_words(
    pipeline: Pipeline,
    source: Any,
    folder: str | os.PathLike[str],
    *,
    threads: int | None,
    device: str | None,
    progress: Progress,
    memory_limit: int | str | None,
    temporary: str | os.PathLike[str] | None,
    storage_options: StorageOptions,
    options: dict[str, Any],
) -> WordCounts:
    """Counts the words of files, part by part, without the parts that an earlier run has counted into the folder.

    The folder is made if it does not exist, and remains at the end (`remove` deletes it). options: the options of
    `corpus.read` that change the text: column, separator, errors.

    Raises:
        ValueError: if the source does not consist of files, or the folder contains the work of another run or other files.
        BlockingIOError: if another process works in the folder.
    """

    def count(read: Any, read_raw: Any, n_bytes: int | None, report: Report) -> WordCounts:
        return pipeline.count_batches(read, n_bytes, threads, device, report, memory, read_raw)

    memory = MemoryLimit.of(memory_limit, temporary)
    return count_parts(
        pipeline,
        source,
        folder,
        count,
        threads=threads,
        progress=progress,
        memory_limit=memory_limit,
        temporary=temporary,
        storage_options=storage_options,
        options=options,
    )


def count_parts(
    pipeline: Pipeline,
    source: Any,
    folder: str | os.PathLike[str],
    count: Callable[[Any, Any, int | None, Report], WordCounts],
    *,
    threads: int | None,
    progress: Progress,
    memory_limit: int | str | None,
    temporary: str | os.PathLike[str] | None,
    storage_options: StorageOptions,
    options: dict[str, Any],
    also: Sequence[Any] = (),
) -> WordCounts:
    """`count_words` for anything that is counted in parts.

    Args:
        pipeline: the parts of the tokenizer.
        source: the files.
        folder: the work folder.
        count: count(read, read_raw, n_bytes, report) counts a part, which `read()` reads.
        threads: how many threads read.
        progress: how progress is shown.
        memory_limit: as for `count_words`.
        temporary: as for `count_words`.
        storage_options: as for `count_words`.
        options: as for `count_words`.
        also: what the counts depend on besides, for the fingerprint.
    """
    if corpus.state(source, storage_options) is None:
        raise ValueError(
            f"resume={os.fspath(folder)!r}: only the counting of files can be resumed, not of an iterator of texts"
        )
    memory = MemoryLimit.of(memory_limit, temporary)
    groups = _groups(source, options["separator"], storage_options)
    fingerprint = encode_corpus.fingerprint(
        pipeline,
        corpus.located(source, storage_options),
        [corpus.PART_BYTES, *sorted(options.items()), *also],
    )
    total, done = corpus.total_bytes(source, storage_options=storage_options), 0
    with _opened(pathlib.Path(folder), fingerprint) as work, reporting(progress) as report:
        files = [work / _PART.format(i) for i in range(len(groups))]
        for group, file in zip(groups, files, strict=True):
            if not _is_whole(file, f"{fingerprint} {file.name}"):
                given = corpus.located(group, storage_options)
                given_options = {"threads": threads, **options, **corpus.within(memory)}
                read = partial(corpus.read, given, **given_options)
                read_raw = partial(corpus.read_raw, given, **given_options)
                n_bytes = corpus.total_bytes(given)

                def shifted(stage: str, n: int, of: int | None, before: int = done) -> None:
                    if stage.startswith("count"):
                        report(stage, before + n, total)

                counts = count(read, read_raw, n_bytes, shifted)
                with replacing(file, follow=False) as part:
                    _save(counts, part, f"{fingerprint} {file.name}")
            done += corpus.total_bytes(group, storage_options=storage_options) or 0
        if not files:
            return count(partial(corpus.read_texts, []), None, 0, report)
        return WordCounts.load(files, memory_limit=memory_limit, temporary=temporary, threads=threads)


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


def _groups(source: Any, separator: str | None, storage_options: StorageOptions) -> list[list[Part]]:
    """Groups the parts of the corpus: many small files become few files of counts."""
    parts: list[Part]
    sizes: dict[str, int | None] = {}
    if is_list(source) and any(isinstance(item, corpus.Part) for item in source):
        parts = [*source]
    else:
        parts = corpus.parts(source, separator=separator, storage_options=storage_options)
        sizes = {str(file): file.size for file in find(source, storage_options)}
    groups: list[list[Part]] = []
    size = corpus.PART_BYTES
    for part in parts:
        is_text = part.stop is not None and not part.file.endswith(".parquet")
        n_bytes = part.stop - part.start if is_text and part.stop else sizes.get(part.file)
        if n_bytes is None or size + n_bytes > corpus.PART_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(part)
        size += corpus.PART_BYTES if n_bytes is None else n_bytes
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
                f"{folder}: contains the work of another run: the corpus, the tokenizer or the options differ, or a file of "
                "the corpus has changed; remove the folder, or name another folder"
            )
        yield folder


def _save(counts: WordCounts, file: pathlib.Path, part: str) -> None:
    from gputok.files import word_count_files
    from gputok.text import partitions

    sizes, words = partitions.in_partitions(counts.columns())
    part = f"{part} {counts.byte_level}"
    word_count_files.write(file, words, sizes, counts.byte_level, scale=counts.scale, part=part)


def _is_whole(file: pathlib.Path, part: str) -> bool:
    """Returns True if the counts of this part were saved and can be read.

    After a crash of the machine, the file may be empty; and a copy of another part would be counted twice.
    """
    from gputok.files.locations import LocalFile
    from gputok.files.word_count_files import Columns, CountFile

    if not is_plain(file):  # not there, or a link or pipe of another program, which is replaced
        return False
    try:
        found = CountFile(LocalFile(file), Columns())
        return found.part == f"{part} {found.byte_level}"
    except (FileNotFoundError, ValueError):
        return False
