"""Puts the commands together; the entry point `main`."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer import completion
from typer.core import TyperCommand

from gputok.cli import bench, encode, info, report, resize, show, train
from gputok.cli.options import grouped

app = typer.Typer(
    name="gputok",
    help="Train and run tokenizers, byte for byte those of Hugging Face tokenizers, many times faster.",
    rich_markup_mode=None,
)
bench_app = typer.Typer(
    name="bench", help="Compare gputok with what you would use instead, on your text.", rich_markup_mode=None
)


def _show_version(asked: bool) -> None:
    from gputok import __version__

    if asked:
        typer.echo(f"gputok {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
]


@app.callback()
def _gputok(version: Version = False) -> None:
    """Has the options of `gputok` itself."""


class _Command(TyperCommand):
    """A command whose help names arguments for people, without types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Takes the types of arguments out of the help."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if param.param_type_name == "argument":
                param.display_type_rich = lambda **_: ""
        return params


_EXAMPLES = """
gputok train books/*.txt.xz --vocab-size 32000 --special-token '<|endoftext|>' -o tokenizer.json
gputok count shard-07.parquet --column text -o counts-07.parquet
gputok encode -t tokenizer.json books/*.txt -o ids.npy
gputok encode -t tokenizer.json web/*.parquet --format megatron --eos auto -o web_text_document
gputok encode 'Hello, you!' -t tokenizer.json
gputok decode -t tokenizer.json ids.npy > text.txt
gputok decode 15496 11 345 -t tokenizer.json
gputok split book.txt -t tokenizer.json --max-tokens 512 --overlap 64 > parts.jsonl
gputok tokens my-repository -t tokenizer.json --by language
gputok tokens README.md docs -t o200k.json -t llama-3.json --price 2.50
gputok convert tokenizer.model tokenizer.json
gputok convert cl100k_base.tiktoken my-tokenizer --pattern cl100k
gputok extend chinese/*.txt -t llama-3.json --tokens 10000 -o extended.json --change change.npz
gputok prune code/*.jsonl -t llama-3.json --vocab-size 32000 -o pruned.json --change change.npz
gputok truncate -t mine-64k.json --vocab-size 32000 -o mine-32k.json
gputok merge-tokens part-*.manifest.json -o web_text_document --format megatron
gputok sizes en.txt code.txt --vocab-sizes 8k,16k,32k,64k --held-out test.txt --chart sizes.svg
gputok report books/*.txt -t tokenizer.json --beside gpt2.json -o report.html
gputok playground -t tokenizer.json --open
gputok playground -t o200k.json -t llama-3.json -o page.html
gputok show 'Hello, you!' -t tokenizer.json
gputok show books.txt -t tokenizer.json
gputok explain 'unbelievable' -t tokenizer.json
gputok audit tokenizer.json
gputok audit tokenizer.json --embeddings model.safetensors -o audit.html
gputok verify books.txt -t tokenizer.json --package tokenizers --package tiktoken
gputok demo
gputok info --json
gputok info tokenizer.json
gputok info web_text_document
RUN pip install gputok && gputok compile    # in a Dockerfile
gputok bench train en.txt --vocab-size 32000 --against tokenizers gigabpe rustbpe sentencepiece
gputok bench encode en.txt --against tokenizers tiktoken gigatoken --json
gputok bench start llama-3.json bert.json --text books.txt
gputok bench latency llama-3.json bert.json --text books.txt
""".strip().splitlines()


def _add(to: typer.Typer, group: str, *commands: Callable[..., None]) -> None:
    """Adds commands whose help ends with examples."""
    for command in commands:
        name = _NAMES.get(command.__name__, command.__name__)
        examples = [line for line in _EXAMPLES if re.search(rf"\b{group} {name}( |$)", line)]
        head = "Examples:" if len(examples) > 1 else "Example:"
        to.command(name, cls=_Command, epilog="\n  ".join(["\b\n" + head, *examples]))(
            grouped(command, name if group == "gputok" else f"{group} {name}")
        )


_NAMES = {"merge_tokens": "merge-tokens", "compile_kernels": "compile"}
_add(app, "gputok", train.train, train.count, encode.encode, encode.decode, encode.split, report.tokens)
_add(app, "gputok", resize.convert, resize.extend, resize.prune, resize.truncate, encode.merge_tokens, report.sizes)
_add(app, "gputok", report.report, show.playground, show.show, show.explain, show.audit, show.verify)
_add(app, "gputok", info.demo, info.info, info.compile_kernels)
app.add_typer(bench_app)
_add(bench_app, "bench", bench.train, bench.encode, bench.start, bench.latency)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits; arguments: those of the command, None: those of `sys.argv`."""
    _write_utf8()
    warnings.showwarning = lambda message, *_: print(f"gputok: warning: {message}", file=sys.stderr)
    # On SIGTERM the process exits as on an error, which removes files that are being written. A parent process may have
    # set signals to be ignored, as `nohup` and shells do: then SIGTERM stays ignored (SIGINT too, by a rule of Python).
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    interrupts: list[int] = []
    words: list[str] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        words = bench.repeat_option(sys.argv[1:] if arguments is None else arguments)
        _complete(words)
        code = app(words or ["--help"], prog_name="gputok", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # the reader has ended, as in `gputok encode ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if interrupts:  # NumPy makes a TypeError of an interrupt that comes while it compares rows
            code = 130
        else:
            code = getattr(error, "exit_code", 1)  # 2 for usage errors of typer
            print(f"gputok: {_one_line(error)}", file=sys.stderr)
    if code == 130:
        if said := _kept(words):
            print(f"gputok: stopped; {said}", file=sys.stderr)
        sys.stderr.flush()
        # Temporary files are gone. Freeing the memory, object by object, would take as long as the work before
        os._exit(code)
    sys.exit(code or 0)


def _write_utf8() -> None:
    """Lets standard output and standard error take any text, also if the locale has other characters, such as ASCII."""
    streams: tuple[Any, ...] = sys.stdout, sys.stderr
    for stream in streams:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if hasattr(stream, "reconfigure") and encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def _complete(words: Sequence[str]) -> None:
    """Ends the process after `--show-completion SHELL` or `--install-completion SHELL`.

    typer takes the name of the shell only from a shell that is a parent of this process: a Dockerfile has none.
    """
    if len(words) != 2 or words[0] not in ("--show-completion", "--install-completion"):
        return
    shells: Any = completion  # its functions are not among the names that typer exports
    if words[1] not in (known := [shell.value for shell in shells.Shells]):
        raise ValueError(f"{words[0]} {words[1]}: expected one of {', '.join(known)}")
    if words[0] == "--show-completion":
        print(shells.get_completion_script(prog_name="gputok", complete_var="_GPUTOK_COMPLETE", shell=words[1]))
    else:
        shell, path = shells.install(shell=words[1], prog_name="gputok", complete_var="_GPUTOK_COMPLETE")
        print(f"completion for {shell} is in {path}; start the shell anew")
    sys.exit(0)


def _kept(words: Sequence[str]) -> str:
    """Says what is kept of the work of an interrupted command, or that nothing is; empty for all other commands."""
    command, given = next(iter(words), ""), {word.partition("=")[0] for word in words}
    writes_ids = command == "encode" and given & {"-o", "--output"} and "-" not in words
    if writes_ids or (command in ("count", "train") and "--resume" in given):
        return "the same command goes on from here"
    if command not in ("train", "count", "extend", "prune"):
        return ""
    not_resumed = re.compile("--from-counts|pairs|runs|.*(sentencepiece-bpe|=pairs|=runs)")
    counts = command in ("train", "count") and not any(map(not_resumed.fullmatch, words))
    said = "nothing is kept, and the output is as it was"
    return said + ("; with --resume FOLDER, what is counted would be kept" if counts else "")


# Errors with a message for the user: bad input, or missing devices, packages, files or memory.
_KNOWN = (ValueError, OSError, ImportError, MemoryError, NotImplementedError, RuntimeError)


def _one_line(error: Exception) -> str:
    """The message of an error as one line; a usage error also names the help of the command."""
    message = getattr(error, "format_message", None)
    if message is not None:
        context = getattr(error, "ctx", None)
        command = "gputok" if context is None else context.command_path
        return f"{_joined(message())} See `{command} --help`."
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{_joined(str(error.filename))}: {error.strerror}"
    text = _for_the_shell(_joined(str(error))) or type(error).__name__
    return text if isinstance(error, _KNOWN) else f"unexpected {type(error).__name__}: {text}"


def _for_the_shell(text: str) -> str:
    """Writes names of Python arguments in a message, such as `column=`, as options of the command line.

    >>> _for_the_shell("a.csv has the columns 'a' and 'b': name the one to read by column=")
    "a.csv has the columns 'a' and 'b': name the one to read by --column"
    >>> _for_the_shell("cut it by separator= (--separator); errors='replace' puts U+FFFD there")
    'cut it by --separator; --errors replace puts U+FFFD there'
    """
    text = re.sub(r"\b\w+= \((--[\w-]+)\)", r"\1", text)
    return _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')}{f' {found[3]}' if found[3] else ''}", text)


_ARGUMENT = re.compile(
    r"(?<![\w/.-])(column|separator|errors|threads|device|memory_limit|min_count|min_frequency|weights|temperature|"
    r"resume|format|eos|bos|shard_tokens|shuffle|dtype|sequence_length|pattern|vocab_size|price)"
    r"=(['\"]?)([\w.:%+</>-]*)\2"
)


def _joined(text: str) -> str:
    return " ".join(text.split())
