"""Model, the base class of all models, and what the models have in common."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import operator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from gputok.checks import WrongValue, brief, checked, in_file, short
from gputok.components import Component, derived, described
from gputok.files.json_text import Packed
from gputok.kernels.signatures import NamedTuple
from gputok.lazy import public
from gputok.text.pieces import Alignment, Pieces, check_lengths, joined_offsets, rewrite, spell_out
from gputok.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.text.pre_tokenized_string import Token
    from gputok.types import Bytes, Ids, Positions


@public("gputok.models")
class Tokens(NamedTuple):
    """The tokens of many pieces of text.

    Attributes:
        ids: uint32[n_tokens].
        start: int64[n_tokens], the first byte of each token in the text that contains the pieces.
        end: int64[n_tokens], one after the last byte.
        rows: int64[n_pieces + 1]; piece i has the tokens rows[i]:rows[i + 1].
    """

    ids: Ids
    start: Positions
    end: Positions
    rows: Positions


class Model(Component):
    """Base class of the four models. `Model.from_dict` makes the model that a JSON form describes."""

    kind: ClassVar[str] = "model"
    home: ClassVar[str] = "gputok.models"
    fixed: ClassVar[str] = "it has no merges"
    """Why `extend` can't add tokens to a model of the class, unless it is BPE."""
    turn: ClassVar[int]
    """When `from_dict` tries the class if a JSON form has no `type`: classes are tried in the order of this number."""

    trainer: ClassVar[str]
    """The class of trainers that `get_trainer` makes an object of: "folder.name", the folder lies beside this file."""

    stored: ClassVar[tuple[str, ...]] = ()
    """The derived values that a compiled tokenizer keeps (`gputok.pipeline.compiled`)."""

    cuts: ClassVar[Any] = None
    byte_tables: ClassVar[Any] = None
    byte_words: ClassVar[Any] = None
    first_byte_words: ClassVar[Any] = None
    line_words: ClassVar[Any] = None
    """What only BPE derives: see the class BPE."""

    vocabulary: Vocabulary

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for one in cls.__dataclass_fields__.values():
            one.init = False  # a user's dataclass that derives from the class does not get it as an argument

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Makes a model; Model() makes an empty BPE, as in `tokenizers`, whose pickles of tokenizers need that."""
        empty = cls is Model and not args and not kwargs
        return super().__new__(cls.types()["BPE"] if empty else cls, *args, **kwargs)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a model from its JSON form.

        Args:
            value: the JSON form. Without `type`, the first of BPE, WordPiece, WordLevel and Unigram that accepts the
                fields is chosen, as in `tokenizers`.

        Raises:
            ValueError: if the type is unknown, or a field is missing or wrong.
        """
        if not isinstance(value, dict):
            raise WrongValue(f"expected a model as a JSON object, got {brief(value)}")
        if cls is not Model or "type" in value:
            return super().from_dict(value)
        for kind in sorted(cls.types().values(), key=lambda kind: kind.turn):
            try:
                return kind.from_dict(value)
            except (KeyError, TypeError, ValueError):
                continue
        raise ValueError(
            "expected a model with the field `type`, or with all fields of one type of models; got the fields "
            f"{short(list(value))}"
        )

    def tokenize(self, sequence: str) -> list[Token]:
        """Tokenizes one piece of text.

        Args:
            sequence: the piece.

        Returns:
            The tokens in order; their offsets are in bytes.

        Raises:
            TypeError: if `sequence` is not a string.
            ValueError: if the piece is not known to the model and the vocabulary has no unknown token.
        """
        if not isinstance(sequence, str):
            raise TypeError(f"expected a string to tokenize, got {type(sequence).__name__}")
        data, model = np.frombuffer(sequence.encode(), np.uint8), self.frozen()
        found = model.tokenize_pieces(data, np.zeros(1, np.int64), np.array([len(data)], np.int64), byte_level=False)
        spans = zip(found.start.tolist(), found.end.tolist(), strict=True)
        from gputok.text.pre_tokenized_string import Token

        return list(map(Token, found.ids.tolist(), model.values(found, data), spans))

    def values(self, tokens: Tokens, data: Bytes, *, byte_level: bool = False) -> list[str]:
        """Returns the texts of tokens as `Encoding.tokens` shows them: their names in the vocabulary."""
        return list(map(self.vocabulary.names.__getitem__, tokens.ids.tolist()))

    def tokenize_pieces(self, data: Bytes, start: Positions, end: Positions, *, byte_level: bool) -> Tokens:
        """Tokenizes the pieces data[start[i]:end[i]].

        data: uint8[n_bytes], UTF-8, or, with `byte_level`, bytes that stand for ByteLevel characters. Raises ValueError
        if a piece is not known to the model and the vocabulary has no unknown token.
        """
        if byte_level:
            return tokenize_byte_level(self, data, start, end)
        cuts = slices(start, end)
        return concat_tokens([self._tokenized(data, start[a:b], end[a:b], a) for a, b in cuts])

    def _tokenized(self, data: Bytes, start: Positions, end: Positions, n_before: int) -> Tokens:
        """Tokenizes about a megabyte of pieces of UTF-8; n_before: how many are before these, for errors."""
        raise NotImplementedError

    def encode_words(self, data: Bytes, start: Positions, end: Positions, *, byte_level: bool) -> tuple[Ids, Positions]:
        """Like `tokenize_pieces`, but returns only ids and rows, without a cache: for words that come once."""
        tokens = self.tokenize_pieces(data, start, end, byte_level=byte_level)
        return tokens.ids, tokens.rows

    def encode_lines(self, data: Bytes, start: Positions, end: Positions) -> tuple[Ids, Positions]:
        """Like `encode_words`, for parts of lines in which a space stands for the character `▁`."""
        from gputok.kernels.cpu.rewrite import gather

        gathered, offsets = gather(data, start, end)
        lines = Pieces(gathered, offsets[:-1], offsets[1:], np.array([0, len(start)]))
        written = rewrite(lines, {ord(" "): "▁".encode()})
        return self.encode_words(written.data, written.start, written.end, byte_level=False)

    def handle(self, byte_level: bool) -> tuple[Any, Callable[[], Any] | None] | None:
        """Returns what `kernels.cpu.encode_one` needs of the model; None: `tokenize_pieces` encodes short texts.

        It needs tables, and a function, or None, that makes other tables, by which much text is encoded faster.
        """
        return None

    @derived
    def shared(self) -> dict[Any, Any]:
        """What encoding and `gputok.explain` made of the model alone: all pipelines with this model share it."""
        return {}

    @property
    def is_random(self) -> bool:
        """True if the model may return other tokens for the same word the next time."""
        return False

    def update(self, **learned: Any) -> None:
        """Sets what a trainer has learned; the other options of the model stay as they are.

        Args:
            learned: arguments of the class.

        Example:
            >>> from gputok.models import WordLevel
            >>> words = WordLevel(unk_token="?")
            >>> words.update(vocab={"?": 0, "yes": 1})
            >>> words
            WordLevel(vocab={"?":0, "yes":1}, unk_token="?")
        """
        self._set(**vars(self.replace(**learned)))

    def replace(self, **changes: Any) -> Self:
        """Makes a model with the same options, except `changes`, which are arguments of the class."""
        names = inspect.signature(type(self)).parameters
        state = dict(vars(self))  # copied in one step: other threads may be adding derived values
        kept = {name: value for name, value in state.items() if name in names}
        return type(self)(**{**kept, **changes})

    def fields(self) -> dict[str, Any]:
        """Returns the JSON form, whose long values are `gputok.files.json_text.Packed` objects; here, the options."""
        return super().to_dict()

    def to_dict(self) -> dict[str, Any]:
        return {name: value.plain() if isinstance(value, Packed) else value for name, value in self.fields().items()}

    def token_to_id(self, tokens: str) -> int | None:
        """Returns the id of a token, or None if the vocabulary lacks the token."""
        return self.vocabulary.mapping.get(tokens)

    def id_to_token(self, id: int) -> str | None:
        """Returns the token with an id, or None if no token has it; raises OverflowError unless it has 32 bits."""
        if not 0 <= operator.index(id) < 2**32:
            raise OverflowError(f"expected an id from 0 to 2**32 - 1, got {id}")
        return self.vocabulary.names.get(id)

    def get_vocab(self) -> dict[str, int]:
        """Returns a new dictionary of tokens and their ids."""
        return dict(self.vocabulary.mapping)

    def get_vocab_size(self) -> int:
        """Returns the number of tokens."""
        return len(self.vocabulary)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes the model in its own file format.

        Args:
            folder: an existing folder.
            prefix: None, or the start of the names of the files: `prefix-vocab.json` instead of `vocab.json`.

        Returns:
            The paths of the files.
        """
        raise NotImplementedError

    def get_trainer(self) -> Any:
        """Makes a trainer for this class of models, with default options."""
        folder, name = self.trainer.split(".")
        return getattr(importlib.import_module(f"gputok.models.{folder}.trainer"), name)()

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        fields = self.to_dict()
        for name, value in fields.items():
            if isinstance(value, list) and value and isinstance(value[0], list):
                fields[name] = [*map(tuple, value)]
        unrounded = {one.name: getattr(self, one.name) for one, about in self._declared() if about["written"]}
        return described(fields.pop("type"), fields | unrounded, n_items, n_bytes)


def missing_unk(token: str) -> ValueError:
    """Returns the error for an unknown piece if the vocabulary lacks the unknown token."""
    return ValueError(f"the unknown token {short(token)} is needed, but it isn't in the vocabulary")


def vocabulary_of(vocab: Any) -> Vocabulary:
    """Makes a vocabulary from the argument `vocab` of a model: a mapping of tokens to ids, a Vocabulary, or None."""
    if isinstance(vocab, Vocabulary):
        return vocab
    return checked("vocab", Vocabulary.from_mapping, {} if vocab is None else vocab)


def object_of(value: dict[str, Any], name: str) -> Any:
    """Returns value[name], a JSON object or a Vocabulary that a kernel read; no path, though constructors take it."""
    found = value[name]
    if not isinstance(found, dict | Vocabulary):
        raise WrongValue(f"must be an object, not {brief(found)}", name)
    return found


def require(value: dict[str, Any], kind: str, *names: str) -> None:
    """Raises ValueError if a JSON form lacks one of these fields, or if its vocabulary is null."""
    missing = [name for name in names if name not in value or (name == "vocab" and value[name] is None)]
    if missing:
        raise WrongValue(f"a {kind} model needs the fields {', '.join(names)}, but has no {', '.join(missing)}")


def slices(start: Positions, end: Positions, n_bytes: int = 1 << 20) -> list[tuple[int, int]]:
    """Divides pieces into ranges of about `n_bytes`, of one piece at least; raises ValueError for too long a piece."""
    check_lengths(start, end, "word")
    sizes = end - start
    if len(sizes) and sizes.sum() <= n_bytes:
        return [(0, len(sizes))]
    total = np.cumsum(sizes)
    cuts, at = [0], 0
    while at < len(total):
        before = int(total[at - 1]) if at else 0
        at = max(at + 1, int(np.searchsorted(total, before + n_bytes, side="right")))
        cuts.append(at)
    return list(itertools.pairwise(cuts))


def concat_tokens(parts: list[Tokens]) -> Tokens:
    """Concatenates the tokens of consecutive ranges of pieces."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Tokens(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(1, np.int64))
    *columns, rows = zip(*parts, strict=True)
    ids, start, end = map(np.concatenate, columns)
    return Tokens(ids, start, end, joined_offsets(rows))


def tokenize_byte_level(model: Model, data: Bytes, start: Positions, end: Positions) -> Tokens:
    """Tokenizes byte-level pieces by a model that reads characters; tokens have the positions of bytes in `data`."""
    return concat_tokens(
        [_tokenize_byte_level(model, data, start[a:b], end[a:b]) for a, b in slices(start, end, 1 << 26)]
    )


def _tokenize_byte_level(model: Model, data: Bytes, start: Positions, end: Positions) -> Tokens:
    """Does what `tokenize_byte_level` does, for pieces within so few bytes of `data` that 32 bits number them."""
    first = int(start.min(initial=len(data)))
    data, start, end = data[first : int(end.max(initial=first))], start - first, end - first
    check_lengths(np.zeros(1, np.int64), np.array([len(data)]), "text of words")
    at = np.arange(len(data), dtype=np.int32)
    rows = np.array([0, len(start)], np.int64)
    pieces = spell_out(Pieces(data, start, end, rows, None, Alignment(at, at + 1), byte_level=True))
    origin = pieces.alignment
    assert origin is not None  # spell_out keeps an alignment
    found = model.tokenize_pieces(pieces.data, pieces.start, pieces.end, byte_level=False)
    if not len(found.ids):
        return found
    word = np.repeat(np.arange(len(start)), np.diff(found.rows))
    last = len(pieces.data) - 1
    first_byte, last_byte = np.minimum(found.start, last), np.minimum(found.end - 1, last)
    # With an affix, a token can end after the spelled-out word. As in tokenizers, its position is then counted in bytes
    # of the spelled-out word, from the start of the word
    beyond, ahead = found.end > pieces.end[word], start[word] - pieces.start[word]
    return found._replace(
        start=np.where(beyond, found.start + ahead, origin.start[first_byte]) + first,
        end=np.where(beyond, found.end + ahead, origin.end[last_byte]) + first,
    )


def written(folder: str, prefix: str | None, name: str, data: bytes) -> str:
    """Writes the file `[prefix-]name` in a folder, and returns its path."""
    import pathlib

    from gputok.files.atomic import replacing

    path = pathlib.Path(folder, name if prefix is None else f"{prefix}-{name}")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return str(path)


def read_json_vocabulary(path: str) -> dict[str, Any]:
    """Reads a vocab.json. As in `tokenizers`, entries whose values are not numbers are left out."""
    with in_file(path), open(path, encoding="utf-8") as file:
        try:
            vocabulary = json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: expected a JSON file: {error}") from None
    if not isinstance(vocabulary, dict):
        raise ValueError(f"{path}: expected a JSON object of tokens and ids, got {type(vocabulary).__name__}")
    return {token: id for token, id in vocabulary.items() if isinstance(id, int | float) and not isinstance(id, bool)}
