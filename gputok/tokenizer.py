"""Tokenizer: normalizer, pre-tokenizer, model and post-processor turn text into ids, the decoder ids into text."""

from __future__ import annotations

import dataclasses
import operator
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, overload

import numpy as np

from gputok import components
from gputok.checks import SIZE, checked, integer, optional, switch, typed, warn
from gputok.encoding.encoding import Encoding
from gputok.files.arrow import needing
from gputok.files.locations import begins_with, read_bytes
from gputok.kernels.native import choose
from gputok.kernels.threads import thread_count
from gputok.lazy import in_thread, public
from gputok.pipeline import decode_ids, serialize
from gputok.pipeline.added_vocabulary import AddedVocabulary
from gputok.pipeline.pipeline import Pipeline
from gputok.text.pieces import TextBatch
from gputok.tokens.added_token import AddedToken, tokens_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import EllipsisType
    from typing import TypedDict, Unpack

    from transformers import PreTrainedTokenizerFast

    from gputok.audit import Audit
    from gputok.budgets import Counts, Part, SplitAt
    from gputok.corpus import Source
    from gputok.corpus.options import Errors
    from gputok.counts.word_counts import WordCounts
    from gputok.decoders import Decoder
    from gputok.explain import Explanation
    from gputok.files.locations import StorageOptions
    from gputok.incremental import Incremental
    from gputok.models import Model
    from gputok.models.bpe.super_trainer import SuperBpeTrainer
    from gputok.normalizers import Normalizer
    from gputok.pipeline.arrow import CorpusEncoder, WordCounter
    from gputok.pipeline.encode.devices import DeviceTokens
    from gputok.pipeline.encode.text import Texts, TokenArrays
    from gputok.pipeline.encode.write import WriteOptions
    from gputok.pipeline.run import CountOptions, DeviceOptions, Run, RunOptions
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.progress import Progress
    from gputok.report import Report, ReportOptions
    from gputok.report.figures import CompressionCurve
    from gputok.superwords import Superwords
    from gputok.token_files.token_files import TokenBatch, Written
    from gputok.tokens.vocabulary_change import VocabularyChange
    from gputok.trainers import Trainer
    from gputok.types import Device, Direction, Strategy

    # The options of the overloads of `encode_corpus`

    class _Around(TypedDict, total=False):
        eos: bool | str | None
        bos: bool | str | None
        add_special_tokens: bool

    class _BatchOptions(_Around, DeviceOptions, total=False): ...

    class _DeviceBatchOptions(_Around, RunOptions, total=False): ...

    class _FileOptions(_Around, WriteOptions, total=False): ...


Limits: TypeAlias = "Mapping[str, Any] | EllipsisType | None"
"""The options of padding or truncation for one call; None: neither pads nor cuts; `...`: as the tokenizer is set."""


_THREADS = integer(1, SIZE)


def _step(name: str, about: str) -> Any:
    """Makes a property for a step: it returns the object that the user set, which can be changed in place."""

    def step_of(self: Tokenizer) -> Any:
        return getattr(self._given, name)

    def change(self: Tokenizer, step: Any) -> None:
        self._change(lambda given: given.with_step(name, step))

    step_of.__doc__ = about
    return property(step_of, change)


@public("gputok")
class Tokenizer:
    """Turns text into tokens, and tokens into text, in steps that can be set one by one.

    1. The `normalizer` changes the text.
    2. The `pre_tokenizer` cuts the text into words.
    3. The `model` cuts each word into tokens.
    4. The `post_processor` adds special tokens.

    The `decoder` joins tokens to text again. Each step except the model may be None. Added tokens are found before the
    text is normalized or, if they are `normalized`, before it is pre-tokenized.

    A tokenizer can be changed while other threads use it: a call works with the steps that are set when it starts.

    Args:
        model: the model; `model.get_trainer()` is the trainer that `train` uses by default.

    Example:
        >>> from gputok import decoders, models, pre_tokenizers, trainers
        >>> tokenizer = Tokenizer(models.BPE())
        >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        >>> tokenizer.decoder = decoders.ByteLevel()
        >>> tokenizer.train_from_iterator(["low lower lowest"] * 9, trainers.BpeTrainer(vocab_size=14))
        >>> tokenizer.encode("lower low").tokens
        ['low', 'e', 'r', 'Ġlow']
        >>> tokenizer.decode(tokenizer.encode("lower low").ids)
        'lower low'
    """

    _given: Pipeline
    """The components that the user set. They can be changed in place, so calls never use them, only `pipeline`."""
    _frozen: tuple[object, list[Any], Pipeline, Pipeline]
    """What `pipeline` was made of: `components.versions[0]`, and [added tokens, states of the steps], and the results:
    the pipeline without padding and truncation, and `pipeline`."""

    _texts: tuple[object, Texts | None, int, Any] = object(), None, 0, None
    """`components.versions[0]`, what encodes texts until that changes, and two parts of it that machine code needs
    (`gputok.kernels.builtins`): its address and its function `finish`."""

    def __init__(self, model: Model) -> None:
        self._given = Pipeline(model, AddedVocabulary())
        self._frozen = object(), [], self._given, self._given

    def __setattr__(self, name: str, value: Any) -> None:
        # Programs set attributes of their own, such as `pad_id`. But a component must be one of the steps: another name
        # is a mistake
        is_step = isinstance(value, components.Component)
        if is_step and not hasattr(type(self), name) and not components.users_own(self):
            steps = [name for name, found in vars(Tokenizer).items() if isinstance(found, property) and found.fset]
            raise components.no_attribute(self, name, steps)
        super().__setattr__(name, value)

    @staticmethod
    def of(pipeline: Pipeline) -> Tokenizer:
        """Makes a tokenizer from a pipeline."""
        tokenizer = Tokenizer(pipeline.model)
        tokenizer._given = pipeline
        return tokenizer

    # -- steps

    @property
    def pipeline(self) -> Pipeline:
        """A frozen copy of all steps as they are now. Setting a step, or a field of one, makes another pipeline."""
        version, _, _, pipeline = self._frozen
        return pipeline if version is components.versions[0] else self._pipelines()[1]

    def _pipelines(self) -> tuple[Pipeline, Pipeline]:
        """Returns the pipeline without padding and truncation, which `_limited` needs, and `pipeline`."""
        version, known, plain, pipeline = self._frozen
        if version is not components.versions[0]:
            with components.exchanging:
                version, given = components.versions[0], self._given
                states = [given.added, *given.states()]
                if len(states) != len(known) or not all(map(operator.is_, states, known)):
                    plain = dataclasses.replace(given.frozen(), truncation=None, padding=None)
            pipeline = plain.limited(given.truncation, given.padding)
            self._frozen = version, states, plain, pipeline
        return plain, pipeline

    def _texts_now(self) -> Texts | None:
        """Returns what encodes texts now, and keeps it until a component changes."""
        from gputok.pipeline.encode.text import texts_of

        # Read before the pipeline: if a component changes in between, the texts are made again, but never out of date
        version = components.versions[0]
        texts = texts_of(self.pipeline)
        self._texts = version, texts, texts.address if texts else 0, texts.finish if texts else None
        return texts

    def _limited(self, padding: Limits, truncation: Limits) -> Pipeline:
        """Returns the pipeline for one call, with the padding and the truncation of that call."""
        if padding is ... and truncation is ...:
            return self.pipeline
        from gputok.pipeline.limits import Padding, Truncation

        plain, pipeline = self._pipelines()

        pad = pipeline.padding if padding is ... else _options("padding", Padding, padding)
        cut = pipeline.truncation if truncation is ... else _options("truncation", Truncation, truncation)
        if isinstance(truncation, Mapping) and cut is not None:
            plain.check_stride(cut)
        return plain.limited(cut, pad)

    def _change(self, change: Callable[[Pipeline], Pipeline]) -> None:
        """Sets the steps that `change` returns; calls it again if another thread has set a step meanwhile."""
        while True:
            given = self._given
            if components.exchange((self, "_given", given, change(given))):
                return

    def _set(self, **parts: Any) -> None:
        self._change(lambda given: dataclasses.replace(given, **parts))

    model: Model = _step("model", "The step that cuts words into tokens.")
    normalizer: Normalizer | None = _step("normalizer", "The step that changes the text first, or None.")
    pre_tokenizer: PreTokenizer | None = _step("pre_tokenizer", "The step that cuts the text into words, or None.")
    post_processor: PostProcessor | None = _step("post_processor", "The step that adds special tokens, or None.")
    decoder: Decoder | None = _step("decoder", "The step that joins tokens to text; None: spaces join them.")

    # -- files

    @staticmethod
    def from_file(path: str, *, storage_options: StorageOptions = None) -> Tokenizer:
        """Reads a tokenizer.json, or a compiled tokenizer (`save`).

        Args:
            path: the path or URL of the file.
            storage_options: options of the file system of a URL (`gputok.files.locations`).

        Returns:
            The tokenizer.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no tokenizer.json; the message names the wrong field or, for a file of another
                format, the function that opens it. Or a compiled tokenizer is damaged, or from another version; the
                message has the command that makes it anew.
        """
        if begins_with(path, serialize.COMPILED):
            from gputok.pipeline import compiled

            return Tokenizer.of(compiled.read(compiled.memory_of(path), str(path)))
        data = read_bytes(path, storage_options)
        try:
            return Tokenizer.of(_pipeline_of(data, str(path)))
        except ValueError:
            from gputok.files import tokenizer_kinds

            if kind := tokenizer_kinds.kind_of(data, str(path)):
                opened_by = tokenizer_kinds.OPENED_BY[kind]
                raise ValueError(f"{path}: is no tokenizer.json, but {opened_by}") from None
            raise

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """Reads the text of a tokenizer.json.

        Args:
            json: the text.

        Returns:
            The tokenizer.

        Raises:
            ValueError: the text is not that of a tokenizer.json; the message names the wrong field.
            TypeError: `json` is no string.

        Example:
            >>> from gputok import models
            >>> Tokenizer.from_str(Tokenizer(models.WordLevel({"so": 0})).to_str()).token_to_id("so")
            0
        """
        typed("json", str, json)
        return Tokenizer.of(serialize.read_pipeline(json, "this string"))

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """Reads the bytes of a tokenizer.json, as `from_str` reads its text, or of a compiled tokenizer.

        Args:
            buffer: the bytes.

        Returns:
            The tokenizer.

        Raises:
            ValueError: the bytes are not those of a tokenizer.json; the message names the wrong field.
            TypeError: `buffer` is not of type bytes.
        """
        typed("buffer", bytes, buffer)
        return Tokenizer.of(_pipeline_of(buffer, "this buffer"))

    @staticmethod
    def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
        """Downloads the tokenizer.json of a model on the Hugging Face Hub, and reads it.

        Args:
            identifier: the name of the model, such as "gpt2".
            revision: a branch, a tag or a commit.
            token: a token of the hub, for private models.

        Returns:
            The tokenizer.

        Raises:
            ImportError: `huggingface_hub` is not installed.
        """
        with needing("from_pretrained needs huggingface_hub: pip install 'gputok[hub]'"):
            from huggingface_hub import hf_hub_download
        return Tokenizer.from_file(hf_hub_download(identifier, "tokenizer.json", revision=revision, token=token))

    def to_str(self, pretty: bool = False) -> str:
        """Returns the text of a tokenizer.json, with the same bytes as `tokenizers` writes.

        Args:
            pretty: put each field on its own line.
        """
        _switches(pretty=pretty)
        return b"".join(serialize.tokenizer_json(self.pipeline, pretty)).decode()

    def save(self, path: str, pretty: bool = True, *, storage_options: StorageOptions = None) -> None:
        """Writes a tokenizer.json, or a compiled tokenizer. If writing fails, an old file of this name stays as it was.

        A compiled tokenizer holds the same as the tokenizer.json, and its tables, ready to use: a process opens it and
        encodes a first text in a fraction of the time. Only the same version of gputok opens it. Processes share its
        memory if the file belongs to the user or root, and nobody else may write it; else each process has a copy.

        Args:
            path: the path or URL to write to. A name that ends in .gputok is for a compiled tokenizer.
            pretty: put each field of the tokenizer.json on its own line.
            storage_options: options of the file system of a URL (`gputok.files.locations`).
        """
        from gputok.files.outputs import writing

        _switches(pretty=pretty)
        with writing(path, storage_options) as temporary, open(temporary, "wb") as file:
            if str(path).endswith(".gputok"):
                from gputok.pipeline import compiled

                file.write(compiled.packed(self.pipeline).data)
            else:
                file.writelines(serialize.tokenizer_json(self.pipeline, pretty))

    def to_transformers(self, **options: Any) -> PreTrainedTokenizerFast:
        """Returns a `transformers.PreTrainedTokenizerFast` that contains a copy of this tokenizer.

        If it is called with texts, gputok encodes them. The files that it saves can be opened without gputok.

        Args:
            options: arguments of that class, such as `pad_token="<pad>"` or `model_max_length=512`.

        Returns:
            The tokenizer of `transformers`.

        Raises:
            ImportError: `transformers` is not installed.

        Example:
            >>> from gputok import models, pre_tokenizers
            >>> words = Tokenizer(models.WordLevel({"<pad>": 0, "so": 1, "it": 2}, unk_token="<pad>"))
            >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> words.to_transformers(pad_token="<pad>")(["so it", "so"], padding=True)["input_ids"]
            [[1, 2], [1, 0]]
        """
        with needing("to_transformers needs transformers: pip install 'gputok[transformers]'"):
            from transformers import PreTrainedTokenizerFast
        return PreTrainedTokenizerFast(tokenizer_object=self, **options)

    # -- training

    def train(
        self,
        files: Sequence[str] | Mapping[str, Any],
        trainer: Trainer | None = None,
        *,
        min_count: int = 0,
        weights: Mapping[str, str | float] | None = None,
        temperature: str | float | None = None,
        resume: str | os.PathLike[str] | None = None,
        **options: Unpack[CountOptions],
    ) -> None:
        """Trains the model on files: text, JSON Lines or Parquet, each also compressed.

        Args:
            files: paths, folders, globs or URLs. Each line of a text file is a document, with its line ending. With
                weights or a temperature, name -> files of the source of this name.
            trainer: the trainer; None: `model.get_trainer()`.
            min_count: as for `train_from_word_counts`.
            weights: as for `count_words`.
            temperature: as for `count_words`.
            resume: as for `count_words`; superwords save the counts of all passes there.
            options: how files are read, and how the work is done (`gputok.pipeline.run.CountOptions`).

        Raises:
            FileNotFoundError: a name matches no file.
            ValueError: a file is broken or not UTF-8; the message names the file and the line. The tokenizer is
                unchanged.
            TypeError: the trainer trains another kind of model.
        """
        from gputok.corpus.rereading import is_one_shot
        from gputok.pipeline.run import CountOptions, Run

        trainer = self._trainer(trainer)
        run, reading = Run.asked(options, CountOptions)
        run = run._replace(progress=_asked_of(trainer, run.progress))
        if _is_of_superwords(trainer):
            if weights is not None or temperature is not None:
                raise ValueError("weights= and temperature=: superwords are learned from one corpus, without weights")
            source = _source(files, reading)
            keep = source.is_open or is_one_shot(source.content)
            self.superwords.learn(source, trainer, min_count, run, options, resume, keep=keep)
            return
        counts = self._counted(files, reading, run, resume, weights, temperature)
        self._learn_words(counts, trainer, min_count, run)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        trainer: Trainer | None = None,
        length: int | None = None,
        *,
        min_count: int = 0,
        **options: Unpack[CountOptions],
    ) -> None:
        """Trains the model on texts in memory, or from any generator.

        Memory holds a few batches of text and the distinct words, never the whole corpus.

        Args:
            iterator: an iterable of strings or of lists of strings, Arrow data, or a `datasets.Dataset`.
            trainer: the trainer; None: `model.get_trainer()`.
            length: the number of texts. Accepted as `tokenizers` does; the result does not depend on it.
            min_count: as for `train_from_word_counts`.
            options: as for `train`; `errors` also says what happens to lone surrogates in strings.

        Raises:
            TypeError: an item is no string; the message names its number. Or the trainer trains another kind of model.
            ValueError: a text is not Unicode, or the column does not exist. The tokenizer is unchanged.

        Example:
            >>> from gputok import models, trainers
            >>> tokenizer = Tokenizer(models.WordLevel(unk_token="?"))
            >>> tokenizer.train_from_iterator([["so", "it"], ["so"]], trainers.WordLevelTrainer(special_tokens=["?"]))
            >>> tokenizer.get_vocab()
            {'?': 0, 'so': 1, 'it': 2}
        """
        from gputok.corpus import Source
        from gputok.pipeline.run import CountOptions, Run

        checked("length", optional(integer(0, SIZE)), length)
        Run.asked(options, CountOptions)  # raises TypeError for the arguments that only `train` takes
        source: Any = Source(iterator, False)
        Tokenizer.train(self, source, trainer, min_count=min_count, **options)

    def train_from_word_counts(
        self,
        word_counts: WordCounts,
        trainer: Trainer | None = None,
        *,
        device: Device | None = None,
        threads: int | None = None,
        progress: Progress = None,
        min_count: int = 0,
        memory_limit: int | str | None = None,
    ) -> None:
        """Trains the model on words that `count_words` counted, also on other machines.

        Args:
            word_counts: the words and their counts; `WordCounts.merge` adds the counts of several shards.
            trainer: as for `train`.
            device: as for `train`.
            threads: as for `train`.
            progress: as for `train`.
            min_count: leave words out that occur less often; 0: none. An approximation, which saves memory: most
                distinct words of a large corpus occur once. For weighted counts, see `gputok.counts.weights`.
            memory_limit: the memory that training may take besides the words themselves, as for `count_words`. What BPE
                takes is estimated before it starts, and reported as the detail of the stage "merge".

        Raises:
            TypeError: the trainer trains another kind of model.
            MemoryError: training would take more than `memory_limit`; the message says which `min_count` would do.

        Example:
            >>> from gputok import models, trainers
            >>> tokenizer = Tokenizer(models.BPE())
            >>> counts = tokenizer.count_words(iter(["hug", "hug", "pug"]))
            >>> tokenizer.train_from_word_counts(counts, trainers.BpeTrainer(vocab_size=5))
            >>> tokenizer.encode("pug").tokens
            ['p', 'ug']
        """
        from gputok.counts.word_counts import WordCounts
        from gputok.pipeline.run import Run

        if not isinstance(word_counts, WordCounts):
            made_by = "Tokenizer.count_words, WordCounts.from_dict and WordCounts.load make one"
            raise TypeError(f"word_counts must be a gputok.WordCounts, not {type(word_counts).__name__}; {made_by}")
        trainer = self._trainer(trainer)
        run = Run.of(device, threads, _asked_of(trainer, progress), memory_limit)
        self._learn_words(word_counts, trainer, min_count, run)

    def _learn_words(self, word_counts: WordCounts, trainer: Trainer, min_count: int, run: Run) -> None:
        """Trains on counted words, and sets the model and the added tokens."""
        from gputok.progress import reporting

        word_counts = word_counts.at_least(checked("min_count", integer(0, SIZE), min_count))
        needed = None
        if run.memory is not None:
            room = run.memory.beside(*word_counts.columns()[:3])
            needed = trainer.check_memory(word_counts, room, thread_count(run.threads))
        devices = run.devices
        if devices and (reason := trainer.why_not_on_device()):
            warn(f"the CPU does the work of training: {reason}")
        with reporting(run.progress) as report:
            if needed is not None:
                report(f"merge: about {needed / 1e6:,.0f} MB", 0, None)
            learnt = trainer.train(word_counts, threads=run.threads, progress=report, devices=devices)
        self.learn(learnt, trainer.special_tokens)

    def _trainer(self, trainer: Trainer | None) -> Trainer:
        """Returns the trainer or the model's default; raises TypeError if it can't train this kind of model."""
        from gputok.trainers import Trainer

        model = self.model
        if trainer is None:
            return model.get_trainer()
        if not isinstance(trainer, Trainer):
            parity = "(a ParityBpeTrainer trains by its own train_from_iterator)"
            raise TypeError(f"expected a Trainer, got {trainer!r} {parity}")
        if trainer.trains not in (kind.__name__ for kind in type(model).__mro__):
            only = f"{type(trainer).__name__} can only train a {trainer.trains}"
            raise TypeError(f"{only}, and this tokenizer's model is a {type(model).__name__}")
        return trainer

    @property
    def superwords(self) -> Superwords:
        """The object that learns superwords, tokens that span words, from shards of a corpus on many machines."""
        from gputok.superwords import Superwords

        return Superwords(self)

    def learn(self, learnt: Any, special_tokens: Iterable[str | AddedToken], **parts: Any) -> None:
        """Sets what `Trainer.train` returned, special tokens and other parts, at once for other threads."""
        added_tokens = [token.copied() for token in special_tokens if isinstance(token, AddedToken)]
        while True:
            given = self._given
            before = vars(given.model)
            model = components.view(given.model, before)
            learnt.into(model)
            added, _ = given.added.with_tokens(added_tokens, model, given.normalizer)
            if components.exchange(
                (given.model, "__dict__", before, vars(model)),
                (self, "_given", given, dataclasses.replace(given, added=added, **parts)),
            ):
                return

    def replace_model(self, model: Model, special_tokens: list[AddedToken]) -> None:
        """Sets a model and adds special tokens, at once for other threads; tokens of the model keep their ids."""
        added = [token.copied() for token in special_tokens]
        self._change(lambda given: dataclasses.replace(given, model=model).with_added(added)[0])

    def count_words(
        self,
        source: Any,
        *,
        resume: str | os.PathLike[str] | None = None,
        weights: Mapping[str, str | float] | None = None,
        temperature: str | float | None = None,
        **options: Unpack[CountOptions],
    ) -> WordCounts:
        """Counts the words of a corpus: what the normalizer and the pre-tokenizer make of it.

        Training needs nothing else, so that a corpus can be counted in parts, in any order, on many machines.

        Args:
            source: files as for `train`, parts of files (`gputok.corpus.parts`), or an iterable of texts.
            resume: a work folder, new or of an earlier run that was broken off. The counts of each part of the corpus
                are saved there, and a part whose counts are there is not counted again. The folder is not deleted. You
                can delete it once you have used the result.
            weights: name of a source -> how often each of its words counts, as a decimal ("2.5"); once in the sources
                without one. `source` is then a mapping of names to sources. The weights become whole numbers
                (`gputok.counts.weights`), and the counts are exact.
            temperature: instead of weights, from 0 to 1: a source with the share p of the text counts as the share
                p ** temperature, as `WordCounts.merge` says.
            options: as for `train`.

        Returns:
            The distinct words and their counts, in the order of their first occurrence; with a `memory_limit`, in an
            order that depends on the words alone.

        Raises:
            FileNotFoundError: a name matches no file.
            ValueError: a file is broken or not UTF-8; the message names the file and the line. Or `memory_limit` is not
                a number of bytes, or too small for what is read (32 MB at least); or the work folder is of another
                corpus, tokenizer or options, or holds something else.
            OSError: the folder for temporary files is full.
            TypeError: an item is no string.

        Example:
            >>> from gputok import models, pre_tokenizers
            >>> tokenizer = Tokenizer(models.BPE())
            >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> dict(tokenizer.count_words(iter(["so it goes", "so so"])).items())
            {b'so': 3, b'it': 1, b'goes': 1}
            >>> sources = {"prose": iter(["so it goes"]), "code": iter(["if so"])}
            >>> dict(sorted(tokenizer.count_words(sources, weights={"code": "2.5"}).items()))
            {b'goes': 2, b'if': 5, b'it': 2, b'so': 7}
        """
        from gputok.pipeline.run import CountOptions, Run

        run, reading = Run.asked(options, CountOptions)
        return self._counted(source, reading, run, resume, weights, temperature)

    def _counted(
        self, source: Any, reading: dict[str, Any], run: Run, resume: Any, weights: Any, temperature: Any
    ) -> WordCounts:
        """Counts the words of a corpus; reading: the arguments of `Source.of`."""
        from gputok.pipeline.count.words import count_corpus

        if weights is not None or temperature is not None:
            from gputok.counts.word_counts import of_sources

            if resume is not None:
                raise ValueError("resume counts one source: count each into its own folder, then merge with weights")

            def count(one: Any) -> WordCounts:
                return count_corpus(self.pipeline, _source(one, reading), run)

            return of_sources(count, source, weights, temperature, **run.limits)
        found = _source(source, reading)
        if resume is not None:
            from gputok.pipeline.count.resume import count_words

            return count_words(self.pipeline, found, resume, run)
        return count_corpus(self.pipeline, found, run)

    def count_without_added(
        self, texts: Iterable[Any], device: Device | None, threads: int | None, progress: Progress
    ) -> WordCounts:
        """Counts the words of texts in memory, as `count_words` does, without looking for added tokens."""
        from gputok.corpus import Source
        from gputok.pipeline.count.words import count_corpus
        from gputok.pipeline.run import Run

        run = Run(device, threads, progress)
        return count_corpus(self.pipeline.without_added(), Source(texts, False), run)

    # -- more tokens, or fewer

    def extend(
        self, source: Any, n_tokens: int, *, min_frequency: int = 0, **options: Unpack[CountOptions]
    ) -> VocabularyChange:
        """Adds tokens that suit a corpus, by BPE that goes on where the training of the model ended.

        All tokens keep their ids, and all merges their ranks. New merges come after them (`gputok.models.bpe.extend`),
        so every new token is reachable, text without new tokens keeps its ids, and each boundary between tokens is one
        that the tokenizer made before. Added tokens are also written into the vocabulary of the model: else they would
        get other ids when the file is loaded, also by `tokenizers`. A model that falls back to bytes also gets the
        characters that it lacks, if they are frequent enough.

        Args:
            source: files as for `train`, an iterable of texts, or `WordCounts` of this tokenizer's `count_words`.
            n_tokens: how many tokens to add; a warning says if fewer were added.
            min_frequency: pairs and characters that occur less often do not become tokens. For weighted counts, see
                `gputok.counts.weights`.
            options: as for `train`; a device counts the words.

        Returns:
            What has changed, for resizing the embeddings of a model.

        Raises:
            ValueError: the model is not BPE, a file is broken or not UTF-8, or `n_tokens` is negative. The tokenizer is
                unchanged.
            FileNotFoundError: a name matches no file.

        Example:
            >>> from gputok import models, pre_tokenizers, trainers
            >>> tokenizer = Tokenizer(models.BPE())
            >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            >>> tokenizer.train_from_iterator(["low lower lowest"] * 9, trainers.BpeTrainer(vocab_size=14))
            >>> tokenizer.encode("lower slower").tokens
            ['low', 'e', 'r', 'Ġ', 's', 'low', 'e', 'r']
            >>> change = tokenizer.extend(iter(["lower slower"]), 2)
            >>> change.new_tokens, tokenizer.encode("lower slower").tokens
            (['er', 'lower'], ['lower', 'Ġ', 's', 'lower'])
        """
        return self._resize("extend", source, n_tokens, min_frequency, options)

    def prune(self, n_tokens: int, source: Any, **options: Unpack[CountOptions]) -> VocabularyChange:
        """Takes the tokens away that a corpus misses least, by leaf pruning (`gputok.models.bpe.prune`).

        The tokens that stay can all be reached, and text without tokens that have gone keeps its tokens. Special
        tokens, bytes, and, unless the model falls back to bytes, single characters stay. Ids are renumbered without
        gaps, in the old order, in the model, the added tokens, the post-processor and the padding.

        Args:
            n_tokens: how many tokens are left, special ones included.
            source: as for `extend`.
            options: as for `train`; a device counts the words.

        Returns:
            What has changed, for resizing the embeddings of a model.

        Raises:
            ValueError: the model is not BPE, `n_tokens` tokens can't be left, a step uses an id that no token has, or
                a file is broken. The tokenizer is unchanged.
            FileNotFoundError: a name matches no file.

        Example:
            >>> from gputok import models
            >>> vocab = {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
            >>> tokenizer = Tokenizer(models.BPE(vocab, [("a", "b"), ("b", "a"), ("ab", "a")]))
            >>> change = tokenizer.prune(4, iter(["aba aba"]))
            >>> change.old_to_new.tolist(), tokenizer.get_vocab()
            ([0, 1, 2, -1, 3], {'a': 0, 'b': 1, 'ab': 2, 'aba': 3})
        """
        return self._resize("prune", source, n_tokens, options)

    def truncate(self, vocab_size: int) -> VocabularyChange:
        """Cuts the vocabulary to the size that a training could have had: the last merges and their tokens go.

        The result is the tokenizer that a training with this `vocab_size` gives from the same words. For a tokenizer
        that was trained on other text than yours, `prune` costs far fewer tokens. Ids are renumbered as by `prune`.

        Args:
            vocab_size: how many tokens are left, special ones included.

        Returns:
            What has changed, for resizing the embeddings of a model.

        Raises:
            ValueError: the model is not BPE, `vocab_size` tokens can't be left, or a step uses an id that no token has.

        Example:
            >>> from gputok import models
            >>> vocab = {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
            >>> tokenizer = Tokenizer(models.BPE(vocab, [("a", "b"), ("b", "a"), ("ab", "a")]))
            >>> tokenizer.truncate(3)
            <VocabularyChange: 3 tokens kept, 0 new, 2 gone>
            >>> tokenizer.encode("abba").tokens
            ['ab', 'b', 'a']
        """
        return self._resize("truncate", vocab_size)

    def _resize(self, operation: str, *arguments: Any) -> VocabularyChange:
        """Sets what a function of `resize` returns. Raises RuntimeError if another thread sets a part meanwhile."""
        from gputok.pipeline import resize

        given = self._given
        new, change = getattr(resize, operation)(self.pipeline, *arguments)
        names = ("model", "post_processor", "added", "padding")
        changed = dataclasses.replace(given, **{name: getattr(new, name) for name in names})
        if not components.exchange((self, "_given", given, changed)):
            raise RuntimeError("another thread has changed the tokenizer meanwhile; it keeps its vocabulary")
        return change

    def word_counter(
        self,
        column: str | None = None,
        *,
        errors: Errors = "strict",
        threads: int = 1,
        device: Device | None = "cpu",
        memory_limit: int | str | None = "1GB",
        temporary: str | os.PathLike[str] | None = None,
    ) -> WordCounter:
        """Makes a function for Spark, Ray, Dask and other engines, which counts the words of Arrow batches.

        The function can be pickled, takes an iterable of pyarrow.RecordBatch, and gives batches of `word` and `count`.

        Args:
            column: the column of text; None: "text", or the only column of strings.
            errors: as for `train`.
            threads: how many threads each call counts with; engines mostly run a call for each core.
            device: as for `train`.
            memory_limit: of each call, as for `count_words`.
            temporary: as for `count_words`.

        Returns:
            The function; its `byte_level` is to be given to `WordCounts.load` and `WordCounts.from_arrow`.

        Example:
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
        eos: bool | str | None = None,
        bos: bool | str | None = None,
        add_special_tokens: bool = True,
        errors: Errors = "strict",
        threads: int = 1,
        device: Device | None = "cpu",
    ) -> CorpusEncoder:
        """Makes a function for Spark, Ray, Dask and other engines, which encodes Arrow batches.

        The function can be pickled, takes an iterable of pyarrow.RecordBatch, and gives batches of `ids`, lists of
        uint16 or uint32, a row for each row, as `encode_corpus` encodes files.

        Args:
            column: the column of text; None: "text", or the only column of strings.
            eos: a token to put at the end of each row, as for `encode_corpus`.
            bos: a token to put before each row.
            add_special_tokens: lets the post-processor add its tokens.
            errors: as for `train`.
            threads: how many threads each call encodes with; engines mostly run a call for each core.
            device: as for `train`.

        Returns:
            The function.

        Example:
            >>> import pyarrow as pa
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> tokenizer.corpus_encoder().of_table(pa.table({"text": ["aab", "b"]})).to_pydict()
            {'ids': [[0, 2], [1]]}
        """
        from gputok.pipeline.arrow import corpus_encoder

        _switches(add_special_tokens=add_special_tokens)
        return corpus_encoder(self.pipeline, bos, eos, column, add_special_tokens, errors, threads, device)

    def encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        padding: Limits = ...,
        truncation: Limits = ...,
    ) -> Encoding:
        """Encodes one text, or a pair of texts.

        Args:
            sequence: the text or, if `is_pretokenized`, a list of words.
            pair: the second text of a pair, such as the context of a question; None: no pair.
            is_pretokenized: texts are lists of words; each word is encoded alone, without the pre-tokenizer's cuts
                between words.
            add_special_tokens: let the post-processor add its tokens.
            padding: for this call, a dictionary of arguments of `enable_padding`, or None: no padding. By default, as
                the tokenizer is set.
            truncation: in the same way, arguments of `enable_truncation`.

        Returns:
            The encoding: ids, tokens, offsets in characters of the original text, and more.

        Raises:
            TypeError: a text is no string, or no list of strings if `is_pretokenized`.
            ValueError: `padding` or `truncation` has a wrong value.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> tokenizer.encode("aab").ids, tokenizer.encode("ab", "b").type_ids
            ([0, 2], [0, 1])
            >>> tokenizer.encode("aab", truncation={"max_length": 1}).ids
            [0]
        """
        _switches(is_pretokenized=is_pretokenized, add_special_tokens=add_special_tokens)
        is_text = pair is None and not is_pretokenized and type(sequence) is str
        if padding is ... and truncation is ... and is_text:
            version, texts, address, _ = self._texts
            if version is not components.versions[0] or (texts is not None and texts.address != address):
                texts = self._texts_now()
        elif is_text:
            from gputok.pipeline.encode.text import texts_of

            texts = texts_of(self._limited(padding, truncation))
        else:
            texts = None
        if texts is not None and type(sequence) is str:
            found = texts.encode(sequence, add_special_tokens)
            if found is not None:
                return found
        from gputok.pipeline.encode.stepwise import check_sequence
        from gputok.pipeline.encode.text import encode_inputs

        given = [sequence] if pair is None else [sequence, pair]
        given = tuple(check_sequence(one, is_pretokenized) for one in given)
        return encode_inputs(self._limited(padding, truncation), [given], is_pretokenized, add_special_tokens)[0]

    def encode_batch(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
        padding: Limits = ...,
        truncation: Limits = ...,
    ) -> list[Encoding]:
        """Encodes many texts, or pairs of texts, on many threads.

        Args:
            input: texts, or (text, text) tuples; if `is_pretokenized`, lists of words instead of texts.
            is_pretokenized: as for `encode`.
            add_special_tokens: as for `encode`.
            threads: how many threads; None: GPUTOK_NUM_THREADS, or all cores.
            padding: as for `encode`.
            truncation: as for `encode`.

        Returns:
            An encoding for each input, in order. If padding is enabled, all have the same length.

        Raises:
            TypeError: an input is no text and no pair; the message names its number.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1}))
            >>> [encoding.ids for encoding in tokenizer.encode_batch(["it", ("so", "it")])]
            [[1], [0, 1]]
        """
        from gputok.pipeline.encode.text import encode_batch

        _switches(threads, is_pretokenized=is_pretokenized, add_special_tokens=add_special_tokens)
        return encode_batch(self._limited(padding, truncation), input, is_pretokenized, add_special_tokens, threads)

    def encode_batch_fast(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
        padding: Limits = ...,
        truncation: Limits = ...,
    ) -> list[Encoding]:
        """Encodes like `encode_batch`, without offsets, words and texts of tokens: these are (0, 0), None and ''.

        Arguments, result and errors are those of `encode_batch`.
        """
        from gputok.pipeline.encode.text import encode_batch

        _switches(threads, is_pretokenized=is_pretokenized, add_special_tokens=add_special_tokens)
        pipeline = self._limited(padding, truncation)
        return encode_batch(pipeline, input, is_pretokenized, add_special_tokens, threads, bare=True)

    def encode_to_numpy(
        self,
        input: Sequence[Any],
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        threads: int | None = None,
        padding: Limits = ...,
        truncation: Limits = ...,
    ) -> TokenArrays:
        """Encodes like `encode_batch`, with the same arguments, into arrays, without a Python object for each token.

        Returns:
            `ids`, `type_ids` and `attention_mask`: uint32[n_tokens] or, with padding, uint32[n_texts, length];
            and `rows`, int64[n_texts + 1]: text i has ids[rows[i]:rows[i + 1]] or, with padding, ids[i].

        Raises:
            TypeError: an input is no text and no pair.
            ValueError: a text has more tokens than the length that padding asks for.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> flat = tokenizer.encode_to_numpy(["aab", "b"])
            >>> flat.ids.tolist(), flat.rows.tolist()
            ([0, 2, 1], [0, 2, 3])
            >>> tokenizer.encode_to_numpy(["aab", "b"], padding={"pad_id": 9}).ids.tolist()
            [[0, 2], [1, 9]]
        """
        from gputok.pipeline.encode.text import encode_arrays

        _switches(threads, is_pretokenized=is_pretokenized, add_special_tokens=add_special_tokens)
        both = self._limited(padding, truncation), self._limited(None, truncation)
        return encode_arrays(*both, input, is_pretokenized, add_special_tokens, threads)

    def incremental(self, add_special_tokens: bool = False) -> Incremental:
        """Makes a text that grows, and keeps its ids: `append` costs what the new text costs, however long the text is.

        Args:
            add_special_tokens: let the post-processor add its tokens.

        Returns:
            An empty text. It works with the steps that are set now.

        Raises:
            ValueError: the model draws random tokens, or the post-processor's template has not the text exactly once.

        Example:
            >>> from gputok import models, pre_tokenizers
            >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
            >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> chat = tokenizer.incremental()
            >>> chat.append("so it"), chat.append(" goes"), chat.ids.tolist()
            (0, 2, [0, 1, 2])
        """
        from gputok.incremental import Incremental

        _switches(add_special_tokens=add_special_tokens)
        return Incremental(self.pipeline, add_special_tokens)

    @overload
    def count(self, text: str) -> int: ...
    @overload
    def count(self, text: Sequence[str]) -> list[int]: ...
    def count(self, text: str | Sequence[str]) -> int | list[int]:
        """Returns the number of tokens of a text, or of each text of a list, without special tokens and truncation.

        Example:
            >>> from gputok import models
            >>> Tokenizer(models.BPE({"a": 0}, [])).count(["aa", ""])
            [2, 0]
        """
        from gputok.budgets import count

        return count(self.pipeline, [text])[0] if isinstance(text, str) else count(self.pipeline, [*text])

    def counts(self, text: str) -> Counts:
        """Prepares a text, so that `counts(text).between(i, j)` gives the number of tokens of any part in microseconds.

        Args:
            text: the text, which is encoded once.

        Returns:
            The counts, exact for each part.
        """
        from gputok.budgets import Counts

        return Counts(self.pipeline, text)

    @overload
    def split(self, text: str, max_tokens: int, overlap: int = 0, at: SplitAt = None) -> list[Part]: ...
    @overload
    def split(self, text: Sequence[str], max_tokens: int, overlap: int = 0, at: SplitAt = None) -> list[list[Part]]: ...
    def split(
        self, text: str | Sequence[str], max_tokens: int, overlap: int = 0, at: SplitAt = None
    ) -> list[Part] | list[list[Part]]:
        r"""Splits a text into parts of at most `max_tokens` tokens, counted exactly, without special tokens.

        The parts lie side by side, or overlap, and leave nothing out. They end between words; a word longer than a part
        is cut between characters.

        Args:
            text: the text, or a list of texts.
            max_tokens: the most tokens of a part.
            overlap: the most tokens that a part shares with the end of the part before: as many words as fit.
            at: texts to split after, the best one first, such as `["\n\n", "\n", ". "]`: a part ends after the last one
                that is in it.

        Returns:
            The start, stop and n_tokens of each part, in characters; of a list, those of each text.

        Raises:
            ValueError: a single character has more tokens than a part may have, or an argument has a wrong value.

        Example:
            >>> from gputok import models, pre_tokenizers
            >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
            >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> text = "so it goes so it"
            >>> [text[part.start : part.stop] for part in tokenizer.split(text, 3, overlap=1)]
            ['so it goes', ' goes so it']
        """
        from gputok.budgets import split

        if isinstance(text, str):
            return split(self.pipeline, text, max_tokens, overlap, at)
        return [split(self.pipeline, one, max_tokens, overlap, at) for one in text]

    def encode_on_device(
        self, texts: Iterable[str], *, device: Device = "cuda", add_special_tokens: bool = True
    ) -> DeviceTokens:
        """Encodes texts, and leaves the ids in the memory of a GPU.

        Texts are neither truncated nor padded. What the GPU can't encode is encoded by the CPU and copied, with a
        warning. So is a short batch (about 60 kB of English), which the CPU encodes sooner; `encoded_by` says so. The
        tables of the tokenizer stay on the GPU as long as it lives, and no call waits for other work on the GPU.

        Args:
            texts: strings, of 1 GiB together at most.
            device: "cuda" (the first GPU) or "cuda:N".
            add_special_tokens: adds the special tokens of the post-processor.

        Returns:
            `ids`, int32[n_ids], and `rows`, int32[n_texts + 1]: text i has ids[rows[i]:rows[i + 1]]. Both have
            `__dlpack__`, so `torch.from_dlpack(ids)` copies nothing. `encoded_by` is "cuda" or "cpu".

        Raises:
            RuntimeError: there is no such device.
            ValueError: `device` names no GPU.

        Example:
            >>> from gputok import models
            >>> Tokenizer(models.BPE()).encode_on_device(["a text"], device="cpu")
            Traceback (most recent call last):
              ...
            ValueError: ids stay on "cuda" or "cuda:N", not on device='cpu'
        """
        from gputok.pipeline.encode import devices

        _switches(add_special_tokens=add_special_tokens)
        batches, card = [TextBatch.from_strings(texts)], devices.card(device)
        (found,) = devices.encode(self.pipeline, batches, card, add_special_tokens=add_special_tokens)
        return found

    def tokenize(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        *,
        padding: Limits = ...,
        truncation: Limits = ...,
    ) -> list[str]:
        """Encodes one text or a pair of texts, and returns the text of each token, as `tokenizers` 1.0 does.

        Arguments and errors are those of `encode`.

        Returns:
            The tokens: `decode_tokens` of the ids.

        Example:
            >>> from gputok import models
            >>> Tokenizer(models.WordLevel({"so": 0, "?": 1}, unk_token="?")).tokenize("so", "it")
            ['so', '?']
        """
        limits = {"padding": padding, "truncation": truncation}
        return self.decode_tokens(self.encode(sequence, pair, is_pretokenized, add_special_tokens, **limits))

    async_encode = in_thread(encode, "Offsets are in characters; those of `async_encode` of `tokenizers` are in bytes.")
    async_encode_batch = in_thread(encode_batch)
    async_encode_batch_fast = in_thread(encode_batch_fast)

    @overload
    def encode_corpus(
        self, source: Any, output: None = None, **options: Unpack[_BatchOptions]
    ) -> Iterator[TokenBatch]: ...
    @overload
    def encode_corpus(
        self, source: Any, output: Literal["cuda", "cuda:0", "cuda:1"], **options: Unpack[_DeviceBatchOptions]
    ) -> Iterator[DeviceTokens]: ...
    @overload
    def encode_corpus(
        self, source: Any, output: str | os.PathLike[str], **options: Unpack[_FileOptions]
    ) -> Written: ...
    def encode_corpus(
        self,
        source: Any,
        output: str | os.PathLike[str] | None = None,
        *,
        eos: bool | str | None = None,
        bos: bool | str | None = None,
        add_special_tokens: bool = True,
        **options: Any,
    ) -> Iterator[TokenBatch] | Iterator[DeviceTokens] | Written:
        """Encodes a corpus of any size into arrays of ids, without a Python object for each token.

        Texts are neither truncated nor padded. An interrupted run that writes a file resumes where it stopped, if
        source and tokenizer are the same. The file gets its name when it is complete.

        Args:
            source: files as for `train`, or an iterable of texts.
            output: the path or URL to write to; None: yield batches; "cuda" or "cuda:N": batches that stay on that GPU.
            eos: a token to put at the end of each document; True: the tokenizer's own. Where a format wants the end
                token before a document ("llmc"), it stands there; where a format wants none for an empty document
                ("megatron"), that has none. If the post-processor adds the same token there, there is only one.
            bos: a token to put before each document; True: the tokenizer's own.
            add_special_tokens: let the post-processor add its tokens.
            options: how files are read, how the work is done, and what is written: `format`, `shard_tokens`, `shuffle`,
                `dtype` and `sequence_length` (`gputok.pipeline.encode.write.WriteOptions`).

        Returns:
            Without `output`, an iterator of a `TokenBatch` for 1 to 16 megabytes of text (64 on a GPU): `ids`,
            uint16[n_ids] (uint32 if the vocabulary has more than 65,536 ids), and `rows`, int64[n_documents + 1].
            With a GPU as `output`, an iterator of what `encode_on_device` returns, for each 64 MB of text.
            With a path, how many documents, ids, unknown ids and bytes there were
            (`gputok.token_files.token_files.Written`). `gputok.open_tokens(output)` reads the documents.

        Raises:
            FileNotFoundError: a name matches no file.
            ValueError: a file is broken or not UTF-8; the ending of `output` is of no format, or a format does not
                exist, or can't store these ids; the tokenizer has no such token.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> (batch,) = tokenizer.encode_corpus(iter(["aab", "b"]))
            >>> batch.ids.tolist(), batch.rows.tolist()
            ([0, 2, 1], [0, 2, 3])
        """
        from gputok.pipeline.encode import write
        from gputok.pipeline.run import Run

        _switches(add_special_tokens=add_special_tokens)
        files = {name: options.pop(name, None) for name in write.FileOptions.__annotations__}
        run, reading = Run.asked(options, write.WriteOptions)
        return write.encode(self.pipeline, _source(source, reading), run, add_special_tokens, output, bos, eos, files)

    def explain(self, text: str, add_special_tokens: bool = True) -> Explanation:
        """Explains how a text becomes tokens, step by step. It is slow, and compares its ids with those of `encode`.

        It tells the added tokens, the normalized text, the words with the part of the pattern that cut them, and what
        the model did in each: BPE's merges with their ranks, and what was not merged and why; WordPiece's longest
        matches; Unigram's best path with its scores.

        Args:
            text: the text.
            add_special_tokens: let the post-processor add its tokens.

        Returns:
            The explanation: `print` shows it, a notebook shows it as a table, `to_dict()` has it as JSON values.

        Raises:
            TypeError: the text is no string.
            ValueError: the model draws tokens at random (BPE's dropout, Unigram's alpha).

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"l": 0, "o": 1, "w": 2, "lo": 3, "ow": 4}, [("l", "o"), ("o", "w")]))
            >>> print(tokenizer.explain("low"))
            text  'low'
            <BLANKLINE>
            0  low  characters 0:3
                rank 0  l + o → lo  lo│w
                tokens  lo 3, w 2
                not merged: o + w (rank 1): l + o (rank 0) has a lower rank
                not merged: no such merge: lo + w
            <BLANKLINE>
            ids   3 2
        """
        from gputok.explain import explain

        _switches(add_special_tokens=add_special_tokens)
        return explain(self.pipeline, text, add_special_tokens)

    def audit(
        self, embeddings: np.ndarray | str | os.PathLike[str] | None = None, *, tensor: str | None = None
    ) -> Audit:
        """Looks for what is odd in the vocabulary.

        Tokens that no text gives (exactly, by the model's own merging) or that the steps before the model cut or
        change; parts of characters; ordinary tokens that look like special tokens, and added tokens that do but are not
        `special`; doubled tokens; tokens that the normalizer makes equal; long white space; ids without a token.

        Args:
            embeddings: the embeddings of a model, an array [n_rows, n_dimensions] or a .npy or .safetensors file: finds
                tokens that its training never saw, too (Land and Bartolo 2024, arXiv 2405.05417).
            tensor: which tensor of a .safetensors file; None: that of the usual name.

        Returns:
            What was found: `print` shows it, `ids()` gives the ids, `to_html()` a page, `to_dict()` JSON values.

        Raises:
            ValueError: the embeddings are of another form, or have fewer rows than the tokenizer has ids.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "ba": 4}, [("a", "b")]))
            >>> found = tokenizer.audit().found
            >>> [(one.id, one.token, one.note) for one in found["unreachable"]], [one.id for one in found["gaps"]]
            ([(4, 'ba', 'its text becomes b + a')], [3])
        """
        from gputok.audit import audit

        return audit(self.pipeline, embeddings, tensor)

    def report(self, corpus: Any, **options: Unpack[ReportOptions]) -> Report:
        """Measures how this tokenizer suits a corpus, alone or compared with others.

        Args:
            corpus: files as for `train`, or an iterable of texts.
            options: what is compared and how (`gputok.report.ReportOptions`), such as `others={"gpt2": tokenizer}`.

        Returns:
            The report: `print` shows a table, `figures()` gives figures of matplotlib, `to_html(path)` writes a page.
        """
        from gputok.report import report

        return report(self, corpus, **options)

    def compression_curve(self, source: Any, **options: Unpack[CountOptions]) -> CompressionCurve:
        """Measures how many tokens a text has with each smaller vocabulary, from one encoding of it.

        Args:
            source: files as for `train`, an iterable of texts, or `WordCounts` of this tokenizer's `count_words`.
            options: how the words are counted, as for `count_words`.

        Returns:
            The tokens of the text by vocabulary size, from the alphabet to the whole vocabulary (`truncate` gives such
            a tokenizer).

        Raises:
            ValueError: the model is not BPE.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "abb": 3}, [("a", "b"), ("ab", "b")]))
            >>> curve = tokenizer.compression_curve(iter(["abb", "ab"]))
            >>> curve.vocab_sizes.tolist(), curve.n_tokens.tolist(), curve.bytes_per_token(4)
            ([2, 3, 4], [5, 3, 2], 2.5)
        """
        from gputok.counts.word_counts import WordCounts
        from gputok.report.sizes import measure_sizes

        words = source if isinstance(source, WordCounts) else self.count_words(source, **options)
        return measure_sizes(self.pipeline, [], {"": words}).curves[""]

    def encode_segments(
        self,
        segments: Iterable[tuple[str, bool]],
        add_special_tokens: bool = False,
        *,
        protect: Literal["special", "added"] | Iterable[str] = "special",
    ) -> Encoding:
        """Encodes a text of which some segments are trusted: text from elsewhere can't forge special tokens.

        Protected tokens are found only in trusted segments; such segments side by side are searched as one text. What
        lies between these tokens is one text, in which they are ordinary text. If all segments are trusted, this is
        `encode`.

        Args:
            segments: (text, trusted) in order.
            add_special_tokens: let the post-processor add its tokens.
            protect: "special": the special tokens; "added": all added tokens; or a list: the special tokens and these.
                Some models have added tokens that control them, but are not special, such as DeepSeek's `<｜User｜>`.

        Returns:
            The encoding; offsets count in all segments together.

        Raises:
            TypeError: a segment is not (text, trusted).
            ValueError: `protect` has a text that is no added token.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"<": 0, "s": 1, ">": 2}, []))
            >>> tokenizer.add_special_tokens(["<s>"])
            1
            >>> tokenizer.encode_segments([("<s>", True), ("<s>", False)]).ids
            [3, 0, 1, 2]
        """
        from gputok.pipeline.encode.stepwise import encode_segments

        _switches(add_special_tokens=add_special_tokens)
        return encode_segments(self.pipeline, [segments], protect, add_special_tokens)[0]

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Applies truncation, the post-processor and padding to existing encodings.

        Args:
            encoding: the encoding of a text, without special tokens.
            pair: the encoding of the second text of a pair, or None.
            add_special_tokens: let the post-processor add its tokens.

        Returns:
            A new encoding.
        """
        from gputok.pipeline.encode import stepwise

        _switches(add_special_tokens=add_special_tokens)
        return stepwise.post_process(self.pipeline, [(encoding, pair)], add_special_tokens)[0]

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Returns how many tokens the post-processor adds to one text or, if `is_pair`, to a pair."""
        _switches(is_pair=is_pair)
        return self.pipeline.num_special_tokens_to_add(is_pair)

    def enable_truncation(
        self, max_length: int, stride: int = 0, strategy: Strategy = "longest_first", direction: Direction = "right"
    ) -> None:
        """Cuts encodings to `max_length` tokens; the tokens that are cut off are in `Encoding.overflowing`.

        Args:
            max_length: the most tokens of an encoding, special tokens included.
            stride: how many tokens each overflowing part repeats from the part before.
            strategy: which text of a pair is cut: "longest_first", "only_first" or "only_second".
            direction: the side that is cut off, "right" or "left".

        Raises:
            ValueError: the stride is not smaller than `max_length` less the special tokens, or a name is unknown.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> tokenizer.enable_truncation(2, stride=1)
            >>> encoding = tokenizer.encode("aabb")
            >>> encoding.ids, [part.ids for part in encoding.overflowing]
            ([0, 2], [[2, 1]])
        """
        from gputok.pipeline.limits import Truncation

        truncation = Truncation(max_length, stride, strategy, direction)

        def change(given: Pipeline) -> Pipeline:
            given.check_stride(truncation)
            return dataclasses.replace(given, truncation=truncation)

        self._change(change)

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
        direction: Direction = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        """Fills the encodings of a batch to the same length.

        Args:
            direction: the side that is filled, "right" or "left".
            pad_id: the id of the padding token.
            pad_type_id: its type id.
            pad_token: its text.
            length: the length to fill to; None: that of the longest encoding of the batch.
            pad_to_multiple_of: round the length up to a multiple of this, as tensor cores prefer; None: don't.

        Raises:
            ValueError: the direction is unknown.
        """
        from gputok.pipeline.limits import Padding

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
        """Turns ids into text.

        Args:
            ids: a list or an array of ids. Ids that are not in the vocabulary are left out.
            skip_special_tokens: leave special tokens out.

        Returns:
            The text that the decoder makes of the tokens. Without a decoder, the tokens with spaces between them.

        Raises:
            TypeError: `ids` holds anything but whole numbers.
        """
        _switches(skip_special_tokens=skip_special_tokens)
        return decode_ids.decode(self.pipeline, _id_list(ids), skip_special_tokens)

    def decode_tokens(self, ids: Encoding | Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> list[str]:
        """Turns ids into the texts of their tokens, without the decoder, as `tokenizers` 1.0 does.

        Args:
            ids: a list or an array of ids, or an encoding. Ids that are not in the vocabulary are left out.
            skip_special_tokens: leave special tokens out.

        Returns:
            The text of each token.

        Raises:
            TypeError: `ids` holds anything but whole numbers.
            OverflowError: an id is negative, or has more than 32 bits.

        Example:
            >>> from gputok import models
            >>> Tokenizer(models.WordLevel({"so": 0, "it": 1})).decode_tokens([1, 0, 7])
            ['it', 'so']
        """
        _switches(skip_special_tokens=skip_special_tokens)
        listed = ids.ids if isinstance(ids, Encoding) else _id_list(ids)
        return decode_ids.tokens(self.pipeline, listed, skip_special_tokens)

    def decode_batch(self, sequences: Iterable[Any], skip_special_tokens: bool = True) -> list[str]:
        """Turns many lists or arrays of ids into texts.

        Args:
            sequences: the lists or arrays.
            skip_special_tokens: leave special tokens out.

        Returns:
            The texts, in order.
        """
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    async_decode_batch = in_thread(decode_batch)

    def decode_bytes(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = False) -> bytes:
        """Joins the bytes of tokens (`token_bytes`), also those of a space that the tokenizer inserted before the text.

        Args:
            ids: a list or an array of ids. Ids that are not in the vocabulary are left out.
            skip_special_tokens: leave special tokens out.
        """
        _switches(skip_special_tokens=skip_special_tokens)
        return b"".join(decode_ids.spelled_out(self.pipeline, _id_list(ids), skip_special_tokens))

    def byte_ends(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        r"""Returns where each token ends in `decode_bytes(ids)`: int64[n_ids], in bytes.

        These are positions in the text if its bytes are the same: if no step changes it.

        Example:
            >>> from gputok import decoders, models
            >>> tokenizer = Tokenizer(models.BPE({"Ã": 0, "©": 1, "t": 2}, []))
            >>> tokenizer.decoder = decoders.ByteLevel()
            >>> tokenizer.decode_bytes([2, 0, 1]).decode(), tokenizer.byte_ends([2, 0, 1]).tolist()
            ('té', [1, 2, 3])
        """
        return decode_ids.byte_ends(decode_ids.spelled_out(self.pipeline, _id_list(ids)))

    def canonical(self, ids: Sequence[int] | np.ndarray, final: bool = True) -> int | None:
        """Finds the first of some ids, such as a model samples, that `encode` would not give for the text of these ids.

        Ids of ordinary tokens that spell a special token differ from its id. If the bytes are no UTF-8, the first token
        with a wrong byte differs.

        Args:
            ids: a list or an array of ids, without those that a post-processor adds.
            final: False: more ids follow, so only differences count that no further text can undo.

        Returns:
            The index of the id, or the number of ids if their text has more; None: these are the ids of their text.

        Raises:
            ValueError: ids do not tell the text that they came from, since a step removes, changes or inserts text.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
            >>> tokenizer.canonical([0, 2]), tokenizer.canonical([0, 0, 1])
            (None, 1)
        """
        _switches(final=final)
        return decode_ids.canonical(self.pipeline, _id_list(ids), final)

    # -- tokens

    def token_bytes(self, id: int) -> bytes | None:
        """Returns the bytes of text that a token stands for, or None if the vocabulary has no such id.

        Tokens for bytes give their bytes, `▁` a space, `##x` an x, and added tokens their content.
        """
        return decode_ids.bytes_by_id(self.pipeline)[operator.index(id)]

    def token_to_id(self, token: str) -> int | None:
        """Returns the id of a token, or None if the vocabulary has no such token."""
        return self.pipeline.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """Returns the token of an id, or None if the vocabulary has no such id."""
        return self.pipeline.id_to_token(id)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Returns the id of each token, in a new dictionary.

        Args:
            with_added_tokens: include added tokens.
        """
        _switches(with_added_tokens=with_added_tokens)
        return self.pipeline.get_vocab(with_added_tokens)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Returns the number of tokens.

        Args:
            with_added_tokens: include added tokens.
        """
        _switches(with_added_tokens=with_added_tokens)
        return self.pipeline.get_vocab_size(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Returns the added tokens by their ids, in rising order."""
        return self._given.get_added_tokens_decoder()

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it.

        Args:
            tokens: strings or `AddedToken`s.

        Returns:
            How many of them are new.

        Raises:
            TypeError: `tokens` is no list of these.

        Example:
            >>> from gputok import models
            >>> tokenizer = Tokenizer(models.WordLevel({"a": 0}))
            >>> tokenizer.add_tokens(["b", AddedToken("c", lstrip=True), "b"])
            2
        """
        return self._add(tokens_of(_token_list(tokens), special=False))

    def add_special_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds special tokens, which `decode` leaves out. A token that the vocabulary has becomes special.

        Args:
            tokens: strings or `AddedToken`s.

        Returns:
            How many of them are new.

        Raises:
            TypeError: `tokens` is no list of these.
        """
        return self._add(tokens_of(_token_list(tokens, special=True), special=True))

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
        """True: special tokens that occur in a text are encoded as ordinary text. False by default."""
        return self._given.added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        value = checked("encode_special_tokens", switch, value)
        self._change(lambda given: dataclasses.replace(given, added=given.added.encoding_special_tokens(value)))

    def __getstate__(self) -> bytes:
        return serialize.state_of(self.pipeline)

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(Tokenizer.of(serialize.read_state(state)).__dict__)

    def __repr__(self) -> str:
        return serialize.shown(self.pipeline, brief=False)

    def __str__(self) -> str:
        return serialize.shown(self.pipeline, brief=True)


def _options(name: str, kind: Callable[..., Any], given: Limits) -> Any:
    """Returns the padding or truncation of these options, or None."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a dictionary of options or None, not {type(given).__name__}")
    return kind(**given)


def _source(given: Any, reading: dict[str, Any]) -> Source:
    """Looks up the files of a corpus; reading: the arguments of `Source.of`."""
    from gputok.corpus import Source

    return Source.of(given, **reading)


def _asked_of(trainer: Trainer, progress: Progress) -> Progress:
    """Returns the progress of the call or, if it has none, that of the trainer's options."""
    if progress is not None:
        return progress
    if not getattr(trainer, "show_progress", True) or getattr(trainer, "progress_format", "") == "silent":
        return False
    return "json" if getattr(trainer, "progress_format", "") == "json" else None


def _is_of_superwords(trainer: Trainer) -> TypeGuard[SuperBpeTrainer]:
    """True for a SuperBpeTrainer; doesn't import its module: if nobody has, no such trainer exists."""
    module = sys.modules.get("gputok.models.bpe.super_trainer")
    return module is not None and isinstance(trainer, module.SuperBpeTrainer)


def _token_list(tokens: Any, *, special: bool = False) -> list[str | AddedToken]:
    if isinstance(tokens, list) and {*map(type, tokens)} == {str}:
        return tokens
    if isinstance(tokens, list):
        tokens = [AddedToken.adopt(token, special=special) for token in tokens]
    if not isinstance(tokens, list) or not all(isinstance(token, str | AddedToken) for token in tokens):
        raise TypeError(f"Input must be a List[Union[str, AddedToken]], not {tokens!r}")
    return tokens


def _switches(threads: Any = None, **values: Any) -> None:
    """Raises WrongType for an argument that is neither True nor False, as `tokenizers` does; and for wrong threads."""
    for name, value in values.items():
        if value is not True and value is not False:
            checked(name, switch, value)
    if threads is not None:
        checked("threads", _THREADS, threads)


def _pipeline_of(data: bytes, source: str) -> Pipeline:
    """Returns the steps that a file holds."""
    if not data.startswith(serialize.COMPILED):
        return serialize.read_pipeline(data, source)
    from gputok.pipeline import compiled

    return compiled.read(np.frombuffer(bytearray(data), np.uint8), source)


def _id_list(ids: Any) -> Sequence[int]:
    if isinstance(ids, list | tuple) and (kinds := set(map(type, ids))) <= {int, bool}:
        return [*map(int, ids)] if bool in kinds else ids
    array = np.asarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"ids must be a list or an array of whole numbers, not {type(ids).__name__} of {array.dtype}")
    return array.tolist()


_OF_TRANSFORMERS = ("eos_token", "bos_token", "pad_token", "apply_chat_template", "save_pretrained")
_HINTS = {
    "vocab_size": "call `get_vocab_size()`",
    "vocab": "call `get_vocab()`",
    "input_ids": "call `encode(text).ids`",
    "convert_tokens_to_ids": "call `token_to_id(token)`",
    "convert_ids_to_tokens": "call `id_to_token(id)` or `decode_tokens(ids)`",
    "batch_decode": "call `decode_batch(lists)`",
    **dict.fromkeys(_OF_TRANSFORMERS, "`gputok.AutoTokenizer` and `Tokenizer.to_transformers()` have it"),
}
components.give_hints(Tokenizer, _HINTS)


def _take_over() -> None:
    """Replaces a method and some properties by machine code that the wheel has, if any; compiles nothing."""
    if choose().has_builtins:
        from gputok.kernels.builtins import builtin_functions

        if (functions := builtin_functions()) is not None:
            functions.take_over(Tokenizer, Encoding, components.versions)


_take_over()
