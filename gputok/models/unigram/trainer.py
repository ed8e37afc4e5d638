"""The trainer of Unigram."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gputok.models.trainer import Trainer
from gputok.tokens.added_token import AddedToken
from gputok.types import public

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts


@public("gputok.trainers")
class TrainedUnigram(NamedTuple):
    """What a Unigram model learns; the fields are named as those of `models.Unigram`."""

    vocab: list[tuple[str, float]]  # (piece, log-probability) in the order of the ids
    unk_id: int | None = None

    def into(self, model: Any) -> None:
        """Puts it into a model, whose other options stay as they are."""
        model.update(**self._asdict())


@public("gputok.trainers")
@dataclass(kw_only=True, eq=False, repr=False)
class UnigramTrainer(Trainer):
    """Trains a unigram language model over pieces (Kudo 2018), with the options of the namesake.

    Args:
        show_progress: Whether to show a progress bar.
        vocab_size: The size of the final vocabulary, special tokens and alphabet included.
        n_sub_iterations: Rounds of EM before each pruning.
        shrinking_factor: The share of pieces that a pruning keeps.
        special_tokens: Strings or AddedTokens that get the first ids, with score 0.
        initial_alphabet: Characters to keep although they may not occur; of longer strings the first one.
        unk_token: The token for unknown characters; it gets id 0 if it is not a special token.
        max_piece_length: The most characters of a piece.
        seed_size: The most pieces to begin with; more than ten times vocab_size are not taken.

    The result is the same, bit for bit, for any number of threads and any order of the words. It is not the namesake's:
    held-out text gets shorter with it (`train_unigram` says why).

    >>> from gputok import WordCounts
    >>> trainer = UnigramTrainer(vocab_size=5, unk_token="<unk>")
    >>> words = WordCounts.from_dict({"abab": 30, "ab": 50, "b": 2})
    >>> [piece for piece, _ in trainer.train(words).vocab]
    ['<unk>', 'ab', 'abab', 'b', 'a']
    """

    trains: ClassVar[str] = "Unigram"
    show_progress: bool = True
    vocab_size: int = 8000
    n_sub_iterations: int = 2
    shrinking_factor: float = 0.75
    special_tokens: Sequence[str | AddedToken] = field(default_factory=list)
    initial_alphabet: Sequence[str] = field(default_factory=list)
    unk_token: str | None = None
    max_piece_length: int = 16
    seed_size: int = 1_000_000

    def train(
        self,
        words: WordCounts,
        *,
        threads: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        devices: Sequence[Any] = (),
    ) -> TrainedUnigram:
        """Learns the pieces of counted words; nothing of the trainer changes; it runs on the CPU.

        ValueError: vocab_size has no room for the special tokens and the characters of the words.
        """
        from gputok.models.unigram.train import train_unigram

        specials = [token.content for token in self.special_tokens]
        unk_id = None
        if self.unk_token is not None:
            if self.unk_token not in specials:
                specials.insert(0, self.unk_token)
            unk_id = specials.index(self.unk_token)
        if len(words.data) == 0:
            warnings.warn("the corpus has no words: nothing is learnt beyond the given tokens", stacklevel=2)
        pieces = train_unigram(
            words,
            vocab_size=self.vocab_size - len(specials),
            initial_alphabet=self.initial_alphabet,
            shrinking_factor=self.shrinking_factor,
            max_piece_length=self.max_piece_length,
            n_sub_iterations=self.n_sub_iterations,
            seed_size=self.seed_size,
            taken=specials,
            threads=threads,
            progress=progress,
        )
        return TrainedUnigram([(token, 0.0) for token in specials] + pieces, unk_id)
