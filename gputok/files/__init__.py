"""Formats of files, and atomic writing."""

from gputok.files.atomic import replacing

__all__ = ["replacing"]
