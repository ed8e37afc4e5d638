"""`gputok convert` and `gputok tokens`: a tokenizer in another format, and the number of tokens in text."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gputok.cli.options import (
    AsJson,
    Column,
    Errors,
    Inputs,
    Pattern,
    Progress,
    Separator,
    StorageOption,
    Threads,
    TokenizerFile,
    check_standard_input,
    load_tokenizer,
    output_file,
    sources,
    storage_options,
    sum_up,
)

if TYPE_CHECKING:
    from gputok.tokenizer import Tokenizer


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A tokenizer.json, .model, .tiktoken, tekken.json or .gguf file, a folder, or a name on the hub.",
            metavar="IN",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            help="What to write, by its name: tekken.json, another .json (tokenizer.json), .model (SentencePiece), "
            ".tiktoken, or a name without an ending: a folder for transformers.",
            metavar="OUT",
            show_default=False,
        ),
    ],
    pattern: Pattern = None,
    storage_option: StorageOption = None,
) -> None:
    """Write a tokenizer in another format. A format in which ids would differ is refused, with the reason."""
    from gputok import save_sentencepiece, save_tekken, save_tiktoken

    storage = storage_options(storage_option)
    suffix = pathlib.PurePath(output).suffix
    if suffix not in ("", ".json", ".model", ".tiktoken"):
        raise ValueError(
            f"{output}: the name must end in .json, .model or .tiktoken, or have no ending for a folder, not {suffix!r}"
        )
    tokenizer = load_tokenizer(source, storage, pattern=pattern)
    if not suffix:
        from gputok.pretrained import PreTrainedTokenizer

        PreTrainedTokenizer(tokenizer).save_pretrained(output)
        print(f"{output}: a folder that transformers opens")
        return
    options: dict[str, Any] = {}
    with output_file(output, storage, [source]) as written:
        if suffix == ".model":
            save_sentencepiece(tokenizer, written)
        elif suffix == ".tiktoken":
            options = save_tiktoken(tokenizer, written)
        elif pathlib.PurePath(output).name == "tekken.json":
            save_tekken(tokenizer, written)
        else:
            written.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    print(f"{output}: {tokenizer.get_vocab_size():,} tokens")
    if options:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        ranks = f"mergeable_ranks=tiktoken.load.load_tiktoken_bpe({output!r})"
        print(f"to open it: tiktoken.Encoding('mine', {ranks}, {given})")


def tokens(
    inputs: Inputs,
    tokenizer: TokenizerFile,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    progress: Progress = None,
    as_json: AsJson = False,
    storage_option: StorageOption = None,
) -> None:
    """Count the tokens of text, without special tokens around each document."""
    storage = storage_options(storage_option)
    check_standard_input([*inputs, tokenizer])
    loaded = load_tokenizer(tokenizer, storage)
    n_documents, n_tokens, n_bytes = _tally(
        loaded,
        sources(inputs, column),
        progress,
        column=column,
        separator=separator,
        errors=errors,
        threads=threads,
        storage_options=storage,
    )
    each = f", {n_bytes / n_tokens:.2f} bytes a token" if n_tokens else ""
    line = f"{n_tokens:,} tokens in {n_documents:,} documents, {n_bytes:,} bytes{each}"
    sum_up(line, {"tokens": n_tokens, "documents": n_documents, "bytes": n_bytes}, output="", as_json=as_json)


def _tally(
    tokenizer: Tokenizer, source: list[Any], progress: bool | None, **options: Any
) -> tuple[int, int, int]:
    """The numbers of documents, tokens and bytes of text."""
    from gputok.progress import reporting

    n_documents = n_tokens = n_bytes = 0
    with reporting(progress) as report:

        def counted(stage: str, done: int, total: int | None) -> None:
            nonlocal n_bytes
            n_bytes = done
            report(stage, done, total)

        for batch in tokenizer.encode_corpus(source, add_special_tokens=False, progress=counted, **options):
            n_documents, n_tokens = n_documents + batch.n_documents, n_tokens + len(batch.ids)
    return n_documents, n_tokens, n_bytes
