"""Files of ids against the frameworks themselves: their readers give the same ids, their writers the same bytes.

datatrove, mosaicml-streaming, litdata and megatron-core (the last three with PyTorch) are no part of the `test` extra:
mosaicml-streaming wants an older NumPy than gputok's tests have. Each test skips without its framework.
"""

import itertools
import json
import random

import numpy as np
import pytest

import gputok
from gputok import Tokenizer, models, pre_tokenizers

pytestmark = pytest.mark.full

rng = random.Random(0)
TEXTS = [" ".join(rng.choices("abcdefgh", k=rng.choice([0, 1, 5, 90, 400]))) for _ in range(300)]
TEXTS += [" ".join("abcdefgh" * 9000)]
EOS = 8


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*"abcdefgh", "</s>"])}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    """The ids of each document, by `tokenizers`."""
    tokenizers = pytest.importorskip("tokenizers")
    upstream = tokenizers.Tokenizer(tokenizers.models.WordLevel({token: i for i, token in enumerate("abcdefgh")}))
    upstream.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return [encoding.ids for encoding in upstream.encode_batch(TEXTS)]


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_megatron_core(words, expected, tmp_path, dtype):
    module = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    words.encode_corpus(iter(TEXTS), tmp_path / "ours", format="megatron", eos=True, dtype=dtype)
    # As its tools/preprocess_data.py with --append-eod
    builder = module.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=np.dtype(dtype).type)
    ended = [[*ids, EOS] if ids else [] for ids in expected]
    torch = pytest.importorskip("torch")
    for ids in ended:
        if ids:
            builder.add_item(torch.tensor(ids))
        builder.end_document()
    builder.finalize(str(tmp_path / "theirs.idx"))
    for ending in (".bin", ".idx"):
        ours, theirs = (tmp_path / f"{name}{ending}" for name in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
    dataset = module.IndexedDataset(str(tmp_path / "ours"))
    sequences = [dataset[i].tolist() for i in range(len(dataset))]
    documents = dataset.document_indices.tolist()
    assert [[*itertools.chain(*sequences[a:b])] for a, b in itertools.pairwise(documents)] == ended
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "theirs")] == ended


@pytest.fixture
def documents():
    data = pytest.importorskip("datatrove.data")
    return [data.Document(text, str(i)) for i, text in enumerate(TEXTS)]


def test_datatrove(words, documents, expected, tmp_path):
    steps = pytest.importorskip("datatrove.pipeline.tokens")
    words.save(str(tmp_path / "t.json"))
    theirs = tmp_path / "theirs"
    for shuffle in (False, True):
        step = steps.DocumentTokenizer(
            str(theirs), str(tmp_path / "t.json"), eos_token="</s>", shuffle_documents=shuffle, seed=5
        )
        step.run(iter(documents))
        ours = tmp_path / f"{shuffle}"
        words.encode_corpus(iter(TEXTS), ours, format="datatrove", eos="</s>", shuffle=5 if shuffle else None)
        name = "00000_00000_doc_shuffled.ds" if shuffle else "00000_unshuffled.ds"
        mine = f"{shuffle}_00000_{'' if shuffle else 'un'}shuffled.ds"
        for ending in ("", ".index"):
            assert (tmp_path / f"{mine}{ending}").read_bytes() == (theirs / f"{name}{ending}").read_bytes()
        metadata = [
            path.read_text().split("\n") for path in (tmp_path / f"{mine}.metadata", theirs / f"{name}.metadata")
        ]
        assert metadata[0][1:] == metadata[1][1:]
        assert [lines[0].rpartition("|")[2] for lines in metadata] == ["2", "2"]
    found = gputok.open_tokens(theirs / "00000_00000_doc_shuffled.ds", "datatrove")
    order = np.random.default_rng(5).permutation(len(TEXTS))
    assert [ids.tolist() for ids in found] == [[*expected[i], EOS] for i in order]


def test_the_megatron_files_of_datatrove(words, documents, tmp_path):
    steps = pytest.importorskip("datatrove.pipeline.tokens")
    words.save(str(tmp_path / "t.json"))
    steps.MegatronDocumentTokenizer(str(tmp_path), "theirs", str(tmp_path / "t.json"), "</s>").run(
        iter(document for document in documents if document.text)
    )
    words.encode_corpus(iter([text for text in TEXTS if text]), tmp_path / "ours", format="megatron", eos=True)
    for ending in (".bin", ".idx"):
        theirs = (tmp_path / f"theirs_00000_tokens{ending}").read_bytes()
        assert (tmp_path / f"ours{ending}").read_bytes() == theirs


def test_the_dataset_of_datatrove(words, expected, tmp_path):
    module = pytest.importorskip("datatrove.utils.dataset")
    if not hasattr(module, "DatatroveFileDataset"):
        pytest.skip("needs PyTorch")
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="datatrove", eos=True)
    dataset = module.DatatroveFileDataset(str(tmp_path / "c_00000_unshuffled.ds"), 63)
    flat = [*itertools.chain(*([*ids, EOS] for ids in expected))]
    for i in (0, 1, len(dataset) - 1):
        assert dataset[i]["input_ids"].tolist() == flat[64 * i : 64 * i + 64]


@pytest.mark.parametrize("length", [None, 128])
def test_streaming(words, expected, tmp_path, length):
    streaming = pytest.importorskip("streaming")
    words.encode_corpus(iter(TEXTS), tmp_path / "ours", format="mds", eos=True, sequence_length=length)
    samples = [[*ids, EOS] for ids in expected]
    if length:
        flat = [*itertools.chain(*samples)]
        samples = [flat[i : i + length] for i in range(0, len(flat) - length + 1, length)]
    kind = f"ndarray:int32:{length}" if length else "ndarray:int32"
    with streaming.MDSWriter(columns={"tokens": kind}, out=str(tmp_path / "theirs"), hashes=[]) as writer:
        for ids in samples:
            writer.write({"tokens": np.array(ids, np.int32)})
    names = [path.name for path in sorted((tmp_path / "theirs").iterdir())]
    assert names == ["index.json", "shard.00000.mds"]
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    dataset = streaming.StreamingDataset(local=str(tmp_path / "ours"), batch_size=1)
    assert [dataset[i]["tokens"].tolist() for i in range(len(dataset))] == samples
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "theirs")] == samples


def test_several_shards_of_streaming(words, expected, tmp_path):
    streaming = pytest.importorskip("streaming")
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="mds", shard_tokens=3000, shuffle=1)
    dataset = streaming.StreamingDataset(local=str(tmp_path / "c"), batch_size=1)
    found = [dataset[i]["tokens"].tolist() for i in range(len(dataset))]
    assert sorted(found) == sorted(ids for ids in expected if ids)


@pytest.mark.parametrize("dtype", ["int32", "uint16"])
def test_litdata(words, expected, tmp_path, dtype):
    litdata = pytest.importorskip("litdata")
    from litdata.streaming.item_loader import TokensLoader
    from litdata.streaming.writer import BinaryWriter

    torch = pytest.importorskip("torch")
    words.encode_corpus(iter(TEXTS), tmp_path / "ours", format="litdata", eos=True, dtype=dtype)
    writer = BinaryWriter(str(tmp_path / "theirs"), chunk_bytes=1 << 26, item_loader=TokensLoader(32))
    for i, ids in enumerate(expected):
        writer.add_item(i, torch.tensor([*ids, EOS], dtype=getattr(torch, dtype)))
    writer.done()
    writer.merge()
    assert (tmp_path / "ours" / "chunk-0-0.bin").read_bytes() == (tmp_path / "theirs" / "chunk-0-0.bin").read_bytes()
    ours, theirs = (json.loads((tmp_path / name / "index.json").read_text()) for name in ("ours", "theirs"))
    assert ours["chunks"] == theirs["chunks"]
    assert ours["config"] == {key: theirs["config"][key] for key in ours["config"]}
    dataset = litdata.StreamingDataset(str(tmp_path / "ours"), item_loader=TokensLoader(32), shuffle=False)
    flat = [*itertools.chain(*([*ids, EOS] for ids in expected))]
    assert len(dataset) == len(flat) // 32
    assert [dataset[i].tolist() for i in range(0, len(dataset), 7)] == [
        flat[32 * i : 32 * i + 32] for i in range(0, len(dataset), 7)
    ]
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "theirs")] == [[*ids, EOS] for ids in expected]
