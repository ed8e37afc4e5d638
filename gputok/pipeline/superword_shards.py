"""Learns superwords from counts that are saved: in a work folder, to resume, or of shards, counted on many machines."""

from __future__ import annotations

import hashlib
import pathlib
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok import corpus
from gputok.files.temporary import MemoryLimit
from gputok.kernels.threads import thread_count
from gputok.pipeline import resume
from gputok.pipeline.superwords import CELL_BITS, Cells, SecondStage, first_stage
from gputok.progress import reporting

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from gputok.models.bpe.super_trainer import SuperBpeTrainer
    from gputok.models.bpe.trainer import TrainedBpe
    from gputok.pipeline.pipeline import Pipeline
    from gputok.progress import Progress, Report
    from gputok.text.word_counts import WordCounts
    from gputok.types import Bytes


class Saved:
    """Counts the parts of files, and saves the counts of each in a work folder.

    Args:
        source: the files.
        folder: the work folder.
        options: threads, progress, memory_limit, temporary, storage_options and options of `resume.count_parts`.
    """

    def __init__(self, source: Any, folder: str | os.PathLike[str], **options: Any) -> None:
        self._source, self._folder, self._options = source, pathlib.Path(folder), options
        self._threads = options["threads"]
        self._memory = MemoryLimit.of(options["memory_limit"], options["temporary"])

    def cells(self, stage: SecondStage, report: Report) -> Cells:
        """Counts neighbouring tokens."""

        def count(read: Any, read_raw: Any, n_bytes: int | None, report: Report) -> WordCounts:
            return pairs_of(stage, read, n_bytes, self._threads, report)

        return Cells.of(self._counted(stage, "pairs", count, report, []))

    def runs(self, stage: SecondStage, frequent: Bytes, threshold: int, report: Report) -> WordCounts:
        """Counts the runs of tokens between neighbours that are rarer than the threshold; frequent: of `Cells.reaching`."""

        def count(read: Any, read_raw: Any, n_bytes: int | None, report: Report) -> WordCounts:
            return stage.count_runs(read(), frequent, self._threads, report, n_bytes, self._memory)

        digest = hashlib.blake2b(frequent.data, digest_size=16).hexdigest()
        return self._counted(stage, f"runs-{threshold}", count, report, [threshold, digest])

    def _counted(
        self,
        stage: SecondStage,
        name: str,
        count: Callable[[Any, Any, int | None, Report], WordCounts],
        report: Report,
        also: list[Any],
    ) -> WordCounts:
        options: dict[str, Any] = {**self._options, "progress": report}
        pipeline = stage.tokens.pipeline
        also = [*also, stage.trainer.veto()]
        return resume.count_parts(pipeline, self._source, self._folder / name, count, also=also, **options)


def pairs_of(
    stage: SecondStage,
    read: Callable[[], Any],
    n_bytes: int | None,
    threads: int | None,
    report: Report | None,
) -> WordCounts:
    """Counts neighbouring tokens, as words."""
    cells = Cells(CELL_BITS)
    stage.count_pairs(read(), cells, threads, report, n_bytes)
    return cells.as_counts()


def second_stage(pipeline: Pipeline, trainer: SuperBpeTrainer) -> SecondStage:
    """Returns the second stage for shards.

    Raises:
        ValueError: if the trainer's first stage is no tokenizer: shards could learn different ones.
    """

    def count(source: Any) -> WordCounts:
        raise ValueError(
            "shards need the same first stage: pass stage1=tokenizer, a byte-level BPE that was trained from the word "
            "counts of all shards"
        )

    return first_stage(pipeline, trainer, count)


def count_pairs(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    source: Any,
    threads: int | None,
    progress: Progress,
    **options: Any,
) -> WordCounts:
    """Counts neighbouring tokens of a shard; options: of `corpus.read`."""
    stage = second_stage(pipeline, trainer)
    total = corpus.total_bytes(source, column=options.get("column"))
    with reporting(progress) as report:
        return pairs_of(
            stage, partial(corpus.read, source, threads=threads, **options), total, threads, report
        )


def count_runs(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    source: Any,
    pairs: WordCounts,
    threshold: int | None,
    threads: int | None,
    progress: Progress,
    memory: MemoryLimit | None,
    **options: Any,
) -> WordCounts:
    """Counts runs of tokens of a shard; options: of `corpus.read`."""
    stage, cells = second_stage(pipeline, trainer), Cells.of(pairs)
    frequent = cells.reaching(stage.threshold(cells) if threshold is None else max(threshold, trainer.least))
    del cells
    total = corpus.total_bytes(source, column=options.get("column"))
    given: dict[str, Any] = {**options, **corpus.within(memory)}
    batches = corpus.read(source, threads=threads, **given)
    with reporting(progress) as report:
        return stage.count_runs(batches, frequent, threads, report, total, memory)


def learn_from_runs(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    runs: WordCounts,
    pairs: WordCounts,
    threshold: int | None,
    progress: Progress,
    memory: MemoryLimit | None,
    threads: int | None = None,
) -> tuple[TrainedBpe, SecondStage]:
    """Learns superwords from the runs of all shards.

    Raises:
        ValueError: if the threshold was too high.
    """
    stage, cells = second_stage(pipeline, trainer), Cells.of(pairs)
    threshold = stage.threshold(cells) if threshold is None else max(threshold, trainer.least)
    if memory is not None:
        trainer.check_memory(runs, memory.n_bytes, thread_count(threads))
    with reporting(progress) as report:
        learned = stage.learn(runs, threshold, report, threads)
    if learned is None:
        lower = stage.threshold(cells, 4, below=threshold)
        raise ValueError(
            f"too few pairs occur {threshold:,} times, as the runs were cut for: count the runs of all shards again with "
            f"threshold={lower}, and pass it here as well"
        )
    return learned, stage
