"""The command line does what its help says, and what it can't do it says in one line."""

import contextlib
import csv
import dataclasses
import gzip
import importlib.metadata
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tokenizers
import typer
from children import child, end
from gputok.kernels.native import choose
from gputok.kernels.native.preparation import preparation

from gputok import Tokenizer, WordCounts, cli, models, pre_tokenizers, processors
from gputok.automaton import PATTERNS
from gputok.cli import bench as cli_bench
from gputok.cli import info as cli_info
from gputok.cli.entry import app
from gputok.cli.options import Counting, Reading, TokenFileOptions, Weighting, refuse
from gputok.cli.train import SuperwordOptions

rng = random.Random(0)
WORDS = ["".join(rng.choices("etaoinshré漢", k=rng.randrange(1, 9))) for _ in range(300)]
LINES = [" ".join(rng.choices(WORDS, k=rng.randrange(12))) + "\n" for _ in range(400)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with some text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("".join(LINES))
    return tmp_path


@pytest.fixture
def gputok(capsys, monkeypatch):
    """`gputok("train", ...)` -> (exit status, standard output, standard error), in this process."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    # That kernels are compiled, where none are on disk yet
    monkeypatch.setattr(preparation, "announced", True)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        return (exit.value.code, *capsys.readouterr())

    return call


def upstream(lines=LINES, vocab_size=400):
    """What the same command would have trained with `tokenizers`."""
    from gputok.recipes import recipe

    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size, package="tokenizers")
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


# -- train


def test_train_writes_what_tokenizers_would(folder, gputok):
    status, out, err = gputok("train", "text.txt", "--vocab-size", 400, "-o", "t.json")
    assert (status, err) == (0, "") and out.startswith("t.json: 400 tokens from 14.8 kB of words in ")
    ours = tokenizers.Tokenizer.from_file("t.json")
    assert json.loads(ours.to_str()) == json.loads(upstream().to_str())
    assert sorted(os.listdir()) == ["t.json", "text.txt"]


def test_train_takes_columns_separators_and_patterns(folder, gputok):
    documents = ["".join(LINES[i : i + 20]) for i in range(0, 400, 20)]
    (folder / "a.jsonl").write_text("".join(json.dumps({"id": "x", "body": text}) + "\n" for text in documents))
    (folder / "a.txt").write_text("<|>".join(documents))
    options = ["--vocab-size", 350, "--pattern", "llama3", "--special-token", "<s>", "--special-token", "</s>"]
    assert gputok("train", "a.jsonl", "--column", "body", *options, "-o", "a.json")[0] == 0
    assert gputok("train", "a.txt", "--separator", "<|>", *options, "-o", "b.json")[0] == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    read = tokenizers.Tokenizer.from_file("a.json")
    assert read.token_to_id("<s>") == 0 and read.token_to_id("</s>") == 1 and read.token_to_id("<|endoftext|>") is None
    assert [word for word, _ in read.pre_tokenizer.pre_tokenize_str("a1234")] == ["a", "123", "4"]


def test_counts_of_shards_train_the_same(folder, gputok):
    (folder / "a.txt").write_text("".join(LINES[:150]))
    (folder / "b.txt").write_text("".join(LINES[150:]))
    status, out, _ = gputok("count", "a.txt", "-o", "a.parquet")
    assert status == 0 and "distinct words" in out
    gputok("count", "b.txt", "-o", "b.parquet")
    assert gputok("train", "--from-counts", "b.parquet", "a.parquet", "--vocab-size", 400, "-o", "shards.json")[0] == 0
    gputok("train", "text.txt", "--vocab-size", 400, "-o", "whole.json")
    assert (folder / "shards.json").read_bytes() == (folder / "whole.json").read_bytes()


def test_patterns_are_names_and_expressions_have_another_option(folder, gputok):
    made = {}
    for options in (
        (),
        ("--pattern", "gpt2"),
        ("--regex", PATTERNS["gpt2"]),
        ("--pattern", "tekken"),
        ("--regex", PATTERNS["tekken"]),
        ("--regex", "gpt2"),
    ):
        assert gputok("train", "text.txt", "--vocab-size", 300, *options, "-o", "t.json")[0] == 0
        assert gputok("count", "text.txt", *options, "-o", "c.parquet")[0] == 0
        counted = ["--from-counts", "c.parquet", "--vocab-size", 300, "-o", "c.json"]
        assert gputok("train", *counted, *options)[0] == 0
        made[options] = (folder / "t.json").read_bytes()
        assert (folder / "c.json").read_bytes() == made[options]
    default, gpt2, same, tekken, expression, literal = made.values()
    assert default == gpt2 == same and tekken == expression and len({gpt2, tekken, literal}) == 3
    split = json.loads(literal)["pre_tokenizer"]["pretokenizers"][0]
    assert split["pattern"] == {"Regex": "gpt2"}
    for command in ("train", "count"):
        text = " ".join(gputok(command, "--help")[1].split())
        *names, last = text.partition("splits text: as ")[2].partition(". [default")[0].split(", ")
        assert [*names, *last.split(" or ")] == [*PATTERNS]


@pytest.mark.parametrize("model", ["wordpiece", "wordlevel", "unigram"])
def test_train_other_models(folder, gputok, model):
    assert gputok("train", "text.txt", "--model", model, "--vocab-size", 200, "-o", "t.json")[0] == 0
    read = tokenizers.Tokenizer.from_file("t.json")
    assert 100 < read.get_vocab_size() <= 200
    assert len(read.encode(" ".join(WORDS[:9])).ids) >= 9


def test_progress_is_shown_only_on_request(folder, gputok):
    _, _, err = gputok("train", "text.txt", "--vocab-size", 400, "--progress")
    assert "count: 100%" in err and "merge: 100%" in err
    assert gputok("train", "text.txt", "--vocab-size", 400)[2] == ""


# -- encode and decode


def test_encode_and_decode_are_inverse(folder, gputok):
    gputok("train", "text.txt", "--vocab-size", 400, "-o", "t.json")
    status, ids, _ = gputok("encode", "-t", "t.json", "text.txt")
    assert status == 0
    expected = [encoding.ids for encoding in upstream().encode_batch(LINES)]
    assert [list(map(int, line.split())) for line in ids.splitlines()] == expected
    (folder / "ids.txt").write_text(ids)
    assert gputok("decode", "-t", "t.json", "ids.txt") == (0, "".join(LINES), "")


@pytest.mark.parametrize("kind", [".npy", ".bin", ".arrow", ".parquet"])
def test_encode_to_files_and_decode_them(folder, gputok, kind):
    upstream().save("t.json")
    status, out, err = gputok("encode", "-t", "t.json", "text.txt", "-o", f"ids{kind}")
    n_ids = sum(len(e.ids) for e in upstream().encode_batch(LINES))
    assert (status, err) == (0, "")
    assert out.startswith(f"ids{kind}: {n_ids:,} ids from 400 documents, 14.8 kB in ") and out.endswith("B/s\n")
    assert gputok("decode", "-t", "t.json", f"ids{kind}") == (0, "".join(LINES), "")
    if kind == ".npy":
        assert np.load("ids.npy").tolist() == [i for e in upstream().encode_batch(LINES) for i in e.ids]


# -- standard input and output


@pytest.fixture
def stdin(monkeypatch):
    """`stdin(text)`: what the next command reads as standard input."""

    def feed(data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))

    return feed


def test_a_dash_is_standard_input_and_output(folder, gputok, stdin):
    text = "".join(LINES)
    gputok("train", "text.txt", "--vocab-size", 400, "-o", "t.json")
    trained = (folder / "t.json").read_text()

    stdin(text)
    status, out, err = gputok("train", "-", "--vocab-size", 400, "-o", "-")
    assert status == 0 and out == trained and err.startswith("standard output: 400 tokens from 14.8 kB of")
    stdin(gzip.compress(text.encode()))
    assert gputok("train", "-", "--vocab-size", 400, "-o", "-")[1] == trained

    stdin(text)
    gputok("count", "-", "-o", "c.parquet")
    stdin((folder / "c.parquet").read_bytes())
    assert gputok("train", "--from-counts", "-", "--vocab-size", 400, "-o", "-")[1] == trained

    stdin("".join(json.dumps({"id": "x", "body": line}) + "\n" for line in LINES))
    assert gputok("train", "-", "--column", "body", "--vocab-size", 400, "-o", "-")[1] == trained

    stdin(text)
    status, ids, err = gputok("encode", "-t", "t.json", "-", "-o", "-")
    assert status == 0 and err.startswith("standard output: ") and " ids from 400 documents in " in err
    stdin(text)
    assert gputok("encode", "-t", "t.json") == (0, ids, "")
    stdin(ids)
    assert gputok("decode", "-t", "t.json", "-") == (0, text, "")
    stdin(trained)
    assert gputok("encode", "-t", "-", "text.txt") == (0, ids, "")

    stdin(text)
    status, page, table = gputok("report", "-", "-t", "t.json", "-o", "-")
    assert status == 0 and page.startswith("<!doctype html>") and table.split()[0] == "vocabulary"
    assert '["text","standard input"]' in page and "gputok report - -t t.json -o -" in page


def test_what_standard_input_cannot_be(folder, gputok, stdin):
    upstream().save("t.json")
    for arguments, message in {
        "train - -": "-: standard input can be read only once",
        "encode -t - -": "-: standard input can be read only once",
        "encode -t -": "-: standard input can be read only once",
        "train - --separator x --column y": "standard input: --separator cuts plain text",
        "train --from-counts -": "standard input: expected a Parquet file",
        "encode -t - text.txt": "standard input: ",
        "decode -t t.json -": "standard input, line 1: not ids",
    }.items():
        stdin("no ids, no counts and no tokenizer\n")
        status, _, err = gputok(*arguments.split())
        assert status == 1 and err.startswith(f"gputok: {message}") and err.count("\n") == 1, err


def test_counts_pass_through_a_pipe(folder):
    """`-o -` writes bytes, not text."""
    with open("c.parquet", "wb") as out, start("count", "text.txt", "-o", "-", stdout=out) as process:
        _, err = process.communicate()
    assert process.returncode == 0 and "standard output: " in err
    assert WordCounts.load("c.parquet").counts.sum() > 1000


# -- summaries


def test_summaries_as_json(folder, gputok):
    status, out, err = gputok("train", "text.txt", "--vocab-size", 400, "-o", "t.json", "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    words = Tokenizer.from_file("t.json").count_words(["text.txt"])
    assert facts.pop("seconds") > 0
    assert facts == {
        "output": "t.json",
        "vocab_size": 400,
        "model": "bpe",
        "distinct_words": len(words),
        "words": int(words.counts.sum()),
        "word_bytes": sum(len(line.encode()) for line in LINES),
    }
    facts = json.loads(gputok("count", "text.txt", "--json")[1])
    assert facts == {"output": "counts.parquet", "distinct_words": len(words), "words": int(words.counts.sum())}
    facts = json.loads(gputok("encode", "-t", "t.json", "text.txt", "-o", "ids.npy", "--json")[1])
    assert facts["documents"] == 400 and facts["ids"] == len(np.load("ids.npy"))
    assert facts["bytes"] == sum(len(line.encode()) for line in LINES) and facts["unknown"] == 0
    facts = json.loads(gputok("report", "text.txt", "-t", "t.json", "--json")[1])
    assert facts["text"]["documents"] == 400 and facts["tokenizers"][0]["tokens"] == len(np.load("ids.npy"))


def test_a_note_says_that_no_token_ends_documents(folder, gputok):
    """Where the reader of a format joins documents, and the tokenizer has an end token that nothing adds."""
    vocab = {"a": 0, "b": 1, "</s>": 2, "<eos>": 3}
    plain, several, none = (
        Tokenizer(models.WordLevel({token: vocab[token] for token in tokens}, unk_token="a"))
        for tokens in (["a", "b", "</s>"], [*vocab], ["a", "b"])
    )
    added = Tokenizer(plain.model)
    added.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    for name, tokenizer in {"plain": plain, "several": several, "none": none, "added": added}.items():
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(f"{name}.json")
    (folder / "own").mkdir()
    several.save("own/tokenizer.json")
    (folder / "own/tokenizer_config.json").write_text('{"eos_token": {"content": "<eos>"}}')
    number = iter(range(99))

    def noted(name, *options):
        status, out, err = gputok("encode", "-t", name, "text.txt", "-o", f"out{next(number)}", *options)
        assert status == 0 and "note" not in out, err
        return re.findall(r"gputok: note: what reads (\w+) joins .* has (.*) for this: --eos '(.*)'\n", err)

    for format in ("megatron", "nanogpt", "llmc", "datatrove", "olmo", "litdata"):
        assert noted("plain.json", "--format", format) == [(format, "'</s>'", "auto")]
        assert noted("plain.json", "--format", format, "--eos", "auto") == []
    for options in ([], ["--eos", "</s>"]):
        assert noted("added.json", "--format", "megatron", *options) == []
    assert noted("plain.json", "--format", "mds") == noted("none.json", "--format", "megatron") == []
    assert noted("plain.json", "--format", "mds", "--sequence-length", 8) == [("mds", "'</s>'", "auto")]
    assert noted("plain.json", "--format", "parquet") == []
    assert noted("several.json", "--format", "megatron") == [("megatron", "'</s>' and '<eos>'", "</s>")]
    assert noted("own/tokenizer.json", "--format", "megatron") == [("megatron", "'<eos>'", "auto")]
    assert noted("own/tokenizer.json", "--format", "megatron", "--eos", "auto") == []
    (folder / "own/tokenizer_config.json").write_text("[")
    assert noted("own/tokenizer.json", "--format", "megatron") == [("megatron", "'</s>' and '<eos>'", "</s>")]


def test_unknown_ids_are_counted_on_standard_error(folder, gputok):
    gputok("train", "text.txt", "--model", "wordlevel", "--vocab-size", 50, "-o", "w.json")
    tokenizer = tokenizers.Tokenizer.from_file("w.json")
    ids = [i for encoding in tokenizer.encode_batch(LINES) for i in encoding.ids]
    n_unknown = ids.count(tokenizer.token_to_id("[UNK]"))
    warning = f"gputok: warning: {n_unknown:,} of {len(ids):,} ids are '[UNK]'"
    status, _, err = gputok("encode", "-t", "w.json", "text.txt")
    assert n_unknown > 100 and status == 0 and err.startswith(warning) and err.count("\n") == 1
    status, out, err = gputok("encode", "-t", "w.json", "text.txt", "-o", "ids.npy", "--json")
    assert err.startswith(warning) and json.loads(out)["unknown"] == n_unknown


def test_a_resumed_run_says_what_it_did_not_do_again(folder, gputok, monkeypatch):
    """The earlier run was interrupted after the first of three files, each a batch of its own."""
    from gputok.token_files import token_files

    gputok("train", "text.txt", "--vocab-size", 400, "-o", "t.json")
    (folder / "long.txt").write_text("".join(LINES) * 200)
    write, seen = token_files.write, []

    def interrupted(path, batches, *options, **more):
        def first_only(skip):
            for batch in batches(skip):
                yield batch
                seen.append(batch.n_documents)
                raise KeyboardInterrupt

        return write(path, first_only, *options, **more)

    arguments = ["encode", "-t", "t.json", "long.txt", "-o", "ids.npy"]
    monkeypatch.setattr(token_files, "write", interrupted)
    monkeypatch.setattr(os, "_exit", sys.exit)
    assert gputok(*arguments)[0] == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    status, out, _ = gputok(*arguments)
    assert status == 0 and f"(after {seen[0]:,} documents of an earlier run) from 80,000 documents" in out


# -- show


def test_show_puts_bars_between_tokens_in_a_pipe(folder, gputok, stdin):
    upstream().save("t.json")
    text = "retain this; orient\n"
    tokens = [text[a:b] for a, b in upstream().encode(text).offsets]
    assert len(tokens) > 5
    (folder / "one.txt").write_text(text)
    status, out, err = gputok("show", "one.txt", "-t", "t.json")
    assert (status, err) == (0, "")
    assert out == "│".join(tokens).replace("\n", "↵\n")
    assert gputok("show", text.rstrip("\n"), "-t", "t.json")[1] == "│".join(tokens).replace("│\n", "\n")
    stdin(text)
    assert gputok("show", "-", "-t", "t.json")[1] == out
    (folder / "rows.jsonl").write_text(json.dumps({"body": text}) + "\n")
    assert gputok("show", "rows.jsonl", "--column", "body", "-t", "t.json")[1] == out


def test_show_takes_no_mistyped_name_for_a_text(folder, gputok, stdin):
    upstream().save("t.json")
    (folder / "data").mkdir()
    (folder / "data" / "text.md").write_text("so it goes\n")
    missing = {
        "txet.txt": "; is it text.txt?",
        "other.jsonl": "",
        "other.json.gz": "",
        "data/other": "",
        "data/tekst.md": "; is it data/text.md?",
        "text.tx": "; is it text.txt?",
        "none/other.parquet": "",
    }
    for name, meant in missing.items():
        for names in ([name], ["text.txt", name]):
            status, _, err = gputok("show", *names, "-t", "t.json", "-n", "0")
            assert status == 1 and f"{name}: no such file or folder{meant} (to use this as a text" in err, err
    status, _, err = gputok("show", "data/*.txt", "-t", "t.json")
    assert status == 1 and "data/*.txt" in err
    status, out, _ = gputok("show", "da*/*.md", "-t", "t.json")
    assert status == 0 and out.replace("│", "") == "so it goes↵\n"
    texts = ["so it goes.txt", "and/or", "e.g.", "Hello.World", "text", "tent", ".txt", "3.5", "x" * 300 + ".txt", "*"]
    for text in texts:
        status, out, err = gputok("show", text, "-t", "t.json")
        assert (status, out.replace("│", ""), err) == (0, f"{text}\n", "")
    stdin("txet.txt")
    assert gputok("show", "-", "-t", "t.json")[1].replace("│", "") == "txet.txt\n"


def test_show_commands_no_terminal(folder, gputok):
    """Escape sequences in a text are shown, not sent."""
    upstream().save("t.json")
    _, out, _ = gputok("show", "a\x1b[31mb\x07\x9b", "-t", "t.json")
    assert "\x1b" not in out and "\x9b" not in out and "\\x1b" in out and "\\x07" in out


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_show_has_colours_in_a_terminal(folder, variables):
    upstream().save("t.json")
    ours, theirs = os.openpty()
    environment = {"TERM": "xterm-256color", "NO_COLOR": "", **variables}
    with start("show", "so, it goes 漢", "-t", "t.json", stdout=theirs, more=environment) as process:
        process.wait()
        os.close(theirs)
        out = os.read(ours, 10_000).decode()
    os.close(ours)
    if variables:
        assert "\x1b" not in out and "│" in out
    else:
        assert "\x1b[30;48;5;153m" in out and re.sub("\x1b[^m]*m", "", out).strip() == "so, it goes 漢"


# -- CSV, and rows without text


@pytest.mark.slow
def test_a_column_of_a_csv_file(folder, gputok):
    rows = [*LINES, 'a "quoted", field\nover two lines', "", "漢"]
    with open("a.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "body"], *enumerate(rows)])
    (folder / "b.csv.gz").write_bytes(gzip.compress((folder / "a.csv").read_bytes()))
    (folder / "a.jsonl").write_text("".join(json.dumps({"body": row}) + "\n" for row in rows))
    for name in ("a.csv", "b.csv.gz", "a.jsonl"):
        options = ["--vocab-size", 400, "-o", f"{name}.json"]
        assert gputok("train", name, *options)[::2] == (0, "")  # the only column of strings
        assert gputok("train", name, "--column", "body", *options)[::2] == (0, "")
    expected = (folder / "a.jsonl.json").read_bytes()
    assert (folder / "a.csv.json").read_bytes() == (folder / "b.csv.gz.json").read_bytes() == expected
    (folder / "bad.csv").write_text("id,body\n1,one\n2\n")
    (folder / "two.csv").write_text("title,body\na,b\n")
    (folder / "latin.csv").write_bytes(b"id,body\n1,ok\n2,caf\xe9\n")
    for arguments, message in {
        "train a.csv --column title": "a.csv has no column 'title'; it has id, body",
        "train bad.csv": "bad.csv: not readable as CSV (",
        "train two.csv": "two.csv has the columns title, body: name the one to read by --column",
        "train a.csv --separator x": "a.csv: --separator cuts plain text",
        "train latin.csv": "latin.csv, column 'body', row 1, byte 3: 0xe9 is not UTF-8",
    }.items():
        status, _, err = gputok(*arguments.split())
        assert status == 1 and err.startswith(f"gputok: {message}"), err
    assert gputok("count", "latin.csv", "--errors", "replace")[0] == 0


@pytest.mark.filterwarnings("always:.* no .text.")
def test_rows_without_the_column_are_counted(folder, gputok):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"text": "one"}, {"other": 1}, {"text": None}, {"text": "two"}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "odd.jsonl").write_text('{"text": "one", "text": "two"}\n{}\n')  # which Arrow's parser refuses
    parquet.write_table(pa.table({"text": ["one", None, "two"]}), "a.parquet")
    for names, expected in {
        "a.jsonl": "2 rows of a.jsonl have no 'text'; they count as empty documents",
        "odd.jsonl": "1 row of odd.jsonl has no 'text'; it counts as an empty document",
        "a.parquet": "1 row of a.parquet has no 'text'; it counts as an empty document",
        "a.parquet a.jsonl": "3 rows of a.jsonl, a.parquet have no 'text'; they count as empty documents",
    }.items():
        status, _, err = gputok("count", *names.split(), "-o", "c.parquet")
        assert (status, err) == (0, f"gputok: warning: {expected}\n")


# -- what goes wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train none.txt", "none.txt: no such file or folder"),
        ("train text.txt --column text", "text.txt: plain text has no column 'text'"),
        ("train a.jsonl --column b", "a.jsonl has no column 'b'; it has text"),
        ("train bad.txt", "bad.txt, byte 3: 0xff is not UTF-8; convert it"),
        ("train cut.txt.gz", "cut.txt.gz: broken off in the middle of its compressed data"),
        ("train empty.txt", "empty.txt: contains no text to learn from"),
        ("train text.txt --vocab-size 100", "--vocab-size 100 leaves no room for a merge"),
        (
            "train text.txt --pattern gpt5",
            "'gpt5': there is no pattern of this name (did you mean gpt2?); there are gpt2, ",
        ),
        ("count text.txt --pattern LLAMA", "(did you mean llama3?); there are gpt2, cl100k"),
        ("train text.txt --pattern \\s+", "of this name; there are gpt2, "),
        ("train text.txt --pattern gpt5", "pass an expression as regex (--regex)"),
        ("train text.txt --regex a(", "a("),
        ("train text.txt --pattern gpt2 --regex a", "pattern 'gpt2' and regex 'a' both say"),
        ("train text.txt --model unigram --regex a", "regex= splits text for a byte-level BPE"),
        ("train text.txt --model bert", "model 'bert': must be one of bpe"),
        ("train text.txt -o none/t.json", "none/t.json: the folder"),
        ("train text.txt --errors ignore", "--errors ignore: must be"),
        ("train --from-counts text.txt", "text.txt"),
        ("encode -t text.txt text.txt", "text.txt"),
        ("encode -t none.json text.txt", "none.json"),
        ("decode -t t.json text.txt", "text.txt, line 1: not ids"),
        ("bench train none.txt", "none.txt: no such file or folder"),
        ("bench train text.txt --against foo", "got 'foo'"),
    ],
)
def test_failures_are_reported_in_one_line(folder, gputok, arguments, message):
    (folder / "a.jsonl").write_text('{"text": "x"}\n')
    (folder / "bad.txt").write_bytes(b"abc\xff\n")
    (folder / "cut.txt.gz").write_bytes(gzip.compress(b"text\n" * 1000)[:-9])
    (folder / "empty.txt").write_text("")
    if "t.json" in arguments.split():
        upstream().save("t.json")
    before = sorted(os.listdir())
    status, out, err = gputok(*arguments.split())
    assert (status, out) == (1, "") and err.count("\n") == 1 and err.startswith("gputok: "), err
    assert message in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tokens text.txt -t t.json --csv text.txt", "text.txt: is an input as well"),
        ("tokens a.jsonl -t t.json --group-by text --csv t.json", "t.json: is an input as well"),
        ("tokens text.txt -t t.json --csv -", "--csv -: name another file"),
        ("report a.jsonl -t t.json --group-by text --csv a.jsonl", "a.jsonl: is an input as well"),
        ("report a.jsonl -t t.json --group-by text --csv ./r -o r", "--csv ./r: name another file than"),
        ("extend text.txt -t t.json --tokens 1 -o e.json --change e.json", "--change e.json: name another file"),
        ("extend text.txt -t t.json --tokens 1 -o e.json --change t.json", "t.json: is an input as well"),
        ("audit t.json --embeddings e.npy -o e.npy", "e.npy: is an input as well"),
    ],
)
def test_no_output_replaces_an_input(folder, gputok, arguments, message):
    upstream().save("t.json")
    (folder / "a.jsonl").write_text('{"text": "x"}\n')
    np.save("e.npy", np.random.default_rng(0).normal(size=(400, 8)))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    status, _, err = gputok(*arguments.split())
    assert status == 1 and message in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("arguments", ["convert org/name o.json", "report text.txt -t org/name -o o.html"])
def test_a_name_on_the_hub_is_no_missing_file(folder, gputok, monkeypatch, arguments):
    """It gets as far as the hub, which is out of reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, _, err = gputok(*arguments.split())
    assert status == 1 and "org/name" in err and "no such file" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train c.parquet --from-counts --separator x", "--separator reads text"),
        ("extend c.parquet --from-counts -t t.json --tokens 1 -o e.json --errors replace", "--errors reads text"),
        ("train text.txt --model superbpe --weight text.txt=2", "--weight is not for --model superbpe"),
        ("train text.txt --model superbpe --temperature 0.5", "--temperature is not for --model superbpe"),
        ("train text.txt --model superbpe --transition 1.5", "--transition 1.5: expected a share below 1, or"),
        ("train text.txt --model superbpe --stage1 w.json", "stage1 has the model WordLevel"),
        ("encode -t t.json --column text a,text", "--column is for files"),
        ("tokens a.jsonl -t t.json --group-by text --by file", "--by is not for --group-by"),
        ("audit t.json --tensor x", "tensor='x': give embeddings"),
        ("audit t.json --tensor x --embeddings e.npy", "tensor='x': only a .safetensors file"),
        ("convert t.json u.json --pattern cl100k", "--pattern cl100k: is for tiktoken and GGUF files; t.json says"),
    ],
)
def test_options_that_say_nothing_are_errors(folder, gputok, arguments, message):
    upstream().save("t.json")
    Tokenizer(models.WordLevel({"a": 0})).save("w.json")
    (folder / "a.jsonl").write_text('{"text": "x"}\n')
    np.save("e.npy", np.zeros((400, 8)))
    gputok("count", "text.txt", "-o", "c.parquet")
    status, _, err = gputok(*arguments.split())
    assert status == 1 and message in err


def test_separators_have_line_ends(folder, gputok):
    r"""A shell gives \n as two characters; so do documents and parts."""
    upstream().save("t.json")
    (folder / "a.txt").write_text("one\n\ntwo\n\nthree")
    status, out, _ = gputok("tokens", "a.txt", "-t", "t.json", "--json", "--separator", r"\n\n")
    assert status == 0 and json.loads(out)["documents"] == 3
    status, out, _ = gputok("split", "a.txt", "-t", "t.json", "--max-tokens", 50, "--separator", r"\n\n")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["one", "two", "three"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("nonsense", "gputok"),
        ("--nonsense", "gputok"),
        ("train", "gputok train"),
        ("train text.txt --vocab-size many", "gputok train"),
        ("bench", "gputok bench"),
        ("bench nonsense", "gputok bench"),
        ("bench train --runs 0 text.txt", "gputok bench train"),
        ("encode text.txt", "gputok encode"),
    ],
)
def test_a_usage_error_is_one_line_that_names_the_help(folder, gputok, arguments, command):
    status, out, err = gputok(*arguments.split())
    assert (status, out) == (2, "") and err.count("\n") == 1 and f"See `{command} --help`" in err
    assert gputok(*command.split()[1:], "--help")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gputok tr", ["train", "truncate"]),
        ("gputok bench ", ["train", "encode", "start", "latency"]),
        ("gputok train --model word", ["wordpiece", "wordlevel"]),
        ("gputok count --pattern qw", ["qwen2", "qwen3"]),
        ("gputok encode --errors ", ["strict", "replace"]),
        ("gputok bench train --against giga", ["gigabpe", "gigatoken"]),
    ],
)
def test_the_shell_completes(words, expected):
    environment = {"_GPUTOK_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - (not words.endswith(" ")))
    with start(stdout=subprocess.PIPE, more=environment) as process:
        out, err = process.communicate()
    assert (sorted(out.split()), err) == (sorted(expected), "")


def test_the_script_for_completion_can_be_shown():
    with start("--show-completion", "bash", stdout=subprocess.PIPE) as process:
        out, _ = process.communicate()
    assert process.returncode == 0 and "_GPUTOK_COMPLETE=complete_bash" in out


def test_errors_name_the_output_and_no_temporary_file(folder, gputok, monkeypatch):
    """For any system error about a temporary file."""
    upstream().save("t.json")
    real = os.open

    def refuse(path, *arguments, **options):
        if ".part" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    for command in ("train text.txt --vocab-size 400", "count text.txt", "report text.txt -t t.json"):
        assert gputok(*command.split(), "-o", "made")[::2] == (1, "gputok: made: Permission denied\n")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(preparation, "announced", True)
    status, _, err = gputok("encode", "-t", "t.json", "text.txt", "-o", "ids.npy")
    assert (status, err) == (1, "gputok: ids.npy: Permission denied\n")


def test_an_old_result_survives_an_error(folder, gputok):
    (folder / "t.json").write_text("old")
    assert gputok("train", "text.txt", "--vocab-size", 5, "-o", "t.json")[0] == 1
    assert (folder / "t.json").read_text() == "old" and sorted(os.listdir()) == ["t.json", "text.txt"]


def start(*arguments: str, more=(), **options) -> contextlib.AbstractContextManager[subprocess.Popen]:
    command = [sys.executable, "-m", "gputok", *arguments]
    source = os.path.dirname(os.path.dirname(os.path.dirname(cli.__file__)))
    environment = {**os.environ, "PYTHONPATH": source, **dict(more)}
    return child(command, stderr=subprocess.PIPE, text=True, env=environment, **options)


def said(err: str) -> str:
    """What a command wrote to standard error, but for the note that kernels are compiled, if none were on disk."""
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("gputok: compiling kernels"))


def test_an_internal_error_is_reported_as_a_fault_of_gputok(gputok, monkeypatch):
    monkeypatch.setattr(cli_info, "facts", lambda: {}["x"])
    assert gputok("info") == (1, "", "gputok: unexpected KeyError: 'x'\n")


@pytest.mark.slow
def test_a_full_disk(folder):
    with start("train", "text.txt", "--vocab-size", "400", "-o", "/dev/full", stdout=subprocess.PIPE) as process:
        _, err = process.communicate()
    assert (process.returncode, said(err)) == (1, "gputok: /dev/full: No space left on device\n")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["count", "merge"])
def test_ctrl_c_ends_at_once_and_leaves_nothing(folder, stage):
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
    (folder / "long.txt").write_text(letters if stage == "merge" else "some words\n" * 100_000)
    inputs = ["long.txt"] * (1 if stage == "merge" else 5000)  # 5 GB
    options = ["--vocab-size", "100000", "--progress", "-o", "t.json"]
    with start("train", *inputs, *options, stdout=subprocess.PIPE, bufsize=0) as process:
        seen = ""
        while f"{stage}:" not in seen and process.poll() is None:
            seen += process.stderr.read(1)
        time.sleep(0.1)
        seconds = end(process, signal.SIGINT)
    assert process.returncode == 130 and seconds < 3  # half a second on a quiet machine
    assert sorted(os.listdir()) == ["long.txt", "text.txt"]


@pytest.mark.slow
def test_a_reader_that_leaves(folder):
    upstream().save("t.json")
    with start("encode", "-t", "t.json", *["text.txt"] * 200, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.wait()
    assert (process.returncode, said(err)) == (1, "")


# -- help, info, bench


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "count",
        "encode",
        "decode",
        "report",
        "show",
        "info",
        "bench train",
        "bench encode",
        "bench start",
        "bench latency",
    ],
)
def test_every_help_has_an_example(gputok, command):
    status, out, _ = gputok(*command.split(), "--help")
    assert (status == 0 and f"  gputok {command} " in out) or f"| gputok {command} " in out


def test_info(gputok):
    status, out, _ = gputok("info", "--json")
    facts = json.loads(out)
    assert status == 0 and {"gputok", "python", "numba", "threads", "device", "kernels"} <= facts.keys()
    code = choose()
    assert facts["kernels"] == code.reason and code.reason in gputok("info")[1]
    assert ("jit cache" in facts) == (code.calls is None)


def test_info_says_what_of_a_tokenizer_runs_where(gputok, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(path))
    facts = json.loads(gputok("info", "--json", "--tokenizer", path)[1])
    assert {stage: where for stage, where in facts.items() if "cuda" in stage} == {
        'device="cuda", count words': "on the GPU, the parts between spaces; the CPU cuts each distinct part into "
        "words once; on the CPU, text around an added token",
        'device="cuda", merge': "on the CPU: only BPE is trained on a GPU, not WordLevel",
        'device="cuda", encode': "on the CPU: the pre-tokenizer is more than one walk over the text",
    }


@pytest.mark.wheel_only
def test_nothing_is_compiled_if_the_wheel_has_machine_code(gputok):
    assert gputok("compile") == (0, f"nothing to compile: {choose().reason}\n", "")


@pytest.mark.slow
@pytest.mark.wheel_only  # the first process of each row would compile for a minute
def test_bench_start(tmp_path, gputok):
    path = tmp_path / "words.json"
    Tokenizer(models.WordLevel({"Hello": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(path))
    text = tmp_path / "text.txt"
    text.write_text("Hello Hello\n" * 1000)
    status, out, _ = gputok("bench", "start", path, "--text", text, "--peer", sys.executable, "--runs", 1, "--json")
    rows = json.loads(out)
    own = [row for row in rows if row["package"] == "gputok"]
    assert status == 0 and [row["package"] for row in rows[:2]] == ["gputok", "tokenizers"] and len(own) == 1
    for row in rows:
        parts = row["parts"]
        named = {"numpy", "imports", "load", "first text", "first pass", "process"}
        assert row["task"] == "load words.json, encode" and parts.keys() == named
        # Parts are disjoint, and Python itself takes the rest
        assert min(parts["imports"], parts["first text"]) > 0 and 2 * parts["process"] > sum(parts.values())
    assert own[0]["parts"]["numpy"] > 10 * rows[1]["parts"]["numpy"]  # which imports none
    Tokenizer.from_file(str(path)).save(str(tmp_path / "words.gputok"))  # which no peer can load
    status, out, _ = gputok("bench", "start", tmp_path / "words.gputok", "--runs", 1, "--json")
    assert status == 0 and [row["package"] for row in json.loads(out)] == ["gputok"]
    status, out, _ = gputok("bench", "start", "--runs", 1)
    assert status == 0 and out.count("gputok") == 3 and out.count("train a small ") == 3
    status, _, error = gputok("bench", "start", tmp_path / "none.json", "--runs", 1)
    assert status == 1 and "none.json" in error and "Traceback" not in error


def test_bench_latency(tmp_path, gputok):
    path, lines = tmp_path / "words.json", tmp_path / "lines.txt"
    Tokenizer(models.WordLevel({"Hello": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(path))
    lines.write_text("".join(f"a line of some length, number {i}\n" for i in range(3500)))
    status, out, _ = gputok("bench", "latency", path, "--runs", 1, "--json")
    rows = json.loads(out)["rows"]
    assert status == 0 and len(rows) == 12 and rows[-1]["text"] == "new lines, each once"
    assert all(row["gputok"] > 0 and row["tokenizers"] > 0 for row in rows)
    status, out, _ = gputok("bench", "latency", path, "--runs", 2, "--text", lines)
    assert status == 0 and "kernels: " in out and out.count("words.json: (1) gputok, (2) tokenizers") == 1
    lines.write_text("too few\n")
    status, _, error = gputok("bench", "latency", path, "--text", lines)
    assert status == 1 and "0 different lines" in error


def test_version(gputok):
    status, out, _ = gputok("--version")
    assert status == 0 and out == f"gputok {importlib.metadata.version('gputok')}\n"


def test_peers_can_be_listed():
    given = ["bench", "train", "a.txt", "--against", "tokenizers", "gigabpe", "--runs", "1"]
    expected = ["bench", "train", "a.txt", "--against", "tokenizers", "--against", "gigabpe", "--runs", "1"]
    assert cli_bench.repeat_option(given) == expected
    given = ["bench", "encode", "--against", "tiktoken", "a.txt"]
    assert cli_bench.repeat_option(given) == given


@pytest.mark.slow
def test_bench(folder, gputok):
    status, out, _ = gputok("bench", "train", "text.txt", "--vocab-size", 400, "--runs", 1, "--json")
    assert status == 0
    rows = json.loads(out)["rows"]
    assert [row["peer"] for row in rows] == ["gputok", "tokenizers"]
    assert rows[1]["n_equal"] == rows[1]["n_results"] == 400 - 257


@pytest.mark.slow
def test_train_superwords(folder, gputok, monkeypatch):
    """From a file and from standard input, with a first stage of another run, and resumed."""
    text = "it is one of the few that are here\n" * 50 + "".join(LINES)
    (folder / "text.txt").write_text(text)
    options = ["--model", "superbpe", "--vocab-size", "400", "--pattern", "cl100k"]
    assert gputok("train", *options, "text.txt", "-o", "a.json")[0] == 0
    assert any(name.count("Ġ") > 2 for name in Tokenizer.from_file("a.json").get_vocab())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert gputok("train", *options, "-", "-o", "b.json")[0] == 0
    assert gputok("train", *options, "text.txt", "-o", "c.json", "--resume", "work")[0] == 0
    assert not (folder / "work").exists()
    more = ["--transition", "320", "--stage1", "a.json"]
    assert gputok("train", *options, *more, "text.txt", "-o", "d.json")[0] == 0
    assert gputok("train", *options, "--max-words", "0", "--transition", "320", "text.txt", "-o", "e.json")[0] == 0
    a, b, c, d, e = ((folder / f"{name}.json").read_bytes() for name in "abcde")
    assert a == b == c == d != e
    assert "transition= is for model 'superbpe'" in gputok("train", "text.txt", "--transition", "0.5")[2]


def test_superwords_of_shards(folder, gputok):
    """Three rounds over two files give what `train` gives; then what can't be."""
    lines = ["it is one of the few: they are here\n"] * 40 + LINES
    (folder / "one.txt").write_text("".join(lines[::2]))
    (folder / "two.txt").write_text("".join(lines[1::2]))
    cut, free = (["--vocab-size", 400, "--transition", 320, *more] for more in ([], ["--colon-space"]))
    for options, n in ((cut, 1), (free, 2)):
        whole = f"whole{n}.json"
        assert gputok("train", "one.txt", "two.txt", "--model", "superbpe", *options, "-o", whole)[0] == 0
        for shard in ("one", "two"):
            assert gputok("count", f"{shard}.txt", "-o", f"{shard}.words")[0] == 0
        words = ["one.words", "two.words", "--from-counts", "--vocab-size", 320, "-o", "first.json"]
        assert gputok("train", *words)[0] == 0
        options = ["--model", "superbpe", *options, "--stage1", "first.json"]
        for shard in ("one", "two"):
            found = gputok("count", f"{shard}.txt", *options, "--what", "pairs", "-o", f"{shard}.pairs")
            assert found[0] == 0 and "pairs of tokens" in found[1]
        pairs = ["--pairs", "one.pairs", "--pairs", "two.pairs"]
        for shard in ("one", "two"):
            arguments = [f"{shard}.txt", *options, "--what", "runs", *pairs, "-o", f"{shard}.runs"]
            assert gputok("count", *arguments)[0] == 0
        runs = ["one.runs", "two.runs", "--from-counts", *options, *pairs, "-o", "shards.json"]
        assert gputok("train", *runs)[0] == 0
        assert (folder / "shards.json").read_bytes() == (folder / whole).read_bytes()
    bound, wide = (Tokenizer.from_file(f"whole{n}.json").get_vocab() for n in (1, 2))
    assert any(":Ġ" in name for name in wide) and not any(":Ġ" in name for name in bound)

    def error(*arguments: object) -> str:
        status, _, message = gputok(*arguments)
        assert status == 1
        return message

    assert "give them, as --pairs FILE" in error("train", "one.runs", "--from-counts", *options)
    assert "give them, as --pairs FILE" in error("count", "one.txt", *options, "--what", "runs")
    assert "--pairs is for --model superbpe --from-counts" in error("train", "one.txt", *pairs)
    assert "--transition is for --model superbpe, with" in error("count", "one.txt", "--transition", 0.5)
    assert "--what all: expected words, pairs or runs" in error("count", "one.txt", "--what", "all")
    assert "--what runs is for --model superbpe alone" in error("count", "one.txt", "--what", "runs")
    assert "--resume is for --what words" in error("count", "one.txt", *options, "--what", "pairs", "--resume", "w")
    assert "not for --what pairs" in error("count", "one.txt", *options, "--what", "pairs", "--memory-limit", "1GB")
    assert "expected counts of neighbouring tokens" in error(
        "count", "one.txt", *options, "--what", "runs", "--pairs", "one.words"
    )


def test_options_of_a_group_come_together():
    """A command that reads text, counts words or writes ids has all options for that."""
    found = {group: set() for group in (Reading, Counting, TokenFileOptions)}
    for name, command in typer.main.get_command(app).commands.items():
        options = {option.name for option in command.params}
        for group, names in found.items():
            fields = {field.name for field in dataclasses.fields(group)}
            assert fields <= options or not fields - {"threads", "progress", "storage_option"} & options, name
            names |= {name} if fields <= options else set()
    assert found[Reading] >= {"train", "count", "encode", "split", "tokens", "report", "show", "sizes", "extend"}
    assert found[Counting] >= {"train", "count", "extend", "prune", "sizes"}
    assert found[TokenFileOptions] >= {"encode", "merge-tokens"}


def test_zero_is_a_value_that_is_given():
    with pytest.raises(ValueError, match="--max-words is for --model superbpe"):
        refuse("is for --model superbpe", SuperwordOptions(max_words=0))
    with pytest.raises(ValueError, match="--weight is no"):
        refuse("is no", Weighting(weight=["a=1"]))
    refuse("never", SuperwordOptions(), Weighting(weight=[]), pattern=None, min_count=0)
