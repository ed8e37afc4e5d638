"""Pipeline: the parts of a tokenizer at one moment, steps 1 and 2 of encoding (text to words), look-ups of tokens."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from gputok.components import Component, Unchanging, base_of, derived
from gputok.pipeline.added_vocabulary import AddedVocabulary, Names, flat
from gputok.pipeline.way import way_of
from gputok.text.pieces import Pieces, mark_starts
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pipeline.limits import Padding, Truncation
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor
    from gputok.text.way import Way


class Kept:
    """Objects that are made of a pipeline when first needed, by name: a string, or a tuple that begins with one."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Any] = {}

    def once(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """Returns what the first call with this name made; threads that call at the same time get the same object."""
        found = self.made.get(name, self)
        return self.made.setdefault(name, make()) if found is self else found


_MOST_VARIANTS = 8  # that `Pipeline.variant` keeps: each may have memory of its own, in which it encodes texts

KINDS = {
    "model": "model",
    "normalizer": "normalizer",
    "pre_tokenizer": "pre-tokenizer",
    "post_processor": "post-processor",
    "decoder": "decoder",
}
"""The fields that contain components, and the kind of each."""


class Pipeline(Unchanging):
    """The parts of a tokenizer at one moment: components, added tokens, truncation and padding.

    Each call of a tokenizer first takes its pipeline (`Tokenizer.pipeline`); changes by other threads don't affect it.
    """

    model: Model
    added: AddedVocabulary
    normalizer: Normalizer | None = None
    pre_tokenizer: PreTokenizer | None = None
    post_processor: PostProcessor | None = None
    decoder: Decoder | None = None
    truncation: Truncation | None = None
    padding: Padding | None = None

    def _set(self, **parts: Any) -> None:
        if parts["model"] is None:
            raise TypeError("a tokenizer needs a model, not None")
        for name, kind in KINDS.items():
            part = parts[name]
            if part is not None and (not isinstance(part, Component) or part.kind != kind):
                parts[name] = _adopted(part, kind)
        super()._set(**parts)

    def __getstate__(self) -> dict[str, Any]:
        """Returns the parts without the objects that were made of them: these are made anew when needed."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    # -- other pipelines

    def frozen(self) -> Pipeline:
        """Returns the same pipeline with components that keep their present state."""
        return dataclasses.replace(self, **{name: part.frozen() for name, part in self._components().items()})

    def states(self) -> list[dict[str, Any]]:
        """Returns the states of all components, for comparison by `is`."""
        return [state for part in self._components().values() for state in part.states()]

    def _components(self) -> dict[str, Component]:
        return {name: part for name in KINDS if (part := getattr(self, name)) is not None}

    def with_step(self, name: str, step: Component | None) -> Pipeline:
        """Returns the pipeline with another step; a normalizer also normalizes the contents of added tokens."""
        changed = dataclasses.replace(self, **{name: step})  # checks the step
        if name != "normalizer":
            return changed
        return dataclasses.replace(changed, added=self.added.renormalized(changed.normalizer))

    def with_added(self, tokens: list[AddedToken]) -> tuple[Pipeline, int]:
        """Returns the pipeline with more added tokens, which nobody may change later, and how many of them are new."""
        added, n_added = self.added.with_tokens(tokens, self.model, self.normalizer)
        return dataclasses.replace(self, added=added), n_added

    def without_added(self) -> Pipeline:
        """Returns the pipeline without added tokens."""
        return dataclasses.replace(self, added=AddedVocabulary())

    def check_stride(self, truncation: Truncation) -> None:
        """Raises ValueError if the stride of a truncation is too large for its length."""
        n_added, most = self.num_special_tokens_to_add(False), truncation.max_length
        if 0 <= most - n_added < truncation.stride:
            raise ValueError(
                f"tokenizer stride set to {truncation.stride}, which is greater than or equal to its effective max "
                f"length of {most - n_added} (= {most} original max length - {n_added} added special tokens)"
            )

    def with_limits(self, **limits: Truncation | Padding | None) -> Pipeline:
        """Returns a pipeline with another `truncation` or `padding`, or a copy if none is given; both share `engines`.

        An object in `kept` may refer to such a copy, but not to its pipeline: that circle would keep both alive.
        """
        other = dataclasses.replace(self, **limits)
        vars(other)["engines"] = self.engines
        return other

    # -- text to words

    def words(self, pieces: Pieces, *, added: bool = True) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalizes them, and cuts them into words and added tokens.

        added: True: looks for added tokens. Parts of documents that have no added tokens need False: else a token with
        `single_word` could be found in a part, which lacks the text around it.
        """
        normalizer, pre_tokenizer = self.normalizer, self.pre_tokenizer
        marked = normalizer is not None and self.way.at_start and not pieces.alignment
        if marked:  # the normalizer may remove the start of a document, and the pre-tokenizer must notice
            pieces = mark_starts(pieces)
        if added:
            pieces = self.added.apart(pieces, normalizer)
        elif normalizer is not None:
            pieces = normalizer.apply(pieces.without_empty())
        pieces = pieces.without_empty()
        if pre_tokenizer is not None:  # a piece stays a word even if a pre-tokenizer in Python has emptied it
            pieces = pre_tokenizer.apply(pieces)
        return pieces._replace(alignment=None) if marked else pieces

    @property
    def way(self) -> Way:
        """How the steps before the model take a text apart."""
        return self.engines.once("way", lambda: way_of(self.normalizer, self.pre_tokenizer, self.added))

    # -- what is kept

    @derived
    def kept(self) -> Kept:
        """Objects that are made of this pipeline, its limits included."""
        return Kept()

    @derived
    def engines(self) -> Kept:
        """Objects that are made of all parts but the limits: pipelines that differ only in limits share them."""
        return Kept()

    def limited(self, truncation: Truncation | None, padding: Padding | None) -> Pipeline:
        """Returns this pipeline, which has no limits, with these: the same object for the same limits, by `variant`."""
        limits = {"truncation": truncation, "padding": padding}
        unlimited = truncation is None and padding is None
        return self if unlimited else self.variant((truncation, padding), lambda steps: steps.with_limits(**limits))

    def variant(self, key: Hashable, make: Callable[[Pipeline], Pipeline]) -> Pipeline:
        """Returns what `make` makes of this pipeline: the same object for each of the last _MOST_VARIANTS keys."""
        known: dict[Hashable, Pipeline] = self.kept.once("variants", dict)  # the key that was used last comes last
        found = known[key] = known.pop(key, None) or make(self)  # moves the key behind the others
        for oldest in [*known][:-_MOST_VARIANTS]:
            if (old := known.pop(oldest, None)) is not None:
                old.rest()
        return found

    def rest(self) -> None:
        """Gives the memory in which texts are encoded back to its pool; encodings may keep the rest for a long time."""
        for texts in (self.kept.made.get(("texts", bare)) for bare in (False, True)):
            if texts is not None:
                texts.rest()

    # -- tokens

    @property
    def odd_tokens(self) -> set[int]:
        """Ids whose entry in `Encoding.tokens` is the covered text instead of the token's name."""
        unknown = getattr(self.model, "unk_id", None)
        return {*self.added.shown_verbatim(self.model.vocabulary), *([] if unknown is None else [unknown])}

    @derived
    def names(self) -> Names:
        """The texts of ids. Pipelines with the same vocabulary and added tokens share them."""
        names: Names | None = self.added.names
        if names is None or names.vocabulary is not self.model.vocabulary:
            names = self.added.names = Names(self.model.vocabulary, self.added)
        return names

    def token_to_id(self, token: str) -> int | None:
        """Returns the id of a token, or None if no token has this text."""
        if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"token: '{type(token).__name__}' object is not an instance of 'str'")
        found = self.added.ids.get(token)
        return self.model.token_to_id(token) if found is None else found

    def id_to_token(self, id: int) -> str | None:
        """Returns the token of an id, or None if no token has the id; the text of an added token may be normalized."""
        return self.added.pattern(id) if id in self.added.tokens else self.model.id_to_token(id)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Returns a new dictionary of tokens and their ids."""
        vocabulary = self.model.get_vocab()
        return vocabulary | flat(self.added.ids) if with_added_tokens else vocabulary

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Returns the number of tokens."""
        size = self.model.get_vocab_size()
        if with_added_tokens:
            size += sum(self.model.token_to_id(token) is None for token in self.added.ids)
        return size

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Returns copies of the added tokens by id, in the order of the ids."""
        return {token_id: AddedToken(**token.to_dict()) for token_id, token in sorted(self.added.tokens.items())}

    @property
    def unknown_id(self) -> int | None:
        """The id of the token that the model gives to unknown text, or None."""
        unknown = getattr(self.model, "unk_token", None)
        return getattr(self.model, "unk_id", None) if unknown is None else self.model.token_to_id(unknown)

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Returns how many tokens the post-processor adds to one text, or to a pair."""
        return 0 if self.post_processor is None else self.post_processor.num_special_tokens_to_add(is_pair)


def _adopted(part: Any, kind: str) -> Component:
    """Returns a component, converted if it belongs to `tokenizers`; raises TypeError if it is not of this kind."""
    adopted = base_of(kind).adopt(part)
    if not isinstance(adopted, Component) or adopted.kind != kind:
        raise TypeError(f"expected a {kind} of gputok or tokenizers, got {part!r}")
    return adopted
