"""A tokenizer's parts at one moment, and what the engines ask of them: steps 1 and 2, look-ups of tokens, and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.components import Component, derived
from gputok.pipeline.added_vocabulary import AddedVocabulary
from gputok.pipeline.limits import Padding, Truncation
from gputok.pipeline.names import Names
from gputok.text.pieces import Pieces, TextBatch, mark_starts
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    from gputok.decoders import Decoder
    from gputok.files.temporary import MemoryLimit
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer, SplitPlan
    from gputok.processors import PostProcessor
    from gputok.progress import Progress
    from gputok.text.word_counts import WordCounts

_MOST_VARIANTS = 64

KINDS = {
    "model": "model",
    "normalizer": "normalizer",
    "pre_tokenizer": "pre-tokenizer",
    "post_processor": "post-processor",
    "decoder": "decoder",
}
"""The fields that hold components, and the kind that each must be of."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """What a tokenizer consists of at one moment: its components, its added tokens, and its limits.

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
    """The added tokens, and how they are found in text."""
    truncation: Truncation | None = None
    """Where encodings are cut."""
    padding: Padding | None = None
    """What encodings are filled up to."""

    def __post_init__(self) -> None:
        if self.model is None:
            raise TypeError("a tokenizer needs a model, not None")
        for name, kind in KINDS.items():
            part = getattr(self, name)
            if part is not None and (not isinstance(part, Component) or part.kind != kind):
                object.__setattr__(self, name, _adopted(part, kind))

    # -- other pipelines

    def frozen(self) -> Pipeline:
        """The same with the components as they are now, whatever becomes of their fields later."""
        return dataclasses.replace(self, **{name: part.frozen() for name, part in self._components().items()})

    def states(self) -> list[dict[str, Any]]:
        """The states of all components, to be compared by `is`."""
        return [state for part in self._components().values() for state in part.states()]

    def _components(self) -> dict[str, Component]:
        return {name: part for name in KINDS if (part := getattr(self, name)) is not None}

    def with_normalizer(self, normalizer: Normalizer | None) -> Pipeline:
        """With another normalizer, and added tokens looked for as that one writes them."""
        changed = dataclasses.replace(self, normalizer=normalizer)  # checked before it is used
        return dataclasses.replace(changed, added=self.added.renormalized(changed.normalizer))

    def with_added(self, tokens: Iterable[AddedToken]) -> tuple[Pipeline, int]:
        """With tokens that are found in the text before the model sees it; and how many of them are new."""
        added, n_added = self.added.with_tokens(tokens, self.model, self.normalizer)
        return dataclasses.replace(self, added=added), n_added

    def without_added(self) -> Pipeline:
        """Without added tokens."""
        return dataclasses.replace(self, added=AddedVocabulary())

    def with_truncation(self, truncation: Truncation) -> Pipeline:
        """With this truncation. ValueError: special tokens leave less room than its stride."""
        n_added = self.num_special_tokens_to_add(False)
        if truncation.max_length - n_added < truncation.stride:
            raise ValueError(
                f"tokenizer stride set to {truncation.stride}, which is greater than or equal to its effective max length of "
                f"{truncation.max_length - n_added} (= {truncation.max_length} original max length - {n_added} added special tokens)"
            )
        return dataclasses.replace(self, truncation=truncation)

    # -- text to words

    def words(self, pieces: Pieces, *, added: bool = True) -> Pieces:
        """Steps 1 and 2 for many documents at once: normalized and cut into words and added tokens.

        added: look for added tokens. Parts of documents that have none can look as if they had (`single_word`).
        """
        normalizer, pre_tokenizer = self.normalizer, self.pre_tokenizer
        marked = bool(normalizer and pre_tokenizer and pre_tokenizer.needs_alignment and not pieces.alignment)
        # or the pre-tokenizer couldn't tell whether the normalizer took away the start of a document
        if marked:
            pieces = mark_starts(pieces)
        pieces = self.added.extract(pieces, normalized=False) if added else pieces.without_empty()
        if normalizer is not None:
            pieces = normalizer.apply(pieces)
        pieces = self.added.extract(pieces, normalized=True) if added else pieces.without_empty()
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

    def plan(self) -> SplitPlan | None:
        """The one walk over raw text that `words` is where no added token is, or None."""
        alone = self.normalizer is None and self.pre_tokenizer is not None
        return self.pre_tokenizer.plan() if alone else None

    def count_batches(
        self,
        read: Callable[..., Iterator[TextBatch]],
        total: int | None,
        threads: int | None,
        device: str | None,
        progress: Progress,
        memory: MemoryLimit | None = None,
    ) -> WordCounts:
        """How often each word of the text is there that `read()` gives; total: its bytes, if they are known."""
        from gputok import backend
        from gputok.pipeline.count_words import count_words
        from gputok.progress import reporting

        devices = backend.choose(device).devices
        apart = self.apart_at_spaces()
        # parts of documents in which there are no added tokens: `instead` takes the others
        words = partial(self.words, added=False) if apart else self.words
        with reporting(progress) as report:
            return count_words(
                read(),
                self.plan() or words,
                apart_at_spaces=apart,
                instead=self._around_added if self.added.tokens else None,
                threads=threads,
                report=report,
                total=total,
                devices=devices,
                memory=memory,
            )

    def _around_added(self, batch: TextBatch) -> Callable[[Pieces], Pieces] | None:
        """What cuts a batch with added tokens in it into words: they are found in whole documents only."""
        return self.words if self.added_in(Pieces.from_batch(batch)) else None

    # -- what engines keep

    @derived
    def kept(self) -> dict[str, Any]:
        """Returns what `gputok.pipeline.encode_text` and `encode_corpus` keep of this pipeline."""
        return {}

    def variant(self, key: Hashable, make: Callable[[Pipeline], Pipeline]) -> Pipeline:
        """Returns what `make` makes of this pipeline: the same object each time, as long as not many keys are in use."""
        known = self.kept.setdefault("variants", {})
        found = known.get(key)
        if found is None:
            found = make(self)
            if found.added is self.added:  # the steps are the same
                found.kept["engine"] = self.kept.setdefault("engine", {})
            if len(known) >= _MOST_VARIANTS:
                known.clear()
            known[key] = found
        return found

    # -- tokens

    @property
    def odd_tokens(self) -> set[int]:
        """The ids of tokens whose text in an encoding is not always that of `names`."""
        unknown = getattr(self.model, "unk_id", None)
        return {*self.names.shown_verbatim, *([] if unknown is None else [unknown])}

    @derived
    def names(self) -> Names:
        """The texts of ids: made once for a vocabulary and added tokens, whatever else changes."""
        known = self.added.names
        if known is None or known.vocabulary is not self.model.vocabulary:
            known = self.added.names = Names(self.model.vocabulary, self.added)
        return known

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        if not isinstance(token, str):
            raise TypeError(f"token: '{type(token).__name__}' object is not an instance of 'str'")
        found = self.added.ids.get(token)
        return self.model.token_to_id(token) if found is None else found

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or None; an added token as the normalizer would write it."""
        text = self.added.text(id)
        return self.model.id_to_token(id) if text is None else text

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Token -> id, in a new dictionary."""
        vocabulary = self.model.get_vocab()
        return vocabulary | self.added.ids if with_added_tokens else vocabulary

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """The number of tokens."""
        size = self.model.get_vocab_size()
        if with_added_tokens:
            size += sum(self.model.token_to_id(token) is None for token in self.added.ids)
        return size

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, by rising id."""
        return {
            token_id: AddedToken(**token.to_dict()) for token_id, token in sorted(self.added.tokens.items())
        }

    @property
    def unknown_id(self) -> int | None:
        """The id of the token that the model gives to what its vocabulary lacks, or None."""
        unknown = getattr(self.model, "unk_token", None)
        return getattr(self.model, "unk_id", None) if unknown is None else self.model.token_to_id(unknown)

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many tokens the post-processor adds to one text, or to a pair."""
        return 0 if self.post_processor is None else self.post_processor.num_special_tokens_to_add(is_pair)


def _adopted(part: Any, kind: str) -> Component:
    """A component of `tokenizers` as one of this package. TypeError: it is none of this kind."""
    from gputok.decoders import Decoder
    from gputok.models import Model
    from gputok.normalizers import Normalizer
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.processors import PostProcessor

    bases: tuple[type[Component], ...] = (Model, Normalizer, PreTokenizer, PostProcessor, Decoder)
    adopted = next(base for base in bases if base.kind == kind).adopt(part)
    if not isinstance(adopted, Component) or adopted.kind != kind:
        raise TypeError(f"{part!r} is no {kind} of gputok or tokenizers")
    return adopted
