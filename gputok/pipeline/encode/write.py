"""Encodes a corpus into files: which tokens stand around each document, which files there are, and what was done."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gputok import corpus
from gputok.corpus import Source
from gputok.corpus.readers import Task
from gputok.kernels.threads import thread_count
from gputok.pipeline import serialize
from gputok.pipeline.encode.corpus import encode_corpus
from gputok.pipeline.encode.devices import DeviceTokens, card, encode_batches, is_device
from gputok.pipeline.encode.units import largest_id
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import DeviceOptions, Run
from gputok.pipeline.special_tokens import Ends, end_token
from gputok.progress import reporting
from gputok.token_files import token_files
from gputok.token_files.token_files import FileOptions, TokenBatch, Written


class WriteOptions(DeviceOptions, FileOptions, total=False):
    """How a corpus is read and encoded, and what its files of ids are like."""


class _EncodedCorpus:
    """A corpus that is being encoded; ends: the ids around each document."""

    def __init__(self, pipeline: Pipeline, source: Source, run: Run, add_special_tokens: bool, ends: Ends) -> None:
        self._pipeline, self._source, self._run = pipeline, source, run
        self._special, self._ends = add_special_tokens, ends
        # Both raise their errors now, not when the first batch is asked for
        self._total, self._devices = source.total_bytes, run.devices
        self.n_new = self.n_ids = self.n_unknown = self.n_bytes = 0
        self._waited: list[float] = []  # how many seconds each batch of ids took to come
        self._reading: list[float] = []  # how many seconds each batch of text took to be read, in any thread
        self._readers = 1  # how many threads read and encode

    def batches(self, skip: int = 0, timed: bool = False) -> Iterator[TokenBatch]:
        """Yields the ids of the documents after the first `skip`; timed: notes how long reading takes."""
        run = self._run
        apart = not skip and not self._devices
        texts = self._source.read_apart(run.threads) if apart else self._source.read(run.threads)
        texts = self._timed(texts) if timed else texts
        with reporting(run.progress) as report:

            def counted(stage: str, done: int, total: int | None) -> None:
                self.n_bytes = done
                report(stage, done, total)

            yield from encode_corpus(
                self._pipeline,
                texts,
                add_special_tokens=self._special,
                ends=self._ends,
                threads=run.threads,
                report=counted,
                total=self._total,
                skip=skip,
                devices=self._devices,
            )
        self._source.missing.warn()

    def tallied(self, skip: int) -> Iterator[TokenBatch]:
        """Yields what `batches` yields, and counts documents and ids."""
        unknown = self._pipeline.unknown_id
        for batch in _timed(self.batches(skip, timed=True), self._waited.append):
            self.n_new, self.n_ids = self.n_new + batch.n_documents, self.n_ids + len(batch.ids)
            if unknown is not None:
                self.n_unknown += int(np.count_nonzero(batch.ids == unknown))
            yield batch

    def _timed(self, texts: Any) -> Iterator[Any]:
        """Yields batches, or tasks that threads read, and notes the seconds of reading."""
        for item in _timed(texts, self._reading.append):
            if isinstance(item, Task):
                self._readers = thread_count(self._run.threads)
                yield Task(partial(self._timed_task, item))
            else:
                yield item

    def _timed_task(self, task: Task) -> Iterator[Any]:
        # `read` may do its work before its first batch is asked for, so it is called while time is measured
        return _timed((batch for read in [task.read] for batch in read()), self._reading.append)

    def seconds(self, whole: float) -> token_files.Seconds:
        """Divides the seconds of the whole run."""
        waited = sum(self._waited)
        reading = min(sum(self._reading) / self._readers, waited)
        return token_files.Seconds(reading, waited - reading, max(whole - waited, 0.0))


def _timed(items: Iterable[Any], note: Callable[[float], None]) -> Iterator[Any]:
    """Yields items, and notes how long each took to come; the time for which the caller keeps it does not count."""
    items = iter(items)
    while True:
        start = time.perf_counter()
        found = [*itertools.islice(items, 1)]
        note(time.perf_counter() - start)
        if not found:
            return
        yield found.pop()


def encode(
    pipeline: Pipeline,
    source: Source,
    run: Run,
    add_special_tokens: bool,
    output: str | os.PathLike[str] | None,
    bos: bool | str | None,
    eos: bool | str | None,
    options: dict[str, Any],
) -> Iterator[TokenBatch] | Iterator[DeviceTokens] | Written:
    """Encodes a corpus, as `Tokenizer.encode_corpus` describes it; options: those of `token_files.layout_of`."""
    tokens = {"bos": end_token(pipeline, "bos", bos), "eos": end_token(pipeline, "eos", eos)}
    first, last = (() if token is None else (token[0],) for token in tokens.values())
    if output is None or is_device(output):
        for option, value in options.items():
            if value is not None:
                raise ValueError(f"{option}={value!r}: is for files; name an output")
        if output is not None:
            texts, device = source.read(run.threads), card(str(output))
            ends = Ends(first, last)
            return encode_batches(pipeline, texts, device, add_special_tokens=add_special_tokens, ends=ends)
        return _EncodedCorpus(pipeline, source, run, add_special_tokens, Ends(first, last)).batches()
    vocab_size = largest_id(pipeline) + 1
    layout = token_files.layout_of(output, vocab_size, **options)
    if layout.format.end_first:
        first, last = last + first, ()
    ends = Ends(first, last, not layout.format.ends_empty)
    encoding = _EncodedCorpus(pipeline, source, run, add_special_tokens, ends)
    for name in token_files.names(output, layout):
        corpus.refuse_output(name, source, source.storage_options)
    state = add_special_tokens, source.column, source.separator, source.errors, first, last
    start = time.perf_counter()
    n_documents, n_stored = token_files.write(
        output,
        encoding.tallied,
        layout,
        serialize.fingerprint(pipeline, source, state),
        source.storage_options,
        tokenizer=describe(pipeline, vocab_size, tokens),
        n_bytes=lambda: encoding.n_bytes,
        threads=run.threads,
    )
    numbers = encoding.n_new, encoding.n_ids, encoding.n_unknown, encoding.n_bytes, n_stored
    return token_files.Written(n_documents, *numbers, encoding.seconds(time.perf_counter() - start))


def describe(pipeline: Pipeline, vocab_size: int, tokens: dict[str, tuple[int, str] | None]) -> dict[str, Any]:
    """Returns what a manifest says of a tokenizer; tokens: bos, eos: id and text of the token around each document."""
    shown = {role: None if token is None else {"id": token[0], "token": token[1]} for role, token in tokens.items()}
    sha256 = serialize.sha256_of(pipeline)
    return {"name": f"gputok-{sha256[:12]}", "sha256": sha256, "vocab_size": vocab_size, **shown}
