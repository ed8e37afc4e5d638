"""Functions for the engines that process tables on many machines: Arrow batches in, Arrow batches out.

Spark (`mapInArrow`), Ray Data (`map_batches`), Dask and others send such a function to their workers, call it with
batches of their tables and write what it gives. Both kinds here can be pickled: they hold the tokenizer as JSON, and each
process reads it once.
"""

# pyright: basic
# Not strict, unlike the rest of this folder: PyArrow has no types.
from __future__ import annotations

import functools
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.pipeline import serialize
from gputok.types import public

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from gputok.corpus.packing import Errors
    from gputok.pipeline.pipeline import Pipeline
    from gputok.text.word_counts import WordCounts

_WORDS_AT_ONCE = 1 << 16  # in a batch of counts


@functools.lru_cache(maxsize=4)
def _pipeline(json: bytes) -> Pipeline:
    return serialize.read_pipeline(json, "the tokenizer")


class _OnBatches:
    """What both kinds can do."""

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError

    @property
    def schema(self) -> pa.Schema:
        """The columns of the batches that it gives."""
        raise NotImplementedError

    def of_table(self, table: Any) -> pa.Table:
        """The same for engines that call it with one table, or frame of pandas or polars, and want one back."""
        import pyarrow as pa

        return pa.Table.from_batches(self([table]), self.schema)


@public("gputok")
@dataclass(frozen=True)
class WordCounter(_OnBatches):
    """Counts the words of a text column; `Tokenizer.word_counter` makes it.

    Called with an iterable of pyarrow.RecordBatch (all batches of a partition, not one batch at a time), it gives batches
    with the columns `word` (large_binary) and `count` (int64), each word once. The engine adds up the counts of equal words,
    or writes them to Parquet as they are: `WordCounts.load` and `WordCounts.from_arrow` add them up, too.

    Attributes:
        byte_level: True if each byte of a word stands for a character of the ByteLevel alphabet; to be passed to
            `WordCounts.load` and `from_arrow`.
    """

    byte_level: bool
    _json: bytes = field(repr=False)
    _column: str | None
    _errors: Errors
    _threads: int
    _device: str | None
    _memory_limit: int | str | None
    _temporary: str | os.PathLike[str] | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Counts all batches, then gives the words."""
        import pyarrow as pa

        from gputok.files.word_count_files import WordColumns, arrow_arrays

        data, offsets, counts, _ = self._counted(batches).columns()
        for first in range(0, len(counts), _WORDS_AT_ONCE):
            ends = offsets[first : first + _WORDS_AT_ONCE + 1]
            words = WordColumns(
                data[ends[0] : ends[-1]],
                ends - ends[0],
                counts[first : first + _WORDS_AT_ONCE],
                self.byte_level,
            )
            yield pa.record_batch(arrow_arrays(words), schema=self.schema)

    def _counted(self, batches: Iterable[Any]) -> WordCounts:
        from gputok import corpus
        from gputok.files.temporary import MemoryLimit

        memory = MemoryLimit.of(self._memory_limit, self._temporary)
        read = partial(corpus.read_texts, batches, column=self._column, errors=self._errors)
        counts = _pipeline(self._json).count_batches(read, None, self._threads, self._device, False, memory)
        return counts if self.byte_level else counts.spelled_out()

    @property
    def schema(self) -> pa.Schema:
        """`word`: large_binary, `count`: int64."""
        import pyarrow as pa

        return pa.schema([("word", pa.large_binary()), ("count", pa.int64())])


@public("gputok")
@dataclass(frozen=True)
class CorpusEncoder(_OnBatches):
    """Encodes a text column; `Tokenizer.corpus_encoder` makes it.

    Called with an iterable of pyarrow.RecordBatch, it gives batches with the column `ids` (large_list of uint16 or, if an
    id of the tokenizer needs it, uint32), a row for each row, in order. A missing text (null) has no ids.
    """

    _json: bytes = field(repr=False)
    _column: str | None
    _add_special_tokens: bool
    _errors: Errors
    _threads: int
    _device: str | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Encodes the rows as they come."""
        import pyarrow as pa

        from gputok import backend, corpus
        from gputok.pipeline import encode_corpus

        encoded = encode_corpus.encode(
            _pipeline(self._json),
            corpus.read_texts(batches, column=self._column, errors=self._errors),
            add_special_tokens=self._add_special_tokens,
            threads=self._threads,
            devices=backend.choose(self._device).devices,
        )
        for ids, rows in encoded:
            lists = pa.LargeListArray.from_arrays(rows - rows[0], pa.array(ids[rows[0] : rows[-1]]))
            yield pa.record_batch([lists], schema=self.schema)

    @property
    def schema(self) -> pa.Schema:
        """`ids`: large_list of uint16 or uint32."""
        import pyarrow as pa

        from gputok.pipeline.encode_corpus import id_type

        return pa.schema([("ids", pa.large_list(pa.from_numpy_dtype(id_type(_pipeline(self._json)))))])


def word_counter(pipeline: Pipeline, *options: Any) -> WordCounter:
    """A counter by these steps; options: those of WordCounter from the column on."""
    plan = pipeline.plan()
    byte_level = plan is not None and plan.byte_level and not pipeline.added.tokens
    return WordCounter(byte_level, _json_of(pipeline), *options)


def corpus_encoder(pipeline: Pipeline, *options: Any) -> CorpusEncoder:
    """An encoder by these steps; options: those of CorpusEncoder from the column on."""
    return CorpusEncoder(_json_of(pipeline), *options)


def _json_of(pipeline: Pipeline) -> bytes:
    return b"".join(serialize.tokenizer_json(pipeline, pretty=False))
