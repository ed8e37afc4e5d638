"""`gputok audit`: what is odd in a vocabulary."""

from __future__ import annotations

from typing import Annotated

import typer

from gputok.cli import options


def audit(
    tokenizer: Annotated[
        str,
        typer.Argument(
            help="A tokenizer.json, .model, tekken.json or .gguf file, a folder, a name on the hub, or - for standard input.",
            metavar="TOKENIZER",
            show_default=False,
        ),
    ],
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="Embeddings of a model, .npy or .safetensors: also finds tokens that training never saw.",
            metavar="FILE",
        ),
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(help="Tensor of the .safetensors file. [default: by its usual name]", metavar="NAME")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Also write a page with all of it.")] = None,
    as_json: options.AsJson = False,
    storage_option: options.StorageOption = None,
) -> None:
    """Look for tokens that no text gives, special tokens that aren't special, doubled tokens, ids without a token and more."""
    storage = options.storage_options(storage_option)
    found = options.load_tokenizer(tokenizer, storage).audit(embeddings, tensor=tensor)
    if output is not None:
        with options.output_file(output, storage, [tokenizer, *([embeddings] if embeddings else [])]) as page:
            page.write_text(found.to_html(), encoding="utf-8")
    options.sum_up(str(found), found.to_dict(), output=output or "", as_json=as_json)
