"""One short text to ids, in one call that takes a microsecond."""

from gputok.kernels.cpu.short_texts.encode import encode_bpe, new_handle, put_bpe, with_memory

__all__ = ["encode_bpe", "new_handle", "put_bpe", "with_memory"]
