"""The trainer of WordLevel: the most frequent words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from gputok.models.trainer import Trainer
from gputok.tokens.added_token import AddedToken
from gputok.types import public

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts


@public("gputok.trainers")
class TrainedWordLevel(NamedTuple):
    """What a WordLevel model learns."""

    vocab: dict[str, int]  # in the order of the ids

    def into(self, model: Any) -> None:
        """Puts it into a model, whose other options stay as they are."""
        model.update(**self._asdict())


@public("gputok.trainers")
@dataclass(kw_only=True, eq=False, repr=False)
class WordLevelTrainer(Trainer):
    """Takes the most frequent words, as `tokenizers.trainers.WordLevelTrainer` does.

    Args:
        min_frequency: Words that occur fewer times are left out.
        vocab_size: The size of the vocabulary, special tokens included.
        show_progress: Whether to show a progress bar.
        special_tokens: Strings or AddedTokens that get the first ids.

    Order: the special tokens, then words by falling count, among equals by rising code points.

    >>> from gputok import WordCounts
    >>> trainer = WordLevelTrainer(vocab_size=3, special_tokens=["<unk>"])
    >>> trainer.train(WordCounts.from_dict({"b": 1, "c": 5, "a": 1})).vocab
    {'<unk>': 0, 'c': 1, 'a': 2}
    """

    trains: ClassVar[str] = "WordLevel"
    min_frequency: int = 0
    vocab_size: int = 30000
    show_progress: bool = True
    special_tokens: Sequence[str | AddedToken] = field(default_factory=list)

    def train(
        self,
        words: WordCounts,
        *,
        threads: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        devices: Sequence[Any] = (),
    ) -> TrainedWordLevel:
        """Learns the vocabulary of counted words; nothing of the trainer changes; it runs on the CPU."""
        words = words.spelled_out()
        if len(words) == 0:
            warnings.warn(
                "the corpus has no words: nothing is learnt beyond the special tokens", stacklevel=2
            )
        specials = [token.content for token in self.special_tokens]
        wanted = max(0, self.vocab_size - len(specials))
        tokens = (specials + _most_frequent(words, self.min_frequency, wanted))[: self.vocab_size]
        # A word that is a special token too keeps its later place, as in the namesake.
        ids = {token: id for id, token in enumerate(tokens)}
        return TrainedWordLevel(dict(sorted(ids.items(), key=lambda item: item[1])))


def _most_frequent(words: WordCounts, min_frequency: int, n: int) -> list[str]:
    """At most n words, by falling count, then rising bytes (which is rising code points)."""
    counts = words.counts
    least = min_frequency
    if 0 < n < len(counts):
        least = max(least, int(np.partition(counts, len(counts) - n)[len(counts) - n]))
    raw, offsets = words.data.tobytes(), words.offsets
    candidates = [
        (-int(counts[i]), raw[offsets[i] : offsets[i + 1]]) for i in np.flatnonzero(counts >= least)
    ]
    return [word.decode() for _, word in sorted(candidates)[:n]]
