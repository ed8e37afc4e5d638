"""Tokenizers with more tokens or with fewer: the model, and everything in a pipeline that names ids."""

from __future__ import annotations

import dataclasses
import itertools
import operator
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.components import view
from gputok.kernels.threads import run, thread_count
from gputok.models.bpe.extend import Sequences, Symbols
from gputok.models.bpe.extend import extend as extend_model
from gputok.models.bpe.model import BPE
from gputok.text.word_counts import WordCounts
from gputok.tokens.vocabulary_change import VocabularyChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gputok.pipeline.pipeline import Pipeline
    from gputok.progress import Report
    from gputok.text.pieces import TextBatch
    from gputok.types import Positions

_WORDS_AT_ONCE = 1 << 16
_REFUSED = {
    "WordPiece": "a word is cut into the longest tokens from the left, so that a new token moves the boundaries of old ones",
    "Unigram": "a new token competes with all others, so that it changes how text without it is cut",
    "WordLevel": "its tokens are whole words, without merges: add words by `add_tokens`",
}


def check(pipeline: Pipeline, operation: str, n_tokens: int) -> None:
    """Raises ValueError if the model is not BPE or the number is negative, TypeError if it is no whole number."""
    bpe_of(pipeline, operation)
    if operator.index(n_tokens) < 0:
        raise ValueError(f"{operation}: expected a number of tokens of at least 0, got {n_tokens}")


def bpe_of(pipeline: Pipeline, operation: str) -> BPE:
    """Returns the model, if it is BPE; raises ValueError if not, with the reason."""
    model = pipeline.model
    if not isinstance(model, BPE):
        name = type(model).__name__
        raise ValueError(
            f"{operation} needs a BPE model, not {name}: {_REFUSED.get(name, 'it has no merges')}"
        )
    return model


def _without_dropout(model: BPE) -> BPE:
    if not model.dropout:
        return model
    other = view(model, vars(model))
    other.dropout = None
    return other


def extend(
    pipeline: Pipeline,
    words: WordCounts | Iterable[Any],
    n_tokens: int,
    *,
    min_frequency: int = 0,
    threads: int | None = None,
    report: Report,
    total: int | None = None,
    memory_limit: int | str | None = None,
    temporary: Any = None,
) -> tuple[Pipeline, VocabularyChange]:
    """Adds tokens to the model of a pipeline.

    Args:
        pipeline: the parts of a tokenizer, frozen.
        words: the words of the corpus; for a pipeline without a pre-tokenizer, whose words are whole documents, the batches
            of documents (`TextBatch`) instead.
        n_tokens: how many tokens to add.
        min_frequency: merges that occur less often are not added.
        threads: how many threads encode; None: all cores.
        report: called as report(stage, done, total).
        total: the bytes of all documents, if known.
        memory_limit: the memory of the sequences that documents are cut into, as for `WordCounts.merge`.
        temporary: the folder of temporary files.

    Returns:
        The new pipeline, and what has changed.
    """
    model = _without_dropout(bpe_of(pipeline, "extend"))
    symbols = Symbols(model, [*pipeline.added.tokens])
    if isinstance(words, WordCounts):
        sequences = _of_words(model, words, symbols, threads, report)
    else:
        without_dropout = dataclasses.replace(pipeline, model=model, post_processor=None)
        shards = _of_documents(without_dropout, words, symbols, threads, report, total)
        merged = WordCounts.merge(shards, memory_limit=memory_limit, temporary=temporary, threads=threads)
        sequences = Sequences(
            np.ascontiguousarray(merged.data).view(np.uint32), merged.offsets // 4, merged.counts
        )
    added = {token.content: id for id, token in pipeline.added.tokens.items()}
    in_model = model.vocabulary.find([*added])
    taken = {
        content: id for (content, id), found in zip(added.items(), in_model, strict=True) if found is None
    }
    extended = extend_model(
        bpe_of(pipeline, "extend"),
        sequences,
        symbols.first_character,
        symbols.reserved,
        taken,
        n_tokens,
        min_frequency,
        lambda done, total: report("merge", done, total),
    )
    n_new = len(extended.tokens)
    if n_new < n_tokens:
        warnings.warn(
            f"only {n_new:,} of {n_tokens:,} tokens were added: the corpus has no more pairs of tokens that occur "
            f"{max(1, min_frequency)} times or more",
            stacklevel=5,
        )
    n_old = _n_ids(pipeline)
    change = VocabularyChange(
        _identity(pipeline, n_old),
        n_old + n_new,
        extended.tokens,
        np.arange(n_old, n_old + n_new),
        np.array([*itertools.chain.from_iterable(extended.parts)], np.int64),
        np.cumsum([0, *map(len, extended.parts)], dtype=np.int64),
    )
    return dataclasses.replace(pipeline, model=extended.model), change


def _n_ids(pipeline: Pipeline) -> int:
    """Returns the highest id plus 1."""
    ids = pipeline.model.vocabulary.ids
    return 1 + max(int(ids.max()) if len(ids) else -1, *pipeline.added.tokens, -1)


def _identity(pipeline: Pipeline, n: int) -> Positions:
    """Returns int64[n]: each id itself, -1 if no token has it."""
    same = np.full(n, -1, np.int64)
    ids = np.append(
        pipeline.model.vocabulary.ids.astype(np.int64), np.array([*pipeline.added.tokens], np.int64)
    )
    same[ids] = ids
    return same


def _of_words(
    model: BPE, words: WordCounts, symbols: Symbols, threads: int | None, report: Report
) -> Sequences:
    """Encodes words, and cuts them into sequences."""
    n_bytes = len(words.data)

    def encoded(some: WordCounts) -> Sequences:
        start, end = some.offsets[:-1], some.offsets[1:]
        ids, rows = model.encode_words(some.data, start, end, byte_level=some.byte_level)
        found, offsets, row = symbols.cut(ids, rows)
        return Sequences(found, offsets, some.counts[row])

    parts: list[Sequences] = []
    done = 0
    slices = list(words.slices(_WORDS_AT_ONCE))
    for some, part in zip(
        slices, run(encoded, [(some,) for some in slices], thread_count(threads)), strict=True
    ):
        parts.append(part)
        done += len(some.data)
        report("encode", done, n_bytes)
    if not parts:
        return Sequences(np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.int64))
    starts = np.cumsum([0, *(len(part.symbols) for part in parts)])
    ends = [part.offsets[1:] + start for part, start in zip(parts, starts[:-1].tolist(), strict=True)]
    return Sequences(
        np.concatenate([part.symbols for part in parts]),
        np.concatenate([starts[:1], *ends]),
        np.concatenate([part.counts for part in parts]),
    )


def _of_documents(
    pipeline: Pipeline,
    batches: Iterable[TextBatch],
    symbols: Symbols,
    threads: int | None,
    report: Report,
    total: int | None,
) -> Iterator[WordCounts]:
    """Encodes documents, and yields their sequences as words of four bytes a symbol."""
    from gputok.pipeline import encode_corpus

    for ids, rows in encode_corpus.encode(
        pipeline, batches, add_special_tokens=False, threads=threads, report=report, total=total
    ):
        found, offsets, _ = symbols.cut(ids, rows)
        yield WordCounts(
            found.view(np.uint8), 4 * offsets, np.ones(len(offsets) - 1, np.int64), byte_level=True
        )
