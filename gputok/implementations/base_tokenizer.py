"""BaseTokenizer, the base class of the ready-made tokenizers: a Tokenizer with a record of its parameters."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.counts.word_counts import WordCounts
    from gputok.decoders import Decoder
    from gputok.encoding.encoding import Encoding
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.progress import Progress
    from gputok.tokenizer import Tokenizer
    from gputok.tokens.added_token import AddedToken
    from gputok.trainers import Trainer


@public("gputok.implementations")
class BaseTokenizer:
    """A tokenizer and its parameters. Its methods call those of `gputok.Tokenizer`, with the same arguments.

    Args:
        tokenizer: the tokenizer.
        parameters: what `repr` shows besides the size of the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, parameters: dict[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._parameters = parameters if parameters is not None else {}

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value}" for name, value in self._parameters.items())
        return f"Tokenizer(vocabulary_size={self._tokenizer.get_vocab_size()}, {parameters})"

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Returns how many tokens the post-processor adds to one text or, if `is_pair`, to a pair."""
        return self._tokenizer.num_special_tokens_to_add(is_pair)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Returns the id of each token, in a new dictionary."""
        return self._tokenizer.get_vocab(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Returns the added tokens by their ids."""
        return self._tokenizer.get_added_tokens_decoder()

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Returns the number of tokens."""
        return self._tokenizer.get_vocab_size(with_added_tokens)

    def enable_padding(
        self,
        direction: str = "right",
        pad_to_multiple_of: int | None = None,
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
    ) -> None:
        """Fills the encodings of a batch to the same length, as `gputok.Tokenizer.enable_padding` does.

        The order of the arguments is that of `tokenizers`' ready-made tokenizers.
        """
        self._tokenizer.enable_padding(direction, pad_id, pad_type_id, pad_token, length, pad_to_multiple_of)

    def no_padding(self) -> None:
        """Stops padding."""
        self._tokenizer.no_padding()

    @property
    def padding(self) -> dict[str, Any] | None:
        """The options of `enable_padding`, or None."""
        return self._tokenizer.padding

    def enable_truncation(self, max_length: int, stride: int = 0, strategy: str = "longest_first") -> None:
        """Cuts encodings to `max_length` tokens, as `gputok.Tokenizer.enable_truncation` does."""
        self._tokenizer.enable_truncation(max_length, stride, strategy)

    def no_truncation(self) -> None:
        """Stops truncating."""
        self._tokenizer.no_truncation()

    @property
    def truncation(self) -> dict[str, Any] | None:
        """The options of `enable_truncation`, or None."""
        return self._tokenizer.truncation

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it, and returns how many are new."""
        return self._tokenizer.add_tokens(tokens)

    def add_special_tokens(self, special_tokens: list[str | AddedToken]) -> int:
        """Adds special tokens, which `decode` leaves out, and returns how many are new."""
        return self._tokenizer.add_special_tokens(special_tokens)

    def normalize(self, sequence: str) -> str:
        """Returns the normalized text."""
        normalizer = self._tokenizer.normalizer
        return sequence if normalizer is None else normalizer.normalize_str(sequence)

    def encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> Encoding:
        """Encodes one text, or a pair of texts; raises ValueError for None."""
        if sequence is None:
            raise ValueError("encode: `sequence` can't be `None`")
        return self._tokenizer.encode(sequence, pair, is_pretokenized, add_special_tokens)

    def encode_batch(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Encodes many texts, or pairs of texts, on all cores; raises ValueError for None."""
        if inputs is None:
            raise ValueError("encode_batch: `inputs` can't be `None`")
        return self._tokenizer.encode_batch(inputs, is_pretokenized, add_special_tokens)

    async def async_encode_batch(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Runs `encode_batch` on another thread."""
        if inputs is None:
            raise ValueError("encode_batch: `inputs` can't be `None`")
        return await self._tokenizer.async_encode_batch(inputs, is_pretokenized, add_special_tokens)

    async def async_encode_batch_fast(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Runs `encode_batch_fast` of the tokenizer, which gives no offsets, on another thread."""
        if inputs is None:
            raise ValueError("encode_batch_fast: `inputs` can't be `None`")
        return await self._tokenizer.async_encode_batch_fast(inputs, is_pretokenized, add_special_tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Turns ids into text; raises ValueError for None."""
        if ids is None:
            raise ValueError("None input is not valid. Should be a list of integers.")
        return self._tokenizer.decode(ids, skip_special_tokens)

    def decode_batch(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """Turns many lists of ids into texts; raises ValueError for None."""
        if sequences is None:
            raise ValueError("None input is not valid. Should be list of list of integers.")
        return self._tokenizer.decode_batch(sequences, skip_special_tokens)

    async def async_decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """Runs `decode_batch` on another thread."""
        return await self._tokenizer.async_decode_batch(sequences, skip_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """Returns the id of a token, or None if the vocabulary has no such token."""
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """Returns the token of an id, or None if the vocabulary has no such id."""
        return self._tokenizer.id_to_token(id)

    def save_model(self, directory: str, prefix: str | None = None) -> list[str]:
        """Writes the files of the model, such as vocab.json and merges.txt, into a folder; returns their paths."""
        return self._tokenizer.model.save(directory, prefix)

    def save(self, path: str, pretty: bool = True) -> None:
        """Writes a tokenizer.json atomically."""
        self._tokenizer.save(path, pretty)

    def to_str(self, pretty: bool = False) -> str:
        """Returns the text of a tokenizer.json."""
        return self._tokenizer.to_str(pretty)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Applies truncation, the post-processor and padding to existing encodings."""
        return self._tokenizer.post_process(encoding, pair, add_special_tokens)

    @property
    def pipeline(self) -> Pipeline:
        """A frozen copy of all steps as they are now."""
        return self._tokenizer.pipeline

    def replace_model(self, model: Model, special_tokens: list[AddedToken]) -> None:
        """Sets a model and adds special tokens to it, in one step for other threads."""
        self._tokenizer.replace_model(model, special_tokens)

    def count_without_added(
        self, texts: Iterable[Any], device: str | None, threads: int | None, progress: Progress
    ) -> WordCounts:
        """Counts the words of texts in memory, without looking for added tokens."""
        return self._tokenizer.count_without_added(texts, device, threads, progress)

    @property
    def model(self) -> Model:
        """The step that cuts words into tokens."""
        return self._tokenizer.model

    @model.setter
    def model(self, model: Model) -> None:
        self._tokenizer.model = model

    @property
    def normalizer(self) -> Normalizer | None:
        """The step that changes the text before it is cut into words, or None."""
        return self._tokenizer.normalizer

    @normalizer.setter
    def normalizer(self, normalizer: Normalizer | None) -> None:
        self._tokenizer.normalizer = normalizer

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """The step that cuts the text into words, or None."""
        return self._tokenizer.pre_tokenizer

    @pre_tokenizer.setter
    def pre_tokenizer(self, pre_tokenizer: PreTokenizer | None) -> None:
        self._tokenizer.pre_tokenizer = pre_tokenizer

    @property
    def post_processor(self) -> PostProcessor | None:
        """The step that adds special tokens, or None."""
        return self._tokenizer.post_processor

    @post_processor.setter
    def post_processor(self, post_processor: PostProcessor | None) -> None:
        self._tokenizer.post_processor = post_processor

    @property
    def decoder(self) -> Decoder | None:
        """The step that joins tokens to text, or None."""
        return self._tokenizer.decoder

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        self._tokenizer.decoder = decoder


def trained_by(make_trainer: Callable[..., Trainer]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes the methods `train` and `train_from_iterator` of a tokenizer, with the arguments of `make_trainer`."""
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own, files, iterator = (inspect.Parameter(name, either) for name in ("self", "files", "iterator"))
    length = inspect.Parameter("length", either, default=None, annotation="int | None")
    options = [*inspect.signature(make_trainer).parameters.values()]
    for_files = inspect.Signature([own, files, *options])
    for_texts = inspect.Signature([own, iterator, *options, length])

    def train(*given: Any, **named: Any) -> None:
        """Trains the model on files: a path, or a list of paths. The other arguments are those of the trainer."""
        options = _bound("train", for_files, given, named)
        self, files = options.pop("self"), options.pop("files")
        self._tokenizer.train([files] if isinstance(files, str) else list(files), make_trainer(**options))

    def train_from_iterator(*given: Any, **named: Any) -> None:
        """Trains the model on texts. The other arguments are those of the trainer.

        `length`, the number of texts, is accepted as in `tokenizers`; the result does not depend on it.
        """
        options = _bound("train_from_iterator", for_texts, given, named)
        self, texts, length = options.pop("self"), options.pop("iterator"), options.pop("length", None)
        self._tokenizer.train_from_iterator(texts, make_trainer(**options), length)

    train.__signature__, train_from_iterator.__signature__ = for_files, for_texts
    return train, train_from_iterator


def _bound(name: str, signature: inspect.Signature, given: tuple, named: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by name; raises TypeError if they don't fit the signature."""
    try:
        return dict(signature.bind(*given, **named).arguments)
    except TypeError as error:
        raise TypeError(f"{name}() {error}") from None


def chain_of(normalizers: list[Normalizer]) -> Normalizer | None:
    """Returns one normalizer that calls these one after the other; None for an empty list."""
    from gputok.normalizers import Sequence

    return Sequence(normalizers) if len(normalizers) > 1 else (normalizers or [None])[0]
