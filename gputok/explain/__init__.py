"""Explains how a text becomes tokens, step by step: a slow twin of encoding, in plain Python, that checks itself."""

from gputok.explain.explanation import Explanation, Step, Word

__all__ = ["Explanation", "Step", "Word"]
