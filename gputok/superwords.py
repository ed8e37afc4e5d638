"""Superwords (tokens that span words) of a corpus on many machines: each shard is counted, and the counts added up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Unpack

from gputok.checks import SIZE, checked, integer
from gputok.corpus import Source
from gputok.corpus.rereading import Reread
from gputok.counts.word_counts import WordCounts
from gputok.models.bpe.super_trainer import SuperBpeTrainer
from gputok.pipeline import superwords
from gputok.pipeline.count.resume import count_words
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.run import CountOptions, Run, RunOptions
from gputok.progress import Progress, reporting


class Superwords:
    """Learns superwords for a tokenizer; `Tokenizer.superwords` makes it.

    A corpus on many machines is learned from in three rounds. Each round counts shards, saves the counts, and adds them
    up by `WordCounts.load`. The first counts words (`Tokenizer.count_words`), from which an ordinary BPE of
    `trainer.n_words` tokens is trained. The second counts pairs: neighbouring tokens of this BPE. The third counts
    runs: sequences of tokens, cut where neighbours are a rare pair. `train_from_runs` gives the tokenizer that
    `Tokenizer.train` gives, byte for byte.

    Args:
        tokenizer: the tokenizer, which is trained in place.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def count_pairs(self, source: Any, trainer: SuperBpeTrainer, **options: Unpack[RunOptions]) -> WordCounts:
        """Counts neighbouring tokens of a shard of a corpus.

        Args:
            source: as for `Tokenizer.count_words`.
            trainer: its `stage1` is the tokenizer of the first round.
            options: how the source is read (`gputok.pipeline.run.RunOptions`).

        Returns:
            How often neighbours with each hash occur: a hash is stored as a word of four bytes.

        Raises:
            ValueError: if `stage1` is not a tokenizer.
        """
        run, reading = Run.asked(options, RunOptions)
        found = Source.of(source, **reading)
        return superwords.pairs_of(superwords.second_stage(self._tokenizer.pipeline, trainer), found, run)

    def count_runs(
        self,
        source: Any,
        trainer: SuperBpeTrainer,
        pairs: WordCounts,
        *,
        threshold: int | None = None,
        **options: Unpack[CountOptions],
    ) -> WordCounts:
        """Counts the runs of tokens in a shard of a corpus, on the CPU.

        Args:
            source: as for `Tokenizer.count_words`.
            trainer: as for `count_pairs`.
            pairs: the pairs of all shards.
            threshold: text is cut between neighbours that occur less often; the same number for all shards. None: a
                number that is estimated from the pairs.
            options: how the source is read, and the work is done (`gputok.pipeline.run.CountOptions`), no `device`.

        Returns:
            How often each run occurs: a run is stored as a word whose bytes are the ids of its tokens.

        Raises:
            ValueError: if `stage1` is not a tokenizer, or `pairs` are something else.
        """
        if (device := options.get("device")) is not None:
            raise ValueError(f"device={device!r}: the CPU counts runs of tokens; leave it out")
        run, reading = Run.asked(options, CountOptions)
        found = Source.of(source, **reading)
        stage, cells = superwords.second_stage(self._tokenizer.pipeline, trainer), superwords.Cells.of(pairs)
        frequent = cells.reaching(stage.threshold(cells) if threshold is None else max(threshold, trainer.least))
        del cells  # most of the memory
        return superwords.runs_of(stage, frequent, found, run)

    def train_from_runs(
        self,
        runs: WordCounts,
        pairs: WordCounts,
        trainer: SuperBpeTrainer,
        *,
        threshold: int | None = None,
        threads: int | None = None,
        progress: Progress = None,
        memory_limit: int | str | None = None,
    ) -> None:
        """Trains superwords from the counts of all shards.

        Args:
            runs: the runs of all shards.
            pairs: the pairs of all shards.
            trainer: as for `count_pairs`.
            threshold: as for `count_runs`.
            threads: how many threads merge; None: GPUTOK_NUM_THREADS, or all cores.
            progress: as for `Tokenizer.train`.
            memory_limit: as for `Tokenizer.train_from_word_counts`.

        Raises:
            ValueError: if the runs were cut with too high a threshold; the message gives a lower one to use.
        """
        run = Run.of(None, threads, progress, memory_limit)
        stage, cells = superwords.second_stage(self._tokenizer.pipeline, trainer), superwords.Cells.of(pairs)
        threshold = stage.threshold(cells) if threshold is None else max(threshold, trainer.least)
        with reporting(run.progress) as report:
            learned = stage.learn(runs, threshold, run, report)
        if learned is None:
            lower = stage.threshold(cells, 4, below=threshold)
            remedy = f"count the runs of all shards again with threshold={lower}, and pass it here as well"
            raise ValueError(f"too few pairs occur {threshold:,} times, as the runs were cut for: {remedy}")
        self._tokenizer.learn(learned, trainer.special_tokens, pre_tokenizer=stage.steps)

    def learn(
        self,
        source: Source,
        trainer: SuperBpeTrainer,
        min_count: int,
        run: Run,
        options: Mapping[str, Any],
        resume: str | os.PathLike[str] | None = None,
        *,
        keep: bool,
    ) -> None:
        """Trains superwords from one corpus, and sets the model, the added tokens and the pre-tokenizer.

        min_count: 0 or 1. options: only `temporary` is used. resume: the work folder, or None. keep: the corpus can be
        read only once, so a temporary file keeps its texts for the later passes.
        """
        if checked("min_count", integer(0, SIZE), min_count) > 1:
            why = "superwords are learned from all text; min_frequency leaves rare pairs out"
            raise ValueError(f"min_count={min_count}: {why}")
        pipeline, read = self._tokenizer.pipeline, partial(source.within(run.memory).read, run.threads)
        reread = Reread(read, keep=keep, temporary=options.get("temporary"))
        streamed = superwords.Streamed(reread, source.total_bytes, run)
        passes = streamed if resume is None else superwords.Saved(source, resume, run)

        def count(other: Any) -> WordCounts:
            """Counts the words of another corpus or, if it is None, of `source`."""
            own = run._replace(progress=report)
            if other is not None:
                return count_corpus(pipeline, source.other(other), own)
            if resume is not None:
                return count_words(pipeline, source, f"{resume}/words", own)
            texts = Source(reread(), False) if keep else source
            return count_corpus(pipeline, texts, own, source.total_bytes)

        with reporting(run.progress) as report:
            stage = superwords.first_stage(pipeline, trainer, count, run, report)
            learned = superwords.learn(stage, passes, run, report)
        self._tokenizer.learn(learned, trainer.special_tokens, pre_tokenizer=stage.steps)
