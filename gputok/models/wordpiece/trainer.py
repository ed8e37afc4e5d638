"""The trainer of WordPiece, which trains a BPE with a prefix for tokens inside a word."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from gputok.checks import field, optional, string, switch
from gputok.counts.word_counts import WordCounts
from gputok.models.bpe.trainer import BpeTrainer
from gputok.models.trainer import How, Trained, Trainer, characters, count, specials
from gputok.tokens.added_token import AddedToken


class WordPieceTrainer(Trainer):
    """Trains a WordPiece vocabulary by merging pairs, as `tokenizers.trainers.WordPieceTrainer` does.

    Ids are given in the order that `BpeTrainer` describes. `tokenizers` numbers the characters with a prefix in the
    order of a hash table, so that two runs differ; here they are numbered by falling count, then by code point.

    Args:
        vocab_size: the size of the final vocabulary, with special tokens and alphabet.
        min_frequency: training ends when the most frequent pair occurs fewer times than this.
        show_progress: shows a progress bar.
        special_tokens: strings or AddedTokens that get the first ids.
        limit_alphabet: how many different characters to keep, the most frequent of them; None: all.
        initial_alphabet: characters to keep even if they don't occur; of a longer string, the first character.
        continuing_subword_prefix: written before every token that does not begin a word.
        end_of_word_suffix: written after every token that ends a word.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> from gputok import WordCounts
        >>> trainer = WordPieceTrainer(vocab_size=8, special_tokens=["[UNK]"])
        >>> trainer.train(WordCounts.from_dict({"hug": 3, "hum": 2})).vocab
        {'[UNK]': 0, 'g': 1, 'h': 2, 'm': 3, 'u': 4, '##u': 5, '##g': 6, '##m': 7}
    """

    trains: ClassVar[str] = "WordPiece"
    vocab_size: int = field(count, default=30000)
    min_frequency: int = field(count, default=0)
    show_progress: bool = field(switch, default=True)
    special_tokens: Sequence[str | AddedToken] = field(specials, default_factory=list)
    limit_alphabet: int | None = field(optional(count), default=None)
    initial_alphabet: Sequence[str] = field(characters, default_factory=list)
    continuing_subword_prefix: str | None = field(optional(string), default="##")
    end_of_word_suffix: str | None = field(optional(string), default=None)

    def learn(self, words: WordCounts, how: How) -> Trained:
        learned = self._bpe_trainer().learn(words.spelled_out(), how)
        prefix = self.continuing_subword_prefix
        return Trained(vocab=learned.vocabulary.plain(), continuing_subword_prefix="##" if prefix is None else prefix)

    def why_not_on_device(self) -> str:
        return self._bpe_trainer().why_not_on_device()

    def _bpe_trainer(self) -> BpeTrainer:
        options = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        return BpeTrainer(**options)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        # tokenizers shows the BpeTrainer inside
        _, _, inner = self._bpe_trainer()._described(n_items, n_bytes).partition("(")
        return f"WordPieceTrainer(WordPieceTrainer(bpe_trainer={inner})"

    def _state(self) -> dict[str, Any]:
        return {"bpe_trainer": self._bpe_trainer()._state()}
