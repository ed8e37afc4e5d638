"""The tokenizer: normalize, pre-tokenize, model, post-process; and decode for the way back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.pipeline import encode_batch, serialize
from gputok.pipeline.limits import Padding, Truncation
from gputok.pipeline.pipeline import Pipeline
from gputok.tokens.added_token import AddedToken
from gputok.types import public

if TYPE_CHECKING:
    from gputok.files.token_files import TokenBatch
    from gputok.progress import Progress
    from gputok.report import Report
    from gputok.text.pieces import TextBatch
    from gputok.text.word_counts import WordCounts
    from gputok.trainers import Trainer


@public("gputok")
class Tokenizer(Pipeline):
    """Text to tokens and back, in steps that can be set one by one.

    1. The `normalizer` changes the text. 2. The `pre_tokenizer` cuts it into words. 3. The `model` makes tokens of
    each word. 4. The `post_processor` adds special tokens. The `decoder` makes text of tokens again. All but the
    model may be None. Added tokens are cut out before the text is normalized, or before it is pre-tokenized.

    >>> from gputok import models, pre_tokenizers, trainers
    >>> tokenizer = Tokenizer(models.BPE())
    >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    >>> tokenizer.train_from_iterator(["low lower lowest"] * 9, trainers.BpeTrainer(vocab_size=14))
    >>> tokenizer.encode("lower low").tokens
    ['low', 'e', 'r', 'Ġlow']
    """

    # -- files

    @staticmethod
    def from_file(path: str) -> Tokenizer:
        """Reads a tokenizer.json."""
        with open(path, "rb") as file:
            return serialize.read_tokenizer(serialize.read_json(file.read(), str(path)), str(path), Tokenizer)

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """From the contents of a tokenizer.json."""
        if not isinstance(json, str):
            raise TypeError(f"json: '{type(json).__name__}' object is not an instance of 'str'")
        return serialize.read_tokenizer(serialize.read_json(json, "this string"), "this string", Tokenizer)

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """From the bytes of a tokenizer.json."""
        if not isinstance(buffer, bytes):
            raise TypeError(f"buffer: '{type(buffer).__name__}' object is not an instance of 'bytes'")
        return serialize.read_tokenizer(serialize.read_json(buffer, "this buffer"), "this buffer", Tokenizer)

    @staticmethod
    def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
        """The tokenizer.json of a model on the Hugging Face Hub; needs `huggingface_hub`."""
        try:
            from huggingface_hub import hf_hub_download
        except ImportError:
            raise ImportError("from_pretrained needs huggingface_hub: pip install 'gputok[hub]'") from None
        return Tokenizer.from_file(
            hf_hub_download(identifier, "tokenizer.json", revision=revision, token=token)
        )

    def to_str(self, pretty: bool = False) -> str:
        """The contents of a tokenizer.json, byte for byte as the namesake writes it."""
        return b"".join(serialize.tokenizer_json(self, pretty)).decode()

    def save(self, path: str, pretty: bool = True) -> None:
        """Writes a tokenizer.json, which is there whole or not at all."""
        from gputok.files.atomic import replacing

        with replacing(path) as beside, open(beside, "wb") as file:
            file.writelines(serialize.tokenizer_json(self, pretty))

    # -- training

    def train(
        self,
        files: Sequence[str],
        trainer: Trainer | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
    ) -> None:
        """Trains the model on files: text, JSON Lines or Parquet, each also compressed, folders or globs.

        files: paths. A text file gives one document a line, its ending kept; `separator` cuts elsewhere.
        trainer: by default the model's own kind with its defaults.
        column: of JSON Lines and Parquet. errors: "strict" or "replace", for what is not UTF-8.
        threads: by default GPUTOK_NUM_THREADS, or all cores. device: "auto", "cpu", "cuda"
            or "cuda:N"; by default GPUTOK_DEVICE, or "auto" (see `gputok.backend.choose`).
        progress: None shows bars where somebody watches; see `gputok.progress`.

        Raises FileNotFoundError, or ValueError for a file that is broken or not UTF-8; the tokenizer is unchanged then.
        """
        trainer = self._model.get_trainer() if trainer is None else trainer
        progress = _asked_of(trainer, progress)
        options = {"column": column, "separator": separator, "errors": errors}
        counts = self.count_words(files, threads=threads, device=device, progress=progress, **options)
        self.train_from_word_counts(counts, trainer, threads=threads, device=device, progress=progress)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        trainer: Trainer | None = None,
        length: int | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
    ) -> None:
        """Trains the model on texts: strings, lists of strings, Arrow arrays or a `datasets.Dataset`.

        length: how many texts there are; nothing depends on it. The other arguments are those of `train`.
        """
        from gputok import corpus

        trainer = self._model.get_trainer() if trainer is None else trainer
        progress = _asked_of(trainer, progress)
        read = partial(corpus.read_texts, iterator, column=column, errors=errors)
        total = (
            corpus.total_bytes(iterator, column=column) if not isinstance(iterator, list | tuple) else None
        )
        counts = self.count_batches(read, total, threads, device, progress)
        self.train_from_word_counts(counts, trainer, threads=threads, device=device, progress=progress)

    def train_from_word_counts(
        self,
        word_counts: WordCounts,
        trainer: Trainer | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
    ) -> None:
        """Trains the model on words that were counted before, perhaps in parts on many machines."""
        from gputok import backend
        from gputok.progress import reporting

        trainer = self._model.get_trainer() if trainer is None else trainer
        devices = backend.choose(device, word_counts.data.nbytes).devices
        with reporting(_asked_of(trainer, progress)) as report:
            learnt = trainer.train(word_counts, threads=threads, progress=report, devices=devices)
        learnt.into(self._model)
        self.add(trainer.special_tokens)

    def count_words(
        self,
        source: Any,
        *,
        device: str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        errors: str = "strict",
        column: str | None = None,
        separator: str | None = None,
    ) -> WordCounts:
        """How often each word of a corpus occurs, by this tokenizer's steps 1 and 2.

        source: as in `train`, or any iterable of texts.
        """
        from gputok import corpus

        read = partial(corpus.read, source, column=column, separator=separator, errors=errors)
        return self.count_batches(read, corpus.total_bytes(source, column=column), threads, device, progress)

    def count_batches(
        self,
        read: Callable[..., Iterator[TextBatch]],
        total: int | None,
        threads: int | None,
        device: str | None,
        progress: Progress,
    ) -> WordCounts:
        """`count_words` for the text that `read(batch_bytes=...)` gives; total: its bytes, if they are known."""
        from gputok import backend
        from gputok.pipeline.count_words import count_words
        from gputok.progress import reporting

        chosen, batches = backend.choose_for(read, total, device)
        apart = self.apart_at_spaces()
        # parts of documents in which there are no added tokens: `instead` takes the others
        words = partial(self.words, added=False) if apart else self.words
        with reporting(progress) as report:
            return count_words(
                batches,
                self.plan() or words,
                apart_at_spaces=apart,
                instead=self.around_added if self._added.tokens else None,
                threads=threads,
                report=report,
                total=total,
                devices=chosen.devices,
            )

    # -- text to ids

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
        given = tuple(encode_batch.check_sequence(one, is_pretokenized) for one in given)
        return encode_batch.encode(self, [given], is_pretokenized, add_special_tokens, offsets=True)[0]

    def encode_batch(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
    ) -> list[Encoding]:
        """Encodes many texts, or (text, pair) tuples, on all cores."""
        inputs = encode_batch.check_inputs(input, is_pretokenized)
        return encode_batch.encode(
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
        inputs = encode_batch.check_inputs(input, is_pretokenized)
        return encode_batch.encode(
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
        import asyncio

        return await asyncio.to_thread(self.encode, sequence, pair, is_pretokenized, add_special_tokens)

    async def async_encode_batch(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """`encode_batch` on another thread."""
        import asyncio

        return await asyncio.to_thread(self.encode_batch, input, is_pretokenized, add_special_tokens)

    async def async_encode_batch_fast(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """`encode_batch_fast` on another thread."""
        import asyncio

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
    ) -> Iterator[TokenBatch] | None:
        """Encodes a corpus of any size into arrays of ids, with no Python object for a token.

        source: as in `train`, or any iterable of texts. Without `output`, yields a TokenBatch for each megabyte or so
        (64 on a GPU): ids uint16[t] (uint32[t] where an id needs it) and rows int64[n_documents + 1]. With `output`, writes a file by
        its ending: .npy, .bin, .arrow or .parquet (`gputok.files.token_files` says what each holds). A run that was broken
        off goes on where it was; the file has its name when it is whole. Nothing is truncated or padded.
        """
        from gputok import backend, corpus
        from gputok.files import token_files
        from gputok.pipeline import encode_corpus
        from gputok.progress import reporting

        total = corpus.total_bytes(source, column=column)
        backend.choose(device, 0)  # says at once what is wrong with it

        def batches(skip: int = 0) -> Iterator[TokenBatch]:
            read = partial(corpus.read, source, column=column, separator=separator, errors=errors)
            chosen, texts = backend.choose_for(read, total, device)
            with reporting(progress) as report:
                yield from encode_corpus.encode(
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
        token_files.write(
            output, batches, encode_corpus.id_type(self), encode_corpus.fingerprint(self, source, options)
        )
        return None

    def report(self, corpus: Any, **options: Any) -> Report:
        """Measures how this tokenizer suits a corpus, beside others if asked: see `gputok.report.report`."""
        from gputok.report import report

        return report(self, corpus, **options)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Step 4 for encodings that are there: truncation, the post-processor, padding."""
        return encode_batch.post_process(self, encoding, pair, add_special_tokens)

    def enable_truncation(
        self, max_length: int, stride: int = 0, strategy: str = "longest_first", direction: str = "right"
    ) -> None:
        """Cuts what is longer than `max_length` tokens, special tokens included; the rest is in `Encoding.overflowing`.

        stride: how many tokens each overflowing part repeats of the one before.
        strategy: which of a pair is cut: "longest_first", "only_first" or "only_second".
        direction: the side that is cut off, "right" or "left".
        """
        truncation = Truncation(max_length, stride, strategy, direction)
        n_added = self.num_special_tokens_to_add(False)
        if max_length - n_added < stride:
            raise ValueError(
                f"tokenizer stride set to {stride}, which is greater than or equal to its effective max length of "
                f"{max_length - n_added} (= {max_length} original max length - {n_added} added special tokens)"
            )
        self.limits = self.limits._replace(truncation=truncation)

    def no_truncation(self) -> None:
        """Stops truncating."""
        self.limits = self.limits._replace(truncation=None)

    @property
    def truncation(self) -> dict[str, Any] | None:
        """The options of `enable_truncation`, or None."""
        truncation = self.limits.truncation
        return None if truncation is None else truncation.options()

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
        padding = Padding(length, pad_to_multiple_of, pad_id, pad_token, pad_type_id, direction)
        self.limits = self.limits._replace(padding=padding)

    def no_padding(self) -> None:
        """Stops padding."""
        self.limits = self.limits._replace(padding=None)

    @property
    def padding(self) -> dict[str, Any] | None:
        """The options of `enable_padding`, or None."""
        padding = self.limits.padding
        return None if padding is None else padding.options()

    # -- ids to text

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = True) -> str:
        """The text of ids (a list or an array); ids that do not exist are passed over."""
        texts = self.texts
        special = self._added.special if skip_special_tokens else ()
        tokens = [
            text for text in map(texts.__getitem__, _id_list(ids)) if text is not None and text not in special
        ]
        return " ".join(tokens) if self._decoder is None else self._decoder.decode(tokens)

    def decode_batch(self, sequences: Iterable[Any], skip_special_tokens: bool = True) -> list[str]:
        """The texts of many lists or arrays of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    async def async_decode_batch(
        self, sequences: Iterable[Any], skip_special_tokens: bool = True
    ) -> list[str]:
        """`decode_batch` on another thread."""
        import asyncio

        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    # -- added tokens

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it; returns how many are new.

        >>> from gputok import models
        >>> tokenizer = Tokenizer(models.WordLevel({"a": 0}))
        >>> tokenizer.add_tokens(["b", AddedToken("c", lstrip=True), "b"])
        2
        """
        return self.add(
            AddedToken(token) if isinstance(token, str) else token for token in _token_list(tokens)
        )

    def add_special_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that `decode` leaves out, or makes known ones such; returns how many are new."""
        given = _token_list(tokens)
        for token in given:
            if isinstance(token, AddedToken):
                token.special = True
        return self.add(
            AddedToken(token, special=True) if isinstance(token, str) else token for token in given
        )

    @property
    def encode_special_tokens(self) -> bool:
        """Whether special tokens in the text are encoded as ordinary text."""
        return self._added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._added.encode_special_tokens = value

    def __getstate__(self) -> bytes:
        return b"".join(serialize.tokenizer_json(self, pretty=False))

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(Tokenizer.from_buffer(state).__dict__)

    def __repr__(self) -> str:
        return serialize.shown(self, brief=False)

    def __str__(self) -> str:
        return serialize.shown(self, brief=True)


def _asked_of(trainer: Trainer, progress: Progress) -> Progress:
    """A trainer's own options say what is shown where the call does not. TypeError: it is none."""
    from gputok.trainers import Trainer

    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"{trainer!r} is no Trainer (a ParityBpeTrainer trains by its own train_from_iterator)"
        )
    if progress is not None:
        return progress
    if not getattr(trainer, "show_progress", True) or getattr(trainer, "progress_format", "") == "silent":
        return False
    return "json" if getattr(trainer, "progress_format", "") == "json" else None


def _token_list(tokens: Any) -> list[str | AddedToken]:
    if not isinstance(tokens, list) or not all(isinstance(token, str | AddedToken) for token in tokens):
        raise TypeError(f"Input must be a List[Union[str, AddedToken]], not {tokens!r}")
    return tokens


def _id_list(ids: Any) -> Sequence[int]:
    if isinstance(ids, list | tuple) and set(map(type, ids)) <= {int}:
        return ids
    array = np.asarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"ids must be a list or an array of whole numbers, not {type(ids).__name__} of {array.dtype}"
        )
    return array.tolist()
