"""The steps of a tokenizer, in the order in which text takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.added_tokens import AddedVocabulary
from gputok.components import Component
from gputok.rows import Spelling
from gputok.text import Pieces

if TYPE_CHECKING:
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor


class Pipeline:
    """What a tokenizer consists of: its components, its added tokens, and its options of step 4."""

    _spelling: tuple[Spelling, dict[int, str | None]] | None
    """The texts of ids, made when they are first asked for; None after the vocabulary changed."""

    def __init__(self, model: Model) -> None:
        self._normalizer = self._pre_tokenizer = self._post_processor = self._decoder = None
        self._added = AddedVocabulary()
        self._truncation: dict[str, Any] | None = None
        self._padding: dict[str, Any] | None = None
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
        self._added.renormalize(self._normalizer)
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

    def words(self, pieces: Pieces) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalized and cut into words and added tokens."""
        normalizer, pre_tokenizer = self._normalizer, self._pre_tokenizer
        marked = bool(normalizer and pre_tokenizer and pre_tokenizer.needs_alignment and not pieces.alignment)
        # or the pre-tokenizer couldn't tell whether the normalizer took away the start of a document
        if marked:
            from gputok.pre_tokenizers import mark_starts

            pieces = mark_starts(pieces)
        pieces = self._added.extract(pieces, normalized=False)
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        pieces = self._added.extract(pieces, normalized=True)
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


def _component(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, Component) and value.kind == kind):
        return value
    from gputok import decoders, models, normalizers, pre_tokenizers, processors

    bases = (
        normalizers.Normalizer,
        pre_tokenizers.PreTokenizer,
        models.Model,
        processors.PostProcessor,
        decoders.Decoder,
    )
    value = next(base for base in bases if base.kind == kind).adopt(value)
    if not isinstance(value, Component) or value.kind != kind:
        raise TypeError(f"{value!r} is no {kind} of gputok or tokenizers")
    return value
