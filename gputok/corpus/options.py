"""The options of a read, which every reader of files gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gputok.text.pieces import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.corpus.missing_rows import MissingRows
    from gputok.corpus.packing import Errors
    from gputok.files.locations import Lender
    from gputok.types import Array


class Options(NamedTuple):
    """The options of a read; see `gputok.corpus.read`."""

    column: str | None
    separator: str | None
    errors: Errors
    batch_bytes: int
    missing: MissingRows
    # Returns memory to read text into, uint8[n]. If it is set, lines of large local files come as RawLines.
    memory: Callable[[int], Array] | None = None
    # Memory for the text of local files and for the starts of their lines, which batches give back when they are dropped.
    text_lender: Lender | None = None
    starts_lender: Lender | None = None
    unpackers: int = 1  # how many threads unpack the frames of one .zst file
    ahead_bytes: int = 0  # how many bytes of frames they may unpack before their turn
    longest: int = LONGEST  # the most bytes that one document, or one line of JSON, may have
