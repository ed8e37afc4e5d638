"""Writes, reads and joins files that hold the token ids of an encoded corpus."""

from __future__ import annotations
