"""The first command to try: trains a tokenizer on the source of Python's standard library, which every machine has."""

from __future__ import annotations

import pathlib
import sys
import sysconfig
import textwrap
import time
from typing import Any

from gputok.kernels.native import choose
from gputok.kernels.native.preparation import preparation
from gputok.recipes import recipe

EXAMPLE = """class LinearLayer():
    def __init__(self, input_size, output_size):
        self.weight = torch.randn(input_size, output_size)
        self.bias = torch.zeros(output_size)

    def __call__(self, x):
        return x @ self.weights + self.bias
    """


def run(vocab_size: int = 32_000, threads: int | None = None) -> str:
    """Trains byte-level BPE on the source of the standard library.

    Each file is one document, so that a line break and the indentation after it can meet in one token.

    Args:
        vocab_size: the number of tokens to learn.
        threads: how many threads read and count; None: GPUTOK_NUM_THREADS, or all cores.

    Returns:
        A report of the text, the time and the tokens of an example.
    """
    folder = pathlib.Path(sysconfig.get_path("stdlib"))
    files = sorted(str(path) for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    n_bytes = sum(pathlib.Path(path).stat().st_size for path in files)

    # errors: a few files of the standard library, for tests, are in other encodings than UTF-8
    options: dict[str, Any] = {"separator": _NOWHERE, "errors": "replace", "threads": threads, "progress": False}
    started = time.perf_counter()
    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
    tokenizer.train(files[:100], trainer, **options)  # enough to need every kernel
    tokenizer.encode(EXAMPLE)
    getting_ready = time.perf_counter() - started

    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
    started = time.perf_counter()
    tokenizer.train(files, trainer, **options)
    seconds = time.perf_counter() - started
    tokens = tokenizer.encode(EXAMPLE).tokens
    python = ".".join(map(str, sys.version_info[:2]))
    lines = [
        f"text      {len(files):,} files of the standard library of Python {python}, {n_bytes / 1e6:.1f} MB",
        f"kernels   {choose().reason}",
        f"ready     in {getting_ready:.2f} s{' (once; what was compiled is kept)' if preparation.compiled else ''}",
        f"trained   {tokenizer.get_vocab_size():,} tokens in {seconds:.2f} s, {n_bytes / 1e6 / seconds:.0f} MB/s",
        f"learnt    {len(tokens)} tokens for {len(EXAMPLE)} characters:",
        *textwrap.wrap(" ".join(tokens), 118, break_long_words=False, break_on_hyphens=False),
    ]
    return "\n".join(lines)


_NOWHERE = "\0"  # a separator that no Python source contains
