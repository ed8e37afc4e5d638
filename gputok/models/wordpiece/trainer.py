"""The trainer of WordPiece: BPE whose tokens inside a word have a prefix."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from gputok.models.bpe.trainer import BpeTrainer
from gputok.models.trainer import Trainer
from gputok.tokens.added_token import AddedToken
from gputok.types import public

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts


@public("gputok.trainers")
class TrainedWordPiece(NamedTuple):
    """What a WordPiece model learns; the fields are named as those of `models.WordPiece`."""

    vocab: dict[str, int]  # in the order of the ids
    continuing_subword_prefix: str = "##"

    def into(self, model: Any) -> None:
        """Puts it into a model, whose other options stay as they are."""
        model.update(**self._asdict())


@public("gputok.trainers")
@dataclass(kw_only=True, eq=False, repr=False)
class WordPieceTrainer(Trainer):
    """Trains a WordPiece vocabulary by merging pairs, as `tokenizers.trainers.WordPieceTrainer` does.

    It takes the options of `BpeTrainer`, whose docstring says what they mean and in which order ids are given. The
    namesake numbers the characters with a prefix in the order of a hash table, so that two of its runs differ; here
    they come by falling count, then code point.

    >>> from gputok import WordCounts
    >>> trainer = WordPieceTrainer(vocab_size=8, special_tokens=["[UNK]"])
    >>> trainer.train(WordCounts.from_dict({"hug": 3, "hum": 2})).vocab
    {'[UNK]': 0, 'g': 1, 'h': 2, 'm': 3, 'u': 4, '##u': 5, '##g': 6, '##m': 7}
    """

    trains: ClassVar[str] = "WordPiece"
    vocab_size: int = 30000
    min_frequency: int = 0
    show_progress: bool = True
    special_tokens: Sequence[str | AddedToken] = field(default_factory=list)
    limit_alphabet: int | None = None
    initial_alphabet: Sequence[str] = field(default_factory=list)
    continuing_subword_prefix: str | None = "##"
    end_of_word_suffix: str | None = None

    def train(
        self,
        words: WordCounts,
        *,
        threads: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        devices: Sequence[Any] = (),
    ) -> TrainedWordPiece:
        """Learns the vocabulary of counted words; nothing of the trainer changes."""
        learnt = self._bpe_trainer().train(
            words.spelled_out(), threads=threads, progress=progress, devices=devices
        )
        prefix = self.continuing_subword_prefix
        return TrainedWordPiece(learnt.vocabulary.plain(), "##" if prefix is None else prefix)

    def _bpe_trainer(self) -> BpeTrainer:
        options = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        return BpeTrainer(**options)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        # The namesake shows the trainer that it is made of
        _, _, inner = self._bpe_trainer()._described(n_items, n_bytes).partition("(")
        return f"WordPieceTrainer(WordPieceTrainer(bpe_trainer={inner})"

    def __getstate__(self) -> bytes:
        inner = json.loads(self._bpe_trainer().__getstate__())["BpeTrainer"]
        value = {"WordPieceTrainer": {"bpe_trainer": inner}}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        options: dict[str, Any] = json.loads(state)["WordPieceTrainer"]["bpe_trainer"]
        trained: Self = type(self).from_dict(options)
        self.__dict__.update(trained.__dict__)
