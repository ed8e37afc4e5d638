"""The texts of ids: what the tokens of a model and added tokens are called, in encodings and when they are decoded."""

from __future__ import annotations

from collections.abc import Callable

from gputok.components import derived
from gputok.encoding.rows import Spelling
from gputok.pipeline.added_vocabulary import AddedVocabulary
from gputok.tokens.vocabulary import Vocabulary


class Names:
    """The texts of the ids of a vocabulary and of added tokens, neither of which changes."""

    def __init__(self, vocabulary: Vocabulary, added: AddedVocabulary) -> None:
        self.vocabulary = vocabulary
        contents = {token_id: token.content for token_id, token in added.tokens.items()}
        decoded = {token_id: added.text(token_id) for token_id in added.tokens}

        def in_encodings(token_id: int) -> str | None:
            text = vocabulary.names.get(token_id)
            return contents.get(token_id) if text is None else text

        def when_decoded(token_id: int) -> str | None:
            text = decoded.get(token_id)
            return vocabulary.names.get(token_id) if text is None else text

        self.spelling = Spelling(in_encodings)
        """id -> text as `Encoding.tokens` shows it."""
        self.texts: dict[int, str | None] = _Texts(when_decoded)
        """id -> text for decoding, None where there is none."""
        self._patterns = {
            token_id: None if token.lstrip or token.rstrip else added.pattern(token_id)
            for token_id, token in added.tokens.items()
        }

    @derived
    def odd(self) -> list[int]:
        """The ids of added tokens whose text in `Encoding.tokens` is not always that of `spelling`."""
        return [id for id, pattern in self._patterns.items() if pattern != self.spelling[id]]


class _Texts(dict):
    """Like Spelling, but keeps apart what has no text."""

    def __init__(self, lookup: Callable[[int], str | None]) -> None:
        super().__init__()
        self._lookup = lookup

    def __missing__(self, token_id: int) -> str | None:
        if not 0 <= token_id < 1 << 32:
            raise OverflowError(f"an id is from 0 to 2**32 - 1, not {token_id}")
        text = self._lookup(token_id)
        if text is not None:
            self[token_id] = text
        return text
