"""Added tokens, which a tokenizer has in addition to the vocabulary of its model; they are found in the text first."""

from __future__ import annotations

import functools
import os
from collections import ChainMap
from itertools import compress, count, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gputok.components import derived
from gputok.encoding.rows import MOST_IDS, LazyTable, Spelling
from gputok.kernels.signatures import NamedTuple
from gputok.lazy import without_collection
from gputok.text.pieces import Pieces, TextBatch, regroup, spell_out
from gputok.tokens.added_token import SWITCHES, AddedToken
from gputok.tokens.vocabulary import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, MutableMapping, Sequence

    import numpy.typing as npt

    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.tokens.vocabulary import Vocabulary
    from gputok.types import Bytes, Positions


class AddedVocabulary:
    """The added tokens of a tokenizer at one moment. It is never changed; adding a token makes a new object.

    Attributes:
        tokens: the added tokens by id.
        ids: the ids by content.
        special: the contents of the special tokens.
        encode_special_tokens: True: special tokens are not looked for in text.
        normalized: id -> normalized content, of the tokens with `normalized` whose content the normalizer changes.
        names: the `Names` that `Pipeline.names` made last for these tokens, for other pipelines that have them, too.
        largest: the largest id, or -1.
    """

    names: Any = None

    def __init__(self) -> None:
        self.tokens: MutableMapping[int, AddedToken] = {}
        self.ids: MutableMapping[str, int] = {}
        self.special: set[str] = set()
        self.encode_special_tokens = False
        self.normalized: MutableMapping[int, str] = {}
        self.largest = -1
        self._listed: _Columns | None = None
        self._made: dict[Hashable, Any] = {}
        # Key of `derive` -> the value for an earlier vocabulary, and the ids of the tokens that were added since
        self._earlier: dict[Hashable, tuple[Any, list[int]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns the tokens without the values that were derived from them: these are made anew when needed."""
        return vars(self._copy())

    def derive(self, key: Hashable, make: Callable[[Any, Iterable[int]], Any]) -> Any:
        """Returns the value that is stored under a key; the first call makes it by `make`, and stores it.

        make: called with the value of an earlier vocabulary, and the ids of the tokens that were added since then; if
        there is no such value, with None and all ids.
        """
        if key not in self._made:
            self._made[key] = make(*self._earlier.get(key, (None, self.tokens)))
        return self._made[key]

    def state(self) -> dict[str, Any]:
        """Returns all that ids and texts depend on, as JSON values."""
        return {
            "encode_special_tokens": self.encode_special_tokens,
            "tokens": [[token_id, token.to_dict()] for token_id, token in sorted(self.tokens.items())],
            "ids": sorted(self.ids.items()),
            "special": sorted(self.special),
            "normalized": sorted(self.normalized.items()),
            # ids in the order in which tokens were added, which decides which of those with the same text is found
            "order": [*self.tokens] if len({*map(self.pattern, self.tokens)}) < len(self.tokens) else None,
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> AddedVocabulary:
        """Returns the tokens of which `state` was made."""
        new = cls()
        tokens = {token_id: AddedToken(**options) for token_id, options in state["tokens"]}
        new.tokens = tokens if state["order"] is None else {id: tokens[id] for id in state["order"]}
        new.ids, new.special, new.largest = dict(state["ids"]), set(state["special"]), max(tokens, default=-1)
        new.encode_special_tokens, new.normalized = state["encode_special_tokens"], dict(state["normalized"])
        return new

    @without_collection()
    def with_tokens(
        self, tokens: list[AddedToken], model: Model, normalizer: Normalizer | None = None
    ) -> tuple[AddedVocabulary, int]:
        """Adds tokens, each with the id that its content has in the model, or else with the next free id.

        tokens: they are not copied, so that nobody may change them later. Returns the new vocabulary, and how many
        tokens with content did not exist before with the same options.
        """
        contents = [token.content for token in tokens]
        in_model = model.vocabulary.find(contents)
        distinct = {*contents}
        replaces = len(distinct) < len(contents) or "" in distinct
        replaces = replaces or not (self.ids.keys().isdisjoint(distinct) and self.tokens.keys().isdisjoint(in_model))
        new = self._copy(whole=replaces or len(tokens) > _FEW)
        free_ids = count(max(model.get_vocab_size(), self.largest + 1))
        ids, known = new.ids, new.tokens
        if replaces:
            changed = dict[int, None]()
            n_added = 0
            for token, content, model_id in zip(tokens, contents, in_model, strict=True):
                old_id = ids.get(content)
                if not content or (old_id is not None and known.get(old_id) == token):
                    continue
                token_id = model_id if old_id is None else old_id
                if token_id is None:
                    token_id = next(free_ids)
                ids[content], known[token_id] = token_id, token
                changed[token_id] = None
                n_added += 1
        else:
            numbers = [next(free_ids) if model_id is None else model_id for model_id in in_model]
            ids.update(zip(contents, numbers, strict=True))
            known.update(zip(numbers, tokens, strict=True))
            changed, n_added = dict.fromkeys(numbers), len(tokens)
        special = {token.content for token in tokens if token.special and token.content}
        new.largest = max([self.largest, *changed])
        if special:
            new.special = self.special | special
        new._normalize(changed, normalizer)
        if not replaces:
            made = {key: (value, list[int]()) for key, value in self._made.items()}
            # With more ids, a value is made anew: else, if many tokens come one by one, each would copy all ids before
            new._earlier = {
                key: (value, [*since, *changed])
                for key, (value, since) in (self._earlier | made).items()
                if len(since) + len(changed) <= _FEW
            }
        return (new, n_added) if n_added else (self, 0)

    def renormalized(self, normalizer: Normalizer | None) -> AddedVocabulary:
        """Returns the same tokens, with the `normalized` contents of another normalizer."""
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
        new.largest = max(new.tokens, default=-1)
        return new

    def encoding_special_tokens(self, value: bool) -> AddedVocabulary:
        """Returns the same tokens with another value of `encode_special_tokens`."""
        new = AddedVocabulary()
        new.__dict__.update(self.__dict__)  # both share derived values: if the option matters, it is in the key
        new.encode_special_tokens = value
        return new

    def protecting(self, contents: Iterable[str]) -> AddedVocabulary:
        """Returns the same tokens, of which those with these contents are encoded as ordinary text."""
        new = self._copy()
        new.special, new.encode_special_tokens, new.names = {*contents}, True, self.names
        return new

    def _copy(self, *, whole: bool = True) -> AddedVocabulary:
        new, copied = AddedVocabulary(), flat if whole else _layered
        new.tokens, new.ids, new.special = copied(self.tokens), copied(self.ids), self.special
        new.encode_special_tokens, new.normalized = self.encode_special_tokens, copied(self.normalized)
        new.largest = self.largest
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

    def pattern(self, token_id: int) -> str:
        """Returns the text by which a token is found, and to which it is decoded: normalized if it has `normalized`."""
        return self.normalized.get(token_id, self.tokens[token_id].content)

    def finder(self, normalized: bool) -> _Finder | None:
        """Returns what finds the tokens that are looked for in raw or in normalized text; None: no such tokens."""
        key = normalized, self.encode_special_tokens
        return self.derive(key, functools.partial(self._finder, *key))

    def extract(self, pieces: Pieces, *, normalized: bool) -> Pieces:
        """Makes the added tokens of raw or of normalized text pieces of their own, and removes empty pieces of text."""
        finder = self.finder(normalized)
        if finder is None or not finder.may_find(pieces):
            return pieces.without_empty()
        if pieces.byte_level:  # tokens are looked for in the characters that stand for bytes
            pieces = spell_out(pieces)
        return finder.cut(pieces)

    def shown_verbatim(self, vocabulary: Vocabulary) -> list[int]:
        """Returns the ids of added tokens that `Encoding.tokens` shows as the text they cover, not by `Names.spelling`.

        Such a token may cover white space beside its content (`lstrip`, `rstrip`), or its content changes when it is
        normalized, or its id has another text in the vocabulary.
        """
        return self.derive(vocabulary, functools.partial(self._verbatim, vocabulary))

    def _verbatim(self, vocabulary: Vocabulary, earlier: list[int] | None, token_ids: Iterable[int]) -> list[int]:
        ids, contents, (normalized, _, lstrip, rstrip) = self._columns(token_ids)
        odd = lstrip | rstrip
        if self.normalized:
            odd |= normalized & np.isin(ids, [*self.normalized])
        inside = np.flatnonzero(ids <= vocabulary.ids.max(initial=0)).tolist()
        some = [(i, token_id, contents[i]) for i, token_id in zip(inside, ids[inside].tolist(), strict=True)]
        # All contents at once, unless tokens share ids: then a content can have an id whose name is another text
        found = vocabulary.find([] if len(vocabulary.shared) else [content for _, _, content in some])
        for (i, token_id, content), same in zip_longest(some, found):
            odd[i] |= token_id != same and vocabulary.name(token_id) not in (None, content)
        return [*(earlier or []), *ids[odd].tolist()]

    def _columns(self, token_ids: Iterable[int]) -> _Columns:
        """Returns the options of some tokens, and keeps them for the next call with the same ids."""
        ids = np.fromiter(token_ids, np.int64)
        if self._listed is None or not np.array_equal(self._listed.ids, ids):
            tokens = [*map(self.tokens.__getitem__, ids.tolist())]
            switches = [np.fromiter(map(switch_of, tokens), bool, len(tokens)) for switch_of in SWITCHES]
            self._listed = _Columns(ids, [token.content for token in tokens], np.array(switches))
        return self._listed

    def apart(self, pieces: Pieces, normalizer: Normalizer | None) -> Pieces:
        """Makes the added tokens in a text pieces of their own, and normalizes the text between them."""
        pieces = self.extract(pieces, normalized=False)
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        return self.extract(pieces, normalized=True)

    def may_occur(self, text: Bytes) -> bool:
        """Returns False if no added token occurs anywhere in a text; only for a text that no normalizer changes."""
        finders = map(self.finder, (False, True))
        return any(finder.finds_any(text) for finder in finders if finder is not None)

    @without_collection()
    def _finder(
        self, normalized: bool, encode_special_tokens: bool, earlier: _Finder | None, token_ids: Iterable[int]
    ) -> _Finder | None:
        from gputok.kernels.cpu.find_tokens import IGNORED, LSTRIP, RSTRIP, SINGLE_WORD

        ids, contents, (is_normalized, *switches) = self._columns(token_ids)
        at = np.flatnonzero(is_normalized == normalized)
        contents = [contents[i] for i in at.tolist()]
        texts = contents
        if normalized and self.normalized:
            texts = [*map(self.normalized.get, ids[at].tolist(), contents)]
            some = np.array([*map(len, texts)]) > 0
            at, contents, texts = at[some], [*compress(contents, some)], [*compress(texts, some)]
        if not texts:
            return earlier
        single_word, lstrip, rstrip = np.array(switches, np.uint8)[:, at]
        ignored = np.array([content in self.special for content in contents]) if encode_special_tokens else np.uint8(0)
        bits = single_word * SINGLE_WORD | lstrip * LSTRIP | rstrip * RSTRIP | ignored * IGNORED
        found = _Finder.of(earlier, ids[at], texts, bits.astype(np.uint8))
        return found or self._finder(normalized, encode_special_tokens, None, self.tokens)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
# When tokens are added, at most this many of the latest tokens, and a 64th of the earlier ones, are copied; else all
_FEW = 1 << 10


def flat(known: MutableMapping[_Key, _Value]) -> dict[_Key, _Value]:
    """Returns a copy as one dictionary."""
    if not isinstance(known, ChainMap):
        return dict(known)
    last, first = known.maps
    return {**first, **last}


def _layered(known: MutableMapping[_Key, _Value]) -> MutableMapping[_Key, _Value]:
    """Returns a copy to which entries can be added. Most old entries are in memory that both share and never change."""
    last: MutableMapping[_Key, _Value] = {}
    first = known
    if isinstance(known, ChainMap):
        last, first = known.maps
    if len(last) > _FEW + len(first) // 64:
        last, first = {}, flat(known)
    return ChainMap({**last}, first) if len(first) > _FEW else flat(known)


class _Columns(NamedTuple):
    """The ids, contents and options of some tokens, by column."""

    ids: npt.NDArray[np.int64]  # int64[n]
    contents: Sequence[str]
    switches: npt.NDArray[np.bool_]  # bool[4, n]: normalized, single_word, lstrip, rstrip


_MANY_PIECES = 64  # with so many pieces, their text is searched as a whole before each piece is
_SHORT = 1 << 10  # in a text of fewer bytes, Python looks for first bytes of tokens before it calls a kernel


class _Finder(NamedTuple):
    """Added tokens as a trie over bytes; see kernels/cpu/find_tokens.py.

    A finder for more tokens adds them to the same trie. Tokens have numbers in the trie, in the order of `options`; a
    finder ignores those from len(options) on.
    """

    ids: npt.NDArray[np.int64]  # int64[n_tokens]
    options: npt.NDArray[np.uint8]  # uint8[n_tokens]
    word_bits: npt.NDArray[np.uint8]  # the result of `word_bits` if a token has `single_word`, else uint8[0]
    edges: npt.NDArray[np.uint64]  # the trie, of `grow_trie`
    n_nodes: list[int]  # one number, of the nodes of the trie; empty: a later finder has added its tokens to the trie
    first: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]  # the first bytes of tokens, see first_bytes

    @classmethod
    def of(cls, earlier: _Finder | None, ids: Positions, texts: Sequence[str], options: Bytes) -> _Finder | None:
        """Makes a finder of these tokens and those of `earlier`; None: they can't be added to its trie."""
        from gputok.kernels.cpu.find_tokens import SINGLE_WORD, first_bytes
        from gputok.kernels.cpu.trie import ROOT, grow_trie, new_edges

        n_nodes, of_words, n = ROOT, np.zeros(0, np.uint8), 0
        if earlier is None:
            edges = new_edges(len(texts))
        else:
            edges, of_words, n = earlier.edges, earlier.word_bits, len(earlier.ids)
            ids, options = np.append(earlier.ids, ids), np.append(earlier.options, options)
            try:
                n_nodes = earlier.n_nodes.pop()
            except IndexError:
                return None
        numbers = np.arange(n, len(ids), dtype=np.uint32)
        edges, n_nodes = grow_trie(edges, n_nodes, *pack(texts), numbers, replace=earlier is None)
        if n_nodes < 0:
            return None
        of_words = word_bits() if (options & SINGLE_WORD).any() else of_words
        return cls(ids, options, of_words, edges, [n_nodes], first_bytes(edges))

    def cut(self, pieces: Pieces) -> Pieces:
        """Makes the added tokens pieces of their own."""
        from gputok.kernels.cpu.find_tokens import find_tokens

        skip = np.zeros(pieces.n_pieces, bool) if pieces.token is None else pieces.token >= 0
        text = pieces.data, pieces.start, pieces.end, skip
        start, end, found, rows = find_tokens(*text, self.edges, self.options, self.word_bits, self.first)
        if len(start) == pieces.n_pieces and not np.count_nonzero(found >= 0):
            return pieces
        token, cut = np.where(found >= 0, self.ids[found], -1), regroup(pieces, start, end, rows)
        if cut.token is not None:
            token = np.where(cut.token >= 0, cut.token, token)
        return cut._replace(token=token if (token >= 0).any() else None)

    def finds_any(self, text: Bytes) -> bool:
        """Returns True if the bytes of a token are anywhere in a text, whatever the options of the token ask for."""
        from gputok.kernels.cpu.find_tokens import has_token

        return has_token(text, self.edges, len(self.options), self.first)

    def may_find(self, pieces: Pieces) -> bool:
        """Returns False if a quick look shows that no piece contains a token; a long text of few pieces gets no look.

        Of a short text, it looks for the first bytes of tokens. Many pieces are searched as one text, in a twentieth of
        the time for lines one by one: a token that lies across two pieces also gives True.
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
    """Returns uint8[0x110000 / 8]: bit c is 1 if character c is a word character of the `regex` crate of Rust."""
    with np.load(os.path.join(os.path.dirname(__file__), "word_characters.npz")) as file:
        first, last = file["first"], file["last"]  # int32[n], the first and last characters of ranges
    edges = np.zeros(0x110001, np.int8)
    edges[first], edges[last + 1] = 1, -1
    return np.packbits(np.cumsum(edges[:-1], dtype=np.int8), bitorder="little")


class Names:
    """The texts of the ids of a vocabulary and of added tokens; neither of these ever changes."""

    def __init__(self, vocabulary: Vocabulary, added: AddedVocabulary) -> None:
        self.vocabulary = vocabulary
        # Without a reference to `added`, which refers to this object: a circle would keep both alive
        tokens, normalized, self._largest = added.tokens, added.normalized, added.largest

        def in_encodings(token_id: int) -> str | None:
            text = vocabulary.name(token_id)
            return tokens[token_id].content if text is None and token_id in tokens else text

        def when_decoded(token_id: int) -> str | None:
            if not 0 <= token_id < 1 << 32:
                raise OverflowError(f"expected an id from 0 to 2**32 - 1, got {token_id}")
            if token_id in tokens:
                return normalized.get(token_id, tokens[token_id].content)
            return vocabulary.name(token_id)

        self.spelling = Spelling(in_encodings)
        """Id -> text as `Encoding.tokens` shows it."""
        self.texts: dict[int, str | None] = LazyTable(when_decoded)
        """Id -> text for decoding, or None if no token has the id."""

    @derived
    def n_ids(self) -> int:
        """The largest id + 1, but at most MOST_IDS."""
        return min(max(int(self.vocabulary.ids.max(initial=0)), self._largest) + 1, MOST_IDS)
