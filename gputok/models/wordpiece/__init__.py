"""WordPiece: each word is cut into the longest tokens, from its start."""

from gputok.models.wordpiece.model import WordPiece

__all__ = ["WordPiece"]
