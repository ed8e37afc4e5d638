"""gputok as an engine of https://github.com/huggingface/tokbench, which compares tokenizers and checks their ids.

In a clone of it, this file is `engines/gputok/run.py`, and the driver starts it as it starts its other engines in
Python. Its harness cuts the text, calls `encode` for each chunk, and hashes the ids.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
from typing import Any

import gputok


def main() -> None:
    """Runs the protocol of the harness."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
    harness: Any = importlib.import_module("harness")
    args, version = harness.args_parser().parse_args(), f"gputok {gputok.__version__}"
    file = args.model / "tokenizer.json"
    if not file.exists():
        harness.unsupported(version, "python", f"gputok reads a tokenizer.json, and {args.model} has none")
    harness.run(
        name="gputok",
        version=version,
        lang="python",
        load=lambda: gputok.Tokenizer.from_file(str(file)),
        encode=lambda tokenizer, text: (
            tokenizer.encode(text, add_special_tokens=False, truncation=None, padding=None).ids
        ),
        args=args,
    )


if __name__ == "__main__":
    main()
