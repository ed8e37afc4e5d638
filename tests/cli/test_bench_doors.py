"""`gputok bench latency --doors`: prompts, batches and first texts, each package in a process of its own."""

import lzma

import pytest

from gputok import Tokenizer, models


def test_doors_need_much_text(tmp_path):
    from gputok.bench import doors

    path, text = tmp_path / "tokenizer.json", tmp_path / "text.txt"
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.save(str(path))
    text.write_text("a few words\n" * 100)
    with pytest.raises(ValueError, match=r"the text has 1,200 characters, and at least 10,000,000 are needed"):
        doors.doors([str(path)], str(text))
    with pytest.raises(ValueError, match=r"--peer /no/python can't be run: No such file"):
        doors._process("/no/python", "tokenizers", str(path), str(text))


def test_table_of_doors():
    from gputok.bench.doors import Door, table

    rows = [Door("t", "11 characters, us", "gputok", 0.5), Door("t", "11 characters, us", "tokenizers 1.0", 1.0)]
    lines = table([*rows, Door("t", "first, s", "tokenizers 1.0", 0.25)]).splitlines()
    assert lines[0] == "t: (1) gputok, (2) tokenizers 1.0"
    assert lines[1].split() == ["11", "characters,", "us", "0.5", "1"]
    assert lines[2].split() == ["first,", "s", "-", "0.25"]


@pytest.mark.full
def test_doors(test_data, tmp_path):
    from gputok.bench import doors

    name = "minilm-bert.json"
    path, text = tmp_path / name, tmp_path / "en.txt"
    path.write_bytes(lzma.decompress((test_data / "tokenizers" / f"{name}.xz").read_bytes()))
    text.write_bytes(lzma.decompress((test_data / "data" / "en.txt.xz").read_bytes()))
    found = doors.doors([str(path)], str(text))  # raises if the ids differ
    assert {door.package for door in found} >= {"gputok", "gputok as tokenizers"}
    assert all(door.value > 0 for door in found)
