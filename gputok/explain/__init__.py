"""Explains how a text becomes tokens, step by step: a slow twin of encoding, in plain Python, that checks itself."""

from gputok.explain.explanation import Explanation, Word
from gputok.explain.words import Step

__all__ = ["Explanation", "Step", "Word"]
