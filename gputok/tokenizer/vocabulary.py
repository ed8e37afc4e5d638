"""The vocabulary of a tokenizer: ids, tokens, added tokens, and text again from ids."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gputok.added_tokens import AddedToken
from gputok.tokenizer.steps import Pipeline, WithSteps


class WithVocabulary(WithSteps):
    """What a tokenizer knows of tokens, and decoding."""

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = True) -> str:
        """The text of ids (a list or an array); ids that do not exist are passed over."""
        pipeline = self.pipeline
        texts, decoder = pipeline.names.texts, pipeline.decoder
        special = pipeline.added.special if skip_special_tokens else ()
        tokens = [
            text for text in map(texts.__getitem__, _id_list(ids)) if text is not None and text not in special
        ]
        return " ".join(tokens) if decoder is None else "".join(decoder.decode_chain(tokens))

    def decode_batch(self, sequences: Iterable[Any], skip_special_tokens: bool = True) -> list[str]:
        """The texts of many lists or arrays of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    async def async_decode_batch(
        self, sequences: Iterable[Any], skip_special_tokens: bool = True
    ) -> list[str]:
        """`decode_batch` on another thread."""
        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        if not isinstance(token, str):
            raise TypeError(f"token: '{type(token).__name__}' object is not an instance of 'str'")
        pipeline = self.pipeline
        found = pipeline.added.ids.get(token)
        return pipeline.model.token_to_id(token) if found is None else found

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or None; an added token as the normalizer would write it."""
        pipeline = self.pipeline
        text = pipeline.added.text(id)
        return pipeline.model.id_to_token(id) if text is None else text

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        pipeline = self.pipeline
        vocabulary = pipeline.model.get_vocab()
        return vocabulary | pipeline.added.ids if with_added_tokens else vocabulary

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """The number of tokens."""
        pipeline = self.pipeline
        size = pipeline.model.get_vocab_size()
        if with_added_tokens:
            size += sum(pipeline.model.token_to_id(token) is None for token in pipeline.added.ids)
        return size

    def add_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it; returns how many are new.

        >>> from gputok import models
        >>> tokenizer = Tokenizer(models.WordLevel({"a": 0}))
        >>> tokenizer.add_tokens(["b", AddedToken("c", lstrip=True), "b"])
        2
        """
        return self._add(
            AddedToken(token) if isinstance(token, str) else token for token in _token_list(tokens)
        )

    def add_special_tokens(self, tokens: list[str | AddedToken]) -> int:
        """Adds tokens that `decode` leaves out, or makes known ones such; returns how many are new."""
        given = _token_list(tokens)
        for token in given:
            if isinstance(token, AddedToken):
                token.special = True
        return self._add(
            AddedToken(token, special=True) if isinstance(token, str) else token for token in given
        )

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        tokens, n_added = [*tokens], 0

        def add(given: Pipeline) -> Pipeline:
            nonlocal n_added
            added, n_added = given.added.with_tokens(tokens, given.model, given.normalizer)
            return dataclasses.replace(given, added=added)

        self._change(add)
        return n_added

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return {
            token_id: AddedToken(**token.to_dict())
            for token_id, token in sorted(self._given.added.tokens.items())
        }

    @property
    def encode_special_tokens(self) -> bool:
        """Whether special tokens in the text are encoded as ordinary text."""
        return self._given.added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._change(
            lambda given: dataclasses.replace(given, added=given.added.encoding_special_tokens(value))
        )


def _token_list(tokens: Any) -> list[str | AddedToken]:
    if not isinstance(tokens, list) or not all(isinstance(token, str | AddedToken) for token in tokens):
        raise TypeError(f"Input must be a List[Union[str, AddedToken]], not {tokens!r}")
    return tokens


def _id_list(ids: Any) -> Sequence[int]:
    if isinstance(ids, list | tuple) and set(map(type, ids)) <= {int}:
        return ids
    array = np.asarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"ids must be a list or an array of whole numbers, not {type(ids).__name__} of {array.dtype}"
        )
    return array.tolist()
