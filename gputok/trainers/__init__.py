"""Trainers: from word counts to the vocabulary of a model."""

from .base import Trainer
from .bpe import BpeTrainer, TrainedBpe

__all__ = ["BpeTrainer", "TrainedBpe", "Trainer"]
