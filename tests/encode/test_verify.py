"""`verify` asks other packages for their ids, and says who differs where."""

from __future__ import annotations

import functools
import importlib.util
import json

import growing
import pytest

from gputok import PreTrainedTokenizer, Tokenizer, cli, models, pre_tokenizers, train_sentencepiece, trainers
from gputok.verify import PACKAGES, Verified, verify


@functools.cache
def gpt2() -> Tokenizer:
    return growing.KINDS["gpt2"][1]()


def said(found: Verified) -> dict[str, str]:
    json.dumps(found.to_dict())
    return {one.name: one.why_not or ("other ids" if one.n_differing else "the same") for one in found.packages}


def test_each_package_that_is_installed_gives_the_same_ids(tmp_path):
    tokenizer, path, texts = gpt2(), tmp_path / "tokenizer.json", growing.texts(11, 50)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(path))
    found = verify(texts, tokenizer, path=path)
    asked = ("encode_corpus", "tokenizers", "transformers", "tiktoken")
    assert {name: said(found)[name] for name in asked} == dict.fromkeys(asked, "the same")
    assert "opens .model files" in said(found)["sentencepiece"] and found.equal
    assert (found.n_documents, found.n_bytes) == (50, sum(len(text.encode()) for text in texts))
    tokenizer.no_truncation()
    assert found.n_tokens == sum(len(tokenizer.encode(text)) for text in texts)
    if importlib.util.find_spec("gigatoken") is None:
        assert said(verify(["a"], tokenizer, packages=["gigatoken"])) == {"gigatoken": "it is not installed"}


def test_a_folder_of_transformers_and_a_sentencepiece_model(tmp_path):
    (tmp_path / "text.txt").write_text("so it goes, it so goes\n" * 50)
    trainer = trainers.SentencePieceBpeTrainer(vocab_size=16)
    tokenizer, data = train_sentencepiece([str(tmp_path / "text.txt")], trainer)
    (tmp_path / "t.model").write_bytes(data)
    model = PreTrainedTokenizer(tokenizer)
    found = verify(["so it goes", "goes"], model, path=tmp_path / "t.model", packages=["sentencepiece", "transformers"])
    assert said(found)["sentencepiece"] == "the same" and "it opens folders" in said(found)["transformers"]
    model.save_pretrained(str(tmp_path / "folder"))
    assert said(verify(["so it goes"], model, path=tmp_path / "folder", packages=["transformers"])) == {
        "transformers": "the same"
    }


def test_the_options_of_reading(tmp_path):
    (tmp_path / "text.txt").write_text("so it goes\nso\n")
    options = {"packages": ["encode_corpus"], "batch_bytes": 9}
    assert verify(str(tmp_path / "text.txt"), gpt2(), threads=1, **options).equal
    assert verify(["so it goes", "so"], gpt2(), **options).n_documents == 2


def test_who_differs_where(monkeypatch):
    tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}, unk_token="so"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    monkeypatch.setitem(
        PACKAGES, "tiktoken", lambda *_: lambda texts: [[0, 1] if "goes" in text else [0] for text in texts]
    )
    monkeypatch.setitem(PACKAGES, "tokenizers", lambda *_: lambda _: 1 / 0)
    found = verify(["so", "so it goes", "goes"], tokenizer, packages=["tiktoken", "tokenizers"])
    differing, failing = found.packages
    assert (differing.n_differing, differing.first) == (2, ("", 2, 2, "so it goes", [2], []))
    assert "first in the texts, document 2, token 2, at 'so it goes': [], gputok [2]" in str(found)
    assert failing.why_not == "it fails in documents 1 to 3: ZeroDivisionError: 'division by zero'" and not found.equal
    assert not verify(["so"], tokenizer, packages=["tokenizers"]).equal
    with pytest.raises(ValueError, match="'tokenisers' is none of encode_corpus, tokenizers"):
        verify(["so"], tokenizer, packages=["tokenisers"])


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "text.txt").write_text("so it goes\nso\n")
    gpt2().save("t.json")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            cli.main(["verify", *arguments, "-t", "t.json"])
        return (exit.value.code, *capsys.readouterr())  # pyright: ignore[reportReturnType]

    status, out, _ = run("text.txt", "--package", "tokenizers", "--package", "transformers")
    assert status == 0 and out.startswith("2 documents, 14 bytes, ") and out.count("the same ids") == 2
    status, out, _ = run("text.txt", "--package", "tokenizers", "--json")
    assert json.loads(out)["equal"] is True
    monkeypatch.setitem(PACKAGES, "tokenizers", lambda *_: lambda texts: [[] for _ in texts])
    assert run("text.txt", "--package", "tokenizers")[0] == 1
    assert run("none.txt")[2].startswith("gputok: none.txt")
    assert run("text.txt", "--package", "other")[2].startswith("gputok: packages: 'other' is none of")
