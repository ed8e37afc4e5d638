"""`gputok extend`, `prune`, `truncate` and `convert`: more tokens, fewer, or another format."""

from __future__ import annotations

import contextlib
import pathlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gputok.cli import options
from gputok.cli.train import merged_counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok import PreTrainedTokenizer, VocabularyChange
    from gputok.tokenizer import Tokenizer


def extend(
    inputs: list[str],
    tokenizer: str,
    output: str,
    tokens: int,
    min_frequency: int = 0,
    change: str | None = None,  # the file to write the `VocabularyChange` to
    from_counts: bool = False,
    *,
    reading: options.Reading,
    device: str = "auto",
    running: options.Counting,
    as_json: bool = False,
) -> None:
    """Add tokens that suit a text to a tokenizer; all old tokens keep their ids."""
    asked = {"min_frequency": min_frequency, "device": device, **reading.options, **running.options}
    source = partial(_source, inputs, from_counts, reading, running)
    files = tokenizer, output, change, inputs, reading.storage
    _change(*files, as_json, lambda loaded: loaded.extend(source(), tokens, **asked))


def prune(
    inputs: list[str],
    tokenizer: str,
    output: str,
    vocab_size: int,
    change: str | None = None,  # the file to write the `VocabularyChange` to
    from_counts: bool = False,
    *,
    reading: options.Reading,
    device: str = "auto",
    running: options.Counting,
    as_json: bool = False,
) -> None:
    """Take the tokens out of a tokenizer that a text misses least; ids are renumbered."""
    asked = {"device": device, **reading.options, **running.options}
    source = partial(_source, inputs, from_counts, reading, running)
    files = tokenizer, output, change, inputs, reading.storage
    _change(*files, as_json, lambda loaded: loaded.prune(vocab_size, source(), **asked))


def truncate(
    tokenizer: str,
    output: str,
    vocab_size: int,
    change: str | None = None,  # the file to write the `VocabularyChange` to
    as_json: bool = False,
    storage_option: list[str] | None = None,
) -> None:
    """Cut a tokenizer to a smaller vocabulary, as if its training had ended sooner; ids are renumbered."""
    storage = options.storage_options(storage_option)
    _change(tokenizer, output, change, [], storage, as_json, lambda loaded: loaded.truncate(vocab_size))


def convert(source: str, output: str, pattern: str | None = None, storage_option: list[str] | None = None) -> None:
    """Write a tokenizer in another format. A format in which ids would differ is refused, with the reason."""
    from gputok import save_sentencepiece, save_tekken, save_tiktoken

    storage = options.storage_options(storage_option)
    suffix = pathlib.PurePath(output).suffix
    if suffix not in ("", ".json", ".gputok", ".model", ".tiktoken"):
        wanted = ".json, .gputok, .model or .tiktoken, or have no ending for a folder"
        raise ValueError(f"{output}: the name must end in {wanted}, not {suffix!r}")
    if pattern is not None and pathlib.Path(source).is_dir():
        raise ValueError(f"--pattern {pattern}: is for tiktoken and GGUF files, not for the folder {source}")
    tokenizer = options.load_tokenizer(source, storage, pattern=pattern)
    if not suffix:
        from gputok.pretrained import PreTrainedTokenizer

        PreTrainedTokenizer(tokenizer).save_pretrained(output)
        print(f"{output}: a folder that transformers opens")
        return
    asked: dict[str, Any] = {}
    with options.output_file(output, storage, [source]) as written:
        if suffix == ".model":
            save_sentencepiece(tokenizer, written)
        elif suffix == ".tiktoken":
            asked = save_tiktoken(tokenizer, written)
        elif pathlib.PurePath(output).name == "tekken.json":
            save_tekken(tokenizer, written)
        elif suffix == ".gputok":
            from gputok.pipeline import compiled

            compiled.packed(tokenizer.pipeline).tofile(written)
        else:
            written.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    print(f"{output}: {tokenizer.get_vocab_size():,} tokens")
    if asked:
        given = ", ".join(f"{name}={value!r}" for name, value in asked.items())
        ranks = f"mergeable_ranks=tiktoken.load.load_tiktoken_bpe({output!r})"
        print(f"to open it: tiktoken.Encoding('mine', {ranks}, {given})")


def _source(inputs: list[str], from_counts: bool, reading: options.Reading, running: options.Counting) -> Any:
    """Returns the inputs as the methods of Tokenizer take them: files, or word counts."""
    if not from_counts:
        return reading.sources(inputs)
    reading.refuse_from_counts()
    return merged_counts(inputs, reading.storage, **running.limits)


def _change(
    tokenizer: str,
    output: str,
    change_file: str | None,
    inputs: list[str],
    storage: dict[str, Any],
    as_json: bool,
    change_it: Callable[[Tokenizer], VocabularyChange],
) -> None:
    """Loads a tokenizer, changes it, and writes it and the change; sums up."""
    if change_file is not None and (change_file == options.STANDARD or not change_file.endswith((".npz", ".json"))):
        raise ValueError(f"--change {change_file}: expected a file that ends in .npz or .json")
    options.check_standard_input([*inputs, tokenizer])
    options.check_second("change", change_file, output, storage, [*inputs, tokenizer])
    start = time.perf_counter()
    folder = None
    if output != options.STANDARD and not pathlib.PurePath(output).suffix:
        folder = _folder(tokenizer, output)
    loaded = options.load_tokenizer(tokenizer, storage) if folder is None else folder.backend_tokenizer
    before = loaded.get_vocab_size()
    writing = options.output_file(output, storage, [*inputs, tokenizer]) if folder is None else contextlib.nullcontext()
    with writing as written:
        change = change_it(loaded)
        if folder is not None:
            folder.save_pretrained(output)
        elif written is not None:
            written.write_text(loaded.to_str(pretty=True), encoding="utf-8", newline="\n")
        if change_file is not None:
            change.save(change_file, storage_options=storage)
    size, seconds = loaded.get_vocab_size(), time.perf_counter() - start
    shown = options.shown_output(output)
    facts = {"output": shown, "vocab_size": size, "vocab_size_before": before, "new": len(change.new_ids)}
    facts |= {"rows_of_embeddings": change.size, "seconds": round(seconds, 3)}
    line = f"{shown}: {size:,} tokens, {before:,} before, in {seconds:.2f} s"
    options.sum_up(line, facts, output=output, as_json=as_json)


def _folder(tokenizer: str, output: str) -> PreTrainedTokenizer:
    """Opens a tokenizer with its configuration, for the folder that is written."""
    from gputok import AutoTokenizer

    path = pathlib.Path(output)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{output}: is a file; name a folder, or a file that ends in .json")
    if path.resolve() == pathlib.Path(tokenizer).resolve():
        raise ValueError(f"{output}: is the tokenizer that is read; name another folder")
    with options.local_file(tokenizer) as local:
        return AutoTokenizer.from_pretrained(local)
