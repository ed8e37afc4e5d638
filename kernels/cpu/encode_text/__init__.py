"""Text to ids: each distinct word is encoded once by the model, and after that by a cache."""

from gputok.kernels.cpu.encode_text.rounds import encode_text, new_encoder, surround

__all__ = ["encode_text", "new_encoder", "surround"]
