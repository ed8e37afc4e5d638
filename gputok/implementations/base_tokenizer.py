"""BaseTokenizer, the base class of the ready-made tokenizers: a Tokenizer with a record of its parameters."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from gputok.models import BPE
from gputok.tokenizer import Tokenizer
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gputok.decoders import Decoder
    from gputok.encoding.encoding import Encoding
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.tokens.added_token import AddedToken
    from gputok.trainers import Trainer
    from gputok.types import Direction, Strategy

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def _same(method: Callable[Concatenate[Tokenizer, _Given], _Found]) -> Callable[Concatenate[Any, _Given], _Found]:
    """Makes a method that calls the one of the same name of the tokenizer inside."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: _Given.args, **options: _Given.kwargs) -> _Found:
        return getattr(self._tokenizer, name)(*args, **options)

    return call


def _same_step(name: str) -> Any:
    """Makes a property that is the one of this name of the tokenizer inside."""
    of: property = vars(Tokenizer)[name]

    def change(self: Any, value: Any) -> None:
        setattr(self._tokenizer, name, value)

    return property(lambda self: getattr(self._tokenizer, name), change if of.fset else None, doc=of.__doc__)


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

    pipeline: Pipeline = _same_step("pipeline")
    """A frozen copy of all steps as they are now."""
    model: Model = _same_step("model")
    """The step that cuts words into tokens."""
    normalizer: Normalizer | None = _same_step("normalizer")
    """The step that changes the text before it is cut into words, or None."""
    pre_tokenizer: PreTokenizer | None = _same_step("pre_tokenizer")
    """The step that cuts the text into words, or None."""
    post_processor: PostProcessor | None = _same_step("post_processor")
    """The step that adds special tokens, or None."""
    decoder: Decoder | None = _same_step("decoder")
    """The step that joins tokens to text, or None."""
    padding: dict[str, Any] | None = _same_step("padding")
    """The options of `enable_padding`, or None."""
    truncation: dict[str, Any] | None = _same_step("truncation")
    """The options of `enable_truncation`, or None."""

    num_special_tokens_to_add = _same(Tokenizer.num_special_tokens_to_add)
    get_vocab = _same(Tokenizer.get_vocab)
    get_added_tokens_decoder = _same(Tokenizer.get_added_tokens_decoder)
    get_vocab_size = _same(Tokenizer.get_vocab_size)
    no_padding = _same(Tokenizer.no_padding)
    no_truncation = _same(Tokenizer.no_truncation)
    add_tokens = _same(Tokenizer.add_tokens)
    async_decode_batch = _same(Tokenizer.async_decode_batch)
    token_to_id = _same(Tokenizer.token_to_id)
    id_to_token = _same(Tokenizer.id_to_token)
    save = _same(Tokenizer.save)
    to_str = _same(Tokenizer.to_str)
    post_process = _same(Tokenizer.post_process)
    replace_model = _same(Tokenizer.replace_model)
    count_without_added = _same(Tokenizer.count_without_added)

    def enable_padding(
        self,
        direction: Direction = "right",
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

    def enable_truncation(self, max_length: int, stride: int = 0, strategy: Strategy = "longest_first") -> None:
        """Cuts encodings to `max_length` tokens, as `gputok.Tokenizer.enable_truncation` does."""
        self._tokenizer.enable_truncation(max_length, stride, strategy)

    def add_special_tokens(self, special_tokens: list[str | AddedToken]) -> int:
        """Adds special tokens, which `decode` leaves out, and returns how many are new."""
        return self._tokenizer.add_special_tokens(special_tokens)

    def save_model(self, directory: str, prefix: str | None = None) -> list[str]:
        """Writes the files of the model, such as vocab.json and merges.txt, into a folder; returns their paths."""
        return self._tokenizer.model.save(directory, prefix)

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


@classmethod
def from_bpe_files(cls: Any, vocab_filename: str, merges_filename: str, **kwargs: Any) -> Any:
    """Reads a vocab.json and a merges.txt.

    Args:
        cls: a class whose model is BPE.
        vocab_filename: the path of vocab.json.
        merges_filename: the path of merges.txt.
        kwargs: further arguments of the class.

    Returns:
        The tokenizer.
    """
    return cls(*BPE.read_file(vocab_filename, merges_filename), **kwargs)


def shown(model: str, arguments: Mapping[str, Any], *hidden: str) -> dict[str, Any]:
    """Returns what `repr` shows of the arguments of a constructor, its `locals()`."""
    hidden = ("self", "__class__", "vocab", *hidden)
    return {"model": model, **{name: value for name, value in arguments.items() if name not in hidden}}


def trained_by(
    make_trainer: Callable[..., Trainer], **defaults: Any
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes the methods `train` and `train_from_iterator` of a tokenizer.

    Args:
        make_trainer: makes the trainer, with the arguments `defaults` or what a call gives instead.
        defaults: the arguments of both methods, in their order.
    """
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own, files, iterator = (inspect.Parameter(name, either) for name in ("self", "files", "iterator"))
    length = inspect.Parameter("length", either, default=None, annotation="int | None")
    options = [inspect.Parameter(name, either, default=value) for name, value in defaults.items()]
    for_files = inspect.Signature([own, files, *options])
    for_texts = inspect.Signature([own, iterator, *options, length])

    def trainer(options: dict[str, Any]) -> Trainer:
        given = defaults | options
        lists = {name: list(given[name] or ()) for name in ("special_tokens", "initial_alphabet") if name in given}
        return make_trainer(**given | lists)

    def train(*given: Any, **named: Any) -> None:
        """Trains the model on files: a path, or a list of paths. The other arguments are those of the trainer."""
        options = _bound("train", for_files, given, named)
        self, files = options.pop("self"), options.pop("files")
        self._tokenizer.train([files] if isinstance(files, str) else list(files), trainer(options))

    def train_from_iterator(*given: Any, **named: Any) -> None:
        """Trains the model on texts. The other arguments are those of the trainer.

        `length`, the number of texts, is accepted as in `tokenizers`; the result does not depend on it.
        """
        options = _bound("train_from_iterator", for_texts, given, named)
        self, texts, length = options.pop("self"), options.pop("iterator"), options.pop("length", None)
        self._tokenizer.train_from_iterator(texts, trainer(options), length)

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
