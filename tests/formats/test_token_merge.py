"""Files of ids that several processes wrote are joined: the same bytes as of one process."""

import itertools
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gputok
from gputok import Tokenizer, corpus, models, pre_tokenizers
from gputok.token_files.formats import FORMATS

rng = random.Random(0)
TEXTS = [" ".join(rng.choices("abcdefgh", k=rng.choice([1, 5, 90, 400]))) + "\n" for _ in range(300)]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*"abcdefgh", "</s>"])}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("".join(TEXTS))
    return tmp_path / "text.txt"


def written(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def in_parts(words, text, folder, **options) -> list[str]:
    """What three processes would write."""
    parts = corpus.parts(text, part_bytes=len(text.read_bytes()) // 8)
    assert len(parts) > 6
    outputs = []
    for i in range(3):
        outputs.append(str(folder / f"part-{i}"))
        words.encode_corpus(parts[i * len(parts) // 3 : (i + 1) * len(parts) // 3], outputs[-1], **options)
    return outputs


@pytest.mark.parametrize("shard_tokens", [None, 2000])
@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bytes_as_one_process(words, text, tmp_path, name, shard_tokens):
    options = {"format": name, "eos": True}
    for folder in ("parts", "whole", "merged"):
        (tmp_path / folder).mkdir()
    outputs = in_parts(words, text, tmp_path / "parts", **options)
    shape = {"shard_tokens": shard_tokens, "shuffle": 3}
    words.encode_corpus(text, tmp_path / "whole" / "c", **options, **shape)
    made = gputok.merge_tokens(outputs, tmp_path / "merged" / "c", format=name, **shape)
    assert made.n_documents == 300 and made.n_bytes == len(text.read_bytes())
    assert written(tmp_path / "merged") == written(tmp_path / "whole")


def test_other_formats_dtypes_and_engines(words, text, tmp_path):
    """Also Parquet that an engine wrote by `corpus_encoder`, without a manifest."""
    texts = pa.table({"text": TEXTS})
    pq.write_table(words.corpus_encoder("text").of_table(texts), tmp_path / "engine.parquet")
    (ended,) = words.corpus_encoder("text", eos=True, bos="a").of_table(texts).to_pydict().values()
    assert ended == [[0, *row, 8] for row in words.corpus_encoder("text").of_table(texts)["ids"].to_pylist()]
    gputok.merge_tokens([tmp_path / "engine.parquet"] * 2, tmp_path / "m", format="megatron", dtype="int32")
    found = gputok.open_tokens(tmp_path / "m")
    ids = [ids.tolist() for ids in gputok.open_tokens(tmp_path / "engine.parquet")]
    assert [ids.tolist() for ids in found] == ids * 2 and found[0].dtype == np.int32
    gputok.merge_tokens([tmp_path / "m"], tmp_path / "again")  # the format of the input
    assert gputok.open_tokens(tmp_path / "again").format == "megatron"
    gputok.merge_tokens([tmp_path / "m"], tmp_path / "blocks", format="mds", sequence_length=50)
    flat = [*itertools.chain(*ids * 2)]
    blocks = [flat[i : i + 50] for i in range(0, len(flat) - 49, 50)]
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "blocks")] == blocks
    gputok.merge_tokens([tmp_path / "blocks"], tmp_path / "blocks again")
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "blocks again")] == blocks
    assert gputok.open_tokens(tmp_path / "blocks again").manifest.content["sequence_length"] == 50


def test_inputs_that_do_not_fit_together(words, text, tmp_path):
    other = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}))
    words.encode_corpus(iter(["a"]), tmp_path / "a", format="megatron", eos=True)
    words.encode_corpus(iter(["a"]), tmp_path / "b", format="megatron")
    other.encode_corpus(iter(["a"]), tmp_path / "c", format="megatron", eos=True)
    for name, field in (("b", "eos"), ("c", "eos|name|sha256")):
        with pytest.raises(ValueError, match=rf"{name}: tokenizer\.({field}): .* only ids of the same tokenizer"):
            gputok.merge_tokens([tmp_path / "a", tmp_path / name], tmp_path / "d", format="megatron")
    with pytest.raises(ValueError, match=r"a\.bin: is an input as well"):
        gputok.merge_tokens([tmp_path / "a"], tmp_path / "a", format="megatron")
    with pytest.raises(ValueError, match="name at least one"):
        gputok.merge_tokens([], tmp_path / "d")
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        gputok.merge_tokens([tmp_path / "nothing"], tmp_path / "d")
    assert not list(tmp_path.glob("d*"))


def test_commands(words, text, tmp_path, capsys, monkeypatch):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    words.save("t.json")

    def call(*arguments) -> str:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert exit.value.code == 0, err
        return out

    encode = ["encode", "-t", "t.json", "text.txt", "--format"]
    call(*encode, "megatron", "--eos", "auto", "-o", "m", "--shard-tokens", "3000", "--shuffle", 1, "--dtype", "int32")
    call(*encode, "mds", "--eos", "</s>", "--bos", "a", "-o", "s", "--sequence-length", 10)
    assert "megatron" in call("info", "m") and "all with the size and checksum" in call("info", "s")
    facts = json.loads(call("info", "m", "--json"))
    assert facts["documents"] == 300 and facts["eos"] == "</s>" and facts["dtype"] == "int32"
    assert len(gputok.open_tokens("s")[0]) == 10
    shards = [f"m_0000{i}.bin" for i in range(2)]
    n = sum(len(gputok.open_tokens(shard)) for shard in shards)
    assert f"n: {n} documents of 2 inputs" in call("merge-tokens", *shards, "-o", "n", "--format", "datatrove")
    call("merge-tokens", "m", "-o", "n.parquet")
    expected = [words.decode(ids.tolist()) for ids in gputok.open_tokens("n.parquet")]
    assert call("decode", "-t", "t.json", "m") == call("decode", "-t", "t.json", "n.parquet") == "".join(expected)
    # A tokenizer_config.json beside the tokenizer says which token is its own
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "h"}}))
    call(*encode, "npy", "--eos", "auto", "-o", "h.npy")
    assert gputok.open_tokens("h.npy").manifest.content["tokenizer"]["eos"]["token"] == "h"
    (tmp_path / "m_00000.idx").write_bytes(b"")
    with pytest.raises(SystemExit):
        cli.main(["info", "m"])
    assert "m_00000.idx: has 0 bytes; the manifest says" in capsys.readouterr().err
