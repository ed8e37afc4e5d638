"""`gputok train` and `gputok count`: learn a vocabulary from text, or from the word counts of its parts."""

from __future__ import annotations

import contextlib
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gputok.cli.options import (
    AsJson,
    Column,
    Device,
    Errors,
    Expression,
    Inputs,
    MemoryLimit,
    Model,
    Pattern,
    Progress,
    Resume,
    Separator,
    StorageOption,
    Temperature,
    Temporary,
    Threads,
    VocabSize,
    Weight,
    amount,
    check_standard_input,
    local_file,
    output_file,
    shown_output,
    sources,
    speed,
    storage_options,
    sum_up,
    weights_of,
    whole_number,
)
from gputok.cli.sentencepiece import ByteFallback, Coverage, Normalization, SentencePieceOption, train_sentencepiece
from gputok.cli.superwords import (
    ColonSpace,
    MaxWords,
    Pairs,
    Stage1,
    SuperwordPattern,
    Threshold,
    Transition,
    superword_options,
)
from gputok.files.arrow import needed_for
from gputok.recipes import recipe

if TYPE_CHECKING:
    from gputok.counts.word_counts import WordCounts
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
        typer.Option(help="Can be repeated. [default: <|endoftext|> for bpe, the usual ones for other models]"),
    ] = None,
    min_frequency: Annotated[int, typer.Option(help="Pairs and words seen less often are not learnt.", min=0)] = 0,
    min_count: Annotated[
        int, typer.Option(help="Leave out words seen less often, an approximation that saves memory.", min=0)
    ] = 0,
    transition: Transition = None,
    superword_pattern: SuperwordPattern = None,
    max_words: MaxWords = None,
    colon_space: ColonSpace = False,
    stage1: Stage1 = None,
    pairs: Pairs = None,
    threshold: Threshold = None,
    from_counts: Annotated[
        bool, typer.Option("--from-counts", help="The inputs are word counts, written by `gputok count`.")
    ] = False,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    memory_limit: MemoryLimit = None,
    temporary: Temporary = None,
    resume: Resume = None,
    weight: Weight = None,
    temperature: Temperature = None,
    byte_fallback: ByteFallback = False,
    character_coverage: Coverage = None,
    normalization: Normalization = None,
    sentencepiece_option: SentencePieceOption = None,
    as_json: AsJson = False,
    storage_option: StorageOption = None,
) -> None:
    """Learn a vocabulary from text and write it as a tokenizer.json."""
    from gputok.kernels.native.preparation import preparation

    storage = storage_options(storage_option)
    if model == "sentencepiece-bpe":
        others = {
            "--pattern": pattern,
            "--regex": regex,
            "--special-token": special_token or None,
            "--min-frequency": min_frequency or None,
            "--min-count": min_count if min_count > 1 else None,
            "--from-counts": from_counts or None,
            "--column": column,
            "--separator": separator,
            "--errors": None if errors == "strict" else errors,
            "--resume": resume,
            "--weight": weight or None,
            "--temperature": temperature,
            "--transition": transition,
            "--superword-pattern": superword_pattern,
            "--max-words": max_words,
            "--colon-space": colon_space or None,
            "--stage1": stage1,
            "--pairs": pairs or None,
            "--threshold": threshold,
        }
        _refuse(others, "is not for --model sentencepiece-bpe")
        named: dict[str, Any] = {"byte_fallback": True} if byte_fallback else {}
        if character_coverage is not None:
            named["character_coverage"] = character_coverage
        if normalization is not None:
            named["normalization_rule_name"] = normalization
        given = (named, sentencepiece_option or [])
        limits = {"threads": threads, "progress": progress, "memory_limit": memory_limit, "temporary": temporary}
        train_sentencepiece(inputs, output, vocab_size, *given, storage, as_json, limits)
        return
    only = {
        "--byte-fallback": byte_fallback or None,
        "--character-coverage": character_coverage,
        "--normalization": normalization,
        "--sentencepiece-option": sentencepiece_option or None,
    }
    _refuse(only, "is for --model sentencepiece-bpe alone")
    tokenizer, trainer = recipe(
        model,  # type: ignore[arg-type]  # recipe names what is wrong
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        pattern=pattern,
        regex=regex,
        special_tokens=special_token or None,
        superwords=superword_options(transition, superword_pattern, max_words, colon_space, stage1, storage),
    )
    if not (model == "superbpe" and from_counts):
        _refuse({"--pairs": pairs or None, "--threshold": threshold}, "is for --model superbpe --from-counts")
    with preparation.going_on():  # loads the code that counts
        tokenizer.count_words(iter(["word"]), progress=False)
    start = time.perf_counter() - preparation.seconds
    fixed = 256 + len(trainer.special_tokens)
    if model in ("bpe", "superbpe") and vocab_size <= fixed:
        raise ValueError(
            f"--vocab-size {vocab_size} leaves no room for a merge: {fixed} tokens are special tokens and single bytes"
        )
    limits = {"memory_limit": memory_limit, "temporary": temporary, "threads": threads}
    weights = weights_of(weight, inputs)
    if from_counts and resume is not None:
        raise ValueError("--resume is for counting; with --from-counts the words are counted already")
    if model == "superbpe":
        options = {"column": column, "separator": separator, "errors": errors, "device": device, **limits}
        options |= {"progress": progress, "min_count": min_count, "storage_options": storage}
        with output_file(output, storage, inputs) as written:
            if from_counts:
                runs, all_pairs = merged_counts(inputs, storage, **limits), pairs_of(pairs, storage, **limits)
                given = {"threshold": threshold, "progress": progress, "memory_limit": memory_limit}
                given |= {"threads": threads}
                tokenizer.train_from_runs(runs, all_pairs, trainer, **given)
            else:
                tokenizer.train(sources(inputs, column), trainer, resume=resume, **options)
            written.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
        _remove_work(resume)
        seconds = time.perf_counter() - preparation.seconds - start
        size = tokenizer.get_vocab_size()
        facts = {"output": shown_output(output), "vocab_size": size, "model": model, "seconds": round(seconds, 3)}
        line = f"{shown_output(output)}: {size:,} tokens in {seconds:.2f} s"
        sum_up(line, facts, output=output, as_json=as_json)
        _note_size(size, vocab_size)
        return
    with output_file(output, storage, inputs) as written:
        if from_counts:
            words = merged_counts(inputs, storage, weights, temperature, **limits)
        else:
            options = {"column": column, "separator": separator, "errors": errors, "resume": resume, **limits}
            options |= {"weights": weights, "temperature": temperature}
            words = _count(tokenizer, inputs, device, progress, storage, **options)
        tokenizer.train_from_word_counts(
            words,
            trainer,
            threads=threads,
            device=device,
            progress=progress,
            min_count=min_count,
            memory_limit=memory_limit,
        )
        written.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    _remove_work(resume)
    seconds = time.perf_counter() - preparation.seconds - start
    n_bytes = int(words.n_bytes_of_text() / words.scale)
    size = tokenizer.get_vocab_size()
    work = f"{amount(n_bytes)} of words in {seconds:.2f} s, {speed(n_bytes, seconds)}"
    facts = {
        "output": shown_output(output),
        "vocab_size": size,
        "model": model,
        "distinct_words": len(words),
        "words": int(int(words.counts.sum()) / words.scale),
        "word_bytes": n_bytes,
        "seconds": round(seconds, 3),
    }
    sum_up(f"{shown_output(output)}: {size:,} tokens from {work}", facts, output=output, as_json=as_json)
    _note_size(size, vocab_size)


def _note_size(size: int, vocab_size: int) -> None:
    """Says that the vocabulary is smaller than was asked for."""
    if size < vocab_size:
        print(
            f"gputok: note: {size:,} tokens, not the {vocab_size:,} of --vocab-size: the text gives no more",
            file=sys.stderr,
        )


def _refuse(options: dict[str, Any], why: str) -> None:
    """Raises ValueError for the first of the options that is given."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} {why}")


def count(
    inputs: Inputs,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Parquet file to write, or - for standard output.")
    ] = "counts.parquet",
    model: Model = "bpe",
    pattern: Pattern = None,
    regex: Expression = None,
    what: Annotated[
        str, typer.Option(help="For superbpe: count words, pairs or runs.", metavar="words|pairs|runs")
    ] = "words",
    vocab_size: Annotated[
        int | None,
        typer.Option(
            help="For superbpe, pairs and runs: size of the vocabulary. [default: 32000]", parser=whole_number
        ),
    ] = None,
    transition: Transition = None,
    superword_pattern: SuperwordPattern = None,
    max_words: MaxWords = None,
    colon_space: ColonSpace = False,
    stage1: Stage1 = None,
    pairs: Pairs = None,
    threshold: Threshold = None,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    memory_limit: MemoryLimit = None,
    temporary: Temporary = None,
    resume: Resume = None,
    weight: Weight = None,
    temperature: Temperature = None,
    as_json: AsJson = False,
    storage_option: StorageOption = None,
) -> None:
    """Count words and save them.

    Count the shards of a corpus on any machines, then run `gputok train --from-counts` with the same --model, --pattern
    and --regex.

    Superwords take three rounds: words, from which `gputok train --from-counts --model bpe` makes the tokenizer for --stage1;
    then --model superbpe --what pairs; then --what runs, with --pairs of all shards.
    """
    storage = storage_options(storage_option)
    limits = {"memory_limit": memory_limit, "temporary": temporary, "threads": threads}
    reading = {"column": column, "separator": separator, "errors": errors}
    if what not in ("words", "pairs", "runs"):
        raise ValueError(f"--what {what}: expected words, pairs or runs")
    if what != "words" and model != "superbpe":
        raise ValueError(f"--what {what} is for --model superbpe alone")
    chosen: dict[str, Any] = {
        "--vocab-size": vocab_size,
        "--transition": transition,
        "--superword-pattern": superword_pattern,
        "--max-words": max_words,
        "--colon-space": colon_space or None,
        "--stage1": stage1,
    }
    cuts = {"--pairs": pairs or None, "--threshold": threshold}
    words_only = {"--resume": resume, "--weight": weight or None, "--temperature": temperature}
    words_only["--device"] = None if device == "auto" else device
    if what == "words":
        _refuse(chosen | cuts, "is for --model superbpe, with --what pairs or runs")
        given: dict[str, Any] = {}
    else:
        _refuse(words_only, "is for --what words")
        superwords = superword_options(transition, superword_pattern, max_words, colon_space, stage1, storage)
        given = {"superwords": superwords, "vocab_size": vocab_size or 32_000}
    if what == "pairs":
        _refuse({**cuts, "--memory-limit": memory_limit, "--temporary": temporary}, "is not for --what pairs")
    tokenizer, trainer = recipe(model, pattern=pattern, regex=regex, **given)  # type: ignore[arg-type]
    with needed_for(f"{shown_output(output)}: writing counts"):  # now, not after the work
        import pyarrow as pa  # noqa: F401
    with output_file(output, storage, inputs) as written:
        if what == "words":
            options = {**reading, "resume": resume, **limits}
            options |= {"weights": weights_of(weight, inputs), "temperature": temperature}
            words = _count(tokenizer, inputs, device, progress, storage, **options)
        else:
            check_standard_input(inputs)
            found = sources(inputs, column)
            options = {**reading, "threads": threads, "progress": progress, "storage_options": storage}
            if what == "pairs":
                words = tokenizer.count_pairs(found, trainer, **options)
            else:
                options |= {"threshold": threshold, "memory_limit": memory_limit, "temporary": temporary}
                words = tokenizer.count_runs(found, trainer, pairs_of(pairs, storage, **limits), **options)
        words.save(written)
    _remove_work(resume)
    n_words = int(words.counts.sum())
    kind = {"words": "words", "pairs": "pairs of tokens", "runs": "runs of tokens"}[what]
    facts = {"output": shown_output(output), f"distinct_{what}": len(words), what: n_words}
    line = f"{shown_output(output)}: {len(words):,} distinct {kind}, {n_words:,} in all"
    sum_up(line, facts, output=output, as_json=as_json)


def pairs_of(pairs: list[str] | None, storage: dict[str, Any], **options: Any) -> WordCounts:
    """Adds up the pairs of all shards."""
    if not pairs:
        raise ValueError("runs are cut by the pairs of all shards: give them, as --pairs FILE for each shard")
    return merged_counts(pairs, storage, **options)


def _remove_work(folder: str | None) -> None:
    """Removes the work folder, once the output is complete."""
    if folder is not None:
        from gputok.pipeline.count.resume import remove

        remove(folder)


def merged_counts(
    inputs: list[str],
    storage: dict[str, Any],
    weights: dict[str, str] | None = None,
    temperature: str | None = None,
    **options: Any,
) -> WordCounts:
    """Adds up the word counts of all files, by their weights; options: those of `WordCounts.load`."""
    from gputok import WordCounts
    from gputok.counts.word_counts import of_sources

    check_standard_input(inputs)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(local_file(path, "counts.parquet")) for path in inputs]
        load = partial(WordCounts.load, storage_options=storage, **options)
        if weights is None and temperature is None:
            return load(files)
        return of_sources(load, dict(zip(inputs, files, strict=True)), weights, temperature, **options)


def _count(
    tokenizer: Tokenizer, inputs: list[str], device: str, progress: bool | None, storage: dict[str, Any], **options: Any
) -> WordCounts:
    """Counts the words of the inputs; options: those of `Tokenizer.count_words`."""
    if options["resume"] is not None and "-" in inputs:
        raise ValueError("--resume: standard input can't be read again; save it to a file first")
    found = sources(inputs, options["column"])
    weighted = options["weights"] is not None or options["temperature"] is not None
    words = tokenizer.count_words(
        dict(zip(inputs, ([one] for one in found), strict=True)) if weighted else found,
        device=device,
        progress=progress,
        storage_options=storage,
        **options,
    )
    if not len(words):
        names = ", ".join("standard input" if name == "-" else name for name in inputs)
        raise ValueError(f"{names}: contains no text to learn from")
    return words
