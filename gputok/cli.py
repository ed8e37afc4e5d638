"""The command line: `gputok train`, `encode`, `decode`, `count`, `report`, `info` and `bench`.

Results go to standard output or to the file of `--output`, which is there whole or not at all; progress, warnings and
errors to standard error, an error as one line. Exit status: 0, 1 (it could not be done), 2 (it was not asked for in
a way that can be understood), 130 (Ctrl-C).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from gputok.recipes import MODELS, recipe

app = typer.Typer(
    name="gputok",
    help="Train and run tokenizers, byte for byte those of Hugging Face tokenizers, many times faster.",
    rich_markup_mode=None,
    add_completion=False,
)
bench_app = typer.Typer(
    name="bench",
    help="Compare gputok with what you would use instead, on your text.",
    rich_markup_mode=None,
)
app.add_typer(bench_app)


def _show_version(asked: bool) -> None:
    from gputok import __version__

    if asked:
        typer.echo(f"gputok {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
]


@app.callback()
def _gputok(version: Version = False) -> None:
    """The options of `gputok` itself."""


# -- options that several commands have

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Text, .jsonl or .parquet files (also .gz, .xz, .zst), folders, globs, or URLs (s3://, hf:// and so on).",
        metavar="FILE...",
        show_default=False,
    ),
]
Model = Annotated[str, typer.Option(help=f"Kind of model: {', '.join(MODELS)}.", metavar="KIND")]
Pattern = Annotated[
    str | None,
    typer.Option(
        help="How byte-level BPE splits text: as gpt2, cl100k, llama3, qwen2, qwen3, o200k, tekken or deepseek-v3. "
        "[default: gpt2]",
        metavar="NAME",
    ),
]
Expression = Annotated[
    str | None,
    typer.Option(
        "--regex",
        help="The same by a regular expression of your own, in the syntax that tokenizer.json files have.",
        metavar="REGEX",
        show_default=False,
    ),
]
Column = Annotated[
    str | None, typer.Option(help="Column of .jsonl and .parquet files. [default: text, or the only one]")
]
Separator = Annotated[
    str | None,
    typer.Option(help="What lies between two documents of a text file. [default: each line is one]"),
]
Errors = Annotated[
    str, typer.Option(help="What is not UTF-8 is an error (strict) or becomes U+FFFD (replace).")
]
Threads = Annotated[int | None, typer.Option(help="[default: GPUTOK_NUM_THREADS, or all cores]", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", envvar="GPUTOK_DEVICE")]
Progress = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Progress bars. [default: in a terminal]")
]
TokenizerFile = Annotated[
    str, typer.Option("--tokenizer", "-t", help="A tokenizer.json.", show_default=False)
]
VocabSize = Annotated[int, typer.Option(help="Number of tokens.", min=0)]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Option of the file system of URLs, as endpoint_url=http://localhost:9000; can be repeated.",
        metavar="NAME=VALUE",
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        help="What counting may take, as 400MB or 4GB; words beyond it go to temporary files. [default: no limit]",
        metavar="SIZE",
    ),
]
Temporary = Annotated[
    str | None,
    typer.Option(help="Folder of temporary files, on a disk. [default: the system's]", metavar="FOLDER"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


# -- commands


@app.command(
    epilog="\b\nExample:\n  gputok train books/*.txt.xz --vocab-size 32000 --special-token '<|endoftext|>' -o tokenizer.json"
)
def train(
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write.")] = "tokenizer.json",
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
    memory_limit: MemoryLimit = None,
    temporary: Temporary = None,
    storage_option: StorageOption = None,
) -> None:
    """Learn a vocabulary from text and write it as a tokenizer.json."""
    from gputok import WordCounts
    from gputok.files.locations import writing
    from gputok.kernels.native.preparation import preparation

    storage = _storage_options(storage_option)
    tokenizer, trainer = recipe(
        model,
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
    with writing(output, storage) as beside:  # an output that can't be written is found before the work
        limits = {"memory_limit": memory_limit, "temporary": temporary, "threads": threads}
        if from_counts:
            words = WordCounts.load(inputs, storage_options=storage, **limits)
        else:
            words = _count(
                tokenizer,
                inputs,
                column=column,
                separator=separator,
                errors=errors,
                device=device,
                progress=progress,
                storage_options=storage,
                **limits,
            )
        tokenizer.train_from_word_counts(words, trainer, threads=threads, device=device, progress=progress)
        beside.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    seconds = time.perf_counter() - preparation.seconds - start
    megabytes = words.n_bytes_of_text() / 1e6
    speed = f"{megabytes:.1f} MB of words in {seconds:.2f} s, {megabytes / seconds:.0f} MB/s"
    print(f"{output}: {tokenizer.get_vocab_size():,} tokens from {speed}")


@app.command(epilog="\b\nExample:\n  gputok count shard-07.parquet --column text -o counts-07.parquet")
def count(
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", help="Parquet file to write.")] = "counts.parquet",
    model: Model = "bpe",
    pattern: Pattern = None,
    regex: Expression = None,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    memory_limit: MemoryLimit = None,
    temporary: Temporary = None,
    storage_option: StorageOption = None,
) -> None:
    """Count words and save them: count shards anywhere, then `gputok train --from-counts` with the same --model,
    --pattern and --regex."""
    tokenizer, _ = recipe(model, pattern=pattern, regex=regex)
    storage = _storage_options(storage_option)
    words = _count(
        tokenizer,
        inputs,
        column=column,
        separator=separator,
        errors=errors,
        threads=threads,
        device=device,
        progress=progress,
        memory_limit=memory_limit,
        temporary=temporary,
        storage_options=storage,
    )
    words.save(output, storage_options=storage)
    print(f"{output}: {len(words):,} distinct words, {int(words.counts.sum()):,} in all")


def _count(tokenizer: Any, inputs: list[str], **options: Any) -> Any:
    words = tokenizer.count_words(inputs, **options)
    if not len(words):
        raise ValueError(f"{', '.join(inputs)}: there is no text to learn from")
    return words


def _storage_options(given: list[str] | None) -> dict[str, Any]:
    """What --storage-option gave, by name; `true` and `false` are Python's."""
    options: dict[str, Any] = {}
    for item in given or []:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ValueError(f"--storage-option {item}: is not NAME=VALUE")
        options[name] = {"true": True, "false": False}.get(value.lower(), value)
    return options


@app.command(
    epilog="\b\nExamples:\n  gputok encode -t tokenizer.json books/*.txt -o ids.npy\n  echo Hello | gputok encode -t tokenizer.json"
)
def encode(
    tokenizer: TokenizerFile,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="As for train. [default: standard input]", metavar="FILE...", show_default=False),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help=".npy, .bin, .arrow or .parquet. [default: ids as text, a line for each document]",
        ),
    ] = None,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    device: Device = "auto",
    progress: Progress = None,
    storage_option: StorageOption = None,
) -> None:
    """Turn text into ids. A run that was broken off goes on where it was."""
    from gputok import Tokenizer

    storage = _storage_options(storage_option)
    loaded = Tokenizer.from_file(tokenizer, storage_options=storage)
    options = {
        "storage_options": storage,
        "column": column,
        "separator": separator,
        "errors": errors,
        "threads": threads,
        "device": device,
    }
    if output is not None:
        loaded.encode_corpus(inputs or "/dev/stdin", output, progress=progress, **options)
        return
    for batch in loaded.encode_corpus(inputs or "/dev/stdin", progress=progress or False, **options):
        ids, ends = batch.ids.tolist(), batch.rows.tolist()
        for first, last in itertools.pairwise(ends):
            print(*ids[first:last])


@app.command(
    epilog="\b\nExamples:\n  gputok decode -t tokenizer.json ids.npy > text.txt\n"
    "  echo Hello | gputok encode -t tokenizer.json | gputok decode -t tokenizer.json"
)
def decode(
    tokenizer: TokenizerFile,
    file: Annotated[
        str | None,
        typer.Argument(
            help="A file of `gputok encode`, or ids as text, a line for each document. [default: standard input]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    storage_option: StorageOption = None,
) -> None:
    """Turn ids back into text; special tokens are left out."""
    from gputok import Tokenizer

    storage = _storage_options(storage_option)
    loaded = Tokenizer.from_file(tokenizer, storage_options=storage)
    for documents in _ids(file, storage):
        sys.stdout.writelines(loaded.decode_batch(documents))


def _ids(file: str | None, storage_options: dict[str, Any]) -> Iterator[list[Any]]:
    """The ids of some documents at a time."""
    from gputok.files import token_files
    from gputok.files.locations import downloaded

    if file is not None and file.endswith(token_files.KINDS):
        for ids, rows in token_files.read(file, storage_options):
            yield [ids[first:last] for first, last in itertools.pairwise(rows.tolist())]
        return
    with contextlib.ExitStack() as opened:
        local = 0 if file is None else opened.enter_context(downloaded(file, storage_options=storage_options))
        lines = opened.enter_context(open(local))
        for number, line in enumerate(lines, 1):
            try:
                yield [[int(word) for word in line.split()]]
            except ValueError:
                name = file or "standard input"
                raise ValueError(f"{name}, line {number}: not ids: {line.strip()[:50]!r}") from None


@app.command(
    epilog="\b\nExample:\n  gputok report books/*.txt -t tokenizer.json --beside gpt2.json -o report.html",
)
def report(
    inputs: Inputs,
    tokenizer: TokenizerFile,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another tokenizer.json to compare with; can be repeated.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="Page to write.")] = "report.html",
    samples: Annotated[int, typer.Option(help="How many documents the page shows.", min=0)] = 100,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    threads: Threads = None,
    progress: Progress = None,
    storage_option: StorageOption = None,
) -> None:
    """Measure how tokenizers suit a text, and write a page to look at it coloured by token."""
    from gputok import Tokenizer
    from gputok.files.locations import writing

    storage = _storage_options(storage_option)
    first, *others = (
        Tokenizer.from_file(path, storage_options=storage) for path in [tokenizer, *(beside or [])]
    )
    with writing(output, storage) as page:  # an output that can't be written is found before the work
        measured = first.report(
            inputs,
            name=tokenizer,
            others=dict(zip(beside or [], others, strict=True)),
            samples=samples,
            column=column,
            separator=separator,
            errors=errors,
            threads=threads,
            progress=progress,
            storage_options=storage,
        )
        page.write_text(measured.to_html(), encoding="utf-8", newline="\n")
    print(measured)


@app.command(epilog="\b\nExample:\n  gputok demo")
def demo(threads: Threads = None) -> None:
    """Train on the source of Python's standard library and show what was learnt."""
    from gputok.demo import run

    print(run(threads=threads))


@app.command(epilog="\b\nExample:\n  gputok info --json")
def info(as_json: AsJson = False) -> None:
    """Show versions, device, threads and the cache of compiled code."""
    facts = _facts()
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        print(*(f"{name:<{width}}  {fact}" for name, fact in facts.items()), sep="\n")


def _facts() -> dict[str, Any]:
    import importlib.metadata
    import platform

    from gputok import __version__
    from gputok.backend import choose
    from gputok.kernels.native import choose as kernels
    from gputok.kernels.threads import thread_count

    def version(*packages: str) -> str:
        for package in packages:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return importlib.metadata.version(package)
        return "not installed"

    backend = choose()
    return {
        "gputok": __version__,
        "python": f"{platform.python_version()} on {platform.machine()} {platform.system()}",
        **{package: version(package) for package in ("numba", "numpy", "pyarrow", "tokenizers")},
        "cupy": version("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        "threads": thread_count(),
        "device": f"{backend.name} ({backend.reason})",
        "kernels": kernels().reason,
        **({"jit cache": _jit_cache()} if kernels().calls is None else {}),
    }


def _jit_cache() -> str:
    """Where compiled code is kept, or why it isn't."""
    from gputok.kernels.cpu import jit

    folder = jit.cache_folder()
    if folder is None:
        return f"none: {jit.not_kept()}"
    sizes = [path.stat().st_size for path in pathlib.Path(folder).glob("*.nb[ic]")]
    return f"{folder}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


@app.command("compile", epilog="\b\nExample, in a Dockerfile:\n  RUN pip install gputok && gputok compile")
def compile_kernels(threads: Threads = None) -> None:
    """Compile every kernel now and keep it on disk, where no machine code came with the package."""
    from gputok.kernels.native import choose
    from gputok.kernels.threads import thread_count

    calls, reason = choose()
    if calls is not None:
        print(f"nothing to compile: {reason}")
        return
    from gputok.kernels.native.all import compile_all

    start = time.perf_counter()
    print(f"kernels are {reason}\ncompiling all of them, a minute or two", file=sys.stderr, flush=True)
    count = sum(versions for _, versions in compile_all(thread_count(threads)))
    print(f"{count} kernels in {time.perf_counter() - start:.0f} s; they are in {_jit_cache()}")


Against = Annotated[
    list[str] | None, typer.Option(help="Peers, one or more. [default: tokenizers]", metavar="PEER...")
]
Runs = Annotated[int, typer.Option(help="Runs of each, taking turns.", min=1)]
BenchDevice = Annotated[str, typer.Option(help="Where gputok runs: cpu, cuda or cuda:N.")]
Corpus = Annotated[
    str, typer.Argument(help="A text file (also .gz, .xz, .zst).", metavar="CORPUS", show_default=False)
]


@bench_app.command(
    "train",
    epilog="\b\nExample:\n  gputok bench train en.txt --vocab-size 32000 --against tokenizers gigabpe rustbpe sentencepiece",
)
def bench_train(
    corpus: Corpus,
    vocab_size: VocabSize = 32_000,
    against: Against = None,
    model: Model = "bpe",
    threads: Threads = None,
    device: BenchDevice = "cpu",
    runs: Runs = 3,
    as_json: AsJson = False,
    progress: Progress = None,
) -> None:
    """Learn the same vocabulary with each peer (tokenizers, gigabpe, rustbpe, sentencepiece) and compare time, memory
    and result."""
    from gputok import bench

    comparison = bench.train(
        corpus,
        vocab_size=vocab_size,
        model=model,  # type: ignore[arg-type]
        against=against or ["tokenizers"],
        threads=threads,
        device=device,
        runs=runs,
        progress=progress,
    )
    print(comparison.to_json() if as_json else comparison.table())


@bench_app.command(
    "encode",
    epilog="\b\nExample:\n  gputok bench encode en.txt --against tokenizers tiktoken gigatoken --json",
)
def bench_encode(
    corpus: Corpus,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer", "-t", help="A GPT-2-style tokenizer.json. [default: trained on the text]"
        ),
    ] = None,
    vocab_size: VocabSize = 32_000,
    against: Against = None,
    threads: Threads = None,
    device: BenchDevice = "cpu",
    runs: Runs = 3,
    as_json: AsJson = False,
    progress: Progress = None,
) -> None:
    """Encode the same documents with each peer (tokenizers, tiktoken, gigatoken) and compare time, memory and ids."""
    from gputok import bench

    comparison = bench.encode(
        corpus,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        against=against or ["tokenizers"],
        threads=threads,
        device=device,
        runs=runs,
        progress=progress,
    )
    print(comparison.to_json() if as_json else comparison.table())


@bench_app.command("start", epilog="\b\nExample:\n  gputok bench start llama-3.json bert.json --runs 21")
def bench_start(
    tokenizers: Annotated[
        list[str] | None, typer.Argument(help="tokenizer.json files to load.", metavar="[TOKENIZER...]")
    ] = None,
    runs: Annotated[int, typer.Option(help="Processes of each kind, taking turns.", min=1)] = 9,
    as_json: AsJson = False,
) -> None:
    """Time whole processes that do little: the first one on a machine, later ones, and those of tokenizers."""
    from gputok.bench import start

    rows = start.start(tokenizers or [], runs=runs)
    print(start.to_json(rows) if as_json else start.table(rows))


@bench_app.command("device", epilog="\b\nExample:\n  gputok bench device --device cuda:0")
def bench_device(device: BenchDevice = "cuda:0") -> None:
    """Measure what the design of the CUDA kernels depends on: launches, graphs, a cooperative grid, atomics."""
    from gputok.backend import choose
    from gputok.bench import device as probes

    for card in choose(device).devices:
        print(probes.table(card, probes.measure(card)))


# -- the entry point


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line (`sys.argv` by default) and exits."""
    warnings.showwarning = lambda message, *_: print(f"gputok: warning: {message}", file=sys.stderr)
    # So that files being written are removed. Who started this may have it ignore signals, as `nohup` does, and a shell for
    # what it runs in the background: then it does, SIGINT by Python's own rule.
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        given = _repeated(sys.argv[1:] if arguments is None else arguments)
        code = app(given or ["--help"], prog_name="gputok", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # the reader has gone, as in `gputok encode ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        code = getattr(error, "exit_code", 1)  # 2 for what typer could not understand
        print(f"gputok: {_one_line(error)}", file=sys.stderr)
    if code == 130:
        sys.stderr.flush()
        os._exit(code)  # files are cleared up by now; freeing memory piece by piece would take as long again
    sys.exit(code or 0)


def _repeated(arguments: Sequence[str]) -> list[str]:
    """`--against a b` as `--against a --against b`, which is what the parser knows."""
    from gputok.bench.peers import ENCODE, TRAIN

    result: list[str] = []
    for argument in arguments:
        follows_peer = result[-2:-1] == ["--against"] and result[-1] in {*TRAIN, *ENCODE}
        if follows_peer and argument in {*TRAIN, *ENCODE}:
            result.append("--against")
        result.append(argument)
    return result


# What bad input and missing devices, packages, files or memory raise, each with a text for the user.
_KNOWN = (ValueError, OSError, ImportError, MemoryError, NotImplementedError, RuntimeError)


def _one_line(error: Exception) -> str:
    if hasattr(error, "format_message"):
        return " ".join(error.format_message().split()) + " See `gputok --help`."
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, _KNOWN) else f"unexpected {type(error).__name__}: {text}"
