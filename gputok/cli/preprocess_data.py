r"""Stands in for Megatron-LM's `tools/preprocess_data.py`, with its argument names.

    python -m gputok.cli.preprocess_data --input web.jsonl --json-keys text --output-prefix web \\
        --tokenizer-type HuggingFaceTokenizer --tokenizer-model tokenizer.json --append-eod --workers 8

writes web_text_document.bin and .idx, byte for byte those of Megatron's script, and a manifest. `--input` may also be
Parquet, a folder, a glob or a URL. `--workers` are threads. An interrupted run resumes if it is started again.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from gputok.implementations import ByteLevelBPETokenizer
from gputok.pipeline.special_tokens import configured
from gputok.tokenizer import Tokenizer

_TYPES = ("HuggingFaceTokenizer", "GPT2BPETokenizer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the script with these arguments, or those of `sys.argv`; the message of a SystemExit says what is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        tokenizer, eod = _tokenizer(asked)
        eos = eod if asked.append_eod else None
        for key in asked.json_keys:
            output = f"{asked.output_prefix}_{key}_document"
            reading = {"column": key, "threads": asked.workers}
            made = tokenizer.encode_corpus(asked.input, output, format="megatron", eos=eos, **reading)
            print(f"{output}: {made.n_documents:,} documents, {made.n_bytes / 1e6:,.1f} MB of text")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"preprocess_data: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m gputok.cli.preprocess_data",
        description="Tokenize JSON Lines into Megatron-LM's .bin and .idx files.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--input", required=True, help="JSON Lines or Parquet: a file, a folder, a glob or a URL")
    add("--json-keys", nargs="+", default=["text"], help="fields to tokenize, each into files of its own")
    add("--tokenizer-type", required=True, choices=_TYPES)
    add("--tokenizer-model", help="the tokenizer.json of HuggingFaceTokenizer, or its folder")
    add("--vocab-file", help="vocab.json of GPT2BPETokenizer")
    add("--merge-file", help="merges.txt of GPT2BPETokenizer")
    add("--append-eod", action="store_true", help="put the end token after each document")
    add("--output-prefix", required=True, help="files are called PREFIX_KEY_document.bin and .idx")
    add("--workers", type=int, help="threads; default: all cores")
    add("--keep-sequential-samples", action="store_true", help="documents keep their order; here they always do")
    return parser


def _tokenizer(asked: argparse.Namespace) -> tuple[Tokenizer, bool | str]:
    """Returns the tokenizer, and its end token: True, if it must be found by its name."""
    kind, model = asked.tokenizer_type, asked.tokenizer_model
    if kind == "GPT2BPETokenizer":
        _need(asked, "vocab_file", "merge_file")
        tokenizer = ByteLevelBPETokenizer.from_file(asked.vocab_file, asked.merge_file)
        return Tokenizer.from_str(tokenizer.to_str()), "<|endoftext|>"
    _need(asked, "tokenizer_model")
    path = pathlib.Path(model, "tokenizer.json") if os.path.isdir(model) else pathlib.Path(model)
    return Tokenizer.from_file(str(path)), configured(path, "eos") or True


def _need(asked: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(asked, name) is None:
            raise ValueError(f"--tokenizer-type {asked.tokenizer_type} needs --{name.replace('_', '-')}")


if __name__ == "__main__":
    main()
