"""Blocks of pinned memory, and errors in text files that devices count: on the stand-in for CuPy."""

import gc
import gzip
import random

import pytest
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import split

from gputok import corpus
from gputok.corpus import files
from gputok.recipes import recipe
from tests.emulation import stand_in

STEMS = "the| of| a| naïve| 漢字|😀|'s| x1|\n|\n\n| word".split("|")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ranges of 200 bytes in blocks of 256, and groups of some of them for each of two devices."""
    with stand_in.installed(monkeypatch):
        monkeypatch.setattr(files, "_SMALL_BYTES", 100)
        monkeypatch.setattr(files, "_SLACK", 40)
        for read in (corpus.read, corpus.read_raw):
            monkeypatch.setitem(read.__kwdefaults__, "batch_bytes", 280)
        monkeypatch.setattr(cuda, "BLOCK_BYTES", 256)
        monkeypatch.setattr(cuda, "PIECE_BYTES", 1024)
        monkeypatch.setattr(cuda, "BATCH_BYTES", 700)
        monkeypatch.setattr(cuda, "BLOCKS_BYTES", 4096)
        monkeypatch.setattr(split, "TILE_BYTES", 16)
        monkeypatch.setattr(words, "_LEAST_CAPACITY", 64)
        yield


def text(seed: int, n: int = 300) -> bytes:
    return "".join(random.Random(seed).choices(STEMS, k=n)).encode()


def written(folder, **contents: bytes) -> list[str]:
    paths = []
    for name, content in contents.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def counted(paths, device, **options):
    return recipe("bpe")[0].count_words(paths, device=device, progress=False, **options)


def test_blocks_are_given_again_when_nothing_refers_to_them():
    """Not before; and what does not fit, or finds none free, is other memory."""
    import cupy

    blocks = cuda.Blocks(cupy, 8)
    held = [blocks(200) for _ in range(9)]
    assert [blocks.has(block) for block in held] == [True] * 8 + [False]
    assert len({block.ctypes.data for block in held}) == 9
    view = held[3][10:].view()
    begin = held[3].ctypes.data
    held[3] = None
    gc.collect()
    assert not blocks.has(blocks(200))
    del view
    gc.collect()
    assert blocks(200).ctypes.data == begin
    assert not any(map(blocks.has, (blocks(100), blocks(257))))


def test_pinned_memory_is_bounded_whatever_the_threads(tmp_path):
    paths = written(tmp_path, a_txt=text(1, 4000))
    assert counted(paths, "cuda", threads=64) == counted(paths, "cpu")
    assert stand_in.faults.pinned <= 2 * cuda.BLOCKS_BYTES + 2 * 4 * cuda.LANES * cuda.PIECE_BYTES


def message(paths, device, **options) -> str:
    with pytest.raises(ValueError) as raised:
        counted(paths, device, **options)
    return str(raised.value)


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
