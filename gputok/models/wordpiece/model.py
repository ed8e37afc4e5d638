"""WordPiece, the model that cuts each word into the longest tokens, from its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.checks import SIZE, field, in_file, integer, string
from gputok.components import derived
from gputok.kernels import WordPieceTables
from gputok.models import base
from gputok.models.base import Model, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gputok.types import Array, Bytes, Positions

_LONGEST = 2**31 - 1  # no word has more characters


class WordPiece(Model):
    """Cuts a word into tokens: from its start, always the longest token that fits.

    If at some position no token fits, the whole word becomes the unknown token.

    Args:
        vocab: a mapping of tokens to ids, or the path of a vocab.txt with one token on each line.
        unk_token: the token that replaces an unknown word.
        max_input_chars_per_word: longer words (in characters) become the unknown token.
        continuing_subword_prefix: the start of all tokens that don't begin a word.

    Raises:
        TypeError: if an argument, a token or an id has a wrong type.
        ValueError: if an argument or an id has a value that is not allowed.

    Example:
        >>> pieces = WordPiece({"[UNK]": 0, "un": 1, "##able": 2})
        >>> [token.value for token in pieces.tokenize("unable")]
        ['un', '##able']
    """

    fixed = "a word is cut into the longest tokens from the left, so that a new token moves the boundaries of old ones"
    turn = 1
    trainer = "wordpiece.WordPieceTrainer"
    stored = ("edges",)
    unk_token: str = field(string)
    continuing_subword_prefix: str = field(string)
    max_input_chars_per_word: int = field(integer(0, SIZE))

    def __init__(
        self,
        vocab: Mapping[str, int] | str | None = None,
        unk_token: str = "[UNK]",
        max_input_chars_per_word: int = 100,
        continuing_subword_prefix: str = "##",
    ) -> None:
        self.unk_token = unk_token
        self.continuing_subword_prefix = continuing_subword_prefix
        self.max_input_chars_per_word = max_input_chars_per_word
        self.vocabulary = base.vocabulary_of(self.read_file(vocab) if isinstance(vocab, str) else vocab)

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """Reads a vocab.txt: one token on each line; the id of a token is the number of its line, from 0."""
        with in_file(vocab), open(vocab, encoding="utf-8", newline="\n") as file:
            return {line.rstrip(): number for number, line in enumerate(file)}

    @classmethod
    def from_file(cls, vocab: str, **kwargs: Any) -> Self:
        """Makes a model from a vocab.txt.

        Args:
            vocab: the path of the file.
            kwargs: further arguments of the class.
        """
        with in_file(vocab):
            return cls(cls.read_file(vocab), **kwargs)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes `[prefix-]vocab.txt` into a folder.

        Raises:
            ValueError: if two tokens have the same id.
        """
        self.vocabulary.require_own_ids("a vocab.txt has one token on each line, whose number is the id")
        lines = "".join(f"{token}\n" for token in self.vocabulary.plain())
        return [base.written(folder, prefix, "vocab.txt", lines.encode())]

    def fields(self) -> dict[str, Any]:
        return super().fields() | {"vocab": self.vocabulary}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        names = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
        base.require(value, "WordPiece", *names)
        arguments: dict[str, Any] = {name: value[name] for name in names}
        return cls(**arguments | {"vocab": base.object_of(value, "vocab")})

    def handle(self, byte_level: bool) -> tuple[Any, Any] | None:
        from gputok.kernels.cpu.lookup import NONE

        return None if byte_level or self.tables.unk == NONE else (self.tables, None)

    def _tokenized(self, data: Bytes, start: Positions, end: Positions, n_before: int) -> Tokens:
        from gputok.kernels.cpu import lookup, match_longest

        found: Any = match_longest.match_longest(data, start, end, self.tables)
        tokens = Tokens(*found)
        if self.tables.unk == lookup.NONE and (tokens.ids == lookup.NONE).any():
            raise base.missing_unk(self.unk_token)
        return tokens

    @derived
    def edges(self) -> Array:
        """The trie of the tokens, as `gputok.kernels.WordPieceTables` has it."""
        from gputok.kernels.cpu import trie

        return trie.build_trie(self.vocabulary.data, self.vocabulary.offsets, self.vocabulary.ids)

    @derived
    def tables(self) -> WordPieceTables:
        """The model as the kernels take it."""
        from gputok.kernels.cpu import lookup

        vocabulary = self.vocabulary
        unk = vocabulary.find([self.unk_token])[0]  # `mapping` would make the names of all tokens
        return WordPieceTables(
            edges=self.edges,
            prefix=np.frombuffer(self.continuing_subword_prefix.encode(), np.uint8).copy(),
            unk=int(lookup.NONE) if unk is None else unk,
            max_chars=min(self.max_input_chars_per_word, _LONGEST),
        )
