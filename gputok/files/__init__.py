"""Formats of files, and how files are written."""

from gputok.files.atomic import replacing

__all__ = ["replacing"]
