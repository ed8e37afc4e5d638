"""The texts of ids, in encodings and for decoding, of the tokens of a model and of added tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok.components import derived
from gputok.encoding.rows import Spelling

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.pipeline.added_vocabulary import AddedVocabulary
    from gputok.tokens.vocabulary import Vocabulary


_MOST_INTEGERS = 1 << 20


class Names:
    """The texts of the ids of a vocabulary and of added tokens; neither of these ever changes."""

    def __init__(self, vocabulary: Vocabulary, added: AddedVocabulary) -> None:
        self.vocabulary = vocabulary
        contents = {token_id: token.content for token_id, token in added.tokens.items()}
        decoded = {token_id: added.text(token_id) for token_id in added.tokens}

        def in_encodings(token_id: int) -> str | None:
            text = vocabulary.name(token_id)
            return contents.get(token_id) if text is None else text

        def when_decoded(token_id: int) -> str | None:
            text = decoded.get(token_id)
            return vocabulary.name(token_id) if text is None else text

        self.spelling = Spelling(in_encodings)
        """Id -> text as `Encoding.tokens` shows it."""
        self.texts: dict[int, str | None] = _Texts(when_decoded)
        """Id -> text for decoding, or None if no token has the id."""
        self._patterns = {
            token_id: None if token.lstrip or token.rstrip else added.pattern(token_id)
            for token_id, token in added.tokens.items()
        }

    @derived
    def n_ids(self) -> int:
        """The largest id + 1, but at most _MOST_INTEGERS: so many objects of numbers may be kept."""
        largest = max([int(self.vocabulary.ids.max(initial=0)), *self._patterns])
        return min(largest + 1, _MOST_INTEGERS)

    @derived
    def shown_verbatim(self) -> list[int]:
        """The ids of added tokens that `Encoding.tokens` shows as the text that they cover, not by `spelling`.

        These are the tokens that may cover white space, or whose normalized content differs from the content.
        """
        return [id for id, pattern in self._patterns.items() if pattern != self.spelling[id]]


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
