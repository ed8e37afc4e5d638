"""Documents to ids by BPE."""

from gputok.kernels.cpu.encode_text.rounds import encode_text

__all__ = ["encode_text"]
