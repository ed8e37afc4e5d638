"""The trainer of WordLevel, which takes the most frequent words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from gputok.checks import field, switch, warn
from gputok.counts.word_counts import WordCounts
from gputok.models.trainer import How, Trained, Trainer, contents, count, specials
from gputok.tokens.added_token import AddedToken


class WordLevelTrainer(Trainer):
    """Makes a vocabulary of the most frequent words, as `tokenizers.trainers.WordLevelTrainer` does.

    Ids are given in this order: the special tokens; the words by falling count and, if these are equal, code points.

    Args:
        min_frequency: words that occur fewer times are left out.
        vocab_size: the size of the vocabulary, with special tokens.
        show_progress: shows a progress bar.
        special_tokens: strings or AddedTokens that get the first ids.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> from gputok import WordCounts
        >>> trainer = WordLevelTrainer(vocab_size=3, special_tokens=["<unk>"])
        >>> trainer.train(WordCounts.from_dict({"b": 1, "c": 5, "a": 1})).vocab
        {'<unk>': 0, 'c': 1, 'a': 2}
    """

    trains: ClassVar[str] = "WordLevel"
    min_frequency: int = field(count, default=0)
    vocab_size: int = field(count, default=30000)
    show_progress: bool = field(switch, default=True)
    special_tokens: Sequence[str | AddedToken] = field(specials, default_factory=list)

    def learn(self, words: WordCounts, how: How) -> Trained:
        words = words.spelled_out()
        if len(words) == 0:
            warn("the corpus has no words: the vocabulary has only the special tokens")
        names = contents(self.special_tokens)
        wanted = max(0, self.vocab_size - len(names))
        tokens = (names + _most_frequent(words, words.threshold(self.min_frequency), wanted))[: self.vocab_size]
        # As in tokenizers, a word that is also a special token gets the id of the word.
        ids = {token: id for id, token in enumerate(tokens)}
        return Trained(vocab=dict(sorted(ids.items(), key=lambda item: item[1])))


def _most_frequent(words: WordCounts, least: int, n: int) -> list[str]:
    """Returns at most n words, by falling count, then by bytes (the order of bytes in UTF-8 is that of code points)."""
    counts = words.counts
    if 0 < n < len(counts):
        least = max(least, int(np.partition(counts, len(counts) - n)[len(counts) - n]))
    raw, offsets = words.data.tobytes(), words.offsets
    candidates = [(-int(counts[i]), raw[offsets[i] : offsets[i + 1]]) for i in np.flatnonzero(counts >= least)]
    return [word.decode() for _, word in sorted(candidates)[:n]]
