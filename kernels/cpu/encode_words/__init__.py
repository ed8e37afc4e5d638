"""Words to tokens by BPE."""

from gputok.kernels.cpu.encode_words.merge import encode_words

__all__ = ["encode_words"]
