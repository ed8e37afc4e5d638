"""Byte-pair encoding."""

from gputok.models.bpe.model import BPE

__all__ = ["BPE"]
