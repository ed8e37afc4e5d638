"""Formats of files, and atomic writing."""
