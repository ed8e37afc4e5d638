"""Text files that are read into pinned memory, and whose lines a device finds and checks: on the stand-in for CuPy."""

import functools
import gc
import gzip
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gputok.kernels.cuda import count_words as device_words
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import lines as device_lines
from gputok.kernels.cuda import split

from gputok import AddedToken, WordCounts, corpus, models, normalizers, pre_tokenizers
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.pipeline.about import device_work
from gputok.pipeline.count import devices, units
from gputok.pipeline.count import words as counting
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import Run
from gputok.recipes import recipe
from tests.emulation import stand_in

SMALL = cuda.DeviceSizes(batch=700, tile=16, longest_run=120, slots=64, piece=1024, block=256)
STEMS = "the| of| a| naïve| 漢字|😀|'s| x1|\n|\n\n| word".split("|")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ranges of 200 bytes in blocks of 256, and groups of some of them for each of two devices."""
    with stand_in.installed(monkeypatch, SMALL):
        yield


@pytest.fixture
def found(monkeypatch) -> list[bool]:
    """Whether each text that a device looked at was UTF-8."""
    seen, whole = [], device_lines.lines

    def lines(*arguments):
        offsets, is_valid = whole(*arguments)
        seen.append(is_valid)
        return offsets, is_valid

    monkeypatch.setattr(device_words, "lines", lines)
    return seen


def text(seed: int, n: int = 300) -> bytes:
    return "".join(random.Random(seed).choices(STEMS, k=n)).encode()


def written(folder, **contents: bytes) -> list[str]:
    paths = []
    for name, content in contents.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def count(tokenizer, paths, device, threads=None, memory_limit=None, **reading) -> WordCounts:
    source = Source.of(paths, sizes=ReadSizes(batch=280, small=100, slack=40), **reading)
    return counting.count_corpus(tokenizer.pipeline, source, Run.of(device, threads, False, memory_limit))


def counted(paths, device, **options) -> WordCounts:
    return count(recipe("bpe")[0], paths, device, **options)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:1", "cuda"])
@pytest.mark.parametrize("threads", [1, 8])
def test_lines_of_files_are_found_on_the_device(device, threads, tmp_path, found):
    """Files that end with a newline and without, a line longer than a block; all pinned memory but lanes' is free."""
    long = text(1).replace(b"\n", b" ") + b"\n" + text(2)
    paths = written(tmp_path, a_txt=text(3), b_txt=long, c_txt=text(4) + b"end", d_txt=b"the\n", e_txt=text(5))
    assert counted(paths, device, threads=threads) == counted(paths, "cpu", threads=threads)
    assert len(found) > 3 and all(found)
    gc.collect()
    assert stand_in.faults.pinned <= 2 * 4 * cuda.LANES * SMALL.piece


def test_other_sources_come_as_before(tmp_path, found):
    """JSON, compressed and small files among others; separators; tokenizers that need more than kernels."""
    json = b'{"text": "the naive\\nword"}\n' * 20
    paths = written(tmp_path, a_txt=text(1), b_jsonl=json, c_txt=text(2), d_gz=gzip.compress(text(3)), e_txt=b"x\ny")
    assert counted(paths, "cuda") == counted(paths, "cpu") and len(found) >= 2
    found.clear()
    assert counted(paths[0], "cuda", separator="the") == counted(paths[0], "cpu", separator="the")
    assert not found


def around_added(tokenizer, paths, device, monkeypatch) -> tuple:
    """The words that a tokenizer counts, and the sizes of the texts that it was asked to look at on the CPU."""
    sizes, whole = [], counting.around_added

    def around(pipeline, batch):
        sizes.append(int(batch.offsets[-1] - batch.offsets[0]))
        return whole(pipeline, batch)

    monkeypatch.setattr(counting, "around_added", around)
    return count(tokenizer, paths, device, threads=3), sizes.copy()


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:0", "cuda"])
@pytest.mark.parametrize(
    ("token", "options"),
    [
        ("of\n", {}),
        ("w", {}),
        ("<|endoftext|>", {}),
        ("漢字 of", {"lstrip": True, "rstrip": True}),
        ("of", {"single_word": True}),
        (" the a", {"normalized": True}),
    ],
)
def test_text_with_added_tokens_is_read_raw(token, options, device, tmp_path, found, monkeypatch):
    """The device finds the texts in which a token may be; only these are cut on the CPU."""
    tokenizer, _ = recipe("bpe")
    tokenizer.add_tokens([AddedToken(token, **options), AddedToken("<never>", special=True)])
    whole = text(1, 900) + b"the <|endoftext|> word\n" + text(2, 900)
    paths = written(tmp_path, a_txt=text(3), b_txt=whole, c_txt=text(4))
    ours, sizes = around_added(tokenizer, paths, device, monkeypatch)
    assert ours == around_added(tokenizer, paths, "cpu", monkeypatch)[0] and len(found) > 3
    if token == "<|endoftext|>":
        assert len(sizes) == 1 and sizes[0] < 600


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "cuda"])
@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
@pytest.mark.parametrize("token", [None, "word"])
def test_text_that_a_form_leaves_as_it_is_is_walked_raw(token, form, device, tmp_path, monkeypatch):
    """Only the texts with other characters take the steps, which decide: decomposed letters, Hangul, a ligature, Å."""
    tokenizer, _ = recipe("bpe")
    tokenizer.normalizer = normalizers.Sequence([getattr(normalizers, form)()])
    if token:
        tokenizer.add_tokens([AddedToken(token, normalized=True)])
    odd = "of nai\u0308ve \u1112\u1161\u11ab \ufb01ne \u212b\n".encode()
    paths = written(tmp_path, a_txt=text(3), b_txt=text(1, 600) + odd + text(2, 600), c_txt=text(4))
    asked, words = [], Pipeline.words

    def watched(pipeline, pieces, *, added=True):
        asked.append(len(pieces.data))
        return words(pipeline, pieces, added=added)

    monkeypatch.setattr(Pipeline, "words", watched)
    ours = count(tokenizer, paths, device, threads=2)
    n_asked = len(asked)
    steps = functools.partial(words, tokenizer.pipeline)
    expected = counting.count_words(corpus.read(paths), steps, threads=1)
    assert dict(ours.items()) == dict(expected.items())
    if device != "cpu":
        assert ours == count(tokenizer, paths, "cpu")
    if token is None and form in ("NFC", "NFKC"):
        assert 0 < n_asked <= 4
    assert device_work(tokenizer.pipeline)["count words"].startswith("on the GPU; on the CPU, text that the normalizer")


def test_added_tokens_in_repaired_text(tmp_path, found, monkeypatch):
    tokenizer, _ = recipe("bpe")
    tokenizer.add_special_tokens(["<s>"])
    broken = text(1, 300).replace(b"word", b"w\xffrd<s>of")
    paths = written(tmp_path, a_txt=text(3), b_txt=broken, c_txt=text(4) + b"<s>")
    ours, theirs = (count(tokenizer, paths, device, errors="replace") for device in ("cuda:0", "cpu"))
    assert ours == theirs and False in found


def test_parts_between_spaces_of_files(tmp_path, found):
    tokenizer, _ = recipe("bpe")
    tokenizer.model, tokenizer.normalizer = models.BPE(), normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    paths = written(tmp_path, a_txt=text(1), b_txt=text(2))
    ours, theirs = (count(tokenizer, paths, device) for device in ("cuda", "cpu"))
    assert ours == theirs and found


def test_text_of_about_a_block_is_read_into_pinned_memory():
    """Which is copied at once, and free when nothing refers to it."""
    device = cuda.cupy_device(0)
    assert [stand_in.Pinned.has(device.host_memory(n)) for n in (127, 128, 256, 257)] == [False, True, True, False]
    view = device.host_memory(200)[10:].view()
    view[:] = 7
    with device.active():
        (copy,) = device.upload((view,))()
        assert (device.download(copy) == 7).all()
    assert stand_in.Pinned.has(view)
    before = stand_in.faults.pinned
    del view
    gc.collect()
    assert stand_in.faults.pinned == before - 512


def test_without_pinned_memory_other_memory_is_read_into(tmp_path, monkeypatch, found):
    paths = written(tmp_path, a_txt=text(1, 1000))
    device = cuda.cupy_device(0)
    with device.active():  # pins the memory of its lane
        stand_in.faults.pinned_limit = stand_in.faults.pinned
        assert not stand_in.Pinned.has(device.host_memory(200))
    assert counted(paths, "cuda:0", threads=4) == counted(paths, "cpu") and found


def message(paths, device, **options) -> str:
    with pytest.raises(ValueError) as raised:
        counted(paths, device, **options)
    return str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:0", "cuda"])
def test_errors_are_those_of_the_cpu(device, tmp_path, found):
    """With file and byte; of several, the first in the corpus, whichever device finds another one earlier."""
    whole = text(1, 900)
    at = [i for i in range(len(whole)) if whole[i] < 0x80]
    for offsets in ([at[0]], [at[-1]], [at[400]], [at[150], at[151]], [at[100], at[-100]], at[200::300]):
        broken = bytearray(whole)
        for offset in offsets:
            broken[offset] = 0xFF
        paths = written(tmp_path, a_txt=text(2), b_txt=bytes(broken), c_txt=text(3))
        said = message(paths, device, threads=4)
        assert said == message(paths, "cpu", threads=4) and f"b.txt, byte {offsets[0]}: 0xff" in said
    assert False in found


@pytest.mark.slow
def test_the_first_error_is_raised_whichever_device_failed(tmp_path, monkeypatch):
    """Also if all devices have ended before anyone looks."""
    monkeypatch.setattr(units, "LOOK_SECONDS", 60)
    monkeypatch.setattr(devices, "LOOK_SECONDS", 60)
    whole = bytearray(text(1, 900))
    at = [i for i in range(len(whole)) if whole[i] < 0x80][200::300]
    for offset in at:
        whole[offset] = 0xFF
    paths = written(tmp_path, a_txt=text(2), b_txt=bytes(whole))
    for _ in range(8):
        assert f"b.txt, byte {at[0]}: 0xff" in message(paths, "cuda", threads=4)


def test_two_threads_of_a_lane_upload_at_a_time(monkeypatch):
    """As when text is repaired on the host while the next text is copied."""
    arrays = [np.random.default_rng(i).integers(0, 256, 5000, np.uint8) for i in range(16)]
    device, synchronize = cuda.cupy_device(0), stand_in.Event.synchronize

    def slowly(event):
        synchronize(event)
        time.sleep(0.001)  # the other thread goes on, between taking a piece and recording its copy

    monkeypatch.setattr(stand_in.Event, "synchronize", slowly)
    with device.active() as lane, ThreadPoolExecutor(1) as helper:

        def uploaded(some):
            with device.active(lane):
                return [device.upload((array,))()[0] for array in some]

        second = helper.submit(uploaded, arrays[8:])
        copies = [*uploaded(arrays[:8]), *second.result()]
        for array, copy in zip(arrays, copies, strict=True):
            assert np.array_equal(device.download(copy), array)


def test_a_character_is_not_continued_by_another_file(tmp_path):
    paths = written(tmp_path, a_txt=text(1) + "漢".encode()[:2], b_txt="漢".encode()[2:] + text(2))
    assert message(paths, "cuda:0") == message(paths, "cpu")
    paths = written(tmp_path, a_txt=text(1) + b"\n", b_txt="漢".encode()[2:] + text(2))
    assert message(paths, "cuda:0") == message(paths, "cpu")


def test_text_comes_before_a_file_that_can_not_be_read(tmp_path):
    """As on the CPU, an error in text is raised rather than a later one of reading."""
    broken = gzip.compress(text(3))[:-9]
    paths = written(tmp_path, a_txt=text(1) + b"\xff", b_gz=broken)
    assert message(paths, "cuda") == message(paths, "cpu") and "0xff" in message(paths, "cuda")
    paths = written(tmp_path, a_txt=text(1), b_gz=broken)
    assert message(paths, "cuda") == message(paths, "cpu") and "broken off" in message(paths, "cuda")


def test_what_is_not_utf8_is_replaced(tmp_path, found, recwarn):
    """On the CPU; the device counts the repaired text."""
    broken = text(1, 900).replace(b"word", b"w\xffrd \xe6\xbc")
    paths = written(tmp_path, a_txt=broken, b_txt=text(2))
    for options in ({}, {"memory_limit": "64MB"}):
        ours, theirs = (counted(paths, device, errors="replace", **options) for device in ("cuda", "cpu"))
        assert dict(ours.items()) == dict(theirs.items())
    assert False in found and True in found
    assert not [warning for warning in recwarn if "counted on the CPU" in str(warning.message)]


def test_a_long_run_in_a_file_is_counted_on_the_cpu(tmp_path, monkeypatch, found):
    paths = written(tmp_path, a_txt=text(1) + b"b" * 150 + b" the\n" + text(2))
    counters, whole = [], units.WalkCounter.count

    def count(counter, batch, start, stop, *more):
        counters.append((threading.get_ident(), stop - start))
        whole(counter, batch, start, stop, *more)

    device_thread, left = [], devices._Devices._count_on
    monkeypatch.setattr(units.WalkCounter, "count", count)
    monkeypatch.setattr(
        devices._Devices, "_count_on", lambda *a: device_thread.append(threading.get_ident()) or left(*a)
    )
    with pytest.warns(UserWarning, match="some text is counted on the CPU"):
        ours = counted(paths, "cuda:0", threads=2)
    # Of groups of 700 bytes, the CPU counts the run alone, and not in the thread that feeds the device
    assert [n for _, n in counters] and max(n for _, n in counters) < 200
    assert not {thread for thread, _ in counters} & {*device_thread}
    assert ours == counted(paths, "cpu") and found


def test_files_that_do_not_fit_are_counted_in_halves(tmp_path, monkeypatch, found):
    whole = split.find_words

    def find_words(device, data, offsets, tables):
        if len(data) > 300:
            raise MemoryError
        return whole(device, data, offsets, tables)

    monkeypatch.setattr(split, "find_words", find_words)
    paths = written(tmp_path, a_txt=text(1))
    assert counted(paths, "cuda:0") == counted(paths, "cpu") and found
