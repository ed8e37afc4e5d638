"""WordPiece: the longest token first."""

from gputok.models.wordpiece.model import WordPiece

__all__ = ["WordPiece"]
