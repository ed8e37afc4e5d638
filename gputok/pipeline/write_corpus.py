"""Encodes a corpus into files: which tokens stand around each document, which files there are, and what was done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok import backend, corpus
from gputok.files import token_files
from gputok.pipeline import encode_corpus, on_device
from gputok.pipeline.encode_units import largest_id
from gputok.pipeline.end_tokens import end_token
from gputok.pipeline.frame import Ends
from gputok.pipeline.serialize import tokenizer_json
from gputok.progress import Progress, reporting

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from gputok.corpus.packing import Errors
    from gputok.files.locations import StorageOptions
    from gputok.files.token_files import TokenBatch, Written
    from gputok.kernels.cuda.device import Device
    from gputok.pipeline.on_device import DeviceTokens
    from gputok.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Reading:
    """What to encode, and how: the options of `Tokenizer.encode_corpus` that have nothing to do with files of ids."""

    source: Any
    add_special_tokens: bool
    device: str | None
    threads: int | None
    progress: Progress
    errors: Errors
    column: str | None
    separator: str | None
    storage_options: StorageOptions


class _Run:
    """A corpus that is being encoded.

    Args:
        pipeline: the parts of the tokenizer.
        reading: what to encode.
        ends: the ids around each document.
    """

    def __init__(self, pipeline: Pipeline, reading: Reading, ends: Ends) -> None:
        self._pipeline, self._reading, self._ends = pipeline, reading, ends
        self.source = corpus.located(reading.source, reading.storage_options)
        self._total = corpus.total_bytes(self.source, column=reading.column)
        # Raises its error now, not when the first batch is asked for
        self._devices = backend.choose(reading.device).devices
        self.n_new = self.n_ids = self.n_unknown = self.n_bytes = 0

    def batches(self, skip: int = 0) -> Iterator[TokenBatch]:
        """Yields the ids of the documents after the first `skip`."""
        reading = self._reading
        texts = corpus.read(
            self.source,
            column=reading.column,
            separator=reading.separator,
            errors=reading.errors,
            threads=reading.threads,
        )
        with reporting(reading.progress) as report:

            def counted(stage: str, done: int, total: int | None) -> None:
                self.n_bytes = done
                report(stage, done, total)

            yield from encode_corpus.encode(
                self._pipeline,
                texts,
                add_special_tokens=reading.add_special_tokens,
                ends=self._ends,
                threads=reading.threads,
                report=counted,
                total=self._total,
                skip=skip,
                devices=self._devices,
            )

    def tallied(self, skip: int) -> Iterator[TokenBatch]:
        """Yields the same, and counts documents and ids."""
        unknown = self._pipeline.unknown_id
        for batch in self.batches(skip):
            self.n_new, self.n_ids = self.n_new + batch.n_documents, self.n_ids + len(batch.ids)
            if unknown is not None:
                self.n_unknown += int(np.count_nonzero(batch.ids == unknown))
            yield batch


def encode(
    pipeline: Pipeline,
    reading: Reading,
    output: str | os.PathLike[str] | None,
    bos: bool | str | None,
    eos: bool | str | None,
    options: dict[str, Any],
) -> Iterator[TokenBatch] | Iterator[DeviceTokens] | Written:
    """Encodes a corpus, as `Tokenizer.encode_corpus` describes it; options: those of `token_files.layout_of`."""
    tokens = {"bos": end_token(pipeline, "bos", bos), "eos": end_token(pipeline, "eos", eos)}
    first, last = (() if token is None else (token[0],) for token in tokens.values())
    if output is None or on_device.is_device(output):
        for option, value in options.items():
            if value is not None:
                raise ValueError(f"{option}={value!r}: is for files; name an output")
        if output is not None:
            return _on_device(pipeline, reading, on_device.card(str(output)), Ends(first, last))
        return _Run(pipeline, reading, Ends(first, last)).batches()
    vocab_size = largest_id(pipeline) + 1
    layout = token_files.layout_of(output, vocab_size, **options)
    if layout.format.end_first:
        first, last = last + first, ()
    run = _Run(pipeline, reading, Ends(first, last, not layout.format.ends_empty))
    for name in token_files.names(output, layout):
        corpus.refuse_output(name, run.source, reading.storage_options)
    state = reading.add_special_tokens, reading.column, reading.separator, reading.errors, first, last
    n_documents = token_files.write(
        output,
        run.tallied,
        layout,
        encode_corpus.fingerprint(pipeline, run.source, state),
        reading.storage_options,
        tokenizer=describe(pipeline, vocab_size, tokens),
        n_bytes=lambda: run.n_bytes,
    )
    return token_files.Written(n_documents, run.n_new, run.n_ids, run.n_unknown, run.n_bytes)


def _on_device(pipeline: Pipeline, reading: Reading, device: Device, ends: Ends) -> Iterator[DeviceTokens]:
    """Yields ids that stay on a device."""
    texts = corpus.read(
        corpus.located(reading.source, reading.storage_options),
        column=reading.column,
        separator=reading.separator,
        errors=reading.errors,
        threads=reading.threads,
    )
    return on_device.encode_batches(
        pipeline, texts, device, add_special_tokens=reading.add_special_tokens, ends=ends
    )


def describe(
    pipeline: Pipeline, vocab_size: int, tokens: dict[str, tuple[int, str] | None]
) -> dict[str, Any]:
    """Returns what a manifest says of a tokenizer.

    Args:
        pipeline: the parts of the tokenizer.
        vocab_size: the largest id plus 1.
        tokens: bos, eos: id and text of the token around each document.
    """
    digest = hashlib.sha256()
    for part in tokenizer_json(pipeline, pretty=False):
        digest.update(part)
    shown = {
        role: None if token is None else {"id": token[0], "token": token[1]} for role, token in tokens.items()
    }
    sha256 = digest.hexdigest()
    return {"name": f"gputok-{sha256[:12]}", "sha256": sha256, "vocab_size": vocab_size, **shown}
