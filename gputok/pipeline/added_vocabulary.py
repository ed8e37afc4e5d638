"""Added tokens, which a tokenizer has in addition to the vocabulary of its model; they are found in the text first."""

from __future__ import annotations

import functools
import os
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.components import derived, without_collection
from gputok.encoding.rows import Spelling
from gputok.kernels.signatures import NamedTuple
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.tokens.added_token import AddedToken, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.tokens.vocabulary import Vocabulary
    from gputok.types import Bytes


class AddedVocabulary:
    """The added tokens of a tokenizer at one moment. It is never changed; adding a token makes a new object.

    Attributes:
        tokens: the added tokens by id.
        ids: the ids by content.
        special: the contents of the special tokens.
        encode_special_tokens: True: special tokens are not looked for in text.
        normalized: the normalized contents by id, of tokens with `normalized` whose content that changes.
        names: the texts of ids that `Pipeline.names` last made with these tokens.
    """

    names: Any = None

    def __init__(self) -> None:
        self.tokens: dict[int, AddedToken] = {}
        self.ids: dict[str, int] = {}
        self.special: set[str] = set()
        self.encode_special_tokens = False
        self.normalized: dict[int, str] = {}
        self._finders: dict[tuple[bool, bool], _Finder | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns the tokens; what was derived from them is made again where it is needed."""
        return {key: value for key, value in self.__dict__.items() if key != "names"} | {"_finders": {}}

    def state(self) -> dict[str, Any]:
        """Returns all that ids and texts depend on, as JSON values."""
        return {
            "encode_special_tokens": self.encode_special_tokens,
            "tokens": [[token_id, token.to_dict()] for token_id, token in sorted(self.tokens.items())],
            "ids": sorted(self.ids.items()),
            "special": sorted(self.special),
            "normalized": sorted(self.normalized.items()),
            # tokens in the order in which they were added: of those with the same text, one is found
            "order": [*self.tokens] if len({*map(self.pattern, self.tokens)}) < len(self.tokens) else None,
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> AddedVocabulary:
        """Returns the tokens of which `state` was made."""
        new = cls()
        tokens = {token_id: AddedToken(**options) for token_id, options in state["tokens"]}
        new.tokens = tokens if state["order"] is None else {id: tokens[id] for id in state["order"]}
        new.ids, new.special = dict(state["ids"]), set(state["special"])
        new.encode_special_tokens, new.normalized = state["encode_special_tokens"], dict(state["normalized"])
        return new

    @without_collection()
    def with_tokens(
        self, tokens: list[AddedToken], model: Model, normalizer: Normalizer | None = None
    ) -> tuple[AddedVocabulary, int]:
        """Adds tokens, which nothing else changes; a token gets the id of its content in the model, or else the next free id.

        Returns the new vocabulary, and how many of the tokens did not exist before with the same options. Tokens without
        content are left out.
        """
        new, changed, size = self._copy(), dict[int, None](), model.get_vocab_size()
        next_id, n_added = max(size, max(self.tokens, default=-1) + 1), 0
        in_model = model.vocabulary.find([token.content for token in tokens])
        for token, model_id in zip(tokens, in_model, strict=True):
            old_id = new.ids.get(token.content)
            if not token.content or (old_id is not None and new.tokens.get(old_id) == token):
                continue
            token_id = model_id if old_id is None else old_id
            if token_id is None:
                token_id, next_id = next_id, next_id + 1
            new.ids[token.content] = token_id
            new.tokens[token_id] = token
            if token.special:
                new.special.add(token.content)
            changed[token_id] = None
            n_added += 1
        new._normalize(changed, normalizer)
        return (new, n_added) if n_added else (self, 0)

    def renormalized(self, normalizer: Normalizer | None) -> AddedVocabulary:
        """Returns the same tokens, whose contents another normalizer normalizes."""
        new = self._copy()
        new.normalized = {}
        new._normalize(new.tokens, normalizer)
        return new

    def renumbered(self, new_ids: dict[int, int]) -> AddedVocabulary:
        """Returns the same tokens with other ids; new_ids: the new id of each token."""
        new = self._copy()
        new.tokens = {new_ids[id]: token for id, token in self.tokens.items()}
        new.ids = {content: new_ids[id] for content, id in self.ids.items()}
        new.normalized = {new_ids[id]: text for id, text in self.normalized.items()}
        return new

    def encoding_special_tokens(self, value: bool) -> AddedVocabulary:
        """Returns the same tokens with another value of `encode_special_tokens`."""
        new = AddedVocabulary()
        new.__dict__.update(self.__dict__)  # the derived values hold for both
        new.encode_special_tokens = value
        return new

    def protecting(self, contents: Iterable[str]) -> AddedVocabulary:
        """Returns the same tokens, of which those with these contents are encoded as ordinary text."""
        new = self._copy()
        new.special, new.encode_special_tokens, new.names = {*contents}, True, self.names
        return new

    def _copy(self) -> AddedVocabulary:
        new = AddedVocabulary()
        new.tokens, new.ids, new.special = dict(self.tokens), dict(self.ids), set(self.special)
        new.encode_special_tokens, new.normalized = self.encode_special_tokens, dict(self.normalized)
        return new

    def _normalize(self, token_ids: Iterable[int], normalizer: Normalizer | None) -> None:
        """Normalizes the contents of these tokens, which are new or have other options."""
        for token_id in self.normalized.keys() & token_ids if self.normalized else ():
            del self.normalized[token_id]
        wanted = [] if normalizer is None else [id for id in token_ids if self.tokens[id].normalized]
        if normalizer is None or not wanted:
            return
        contents = [self.tokens[token_id].content for token_id in wanted]
        pieces = normalizer.frozen().apply(Pieces.from_batch(TextBatch.from_strings(contents)))
        for token_id, content, text in zip(wanted, contents, spell_out(pieces).strings(), strict=True):
            if text != content:
                self.normalized[token_id] = text

    def text(self, token_id: int) -> str | None:
        """Returns the text of an id for decoding (the normalized content, if the token has `normalized`), or None."""
        token = self.tokens.get(token_id)
        return None if token is None else self.normalized.get(token_id, token.content)

    def pattern(self, token_id: int) -> str:
        """Returns the text by which a token is found: its content, normalized if the token has `normalized`."""
        token = self.tokens[token_id]
        return self.normalized.get(token_id, token.content) if token.normalized else token.content

    def finder(self, normalized: bool) -> _Finder | None:
        """Returns what finds the tokens that are looked for in raw or in normalized text; None: no such tokens."""
        key = normalized, self.encode_special_tokens
        if key not in self._finders:
            self._finders[key] = self._finder(*key)
        return self._finders[key]

    def extract(self, pieces: Pieces, *, normalized: bool) -> Pieces:
        """Makes the added tokens in a text pieces of their own, and removes empty pieces of text.

        normalized: the text is normalized: looks for the tokens that have `normalized`; False: for the others.
        """
        finder = self.finder(normalized)
        if finder is None or not finder.may_find(pieces):
            return pieces.without_empty()
        if pieces.byte_level:  # tokens are looked for in the characters that stand for bytes
            pieces = spell_out(pieces)
        return finder.cut(pieces)

    def apart(self, pieces: Pieces, normalizer: Normalizer | None) -> Pieces:
        """Makes the added tokens in a text pieces of their own, and normalizes the text between them."""
        pieces = self.extract(pieces, normalized=False)
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        return self.extract(pieces, normalized=True)

    def may_occur(self, text: Bytes) -> bool:
        """Returns False if no added token is found in any part of a text that no normalizer changes."""
        finders = (self.finder(normalized) for normalized in (False, True))
        return any(finder is not None and finder.finds_any(text) for finder in finders)

    @without_collection()
    def _finder(self, normalized: bool, encode_special_tokens: bool) -> _Finder | None:
        from gputok.kernels.cpu.find_tokens import IGNORED, LSTRIP, RSTRIP, SINGLE_WORD, build_trie, first_bytes

        changed = self.normalized if normalized else {}
        rows = zip(self.tokens, map(options_of, self.tokens.values()), strict=True)
        every = [
            (token_id, changed.get(token_id, content), content, *options)
            for token_id, (content, is_normalized, *options) in rows
            if is_normalized == normalized
        ]
        chosen = [one for one in every if one[1]]
        if not chosen:
            return None
        ids, texts, contents, *options = zip(*chosen, strict=True)
        single_word, lstrip, rstrip = np.array(options, np.uint8)
        ignored = np.array([content in self.special for content in contents]) if encode_special_tokens else np.uint8(0)
        bits = single_word * SINGLE_WORD | lstrip * LSTRIP | rstrip * RSTRIP | ignored * IGNORED
        batch = TextBatch.from_strings(texts)
        trie = build_trie(batch.data.copy(), batch.offsets)
        of_words = word_bits() if single_word.any() else np.zeros(0, np.uint8)
        return _Finder(np.array(ids, np.int64), bits.astype(np.uint8), of_words, trie, first_bytes(trie))


_MANY_PIECES = 64  # so many pieces are looked through as one text before each is
_SHORT = 1 << 10  # in a text of fewer bytes, Python looks for first bytes of tokens before it calls a kernel


class _Finder(NamedTuple):
    """Added tokens as a trie over bytes; see kernels/cpu/find_tokens.py."""

    ids: npt.NDArray[np.int64]  # int64[n_tokens]
    options: npt.NDArray[np.uint8]  # uint8[n_tokens]
    word_bits: npt.NDArray[np.uint8]  # of `word_bits` if a token asks for them, else uint8[0]
    trie: Any  # see build_trie
    first: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]  # the first bytes of tokens, see first_bytes

    def cut(self, pieces: Pieces) -> Pieces:
        """Makes the added tokens pieces of their own."""
        from gputok.kernels.cpu.find_tokens import find_tokens

        skip = np.zeros(pieces.n_pieces, bool) if pieces.token is None else pieces.token >= 0
        text = pieces.data, pieces.start, pieces.end, skip
        start, end, found, rows = find_tokens(*text, self.trie, self.options, self.word_bits, self.first)
        if len(start) == pieces.n_pieces and not np.count_nonzero(found >= 0):
            return pieces
        token = np.where(found >= 0, self.ids[found], -1)
        if pieces.token is not None:
            before = np.repeat(pieces.token, np.diff(rows))
            token = np.where(before >= 0, before, token)
        return pieces._replace(
            start=start, end=end, rows=rows[pieces.rows], token=token if (token >= 0).any() else None
        )

    def finds_any(self, text: Bytes) -> bool:
        """Returns True if the bytes of a token are anywhere in a text, whatever the options of the token ask for."""
        from gputok.kernels.cpu.find_tokens import has_token

        return has_token(text, self.trie, self.first)

    def may_find(self, pieces: Pieces) -> bool:
        """Returns False if no piece contains a token, or the text is short and has none of the first bytes of tokens.

        The pieces of a corpus are looked through together, as one text: that takes a twentieth of the time which lines take
        alone, and finds all that is in them, also what lies across pieces.
        """
        from gputok.kernels.cpu.find_tokens import FEW, ONE_PAIR

        some = self.first[1]
        if pieces.byte_level:
            return True
        if len(pieces.data) >= _SHORT or len(some) == FEW + 1:
            if pieces.n_pieces < _MANY_PIECES:
                return True
            return self.finds_any(pieces.data[pieces.start.min() : pieces.end.max()])
        text = pieces.data.tobytes()
        firsts = some[: 1 if len(some) == ONE_PAIR else FEW]
        return any(byte in text for byte in {*firsts.tolist()})


@functools.cache
def word_bits() -> Bytes:
    """Returns uint8[0x110000 / 8]: bit c is 1 if character c is a word character in the `regex` crate of `tokenizers`."""
    with np.load(os.path.join(os.path.dirname(__file__), "word_characters.npz")) as file:
        first, last = file["first"], file["last"]  # int32[n], the first and last characters of ranges
    edges = np.zeros(0x110001, np.int8)
    edges[first], edges[last + 1] = 1, -1
    return np.packbits(np.cumsum(edges[:-1], dtype=np.int8), bitorder="little")


_MOST_INTEGERS = 1 << 20


class Names:
    """The texts of the ids of a vocabulary and of added tokens; neither of these ever changes."""

    def __init__(self, vocabulary: Vocabulary, added: AddedVocabulary) -> None:
        self.vocabulary = vocabulary
        # Not `added`, which keeps these names
        tokens, normalized = self._tokens, self._normalized = added.tokens, added.normalized

        def in_encodings(token_id: int) -> str | None:
            text = vocabulary.name(token_id)
            return tokens[token_id].content if text is None and token_id in tokens else text

        def when_decoded(token_id: int) -> str | None:
            if token_id in tokens:
                return normalized.get(token_id, tokens[token_id].content)
            return vocabulary.name(token_id)

        self.spelling = Spelling(in_encodings)
        """Id -> text as `Encoding.tokens` shows it."""
        self.texts: dict[int, str | None] = _Texts(when_decoded)
        """Id -> text for decoding, or None if no token has the id."""

    @derived
    def n_ids(self) -> int:
        """The largest id + 1, but at most _MOST_INTEGERS: so many objects of numbers may be kept."""
        largest = max(int(self.vocabulary.ids.max(initial=0)), max(self._tokens, default=0))
        return min(largest + 1, _MOST_INTEGERS)

    @derived
    def shown_verbatim(self) -> list[int]:
        """The ids of added tokens that `Encoding.tokens` shows as the text that they cover, not by `spelling`.

        These are the tokens that may cover white space, or whose normalized content differs from the content; and those whose
        id has another text in the vocabulary.
        """
        largest, changed = int(self.vocabulary.ids.max(initial=0)), self._normalized
        options = [*map(options_of, self._tokens.values())]
        # All at once, where the vocabulary has another text for no id
        found = self.vocabulary.find([] if len(self.vocabulary.shared) else [content for content, *_ in options])
        return [
            id
            for id, same, (content, is_normalized, _, lstrip, rstrip) in zip_longest(self._tokens, found, options)
            if lstrip
            or rstrip
            or (id in changed and is_normalized)
            or (id != same and id <= largest and self.spelling[id] != content)
        ]


class _Texts(dict[int, str | None]):
    """Id -> the text of the token, or None, looked up at the first access."""

    def __init__(self, lookup: Callable[[int], str | None]) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, token_id: int) -> str | None:
        if not 0 <= token_id < 1 << 32:
            raise OverflowError(f"expected an id from 0 to 2**32 - 1, got {token_id}")
        text = self._lookup(token_id)
        if text is not None:
            self[token_id] = text
        return text
