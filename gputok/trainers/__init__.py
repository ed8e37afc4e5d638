"""Trainers: from word counts to the vocabulary of a model."""

from .base import Trainer
from .bpe import BpeTrainer, TrainedBpe
from .parity_bpe import ParityBpeTrainer
from .unigram import TrainedUnigram, UnigramTrainer
from .wordlevel import TrainedWordLevel, WordLevelTrainer
from .wordpiece import TrainedWordPiece, WordPieceTrainer

__all__ = [
    "BpeTrainer",
    "ParityBpeTrainer",
    "TrainedBpe",
    "TrainedUnigram",
    "TrainedWordLevel",
    "TrainedWordPiece",
    "Trainer",
    "UnigramTrainer",
    "WordLevelTrainer",
    "WordPieceTrainer",
]
