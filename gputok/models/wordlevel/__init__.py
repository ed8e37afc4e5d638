"""Whole words looked up in the vocabulary."""

from gputok.models.wordlevel.model import WordLevel

__all__ = ["WordLevel"]
