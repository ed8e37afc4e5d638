"""Functions for the engines that process tables on many machines: Arrow batches in, Arrow batches out.

Spark (`mapInArrow`), Ray Data (`map_batches`), Dask and others send such a function to their workers, call it with
batches of their tables and write the batches that it yields. Both functions here can be pickled: each holds the
tokenizer as bytes, which each process reads once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gputok import backend
from gputok.corpus import Source
from gputok.corpus.options import Errors
from gputok.counts.files import words_batch, words_schema
from gputok.files.arrow import RecordBatch, Schema, Table, ids_batch, ids_schema, table_of
from gputok.lazy import public
from gputok.pipeline import serialize
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.encode.corpus import encode_corpus
from gputok.pipeline.encode.units import id_type
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import Run
from gputok.pipeline.special_tokens import Ends, end_token

_WORDS_AT_ONCE = 1 << 16  # words of a batch of counts


@functools.lru_cache(maxsize=4)
def _pipeline(state: bytes) -> Pipeline:
    return serialize.read_state(state)


class _OnBatches:
    """The method that WordCounter and CorpusEncoder share."""

    def of_table(self: Any, table: Any) -> Table:
        """Like a call, for engines that pass one table (or data frame of pandas or polars) and expect a table."""
        return table_of(self([table]), self.schema)


@public("gputok")
@dataclass(frozen=True)
class WordCounter(_OnBatches):
    """Counts the words of a text column; `Tokenizer.word_counter` makes it.

    A call takes an iterable of pyarrow.RecordBatch (all batches of a partition, not one at a time), and yields batches
    with the columns `word` (large_binary) and `count` (int64); each word occurs once. The engine adds up the counts of
    equal words of several partitions, or writes all to Parquet: `WordCounts.load` and `from_arrow` add them up.

    Attributes:
        byte_level: True if each byte of a word stands for a character of the ByteLevel alphabet; to be passed to
            `WordCounts.load` and `from_arrow`.
    """

    byte_level: bool
    _state: bytes = field(repr=False)
    _column: str | None
    _errors: Errors
    _threads: int
    _device: str | None
    _memory_limit: int | str | None
    _temporary: str | os.PathLike[str] | None

    def __call__(self, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """Counts all batches, then yields the words."""
        run = Run.of(self._device, self._threads, False, self._memory_limit, self._temporary)
        source = Source(batches, False, column=self._column, errors=self._errors)
        counts = count_corpus(_pipeline(self._state), source, run)
        for some in (counts if self.byte_level else counts.spelled_out()).slices(_WORDS_AT_ONCE):
            yield words_batch(some.columns())

    @property
    def schema(self) -> Schema:
        """`word`: large_binary, `count`: int64."""
        return words_schema()


@public("gputok")
@dataclass(frozen=True)
class CorpusEncoder(_OnBatches):
    """Encodes a text column; `Tokenizer.corpus_encoder` makes it.

    A call takes an iterable of pyarrow.RecordBatch, and yields batches with the column `ids` (large_list of uint16 or,
    if an id of the tokenizer needs 32 bits, uint32): one row for each text, in order. A missing text (null) has no ids.
    """

    _state: bytes = field(repr=False)
    _column: str | None
    _add_special_tokens: bool
    _errors: Errors
    _threads: int
    _device: str | None
    _first: tuple[int, ...] = ()
    _last: tuple[int, ...] = ()

    def __call__(self, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """Encodes batch after batch."""
        encoded = encode_corpus(
            _pipeline(self._state),
            Source(batches, False, column=self._column, errors=self._errors).read(),
            add_special_tokens=self._add_special_tokens,
            ends=Ends(self._first, self._last),
            threads=self._threads,
            devices=backend.choose(self._device).devices,
        )
        schema = self.schema
        for ids, rows in encoded:
            yield ids_batch(ids, rows, schema)

    @property
    def schema(self) -> Schema:
        """`ids`: large_list of uint16 or uint32."""
        return ids_schema(id_type(_pipeline(self._state)))


def word_counter(pipeline: Pipeline, *options: Any) -> WordCounter:
    """Makes a counter with the steps of a pipeline. options: the fields of WordCounter from `_column` on."""
    way = pipeline.way
    byte_level = way.byte_level and pipeline.normalizer is None and not pipeline.added.tokens
    return WordCounter(byte_level, serialize.state_of(pipeline), *options)


def corpus_encoder(pipeline: Pipeline, bos: bool | str | None, eos: bool | str | None, *options: Any) -> CorpusEncoder:
    """Makes an encoder with the steps of a pipeline. options: fields of CorpusEncoder from `_column` to `_device`."""
    tokens = end_token(pipeline, "bos", bos), end_token(pipeline, "eos", eos)
    first, last = (() if token is None else (token[0],) for token in tokens)
    return CorpusEncoder(serialize.state_of(pipeline), *options, first, last)  # pyright: ignore[reportCallIssue]
