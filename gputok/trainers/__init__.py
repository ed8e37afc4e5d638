"""Trainers: from word counts to the vocabulary of a model."""

from gputok.trainers.base import Trainer
from gputok.trainers.bpe import BpeTrainer, TrainedBpe
from gputok.trainers.parity_bpe import ParityBpeTrainer
from gputok.trainers.unigram import TrainedUnigram, UnigramTrainer
from gputok.trainers.wordlevel import TrainedWordLevel, WordLevelTrainer
from gputok.trainers.wordpiece import TrainedWordPiece, WordPieceTrainer

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
