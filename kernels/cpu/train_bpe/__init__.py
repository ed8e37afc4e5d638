"""Training of BPE."""

from gputok.kernels.cpu.train_bpe.train import train_bpe, train_bpe_of_parts
from gputok.kernels.cpu.veto import token_traits

__all__ = ["token_traits", "train_bpe", "train_bpe_of_parts"]
