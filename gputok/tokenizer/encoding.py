"""Encoding texts, and what becomes of them at the ends: special tokens, truncation and padding."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from gputok import batching
from gputok.encoding import Encoding, check_direction
from gputok.tokenizer.steps import Pipeline

if TYPE_CHECKING:
    from gputok.locations import StorageOptions
    from gputok.progress import Progress
    from gputok.report import Report
    from gputok.token_files import TokenBatch

STRATEGIES = ("longest_first", "only_first", "only_second")


class WithEncoding(Pipeline):
    """The half of a tokenizer that encodes."""

    def encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> Encoding:
        """Encodes one text, or a pair of texts.

        is_pretokenized: each is a list of words, which are encoded one by one.
        add_special_tokens: let the post-processor add its tokens.

        >>> from gputok import models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer.encode("so it goes").ids, tokenizer.encode("so", "it").type_ids
        ([0, 1, 2], [0, 1])
        """
        given = [sequence] if pair is None else [sequence, pair]
        given = tuple(batching.check_sequence(one, is_pretokenized) for one in given)
        return batching.encode(self, [given], is_pretokenized, add_special_tokens, offsets=True)[0]

    def encode_batch(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
    ) -> list[Encoding]:
        """Encodes many texts, or (text, pair) tuples, on all cores."""
        inputs = batching.check_inputs(input, is_pretokenized)
        return batching.encode(
            self, inputs, is_pretokenized, add_special_tokens, offsets=True, threads=threads
        )

    def encode_batch_fast(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
    ) -> list[Encoding]:
        """`encode_batch` without offsets, words and token texts: these are (0, 0), None and ''."""
        inputs = batching.check_inputs(input, is_pretokenized)
        return batching.encode(
            self, inputs, is_pretokenized, add_special_tokens, offsets=False, threads=threads
        )

    async def async_encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> Encoding:
        """`encode` on another thread. Offsets are in characters, where the namesake's are in bytes here."""
        return await asyncio.to_thread(self.encode, sequence, pair, is_pretokenized, add_special_tokens)

    async def async_encode_batch(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """`encode_batch` on another thread."""
        return await asyncio.to_thread(self.encode_batch, input, is_pretokenized, add_special_tokens)

    async def async_encode_batch_fast(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """`encode_batch_fast` on another thread."""
        return await asyncio.to_thread(self.encode_batch_fast, input, is_pretokenized, add_special_tokens)

    @overload
    def encode_corpus(
        self,
        source: Any,
        output: None = None,
        *,
        add_special_tokens: bool = True,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
        storage_options: StorageOptions = None,
    ) -> Iterator[TokenBatch]: ...

    @overload
    def encode_corpus(
        self,
        source: Any,
        output: str | os.PathLike[str],
        *,
        add_special_tokens: bool = True,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
        storage_options: StorageOptions = None,
    ) -> None: ...

    def encode_corpus(
        self,
        source: Any,
        output: str | os.PathLike[str] | None = None,
        *,
        add_special_tokens: bool = True,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
        storage_options: StorageOptions = None,
    ) -> Iterator[TokenBatch] | None:
        """Encodes a corpus of any size into arrays of ids, with no Python object for a token.

        source: as in `train`, or any iterable of texts. Without `output`, yields a TokenBatch for each megabyte or so
        (64 on a GPU): ids uint16[t] (uint32[t] where an id needs it) and rows int64[n_documents + 1]. With `output`, writes a file by
        its ending: .npy, .bin, .arrow or .parquet (`gputok.token_files` says what each holds). A run that was broken
        off goes on where it was; the file has its name when it is whole. Nothing is truncated or padded.
        storage_options: of the file systems of URLs, of source and output (`gputok.locations`).
        """
        from gputok import backend, bulk, corpus, token_files
        from gputok.progress import reporting

        source = corpus.located(source, storage_options)
        total = corpus.total_bytes(source, column=column)
        backend.choose(device, 0)  # says at once what is wrong with it

        def batches(skip: int = 0) -> Iterator[TokenBatch]:
            given = {"column": column, "separator": separator, "errors": errors, "threads": threads}
            read = partial(corpus.read, source, **given)
            chosen, texts = backend.choose_for(read, total, device)
            with reporting(progress) as report:
                yield from bulk.encode(
                    self,
                    texts,
                    add_special_tokens=add_special_tokens,
                    threads=threads,
                    report=report,
                    total=total,
                    skip=skip,
                    devices=chosen.devices,
                )

        if output is None:
            return batches()
        options = add_special_tokens, column, separator, errors
        fingerprint = bulk.fingerprint(self, source, options)
        token_files.write(output, batches, bulk.id_type(self), fingerprint, storage_options)
        return None

    def report(self, corpus: Any, **options: Any) -> Report:
        """Measures how this tokenizer suits a corpus, beside others if asked: see `gputok.report.report`."""
        from gputok.report import report

        return report(self, corpus, **options)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Step 4 for encodings that are there: truncation, the post-processor, padding."""
        return batching.post_process(self, encoding, pair, add_special_tokens)

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens the post-processor adds to one text, or to a pair."""
        return 0 if self._post_processor is None else self._post_processor.num_special_tokens_to_add(is_pair)

    def enable_truncation(
        self, max_length: int, stride: int = 0, strategy: str = "longest_first", direction: str = "right"
    ) -> None:
        """Cuts what is longer than `max_length` tokens, special tokens included; the rest is in `Encoding.overflowing`.

        stride: how many tokens each overflowing part repeats of the one before.
        strategy: which of a pair is cut: "longest_first", "only_first" or "only_second".
        direction: the side that is cut off, "right" or "left".
        """
        for name, value in (("max_length", max_length), ("stride", stride)):
            if value < 0:
                raise OverflowError(f"{name} is {value}, expected a number of tokens")
        if strategy not in STRATEGIES:
            raise ValueError(
                f"Unknown `strategy`: `{strategy}`. Use one of `longest_first`, `only_first`, or `only_second`"
            )
        check_direction(direction)
        n_added = self.num_special_tokens_to_add(False)
        if max_length - n_added < stride:
            raise ValueError(
                f"tokenizer stride set to {stride}, which is greater than or equal to its effective max length of "
                f"{max_length - n_added} (= {max_length} original max length - {n_added} added special tokens)"
            )
        self._truncation = {
            "max_length": max_length,
            "stride": stride,
            "strategy": strategy,
            "direction": direction,
        }

    def no_truncation(self) -> None:
        """Stops truncating."""
        self._truncation = None

    @property
    def truncation(self) -> dict[str, Any] | None:
        """The options of `enable_truncation`, or None."""
        return self._truncation and dict(self._truncation)

    def enable_padding(
        self,
        direction: str = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        """Fills all encodings of a batch up to `length` tokens, by default that of the longest of them."""
        check_direction(direction)
        for name, value in (("pad_id", pad_id), ("pad_type_id", pad_type_id), ("length", length or 0)):
            if value < 0:
                raise OverflowError(f"{name} is {value}, expected a number from 0")
        self._padding = {
            "length": length,
            "pad_to_multiple_of": pad_to_multiple_of,
            "pad_id": pad_id,
            "pad_token": pad_token,
            "pad_type_id": pad_type_id,
            "direction": direction,
        }

    def no_padding(self) -> None:
        """Stops padding."""
        self._padding = None

    @property
    def padding(self) -> dict[str, Any] | None:
        """The options of `enable_padding`, or None."""
        return self._padding and dict(self._padding)
