"""Where Numba keeps the machine code of the CPU kernels."""

from __future__ import annotations


def cache_folder() -> str:
    """The folder, by Numba's rules: beside the kernels, or NUMBA_CACHE_DIR, or the user's cache where neither is writable."""
    from gputok.kernels.cpu.text import _line_ends

    return _line_ends.stats.cache_path
