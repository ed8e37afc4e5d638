"""Trainers learn the vocabulary of a model from counted words."""

from gputok.models.bpe.parity_trainer import ParityBpeTrainer
from gputok.models.bpe.sentencepiece_trainer import SentencePieceBpeTrainer
from gputok.models.bpe.super_trainer import SuperBpeTrainer
from gputok.models.bpe.trainer import BpeTrainer, TrainedBpe
from gputok.models.trainer import Trainer
from gputok.models.unigram.trainer import TrainedUnigram, UnigramTrainer
from gputok.models.wordlevel.trainer import TrainedWordLevel, WordLevelTrainer
from gputok.models.wordpiece.trainer import TrainedWordPiece, WordPieceTrainer

__all__ = [
    "BpeTrainer",
    "ParityBpeTrainer",
    "SentencePieceBpeTrainer",
    "SuperBpeTrainer",
    "TrainedBpe",
    "TrainedUnigram",
    "TrainedWordLevel",
    "TrainedWordPiece",
    "Trainer",
    "UnigramTrainer",
    "WordLevelTrainer",
    "WordPieceTrainer",
]
