"""WordPiece: the longest token first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gputok.components import derived
from gputok.fields import SIZE, integer, per_field, string
from gputok.files.atomic import replacing
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.types import Array

_LONGEST = 2**31 - 1  # no word has more characters


class WordPiece(Model):
    """Cuts a word from its start into the longest tokens that fit; a word that can't be cut so is unknown.

    vocab: token -> id, or the path of a vocab.txt with one token a line.
    unk_token: what stands for an unknown word.
    max_input_chars_per_word: longer words are unknown.
    continuing_subword_prefix: what stands before tokens that don't begin a word.

    >>> pieces = WordPiece({"[UNK]": 0, "un": 1, "##able": 2})
    >>> [token.value for token in pieces.tokenize("unable")]
    ['un', '##able']
    """

    place = 1
    checks = per_field(
        unk_token=string,
        continuing_subword_prefix=string,
        max_input_chars_per_word=integer(0, SIZE),
    )

    def __init__(
        self,
        vocab: Mapping[str, int] | str | None = None,
        unk_token: str = "[UNK]",
        max_input_chars_per_word: int = 100,
        continuing_subword_prefix: str = "##",
    ):
        self.unk_token = unk_token
        self.continuing_subword_prefix = continuing_subword_prefix
        self.max_input_chars_per_word = max_input_chars_per_word
        self.vocabulary = base.vocabulary_of(self.read_file(vocab) if isinstance(vocab, str) else vocab)

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """The contents of a vocab.txt: a token a line, its id is the line's number from 0."""
        with open(vocab, encoding="utf-8", newline="\n") as file:
            return {line.rstrip(): number for number, line in enumerate(file)}

    @classmethod
    def from_file(cls, vocab: str, **kwargs: Any) -> Self:
        """From a vocab.txt; further arguments are those of the class."""
        return cls(cls.read_file(vocab), **kwargs)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes [prefix-]vocab.txt into the folder; returns its path."""
        path = base.target(folder, prefix, "vocab.txt")
        lines = "".join(f"{token}\n" for token in self.vocabulary.plain())
        with replacing(path) as beside:
            beside.write_text(lines, encoding="utf-8", newline="\n")
        return [str(path)]

    def get_trainer(self) -> Any:
        """A WordPieceTrainer with its defaults."""
        from gputok.models.wordpiece.trainer import WordPieceTrainer

        return WordPieceTrainer()

    def fields(self) -> dict[str, Any]:
        return {
            "type": "WordPiece",
            "unk_token": self.unk_token,
            "continuing_subword_prefix": self.continuing_subword_prefix,
            "max_input_chars_per_word": self.max_input_chars_per_word,
            "vocab": self.vocabulary,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        names = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
        base.require(value, "WordPiece", *names)
        return cls(**{name: value[name] for name in names} | {"vocab": base.object_of(value, "vocab")})

    def tokenize_pieces(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> Tokens:
        from gputok.kernels.cpu import lookup, match_longest

        if byte_level:
            return base.tokenize_spelled(self, data, start, end)
        parts = []
        for first, last in base.slices(start, end):
            part = Tokens(
                *match_longest.match_longest(data, start[first:last], end[first:last], self._tables)
            )
            if self._tables.unk == lookup.NONE and (part.ids == lookup.NONE).any():
                raise base.missing_unk(self.unk_token)
            parts.append(part)
        return base.joined(parts)

    @derived
    def _tables(self) -> Any:
        from gputok.kernels import WordPieceTables
        from gputok.kernels.cpu import lookup, trie

        vocabulary = self.vocabulary
        return WordPieceTables(
            edges=trie.build_trie(vocabulary.data, vocabulary.offsets, vocabulary.ids),
            prefix=np.frombuffer(self.continuing_subword_prefix.encode(), np.uint8).copy(),
            unk=int(vocabulary.mapping.get(self.unk_token, lookup.NONE)),
            max_chars=min(self.max_input_chars_per_word, _LONGEST),
        )
