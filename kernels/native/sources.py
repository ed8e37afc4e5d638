"""A hash of the sources that machine code depends on: a wheel records it, a source tree compares it with its own."""

from __future__ import annotations

import hashlib
import pathlib

KERNELS = "__init__.py", "signatures.py", "cpu/**/*.py"
"""What a compiled kernel depends on, as globs."""

LIBRARY = *KERNELS, "native/*.py", "wheel/*.py", "wheel/*.ll"
"""What the library of a wheel and its calls depend on."""


def digest(globs: tuple[str, ...], seed: bytes = b"") -> str:
    """Returns the hash of the files of gputok.kernels that globs name, and of a seed."""
    folder = pathlib.Path(__file__).parents[1]
    made = hashlib.sha256(seed)
    for path in sorted({path for pattern in globs for path in folder.glob(pattern)}):
        if path.name != "calls.py":  # which is written when a wheel is built
            made.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return made.hexdigest()
