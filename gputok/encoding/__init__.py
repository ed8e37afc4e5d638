"""What encoding a text gives: columns that a whole batch shares, rows of them, and the objects that users get."""

from gputok.encoding.encoding import Encoding

__all__ = ["Encoding"]
