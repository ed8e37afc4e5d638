"""Counts of words: what training is made of, in memory and in files."""

from __future__ import annotations
