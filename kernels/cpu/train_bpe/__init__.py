"""Training of BPE."""

from gputok.kernels.cpu.train_bpe.train import phases, train_bpe, train_bpe_of_parts
from gputok.kernels.cpu.veto import token_traits

__all__ = ["phases", "token_traits", "train_bpe", "train_bpe_of_parts"]
