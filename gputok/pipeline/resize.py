"""Tokenizers with more tokens or with fewer: the model, and everything in a pipeline that names ids."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from gputok.checks import SIZE, checked, integer, warn
from gputok.corpus import Source
from gputok.counts.word_counts import WordCounts
from gputok.kernels.threads import Submit, in_order, thread_count
from gputok.models.bpe.extend import Sequences, Symbols
from gputok.models.bpe.extend import extend as extend_model
from gputok.models.bpe.model import BPE
from gputok.models.bpe.prune import alphabet, first_merged, leaves_pruned, plain, splits, with_tokens, without_dropout
from gputok.models.trainer import within
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.encode.corpus import encode_corpus
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import CountOptions, Run
from gputok.progress import Report, reporting
from gputok.text.byte_alphabet import BYTE_TOKENS
from gputok.text.pieces import joined_offsets
from gputok.token_files.token_files import TokenBatch
from gputok.tokens.vocabulary_change import VocabularyChange
from gputok.types import Counts, Ids, Mask, Positions

T = TypeVar("T")

_WORDS_AT_ONCE = 1 << 16
_BYTES_A_WORD = 4096  # bytes of the memory limit for each of the words that are encoded together


def check(pipeline: Pipeline, operation: str, n_tokens: int) -> BPE:
    """Returns the model; ValueError: it is not BPE, or the number is negative; TypeError: it is no whole number."""
    if isinstance(n_tokens, bool) or not hasattr(n_tokens, "__index__"):
        raise TypeError(f"{operation}: expected a whole number of tokens, got {n_tokens!r}")
    if operator.index(n_tokens) < 0:
        raise ValueError(f"{operation}: expected a number of tokens of at least 0, got {n_tokens}")
    model = pipeline.model
    if not isinstance(model, BPE):
        reason = model.fixed if operation == "extend" else "it has no merges to take back"
        raise ValueError(f"{operation} needs a BPE model, not {type(model).__name__}: {reason}")
    model.vocabulary.require_own_ids(operation)
    return model


def extend(
    pipeline: Pipeline, given: Any, n_tokens: int, min_frequency: int, options: Mapping[str, Any]
) -> tuple[Pipeline, VocabularyChange]:
    """Adds tokens to the model of a frozen pipeline; see `Tokenizer.extend`."""
    source, run = _asked(given, options)
    model = check(pipeline, "extend", n_tokens)
    symbols = Symbols(model, [*pipeline.added.tokens])
    sure = without_dropout(model)
    least = checked("min_frequency", integer(0, SIZE), min_frequency)
    with reporting(run.progress) as report:
        found = _read(pipeline, source, run)
        if isinstance(found, WordCounts):
            _check_memory(found, len(found.data), run)

            def sequences_of(ids: Ids, rows: Positions, counts: Counts) -> Sequences:
                some, offsets, row = symbols.cut(ids, rows)
                return Sequences(some, offsets, counts[row])

            least = found.threshold(least)
            sequences = _joined(_encoded(sure, found, run, report, sequences_of))
        else:
            shards = (
                WordCounts(some.view(np.uint8), 4 * offsets, np.ones(len(offsets) - 1, np.int64), byte_level=True)
                for ids, rows in _documents(pipeline, sure, found, run, report)
                for some, offsets, _ in [symbols.cut(ids, rows)]
            )
            merged = WordCounts.merge(shards, **run.limits)
            _check_memory(merged, len(merged.data) // 4, run)
            sequences = Sequences(np.ascontiguousarray(merged.data).view(np.uint32), merged.offsets // 4, merged.counts)
        taken = {pipeline.added.tokens[id].content: id for id in _outside(pipeline)}
        extended = extend_model(
            model,
            sequences,
            symbols,
            taken,
            n_tokens,
            least,
            lambda done, total: report("merge", done, total),
            run.threads,
        )
    n_new = len(extended.tokens)
    if n_new < n_tokens:
        warn(
            f"only {n_new:,} of {n_tokens:,} tokens were added: the corpus has no more pairs of tokens that occur "
            f"{max(1, min_frequency)} times or more",
        )
    n_old = _n_ids(pipeline)
    same = np.full(n_old, -1, np.int64)  # each id itself, -1 if no token has it
    for ids in (pipeline.model.vocabulary.ids, [*pipeline.added.tokens]):
        same[ids] = ids
    change = VocabularyChange(
        same,
        n_old + n_new,
        extended.tokens,
        np.arange(n_old, n_old + n_new),
        np.array([*itertools.chain.from_iterable(extended.parts)], np.int64),
        np.cumsum([0, *map(len, extended.parts)], dtype=np.int64),
    )
    return dataclasses.replace(pipeline, model=extended.model), change


def prune(
    pipeline: Pipeline, given: Any, n_tokens: int, options: Mapping[str, Any]
) -> tuple[Pipeline, VocabularyChange]:
    """Removes from a frozen pipeline the tokens that a corpus needs least; see `Tokenizer.prune`."""
    source, run = _asked(given, options)
    model = check(pipeline, "prune", n_tokens)
    split = splits(model)
    fixed = _fixed(pipeline, model) | alphabet(model, split)
    n_kept = _kept(pipeline, "prune", n_tokens, fixed)
    usage = np.zeros(_n_ids(pipeline), np.int64)
    sure = plain(model)
    with reporting(run.progress) as report:
        found = _read(pipeline, source, run)
        if isinstance(found, WordCounts):

            def weighed(ids: Ids, rows: Positions, counts: Counts) -> tuple[Ids, Counts]:
                return ids, np.repeat(counts, np.diff(rows))

            for ids, counts in _encoded(sure, found, run, report, weighed):
                np.add.at(usage, ids, counts)
        else:
            for ids, _ in _documents(pipeline, sure, found, run, report):
                usage += np.bincount(ids, minlength=len(usage))
    ids = model.vocabulary.ids.astype(np.int64)
    kept = leaves_pruned(usage[ids], split, fixed, ids, n_kept)
    return _keeping(pipeline, model, kept)


def truncate(pipeline: Pipeline, vocab_size: int) -> tuple[Pipeline, VocabularyChange]:
    """Removes the last merges from a frozen pipeline; see `Tokenizer.truncate`."""
    model = check(pipeline, "truncate", vocab_size)
    fixed = _fixed(pipeline, model)
    n_kept = _kept(pipeline, "truncate", vocab_size, first_merged(model, fixed, 0))
    return _keeping(pipeline, model, first_merged(model, fixed, n_kept))


# ---- ids


def _outside(pipeline: Pipeline) -> list[int]:
    """Returns the ids of added tokens that the model lacks, in rising order."""
    tokens = sorted(pipeline.added.tokens.items())
    in_model = pipeline.model.vocabulary.find([token.content for _, token in tokens])
    return [id for (id, _), found in zip(tokens, in_model, strict=True) if found is None]


def _fixed(pipeline: Pipeline, model: BPE) -> Mask:
    """Returns bool[n]: tokens that must stay: added ones, those of unknown text, bytes, post-processor, padding."""
    ids = {*pipeline.added.tokens}
    if pipeline.post_processor is not None:
        named: list[int] = []
        pipeline.post_processor.renumbered(lambda id: named.append(id) or id)
        ids |= {*named}
    if pipeline.padding is not None:
        ids.add(pipeline.padding.pad_id)
    for id in sorted(ids):
        if pipeline.id_to_token(id) is None:
            raise ValueError(
                f"the post-processor or the padding uses the id {id}, which no token has, so that it can't be "
                "renumbered: set them anew first"
            )
    names = BYTE_TOKENS * model.byte_fallback + ([] if model.unk_token is None else [model.unk_token])
    ids |= {id for id in model.vocabulary.find(names) if id is not None}
    return np.isin(model.vocabulary.ids, np.array([*ids], np.int64))


def _kept(pipeline: Pipeline, operation: str, n_tokens: int, fixed: Mask) -> int:
    """Returns how many tokens of the model stay if `n_tokens` stay in all; raises ValueError if that is impossible."""
    n_outside, n_model = len(_outside(pipeline)), len(fixed)
    least, most = int(np.count_nonzero(fixed)) + n_outside, n_model + n_outside
    if not least <= n_tokens <= most:
        raise ValueError(
            f"{operation}: {n_tokens:,} tokens can't be left: the tokenizer has {most:,}, of which {least:,} must stay "
            "(special tokens, single characters and bytes)"
        )
    return n_tokens - n_outside


def _keeping(pipeline: Pipeline, model: BPE, kept: Mask) -> tuple[Pipeline, VocabularyChange]:
    """Keeps the tokens of the model where `kept` is True: bool[n].

    They get the ids from 0 on in their old order, and added tokens that the model lacks get the ids after these.
    """
    old_ids, outside = model.vocabulary.ids.astype(np.int64), _outside(pipeline)
    chosen = np.flatnonzero(kept)
    chosen = chosen[np.argsort(old_ids[chosen])]
    old_to_new = np.full(_n_ids(pipeline), -1, np.int64)
    old_to_new[old_ids[chosen]] = np.arange(len(chosen))
    old_to_new[outside] = len(chosen) + np.arange(len(outside))

    def new_id(id: int) -> int:
        return int(old_to_new[id])

    processor, padding = pipeline.post_processor, pipeline.padding
    changed = dataclasses.replace(
        pipeline,
        model=with_tokens(model, chosen),
        post_processor=None if processor is None else processor.renumbered(new_id),
        padding=None if padding is None else dataclasses.replace(padding, pad_id=new_id(padding.pad_id)),
        added=pipeline.added.renumbered({id: new_id(id) for id in pipeline.added.tokens}),
    )
    return changed, VocabularyChange.without_new(old_to_new)


def _n_ids(pipeline: Pipeline) -> int:
    """Returns the highest id plus 1."""
    ids = pipeline.model.vocabulary.ids
    return 1 + max(int(ids.max()) if len(ids) else -1, pipeline.added.largest)


# ---- text

_BYTES_A_SYMBOL, _BYTES_A_THREAD = 14, 50_000_000
"""Bytes of memory that extending takes, for each symbol and word, and for each thread but one: measured with 4.1 to
16.6 million symbols and words, 1 and 2 threads, 100 to 5,000 tokens."""


def _check_memory(words: WordCounts, n_symbols: int, run: Run) -> None:
    """Raises MemoryError if the limit leaves too little to extend a vocabulary with these words."""
    if run.memory is None:
        return
    needed = _BYTES_A_SYMBOL * (len(words) + n_symbols)
    needed += min((thread_count(run.threads) - 1) * _BYTES_A_THREAD, needed)
    advice = "raise the limit, or leave rare words out: count_words(...).at_least(2)"
    within(run.memory.beside(*words.columns()[:3]), needed, f"extending with {len(words):,} distinct words", advice)


def _asked(given: Any, options: Mapping[str, Any]) -> tuple[Source | WordCounts, Run]:
    """Takes the arguments of `extend` and `prune` apart: counted words, or a corpus, and how the work is done."""
    run, reading = Run.asked(options, CountOptions)
    return given if isinstance(given, WordCounts) else Source.of(given, **reading), run


def _read(pipeline: Pipeline, source: Source | WordCounts, run: Run) -> WordCounts | Source:
    """Returns the counted words of a source; the source itself if nothing cuts documents into words."""
    if isinstance(source, WordCounts):
        source.check_symbols()
        return source
    return source if pipeline.pre_tokenizer is None else count_corpus(pipeline, source, run)


def _encoded(
    model: BPE, words: WordCounts, run: Run, report: Report, then: Callable[[Ids, Positions, Counts], T]
) -> Iterator[T]:
    """Encodes some words at a time, and yields what `then` makes of their ids, the rows in them, and their counts."""

    def encoded(some: WordCounts) -> T:
        starts, ends = some.offsets[:-1], some.offsets[1:]
        return then(*model.encode_words(some.data, starts, ends, byte_level=some.byte_level), some.counts)

    def submitted(some: WordCounts, submit: Submit) -> Callable[[], T]:
        return submit(encoded, some).result

    n_threads, done, at_once = thread_count(run.threads), 0, _WORDS_AT_ONCE
    if run.memory is not None:
        at_once = min(at_once, max(1, run.memory.n_bytes // _BYTES_A_WORD))
    tasks = ((some, partial(submitted, some)) for some in words.slices(at_once))
    for some, made in in_order(tasks, n_threads, n_threads):
        yield made
        done += len(some.data)
        report("encode", done, len(words.data))


def _documents(pipeline: Pipeline, model: BPE, source: Source, run: Run, report: Report) -> Iterator[TokenBatch]:
    """Yields the ids of documents, by `model`, without those that the post-processor adds."""
    pipeline = dataclasses.replace(pipeline, model=model, post_processor=None)
    batches, total = source.within(run.memory).read_apart(run.threads), source.total_bytes
    yield from encode_corpus(pipeline, batches, threads=run.threads, report=report, total=total)
    source.missing.warn()


def _joined(parts: Iterable[Sequences]) -> Sequences:
    nothing = Sequences(np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.int64))
    symbols, offsets, counts = zip(*([*parts] or [nothing]), strict=True)
    return Sequences(np.concatenate(symbols), joined_offsets(offsets), np.concatenate(counts))
