"""`gputok convert` and `gputok tokens`: a tokenizer in another format, and the number of tokens in text."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from gputok.cli import options
from gputok.cli.report import write_groups


def convert(source: str, output: str, pattern: str | None = None, storage_option: list[str] | None = None) -> None:
    """Write a tokenizer in another format. A format in which ids would differ is refused, with the reason."""
    from gputok import save_sentencepiece, save_tekken, save_tiktoken

    storage = options.storage_options(storage_option)
    suffix = pathlib.PurePath(output).suffix
    if suffix not in ("", ".json", ".gputok", ".model", ".tiktoken"):
        raise ValueError(
            f"{output}: the name must end in .json, .gputok, .model or .tiktoken, or have no ending for a folder, not {suffix!r}"
        )
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


def tokens(
    inputs: list[str],
    tokenizer: list[str],
    by: str = "ending",
    price: float | None = None,
    lines: bool = False,
    gitignore: bool = True,
    group_by: str | None = None,
    csv: str | None = None,
    *,
    reading: options.Reading,
    running: options.Running,
    as_json: bool = False,
) -> None:
    """Count the tokens of files, folders and repositories, without special tokens around each document."""
    from gputok.report import count_files, report

    options.check_standard_input([*inputs, *tokenizer])
    if by not in ("file", "ending", "language"):
        raise ValueError(f"--by {by}: expected file, ending or language")
    options.check_second("csv", csv, "", reading.storage, [*inputs, *tokenizer])
    loaded = options.load_tokenizers(tokenizer, reading.storage)
    if group_by is not None:
        leave_out = "is not for --group-by, whose rows are the documents of a table"
        options.refuse(leave_out, price=price, lines=lines, by=by != "ending", no_gitignore=not gitignore)
        (name, first), *others = loaded.items()
        given: dict[str, Any] = {"group_by": group_by, **reading.options, **running.options}
        groups = report(first, reading.sources(inputs), others=dict(others), name=name, samples=0, **given).groups
        if csv is not None:
            write_groups(groups, csv)
        print(json.dumps(groups.to_dict(), indent=2, ensure_ascii=False) if as_json and groups else groups)
        return
    found = count_files(
        reading.sources(inputs), loaded, lines=lines, gitignore=gitignore, **reading.options, **running.options
    )
    rows: Any = by
    if csv is not None:
        found.groups(rows).to_csv(csv)
    options.sum_up(found.to_str(rows, price), found.to_dict(rows, price), output="", as_json=as_json)
