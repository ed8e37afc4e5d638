"""Files of several .zst frames, which threads unpack before their turn."""

import io
import itertools
import json
import pathlib
import re
import struct
import threading

import numpy as np
import pyarrow as pa
import pytest

from gputok import corpus
from gputok.corpus import zst_frames
from gputok.corpus.zst_frames import Frames

SKIPPED = struct.pack("<II", 0x184D2A53, 7) + b"skipped"


def frame(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as file:
        file.write(data)
    return out.getvalue().to_pybytes()


def sized_frame(data: bytes) -> bytes:
    """A frame that tells its unpacked size, of one segment if it is small."""
    return pa.Codec("zstd").compress(data, asbytes=True)


def read(packed: bytes, threads: int = 3, ahead_bytes: int = 1 << 26, step: int = 1000) -> bytes:
    found = bytearray()
    with Frames(io.BytesIO(packed), threads, ahead_bytes) as stream:
        while more := stream.read(step):
            found += more
    return bytes(found)


def some_bytes(rng: np.random.Generator, n: int) -> bytes:
    """Bytes of blocks of all kinds: packed, repeated and as they are."""
    kinds = rng.integers(0, 3, n // 5000 + 1)
    parts = [(rng.integers(0, 256, 5000), np.full(5000, 7), rng.integers(65, 70, 5000))[kind] for kind in kinds]
    return np.concatenate(parts)[:n].astype(np.uint8).tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_the_same_bytes_as_from_one_thread(seed):
    rng = np.random.default_rng(seed)
    parts = [some_bytes(rng, int(n)) for n in rng.choice([0, 1, 300, 70_000, 400_000, 3_000_000], 12)]
    made = [rng.choice(np.array([frame, sized_frame], object))(part) for part in parts]
    for i in rng.choice(12, 3):
        made[i] += SKIPPED
    packed, whole = b"".join(made), b"".join(parts)
    assert pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read() == whole
    for ahead_bytes in (0, 1 << 20, 1 << 24, 1 << 28):
        assert read(packed, int(rng.integers(2, 5)), ahead_bytes, 100_000) == whole


def test_threads_unpack_and_a_large_frame_is_read_as_it_comes(monkeypatch):
    units = []
    unpacked = zst_frames._unpacked

    def watched(unit: bytes, most: int, at: int) -> memoryview:
        units.append((threading.current_thread(), most))
        return unpacked(unit, most, at)

    monkeypatch.setattr(zst_frames, "_unpacked", watched)
    small, large = b"few words " * 120_000, b"many words " * 3_000_000
    packed = frame(small) * 4 + frame(large) + frame(small)
    assert read(packed, 2, 4 << 22) == small * 4 + large + small
    assert len(units) == 4  # of the frames before the large one
    assert all(thread is not threading.main_thread() and most <= 1 << 22 for thread, most in units)


def test_few_units_are_unpacked_before_their_turn(monkeypatch):
    begun = threading.Semaphore(0)
    unpacked = zst_frames._unpacked
    monkeypatch.setattr(zst_frames, "_unpacked", lambda *unit: (begun.release(), unpacked(*unit))[1])
    with Frames(io.BytesIO(frame(b"words " * 200_000) * 50), 2, 1 << 26) as stream:
        assert stream.read(5) == b"words"
    assert sum(begun.acquire(blocking=False) for _ in range(50)) <= 5


def test_small_frames_share_a_unit(monkeypatch):
    numbers = []
    unpacked = zst_frames._unpacked
    monkeypatch.setattr(zst_frames, "_unpacked", lambda *unit: (numbers.append(unit[2]), unpacked(*unit))[1])
    assert read(frame(b"word") * 10_000) == b"word" * 10_000
    assert len(numbers) < 1500
    skipped = SKIPPED * 300_000  # frames without text take memory, too
    numbers.clear()
    assert read(skipped + frame(b"word")) == b"word"
    assert len(numbers) > 3


def write(path: pathlib.Path, packed: bytes) -> pathlib.Path:
    path.write_bytes(packed)
    return path


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_documents_reach_across_frames(tmp_path, kind):
    texts = [f"document {i} of the corpus" for i in range(60_000)]
    lines = {
        ".txt": "".join(f"{text}\n" for text in texts),
        ".jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
        ".csv": "text\n" + "".join(f"{text}\n" for text in texts),
    }[kind].encode()
    cut = [*range(0, len(lines), 99_991), len(lines)]
    packed = b"".join(frame(lines[a:b]) for a, b in itertools.pairwise(cut))
    path = write(tmp_path / f"a{kind}.zst", packed)
    for threads in (1, 2, 5):
        found = [text for batch in corpus.read(path, threads=threads) for text in batch.strings()]
        assert [text.rstrip("\n") for text in found] == texts


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_errors_name_the_file_and_where_it_broke_off(tmp_path, threads):
    words = b"some words\n" * 200_000
    packed = frame(words) * 5
    for n_bytes in (len(packed) - 1, len(packed) - len(frame(words)) + 2):
        path = write(tmp_path / "a.txt.zst", packed[:n_bytes])
        with pytest.raises(ValueError, match=rf"{path}: broken off in the middle of its") as raised:
            list(corpus.read(path, threads=threads))
        n_read = int(re.search(r"after (\d+) bytes of text", str(raised.value))[1])
        assert 3 * len(words) <= n_read < 5 * len(words)
    path = write(tmp_path / "a.txt.zst", packed + b"no frame, but more than eight bytes")
    with pytest.raises(ValueError, match=rf"{path}: not a valid .zst file"):
        list(corpus.read(path, threads=threads))


def test_a_damaged_frame_is_named(tmp_path):
    words, rng = b"some words\n" * 200_000, np.random.default_rng(0)
    noise = rng.integers(32, 99, 2_000_000).astype(np.uint8).tobytes() + b"\n"
    first, damaged = frame(words), bytearray(frame(noise))
    damaged[40_000:41_000] = bytes(1000)
    path = write(tmp_path / "a.txt.zst", first + bytes(damaged) + first)
    wanted = f"{path}: not a valid .zst file (ZSTD decompress failed: "
    with pytest.raises(ValueError, match=re.escape(wanted) + rf".*, between its bytes {len(first)} and \d+\)"):
        list(corpus.read(path, threads=2))
