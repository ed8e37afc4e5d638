"""WordLevel: each word is one token."""

from gputok.models.wordlevel.model import WordLevel

__all__ = ["WordLevel"]
