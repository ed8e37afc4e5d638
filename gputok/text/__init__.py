"""Text as arrays, and what is done to it."""

from gputok.text.pieces import (
    Alignment,
    Pieces,
    TextBatch,
    mark_starts,
    regroup,
    rewrite,
    spell_out,
    starts_with,
)

__all__ = [
    "Alignment",
    "Pieces",
    "TextBatch",
    "mark_starts",
    "regroup",
    "rewrite",
    "spell_out",
    "starts_with",
]
