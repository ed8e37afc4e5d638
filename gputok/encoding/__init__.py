"""Results of encoding: columns that a whole batch shares, rows of these columns, and the public class Encoding."""

from gputok.encoding.encoding import Encoding

__all__ = ["Encoding"]
