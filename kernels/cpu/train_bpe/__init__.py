"""Training of BPE."""

from gputok.kernels.cpu.train_bpe.train import train_bpe

__all__ = ["train_bpe"]
