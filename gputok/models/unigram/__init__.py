"""A unigram language model over tokens."""

from gputok.models.unigram.model import Unigram

__all__ = ["Unigram"]
