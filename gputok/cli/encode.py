"""`gputok encode`, `gputok decode` and `gputok split`: text to ids and back, and to parts of at most n tokens."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from gputok.checks import short
from gputok.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.tokenizer import Tokenizer
    from gputok.types import Positions


def encode(
    tokenizer: str,
    inputs: list[str] | None = None,
    output: str | None = None,
    *,
    files: options.TokenFileOptions,
    eos: str | None = None,
    bos: str | None = None,
    reading: options.Reading,
    device: str = "auto",
    running: options.Running,
    as_json: bool = False,
) -> None:
    """Turn text into ids. An interrupted run resumes."""
    from gputok.kernels.native.preparation import preparation

    names = inputs or [options.STANDARD]
    loaded = options.load_tokenizer(tokenizer, reading.storage, names)
    asked = {**reading.options, "threads": running.threads, "device": device}
    asked |= {"eos": options.own_token(tokenizer, "eos", eos), "bos": options.own_token(tokenizer, "bos", bos)}
    if eos is None and files.format is not None:
        _note_missing_ends(loaded, tokenizer, files.format, files.sequence_length)
    start = time.perf_counter() - preparation.seconds
    if output in (None, options.STANDARD):
        for option, value in files.given.items():
            raise ValueError(f"--{option.replace('_', '-')} {value}: is for files; name one by --output")
        n_documents, n_ids, n_unknown = _print_ids(loaded, _given(names, reading), running.progress or False, asked)
        facts: dict[str, Any] = {"documents": n_documents, "ids": n_ids, "unknown": n_unknown}
        before = ""
    else:
        made = loaded.encode_corpus(reading.sources(names), output, progress=running.progress, **asked, **files.options)
        n_unknown, n_ids = made.n_unknown, made.n_ids
        n_before = made.n_documents - made.n_new_documents
        facts = {"documents": made.n_documents, "stored": made.n_stored, "ids": n_ids, "unknown": n_unknown}
        facts["bytes"] = made.n_bytes
        facts["seconds_of"] = {name: round(value, 3) for name, value in made.seconds._asdict().items()}
        facts |= {"documents_of_an_earlier_run": n_before} if n_before else {}
        before = f" (after {n_before:,} documents of an earlier run)" if n_before else ""
    seconds = time.perf_counter() - preparation.seconds - start
    if n_unknown:
        token = short(loaded.id_to_token(loaded.pipeline.unknown_id or 0))
        lacking = f"{n_unknown:,} of {n_ids:,} ids are {token}, which stands for text that the vocabulary lacks"
        print(f"gputok: warning: {lacking}", file=sys.stderr)
    if output is None and not as_json:
        return
    shown = options.STANDARD if output is None else output
    name = options.shown_output(shown)
    text = f"{facts['documents']:,} documents"
    if files.sequence_length is None and facts["documents"] != facts.get("stored", facts["documents"]):
        text += f" ({facts['stored']:,} stored: the format keeps none without ids)"
    if "bytes" in facts:
        text += f", {options.amount(facts['bytes'])}"
    parts = ", ".join(f"{what} {value:.2f}" for what, value in facts.get("seconds_of", {}).items())
    line = f"{name}: {n_ids:,} ids{before} from {text} in {seconds:.2f} s{f' ({parts})' if parts else ''}"
    if "bytes" in facts and not before:
        line += f", {options.speed(facts['bytes'], seconds)}"
    facts = {"output": name, **facts, "seconds": round(seconds, 3)}
    options.sum_up(line, facts, output=shown, as_json=as_json)


def _note_missing_ends(loaded: Tokenizer, path: str, format: str, sequence_length: int | None) -> None:
    """Prints a note if readers of a format can't tell where documents end, and the tokenizer has a token for this."""
    from gputok.pipeline.special_tokens import ids_around, own_tokens
    from gputok.token_files.formats import FORMATS

    form = FORMATS.get(format)
    if form is None or not (form.joins_documents or sequence_length):
        return
    named: str | bool | None = True
    with contextlib.suppress(ValueError, OSError):  # a broken tokenizer_config.json matters only to --eos auto
        named = options.own_token(path, "eos", "auto")
    tokens = own_tokens(loaded.pipeline, "eos") if named is True else [str(named)]
    ids = {token_id for token in tokens if (token_id := loaded.token_to_id(token)) is not None}
    around: list[list[int]] = []
    with contextlib.suppress(ValueError):  # a post-processor may refuse the text that `ids_around` tries it on
        around = ids_around(loaded.pipeline, True)
    if ids and ids.isdisjoint(itertools.chain(*around)):
        have, value = " and ".join(map(short, tokens)), "auto" if len(tokens) == 1 else tokens[0]
        note = f"what reads {format} joins documents, and nothing will tell where one ends; the tokenizer has {have}"
        print(f"gputok: note: {note} for this: --eos '{value}'", file=sys.stderr)


def _given(names: list[str], reading: options.Reading) -> Any:
    """Returns the corpus that the arguments are: texts, each a document, or files."""
    texts = [options.as_text(name) for name in names]
    written = [text for text in texts if text is not None]
    if not written:
        return reading.sources(names)
    options.refuse("is for files, and not for a text", column=reading.column)
    if len(written) < len(names):
        raise ValueError(f"{names[texts.index(written[0])]}: no such file or folder; texts can't stand beside files")
    return iter(written)


def _print_ids(tokenizer: Tokenizer, source: Any, progress: bool, asked: dict[str, Any]) -> tuple[int, int, int]:
    """Prints the ids of each document as a line; returns the numbers of documents, ids and unknown ids."""
    unknown = tokenizer.pipeline.unknown_id
    n_documents = n_ids = n_unknown = 0
    for batch in tokenizer.encode_corpus(source, progress=progress, **asked):
        ids, ends = batch.ids.tolist(), batch.rows.tolist()
        for first, last in itertools.pairwise(ends):
            print(*ids[first:last])
        n_documents, n_ids = n_documents + batch.n_documents, n_ids + len(ids)
        n_unknown += int((batch.ids == unknown).sum()) if unknown is not None else 0
    return n_documents, n_ids, n_unknown


def decode(tokenizer: str, inputs: list[str] | None = None, storage_option: list[str] | None = None) -> None:
    """Turn ids back into text; special tokens are left out."""
    import numpy as np

    storage = options.storage_options(storage_option)
    file, *more = inputs or [options.STANDARD]
    options.check_standard_input([file, tokenizer])
    typed = _typed_ids(inputs or [])
    if more and typed is None:
        raise ValueError(f"{' '.join([file, *more])[:50]}: expected one file, or ids such as 1 2 3")
    loaded = options.load_tokenizer(tokenizer, storage)
    known = np.array([*loaded.get_vocab().values()], np.int64)
    if typed is not None:
        _check_ids([typed], known, "decode")
        print(loaded.decode(typed))
        return
    for documents in _ids(file, storage):
        _check_ids(documents, known, "standard input" if file == options.STANDARD else file)
        sys.stdout.writelines(loaded.decode_batch(documents))


def _typed_ids(words: list[str]) -> list[int] | None:
    """Reads arguments that are ids, also as a list is written in Python; None: they are no ids, or name a file.

    >>> _typed_ids(["1", "2"]), _typed_ids(["[1, 2]"]), _typed_ids(["ids.npy"])
    ([1, 2], [1, 2], None)
    """
    numbers = " ".join(words).replace("[", " ").replace("]", " ").replace(",", " ").split()
    if not numbers or not all(map(str.isdecimal, numbers)) or (len(words) == 1 and os.path.exists(words[0])):
        return None
    return [*map(int, numbers)]


def _check_ids(documents: list[Any], known: Positions, name: str) -> None:
    """Raises ValueError if an id has no token: decoding would leave it out."""
    import numpy as np

    ids = np.concatenate([np.empty(0, np.int64), *map(np.asarray, documents)])
    wrong = ids[~np.isin(ids, known)]
    if len(wrong):
        lacks = f"the id {wrong[0]} is not in the vocabulary of {len(np.unique(known)):,} tokens"
        raise ValueError(f"{name}: {lacks}; was the text encoded with another tokenizer?")


def _ids(file: str, storage: dict[str, Any]) -> Iterator[list[Any]]:
    """Yields the ids of some documents at a time."""
    from gputok.files.locations import downloaded
    from gputok.token_files import token_files

    if file != options.STANDARD and token_files.is_output(file):
        for ids, rows in token_files.open_tokens(file, storage_options=storage).batches():
            yield [ids[first:last] for first, last in itertools.pairwise(rows.tolist())]
        return
    with contextlib.ExitStack() as opened:
        if file == options.STANDARD:
            lines, name = sys.stdin, "standard input"
        else:
            local = opened.enter_context(downloaded(file, storage_options=storage))
            lines, name = opened.enter_context(open(local, encoding="utf-8", errors="replace")), file
        for number, line in enumerate(lines, 1):
            try:
                yield [[int(word) for word in line.split()]]
            except ValueError:
                raise ValueError(f"{name}, line {number}: not ids: {line.strip()[:50]!r}") from None


def merge_tokens(
    inputs: list[str],
    output: str,
    files: options.TokenFileOptions,
    as_json: bool = False,
    storage_option: list[str] | None = None,
) -> None:
    """Join files of ids that several processes wrote, in any formats. An interrupted run resumes."""
    from gputok.token_files.merge import merge_tokens as merge

    start = time.perf_counter()
    made = merge(inputs, output, storage_options=options.storage_options(storage_option), **files.options)
    seconds = time.perf_counter() - start
    line = f"{output}: {made.n_documents:,} documents of {len(inputs):,} inputs in {seconds:.2f} s"
    facts = {"output": output, "documents": made.n_documents, "stored": made.n_stored, "inputs": len(inputs)}
    facts |= {"seconds": round(seconds, 3)}
    options.sum_up(line, facts, output=output, as_json=as_json)


_WHOLE = "\0gputok: no file has this text\0"  # as the separator, it makes one document of each file


def split(
    inputs: list[str],
    tokenizer: str,
    max_tokens: int,
    overlap: int = 0,
    at: list[str] | None = None,
    output: str = options.STANDARD,
    *,
    reading: options.Reading,
) -> None:
    """Split documents into parts of up to N tokens: JSON Lines of document, start, stop (characters), tokens, text."""
    from gputok.corpus.document_kinds import file_kind
    from gputok.corpus.source import Source

    loaded = options.load_tokenizer(tokenizer, reading.storage, inputs)
    found, document = Source.of(reading.sources(inputs), **reading.options), 0
    with contextlib.ExitStack() as opened:
        file = sys.stdout
        if output != options.STANDARD:
            path = opened.enter_context(options.output_file(output, reading.storage, inputs))
            file = opened.enter_context(open(path, "w", encoding="utf-8"))
        for place in found.content:
            cut_at = reading.separator if reading.separator is not None or file_kind(place.file)[0] else _WHOLE
            batches = dataclasses.replace(found, content=[place], separator=cut_at).read()
            for text in itertools.chain.from_iterable(batch.strings() for batch in batches):
                for start, stop, n in loaded.split(text, max_tokens, overlap=overlap, at=at or []):
                    facts = {"document": document, "start": start, "stop": stop, "tokens": n}
                    print(json.dumps({**facts, "text": text[start:stop]}, ensure_ascii=False), file=file)
                document += 1
