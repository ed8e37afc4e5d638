"""A tokenizer's parts, and what the engines ask of them: steps 1 and 2, look-ups of tokens, and limits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from gputok.components import Component
from gputok.encoding.rows import Spelling
from gputok.pipeline.added_vocabulary import AddedVocabulary
from gputok.pipeline.limits import Limits
from gputok.text.pieces import Pieces, TextBatch, mark_starts
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer, SplitPlan
    from gputok.processors import PostProcessor


class Pipeline:
    """What a tokenizer consists of: its components, its added tokens, and its options of step 4."""

    _spelling: tuple[Spelling, dict[int, str | None]] | None
    """The texts of ids, made when they are first asked for; None after the vocabulary changed."""

    def __init__(self, model: Model) -> None:
        self._normalizer = self._pre_tokenizer = self._post_processor = self._decoder = None
        self._added = AddedVocabulary()
        self.limits = Limits()
        self.model = model

    @property
    def model(self) -> Model:
        """What makes tokens of words."""
        return self._model

    @model.setter
    def model(self, model: Model) -> None:
        if model is None:
            raise TypeError("a tokenizer needs a model, not None")
        self._model = _component(model, "model")
        self._spelling = None

    @property
    def normalizer(self) -> Normalizer | None:
        """What changes the text before it is cut into words."""
        return self._normalizer

    @normalizer.setter
    def normalizer(self, normalizer: Normalizer | None) -> None:
        self._normalizer = _component(normalizer, "normalizer")
        self._added.renormalize(normalizer)
        self._spelling = None

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """What cuts the text into words."""
        return self._pre_tokenizer

    @pre_tokenizer.setter
    def pre_tokenizer(self, pretok: PreTokenizer | None) -> None:
        self._pre_tokenizer = _component(pretok, "pre-tokenizer")

    @property
    def post_processor(self) -> PostProcessor | None:
        """What adds special tokens."""
        return self._post_processor

    @post_processor.setter
    def post_processor(self, processor: PostProcessor | None) -> None:
        self._post_processor = _component(processor, "post-processor")

    @property
    def decoder(self) -> Decoder | None:
        """What makes text of tokens again."""
        return self._decoder

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        self._decoder = _component(decoder, "decoder")

    def words(self, pieces: Pieces, *, added: bool = True) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalized and cut into words and added tokens.

        added: look for added tokens. Parts of documents that have none can look as if they had (`single_word`).
        """
        normalizer, pre_tokenizer = self._normalizer, self._pre_tokenizer
        marked = bool(normalizer and pre_tokenizer and pre_tokenizer.needs_alignment and not pieces.alignment)
        # or the pre-tokenizer couldn't tell whether the normalizer took away the start of a document
        if marked:
            pieces = mark_starts(pieces)
        pieces = self._added.extract(pieces, normalized=False) if added else pieces.without_empty()
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        pieces = self._added.extract(pieces, normalized=True) if added else pieces.without_empty()
        if pre_tokenizer is not None:
            pieces = pre_tokenizer.apply(pieces)
        return (pieces._replace(alignment=None) if marked else pieces).without_empty()

    def added_in(self, pieces: Pieces) -> bool:
        """Are there added tokens in a text, as it stands?"""
        for normalized in (False, True):
            pieces = self._added.extract(pieces, normalized=normalized)
        return pieces.token is not None

    def apart_at_spaces(self) -> bool:
        """Are the words of a document without added tokens those of its parts, cut before each space?"""
        if self._pre_tokenizer is None:
            return False
        if self._normalizer is None:
            return self._pre_tokenizer.apart_at_spaces
        # A token that is looked for in normalized text can be there where none is in the raw text.
        in_raw_text = not any(token.normalized for token in self._added.tokens.values())
        return in_raw_text and self._normalizer.apart_at_spaces and self._pre_tokenizer.apart_at_spaces

    def plan(self) -> SplitPlan | None:
        """The one walk over raw text that `words` is where no added token is, or None."""
        alone = self._normalizer is None and self._pre_tokenizer is not None
        return self._pre_tokenizer.plan() if alone else None

    def around_added(self, batch: TextBatch) -> Callable[[Pieces], Pieces] | None:
        """What cuts a batch with added tokens in it into words: they are found in whole documents only."""
        return self.words if self.added_in(Pieces.from_batch(batch)) else None

    @property
    def added(self) -> AddedVocabulary:
        """The added tokens, and how they are found in text."""
        return self._added

    def copy(self) -> Self:
        """Another one of the same parts and limits: setting one of them there changes nothing here.

        Both have the same added tokens, so that none may be added to the copy.
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._added = copy.copy(self._added)
        return other

    def without_added_tokens(self) -> Self:
        """A copy that has none."""
        other = self.copy()
        other._added, other._spelling = AddedVocabulary(), None
        return other

    @property
    def spelling(self) -> Spelling:
        """For encoding: id -> text as `Encoding.tokens` shows it. Made for the vocabulary as it is now."""
        return self._spellings[0]

    @property
    def texts(self) -> dict[int, str | None]:
        """For decoding: id -> text, None where there is none. Made for the vocabulary as it is now."""
        return self._spellings[1]

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

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens the post-processor adds to one text, or to a pair."""
        return 0 if self._post_processor is None else self._post_processor.num_special_tokens_to_add(is_pair)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return {
            token_id: AddedToken(**token.to_dict()) for token_id, token in sorted(self._added.tokens.items())
        }

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Adds tokens that are found in the text before the model sees it; returns how many are new."""
        n_added = self._added.add(tokens, self._model, self._normalizer)
        self._spelling = None
        return n_added


def _component(value: Any, kind: str) -> Any:
    if value is not None and (not isinstance(value, Component) or value.kind != kind):
        raise TypeError(f"{value!r} is no {kind} of gputok")
    return value


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
