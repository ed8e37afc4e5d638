"""The steps of a tokenizer, in the order in which text takes them."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gputok import components
from gputok.added_tokens import AddedVocabulary
from gputok.components import Component, derived
from gputok.text import Pieces
from gputok.tokenizer.names import Names

if TYPE_CHECKING:
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """What a tokenizer consists of at one moment: its components, its added tokens, and its options of step 4.

    Each call takes one (`Tokenizer.pipeline`), and sees nothing of what other threads change meanwhile.
    """

    model: Model
    """What makes tokens of words."""
    normalizer: Normalizer | None = None
    """What changes the text before it is cut into words."""
    pre_tokenizer: PreTokenizer | None = None
    """What cuts the text into words."""
    post_processor: PostProcessor | None = None
    """What adds special tokens."""
    decoder: Decoder | None = None
    """What makes text of tokens again."""
    added: AddedVocabulary = dataclasses.field(default_factory=AddedVocabulary)
    truncation: dict[str, Any] | None = None
    padding: dict[str, Any] | None = None

    def _components(self) -> dict[str, Component]:
        names = "model", "normalizer", "pre_tokenizer", "post_processor", "decoder"
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def states(self) -> list[dict[str, Any]]:
        """The states of all components, to be compared by `is`."""
        return [state for part in self._components().values() for state in part.states()]

    def frozen(self) -> Pipeline:
        """The same with the components as they are now, whatever becomes of their fields later."""
        parts = {name: part.frozen() for name, part in self._components().items()}
        return dataclasses.replace(self, **parts)

    @derived
    def names(self) -> Names:
        """The texts of ids: made once for a vocabulary and added tokens, whatever else changes."""
        known = self.added.names
        if known is None or known.vocabulary is not self.model.vocabulary:
            known = self.added.names = Names(self.model.vocabulary, self.added)
        return known

    def words(self, pieces: Pieces) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalized and cut into words and added tokens."""
        normalizer, pre_tokenizer = self.normalizer, self.pre_tokenizer
        marked = bool(normalizer and pre_tokenizer and pre_tokenizer.needs_alignment and not pieces.alignment)
        # or the pre-tokenizer couldn't tell whether the normalizer took away the start of a document
        if marked:
            from gputok.pre_tokenizers import mark_starts

            pieces = mark_starts(pieces)
        pieces = self.added.extract(pieces, normalized=False)
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        pieces = self.added.extract(pieces, normalized=True)
        if pre_tokenizer is not None:
            pieces = pre_tokenizer.apply(pieces)
        return (pieces._replace(alignment=None) if marked else pieces).without_empty()

    def added_in(self, pieces: Pieces) -> bool:
        """Are there added tokens in a text, as it stands?"""
        for normalized in (False, True):
            pieces = self.added.extract(pieces, normalized=normalized)
        return pieces.token is not None

    def apart_at_spaces(self) -> bool:
        """Are the words of a document without added tokens those of its parts, cut before each space?"""
        if self.pre_tokenizer is None:
            return False
        if self.normalizer is None:
            return self.pre_tokenizer.apart_at_spaces
        # A token that is looked for in normalized text can be there where none is in the raw text.
        in_raw_text = not any(token.normalized for token in self.added.tokens.values())
        return in_raw_text and self.normalizer.apart_at_spaces and self.pre_tokenizer.apart_at_spaces

    def plan(self) -> Any:
        """The one walk over raw text that `words` is where no added token is, or None."""
        alone = self.normalizer is None and self.pre_tokenizer is not None
        return self.pre_tokenizer.plan() if alone else None

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens the post-processor adds to one text, or to a pair."""
        return 0 if self.post_processor is None else self.post_processor.num_special_tokens_to_add(is_pair)


class WithSteps:
    """The steps of a tokenizer, which can be set one by one while other threads use them."""

    _given: Pipeline
    """Of the components that were given, which can be changed in place: never used but to make `pipeline`."""
    _frozen: tuple[object, list[dict[str, Any]], Pipeline]
    """`pipeline` as it was last asked for: the version of all components then, their states, and what was made of them."""

    def __init__(self, model: Model) -> None:
        self._given = Pipeline(_model(model))
        self._frozen = object(), [], self._given

    @property
    def pipeline(self) -> Pipeline:
        """All steps as they are now; setting one, or a field of one, gives another pipeline and leaves this as it is."""
        version, _, pipeline = self._frozen
        return pipeline if version is components.version else self._pipeline_now()

    def _pipeline_now(self) -> Pipeline:
        _, known, pipeline = self._frozen
        with components.exchanging:
            version, states = components.version, [vars(self._given), *self._given.states()]
            if len(states) != len(known) or not all(map(operator.is_, states, known)):
                pipeline = self._given.frozen()
        self._frozen = version, states, pipeline
        return pipeline

    def _change(self, change: Callable[[Pipeline], Pipeline]) -> None:
        """Takes what `change` makes of the steps, which it is asked for again if another thread set one meanwhile."""
        while True:
            given = self._given
            if components.exchange((self, "_given", given, change(given))):
                return

    def _set(self, **steps: Any) -> None:
        self._change(lambda given: dataclasses.replace(given, **steps))

    @property
    def model(self) -> Model:
        """What makes tokens of words."""
        return self._given.model

    @model.setter
    def model(self, model: Model) -> None:
        self._set(model=_model(model))

    @property
    def normalizer(self) -> Normalizer | None:
        """What changes the text before it is cut into words."""
        return self._given.normalizer

    @normalizer.setter
    def normalizer(self, normalizer: Normalizer | None) -> None:
        _component(normalizer, "normalizer")
        self._change(
            lambda given: dataclasses.replace(
                given, normalizer=normalizer, added=given.added.renormalized(normalizer)
            )
        )

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """What cuts the text into words."""
        return self._given.pre_tokenizer

    @pre_tokenizer.setter
    def pre_tokenizer(self, pretok: PreTokenizer | None) -> None:
        self._set(pre_tokenizer=_component(pretok, "pre-tokenizer"))

    @property
    def post_processor(self) -> PostProcessor | None:
        """What adds special tokens."""
        return self._given.post_processor

    @post_processor.setter
    def post_processor(self, processor: PostProcessor | None) -> None:
        self._set(post_processor=_component(processor, "post-processor"))

    @property
    def decoder(self) -> Decoder | None:
        """What makes text of tokens again."""
        return self._given.decoder

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        self._set(decoder=_component(decoder, "decoder"))


def _component(value: Any, kind: str) -> Any:
    if value is not None and (not isinstance(value, Component) or value.kind != kind):
        raise TypeError(f"{value!r} is no {kind} of gputok")
    return value


def _model(value: Any) -> Model:
    if value is None:
        raise TypeError("a tokenizer needs a model, not None")
    return _component(value, "model")
