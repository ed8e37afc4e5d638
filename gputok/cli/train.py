"""`gputok train` and `gputok count`: a vocabulary from text, in one go or from counts of shards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gputok.cli.options import (
    AsJson,
    Column,
    Device,
    Errors,
    Expression,
    Inputs,
    Model,
    Pattern,
    Progress,
    Separator,
    StorageOption,
    Threads,
    VocabSize,
    check_standard_input,
    local_file,
    output_file,
    shown_output,
    sources,
    storage_options,
    sum_up,
)
from gputok.recipes import recipe

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts
    from gputok.tokenizer import Tokenizer


def train(
    inputs: Inputs,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write, or - for standard output.")
    ] = "tokenizer.json",
    model: Model = "bpe",
    vocab_size: VocabSize = 32_000,
    pattern: Pattern = None,
    regex: Expression = None,
    special_token: Annotated[
        list[str] | None,
        typer.Option(
            help="Can be repeated. [default: <|endoftext|> for bpe, the usual ones for other models]"
        ),
    ] = None,
    min_frequency: Annotated[
        int, typer.Option(help="Pairs and words seen less often are not learnt.", min=0)
    ] = 0,
    from_counts: Annotated[
        bool, typer.Option("--from-counts", help="The inputs are word counts, written by `gputok count`.")
    ] = False,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    as_json: AsJson = False,
    storage_option: StorageOption = None,
) -> None:
    """Learn a vocabulary from text and write it as a tokenizer.json."""
    from gputok.kernels.native.preparation import preparation

    storage = storage_options(storage_option)
    tokenizer, trainer = recipe(
        model,  # type: ignore[arg-type]  # recipe names what is wrong
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        pattern=pattern,
        regex=regex,
        special_tokens=special_token or None,
    )
    with preparation.going_on():  # loads what counts
        tokenizer.count_words(iter(["word"]), progress=False)
    start = time.perf_counter() - preparation.seconds
    fixed = 256 + len(trainer.special_tokens)
    if model == "bpe" and vocab_size <= fixed:
        raise ValueError(
            f"--vocab-size {vocab_size} leaves no room for a merge: {fixed} tokens are special tokens and single bytes"
        )
    with output_file(output, storage) as temporary:
        if from_counts:
            words = _merged(inputs, storage)
        else:
            options = {"column": column, "separator": separator, "errors": errors, "threads": threads}
            words = _count(tokenizer, inputs, device, progress, storage, **options)
        tokenizer.train_from_word_counts(words, trainer, threads=threads, device=device, progress=progress)
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    seconds = time.perf_counter() - preparation.seconds - start
    n_bytes = int(((words.offsets[1:] - words.offsets[:-1]) * words.counts).sum())
    size = tokenizer.get_vocab_size()
    speed = f"{n_bytes / 1e6:.1f} MB of words in {seconds:.2f} s, {n_bytes / 1e6 / seconds:.0f} MB/s"
    facts = {
        "output": shown_output(output),
        "vocab_size": size,
        "model": model,
        "distinct_words": len(words),
        "words": int(words.counts.sum()),
        "word_bytes": n_bytes,
        "seconds": round(seconds, 3),
    }
    sum_up(f"{shown_output(output)}: {size:,} tokens from {speed}", facts, output=output, as_json=as_json)


def count(
    inputs: Inputs,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Parquet file to write, or - for standard output.")
    ] = "counts.parquet",
    model: Model = "bpe",
    pattern: Pattern = None,
    regex: Expression = None,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    as_json: AsJson = False,
    storage_option: StorageOption = None,
) -> None:
    """Count words and save them: count shards anywhere, then `gputok train --from-counts` with the same --model,
    --pattern and --regex."""
    tokenizer, _ = recipe(model, pattern=pattern, regex=regex)  # type: ignore[arg-type]
    storage = storage_options(storage_option)
    with output_file(output, storage) as temporary:
        options = {"column": column, "separator": separator, "errors": errors, "threads": threads}
        words = _count(tokenizer, inputs, device, progress, storage, **options)
        words.save(temporary)
    n_words = int(words.counts.sum())
    facts = {"output": shown_output(output), "distinct_words": len(words), "words": n_words}
    line = f"{shown_output(output)}: {len(words):,} distinct words, {n_words:,} in all"
    sum_up(line, facts, output=output, as_json=as_json)


def _merged(inputs: list[str], storage: dict[str, Any]) -> WordCounts:
    """The word counts of all files, added up."""
    from gputok import WordCounts

    check_standard_input(inputs)
    shards = []
    for path in inputs:
        with local_file(path) as local:
            shards.append(WordCounts.load(local, storage_options=storage))
    return WordCounts.merge(shards)


def _count(
    tokenizer: Tokenizer,
    inputs: list[str],
    device: str,
    progress: bool | None,
    storage: dict[str, Any],
    **options: Any,
) -> WordCounts:
    """Counts the words of the inputs; options are those of `Tokenizer.count_words`."""
    words = tokenizer.count_words(
        sources(inputs, options["column"]),
        device=device,
        progress=progress,
        storage_options=storage,
        **options,
    )
    if not len(words):
        names = ", ".join("standard input" if name == "-" else name for name in inputs)
        raise ValueError(f"{names}: there is no text to learn from")
    return words
