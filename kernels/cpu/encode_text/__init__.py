"""Text to ids: each distinct word is encoded once by the model, and after that by a cache."""

from gputok.kernels.cpu.encode_text.cache import grown, new_cache
from gputok.kernels.cpu.encode_text.learned import Learning
from gputok.kernels.cpu.encode_text.rounds import Encoder, encode_marked, encode_text, surround

__all__ = ["Encoder", "Learning", "encode_marked", "encode_text", "grown", "new_cache", "surround"]
