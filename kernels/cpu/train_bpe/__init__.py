"""Training of BPE."""

from gputok.kernels.cpu.train_bpe.train import train_bpe, train_bpe_of_parts

__all__ = ["train_bpe", "train_bpe_of_parts"]
