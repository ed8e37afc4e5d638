"""What each option and argument of the commands is called in the shell, and what it is for: one table."""

from __future__ import annotations

import functools
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import typer

from gputok.recipes import MODELS

_TABLE = r"""
inputs (FILE...): Text, .jsonl, .csv or .parquet files (also .gz, .xz, .zst), folders, globs, URLs (s3://, hf:// and
    so on), or - for standard input.
encode.inputs (FILE or TEXT...): A text, to print its ids; or files as for train. [default: standard input]
decode.inputs (FILE or ID...): Output of `gputok encode`, files of ids of any of its formats, or ids as text, a line
    for each document; or ids: 1 2 3. [default: -, standard input]
tokens.inputs (PATH...): Files as for train, folders (without what .gitignore names), or - for standard input.
merge-tokens.inputs (INPUT...): Outputs of `gputok encode`, or other files of ids.
show.inputs (FILE or TEXT...): A text, or a file as for train, or - for standard input.
output --output,-o FILE: tokenizer.json to write, - for standard output, or a name without an ending: a folder for
    transformers, with the configuration of the old one.
report,playground.output --output,-o FILE: Page to write, or - for standard output.
train.output --output,-o FILE: File to write, or - for standard output.
count.output --output,-o FILE: Parquet file to write, or - for standard output.
encode.output --output,-o FILE: .npy, .bin, .arrow or .parquet, or what --format wants. [default: ids as text on
    standard output, a line for each document; - is the same, summed up on standard error]
split.output --output,-o FILE: A .jsonl file.
convert.output (OUT): What to write, by its name: tekken.json, another .json (tokenizer.json), .gputok (compiled:
    opens at once), .model (SentencePiece), .tiktoken, or a name without an ending: a folder for transformers.
merge-tokens.output --output,-o FILE: As for encode. [default format: that of the inputs]
audit.output --output,-o FILE: Also write a page with all of it.
model KIND: Kind of model: {MODELS}; train also knows sentencepiece-bpe.
vocab_size N: Number of tokens, such as 32000 or 32k.
prune,truncate.vocab_size N: How many tokens are left, special ones included, such as 32k.
count.vocab_size N: For superbpe, pairs and runs: size of the vocabulary. [default: 32000]
pattern NAME: How byte-level BPE splits text: as gpt2, cl100k, llama3, qwen2, qwen3, o200k, tekken or deepseek-v3.
    [default: gpt2]
regex REGEX: Split by a regular expression of your own instead, in the syntax of tokenizer.json files.
special_token TOKEN: Can be repeated. [default: <|endoftext|> for bpe, the usual ones for other models]
min_frequency N>=0: Pairs and words seen less often are not learnt.
extend.min_frequency N>=0: Pairs seen less often do not become tokens.
min_count N>=0: Leave out words seen less often, an approximation that saves memory.
transition N: For superbpe: where superwords begin, as a share of the vocabulary or a number of tokens. [default: 0.8]
superword_pattern REGEX: For superbpe: the expression that cuts text into pieces of words. [default: SuperBPE's]
max_words N>=0: For superbpe: most words of a token; 0: any number. [default: 4]
colon_space --colon-space: For superbpe: a token may have ": " inside, as in "Answer: yes".
stage1 TOKENIZER: For superbpe: a byte-level BPE tokenizer whose tokens to go on from. [default: learned here]
pairs FILE: For superbpe, runs of shards: pairs that `gputok count --what pairs` wrote; one for each shard.
threshold N>=1: For superbpe, runs of shards: how often neighbours must occur. [default: found by the pairs]
from_counts --from-counts: The inputs are word counts, written by `gputok count` for a tokenizer that splits alike.
train.from_counts --from-counts: The inputs are word counts, written by `gputok count`.
column NAME: Column of .jsonl, .csv and .parquet files. Makes standard input JSON Lines. [default: text, or the only
    column of strings]
separator TEXT: The text between two documents of a text file, such as '\n\n'. [default: each line is a document]
split.separator TEXT: The text between two documents of a text file, such as '\n\n'. [default: each file is a
    document]
errors KIND: Bytes that are not UTF-8 are an error (strict) or become U+FFFD (replace).
tokens.errors KIND: Files that are not UTF-8 are left out (strict), or get U+FFFD (replace).
storage_option NAME=VALUE: Option of the file system of URLs, such as endpoint_url=http://localhost:9000; can be
    repeated.
device NAME: auto, cpu, cuda or cuda:N.
bench.device NAME: Where gputok runs: cpu, cuda or cuda:N.
threads N>=1: [default: GPUTOK_NUM_THREADS, or all cores]
progress --progress/--no-progress: Progress bars. [default: in a terminal]
memory_limit SIZE: Memory for counting, such as 400MB or 4GB; words beyond it go to temporary files. [default: no
    limit]
temporary FOLDER: Folder of temporary files, on a disk. [default: that of the operating system]
resume FOLDER: Work folder: an interrupted run resumes if it is started again with the same folder.
weight FILE=NUMBER: What each word of an input counts for, such as code.txt=2.5; 1 for other inputs. Can be repeated.
temperature NUMBER: From 0 to 1: an input with the share p of the text counts as the share p ** NUMBER.
byte_fallback --byte-fallback: For sentencepiece-bpe: a token for each byte.
character_coverage SHARE: For sentencepiece-bpe: the share of characters to cover. [default: 0.9995]
normalization NAME: For sentencepiece-bpe: SentencePiece's rule, such as identity. [default: nmt_nfkc]
sentencepiece_option NAME=VALUE: For sentencepiece-bpe, can be repeated: any option of SentencePieceBpeTrainer, named
    and written as SentencePiece's, such as split_digits=true or user_defined_symbols=<a>,<b>.
as_json --json: Print what was done as JSON.
what words|pairs|runs: For superbpe: count words, pairs or runs.
tokenizer --tokenizer,-t FILE: A tokenizer.json, .model, tekken.json or .gguf file, a folder, a name on the hub, or -
    for standard input.
tokens,playground.tokenizer --tokenizer,-t FILE: As for encode; can be repeated, to compare.
audit.tokenizer (TOKENIZER): A tokenizer.json, .model, tekken.json or .gguf file, a folder, a name on the hub, or -
    for standard input.
info.tokenizer --tokenizer,-t FILE: Also show which way the texts of this tokenizer take, and which work a GPU does.
bench encode.tokenizer --tokenizer,-t FILE: Any tokenizer.json, or - for standard input. [default: one like GPT-2's,
    trained on the text]
format NAME: What to write: npy, bin, arrow, parquet, megatron (OUTPUT.bin, .idx), datatrove
    (OUTPUT_00000_unshuffled.ds), nanogpt, llmc, mds, litdata (folders) or olmo. [default: as the name of the output
    ends]
shard_tokens N>=1: Ids of a file, in whole documents. [default: one file; 64 MB for mds and litdata]
shuffle SEED>=0: Shuffle the documents of each file, by this seed.
dtype KIND: uint16, uint32, int32 or int64, of those that the format stores. [default: by the format's own rule]
sequence_length LENGTH>=1: Join documents and cut blocks of LENGTH ids (mds).
eos TOKEN: End token for each document, where the format wants it; auto: the tokenizer's own.
bos TOKEN: Begin token for each document; auto: the tokenizer's own.
max_tokens N>=1: The most tokens of a part.
overlap N>=0: The most tokens shared with the part before.
at TEXT: Text to end parts after, such as '\n\n'; can be repeated, the best first.
by file|ending|language: The rows of the table.
price NUMBER>=0: Of a million tokens: says what all of them cost.
lines --lines: Each line of a text file is a document. [default: each file, up to 64 MB]
show.lines --lines,-n N>=0: The most documents to show; 0: all.
bench encode.lines --lines: Encode each line alone. [default: documents of about 4 kB]
gitignore --gitignore/--no-gitignore: Leave out what .gitignore names.
group_by COLUMN: Column whose values are the rows, such as a language.
csv FILE: CSV file to write, with all rows.
source (IN): A tokenizer.json, .gputok, .model, .tiktoken, tekken.json or .gguf file, a folder, or a name on the hub.
tokens N: How many tokens to add, such as 10k.
change FILE: Also write which ids have changed, for resizing embeddings: a file that ends in .npz or .json.
vocab_sizes N,N,...: Numbers of tokens, such as 8k,16k,32k (k: thousand).
held_out FILE: Text that is measured and not learnt from; can be repeated.
chart FILE: Chart to write, .svg, .png or .pdf; needs matplotlib (pip install 'gputok[plot]').
beside FILE: Another tokenizer.json to compare with; can be repeated.
samples N>=0: How many passages of the text the page shows.
title TEXT: Title of the page.
most_bytes N: Larger tokenizers don't tokenize what is typed in the page.
text TEXT: Text that the box has at first.
explain.text (TEXT): The text, or - for standard input.
bench start.text FILE: A text file, which each process encodes last: the first pass.
bench latency.text FILE: A text file, each line of which is encoded once. [default: made-up words]
open_it --open: Open the page in the browser.
ids --ids: Show the ids below each document.
add_special_tokens --special-tokens/--no-special-tokens: With the tokens of the post-processor.
embeddings FILE: Embeddings of a model, .npy or .safetensors: also finds tokens that training never saw.
tensor NAME: Tensor of the .safetensors file. [default: by its usual name]
file (FILE): A file, a folder or a glob, or - for standard input.
package NAME: Compare with this one; can be repeated. [default: all that are installed]
folder (PATH): A tokenizer: show what it is; or output of `gputok encode`, or a folder with some: show what it is, and
    check the files.
corpus (CORPUS): A text file (also .gz, .xz, .zst), or - for standard input.
against PEER...: Peers, one or more. [default: tokenizers]
runs N>=1: Runs of each, taking turns.
bench start.runs N>=1: Processes of each kind, taking turns.
bench latency.runs N>=1: Measurements of each text, taking turns.
tokenizers ([TOKENIZER...]): tokenizer.json files to load, or - for standard input. [default: train small tokenizers]
bench latency.tokenizers (TOKENIZER...): tokenizer.json files.
peer PYTHON: The Python of another environment, whose packages tokenizers (1.0, say) and gigatoken are timed too.
bench latency.peer PYTHON: The Python of another environment, whose package tokenizers (1.0, say) is timed too. For
    prompts, batches and first texts, in processes of their own; --text must have 10 MB.
doors --doors: Time prompts, batches and first texts, without a peer too; also of gigatoken, if installed.
"""
"""Entries of the form `command.parameter options VALUE: help`.

An entry without a command is for all commands that have none of their own. Options are left out if they are the name of
the parameter; VALUE, if the option takes none. `N>=1`: a number and its lower limit; in brackets: an argument.
"""


def unescaped(text: str) -> str:
    r"""Reads a text in which `\n` and the like stand for characters that are hard to type in the shell.

    >>> unescaped(r"\n\n"), unescaped("§"), unescaped(r"\page")
    ('\n\n', '§', '\\page')
    """
    return re.sub(r"\\[nrt0\\]", lambda found: _ESCAPED[found[0][1]], text)


_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\"}


def whole_number(text: Any) -> int:
    """Reads a number of tokens, such as 32000, 32k or 1.5M.

    >>> whole_number("32k"), whole_number("1.5M"), whole_number("32_000")
    (32000, 1500000, 32000)
    """
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?([kKmM]?)", str(text).strip().replace("_", "").replace(",", ""))
    whole, part, unit = found.groups() if found else ("", None, "")
    zeros = {"": 0, "k": 3, "m": 6}[unit.lower()]
    if not whole or len(part or "") > zeros:
        raise typer.BadParameter(f"expected a number such as 32000 or 32k (k: thousand, M: million), not {text!r}")
    return int(whole + (part or "").ljust(zeros, "0"))


_PARSERS = {"separator": unescaped, "at": unescaped}
_PARSERS |= dict.fromkeys(("vocab_size", "tokens", "most_bytes"), whole_number)
_NAMES: dict[str, Any] = {
    **{"model": MODELS, "errors": ("strict", "replace"), "device": ("auto", "cpu", "cuda")},
    **{"pattern": "gputok.automaton:PATTERNS", "format": "gputok.token_files.formats:FORMATS"},
    "against": "gputok.bench.peers:PEERS",
}
"""Option -> the values with which the shell completes it, or the `module:name` that has them."""


@functools.cache
def _entries() -> dict[str, list[Any]]:
    entry = re.compile(r"(?:([\w, -]+)(\.))?(\w+)(?: (-\S+))?(?: \((.+?)\)| (\S+?)(?:>=(\d+))?)?: (.*)")
    lines = _TABLE.replace("\n    ", " ").strip().splitlines()
    entries = [found.groups("") for found in map(entry.fullmatch, lines) if found]
    return {command + dot + name: rest for commands, dot, name, *rest in entries for command in commands.split(",")}


def declaration(command: str, parameter: str) -> Any:
    """Makes typer's declaration of a parameter, by the table; command: its words in the shell, as in "bench train"."""
    found = _entries()
    keys = f"{command}.{parameter}", f"{command.partition(' ')[0]}.{parameter}", parameter
    key = next(key for key in keys if key in found)
    options, argument, value, least, text = found[key]
    if argument:
        return typer.Argument(help=text, metavar=argument, show_default=False)
    return typer.Option(
        *(options.split(",") if options else ()),
        help=text.replace("{MODELS}", ", ".join(MODELS)),
        metavar=value or None,
        min=int(least) if least else None,
        parser=_PARSERS.get(parameter),
        autocompletion=_completion(_NAMES[key]) if key in _NAMES else None,
        envvar="GPUTOK_DEVICE" if key == "device" else None,
    )


def _completion(names: Any) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        known = pkgutil.resolve_name(names) if isinstance(names, str) else names
        return [name for name in known if name.startswith(incomplete)]

    return complete
