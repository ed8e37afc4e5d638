"""The trainer of Unigram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gputok.checks import field, optional, string, switch, warn
from gputok.counts.word_counts import WordCounts
from gputok.models.trainer import How, Trained, Trainer, characters, contents, count, real, specials
from gputok.models.unigram.train import train_unigram
from gputok.tokens.added_token import AddedToken


class UnigramTrainer(Trainer):
    """Trains a unigram language model over pieces (Kudo 2018), with the options of `tokenizers`.

    The result is the same, bit for bit, for any number of threads and any order of the words. It differs from the
    result of `tokenizers`: held-out text gets fewer tokens (`train_unigram` says why).

    Args:
        show_progress: shows a progress bar.
        vocab_size: the size of the final vocabulary, with special tokens and alphabet.
        n_sub_iterations: how many rounds of EM (expectation maximization) precede each pruning.
        shrinking_factor: the share of pieces that a pruning keeps.
        special_tokens: strings or AddedTokens that get the first ids, with score 0.
        initial_alphabet: characters to keep even if they don't occur; of a longer string, the first character.
        unk_token: the token for unknown characters; it gets id 0 if it is not a special token.
        max_piece_length: the largest number of characters of a piece.
        seed_size: the largest number of pieces to start with; more than ten times vocab_size are never used.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> from gputok import WordCounts
        >>> trainer = UnigramTrainer(vocab_size=5, unk_token="<unk>")
        >>> words = WordCounts.from_dict({"abab": 30, "ab": 50, "b": 2})
        >>> [piece for piece, _ in trainer.train(words).vocab]
        ['<unk>', 'ab', 'abab', 'b', 'a']
    """

    trains: ClassVar[str] = "Unigram"
    show_progress: bool = field(switch, default=True)
    vocab_size: int = field(count, default=8000)
    n_sub_iterations: int = field(count, default=2)
    shrinking_factor: float = field(real, default=0.75)
    special_tokens: Sequence[str | AddedToken] = field(specials, default_factory=list)
    initial_alphabet: Sequence[str] = field(characters, default_factory=list)
    unk_token: str | None = field(optional(string), default=None)
    max_piece_length: int = field(count, default=16)
    seed_size: int = field(count, default=1_000_000)

    def learn(self, words: WordCounts, how: How) -> Trained:
        words.check_symbols()
        names = contents(self.special_tokens)
        if self.unk_token is not None and self.unk_token not in names:
            names.insert(0, self.unk_token)
        unk_id = None if self.unk_token is None else names.index(self.unk_token)
        if len(words.data) == 0:
            nothing = "the corpus has no words: the vocabulary has only special tokens and the initial alphabet"
            warn(nothing)
        same = "initial_alphabet shrinking_factor max_piece_length n_sub_iterations seed_size".split()
        pieces = train_unigram(
            words,
            vocab_size=self.vocab_size - len(names),
            **{name: getattr(self, name) for name in same},
            taken=names,
            threads=how.threads,
            progress=how.progress,
        )
        return Trained(vocab=[(token, 0.0) for token in names] + pieces, unk_id=unk_id)
