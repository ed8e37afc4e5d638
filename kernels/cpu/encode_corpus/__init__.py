"""Text to ids: each distinct word is encoded once by the model, and after that by a cache."""

from gputok.kernels.cpu.encode_corpus.cache import grown, new_cache
from gputok.kernels.cpu.encode_corpus.learned import Learning
from gputok.kernels.cpu.encode_corpus.rounds import Encoder, encode_corpus, encode_marked, surround

__all__ = ["Encoder", "Learning", "encode_corpus", "encode_marked", "grown", "new_cache", "surround"]
