"""The script that stands in for Megatron-LM's `preprocess_data.py`."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import tokenizers

import gputok
from gputok.cli import preprocess_data
from gputok.recipes import recipe

rng = random.Random(0)
TEXTS = [" ".join(rng.choices(["low", "lower", "newest", "é"], k=rng.choice([0, 3, 40]))) for _ in range(200)]
TITLES = [text[:9] for text in TEXTS]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = zip(TEXTS, TITLES, strict=True)
    lines = [json.dumps({"text": text, "title": title}) + "\n" for text, title in rows]
    (tmp_path / "web.json").write_text("".join(lines))
    tokenizer, trainer = recipe("bpe", vocab_size=300)
    trainer.special_tokens = ["<|endoftext|>"]
    tokenizer.train_from_iterator(TEXTS, trainer, progress=False)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save("tokenizer/tokenizer.json")
    tokenizer.model.save("tokenizer")
    return tmp_path


def upstream(texts, eod: int | None) -> list[list[int]]:
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer/tokenizer.json")
    found = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return [[*ids, *([] if eod is None else [eod])] if ids else [] for ids in found]


def test_the_files_of_each_key(folder):
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    preprocess_data.main(
        "--input web.json --json-keys text title --output-prefix web --tokenizer-type HuggingFaceTokenizer "
        "--tokenizer-model tokenizer --append-eod --workers 2".split()
    )
    eod = tokenizers.Tokenizer.from_file("tokenizer/tokenizer.json").token_to_id("<|endoftext|>")
    for key, texts in (("text", TEXTS), ("title", TITLES)):
        found = gputok.open_tokens(f"web_{key}_document")
        assert found.format == "megatron" and [ids.tolist() for ids in found] == upstream(texts, eod)


def test_gpt2_files(folder):
    preprocess_data.main(
        "--input web.json --output-prefix web --tokenizer-type GPT2BPETokenizer --vocab-file tokenizer/vocab.json "
        "--merge-file tokenizer/merges.txt --workers 1".split()
    )
    found = gputok.open_tokens("web_text_document")
    assert [ids.tolist() for ids in found] == upstream(TEXTS, None)
    assert np.fromfile("web_text_document.bin", "<u2").tolist() == [i for ids in upstream(TEXTS, None) for i in ids]


def test_errors(folder, capsys):
    begin = "--input web.json --output-prefix web --tokenizer-type"
    for arguments, message in (
        (f"{begin} GPT2BPETokenizer --vocab-file v", "GPT2BPETokenizer needs --merge-file"),
        (f"{begin} HuggingFaceTokenizer", "HuggingFaceTokenizer needs --tokenizer-model"),
        (f"{begin} HuggingFaceTokenizer --tokenizer-model none.json", "none.json"),
        (f"{begin} NullTokenizer", "invalid choice: 'NullTokenizer'"),
        (f"{begin} HuggingFaceTokenizer --tokenizer-model t --split-sentences", "--split-sentences"),
    ):
        with pytest.raises(SystemExit) as exit:
            preprocess_data.main(arguments.split())
        assert message in f"{exit.value}{capsys.readouterr().err}"


def test_as_a_script(folder):
    command = [sys.executable, "-m", "gputok.cli.preprocess_data", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "--append-eod" in done.stdout
