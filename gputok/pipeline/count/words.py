"""Counts the words of a corpus, on all cores or on CUDA devices, while the next part of the corpus is read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gputok.checks import warn
from gputok.kernels.threads import thread_count
from gputok.pipeline.count.units import SLICES, TIMES, Slices, StepCounter, WalkCounter, count_by
from gputok.pipeline.way import walk_of
from gputok.progress import reporting
from gputok.text.edit import all_inert
from gputok.text.pieces import Pieces, TextBatch
from gputok.text.way import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.corpus import Source
    from gputok.corpus.readers import Task
    from gputok.counts.word_counts import WordCounts
    from gputok.files.temporary import MemoryLimit
    from gputok.kernels import Automaton
    from gputok.pipeline.count.devices import Fallback
    from gputok.pipeline.count.units import Counter
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pipeline.run import Run
    from gputok.progress import Report
    from gputok.text.pieces import RawLines
    from gputok.text.way import Way

NOT_BY_DEVICES = "words are neither those of one walk over the text, nor the same if text is cut at spaces"
_DEVICE_SHARE = 8  # bytes of the memory limit for each byte of text that devices count before words are spilled


def count_words(
    batches: Iterable[TextBatch | RawLines] | Iterable[Task],
    pipeline: Way | Callable[[Pieces], Pieces],
    *,
    parts: Automaton | None = None,
    fallback_for: Fallback | None = None,
    added: Sequence[bytes] = (),
    changing: tuple[Any, Any, int] | None = None,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    devices: Sequence[Any] = (),
    memory: MemoryLimit | None = None,
    device_share: int = _DEVICE_SHARE,
    slices: Slices = SLICES,
) -> WordCounts:
    """Counts the words that a pipeline cuts documents into: the distinct words and how often each occurs.

    Without a limit, memory holds two batches and the distinct words, once for each thread; words are in the order of
    their first occurrence. With a limit, tables that outgrow their share are spilled to temporary files, and so is the
    result; words are in the order of their keys (`gputok.counts.partitions`). The result is the same for any number of
    threads, any devices, any cut of the corpus into batches, and any limit.

    batches: the documents; RawLines are for devices only. Or tasks, which the threads that count read themselves
    (`corpus.Source.read_apart`): not with devices or a limit. pipeline: the way of a pre-tokenizer that is one walk
    over the raw text (the fast way), or any function that maps documents to their words. parts: finds parts of
    documents that may be handled alone: the function gets each different part of a slice once, not whole documents.

    fallback_for: returns a function that maps the whole documents of a batch to words, or None for `pipeline`. added:
    the strings of added tokens. For RawLines, `fallback_for` is called only for text that has one of these strings, or
    a character that is not among those of `changing` (`Normalizer.inert`; None: no character is changed).

    threads: with a limit, at most as many as there is room for their tables. report: called as report("count", bytes,
    total) a few times a second, and report("add up", partitions, 64). devices: CUDA devices (`backend.choose`), which
    count if the pipeline is one walk, or there are `parts`, but not the batches of `fallback_for`. device_share: with a
    limit, words that devices count are spilled after limit / device_share bytes of text.
    """
    n_threads = thread_count(threads)
    usual: Counter
    if not callable(pipeline):
        assert pipeline.automaton is not None
        usual = WalkCounter.of_words(pipeline.automaton, pipeline.byte_level, n_threads, total, slices.walk)
    else:
        by_steps = StepCounter(pipeline, slice_bytes=slices.steps)
        usual = by_steps if parts is None else WalkCounter(parts, False, slices.parts, pipeline)
    if devices and isinstance(usual, WalkCounter):
        from gputok.pipeline.count.devices import by_devices, in_turns

        texts = cast("Iterable[TextBatch | RawLines]", batches)
        count = partial(by_devices, usual, fallback_for, (added, changing), n_threads, total, devices)
        if memory is None:
            return count(texts, report)
        return in_turns(texts, count, n_threads, report, memory, device_share)

    def counter_for(batch: TextBatch) -> Counter:
        other = fallback_for(batch) if fallback_for else None
        return StepCounter(other, slice_bytes=slices.steps) if other else usual

    n_tables = 1 if fallback_for is None else 2
    return count_by(counter_for, batches, n_threads, report, total, memory, n_tables, slices)


def words_of_parts(
    parts: WordCounts,
    words: Callable[[Pieces], Pieces],
    *,
    threads: int | None = None,
    memory: MemoryLimit | None = None,
) -> WordCounts:
    """Counts the words of counted parts of text: a word counts as often as its part.

    If all distinct parts of a corpus are counted first, each is cut only once; `count_words` with `parts` does so for
    each slice alone. The order is that of first occurrence or, with a limit, of keys. words: maps parts to their words.
    """
    counter = StepCounter(words, parts.counts)
    batch = TextBatch(parts.data, parts.offsets)
    return count_by(lambda _: counter, [batch], thread_count(threads), None, None, memory)


def count_corpus(
    pipeline: Pipeline, source: Source, run: Run, total: int | None = None, slices: Slices = SLICES
) -> WordCounts:
    """Counts the words of a corpus; total: its bytes, if the source does not know them."""
    devices, way, source = run.devices, pipeline.way, source.within(run.memory)
    changing = None if pipeline.normalizer is None else pipeline.normalizer.inert
    plan, parts, words = None, None, pipeline.words
    if way.unit == Unit.WORD and way.automaton and (pipeline.normalizer is None or changing is not None):
        plan = way
    elif way.unit == Unit.PART:
        # Parts of documents have no added tokens: documents with added tokens go to `fallback_for`
        parts, words = walk_of(way), partial(pipeline.words, added=False)
    changing = changing if plan else None
    if devices and not plan and not parts:
        warn(f"the CPU counts the words: {NOT_BY_DEVICES}")
    added = pipeline.added.tokens
    with reporting(run.progress) as report:
        by_devices = devices and (plan or parts)
        if by_devices:
            texts = source.read_raw(devices[0].host_memory, run.threads)
        elif run.memory is None:
            texts = source.read_apart(run.threads, times=TIMES)
        else:
            texts = source.read(run.threads)
        counts = count_words(
            texts,
            plan or words,
            parts=parts,
            fallback_for=partial(_by_steps, pipeline, changing) if added or changing else None,
            added=[pipeline.added.pattern(token_id).encode() for token_id in added] if devices else [],
            changing=changing,
            threads=run.threads,
            report=report,
            total=source.total_bytes if total is None else total,
            devices=devices,
            memory=run.memory,
            slices=slices,
        )
    source.missing.warn()
    return counts


def _by_steps(
    pipeline: Pipeline, changing: tuple[Any, Any, int] | None, batch: TextBatch
) -> Callable[[Pieces], Pieces] | None:
    """Returns the function that cuts a batch which one walk can't cut; else None. changing: `Normalizer.inert`."""
    if changing is not None and not all_inert(batch, changing):
        return pipeline.words
    return around_added(pipeline, batch) if pipeline.added.tokens else None


def around_added(pipeline: Pipeline, batch: TextBatch) -> Callable[[Pieces], Pieces] | None:
    """Returns the function that cuts a batch with added tokens, which are found only in whole documents; else None."""
    text = batch.data[batch.offsets[0] : batch.offsets[-1]]
    if not pipeline.added.may_occur(text):  # a fast look at all documents as one text, which takes no memory
        return None
    pieces = pipeline.added.apart(Pieces.from_batch(batch), None)
    return None if pieces.token is None else pipeline.words
