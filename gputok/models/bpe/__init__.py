"""BPE, byte-pair encoding: pairs of neighbouring tokens are merged in the order of their ranks."""

from gputok.models.bpe.model import BPE

__all__ = ["BPE"]
