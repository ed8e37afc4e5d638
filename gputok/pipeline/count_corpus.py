"""Counts the words of a corpus, in the way of a pipeline."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.pipeline.count_units import SLICES, Slices
from gputok.pipeline.count_words import NOT_BY_DEVICES, count_words
from gputok.pipeline.way import walk_of
from gputok.pre_tokenizers import SplitPlan
from gputok.progress import reporting
from gputok.text.pieces import Pieces
from gputok.text.way import Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.corpus import Source
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pipeline.run import Run
    from gputok.text.pieces import TextBatch
    from gputok.text.word_counts import WordCounts


def count_corpus(
    pipeline: Pipeline, source: Source, run: Run, total: int | None = None, slices: Slices = SLICES
) -> WordCounts:
    """Counts the words of a corpus.

    Args:
        pipeline: the parts of the tokenizer.
        source: the corpus.
        run: device, threads, progress and memory limit.
        total: the bytes of the corpus, if the source does not know them.
        slices: about how many bytes a thread counts at a time.

    Returns:
        The distinct words and how often each occurs.
    """
    devices, way, source = run.devices, pipeline.way, source.within(run.memory)
    changing = None if pipeline.normalizer is None else pipeline.normalizer.inert
    plan, parts, words = None, None, pipeline.words
    if way.unit is Unit.WORD and way.automaton and (pipeline.normalizer is None or changing is not None):
        plan = SplitPlan(way.automaton, way.byte_level)
    elif way.unit is Unit.PART:
        # Parts of documents have no added tokens: documents with added tokens go to `fallback_for`
        parts, words = walk_of(way), partial(pipeline.words, added=False)
    changing = changing if plan else None
    if devices and not plan and not parts:
        warnings.warn(f"the CPU counts the words: {NOT_BY_DEVICES}", stacklevel=3)
    added = pipeline.added.tokens
    with reporting(run.progress) as report:
        by_devices = devices and (plan or parts)
        if by_devices:
            texts = source.read_raw(devices[0].host_memory, run.threads)
        elif run.memory is None:
            texts = source.read_apart(run.threads)
        else:
            texts = source.read(run.threads)
        return count_words(
            texts,
            plan or words,
            parts=parts,
            fallback_for=partial(_by_steps, pipeline, changing) if added or changing else None,
            added=[pipeline.added.pattern(token_id).encode() for token_id in added],
            changing=changing,
            threads=run.threads,
            report=report,
            total=source.total_bytes if total is None else total,
            devices=devices,
            memory=run.memory,
            slices=slices,
        )


def _by_steps(
    pipeline: Pipeline, changing: tuple[Any, Any, int] | None, batch: TextBatch
) -> Callable[[Pieces], Pieces] | None:
    """Returns the function that cuts a batch which one walk can't cut; else None. changing: the normalizer's `inert`."""
    from gputok.kernels.cpu.normalize import is_inert

    offsets = batch.offsets
    if changing is not None and not is_inert(batch.data, offsets[:1], offsets[-1:], None, *changing):
        return pipeline.words
    return around_added(pipeline, batch) if pipeline.added.tokens else None


def around_added(pipeline: Pipeline, batch: TextBatch) -> Callable[[Pieces], Pieces] | None:
    """Returns the function that cuts a batch with added tokens, which are found only in whole documents; else None."""
    text = batch.data[batch.offsets[0] : batch.offsets[-1]]
    if not pipeline.added.may_occur(text):  # in all documents at once, which is soon seen and takes no memory
        return None
    return pipeline.words if pipeline.added_in(Pieces.from_batch(batch)) else None
