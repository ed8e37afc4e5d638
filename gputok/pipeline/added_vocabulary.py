"""Tokens added to a tokenizer beside its model's vocabulary: found in the text before the model sees it."""

from __future__ import annotations

import copy
import functools
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.tokens.added_token import AddedToken
from gputok.types import Array

if TYPE_CHECKING:
    from gputok.models import Model


class AddedVocabulary:
    """The added tokens of one tokenizer at one moment: ids of contents, and finding them in text.

    Nobody changes one: what adds a token makes another one. What is derived of it, it keeps.
    """

    names: Any = None
    """What `gputok.pipeline.names` last made of these tokens."""

    def __init__(self) -> None:
        self.tokens: dict[int, AddedToken] = {}
        self.ids: dict[str, int] = {}
        self.special: set[str] = set()
        self.encode_special_tokens = False
        # what the normalizer makes of contents, where that is another text
        self._normalized: dict[int, str] = {}
        self._finders: dict[tuple[bool, bool], _Finder | None] = {}

    def with_tokens(
        self, tokens: Iterable[AddedToken], model: Model, normalizer: Any = None
    ) -> tuple[AddedVocabulary, int]:
        """These tokens and others, each with the id that its content has in the model or with the next free one.

        Returns also how many were not there with the same options before; empty ones do not count.
        """
        new, n_added, size = self._copy(), 0, model.get_vocab_size()
        next_id = max(size, max(self.tokens, default=-1) + 1)
        # What the caller does to the objects later is no concern of ours
        copies = [AddedToken(**token.to_dict()) for token in tokens]
        in_model = model.vocabulary.find([token.content for token in copies])
        for token, model_id in zip(copies, in_model, strict=True):
            known = new.ids.get(token.content)
            if not token.content or (known is not None and new.tokens.get(known) == token):
                continue
            token_id = model_id if known is None else known
            if token_id is None:
                token_id, next_id = next_id, next_id + 1
            new.ids[token.content] = token_id
            new.tokens[token_id] = token
            if token.special:
                new.special.add(token.content)
            new._normalize(token_id, normalizer)
            n_added += 1
        return (new, n_added) if n_added else (self, 0)

    def renormalized(self, normalizer: Any) -> AddedVocabulary:
        """The same tokens, looked for as another normalizer writes them."""
        new = self._copy()
        new._normalized = {}
        for token_id in new.tokens:
            new._normalize(token_id, normalizer)
        return new

    def encoding_special_tokens(self, value: bool) -> AddedVocabulary:
        """The same tokens, special ones being encoded as ordinary text, or found."""
        new = copy.copy(self)  # with what is derived, which is for both
        new.encode_special_tokens = value
        return new

    def _copy(self) -> AddedVocabulary:
        new = AddedVocabulary()
        new.tokens, new.ids, new.special = dict(self.tokens), dict(self.ids), set(self.special)
        new.encode_special_tokens, new._normalized = self.encode_special_tokens, dict(self._normalized)
        return new

    def _normalize(self, token_id: int, normalizer: Any) -> None:
        token = self.tokens[token_id]
        self._normalized.pop(token_id, None)  # what it was with other options
        if token.normalized and normalizer is not None:
            text = normalizer.normalize_str(token.content)
            if text != token.content:
                self._normalized[token_id] = text

    def text(self, token_id: int) -> str | None:
        """The text of a token's id for decoding: as the normalizer would write it, if it goes through it."""
        token = self.tokens.get(token_id)
        return None if token is None else self._normalized.get(token_id, token.content)

    def pattern(self, token_id: int) -> str:
        """What a token is looked for as."""
        token = self.tokens[token_id]
        return self._normalized.get(token_id, token.content) if token.normalized else token.content

    def finder(self, normalized: bool) -> _Finder | None:
        """What finds the tokens that are looked for in raw or in normalized text; None: there are none."""
        key = normalized, self.encode_special_tokens
        if key not in self._finders:
            self._finders[key] = self._finder(*key)
        return self._finders[key]

    def extract(self, pieces: Pieces, *, normalized: bool) -> Pieces:
        """Cuts pieces at the tokens that are looked for in raw or in normalized text; drops empty pieces of text."""
        finder = self.finder(normalized)
        if finder is None or not finder.may_find(pieces):
            return pieces.without_empty()
        if pieces.byte_level:  # tokens are looked for among the characters that stand for bytes
            pieces = spell_out(pieces)
        return finder.cut(pieces)

    def _finder(self, normalized: bool, encode_special_tokens: bool) -> _Finder | None:
        from gputok.kernels.cpu.find_tokens import (
            IGNORED,
            LSTRIP,
            RSTRIP,
            SINGLE_WORD,
            build_trie,
            first_bytes,
        )

        chosen = {
            token_id: (self.pattern(token_id), token)
            for token_id, token in self.tokens.items()
            if token.normalized == normalized
        }
        chosen = {token_id: (text, token) for token_id, (text, token) in chosen.items() if text}
        if not chosen:
            return None
        options = [
            token.single_word * SINGLE_WORD
            | token.lstrip * LSTRIP
            | token.rstrip * RSTRIP
            | (encode_special_tokens and token.content in self.special) * IGNORED
            for _, token in chosen.values()
        ]
        batch = TextBatch.from_strings(text for text, _ in chosen.values())
        trie = build_trie(batch.data.copy(), batch.offsets)
        return _Finder(np.array([*chosen], np.int64), np.array(options, np.uint8), trie, first_bytes(trie))


_SHORT = 1 << 10  # bytes of a text that is looked through at once, before a kernel is called


class _Finder(NamedTuple):
    """Added tokens as a trie over bytes; see kernels/cpu/find_tokens.py."""

    ids: Array  # int64[n_tokens]
    options: Array  # uint8[n_tokens]
    trie: tuple[Array, Array, Array]
    first: tuple[Array, Array]  # bytes that tokens begin with

    def cut(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.find_tokens import find_tokens

        skip = np.zeros(pieces.n_pieces, bool) if pieces.token is None else pieces.token >= 0
        words = self.words()
        text = pieces.data, pieces.start, pieces.end, skip
        start, end, found, rows = find_tokens(*text, self.trie, self.options, words, self.first)
        if len(start) == pieces.n_pieces and not np.count_nonzero(found >= 0):
            return pieces
        token = np.where(found >= 0, self.ids[found], -1)
        if pieces.token is not None:
            before = np.repeat(pieces.token, np.diff(rows))
            token = np.where(before >= 0, before, token)
        return pieces._replace(
            start=start, end=end, rows=rows[pieces.rows], token=token if (token >= 0).any() else None
        )

    def words(self) -> Array:
        """`word_bits` if a token asks for them, else uint8[0]."""
        from gputok.kernels.cpu.find_tokens import SINGLE_WORD

        return word_bits() if (self.options & SINGLE_WORD).any() else np.zeros(0, np.uint8)

    def may_find(self, pieces: Pieces) -> bool:
        """False: a short text has none of the bytes that tokens begin with, and no kernel need be called."""
        from gputok.kernels.cpu.find_tokens import FEW

        few = self.first[1].tolist()
        if len(pieces.data) >= _SHORT or len(few) > FEW or pieces.byte_level:
            return True
        text = pieces.data.tobytes()
        return any(byte in text for byte in few)


@functools.cache
def word_bits() -> Array:
    """uint8[0x110000 / 8], bit c: is character c part of words? By the tables of the namesake's `regex` crate."""
    path = pathlib.Path(__file__).parent / "word_characters.npz"
    with np.load(path) as file:
        first, last = file["first"], file["last"]  # int32[n]: the ranges of such characters
    edges = np.zeros(0x110001, np.int8)
    edges[first], edges[last + 1] = 1, -1
    return np.packbits(np.cumsum(edges[:-1], dtype=np.int8), bitorder="little")
