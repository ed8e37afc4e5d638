"""Ids that stay on a device: those of the CPU, in arrays that other libraries take without a copy."""

import gc
import itertools
import operator
import weakref

import numpy as np
import pytest
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import encode_corpus, split

import gputok
from gputok import AddedToken, backend, models, normalizers, processors
from gputok.pipeline.encode import devices as on_device
from gputok.text.pieces import TextBatch
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


@pytest.fixture(autouse=True)
def slow_cpu(monkeypatch):
    """By the model of time, no text is so short that the CPU encodes it sooner."""
    monkeypatch.setattr(on_device, "_DEVICE_SECONDS", 0)


@pytest.fixture(params=[0, 1 << 20], ids=["looks", "bounded"])
def bounded(request) -> int:
    """Of how many bytes of text the host does not look how many words there are."""
    return request.param


@pytest.fixture(params=KINDS)
def device(request, bounded, monkeypatch):
    found = device_of(request.param, 1, cuda.DeviceSizes(batch=300, bounded=bounded))
    monkeypatch.setattr(backend, "choose", lambda *_: backend.Backend("cuda", "a test", (found,)))
    return found


def tokenizer(**parts) -> gputok.Tokenizer:
    found = byte_level(byte_model([("t", "h"), ("th", "e"), ("Ġ", "the")]))
    found.add_special_tokens([AddedToken("<s>"), AddedToken("</s>")])
    for name, part in parts.items():
        setattr(found, name, part)
    return found


def rows_of(device, found) -> list[list[int]]:
    there = [getattr(array, "_array", array) for array in (found.ids, found.rows)]
    with device.active():
        ids, rows = map(device.download, there)
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
    assert [*map(on_device.is_device, ("cuda", "cuda:3", "cuda.npy", "cpu", None))] == [True, True, False, False, False]
    with pytest.raises(ValueError, match='ids stay on "cuda" or "cuda:N", not on device='):
        tokenizer().encode_on_device(["a"], device="cpu")


# -- through CuPy


class Other:
    """Another library, with work of its own on a stream that is busy: nothing of that happens until `run`."""

    def __init__(self) -> None:
        with stand_in.Device(0):
            self.stream, self.seen = stand_in.Stream(non_blocking=True), []
        self.stream.add("kernel", lambda: self.seen.append("begun"))

    def read(self, array) -> None:
        """Takes an array, reads it later on its stream, and forgets it."""
        there = array.__dlpack__(stream=self.stream.ptr, max_version=(1, 0))
        source = there._array
        self.stream.add("kernel", lambda: self.seen.append(source.tolist()))

    def run(self) -> list:
        self.stream.catch_up()
        return self.seen[1:]


@pytest.fixture
def card(monkeypatch):
    with stand_in.installed(monkeypatch):
        yield backend.choose("cuda").devices[0]


def test_calls_after_the_first_take_no_memory_and_look_once(card, monkeypatch):
    """The tables and all memory are there; and nothing waits for another stream, or for the whole device."""
    ours = tokenizer(post_processor=template("<s>", "$A"))
    expected = [encoding.ids for encoding in ours.encode_batch(DOCUMENTS)]
    other, looks, waits = Other(), [], stand_in.Event.synchronize
    monkeypatch.setattr(stand_in.Event, "synchronize", lambda event: looks.append(1) or waits(event))
    for n in range(6):
        before = stand_in.faults.made, stand_in.faults.n_waits_for_all
        looks.clear()
        found = ours.encode_on_device(DOCUMENTS)
        assert found.encoded_by == "cuda"
        if n > 3:  # those before are still used
            assert (stand_in.faults.made, stand_in.faults.n_waits_for_all) == before
            # One of them for the number of ids. The other two: the pinned memory of copies to the device is free
            assert len(looks) == 3
        if n < 2:
            other.read(found.ids)
        assert not other.seen
    assert rows_of(card, found) == expected
    assert other.run() == [[*itertools.chain(*expected)]] * 2


def test_memory_is_lent_again_after_the_last_work_on_it(card):
    """On the stream of who took it; who asks for no stream waits."""
    ours, other = tokenizer(), Other()
    made = []
    for _ in range(3):
        other.read(ours.encode_on_device(DOCUMENTS).ids)
        made.append(stand_in.faults.made)
    assert made[0] < made[1] < made[2]  # the memory of ids, each time
    other.run()
    other.read(ours.encode_on_device(DOCUMENTS).ids)
    assert stand_in.faults.made == made[2]
    ids = ours.encode_on_device(DOCUMENTS).ids
    assert stand_in.pending() and ids.__dlpack_device__() == (2, 0) and ids.shape == (len(ids),)
    there = ids.__dlpack__(stream=-1)
    assert not stand_in.pending() and np.array_equal(there._array, np.concatenate(other.run()[-1:]))
    ids.__dlpack__()  # the legacy stream


def test_a_stream_that_is_no_more_is_waited_for(card):
    ours, other = tokenizer(), Other()
    found = ours.encode_on_device(DOCUMENTS)
    other.read(found.ids)
    stand_in.Stream.made.remove(other.stream)
    before = stand_in.faults.n_waits_for_all
    del found
    assert stand_in.faults.n_waits_for_all == before + 1


def test_tables_go_with_the_tokenizer(card, monkeypatch):
    uploads, upload = [], split.upload
    monkeypatch.setattr(split, "upload", lambda *a: uploads.append(1) or upload(*a))
    ours = tokenizer()
    for _ in range(3):
        found = ours.encode_on_device(DOCUMENTS)
    assert len(uploads) == 1 and stand_in.faults.reserved[0]
    ours.add_special_tokens([AddedToken("<other>")])
    found = ours.encode_on_device(DOCUMENTS)
    assert len(uploads) == 2
    del found, ours
    gc.collect()
    assert not any(stand_in.faults.reserved.values()) and not any(stand_in.faults.used.values())


def test_the_memory_for_a_corpus_goes_back_at_its_end(monkeypatch):
    """All but what tables and lent ids take; not after each batch."""
    with stand_in.installed(monkeypatch, cuda.DeviceSizes(batch=300, kept=0)):
        ours, made, card = tokenizer(), [], backend.choose("cuda").devices[0]
        for _ in on_device.encode(ours.pipeline, [TextBatch.from_strings(DOCUMENTS)] * 9, card):
            made.append((stand_in.faults.made, stand_in.faults.n_waits_for_all))
        assert len(made) > 6 and made[-1][1] == 0
        assert made[-1][0] - made[-3][0] <= 1
        assert stand_in.faults.reserved[0] == stand_in.faults.used[0] < 100_000


def tables_of(tokenizer):
    made = tokenizer.pipeline.engines.made
    return [one for name, one in made.items() if name[0] == "device"]


def test_tables_that_were_used_last_stay(monkeypatch):
    """As many as there is room for; and memory for work goes back, beyond that."""
    with stand_in.installed(monkeypatch, cuda.DeviceSizes(kept=100_000)):
        several = [tokenizer() for _ in range(4)]
        for ours in (*several, several[2]):
            ours.encode_on_device(DOCUMENTS)
            n_bytes = [sum(map(operator.attrgetter("n_bytes"), tables_of(each))) for each in several]
            assert max(n_bytes) <= sum(n_bytes) <= 100_000
            assert stand_in.faults.reserved[0] - stand_in.faults.used[0] <= 100_000
        assert n_bytes[0] == n_bytes[1] == 0 < min(n_bytes[2:])


def test_the_cpu_encodes_what_it_encodes_sooner(card, monkeypatch):
    """Short batches, longer ones of ASCII text; the result says so, and what the device would take is not prepared."""
    monkeypatch.undo()
    ours = tokenizer()
    with stand_in.installed(monkeypatch):
        for text, by in (("the " * 2000, "cpu"), ("\u4e2d" * 10_000, "cuda"), ("the " * 20_000, "cuda")):
            found = ours.encode_on_device([text])
            assert found.encoded_by == by and (by == "cuda") == bool(tables_of(ours))
            assert rows_of(backend.choose("cuda").devices[0], found) == [ours.encode(text).ids]


def test_cupy_keeps_the_owner_of_memory_as_long_as_a_view():
    """CuPy itself, without a device."""
    cupy = pytest.importorskip("cupy")
    owner, ended = type("Owner", (), {})(), []
    weakref.finalize(owner, ended.append, True)
    memory = cupy.cuda.UnownedMemory(1 << 16, 4096, owner, 0)
    array = cupy.ndarray((5,), np.int32, cupy.cuda.MemoryPointer(memory, 0))
    view = array.view(np.uint32)[:3]
    del owner, memory, array
    assert not ended and view.nbytes == 12
    del view
    assert ended
