"""The tokenizer: normalize, pre-tokenize, model, post-process; and decode for the way back."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gputok import components
from gputok.encoding.encoding import Encoding
from gputok.pipeline import encode_batch, serialize
from gputok.pipeline.limits import Padding, Truncation
from gputok.pipeline.pipeline import Pipeline
from gputok.tokens.added_token import AddedToken
from gputok.types import public

if TYPE_CHECKING:
    from gputok.corpus.packing import Errors
    from gputok.decoders import Decoder
    from gputok.files.locations import StorageOptions
    from gputok.files.token_files import TokenBatch
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pipeline.arrow import CorpusEncoder, WordCounter
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.progress import Progress
    from gputok.report import Report
    from gputok.text.word_counts import WordCounts
    from gputok.trainers import Trainer


@public("gputok")
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

    It can be changed while other threads use it: a call takes all steps as they are at its start (`pipeline`), and a change
    puts others in their place at once.
    """

    _given: Pipeline
    """Of the components that were given, which can be changed in place: never used but to make `pipeline`."""
    _frozen: tuple[object, list[dict[str, Any]], Pipeline]
    """`pipeline` as it was last asked for: the version of all components then, their states, and what was made of them."""

    def __init__(self, model: Model) -> None:
        self._given = Pipeline(model)
        self._frozen = object(), [], self._given

    @staticmethod
    def of(pipeline: Pipeline) -> Tokenizer:
        """A tokenizer of these parts."""
        tokenizer = Tokenizer(pipeline.model)
        tokenizer._given = pipeline
        return tokenizer

    # -- steps

    @property
    def pipeline(self) -> Pipeline:
        """All steps as they are now; setting one, or a field of one, gives another pipeline and leaves this as it is."""
        version, _, pipeline = self._frozen
        return pipeline if version is components.version else self._pipeline_now()

    def _pipeline_now(self) -> Pipeline:
        _, known, pipeline = self._frozen
        with components.exchanging:
            version, states = components.version, [vars(self._given), *self._given.states()]
            if len(states) != len(known) or not all(map(operator.is_, states, known)):
                pipeline = self._given.frozen()
        self._frozen = version, states, pipeline
        return pipeline

    def _change(self, change: Callable[[Pipeline], Pipeline]) -> None:
        """Takes what `change` makes of the steps, which it is asked for again if another thread set one meanwhile."""
        while True:
            given = self._given
            if components.exchange((self, "_given", given, change(given))):
                return

    def _set(self, **parts: Any) -> None:
        self._change(lambda given: dataclasses.replace(given, **parts))

    @property
    def model(self) -> Model:
        """What makes tokens of words."""
        return self._given.model

    @model.setter
    def model(self, model: Model) -> None:
        self._set(model=model)

    @property
    def normalizer(self) -> Normalizer | None:
        """What changes the text before it is cut into words."""
        return self._given.normalizer

    @normalizer.setter
    def normalizer(self, normalizer: Normalizer | None) -> None:
        self._change(lambda given: given.with_normalizer(normalizer))

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """What cuts the text into words."""
        return self._given.pre_tokenizer

    @pre_tokenizer.setter
    def pre_tokenizer(self, pretok: PreTokenizer | None) -> None:
        self._set(pre_tokenizer=pretok)

    @property
    def post_processor(self) -> PostProcessor | None:
        """What adds special tokens."""
        return self._given.post_processor

    @post_processor.setter
    def post_processor(self, processor: PostProcessor | None) -> None:
        self._set(post_processor=processor)

    @property
    def decoder(self) -> Decoder | None:
        """What makes text of tokens again."""
        return self._given.decoder

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        self._set(decoder=decoder)

    # -- files

    @staticmethod
    def from_file(path: str, *, storage_options: StorageOptions = None) -> Tokenizer:
        """Reads a tokenizer.json; an error for a file of another format says what opens that.

        path: may be a URL, with `storage_options` of its file system (`gputok.files.locations`).
        """
        from gputok.files.locations import read_bytes

        data = read_bytes(path, storage_options)
        try:
            return Tokenizer.of(serialize.read_pipeline(data, str(path)))
        except ValueError:
            from gputok.files import file_kinds

            if kind := file_kinds.kind_of(data, str(path)):
                opened_by = file_kinds.OPENED_BY[kind]
                raise ValueError(f"{path}: is no tokenizer.json, but {opened_by}") from None
            raise

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """From the contents of a tokenizer.json."""
        if not isinstance(json, str):
            raise TypeError(f"json: '{type(json).__name__}' object is not an instance of 'str'")
        return Tokenizer.of(serialize.read_pipeline(json, "this string"))

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """From the bytes of a tokenizer.json."""
        if not isinstance(buffer, bytes):
            raise TypeError(f"buffer: '{type(buffer).__name__}' object is not an instance of 'bytes'")
        return Tokenizer.of(serialize.read_pipeline(buffer, "this buffer"))

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
        return b"".join(serialize.tokenizer_json(self.pipeline, pretty)).decode()

    def save(self, path: str, pretty: bool = True, *, storage_options: StorageOptions = None) -> None:
        """Writes a tokenizer.json, which is there whole or not at all; `path` may be a URL (`gputok.files.locations`)."""
        from gputok.files.locations import writing

        with writing(path, storage_options) as beside, open(beside, "wb") as file:
            file.writelines(serialize.tokenizer_json(self.pipeline, pretty))

    def to_transformers(self, **options: Any) -> Any:
        """A `transformers.PreTrainedTokenizerFast` with a copy of this tokenizer inside; needs `transformers`.

        options: those of that class, such as `pad_token="<pad>"` or `model_max_length=512`. gputok encodes what
        it is called with; what it saves opens anywhere.

        >>> from gputok import models, pre_tokenizers
        >>> words = Tokenizer(models.WordLevel({"<pad>": 0, "so": 1, "it": 2}, unk_token="<pad>"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> words.to_transformers(pad_token="<pad>")(["so it", "so"], padding=True)["input_ids"]
        [[1, 2], [1, 0]]
        """
        try:
            from transformers import PreTrainedTokenizerFast
        except ImportError:
            raise ImportError(
                "to_transformers needs transformers: pip install 'gputok[transformers]'"
            ) from None
        return PreTrainedTokenizerFast(tokenizer_object=self, **options)

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
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        storage_options: StorageOptions = None,
    ) -> None:
        """Trains the model on files: text, JSON Lines or Parquet, each also compressed, folders or globs.

        files: paths or URLs. A text file gives one document a line, its ending kept; `separator` cuts elsewhere.
        storage_options: of the file systems of URLs (`gputok.files.locations`).
        trainer: by default the model's own kind with its defaults.
        column: of JSON Lines and Parquet. errors: "strict" or "replace", for what is not UTF-8.
        threads: by default GPUTOK_NUM_THREADS, or all cores. device: "auto", "cpu", "cuda"
            or "cuda:N"; by default GPUTOK_DEVICE, or "auto" (see `gputok.backend.choose`).
        memory_limit, temporary: as in `count_words`.
        progress: None shows bars where somebody watches; see `gputok.progress`.

        Raises FileNotFoundError, or ValueError for a file that is broken or not UTF-8; the tokenizer is unchanged then.
        """
        trainer = self._trainer(trainer)
        progress = _asked_of(trainer, progress)
        options = {
            "column": column,
            "separator": separator,
            "errors": errors,
            "memory_limit": memory_limit,
            "temporary": temporary,
            "storage_options": storage_options,
        }
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
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
    ) -> None:
        """Trains the model on texts: strings, lists of strings, Arrow arrays or a `datasets.Dataset`.

        length: how many texts there are; nothing depends on it. The other arguments are those of `train`.
        """
        from gputok import corpus
        from gputok.files.temporary import MemoryLimit

        memory = MemoryLimit.of(memory_limit, temporary)
        trainer = self._trainer(trainer)
        progress = _asked_of(trainer, progress)
        read = partial(corpus.read_texts, iterator, column=column, errors=errors)
        total = (
            corpus.total_bytes(iterator, column=column) if not isinstance(iterator, list | tuple) else None
        )
        counts = self.pipeline.count_batches(read, total, threads, device, progress, memory)
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

        trainer = self._trainer(trainer)
        devices = backend.choose(device, word_counts.data.nbytes).devices
        with reporting(_asked_of(trainer, progress)) as report:
            learnt = trainer.train(word_counts, threads=threads, progress=report, devices=devices)
        while not self._learn(learnt, trainer.special_tokens):
            pass

    def _trainer(self, trainer: Trainer | None) -> Trainer:
        """The trainer, by default the model's own kind. TypeError: it isn't one, or it trains other models."""
        from gputok.trainers import Trainer

        model = self.model
        if trainer is None:
            return model.get_trainer()
        if not isinstance(trainer, Trainer):
            raise TypeError(
                f"{trainer!r} is no Trainer (a ParityBpeTrainer trains by its own train_from_iterator)"
            )
        if trainer.trains not in (kind.__name__ for kind in type(model).__mro__):
            raise TypeError(
                f"{type(trainer).__name__} can only train a {trainer.trains}, and this tokenizer's model is a "
                f"{type(model).__name__}"
            )
        return trainer

    def _learn(self, learnt: Any, special_tokens: list[AddedToken]) -> bool:
        """Changes model and added tokens together; False if another thread has changed one of them meanwhile."""
        given = self._given
        before = vars(given.model)
        model = components.view(given.model, before)
        learnt.into(model)
        added, _ = given.added.with_tokens(special_tokens, model, given.normalizer)
        return components.exchange(
            (given.model, "__dict__", before, vars(model)),
            (self, "_given", given, dataclasses.replace(given, added=added)),
        )

    def replace_model(self, model: Model, special_tokens: list[AddedToken]) -> None:
        """Sets a model and adds tokens whose ids are those that it gives them, both together."""
        self._change(lambda given: dataclasses.replace(given, model=model).with_added(special_tokens)[0])

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
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        storage_options: StorageOptions = None,
    ) -> WordCounts:
        """How often each word of a corpus occurs, by this tokenizer's steps 1 and 2.

        source: as in `train`, parts of files (`corpus.parts`), or any iterable of texts.
        memory_limit: what the tables of words and the text that is read may take, beside the program itself; bytes, or
            text like "4GB". Words beyond it go to temporary files, and so does the result, of which memory holds what
            is in use. The counts are the same.
        temporary: the folder of these files, which nobody sees and which are gone when the process ends, whatever ends
            it; by default that of the operating system. It should be on a disk.

        Raises OSError where that folder is full; ValueError for a limit that is no number of bytes, or below 32 MB.
        """
        from gputok import corpus
        from gputok.files.temporary import MemoryLimit

        memory = MemoryLimit.of(memory_limit, temporary)
        source = corpus.located(source, storage_options)
        options = {"column": column, "separator": separator, "errors": errors, "threads": threads}
        if memory is not None:
            options["ahead_bytes"] = memory.n_bytes // 8
        read = partial(corpus.read, source, **options)
        total = corpus.total_bytes(source, column=column)
        return self.pipeline.count_batches(read, total, threads, device, progress, memory)

    def word_counter(
        self,
        column: str | None = None,
        *,
        errors: Errors = "strict",
        threads: int = 1,
        device: str | None = "cpu",
        memory_limit: int | str | None = "1GB",
        temporary: str | os.PathLike[str] | None = None,
    ) -> WordCounter:
        """A function for Spark, Ray, Dask and other engines, which counts the words of Arrow batches.

        It can be pickled, takes an iterable of pyarrow.RecordBatch, and gives batches of `word` and `count`.

        column: that holds the text; by default "text", or the only column of strings.
        errors, device, memory_limit, temporary: as in `count_words`. threads: that each call counts with; engines
        mostly run a call for each core.

        >>> import pyarrow as pa
        >>> from gputok import WordCounts, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE())
        >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        >>> counter = tokenizer.word_counter()
        >>> words = counter([pa.record_batch({"text": ["so it", "so it goes"]})])
        >>> sorted(WordCounts.from_arrow(words, byte_level=counter.byte_level).items())
        [(b' goes', 1), (b' it', 2), (b'so', 2)]
        """
        from gputok.pipeline.arrow import word_counter

        return word_counter(self.pipeline, column, errors, threads, device, memory_limit, temporary)

    # -- text to ids

    def corpus_encoder(
        self,
        column: str | None = None,
        *,
        add_special_tokens: bool = True,
        errors: Errors = "strict",
        threads: int = 1,
        device: str | None = "cpu",
    ) -> CorpusEncoder:
        """A function for Spark, Ray, Dask and other engines, which encodes Arrow batches as `encode_corpus` does files.

        It can be pickled, takes an iterable of pyarrow.RecordBatch, and gives batches of `ids`, lists of uint16 or
        uint32, a row for each row. The arguments are those of `word_counter` and `encode_corpus`.

        >>> import pyarrow as pa
        >>> from gputok import models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer.corpus_encoder().of_table(pa.table({"text": ["so it", "goes"]})).to_pydict()
        {'ids': [[0, 1], [2]]}
        """
        from gputok.pipeline.arrow import corpus_encoder

        return corpus_encoder(self.pipeline, column, add_special_tokens, errors, threads, device)

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
        return encode_batch.encode(self.pipeline, [given], is_pretokenized, add_special_tokens, offsets=True)[
            0
        ]

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
            self.pipeline, inputs, is_pretokenized, add_special_tokens, offsets=True, threads=threads
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
            self.pipeline, inputs, is_pretokenized, add_special_tokens, offsets=False, threads=threads
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
        its ending: .npy, .bin, .arrow or .parquet (`gputok.files.token_files` says what each holds). A run that was broken
        off goes on where it was; the file has its name when it is whole. Nothing is truncated or padded.
        storage_options: of the file systems of URLs, of source and output (`gputok.files.locations`).
        """
        from gputok import backend, corpus
        from gputok.files import token_files
        from gputok.pipeline import encode_corpus
        from gputok.progress import reporting

        pipeline, source = self.pipeline, corpus.located(source, storage_options)
        total = corpus.total_bytes(source, column=column)
        backend.choose(device, 0)  # says at once what is wrong with it

        def batches(skip: int = 0) -> Iterator[TokenBatch]:
            given = {"column": column, "separator": separator, "errors": errors, "threads": threads}
            read = partial(corpus.read, source, **given)
            chosen, texts = backend.choose_for(read, total, device)
            with reporting(progress) as report:
                yield from encode_corpus.encode(
                    pipeline,
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
        fingerprint = encode_corpus.fingerprint(pipeline, source, options)
        token_files.write(output, batches, encode_corpus.id_type(pipeline), fingerprint, storage_options)
        return None

    def report(self, corpus: Any, **options: Any) -> Report:
        """Measures how this tokenizer suits a corpus, beside others if asked: see `gputok.report.report`."""
        from gputok.report import report

        return report(self, corpus, **options)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Step 4 for encodings that are there: truncation, the post-processor, padding."""
        return encode_batch.post_process(self.pipeline, encoding, pair, add_special_tokens)

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens the post-processor adds to one text, or to a pair."""
        return self.pipeline.num_special_tokens_to_add(is_pair)

    def enable_truncation(
        self, max_length: int, stride: int = 0, strategy: str = "longest_first", direction: str = "right"
    ) -> None:
        """Cuts what is longer than `max_length` tokens, special tokens included; the rest is in `Encoding.overflowing`.

        stride: how many tokens each overflowing part repeats of the one before.
        strategy: which of a pair is cut: "longest_first", "only_first" or "only_second".
        direction: the side that is cut off, "right" or "left".
        """
        truncation = Truncation(max_length, stride, strategy, direction)
        self._change(lambda given: given.with_truncation(truncation))

    def no_truncation(self) -> None:
        """Stops truncating."""
        self._set(truncation=None)

    @property
    def truncation(self) -> dict[str, Any] | None:
        """The options of `enable_truncation`, or None."""
        truncation = self._given.truncation
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
        self._set(padding=Padding(length, pad_to_multiple_of, pad_id, pad_token, pad_type_id, direction))

    def no_padding(self) -> None:
        """Stops padding."""
        self._set(padding=None)

    @property
    def padding(self) -> dict[str, Any] | None:
        """The options of `enable_padding`, or None."""
        padding = self._given.padding
        return None if padding is None else padding.options()

    # -- ids to text

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = True) -> str:
        """The text of ids (a list or an array); ids that do not exist are passed over."""
        pipeline = self.pipeline
        texts, decoder = pipeline.names.texts, pipeline.decoder
        special = pipeline.added.special if skip_special_tokens else ()
        tokens = [
            text for text in map(texts.__getitem__, _id_list(ids)) if text is not None and text not in special
        ]
        return " ".join(tokens) if decoder is None else "".join(decoder.decode_chain(tokens))

    def decode_batch(self, sequences: Iterable[Any], skip_special_tokens: bool = True) -> list[str]:
        """The texts of many lists or arrays of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    async def async_decode_batch(
        self, sequences: Iterable[Any], skip_special_tokens: bool = True
    ) -> list[str]:
        """`decode_batch` on another thread."""
        import asyncio

        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    # -- tokens

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self.pipeline.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or None; an added token as the normalizer would write it."""
        return self.pipeline.id_to_token(id)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        return self.pipeline.get_vocab(with_added_tokens)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """The number of tokens."""
        return self.pipeline.get_vocab_size(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return self._given.get_added_tokens_decoder()

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it; returns how many are new.

        >>> from gputok import models
        >>> tokenizer = Tokenizer(models.WordLevel({"a": 0}))
        >>> tokenizer.add_tokens(["b", AddedToken("c", lstrip=True), "b"])
        2
        """
        return self._add(
            [AddedToken(token) if isinstance(token, str) else token for token in _token_list(tokens)]
        )

    def add_special_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that `decode` leaves out, or makes known ones such; returns how many are new."""
        given = _token_list(tokens, special=True)
        return self._add(
            [AddedToken(token, special=True) if isinstance(token, str) else token for token in given]
        )

    def _add(self, tokens: list[AddedToken]) -> int:
        n_added = 0

        def add(given: Pipeline) -> Pipeline:
            nonlocal n_added
            changed, n_added = given.with_added(tokens)
            return changed

        self._change(add)
        return n_added

    @property
    def encode_special_tokens(self) -> bool:
        """Whether special tokens in the text are encoded as ordinary text."""
        return self._given.added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._change(
            lambda given: dataclasses.replace(given, added=given.added.encoding_special_tokens(value))
        )

    def __getstate__(self) -> bytes:
        return b"".join(serialize.tokenizer_json(self.pipeline, pretty=False))

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(Tokenizer.from_buffer(state).__dict__)

    def __repr__(self) -> str:
        return serialize.shown(self.pipeline, brief=False)

    def __str__(self) -> str:
        return serialize.shown(self.pipeline, brief=True)


def _asked_of(trainer: Trainer, progress: Progress) -> Progress:
    """A trainer's own options say what is shown where the call does not."""
    if progress is not None:
        return progress
    if not getattr(trainer, "show_progress", True) or getattr(trainer, "progress_format", "") == "silent":
        return False
    return "json" if getattr(trainer, "progress_format", "") == "json" else None


def _token_list(tokens: Any, *, special: bool = False) -> list[str | AddedToken]:
    if isinstance(tokens, list):
        tokens = [AddedToken.adopt(token, special=special) for token in tokens]
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
