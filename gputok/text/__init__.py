"""Text packed into arrays, and functions that cut and change packed text."""

from gputok.text.pieces import Alignment, Pieces, TextBatch, mark_starts, regroup, rewrite, spell_out, starts_with

__all__ = ["Alignment", "Pieces", "TextBatch", "mark_starts", "regroup", "rewrite", "spell_out", "starts_with"]
