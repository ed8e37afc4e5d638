"""Trainers learn the vocabulary of a model from counted words."""

from typing import TYPE_CHECKING

from gputok.lazy import attach

if TYPE_CHECKING:  # for type checkers and editors; the table below has the same names
    from gputok.models.bpe.parity_trainer import ParityBpeTrainer
    from gputok.models.bpe.sentencepiece_trainer import SentencePieceBpeTrainer
    from gputok.models.bpe.super_trainer import SuperBpeTrainer
    from gputok.models.bpe.trainer import BpeTrainer, TrainedBpe
    from gputok.models.trainer import Trained, Trainer
    from gputok.models.unigram.trainer import UnigramTrainer
    from gputok.models.wordlevel.trainer import WordLevelTrainer
    from gputok.models.wordpiece.trainer import WordPieceTrainer

__all__ = ["BpeTrainer", "ParityBpeTrainer", "SentencePieceBpeTrainer", "SuperBpeTrainer", "Trained", "TrainedBpe"]
__all__ += ["Trainer", "UnigramTrainer", "WordLevelTrainer", "WordPieceTrainer"]

_NAMES = {
    "models.bpe.parity_trainer": "ParityBpeTrainer",
    "models.bpe.sentencepiece_trainer": "SentencePieceBpeTrainer",
    "models.bpe.super_trainer": "SuperBpeTrainer",
    "models.bpe.trainer": "BpeTrainer TrainedBpe",
    "models.trainer": "Trained Trainer",
    "models.unigram.trainer": "UnigramTrainer",
    "models.wordlevel.trainer": "WordLevelTrainer",
    "models.wordpiece.trainer": "WordPieceTrainer",
}

if not TYPE_CHECKING:  # else type checkers would take any name
    __getattr__, __dir__ = attach(__name__, _NAMES)
