"""`gputok convert` and `gputok tokens`, and tokenizers of every format as `-t`."""

import pytest

import gputok
from gputok import Tokenizer
from gputok.cli import main
from gputok.recipes import recipe

TEXT = "the house of the words, naïve 漢字\nand the house\n"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    tokenizer, trainer = recipe("bpe", vocab_size=300, pattern="cl100k", special_tokens=[])
    trainer.show_progress = False
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(path):
    opened = gputok.AutoTokenizer.from_pretrained(path)
    return opened.backend_tokenizer.encode(TEXT).ids


@pytest.mark.parametrize(("out", "again"), [("copy.tiktoken", "copy.json"), ("my-tokenizer", "copy.json")])
def test_a_tokenizer_goes_to_another_format_and_back(folder, run, out, again):
    code, printed, _ = run("convert", "tokenizer.json", out)
    assert code == 0 and printed.startswith(out)
    pattern = ["--pattern", "cl100k"] if out.endswith(".tiktoken") else []
    assert ("tiktoken.Encoding" in printed) == bool(pattern)
    assert run("convert", out, again, *pattern)[0] == 0
    assert Tokenizer.from_file(again).encode(TEXT).ids == ids("tokenizer.json")


def test_what_tiktoken_is_told_gives_the_same_ids(folder, run):
    tiktoken = pytest.importorskip("tiktoken")
    pytest.importorskip("tiktoken.load")
    _, printed, _ = run("convert", "tokenizer.json", "copy.tiktoken")
    told = printed.partition("to open it: ")[2]
    assert eval(told, {"tiktoken": tiktoken}).encode(TEXT) == ids("tokenizer.json")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sentencepiece_model_is_opened_and_written(folder, run, kind):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        input="a.txt", model_prefix="x", vocab_size=32, model_type=kind, hard_vocab_limit=False, minloglevel=2
    )
    assert run("convert", "x.model", "x.json")[0] == 0
    assert run("convert", "x.json", "y.model")[0] == 0
    expected = sentencepiece.SentencePieceProcessor(model_file="x.model").encode("the house")
    for path in ("x.model", "y.model", "x.json"):
        code, printed, _ = run("encode", "a.txt", "-t", path)
        assert code == 0 and printed.startswith(" ".join(map(str, expected[:2])))


def test_an_unknown_ending_is_refused_before_anything_is_read(run, tmp_path):
    code, _, error = run("convert", "nothing.json", tmp_path / "x.bin")
    assert code == 1 and ".json, .gputok, .model or .tiktoken" in error
    code, _, error = run("convert", "nothing.json", tmp_path / "x.json")
    assert code == 1 and "nothing.json" in error and not (tmp_path / "x.json").exists()


def test_tokens_are_counted(folder, run):
    n = sum(len(Tokenizer.from_file("tokenizer.json").encode(line).ids) for line in TEXT.splitlines(True))
    n_bytes = len(TEXT.encode())
    each = f"{n_bytes / n:.2f} bytes a token, {n / len(TEXT.split()):.2f} tokens a word"
    command = "tokens", "a.txt", "-t", "tokenizer.json", "--lines"
    assert run(*command)[1] == f"{n:,} tokens in 1 file, 2 documents, {n_bytes} bytes, {each}\n"
    assert f'"tokenizer.json": {n}' in run(*command, "--json")[1]


def test_a_vocabulary_that_text_cannot_fill_is_said(folder, run):
    code, _, error = run("train", "a.txt", "--vocab-size", "5000", "-o", "new.json")
    assert code == 0 and "not the 5,000 of --vocab-size" in error
    assert "note" not in run("train", "a.txt", "--vocab-size", "260", "-o", "new.json")[2]


def test_help_names_values_for_people(run):
    for command in (["train"], ["encode"], ["tokens"], ["bench", "encode"]):
        printed = run(*command, "--help")[1]
        assert not any(kind in printed for kind in ("<str", "<int", "<list", "list[str]", "int range"))
