"""The command line does what its help says, and what it can't do it says in one line."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tokenizers
from children import child, end
from gputok.kernels.native import choose

from gputok import Tokenizer, cli, models
from gputok.automaton import PATTERNS

rng = random.Random(0)
WORDS = ["".join(rng.choices("etaoinshré漢", k=rng.randrange(1, 9))) for _ in range(300)]
LINES = [" ".join(rng.choices(WORDS, k=rng.randrange(12))) + "\n" for _ in range(400)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with some text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("".join(LINES))
    return tmp_path


@pytest.fixture
def gputok(capsys, monkeypatch):
    """`gputok("train", ...)` -> (exit status, standard output, standard error), in this process."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

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
    assert (status, err) == (0, "") and out.startswith("t.json: 400 tokens from 0.0 MB of words in ")
    ours = tokenizers.Tokenizer.from_file("t.json")
    assert json.loads(ours.to_str()) == json.loads(upstream().to_str())
    assert sorted(os.listdir()) == ["t.json", "text.txt"]


def test_train_takes_columns_separators_and_patterns(folder, gputok):
    documents = ["".join(LINES[i : i + 20]) for i in range(0, 400, 20)]
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"id": "x", "body": text}) + "\n" for text in documents)
    )
    (folder / "a.txt").write_text("<|>".join(documents))
    options = [
        "--vocab-size",
        350,
        "--pattern",
        "llama3",
        "--special-token",
        "<s>",
        "--special-token",
        "</s>",
    ]
    assert gputok("train", "a.jsonl", "--column", "body", *options, "-o", "a.json")[0] == 0
    assert gputok("train", "a.txt", "--separator", "<|>", *options, "-o", "b.json")[0] == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    read = tokenizers.Tokenizer.from_file("a.json")
    assert (
        read.token_to_id("<s>") == 0
        and read.token_to_id("</s>") == 1
        and read.token_to_id("<|endoftext|>") is None
    )
    assert [word for word, _ in read.pre_tokenizer.pre_tokenize_str("a1234")] == ["a", "123", "4"]


def test_counts_of_shards_train_the_same(folder, gputok):
    (folder / "a.txt").write_text("".join(LINES[:150]))
    (folder / "b.txt").write_text("".join(LINES[150:]))
    status, out, _ = gputok("count", "a.txt", "-o", "a.parquet")
    assert status == 0 and "distinct words" in out
    gputok("count", "b.txt", "-o", "b.parquet")
    assert (
        gputok("train", "--from-counts", "b.parquet", "a.parquet", "--vocab-size", 400, "-o", "shards.json")[
            0
        ]
        == 0
    )
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
    assert gputok("encode", "-t", "t.json", "text.txt", "-o", f"ids{kind}") == (0, "", "")
    assert gputok("decode", "-t", "t.json", f"ids{kind}") == (0, "".join(LINES), "")
    if kind == ".npy":
        assert np.load("ids.npy").tolist() == [i for e in upstream().encode_batch(LINES) for i in e.ids]


# -- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train none.txt", "none.txt: no such file or folder"),
        ("train text.txt --column text", "text.txt: plain text has no column 'text'"),
        ("train a.jsonl --column b", "a.jsonl has no column 'b'; it has text"),
        ("train bad.txt", "bad.txt, byte 3: 0xff is not UTF-8; convert it"),
        ("train cut.txt.gz", "cut.txt.gz: broken off in the middle of its compressed data"),
        ("train empty.txt", "empty.txt: there is no text to learn from"),
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
        ("train text.txt --errors ignore", "errors='ignore': must be"),
        ("train --from-counts text.txt", "text.txt"),
        ("encode -t text.txt text.txt", "text.txt"),
        ("encode -t none.json text.txt", "none.json"),
        ("decode -t t.json text.txt", "text.txt, line 1: not ids"),
        ("bench train none.txt", "none.txt: no such file or folder"),
        ("bench train text.txt --against foo", "got 'foo'"),
        ("bench device --device tpu", "not 'tpu'"),
    ],
)
def test_failures_are_reported_in_one_line(folder, gputok, arguments, message):
    import gzip

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
    "arguments", ["nonsense", "train", "train text.txt --vocab-size many", "bench", "encode text.txt"]
)
def test_usage_errors_are_reported_in_one_line(folder, gputok, arguments):
    status, out, err = gputok(*arguments.split())
    assert (status, out) == (2, "") and err.count("\n") == 1 and "See `gputok --help`" in err


def test_an_old_result_survives_an_error(folder, gputok):
    (folder / "t.json").write_text("old")
    assert gputok("train", "text.txt", "--vocab-size", 5, "-o", "t.json")[0] == 1
    assert (folder / "t.json").read_text() == "old" and sorted(os.listdir()) == ["t.json", "text.txt"]


def start(*arguments: str, **options) -> contextlib.AbstractContextManager[subprocess.Popen]:
    command = [sys.executable, "-m", "gputok", *arguments]
    source = os.path.dirname(os.path.dirname(cli.__file__))
    environment = {**os.environ, "PYTHONPATH": source}
    return child(command, stderr=subprocess.PIPE, text=True, env=environment, **options)


def test_an_internal_error_is_reported_as_a_fault_of_gputok(gputok, monkeypatch):
    monkeypatch.setattr(cli, "_facts", lambda: {}["x"])
    assert gputok("info") == (1, "", "gputok: unexpected KeyError: 'x'\n")


def test_a_full_disk(folder):
    with start(
        "train", "text.txt", "--vocab-size", "400", "-o", "/dev/full", stdout=subprocess.PIPE
    ) as process:
        _, err = process.communicate()
    assert process.returncode == 1 and "No space left" in err and err.count("\n") == 1


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


def test_a_reader_that_leaves(folder):
    upstream().save("t.json")
    with start("encode", "-t", "t.json", *["text.txt"] * 200, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.wait()
    assert process.returncode == 1 and err == ""


# -- help, info, bench


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "count",
        "encode",
        "decode",
        "info",
        "bench train",
        "bench encode",
        "bench start",
        "bench device",
    ],
)
def test_every_help_has_an_example(gputok, command):
    status, out, _ = gputok(*command.split(), "--help")
    assert (status == 0 and f"  gputok {command} " in out) or f"| gputok {command} " in out


def test_info(gputok):
    status, out, _ = gputok("info", "--json")
    facts = json.loads(out)
    assert status == 0 and {"gputok", "python", "numba", "threads", "device", "kernels"} <= facts.keys()
    calls, reason = choose()
    assert facts["kernels"] == reason and reason in gputok("info")[1]
    assert ("jit cache" in facts) == (calls is None)


def test_nothing_is_compiled_if_the_wheel_has_machine_code(gputok):
    if choose().calls is None:
        pytest.skip("the kernels are compiled here")
    assert gputok("compile") == (0, f"nothing to compile: {choose().reason}\n", "")


def test_bench_start(tmp_path, gputok):
    path = tmp_path / "words.json"
    Tokenizer(models.WordLevel({"Hello": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(path))
    status, out, _ = gputok("bench", "start", path, "--runs", 1, "--json")
    rows = json.loads(out)
    assert status == 0 and len(rows) == 4 and rows[3]["task"] == "load words, encode"
    kinds = "first", "again", "tokenizers"
    assert all(0 < row[kind]["cpu"] and 0 < row[kind]["wall"] for row in rows for kind in kinds)


def test_version(gputok):
    status, out, _ = gputok("--version")
    assert status == 0 and out == "gputok 0.1.0\n"


def test_peers_can_be_listed():
    given = ["bench", "train", "a.txt", "--against", "tokenizers", "gigabpe", "--runs", "1"]
    expected = ["bench", "train", "a.txt", "--against", "tokenizers", "--against", "gigabpe", "--runs", "1"]
    assert cli._repeated(given) == expected
    given = ["bench", "encode", "--against", "tiktoken", "a.txt"]
    assert cli._repeated(given) == given


def test_bench(folder, gputok):
    status, out, _ = gputok("bench", "train", "text.txt", "--vocab-size", 400, "--runs", 1, "--json")
    assert status == 0
    rows = json.loads(out)["rows"]
    assert [row["peer"] for row in rows] == ["gputok", "tokenizers"]
    assert rows[1]["n_equal"] == rows[1]["n_results"] == 400 - 257
