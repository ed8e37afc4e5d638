"""WordLevel, the model that looks up whole words in its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gputok.checks import checked, field, in_file, string
from gputok.kernels import WordLevelTables
from gputok.kernels.cpu import lookup
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.types import Bytes, Positions


class WordLevel(Model):
    """Makes each word one token.

    Args:
        vocab: a mapping of words to ids, or the path of a vocab.json.
        unk_token: the token that replaces words that the vocabulary lacks; None: "<unk>".

    Raises:
        TypeError: if a token is not a string, or an id not a whole number.
        ValueError: if an id is not allowed.

    Example:
        >>> words = WordLevel({"hello": 0, "<unk>": 1}, unk_token="<unk>")
        >>> [token.as_tuple() for token in words.tokenize("bye")]
        [(1, '<unk>', (0, 3))]
    """

    fixed = "its tokens are whole words, without merges: add words by `add_tokens`"
    turn = 2
    trainer = "wordlevel.WordLevelTrainer"
    unk_token: str = field(string)

    def __init__(self, vocab: Mapping[str, int] | str | None = None, unk_token: str | None = None) -> None:
        self.unk_token = "<unk>" if unk_token is None else unk_token
        self.vocabulary = base.vocabulary_of(self.read_file(vocab) if isinstance(vocab, str) else vocab)

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """Reads a vocab.json: a JSON object of words and their ids."""
        return base.read_json_vocabulary(vocab)

    @classmethod
    def from_file(cls, vocab: str, unk_token: str | None = None) -> Self:
        """Makes a model from a vocab.json.

        Args:
            vocab: the path of the file.
            unk_token: as for the class.
        """
        with in_file(vocab):
            return cls(cls.read_file(vocab), unk_token)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes `[prefix-]vocab.json` into a folder."""
        return [base.written(folder, prefix, "vocab.json", b"".join(self.vocabulary.json("")))]

    def fields(self) -> dict[str, Any]:
        return {"type": "WordLevel", "vocab": self.vocabulary, "unk_token": self.unk_token}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        base.require(value, "WordLevel", "vocab", "unk_token")
        return cls(base.object_of(value, "vocab"), checked("unk_token", string, value["unk_token"]))

    def handle(self, byte_level: bool) -> tuple[Any, Any] | None:
        unk, names = self.vocabulary.find([self.unk_token])[0], self.vocabulary
        return None if byte_level else (WordLevelTables(names.strings, names.ids, -1 if unk is None else unk), None)

    def _tokenized(self, data: Bytes, start: Positions, end: Positions, n_before: int) -> Tokens:
        found = lookup.find_strings(self.vocabulary.strings, data, start, end)
        missing = found < 0
        unk = self.vocabulary.mapping.get(self.unk_token) if missing.any() else None
        if unk is None and missing.any():
            raise base.missing_unk(self.unk_token)
        # -1, of a word that was not found, selects a wrong id, which is replaced
        ids = self.vocabulary.ids[found]
        if unk is not None:
            ids[missing] = unk
        return Tokens(ids, start, end, np.arange(len(ids) + 1))
