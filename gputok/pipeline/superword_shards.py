"""Learns superwords from counts that are saved: in a work folder, to resume, or of shards, counted on many machines."""

from __future__ import annotations

import hashlib
import pathlib
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.kernels.threads import thread_count
from gputok.pipeline import resume
from gputok.pipeline.superwords import CELL_BITS, Cells, SecondStage, first_stage
from gputok.progress import reporting

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from gputok.corpus import Source
    from gputok.models.bpe.super_trainer import SuperBpeTrainer
    from gputok.models.bpe.trainer import TrainedBpe
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pipeline.run import Run
    from gputok.progress import Report
    from gputok.text.word_counts import WordCounts
    from gputok.types import Bytes


class Saved:
    """Counts the parts of files, and saves the counts of each in a work folder.

    Args:
        source: the files.
        folder: the work folder.
        run: threads and memory limit.
    """

    def __init__(self, source: Source, folder: str | os.PathLike[str], run: Run) -> None:
        self._source, self._folder, self._run = source, pathlib.Path(folder), run

    def cells(self, stage: SecondStage, report: Report) -> Cells:
        """Counts neighbouring tokens."""
        return Cells.of(self._counted(stage, "pairs", partial(pairs_of, stage), report, []))

    def runs(self, stage: SecondStage, frequent: Bytes, threshold: int, report: Report) -> WordCounts:
        """Counts the runs of tokens between neighbours that are rarer than the threshold; frequent: of `Cells.reaching`."""
        count = partial(runs_of, stage, frequent)
        digest = hashlib.blake2b(frequent.data, digest_size=16).hexdigest()
        return self._counted(stage, f"runs-{threshold}", count, report, [threshold, digest])

    def _counted(
        self,
        stage: SecondStage,
        name: str,
        count: Callable[[Source, Run], WordCounts],
        report: Report,
        also: list[Any],
    ) -> WordCounts:
        run = self._run._replace(progress=report)
        pipeline = stage.tokens.pipeline
        also = [*also, stage.trainer.veto()]
        return resume.count_parts(pipeline, self._source, self._folder / name, count, run, also)


def pairs_of(stage: SecondStage, source: Source, run: Run) -> WordCounts:
    """Counts neighbouring tokens of a corpus, as words."""
    cells = Cells(CELL_BITS)
    with reporting(run.progress) as report:
        stage.count_pairs(
            source.within(run.memory).read(run.threads), cells, run.threads, report, source.total_bytes
        )
    return cells.as_counts()


def runs_of(stage: SecondStage, frequent: Bytes, source: Source, run: Run) -> WordCounts:
    """Counts runs of tokens of a corpus."""
    batches = source.within(run.memory).read(run.threads)
    with reporting(run.progress) as report:
        return stage.count_runs(batches, frequent, run.threads, report, source.total_bytes, run.memory)


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


def count_pairs(pipeline: Pipeline, trainer: SuperBpeTrainer, source: Source, run: Run) -> WordCounts:
    """Counts neighbouring tokens of a shard."""
    return pairs_of(second_stage(pipeline, trainer), source, run)


def count_runs(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    source: Source,
    pairs: WordCounts,
    threshold: int | None,
    run: Run,
) -> WordCounts:
    """Counts runs of tokens of a shard."""
    stage, cells = second_stage(pipeline, trainer), Cells.of(pairs)
    frequent = cells.reaching(stage.threshold(cells) if threshold is None else max(threshold, trainer.least))
    del cells
    return runs_of(stage, frequent, source, run)


def learn_from_runs(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    runs: WordCounts,
    pairs: WordCounts,
    threshold: int | None,
    run: Run,
) -> tuple[TrainedBpe, SecondStage]:
    """Learns superwords from the runs of all shards.

    Raises:
        ValueError: if the threshold was too high.
    """
    stage, cells = second_stage(pipeline, trainer), Cells.of(pairs)
    threshold = stage.threshold(cells) if threshold is None else max(threshold, trainer.least)
    if run.memory is not None:
        trainer.check_memory(runs, run.memory.n_bytes, thread_count(run.threads))
    with reporting(run.progress) as report:
        learned = stage.learn(runs, threshold, report, run.threads)
    if learned is None:
        lower = stage.threshold(cells, 4, below=threshold)
        raise ValueError(
            f"too few pairs occur {threshold:,} times, as the runs were cut for: count the runs of all shards again with "
            f"threshold={lower}, and pass it here as well"
        )
    return learned, stage
