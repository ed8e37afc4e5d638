"""Unigram: a word is cut into the tokens whose probabilities have the highest product."""

from gputok.models.unigram.model import Unigram

__all__ = ["Unigram"]
