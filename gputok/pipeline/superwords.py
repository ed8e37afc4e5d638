"""Learns superwords, tokens of several words, from a corpus that is read twice.

The first pass counts pairs of neighbouring tokens. The second pass cuts text between neighbours that are rarer than a
threshold, and counts the runs of tokens between the cuts; `kernels/cpu/superwords/pairs.py` says why no merge is lost.
The threshold is a guess: so high that there are few runs, and low enough, as a rule, for all merges that are wanted. If
too few merges reach it, both passes are done anew with a lower one. So the result is always that of the whole corpus.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from gputok.automaton.pattern import Regex
from gputok.corpus import Source
from gputok.corpus.rereading import Reread
from gputok.counts.word_counts import WordCounts
from gputok.files.temporary import MemoryLimit
from gputok.kernels.cpu.count_words import count_pieces
from gputok.kernels.cpu.superwords.pairs import RANGE_BITS, add_pairs, cut_runs, deal_pairs, frequent_cells
from gputok.kernels.cpu.train_bpe import token_traits
from gputok.kernels.threads import thread_count
from gputok.models.bpe.model import BPE
from gputok.models.bpe.super_trainer import SuperBpeTrainer, first_tokens, run_type
from gputok.models.bpe.trainer import TrainedBpe
from gputok.models.trainer import How
from gputok.pipeline.count import resume
from gputok.pipeline.count.units import WHOLE, ThreadTallies, count_by
from gputok.pipeline.encode.superwords import WordTokens, usual_words
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import Run
from gputok.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split
from gputok.progress import Report, reporting
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from gputok.types import Array, Bytes, Ids

Devices = tuple[Any, ...]
Count = Callable[[TextBatch, int, int, int, ThreadTallies], None]

_FEW_CELLS, CELL_BITS, _MANY_CELLS = 16, 24, 26
"""How many bits the number of a cell (a counter of `Cells`) has: at least, as a rule, and for text of more bytes than
_MUCH_TEXT. A cell has four bytes. With four cells for each distinct pair, few pairs share a cell."""
_MUCH_TEXT = 10 << 30
_FREQUENT, _CELLS_AT_ONCE = 1 << 16, 1 << 20  # smaller counts are tallied, others sorted; cells that are read together
_WANTED = 2
"""For k merges, the threshold is the count of the (2 * k)-th most frequent pair: with 24 corpora and sizes, the last
merge had 1.14 to 1.67 times that count."""


def superword_steps(pre_tokenizer: PreTokenizer | None, pattern: str) -> PreTokenizer:
    """Returns the pre-tokenizer for superwords; ValueError: the given one must end in ByteLevel, and add no space."""
    last = pre_tokenizer
    while isinstance(last, Sequence) and last.pretokenizers:
        last = last.pretokenizers[-1]
    if not isinstance(last, ByteLevel):
        raise ValueError(
            "superwords need a pre-tokenizer that writes bytes: set tokenizer.pre_tokenizer to ByteLevel("
            f"add_prefix_space=False), or to a Sequence that ends with one; it is {pre_tokenizer!r}"
        )
    if last.add_prefix_space:
        raise ValueError("superwords need ByteLevel(add_prefix_space=False): no space may be inserted before a piece")
    return Sequence([Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


class Cells:
    """2**bits counters (cells) of neighbouring tokens, which threads share; the hash of a pair chooses its cell."""

    def __init__(self, bits: int) -> None:
        self.counts: Ids = np.zeros(1 << bits, np.uint32)
        self.bits = bits
        self._locks = [Lock() for _ in range(1 << RANGE_BITS)]

    @classmethod
    def for_text(cls, n_bytes: int | None, memory: MemoryLimit | None = None) -> Cells:
        """Makes counters for a corpus of `n_bytes` bytes, if known. They take at most an eighth of a memory limit."""
        bits = CELL_BITS
        if n_bytes is not None:
            bits = _MANY_CELLS if n_bytes > _MUCH_TEXT else min(bits, max(_FEW_CELLS, n_bytes.bit_length() - 1))
        if memory is not None:
            bits = min(bits, max(_FEW_CELLS, (memory.n_bytes // 32).bit_length() - 1))
        return cls(bits)

    @classmethod
    def of(cls, counts: WordCounts) -> Cells:
        """Makes counters from the result of `as_counts`, or from the sum of several such results."""
        cells = cls(CELL_BITS)
        if len(counts) and not (np.diff(counts.offsets) == 4).all():
            raise ValueError("expected counts of neighbouring tokens (superwords.count_pairs), got counts of words")
        at = np.ascontiguousarray(counts.data).view(np.uint32)
        if at.max(initial=0) >= len(cells.counts):
            raise ValueError(f"expected counts of {len(cells.counts):,} cells, of superwords.count_pairs")
        cells.counts[at] = np.minimum(counts.counts, 2**32 - 1)
        return cells

    def as_counts(self) -> WordCounts:
        """Returns the counters that aren't 0, as words: their bytes are the number of the counter, uint32."""
        at = np.flatnonzero(self.counts).astype(np.uint32)
        offsets = 4 * np.arange(len(at) + 1, dtype=np.int64)
        return WordCounts(at.view(np.uint8), offsets, self.counts[at].astype(np.int64), byte_level=True)

    def add(self, dealt: Ids, starts: Array) -> None:
        """Adds 1 to the cell of each pair; dealt, starts: the cells by range, as `deal_pairs` returns them."""
        for number in np.flatnonzero(np.diff(starts)).tolist():
            with self._locks[number]:
                add_pairs(self.counts, dealt[starts[number] : starts[number + 1]])

    def reaching(self, threshold: int) -> Bytes:
        """Returns which counters reach a threshold, a bit for each."""
        return frequent_cells(self.counts, threshold)

    def reached_by(self, n: int) -> int:
        """Returns the n-th largest count, or 0 if there are fewer counters."""
        if n > len(self.counts):
            return 0
        # Most counts are small: to count how many are equal takes a tenth of the time of `np.partition`, and no copy
        found = np.zeros(_FREQUENT + 1, np.int64)
        for at in range(0, len(self.counts), _CELLS_AT_ONCE):
            some = np.minimum(self.counts[at : at + _CELLS_AT_ONCE], _FREQUENT)
            found += np.bincount(some, minlength=len(found))
        reached = np.cumsum(found[::-1])[::-1]  # how many counters have each count, or a larger one
        if reached[-1] < n:
            return int(np.searchsorted(-reached, -n, "right")) - 1
        frequent = self.counts[self.counts >= _FREQUENT]
        return int(np.partition(frequent, len(frequent) - n)[len(frequent) - n])


class _Counter:
    """A `Counter` of `gputok.pipeline.count.units` that counts by a function, and counts tokens instead of words."""

    whole = WHOLE

    def __init__(self, tokens: WordTokens, count: Count) -> None:
        self.cut, self.count = tokens.cut, count


class SecondStage:
    """The second stage of learning superwords: merges the tokens that the first stage has learned from words.

    Args:
        pipeline: the parts of the tokenizer; its pre-tokenizer finds words.
        first: what the first stage has learned.
        trainer: the options.
        words: the pre-tokenizer that found the words of the first stage.
        devices: CUDA devices (`gputok.backend`); the first one merges.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        first: TrainedBpe,
        trainer: SuperBpeTrainer,
        words: PreTokenizer | None,
        devices: Devices = (),
    ) -> None:
        model = BPE()
        first.into(model)
        self.first, self.trainer, self._devices = first, trainer, devices
        self.steps = superword_steps(pipeline.pre_tokenizer, trainer.superword_pattern)
        whole = dataclasses.replace(pipeline, model=model, pre_tokenizer=self.steps)
        walk = None if words is None else words.way(Way()).automaton
        self.tokens = WordTokens(whole, walk or usual_words())
        self._veto = trainer.veto()
        self._traits = token_traits(first.vocabulary.data, first.vocabulary.offsets, self._veto)

    def count_pairs(
        self, batches: Iterator[TextBatch], cells: Cells, run: Run, report: Report, total: int | None
    ) -> Cells:
        """Counts neighbouring tokens of a corpus, or of a part of one, and returns the cells."""

        def count(batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies) -> None:
            ids, marks = self.tokens.of_slice(batch, start, stop)
            cells.add(*deal_pairs(ids, marks, self._traits, self._veto, cells.bits))

        self._count("count pairs", count, batches, run._replace(memory=None), report, total)
        return cells

    def count_runs(
        self, batches: Iterator[TextBatch], frequent: Bytes, run: Run, report: Report, total: int | None
    ) -> WordCounts:
        """Counts runs of tokens between rare neighbours, each as a word of ids; frequent: of `Cells.reaching`."""

        def count(batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies) -> None:
            ids, marks = self.tokens.of_slice(batch, start, stop)
            begin, end = cut_runs(ids, marks, self._traits, self._veto, frequent)
            ids = ids.astype(run_type(len(self.tokens.model.vocabulary)), copy=False)
            data, size = ids.view(np.uint8), ids.itemsize
            tally, ones = tallies[True], np.ones(len(begin), np.int64)
            tally.table = count_pieces(data, size * begin, size * end, ones, position, tally.table, tally.make_room)

        return self._count("count runs", count, batches, run, report, total)

    def _count(
        self, name: str, count: Count, batches: Iterator[TextBatch], run: Run, report: Report, total: int | None
    ) -> WordCounts:
        """Counts by a function; name: of the stage that is reported instead of "count"."""

        def named(stage: str, done: int, total: int | None) -> None:
            report(name if stage == "count" else stage, done, total)

        counter = _Counter(self.tokens, count)
        return count_by(lambda _: counter, batches, thread_count(run.threads), named, total, run.memory)

    def threshold(self, cells: Cells, wanted: float = 0, below: int | None = None) -> int:
        """Returns the threshold: text is not cut between two tokens that are neighbours this often, or more often.

        wanted: how many pairs should reach it for each merge (0: _WANTED); below: it must be lower than this.
        """
        n_merges = self.trainer.vocab_size - len(self.first.vocabulary)
        found = cells.reached_by(max(1, int((wanted or _WANTED) * n_merges)))
        return max(self.trainer.least, found if below is None else min(found, below - 1))

    def learn(self, runs: WordCounts, threshold: int, run: Run, report: Report) -> TrainedBpe | None:
        """Merges tokens in runs; returns both stages, or None if a lower threshold might give more merges."""
        trainer, threads = self.trainer, run.threads
        if run.memory is not None:
            trainer.check_memory(runs, run.memory.beside(*runs.columns()[:3]), thread_count(threads))
        learned = trainer.second_stage(self.first, runs, threshold, How(threads, report, self._devices))
        is_all = len(learned.vocabulary) >= trainer.vocab_size or threshold <= trainer.least
        return learned if is_all else None


class Streamed(NamedTuple):
    """Reads the corpus anew for each pass."""

    read: Reread
    total: int | None  # bytes of the corpus, if known
    run: Run

    def cells(self, stage: SecondStage, report: Report) -> Cells:
        """Counts neighbouring tokens."""
        total = self.read.n_bytes or self.total
        return stage.count_pairs(self.read(), Cells.for_text(total, self.run.memory), self.run, report, total)

    def runs(self, stage: SecondStage, frequent: Bytes, threshold: int, report: Report) -> WordCounts:
        """Counts the runs of tokens between neighbours that are rarer than the threshold."""
        return stage.count_runs(self.read(), frequent, self.run, report, self.read.n_bytes or self.total)


def learn(stage: SecondStage, passes: Streamed | Saved, run: Run, report: Report) -> TrainedBpe:
    """Learns superwords; if the threshold was too high, does both passes anew. Returns the tokens of both stages."""
    wanted, threshold = _WANTED, None
    while True:
        cells = passes.cells(stage, report)
        threshold = stage.threshold(cells, wanted, below=threshold)
        frequent = cells.reaching(threshold)
        del cells  # most of the memory, rarely needed again
        learned = stage.learn(passes.runs(stage, frequent, threshold, report), threshold, run, report)
        if learned is not None:
            return learned
        wanted *= 2


def first_stage(
    pipeline: Pipeline,
    trainer: SuperBpeTrainer,
    count: Callable[[Any], WordCounts],
    run: Run,
    report: Report | None = None,
) -> SecondStage:
    """Makes the first stage, or takes the one that the trainer gives; returns the second, which goes on from there.

    count: counts the words of a corpus; of None, those of the corpus to learn from. Raises ValueError if the options
    don't suit the tokenizer, or the first stage lacks tokens; MemoryError if it needs more than the limit.
    """
    _ = trainer.n_words, superword_steps(pipeline.pre_tokenizer, trainer.superword_pattern)  # raise errors before work
    stage1, devices = trainer.stage1, run.devices
    if isinstance(getattr(stage1, "pipeline", None), type(pipeline)):
        first = first_tokens(stage1.pipeline.model, stage1.pipeline.added.tokens, trainer)
        return SecondStage(pipeline, first, trainer, stage1.pipeline.pre_tokenizer, devices)
    counts = stage1 if isinstance(stage1, WordCounts) else count(stage1)
    if run.memory is not None:
        trainer.check_first_memory(counts, run.memory.beside(*counts.columns()[:3]), thread_count(run.threads))
    first = trainer.first_stage().train(counts, threads=run.threads, progress=report, devices=devices)
    trainer.check_first_stage(len(first.vocabulary))
    return SecondStage(pipeline, first, trainer, pipeline.pre_tokenizer, devices)


class Saved:
    """Counts the parts of files, and saves the counts of each in a work folder."""

    def __init__(self, source: Source, folder: str | os.PathLike[str], run: Run) -> None:
        self._source, self._folder, self._run = source, pathlib.Path(folder), run

    def cells(self, stage: SecondStage, report: Report) -> Cells:
        """As `Streamed.cells`."""
        return Cells.of(self._counted(stage, "pairs", partial(pairs_of, stage), report, []))

    def runs(self, stage: SecondStage, frequent: Bytes, threshold: int, report: Report) -> WordCounts:
        """As `Streamed.runs`."""
        count = partial(runs_of, stage, frequent)
        digest = hashlib.blake2b(frequent.data, digest_size=16).hexdigest()
        return self._counted(stage, f"runs-{threshold}", count, report, [threshold, digest])

    def _counted(
        self, stage: SecondStage, name: str, count: Callable[[Source, Run], WordCounts], report: Report, also: list[Any]
    ) -> WordCounts:
        run, also = self._run._replace(progress=report), [*also, stage.trainer.veto()]
        return resume.count_parts(stage.tokens.pipeline, self._source, self._folder / name, count, run, also)


def pairs_of(stage: SecondStage, source: Source, run: Run) -> WordCounts:
    """Counts neighbouring tokens of a corpus, as words."""
    batches = source.within(run.memory).read(run.threads)
    with reporting(run.progress) as report:
        return stage.count_pairs(batches, Cells(CELL_BITS), run, report, source.total_bytes).as_counts()


def runs_of(stage: SecondStage, frequent: Bytes, source: Source, run: Run) -> WordCounts:
    """Counts runs of tokens of a corpus."""
    batches = source.within(run.memory).read(run.threads)
    with reporting(run.progress) as report:
        return stage.count_runs(batches, frequent, run, report, source.total_bytes)


def second_stage(pipeline: Pipeline, trainer: SuperBpeTrainer) -> SecondStage:
    """Returns the second stage for shards; ValueError: `stage1` is no tokenizer, so that shards could learn others."""

    def count(source: Any) -> WordCounts:
        raise ValueError(
            "shards need the same first stage: pass stage1=tokenizer, a byte-level BPE that was trained from the word "
            "counts of all shards"
        )

    return first_stage(pipeline, trainer, count, Run("cpu"))
