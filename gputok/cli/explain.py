"""`gputok explain`: how a text becomes tokens, step by step."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from gputok.cli import options


def explain(
    text: Annotated[str, typer.Argument(help="The text, or - for standard input.", metavar="TEXT", show_default=False)],
    tokenizer: options.TokenizerFile,
    add_special_tokens: Annotated[
        bool, typer.Option("--special-tokens/--no-special-tokens", help="With the tokens of the post-processor.")
    ] = True,
    as_json: options.AsJson = False,
    storage_option: options.StorageOption = None,
) -> None:
    """Explain how a text becomes tokens: its words and what cut them, merges with their ranks, what was not merged and why."""
    options.check_standard_input([text, tokenizer])
    given = sys.stdin.buffer.read().decode(errors="replace") if text == options.STANDARD else options.as_text(text)
    if given is None:
        raise ValueError(
            f"{text} is a file, and explain shows each step of a text: head -c 200 {text} | gputok explain - ..."
        )
    found = options.load_tokenizer(tokenizer, options.storage_options(storage_option)).explain(
        given, add_special_tokens
    )
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found)
