"""What every model is: text in, tokens out, and files to keep it in."""

from __future__ import annotations

import inspect
import itertools
import json
import operator
import pathlib
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from gputok.components import Component, derived, described
from gputok.fields import WrongValue, brief, checked, short
from gputok.files.atomic import replacing
from gputok.files.json_text import Packed
from gputok.text.pieces import Alignment, Pieces, check_lengths, spell_out
from gputok.text.pre_tokenized_string import Token
from gputok.tokens.vocabulary import Vocabulary
from gputok.types import Array, public


@public("gputok.models")
class Tokens(NamedTuple):
    """The tokens of many pieces of text."""

    ids: Array  # uint32[t]
    start: Array  # int64[t], first byte in the text that the pieces lie in
    end: Array  # int64[t]
    rows: Array  # int64[n_pieces + 1]; piece i has tokens rows[i]:rows[i + 1]


class Model(Component):
    """Base of the four models. `Model.from_dict` makes the one that a JSON form describes."""

    kind: ClassVar[str] = "model"
    home: ClassVar[str] = "gputok.models"
    place: ClassVar[int]  # among the kinds that a JSON form without `type` is tried as
    vocabulary: Vocabulary

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # As in tokenizers, where a pickled tokenizer begins with it: Model() is an empty BPE.
        empty = cls is Model and not args and not kwargs
        return super().__new__(cls.types()["BPE"] if empty else cls, *args, **kwargs)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A model from its JSON form. One without `type` is the first kind that it has all the fields of."""
        if not isinstance(value, dict):
            raise WrongValue(f"expected a model as a JSON object, got {brief(value)}")
        if cls is not Model or "type" in value:
            return super().from_dict(value)
        for kind in sorted(cls.types().values(), key=lambda kind: kind.place):
            try:
                return kind.from_dict(value)
            except (KeyError, TypeError, ValueError):
                continue
        raise ValueError(
            f"expected a model with the field `type`, or with all fields of a kind; got the fields {short(list(value))}"
        )

    def tokenize(self, sequence: str) -> list[Token]:
        """The tokens of one piece of text, with offsets in bytes."""
        if not isinstance(sequence, str):
            raise TypeError(f"a model tokenizes a string, not {type(sequence).__name__}")
        data, model = np.frombuffer(sequence.encode(), np.uint8), self.frozen()
        found = model.tokenize_pieces(
            data, np.zeros(1, np.int64), np.array([len(data)], np.int64), byte_level=False
        )
        spans = zip(found.start.tolist(), found.end.tolist(), strict=True)
        return list(map(Token, found.ids.tolist(), model.values(found, data), spans))

    def values(self, tokens: Tokens, data: Array, *, byte_level: bool = False) -> list[str]:
        """What tokens of `data` are called, as in `Encoding.tokens`: their names in the vocabulary.

        Unigram's unknown token is called what the text is that it covers.
        """
        return list(map(self.vocabulary.names.__getitem__, tokens.ids.tolist()))

    def tokenize_pieces(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> Tokens:
        """The tokens of pieces data[start[i]:end[i]].

        data: uint8[n], UTF-8, or with `byte_level` raw bytes that stand for ByteLevel characters; start, end:
        int64[n_pieces]. What raises an error in one piece raises it for all.
        """
        raise NotImplementedError

    def encode_words(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> tuple[Array, Array]:
        """`ids` and `rows` alone of `tokenize_pieces`, for one who asks for a word but once: nothing is kept."""
        tokens = self.tokenize_pieces(data, start, end, byte_level=byte_level)
        return tokens.ids, tokens.rows

    @derived
    def _encoders(self) -> dict[Any, list[Any]]:
        """What `gputok.pipeline.encode_corpus` keeps of this model, for threads: a list's pop and append are atomic."""
        return {}

    @property
    def is_random(self) -> bool:
        """May it give other tokens for the same word the next time?"""
        return False

    @property
    def byte_tables(self) -> Any:
        """The `kernels.BpeTables` for bytes that stand for ByteLevel characters; None for a model that has none."""
        return None

    def update(self, **learnt: Any) -> None:
        """Takes what a trainer learnt, by the names of the class's arguments; its other options stay.

        >>> from gputok.models import WordLevel
        >>> words = WordLevel(unk_token="?")
        >>> words.update(vocab={"?": 0, "yes": 1})
        >>> words
        WordLevel(vocab={"?":0, "yes":1}, unk_token="?")
        """
        self._set(**vars(self.replace(**learnt)))

    def replace(self, **changes: Any) -> Self:
        """A model with the same options, but for these, by the names of the class's arguments."""
        names = inspect.signature(type(self)).parameters
        state = dict(vars(self))  # copied at once: other threads put in what they derive
        kept = {name: value for name, value in state.items() if name in names}
        return type(self)(**{**kept, **changes})

    def fields(self) -> dict[str, Any]:
        """The JSON form, with what is long as `gputok.files.json_text.Packed` values."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {
            name: value.plain() if isinstance(value, Packed) else value
            for name, value in self.fields().items()
        }

    def token_to_id(self, tokens: str) -> int | None:
        """The id of a token, None if the vocabulary lacks it."""
        return self.vocabulary.mapping.get(tokens)

    def id_to_token(self, id: int) -> str | None:
        """The token with an id, None if there is none."""
        if not 0 <= operator.index(id) < 2**32:
            raise OverflowError(f"an id is from 0 to 2**32 - 1, not {id}")
        return self.vocabulary.names.get(id)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        return dict(self.vocabulary.mapping)

    def get_vocab_size(self) -> int:
        return len(self.vocabulary)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes the model's own files into a folder; returns their paths."""
        raise NotImplementedError

    def get_trainer(self) -> Any:
        """A trainer for this kind of model, with its defaults."""
        raise NotImplementedError

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        fields = self.to_dict()
        return described(fields.pop("type"), fields, n_items, n_bytes)


def missing_unk(token: str) -> ValueError:
    return ValueError(f"the unknown token {short(token)} is needed, but it isn't in the vocabulary")


def vocabulary_of(vocab: Any) -> Vocabulary:
    """From token -> id, given as the argument `vocab`, or packed already."""
    if isinstance(vocab, Vocabulary):
        return vocab
    return checked("vocab", Vocabulary.from_mapping, {} if vocab is None else vocab)


def object_of(value: dict[str, Any], name: str) -> dict[str, Any] | Vocabulary:
    """A field of a JSON form that must be an object: a string is the path of a file only outside of files."""
    if not isinstance(value[name], dict | Vocabulary):
        raise WrongValue(f"must be an object, not {brief(value[name])}", name)
    return value[name]


def require(value: dict[str, Any], kind: str, *names: str) -> None:
    """Raises a ValueError if a JSON form lacks one of these fields, or has null for the vocabulary."""
    missing = [name for name in names if name not in value or (name == "vocab" and value[name] is None)]
    if missing:
        raise WrongValue(
            f"a {kind} model needs the fields {', '.join(names)}, but {', '.join(missing)} isn't there"
        )


def slices(start: Array, end: Array, n_bytes: int = 1 << 20) -> list[tuple[int, int]]:
    """Ranges of pieces with about so many bytes each, at least one piece in each; ValueError: one is too long."""
    check_lengths(start, end, "word")
    sizes = end - start
    if len(sizes) and sizes.sum() <= n_bytes:
        return [(0, len(sizes))]
    total = np.cumsum(sizes)
    cuts, at = [0], 0
    while at < len(total):
        seen = int(total[at - 1]) if at else 0
        at = max(at + 1, int(np.searchsorted(total, seen + n_bytes, side="right")))
        cuts.append(at)
    return list(itertools.pairwise(cuts))


def joined(parts: list[Tokens]) -> Tokens:
    """Tokens of consecutive ranges of pieces as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Tokens(
            np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(1, np.int64)
        )
    ids, start, end = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:3])
    base = np.cumsum([0, *(len(part.ids) for part in parts)])
    rows = [part.rows[:-1] + first for part, first in zip(parts, base.tolist(), strict=False)]
    return Tokens(ids, start, end, np.concatenate([*rows, base[-1:]]))


def tokenize_spelled(model: Model, data: Array, start: Array, end: Array) -> Tokens:
    """Tokens of byte-level pieces for a model that reads characters; positions are again those of the raw bytes."""
    return joined(
        [_tokenize_spelled(model, data, start[a:b], end[a:b]) for a, b in slices(start, end, 1 << 26)]
    )


def _tokenize_spelled(model: Model, data: Array, start: Array, end: Array) -> Tokens:
    """The same for pieces that lie within so many bytes that these can be numbered in 32 bits."""
    first = int(start.min(initial=len(data)))
    data, start, end = data[first : int(end.max(initial=first))], start - first, end - first
    check_lengths(np.zeros(1, np.int64), np.array([len(data)]), "text of words")
    at = np.arange(len(data), dtype=np.int32)
    rows = np.array([0, len(start)], np.int64)
    spelled = spell_out(Pieces(data, start, end, rows, None, Alignment(at, at + 1), byte_level=True))
    found = model.tokenize_pieces(spelled.data, spelled.start, spelled.end, byte_level=False)
    if not len(found.ids):
        return found
    last = len(spelled.data) - 1  # byte tokens of an affix reach past their word, as in the namesake
    first_byte, last_byte = np.minimum(found.start, last), np.minimum(found.end - 1, last)
    origin = spelled.alignment
    return found._replace(
        start=origin.start[first_byte].astype(np.int64) + first,
        end=origin.end[last_byte].astype(np.int64) + first,
    )


def write_json(folder: str, prefix: str | None, name: str, value: Any, *, indent: int | None = None) -> str:
    """Writes `[prefix-]name` in the folder, as the namesake's `save` does, and returns its path."""
    path = target(folder, prefix, name)
    separators = (",", ":") if indent is None else (",", ": ")
    with replacing(path) as beside:
        text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
        beside.write_text(text, encoding="utf-8")
    return str(path)


def target(folder: str, prefix: str | None, name: str) -> pathlib.Path:
    return pathlib.Path(folder, name if prefix is None else f"{prefix}-{name}")


def read_json_vocabulary(path: str) -> dict[str, int]:
    """A vocab.json; entries that aren't numbers are left out, as in the namesake."""
    with open(path, encoding="utf-8") as file:
        try:
            vocabulary = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} isn't a JSON file: {error}") from None
    if not isinstance(vocabulary, dict):
        raise ValueError(f"{path} must hold an object of tokens and ids, not {type(vocabulary).__name__}")
    return {
        token: id
        for token, id in vocabulary.items()
        if isinstance(id, int | float) and not isinstance(id, bool)
    }
