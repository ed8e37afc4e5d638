"""Counting in a work folder, so that a run that was broken off goes on where it was.

The corpus is cut into parts (`corpus.parts`), and the counts of each part, or of some small ones together, are saved in the
folder as they are done. At the end they are added up. `run.json` says of which corpus and tokenizer they are.
"""

# pyright: basic
# Not strict, unlike the rest of this folder: not yet annotated to the end.
from __future__ import annotations

import contextlib
import json
import os
import pathlib
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok import corpus
from gputok.files.atomic import locked, replacing
from gputok.files.locations import StorageOptions, find
from gputok.files.temporary import MemoryLimit
from gputok.pipeline import encode_corpus
from gputok.progress import Progress, reporting
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Counts the words of files, part by part; what an earlier run has in the folder is not counted again.

    The folder is made if it does not exist, and stays as it is at the end (`remove`). options: those of `corpus.read` that
    change the text: column, separator, errors.

    Raises:
        ValueError: the source is not of files, or the folder has the work of another run or something else.
        BlockingIOError: another process works in the folder.
    """
    if corpus.state(source, storage_options) is None:
        raise ValueError(
            f"resume={os.fspath(folder)!r}: only the counting of files can go on, not of an iterator of texts"
        )
    memory = MemoryLimit.of(memory_limit, temporary)
    groups = _groups(source, options["separator"], storage_options)
    fingerprint = encode_corpus.fingerprint(
        pipeline, corpus.located(source, storage_options), [corpus.PART_BYTES, *sorted(options.items())]
    )
    total, done = corpus.total_bytes(source, storage_options=storage_options), 0
    with _opened(pathlib.Path(folder), fingerprint) as work, reporting(progress) as report:
        files = [work / _PART.format(i) for i in range(len(groups))]
        for group, file in zip(groups, files, strict=True):
            if not _is_whole(file):
                given = corpus.located(group, storage_options)
                ahead = {} if memory is None else {"ahead_bytes": memory.n_bytes // 8}
                given_options = {"threads": threads, **options, **ahead}
                read = partial(corpus.read, given, **given_options)
                read_raw = partial(corpus.read_raw, given, **given_options)
                n_bytes = corpus.total_bytes(given)

                def shifted(stage: str, n: int, of: int | None, before: int = done) -> None:
                    if stage == "count":
                        report("count", before + n, total)

                counts = pipeline.count_batches(read, n_bytes, threads, device, shifted, memory, read_raw)
                counts.save(file)
            done += corpus.total_bytes(group, storage_options=storage_options) or 0
        if not files:
            return pipeline.count_batches(partial(corpus.read_texts, []), 0, threads, device, False, memory)
        return WordCounts.load(files, memory_limit=memory_limit, temporary=temporary, threads=threads)


def remove(folder: str | os.PathLike[str]) -> None:
    """Removes what `count_words` left in a folder, and the folder if nothing else is in it."""
    work = pathlib.Path(folder)
    for file in [*sorted(work.glob("part-*.parquet")), *work.glob(".part-*.part"), work / _RUN]:
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()


def _groups(source: Any, separator: str | None, storage_options: StorageOptions) -> list[list[Part]]:
    """The parts of the corpus, small ones together, so that many small files don't become as many files of counts."""
    if isinstance(source, list | tuple) and any(isinstance(item, corpus.Part) for item in source):
        parts, sizes = [*source], {}
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
def _opened(folder: pathlib.Path, fingerprint: str) -> Iterator[pathlib.Path]:
    """The folder, which holds the work of this run or nothing; nobody else works in it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / _RUN
    if not run.exists():
        if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            raise ValueError(
                f"{folder}: is no work folder of gputok, since it holds {others[0]}; name another one"
            )
        with replacing(run) as temporary:
            temporary.write_text(json.dumps({"version": 1, "fingerprint": fingerprint}))
    with locked(run):
        try:
            found = json.loads(run.read_text())["fingerprint"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{run}: is damaged; remove the folder, or name another one") from None
        if found != fingerprint:
            raise ValueError(
                f"{folder}: holds the work of another run: of another corpus, tokenizer or options, or a file of the corpus "
                "has changed since; remove the folder, or name another one"
            )
        yield folder


def _is_whole(file: pathlib.Path) -> bool:
    """True if the counts were saved, and can be read: a crash of the machine can leave an empty file."""
    from gputok.files.locations import LocalFile
    from gputok.files.word_count_files import Columns, CountFile

    try:
        CountFile(LocalFile(file), Columns())
    except (FileNotFoundError, ValueError):
        return False
    return True
