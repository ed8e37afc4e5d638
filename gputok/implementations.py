"""Ready-made tokenizers, each with the steps of a well-known model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gputok import decoders, normalizers, pre_tokenizers, processors
from gputok.automaton.pattern import Regex
from gputok.decoders import Decoder
from gputok.files.sentencepiece_proto import UNIGRAM, message
from gputok.lazy import in_thread, same_method
from gputok.models import BPE, Model, Unigram, WordPiece
from gputok.normalizers import NFKC, BertNormalizer, Lowercase, Nmt, Normalizer, Replace
from gputok.pipeline.pipeline import Pipeline
from gputok.pre_tokenizers import BertPreTokenizer, Metaspace, PreTokenizer, WhitespaceSplit
from gputok.processors import BertProcessing, PostProcessor
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.trainers import BpeTrainer, Trainer, UnigramTrainer, WordPieceTrainer
from gputok.types import Direction, Strategy

__all__ = ["BaseTokenizer", "BertWordPieceTokenizer", "ByteLevelBPETokenizer", "CharBPETokenizer"]
__all__ += ["SentencePieceBPETokenizer", "SentencePieceUnigramTokenizer"]


def _same_step(name: str) -> Any:
    """Makes a property that gets and sets the property of this name of `self._tokenizer`."""
    of: property = vars(Tokenizer)[name]

    def step_of(self: Any) -> Any:
        return getattr(self._tokenizer, name)

    def change(self: Any, value: Any) -> None:
        setattr(self._tokenizer, name, value)

    step_of.__doc__ = of.__doc__
    return property(step_of, change if of.fset else None)


class BaseTokenizer:
    """Wraps a `gputok.Tokenizer`: its methods call those of the tokenizer, with the same arguments.

    Args:
        tokenizer: the tokenizer.
        parameters: name -> value, which `repr` shows besides the size of the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, parameters: dict[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._parameters = parameters if parameters is not None else {}

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value}" for name, value in self._parameters.items())
        return f"Tokenizer(vocabulary_size={self._tokenizer.get_vocab_size()}, {parameters})"

    pipeline: Pipeline = _same_step("pipeline")
    model: Model = _same_step("model")
    normalizer: Normalizer | None = _same_step("normalizer")
    pre_tokenizer: PreTokenizer | None = _same_step("pre_tokenizer")
    post_processor: PostProcessor | None = _same_step("post_processor")
    decoder: Decoder | None = _same_step("decoder")
    padding: dict[str, Any] | None = _same_step("padding")
    truncation: dict[str, Any] | None = _same_step("truncation")

    num_special_tokens_to_add = same_method(Tokenizer.num_special_tokens_to_add)
    get_vocab = same_method(Tokenizer.get_vocab)
    get_added_tokens_decoder = same_method(Tokenizer.get_added_tokens_decoder)
    get_vocab_size = same_method(Tokenizer.get_vocab_size)
    no_padding = same_method(Tokenizer.no_padding)
    no_truncation = same_method(Tokenizer.no_truncation)
    add_tokens = same_method(Tokenizer.add_tokens)
    token_to_id = same_method(Tokenizer.token_to_id)
    id_to_token = same_method(Tokenizer.id_to_token)
    save = same_method(Tokenizer.save)
    to_str = same_method(Tokenizer.to_str)
    post_process = same_method(Tokenizer.post_process)
    replace_model = same_method(Tokenizer.replace_model)
    count_without_added = same_method(Tokenizer.count_without_added)
    add_special_tokens = same_method(Tokenizer.add_special_tokens, "special_tokens")
    encode = same_method(Tokenizer.encode, "sequence", "encode: `sequence` can't be `None`")
    encode_batch = same_method(Tokenizer.encode_batch, "inputs", "encode_batch: `inputs` can't be `None`")
    encode_batch_fast = same_method(
        Tokenizer.encode_batch_fast, "inputs", "encode_batch_fast: `inputs` can't be `None`"
    )
    async_encode_batch, async_encode_batch_fast = in_thread(encode_batch), in_thread(encode_batch_fast)
    decode = same_method(Tokenizer.decode, "ids", "None input is not valid. Should be a list of integers.")
    decode_batch = same_method(
        Tokenizer.decode_batch, "sequences", "None input is not valid. Should be list of list of integers."
    )
    async_decode_batch = in_thread(decode_batch)

    def enable_padding(
        self,
        direction: Direction = "right",
        pad_to_multiple_of: int | None = None,
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
    ) -> None:
        """Fills the encodings of a batch to the same length. The arguments have another order than in `Tokenizer`."""
        self._tokenizer.enable_padding(direction, pad_id, pad_type_id, pad_token, length, pad_to_multiple_of)

    def enable_truncation(self, max_length: int, stride: int = 0, strategy: Strategy = "longest_first") -> None:
        """Cuts encodings to `max_length` tokens, as `gputok.Tokenizer.enable_truncation` does."""
        self._tokenizer.enable_truncation(max_length, stride, strategy)

    def save_model(self, directory: str, prefix: str | None = None) -> list[str]:
        """Writes the files of the model, such as vocab.json and merges.txt, into a folder; returns their paths."""
        return self._tokenizer.model.save(directory, prefix)

    def normalize(self, sequence: str) -> str:
        """Returns the normalized text."""
        normalizer = self._tokenizer.normalizer
        return sequence if normalizer is None else normalizer.normalize_str(sequence)


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
    """Returns what `repr` shows: the model, and a constructor's arguments (its `locals()`) without the hidden ones."""
    hidden = ("self", "__class__", "vocab", *hidden)
    return {"model": model, **{name: value for name, value in arguments.items() if name not in hidden}}


def trained_by(
    make_trainer: Callable[..., Trainer], **defaults: Any
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes the methods `train` and `train_from_iterator`, with options that go to the trainer and have `defaults`."""
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
        """Trains the model on texts; the other arguments are the trainer's. `length` is accepted as in `tokenizers`."""
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


def _bpe(vocab: Any, merges: Any, unk_token: str, **options: Any) -> Tokenizer:
    """Makes a BPE tokenizer, untrained if `vocab` or `merges` is None; if the model has `unk_token`, it is special."""
    if vocab is None or merges is None:
        vocab = merges = None
    tokenizer = Tokenizer(BPE(vocab, merges, unk_token=unk_token, **options))
    _add_known(tokenizer, unk_token)
    return tokenizer


def _add_known(tokenizer: Tokenizer, *tokens: str) -> None:
    tokenizer.add_special_tokens([token for token in tokens if tokenizer.token_to_id(token) is not None])


def _normalizer(unicode_normalizer: str | None, lowercase: bool, *, bert: bool = False) -> Normalizer | None:
    """Returns one normalizer that does all steps that are asked for, or None if no step is asked for."""
    steps = [normalizers.unicode_normalizer_from_str(unicode_normalizer)] if unicode_normalizer else []
    steps += [BertNormalizer(lowercase=False)] if bert else []
    steps += [Lowercase()] if lowercase else []
    return normalizers.Sequence(steps) if len(steps) > 1 else next(iter(steps), None)


class ByteLevelBPETokenizer(BaseTokenizer):
    """GPT-2's tokenizer: byte-level BPE.

    Args:
        vocab: token -> id, or the path of a vocab.json; None: to be trained.
        merges: the merges, or the path of a merges.txt; None: to be trained.
        add_prefix_space: insert a space before the text, so that its first word is like the others.
        lowercase: write the text in lower case.
        dropout: the probability that a merge is skipped (BPE-dropout); None: no merge is skipped.
        unicode_normalizer: "nfc", "nfd", "nfkc" or "nfkd"; None: no normalization.
        continuing_subword_prefix: the prefix of tokens that continue a word.
        end_of_word_suffix: the suffix of tokens that end a word.
        trim_offsets: exclude the white space of tokens from their offsets.

    Example:
        >>> tokenizer = ByteLevelBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=270, show_progress=False)
        >>> tokenizer.decode(tokenizer.encode("so it goes é").ids)
        'so it goes é'
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        add_prefix_space: bool = False,
        lowercase: bool = False,
        dropout: float | None = None,
        unicode_normalizer: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        trim_offsets: bool = False,
    ) -> None:
        parameters = shown("ByteLevelBPE", locals(), "merges")
        model = BPE()
        if vocab is not None and merges is not None:
            prefix, suffix = continuing_subword_prefix or "", end_of_word_suffix or ""
            model = BPE(vocab, merges, dropout=dropout, continuing_subword_prefix=prefix, end_of_word_suffix=suffix)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = _normalizer(unicode_normalizer, lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(
        lambda **options: BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options),
        vocab_size=30000,
        min_frequency=2,
        show_progress=True,
        special_tokens=[],
    )


# The options of `train` of BPE over characters, and their default values
_OPTIONS: dict[str, Any] = {"vocab_size": 30000, "min_frequency": 2, "special_tokens": ["<unk>"]}
_OPTIONS |= {"limit_alphabet": 1000, "initial_alphabet": []}


class CharBPETokenizer(BaseTokenizer):
    """The tokenizer of the first GPT: BPE over characters, with a suffix at the ends of words (Sennrich et al. 2016).

    Args:
        unk_token: the token for unknown characters.
        suffix: the suffix of tokens that end a word.
        bert_normalizer: clean the text as BERT does, without changing its case.
        split_on_whitespace_only: do not cut the text at punctuation.

    The others are as for `ByteLevelBPETokenizer`.

    Example:
        >>> tokenizer = CharBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("so it goes").tokens
        ['so</w>', 'it</w>', 'goes</w>']
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        unk_token: str | AddedToken = "<unk>",
        suffix: str = "</w>",
        dropout: float | None = None,
        lowercase: bool = False,
        unicode_normalizer: str | None = None,
        bert_normalizer: bool = True,
        split_on_whitespace_only: bool = False,
    ) -> None:
        parameters = shown("BPE", locals(), "merges")
        tokenizer = _bpe(vocab, merges, str(unk_token), dropout=dropout, end_of_word_suffix=suffix)
        tokenizer.normalizer = _normalizer(unicode_normalizer, lowercase, bert=bert_normalizer)
        tokenizer.pre_tokenizer = WhitespaceSplit() if split_on_whitespace_only else BertPreTokenizer()
        tokenizer.decoder = decoders.BPEDecoder(suffix=suffix)
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(
        lambda suffix, **options: BpeTrainer(end_of_word_suffix=suffix, **options),
        **_OPTIONS,
        suffix="</w>",
        show_progress=True,
    )


class SentencePieceBPETokenizer(BaseTokenizer):
    """BPE over characters, with spaces marked as SentencePiece does.

    Args:
        unk_token: the token for unknown characters.
        replacement: the character that stands for a space.
        fuse_unk: make one unknown token of neighbouring unknown characters.

    The others are as for `ByteLevelBPETokenizer`.

    Example:
        >>> tokenizer = SentencePieceBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("so it goes").tokens
        ['▁so', '▁it', '▁goes']
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        unk_token: str | AddedToken = "<unk>",
        replacement: str = "▁",
        add_prefix_space: bool = True,
        dropout: float | None = None,
        fuse_unk: bool | None = False,
    ) -> None:
        parameters = shown("SentencePieceBPE", locals(), "merges", "fuse_unk")
        tokenizer = _bpe(vocab, merges, str(unk_token), dropout=dropout, fuse_unk=fuse_unk)
        tokenizer.normalizer = NFKC()
        _mark_spaces(tokenizer, replacement, add_prefix_space)
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(BpeTrainer, **_OPTIONS, show_progress=True)


class SentencePieceUnigramTokenizer(BaseTokenizer):
    """Unigram, with SentencePiece's normalizer, and spaces marked as SentencePiece does.

    Args:
        vocab: (token, score) pairs, the score being the logarithm of a probability; None: to be trained.
        replacement: the character that stands for a space.
        add_prefix_space: insert a space before the text, so that its first word is like the others.

    Example:
        >>> tokenizer = SentencePieceUnigramTokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 9, vocab_size=10, show_progress=False)
        >>> tokenizer.encode("so").tokens
        ['▁so']
    """

    def __init__(
        self, vocab: list[tuple[str, float]] | None = None, replacement: str = "▁", add_prefix_space: bool = True
    ) -> None:
        tokenizer = Tokenizer(Unigram(vocab))
        tokenizer.normalizer = normalizers.Sequence([Nmt(), NFKC(), Replace(Regex(" {2,}"), " ")])
        _mark_spaces(tokenizer, replacement, add_prefix_space)
        parameters = {"model": "SentencePieceUnigram", "replacement": replacement, "add_prefix_space": add_prefix_space}
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_spm(filename: str) -> SentencePieceUnigramTokenizer:
        """Reads a .model file of SentencePiece, with the steps that `tokenizers` gives it.

        `gputok.from_sentencepiece` reads BPE models as well, and takes all steps from the file.

        Args:
            filename: the path of the file.

        Returns:
            The tokenizer.

        Raises:
            ImportError: `sentencepiece` is not installed.
            ValueError: the model is no Unigram model.
        """
        with open(filename, "rb") as file:
            proto = message(file.read())
        if proto.trainer_spec.model_type != UNIGRAM:
            raise ValueError(f"{filename} expected a Unigram model; this one was trained with another algorithm")
        vocab, spec = [(piece.piece, piece.score) for piece in proto.pieces], proto.trainer_spec
        tokenizer = Tokenizer(Unigram(vocab, spec.unk_id, spec.byte_fallback))
        charsmap = proto.normalizer_spec.precompiled_charsmap
        first = [normalizers.Precompiled(charsmap)] if charsmap else []
        tokenizer.normalizer = normalizers.Sequence([*first, Replace(Regex(" {2,}"), " ")])
        _mark_spaces(tokenizer, "▁", True)
        made = SentencePieceUnigramTokenizer.__new__(SentencePieceUnigramTokenizer)
        BaseTokenizer.__init__(made, tokenizer, {"model": "SentencePieceUnigram"})
        return made

    train, train_from_iterator = trained_by(
        UnigramTrainer, vocab_size=8000, show_progress=True, special_tokens=None, initial_alphabet=None, unk_token=None
    )


def _mark_spaces(tokenizer: Tokenizer, replacement: str, add_prefix_space: bool) -> None:
    scheme = "always" if add_prefix_space else "never"
    tokenizer.pre_tokenizer = Metaspace(replacement=replacement, prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(replacement=replacement, prepend_scheme=scheme)


class BertWordPieceTokenizer(BaseTokenizer):
    """BERT's tokenizer: WordPiece with BERT's normalizer, pre-tokenizer and special tokens.

    Args:
        vocab: token -> id, or the path of a vocab.txt; None: to be trained.
        unk_token: the token for unknown words.
        sep_token: the token after each text.
        cls_token: the token before the first text.
        pad_token: the token for padding.
        mask_token: the token that hides a word.
        clean_text: remove control characters, and write all white space as spaces.
        handle_chinese_chars: make each Chinese character a word.
        strip_accents: remove accents; None: remove them if `lowercase` is True.
        lowercase: write the text in lower case.
        wordpieces_prefix: the prefix of tokens that continue a word.

    Raises:
        TypeError: a vocabulary lacks `sep_token` or `cls_token`.

    Example:
        >>> tokenizer = BertWordPieceTokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("So it goes").tokens
        ['so', 'it', 'goes']
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        cls_token: str | AddedToken = "[CLS]",
        pad_token: str | AddedToken = "[PAD]",
        mask_token: str | AddedToken = "[MASK]",
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
        wordpieces_prefix: str = "##",
    ) -> None:
        parameters = shown("BertWordPiece", locals())
        tokenizer = Tokenizer(WordPiece(vocab, unk_token=str(unk_token)))
        _add_known(tokenizer, *map(str, (unk_token, sep_token, cls_token, pad_token, mask_token)))
        tokenizer.normalizer = BertNormalizer(clean_text, handle_chinese_chars, strip_accents, lowercase)
        tokenizer.pre_tokenizer = BertPreTokenizer()
        if vocab is not None:
            around = []
            for name, token in (("sep_token", str(sep_token)), ("cls_token", str(cls_token))):
                if (token_id := tokenizer.token_to_id(token)) is None:
                    raise TypeError(f"{name} not found in the vocabulary: {token!r}")
                around.append((token, token_id))
            tokenizer.post_processor = BertProcessing(*around)
        tokenizer.decoder = decoders.WordPiece(prefix=wordpieces_prefix)
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab: str, **kwargs: Any) -> BertWordPieceTokenizer:
        """Reads a vocab.txt.

        Args:
            vocab: the path of the file, with one token per line.
            kwargs: further arguments of the class.

        Returns:
            The tokenizer.
        """
        return BertWordPieceTokenizer(WordPiece.read_file(vocab), **kwargs)

    train, train_from_iterator = trained_by(
        lambda wordpieces_prefix, **options: WordPieceTrainer(continuing_subword_prefix=wordpieces_prefix, **options),
        vocab_size=30000,
        min_frequency=2,
        limit_alphabet=1000,
        initial_alphabet=[],
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=True,
        wordpieces_prefix="##",
    )
