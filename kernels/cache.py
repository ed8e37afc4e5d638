"""Where Numba keeps the machine code of the CPU kernels."""

from __future__ import annotations


def cache_folder() -> str | None:
    """The folder, by Numba's rules: NUMBA_CACHE_DIR, or beside the kernels, or the user's cache; None if none can be written."""
    from gputok.kernels.cpu.text import _line_ends

    return _line_ends.stats.cache_path
