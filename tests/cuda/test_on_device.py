"""Ids that stay on a device: those of the CPU, in arrays that other libraries take without a copy."""

import itertools

import numpy as np
import pytest
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import encode_corpus, split

import gputok
from gputok import AddedToken, backend, models, normalizers, processors
from gputok.pipeline.encode import on_device
from tests.cuda.test_device_stages import byte_level
from tests.emulation import stand_in
from tests.emulation.devices import KINDS, device_of
from tests.kernels.test_kernels import byte_model, random_documents

DOCUMENTS = [
    *random_documents(np.random.default_rng(3), 40).strings(),
    "",
    "<s>the",
    "<s>",
    "x" * 50,
    "nai\u0308ve e<s>\u0301 é",
    "",
]


@pytest.fixture(params=KINDS)
def device(request, monkeypatch):
    found = device_of(request.param, 1, cuda.Sizes(batch=300))
    monkeypatch.setattr(backend, "choose", lambda *_: backend.Backend("cuda", "a test", (found,)))
    return found


def tokenizer(**parts) -> gputok.Tokenizer:
    found = byte_level(byte_model([("t", "h"), ("th", "e"), ("Ġ", "the")]))
    found.add_special_tokens([AddedToken("<s>"), AddedToken("</s>")])
    for name, part in parts.items():
        setattr(found, name, part)
    return found


def rows_of(device, found) -> list[list[int]]:
    with device.active():
        ids, rows = device.download(found.ids), device.download(found.rows)
    assert ids.dtype == rows.dtype == np.int32 and found.n_documents == len(rows) - 1
    return [ids[a:b].tolist() for a, b in itertools.pairwise(rows)]


def template(*items) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=[*items], special_tokens=[("<s>", tokenizer().token_to_id("<s>")), ("</s>", 256)]
    )


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"normalizer": normalizers.Lowercase()},
        {"normalizer": normalizers.NFC()},
        {"post_processor": template("<s>", "$A")},
        {"post_processor": template("<s>", "<s>", "$A", "</s>")},
    ],
    ids=["plain", "normalizer", "NFC", "one before", "before and after"],
)
def test_ids_are_those_of_the_cpu(parts, device):
    ours = tokenizer(**parts)
    expected = [encoding.ids for encoding in ours.encode_batch(DOCUMENTS)]
    assert rows_of(device, ours.encode_on_device(DOCUMENTS)) == expected
    plain = [encoding.ids for encoding in ours.encode_batch(DOCUMENTS, add_special_tokens=False)]
    assert rows_of(device, ours.encode_on_device(iter(DOCUMENTS), add_special_tokens=False)) == plain
    assert rows_of(device, ours.encode_on_device([])) == []


def test_a_corpus_stays_on_the_device(device):
    ours = tokenizer()
    batches = [*ours.encode_corpus(iter(DOCUMENTS * 3), "cuda", eos="</s>")]
    end = ours.token_to_id("</s>")
    expected = [[*encoding.ids, end] for encoding in ours.encode_batch(DOCUMENTS * 3)]
    assert [row for batch in batches for row in rows_of(device, batch)] == expected
    with pytest.raises(ValueError, match="dtype='uint16': is for files"):
        ours.encode_corpus(iter(DOCUMENTS), "cuda", dtype="uint16")


def test_other_libraries_take_the_arrays(device):
    found = tokenizer().encode_on_device(["the the", "a"])
    if device.name == "emulated":
        assert np.shares_memory(np.from_dlpack(found.ids), found.ids)
    assert hasattr(found.ids, "__dlpack__") and hasattr(found.rows, "__dlpack__")


@pytest.mark.parametrize("error", [MemoryError("no room"), split.TooLong(0, 9)])
def test_text_that_the_device_can_not_encode_is_copied(error, device, monkeypatch):
    def refuse(*arguments):
        raise error

    ours = tokenizer(post_processor=template("<s>", "$A"))
    monkeypatch.setattr(encode_corpus, "encode_documents", refuse)
    with pytest.warns(UserWarning, match="some text is encoded on the CPU: "):
        found = ours.encode_on_device(DOCUMENTS)
    assert rows_of(device, found) == [encoding.ids for encoding in ours.encode_batch(DOCUMENTS)]


@pytest.mark.parametrize(
    "parts",
    [
        {"model": models.WordLevel({"the": 0, "<unk>": 1}, unk_token="<unk>")},
        {"post_processor": template("$A", "<s>", "$A")},
    ],
    ids=["model", "text twice"],
)
def test_other_tokenizers_are_encoded_by_the_cpu_with_a_warning(parts, device):
    ours = tokenizer(**parts)
    with pytest.warns(UserWarning, match="the CPU encodes the texts: "):
        found = ours.encode_on_device(DOCUMENTS)
    assert rows_of(device, found) == [encoding.ids for encoding in ours.encode_batch(DOCUMENTS)]


def test_names_of_devices():
    assert [*map(on_device.is_device, ("cuda", "cuda:3", "cuda.npy", "cpu", None))] == [
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(ValueError, match='ids stay on "cuda" or "cuda:N", not on device='):
        tokenizer().encode_on_device(["a"], device="cpu")


def test_the_memory_of_ids_is_never_that_of_a_lane(monkeypatch):
    """Through CuPy: the arrays outlive the lane, and are complete when it is left."""
    with stand_in.installed(monkeypatch):
        ours = tokenizer(post_processor=template("<s>", "$A"))
        expected = [encoding.ids for encoding in ours.encode_batch(DOCUMENTS)]
        found = [ours.encode_on_device(DOCUMENTS) for _ in range(3)]
        assert stand_in.pending() == 0
        card = backend.choose("cuda").devices[0]
        assert all(rows_of(card, each) == expected for each in found)
        del found
        homes = {home[1] for home, blocks in stand_in.free.items() if blocks}
        assert id(stand_in.Stream.null) in homes
