"""The pipeline: normalize, pre-tokenize, model, post-process; and decode for the way back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok import serialization
from gputok.added_tokens import AddedToken, AddedVocabulary
from gputok.components import Component
from gputok.encoding import Encoding, check_direction
from gputok.rows import Spelling
from gputok.text import Pieces, TextBatch

if TYPE_CHECKING:
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.progress import Progress
    from gputok.report import Report
    from gputok.token_files import TokenBatch
    from gputok.trainers import Trainer
    from gputok.word_counts import WordCounts

STRATEGIES = ("longest_first", "only_first", "only_second")


class Tokenizer:
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

    def __init__(self, model: Model) -> None:
        self._normalizer = self._pre_tokenizer = self._post_processor = self._decoder = None
        self._added = AddedVocabulary()
        self._truncation: dict[str, Any] | None = None
        self._padding: dict[str, Any] | None = None
        self.model = model

    # -- the steps

    @property
    def model(self) -> Model:
        """What makes tokens of words."""
        return self._model

    @model.setter
    def model(self, model: Model) -> None:
        if model is None:
            raise TypeError("a tokenizer needs a model, not None")
        self._model = _component(model, "model")
        self._spelling = None

    @property
    def normalizer(self) -> Normalizer | None:
        """What changes the text before it is cut into words."""
        return self._normalizer

    @normalizer.setter
    def normalizer(self, normalizer: Normalizer | None) -> None:
        self._normalizer = _component(normalizer, "normalizer")
        self._added.renormalize(normalizer)
        self._spelling = None

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """What cuts the text into words."""
        return self._pre_tokenizer

    @pre_tokenizer.setter
    def pre_tokenizer(self, pretok: PreTokenizer | None) -> None:
        self._pre_tokenizer = _component(pretok, "pre-tokenizer")

    @property
    def post_processor(self) -> PostProcessor | None:
        """What adds special tokens."""
        return self._post_processor

    @post_processor.setter
    def post_processor(self, processor: PostProcessor | None) -> None:
        self._post_processor = _component(processor, "post-processor")

    @property
    def decoder(self) -> Decoder | None:
        """What makes text of tokens again."""
        return self._decoder

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        self._decoder = _component(decoder, "decoder")

    def words(self, pieces: Pieces) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalized and cut into words and added tokens."""
        normalizer, pre_tokenizer = self._normalizer, self._pre_tokenizer
        marked = bool(normalizer and pre_tokenizer and pre_tokenizer.needs_alignment and not pieces.alignment)
        if (
            marked
        ):  # or the pre-tokenizer couldn't tell whether the normalizer took away the start of a document
            from gputok.pre_tokenizers import mark_starts

            pieces = mark_starts(pieces)
        pieces = self._added.extract(pieces, normalized=False)
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        pieces = self._added.extract(pieces, normalized=True)
        if pre_tokenizer is not None:
            pieces = pre_tokenizer.apply(pieces)
        return _without_empty(pieces._replace(alignment=None) if marked else pieces)

    def added_in(self, pieces: Pieces) -> bool:
        """Are there added tokens in a text, as it stands?"""
        for normalized in (False, True):
            pieces = self._added.extract(pieces, normalized=normalized)
        return pieces.token is not None

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
        counts = self._count(read, total, threads, device, progress)
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
        self._spelling = None
        self._added.add(trainer.special_tokens, self._model, self._normalizer)

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
        return self._count(read, corpus.total_bytes(source, column=column), threads, device, progress)

    def _count(
        self,
        read: Callable[..., Iterator[TextBatch]],
        total: int | None,
        threads: int | None,
        device: str | None,
        progress: Progress,
    ) -> WordCounts:
        from gputok import backend
        from gputok.counting import count_words
        from gputok.progress import reporting

        chosen, batches = backend.choose_for(read, total, device)
        with reporting(progress) as report:
            return count_words(
                batches,
                self._plan() or self.words,
                apart_at_spaces=self._apart_at_spaces(),
                threads=threads,
                report=report,
                total=total,
                devices=chosen.devices,
            )

    def _plan(self) -> Any:
        """The one walk over raw text that `words` is, or None."""
        if self._normalizer is not None or self._added.tokens or self._pre_tokenizer is None:
            return None
        return self._pre_tokenizer.plan()

    def _apart_at_spaces(self) -> bool:
        """Are the words of a document those of its parts, cut before each space?"""
        steps = [step for step in (self._normalizer, self._pre_tokenizer) if step is not None]
        found_alone = not self._added.tokens and self._pre_tokenizer is not None
        return found_alone and all(step.apart_at_spaces for step in steps)

    # -- encoding

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
        from gputok import batching

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
        from gputok import batching

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
        from gputok import batching

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
        its ending: .npy, .bin, .arrow or .parquet (`gputok.token_files` says what each holds). A run that was broken
        off goes on where it was; the file has its name when it is whole. Nothing is truncated or padded.
        """
        from gputok import backend, bulk, corpus, token_files
        from gputok.progress import reporting

        total = corpus.total_bytes(source, column=column)
        backend.choose(device, 0)  # says at once what is wrong with it

        def batches(skip: int = 0) -> Iterator[TokenBatch]:
            read = partial(corpus.read, source, column=column, separator=separator, errors=errors)
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
        token_files.write(output, batches, bulk.id_type(self), bulk.fingerprint(self, source, options))
        return None

    def report(self, corpus: Any, **options: Any) -> Report:
        """Measures how this tokenizer suits a corpus, beside others if asked: see `gputok.report.report`."""
        from gputok.report import report

        return report(self, corpus, **options)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Step 4 for encodings that are there: truncation, the post-processor, padding."""
        from gputok import batching

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

    # -- decoding

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = True) -> str:
        """The text of ids (a list or an array); ids that do not exist are passed over."""
        texts = self._texts
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
        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    @property
    def _texts(self) -> dict[int, str | None]:
        """For decoding: id -> text, None where there is none. Made for the vocabulary as it is now."""
        return self._spellings[1]

    @property
    def spelling(self) -> Spelling:
        """For encoding: id -> text as `Encoding.tokens` shows it. Made for the vocabulary as it is now."""
        return self._spellings[0]

    @property
    def odd_tokens(self) -> list[int]:
        """The ids of added tokens whose text in `Encoding.tokens` is not always that of `spelling`."""
        spelling = self.spelling
        return [
            token_id
            for token_id, token in self._added.tokens.items()
            if token.lstrip or token.rstrip or self._added.pattern(token_id) != spelling[token_id]
        ]

    @property
    def _spellings(self) -> tuple[Spelling, dict[int, str | None]]:
        if self._spelling is None:
            model, added = self._model, self._added
            contents = {token_id: token.content for token_id, token in added.tokens.items()}
            decoded = {token_id: added.text(token_id) for token_id in added.tokens}

            def in_encodings(token_id: int) -> str | None:
                text = model.id_to_token(token_id)
                return contents.get(token_id) if text is None else text

            def when_decoded(token_id: int) -> str | None:
                text = decoded.get(token_id)
                return model.id_to_token(token_id) if text is None else text

            self._spelling = Spelling(in_encodings), _Texts(when_decoded)
        return self._spelling

    # -- the vocabulary

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        if not isinstance(token, str):
            raise TypeError(f"token: '{type(token).__name__}' object is not an instance of 'str'")
        found = self._added.ids.get(token)
        return self._model.token_to_id(token) if found is None else found

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or None; an added token as the normalizer would write it."""
        text = self._added.text(id)
        return self._model.id_to_token(id) if text is None else text

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        vocabulary = self._model.get_vocab()
        return vocabulary | self._added.ids if with_added_tokens else vocabulary

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """The number of tokens."""
        size = self._model.get_vocab_size()
        if with_added_tokens:
            size += sum(self._model.token_to_id(token) is None for token in self._added.ids)
        return size

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it; returns how many are new.

        >>> from gputok import models
        >>> tokenizer = Tokenizer(models.WordLevel({"a": 0}))
        >>> tokenizer.add_tokens(["b", AddedToken("c", lstrip=True), "b"])
        2
        """
        return self._add(
            AddedToken(token) if isinstance(token, str) else token for token in _token_list(tokens)
        )

    def add_special_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that `decode` leaves out, or makes known ones such; returns how many are new."""
        given = _token_list(tokens)
        for token in given:
            if isinstance(token, AddedToken):
                token.special = True
        return self._add(
            AddedToken(token, special=True) if isinstance(token, str) else token for token in given
        )

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        n_added = self._added.add(tokens, self._model, self._normalizer)
        self._spelling = None
        return n_added

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return {
            token_id: AddedToken(**token.to_dict()) for token_id, token in sorted(self._added.tokens.items())
        }

    @property
    def encode_special_tokens(self) -> bool:
        """Whether special tokens in the text are encoded as ordinary text."""
        return self._added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._added.encode_special_tokens = value

    # -- files

    @staticmethod
    def from_file(path: str) -> Tokenizer:
        """Reads a tokenizer.json."""
        with open(path, "rb") as file:
            return serialization.read_tokenizer(serialization.read_json(file.read(), str(path)), str(path))

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """From the contents of a tokenizer.json."""
        if not isinstance(json, str):
            raise TypeError(f"json: '{type(json).__name__}' object is not an instance of 'str'")
        return serialization.read_tokenizer(serialization.read_json(json, "this string"), "this string")

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """From the bytes of a tokenizer.json."""
        if not isinstance(buffer, bytes):
            raise TypeError(f"buffer: '{type(buffer).__name__}' object is not an instance of 'bytes'")
        return serialization.read_tokenizer(serialization.read_json(buffer, "this buffer"), "this buffer")

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
        return b"".join(serialization.tokenizer_json(self, pretty)).decode()

    def save(self, path: str, pretty: bool = True) -> None:
        """Writes a tokenizer.json, which is there whole or not at all."""
        from gputok.files import replacing

        with replacing(path) as beside, open(beside, "wb") as file:
            file.writelines(serialization.tokenizer_json(self, pretty))

    def __getstate__(self) -> bytes:
        return b"".join(serialization.tokenizer_json(self, pretty=False))

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(Tokenizer.from_buffer(state).__dict__)

    def __repr__(self) -> str:
        return serialization.shown(self, brief=False)

    def __str__(self) -> str:
        return serialization.shown(self, brief=True)


class _Texts(dict):
    """Like Spelling, but keeps apart what has no text."""

    def __init__(self, lookup: Any) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, token_id: int) -> str | None:
        if not 0 <= token_id < 1 << 32:
            raise OverflowError(f"an id is from 0 to 2**32 - 1, not {token_id}")
        text = self._lookup(token_id)
        if text is not None:
            self[token_id] = text
        return text


def _component(value: Any, kind: str) -> Any:
    if value is not None and (not isinstance(value, Component) or value.kind != kind):
        raise TypeError(f"{value!r} is no {kind} of gputok")
    return value


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


def _without_empty(pieces: Pieces) -> Pieces:
    empty = pieces.start == pieces.end
    if not np.count_nonzero(empty):
        return pieces
    rows = np.concatenate([[0], np.cumsum(~empty)])[pieces.rows]
    token = None if pieces.token is None else pieces.token[~empty]
    return pieces._replace(start=pieces.start[~empty], end=pieces.end[~empty], rows=rows, token=token)


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
