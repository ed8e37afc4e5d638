"""What a newcomer does first: commands on a small file, a mistyped name, an interruption, another locale."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import tiktoken
import tiktoken.load
import tokenizers
from children import child

import gputok
from gputok import Tokenizer, cli, models, pre_tokenizers, save_tiktoken
from gputok.automaton import PATTERNS
from gputok.cli import entry
from gputok.cli.help import whole_number
from gputok.cli.options import amount, speed
from gputok.formats.tiktoken import from_tiktoken

LINES = [f"line {i}: so it goes, so it goes\n" for i in range(500)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("".join(LINES))
    tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2, "漢": 5, "?": 6}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "t.json"))
    return folder


@pytest.fixture
def run(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            cli.main(list(arguments))
        return (exit.value.code, *capsys.readouterr())

    return call


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gputok", *arguments]
    return subprocess.run(command, capture_output=True, env=os.environ | variables, timeout=300)


def test_a_long_file_is_not_shown_whole(run):
    status, out, err = run("show", "text.txt", "-t", "t.json")
    assert status == 0 and out.count("\n") == 100
    assert err == "gputok: these are the first 100 documents; --lines 0 shows all\n"
    assert run("show", "text.txt", "-t", "t.json", "--lines", "3")[1].count("\n") == 3
    status, out, err = run("show", "text.txt", "-t", "t.json", "--lines", "0")
    assert out.count("\n") == len(LINES) and err == ""
    status, out, err = run("show", "text.txt", "-t", "t.json", "-n", str(len(LINES)))
    assert out.count("\n") == len(LINES) and err == ""


def test_small_amounts_are_not_zero(run):
    assert [amount(n) for n in (0, 999, 1000, 999_900, 1_000_000, 34e6)] == [
        *("0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "34.0 MB")
    ]
    assert [speed(n, 2.0) for n in (500, 50_000, 3e6)] == ["250 bytes/s", "25.0 kB/s", "2 MB/s"]
    assert [amount(n) for n in (999e6, 1.5e9, 2e12)] == ["999.0 MB", "1.5 GB", "2.0 TB"] and speed(5e9, 2) == "2.5 GB/s"
    pathlib.Path("small.txt").write_text("so it goes\n")
    out = run("encode", "small.txt", "-t", "t.json", "-o", "ids.npy")[1]
    assert "11 bytes" in out and " 0.0 MB" not in out and " 0 MB/s" not in out
    out = run("train", "small.txt", "-o", "small.json", "--vocab-size", "270")[1]
    assert " 0.0 MB" not in out and " 0 MB/s" not in out


def test_unknown_ids_are_an_error(run):
    pathlib.Path("ids.txt").write_text("0 1 2\n0 7 1\n")
    status, out, err = run("decode", "ids.txt", "-t", "t.json")
    assert status == 1 and out.startswith("so it goes")
    assert err == (
        "gputok: ids.txt: the id 7 is not in the vocabulary of 5 tokens; was the text encoded with another tokenizer?\n"
    )
    for number in ("3", "-1", "99999999999"):  # a gap, and beyond both ends
        pathlib.Path("ids.txt").write_text(f"{number}\n")
        assert f"the id {number} is not in the vocabulary" in run("decode", "ids.txt", "-t", "t.json")[2]
    pathlib.Path("ids.txt").write_text("\n5 0\n")
    assert run("decode", "ids.txt", "-t", "t.json")[0] == 0


def test_a_missing_file_is_named_as_it_was_typed(run):
    for name in ("nope.npy", "nope.bin", "nope.txt"):
        status, _, err = run("decode", name, "-t", "t.json")
        assert status == 1 and name in err and ".rows" not in err


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_any_locale_prints_any_text(trained, variables, monkeypatch):
    monkeypatch.chdir(trained)
    done = process("show", "so 漢", "-t", "t.json", **variables)
    assert (done.returncode, done.stdout.decode()) == (0, "so│ │漢\n"), done.stderr
    done = process("show", "so", "-t", "漢.json", **variables)
    assert done.returncode == 1 and "漢.json" in done.stderr.decode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_without_a_shell(run, shell, monkeypatch):
    """As in a Dockerfile, where no parent of the process is a shell."""
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: None, raising=False)
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: None, raising=False)
    status, out, _ = run("--show-completion", shell)
    assert status == 0 and "_GPUTOK_COMPLETE" in out
    status, out, err = run("--show-completion", shell + "y")
    assert status == 1 and not out and f"{shell}y: expected one of bash, zsh, fish" in err


def test_a_text_is_encoded_and_ids_are_decoded_without_a_file(run):
    assert run("encode", "so it goes", "-t", "t.json") == (0, "0 1 2\n", "")
    assert run("encode", "so it\ngoes", "it", "-t", "t.json") == (0, "0 1 2\n1\n", "")  # a text is one document
    for ids in (("0", "1", "2"), ("[0, 1, 2]",), ("0,1,2",)):
        assert run("decode", *ids, "-t", "t.json") == (0, "so it goes\n", "")
    assert "the id 3 is not in the vocabulary" in run("decode", "0", "3", "-t", "t.json")[2]
    assert run("decode", "0", "x", "-t", "t.json")[::2] == (1, "gputok: 0 x: expected one file, or ids such as 1 2 3\n")
    assert "so it: no such file or folder" in run("encode", "so it", "text.txt", "-t", "t.json")[2]
    assert "txet.txt: no such file or folder; is it text.txt?" in run("encode", "txet.txt", "-t", "t.json")[2]
    # With an output, a mistyped name is no text
    status, _, err = run("encode", "so", "-t", "t.json", "-o", "none.npy")
    assert (status, err) == (1, "gputok: so: no such file or folder\n") and not os.path.exists("none.npy")
    pathlib.Path("7").write_text("0 1\n")
    assert run("decode", "7", "-t", "t.json")[1] == "so it"


def test_encode_says_what_its_time_went_to(run):
    facts = json.loads(run("encode", "text.txt", "-t", "t.json", "-o", "timed.npy", "--json")[1])
    assert [*facts["seconds_of"]] == ["reading", "encoding", "writing"]
    assert 0 < sum(facts["seconds_of"].values()) <= facts["seconds"] + 0.05
    pathlib.Path("long.txt").write_text("so it goes\n" * 300_000)  # threads read it themselves
    slow = json.loads(run("encode", "long.txt", "-t", "t.json", "-o", "l.npy", "--json", "--threads", "2")[1])
    assert min(slow["seconds_of"].values()) > 0
    out = run("encode", "text.txt", "-t", "t.json", "-o", "timed2.npy")[1]
    assert re.search(r" s \(reading \d+\.\d\d, encoding \d+\.\d\d, writing \d+\.\d\d\), ", out)


def test_a_slow_source_is_reading_and_a_slow_disk_writing(tmp_path, monkeypatch):
    tokenizer = Tokenizer(models.WordLevel({"so": 0}, unk_token="so"))

    def slowly():
        time.sleep(0.3)
        yield "so"

    reading, encoding, writing = tokenizer.encode_corpus(slowly(), str(tmp_path / "a.npy")).seconds
    assert reading >= 0.29 > max(encoding, writing)
    from gputok.pipeline.encode import write

    tallied = write._EncodedCorpus.tallied

    def kept(self, skip):
        for batch in tallied(self, skip):
            yield batch
            time.sleep(0.3)

    monkeypatch.setattr(write._EncodedCorpus, "tallied", kept)
    reading, encoding, writing = tokenizer.encode_corpus(iter(["so"]), str(tmp_path / "b.npy")).seconds
    assert writing >= 0.29 > max(encoding, reading)


def test_ids_are_shown_below_each_document(run):
    assert run("show", "--ids", "so it goes", "-t", "t.json")[1] == "so│ │it│ │goes\n0 1 2\n"


def test_info_says_what_a_tokenizer_is(run):
    theirs = tokenizers.Tokenizer.from_file("t.json")
    theirs.add_special_tokens(["<s>"])
    theirs.add_tokens(["plus"])
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS["o200k"]), "isolated")
    theirs.normalizer = tokenizers.normalizers.NFC()
    os.makedirs("model", exist_ok=True)
    theirs.save("model/tokenizer.json")
    facts = json.loads(run("info", "model/tokenizer.json", "--json")[1])
    assert json.loads(run("info", "model", "--json")[1]) == facts | {"tokenizer": "model"}
    assert facts["model"] == type(theirs.model).__name__ and facts["tokens"] == theirs.get_vocab_size()
    assert facts["tokens of the model"] == theirs.get_vocab_size(with_added_tokens=False)
    added = {token.content: number for number, token in theirs.get_added_tokens_decoder().items()}
    assert facts["special tokens"] | facts["added tokens"] == added and [*facts["added tokens"]] == ["plus"]
    assert facts["pattern"] == [f"o200k: {PATTERNS['o200k']}"] and facts["normalizer"] == "NFC()"
    run("encode", "text.txt", "-t", "model/tokenizer.json", "-o", "some.npy")
    assert json.loads(run("info", "some.npy", "--json")[1])["tokenizer sha256"] == facts["sha256"]
    out = run("info", "model")[1]
    assert f"1: '<s>' {theirs.token_to_id('<s>')}\n" in out and 'device="cpu", short texts' in out
    assert run("info", "text.txt")[0] == 1


def test_numbers_of_tokens_have_a_unit(run):
    for given, size in {"0.3k": 300, "300": 300, "0.27k": 270, "3_00": 300}.items():
        assert run("train", "text.txt", "--vocab-size", given, "-o", "n.json")[0] == 0
        assert Tokenizer.from_file("n.json").get_vocab_size() <= size
    assert [whole_number(text) for text in ("32k", "1.5M", "128K", "32,000")] == [32_000, 1_500_000, 128_000, 32_000]
    for wrong in ("32x", "k", "-1", "1.5", "0.0005k", "", "1e5"):
        status, _, err = run("train", "text.txt", f"--vocab-size={wrong}", "-o", "n.json")
        assert status == 2 and "expected a number such as 32000 or 32k" in err
    assert run("truncate", "-t", "n.json", "--vocab-size", "0.26k", "-o", "less.json")[0] == 0


def test_errors_have_no_hint_for_python(run):
    pathlib.Path("columns.csv").write_text("a,b\n1,2\n")
    said = run("encode", "columns.csv", "-t", "t.json", "-o", "none.npy")[2]
    assert "--column" in said and "column=" not in said
    assert run("train", "nope.txt")[2] == "gputok: nope.txt: no such file or folder\n"
    with pytest.raises(FileNotFoundError) as raised:
        Tokenizer.from_file("t.json").encode_corpus(["nope.txt"])
    assert "iter(texts)" in raised.value.__notes__[0]


def test_no_help_says_a_default_twice(run):
    for command in ("train", "count", "encode", "tokens", "extend", "prune", "sizes", "report", "show", "bench train"):
        out = " ".join(run(*command.split(), "--help")[1].split())
        assert not re.search(r"\[default[^]]*\] \[default", out), command


def test_an_interrupted_training_says_what_is_kept():
    assert entry._kept(["train", "a", "--resume", "work"]) == "the same command goes on from here"
    resume = "; with --resume FOLDER, what is counted would be kept"
    assert entry._kept(["train", "a"]) == "nothing is kept, and the output is as it was" + resume
    for words in (["train", "a", "--from-counts"], ["train", "a", "--model=sentencepiece-bpe"], ["prune", "a"]):
        assert entry._kept(words) == "nothing is kept, and the output is as it was"
    assert entry._kept(["show", "a"]) == entry._kept([]) == ""


def test_which_commands_go_on():
    def resumes(words):
        return entry._kept(words) == "the same command goes on from here"

    assert resumes(["encode", "a", "-o", "ids.npy"]) and resumes(["count", "a", "--resume=work"])
    assert resumes(["train", "a", "--resume", "work"]) and resumes(["encode", "a", "--output=ids.npy"])
    assert not any(map(resumes, ([], ["encode", "a"], ["encode", "a", "-o", "-"], ["train", "a"], ["show", "a"])))


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupted_command_says_that_it_goes_on(trained, tmp_path):
    (tmp_path / "long.txt").write_text("so it goes\n" * 3_000_000)
    command = [sys.executable, "-m", "gputok", "encode", "long.txt", "-t", str(trained / "t.json"), "-o", "ids.npy"]
    with child(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as started:
        until = time.monotonic() + 200
        while time.monotonic() < until and not any(name.startswith(".ids.npy") for name in os.listdir(tmp_path)):
            time.sleep(0.02)
        started.send_signal(signal.SIGINT)
        _, errors = started.communicate(timeout=200)
    if started.returncode != 0:  # it was not done yet
        assert started.returncode == 130 and errors.endswith("gputok: stopped; the same command goes on from here\n")


def test_the_demo_shows_no_folder():
    from gputok import demo

    shown = demo.run(300, 1)
    assert sys.prefix not in shown and "of the standard library of Python 3." in shown


def test_tokenizers_in_place_has_a_file():
    code = "import gputok; gputok.install_as_tokenizers(); import tokenizers as t; print(t.__file__ == gputok.__file__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_gpt_4os_own_tokenizer_becomes_a_tiktoken_file(tmp_path):
    """Its Split removes what is between matches, which are words."""
    pattern = r"[^\s]+|\s+"
    encoding = tiktoken.Encoding(
        "mine", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={"<end>": 256}
    )
    tokenizer = from_tiktoken(encoding)
    own = pre_tokenizers.Split(gputok.Regex(pattern), "removed", invert=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([own, byte_level])
    options = save_tiktoken(tokenizer, tmp_path / "mine.tiktoken")
    ranks = tiktoken.load.load_tiktoken_bpe(str(tmp_path / "mine.tiktoken"))
    again = tiktoken.Encoding("again", mergeable_ranks=ranks, **options)
    for text in ("so it  goes", "漢 <end>é"):
        assert again.encode(text, allowed_special="all") == tokenizer.encode(text).ids
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(gputok.Regex(" "), "removed"), byte_level])
    with pytest.raises(ValueError, match="removed and inverted"):
        save_tiktoken(tokenizer, tmp_path / "other.tiktoken")
