"""Whole words looked up in the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gputok.fields import checked, per_field, string
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.types import Array


class WordLevel(Model):
    """Each word is a token or unknown.

    vocab: token -> id, or the path of a vocab.json; unk_token: what stands for words that the vocabulary lacks.

    >>> words = WordLevel({"hello": 0, "<unk>": 1}, unk_token="<unk>")
    >>> [token.as_tuple() for token in words.tokenize("bye")]
    [(1, '<unk>', (0, 3))]
    """

    place = 2
    checks = per_field(unk_token=string)

    def __init__(self, vocab: Mapping[str, int] | str | None = None, unk_token: str | None = None):
        self.unk_token = "<unk>" if unk_token is None else unk_token
        self.vocabulary = base.vocabulary_of(self.read_file(vocab) if isinstance(vocab, str) else vocab)

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """The contents of a vocab.json."""
        return base.read_json_vocabulary(vocab)

    @classmethod
    def from_file(cls, vocab: str, unk_token: str | None = None) -> Self:
        """From a vocab.json."""
        return cls(cls.read_file(vocab), unk_token)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes [prefix-]vocab.json into the folder; returns its path."""
        return [base.write_json(folder, prefix, "vocab.json", self.vocabulary.plain())]

    def get_trainer(self) -> Any:
        """A WordLevelTrainer with its defaults."""
        from gputok.models.wordlevel.trainer import WordLevelTrainer

        return WordLevelTrainer()

    def fields(self) -> dict[str, Any]:
        return {"type": "WordLevel", "vocab": self.vocabulary, "unk_token": self.unk_token}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        base.require(value, "WordLevel", "vocab", "unk_token")
        return cls(base.object_of(value, "vocab"), checked("unk_token", string, value["unk_token"]))

    def tokenize_pieces(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> Tokens:
        from gputok.kernels.cpu import lookup

        if byte_level:
            return base.tokenize_spelled(self, data, start, end)
        found = lookup.find_strings(self.vocabulary.strings, data, start, end)
        missing = found < 0
        unk = self.vocabulary.mapping.get(self.unk_token) if missing.any() else None
        if unk is None and missing.any():
            raise base.missing_unk(self.unk_token)
        ids = self.vocabulary.ids[found]  # for what wasn't found, -1 gives another word's id
        if unk is not None:
            ids[missing] = unk
        return Tokens(ids, start, end, np.arange(len(ids) + 1))
