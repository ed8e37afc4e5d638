"""The vocabulary of a tokenizer: ids, tokens, added tokens, and text again from ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gputok.added_tokens import AddedToken
from gputok.rows import Spelling
from gputok.tokenizer.steps import Pipeline


class WithVocabulary(Pipeline):
    """What a tokenizer knows of tokens, and decoding."""

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special_tokens: bool = True) -> str:
        """The text of ids (a list or an array); ids that do not exist are passed over."""
        texts = self._texts
        special = self._added.special if skip_special_tokens else ()
        tokens = [
            text for text in map(texts.__getitem__, _id_list(ids)) if text is not None and text not in special
        ]
        return " ".join(tokens) if self._decoder is None else self._decoder.decode(tokens)

    def decode_batch(self, sequences: Iterable[Any], skip_special_tokens: bool = True) -> list[str]:
        """The texts of many lists or arrays of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    async def async_decode_batch(
        self, sequences: Iterable[Any], skip_special_tokens: bool = True
    ) -> list[str]:
        """`decode_batch` on another thread."""
        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    @property
    def _texts(self) -> dict[int, str | None]:
        """For decoding: id -> text, None where there is none. Made for the vocabulary as it is now."""
        return self._spellings[1]

    @property
    def spelling(self) -> Spelling:
        """For encoding: id -> text as `Encoding.tokens` shows it. Made for the vocabulary as it is now."""
        return self._spellings[0]

    @property
    def odd_tokens(self) -> list[int]:
        """The ids of added tokens whose text in `Encoding.tokens` is not always that of `spelling`."""
        spelling = self.spelling
        return [
            token_id
            for token_id, token in self._added.tokens.items()
            if token.lstrip or token.rstrip or self._added.pattern(token_id) != spelling[token_id]
        ]

    @property
    def _spellings(self) -> tuple[Spelling, dict[int, str | None]]:
        if self._spelling is None:
            model, added, vocabulary = self._model, self._added, self._model.vocabulary
            contents = {token_id: token.content for token_id, token in added.tokens.items()}
            decoded = {token_id: added.text(token_id) for token_id in added.tokens}

            def in_encodings(token_id: int) -> str | None:
                text = vocabulary.names.get(token_id)  # as it is now, whatever the model learns later
                return contents.get(token_id) if text is None else text

            def when_decoded(token_id: int) -> str | None:
                text = decoded.get(token_id)
                return model.id_to_token(token_id) if text is None else text

            self._spelling = Spelling(in_encodings), _Texts(when_decoded)
        return self._spelling

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        if not isinstance(token, str):
            raise TypeError(f"token: '{type(token).__name__}' object is not an instance of 'str'")
        found = self._added.ids.get(token)
        return self._model.token_to_id(token) if found is None else found

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or None; an added token as the normalizer would write it."""
        text = self._added.text(id)
        return self._model.id_to_token(id) if text is None else text

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        vocabulary = self._model.get_vocab()
        return vocabulary | self._added.ids if with_added_tokens else vocabulary

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """The number of tokens."""
        size = self._model.get_vocab_size()
        if with_added_tokens:
            size += sum(self._model.token_to_id(token) is None for token in self._added.ids)
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
        return self._add(
            AddedToken(token, special=True) if isinstance(token, str) else token
            for token in _token_list(tokens, special=True)
        )

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        n_added = self._added.add(tokens, self._model, self._normalizer)
        self._spelling = None
        return n_added

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return {
            token_id: AddedToken(**token.to_dict()) for token_id, token in sorted(self._added.tokens.items())
        }

    @property
    def encode_special_tokens(self) -> bool:
        """Whether special tokens in the text are encoded as ordinary text."""
        return self._added.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._added.encode_special_tokens = value


class _Texts(dict):
    """Like Spelling, but keeps apart what has no text."""

    def __init__(self, lookup: Any) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, token_id: int) -> str | None:
        if not 0 <= token_id < 1 << 32:
            raise OverflowError(f"an id is from 0 to 2**32 - 1, not {token_id}")
        text = self._lookup(token_id)
        if text is not None:
            self[token_id] = text
        return text


def _token_list(tokens: Any, *, special: bool = False) -> list[str | AddedToken]:
    if isinstance(tokens, list):
        tokens = [AddedToken.adopt(token, special=special) for token in tokens]
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
