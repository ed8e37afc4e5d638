"""Packing texts as UTF-8, compared with `str.encode`."""

import gc
import itertools
import random
import sys
import threading

import numpy as np
import pytest
from gputok.kernels.cpu import texts as kernel

from gputok.text.pieces import TextBatch

# The ends of the ranges of one, two, three and four bytes, and of Latin-1
POINTS = [0, 0x7F, 0x80, 0xFF, 0x100, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
LENGTHS = [0, 1, 3, 4, 5, 7, 8, 9, 17, 64, 200]


class Subclass(str):
    __slots__ = ()


def expected(texts):
    raw = [text.encode() for text in texts]
    return b"".join(raw), [*itertools.accumulate(map(len, raw), initial=0)]


def test_this_python_is_known():
    """Else each text would take the slow way."""
    assert (kernel._layout() is not None) == (sys.implementation.name == "cpython")


@pytest.mark.parametrize("n_points", [2, 4, 7, 10, 12])
@pytest.mark.parametrize("share", [0, 0.1, 1])
def test_equals_encode(n_points, share):
    rng = random.Random(f"{n_points} {share}")
    for n in (1, 2, 9, 300):
        texts = [
            "".join(
                chr(rng.choice(POINTS[:n_points]) if rng.random() < share else 0x61) for _ in range(rng.choice(LENGTHS))
            )
            for _ in range(n)
        ]
        data, offsets = kernel.pack_texts(texts)
        assert data.dtype == np.uint8 and offsets.dtype == np.int64
        assert (data.tobytes(), offsets.tolist()) == expected(texts)


@pytest.mark.parametrize("bad", ["\ud800", "a\udfff", "\ud800\U00010000", Subclass("x"), b"x", None, 3, str])
@pytest.mark.parametrize("at", [0, 3, 11])
def test_what_is_no_text_is_left_to_python(bad, at):
    texts = ["é"] * 11
    texts.insert(at, bad)
    assert kernel.pack_texts(texts) is None
    if isinstance(bad, Subclass):
        batch = TextBatch.from_strings(texts)
        assert (batch.data.tobytes(), batch.offsets.tolist()) == expected(texts)
    else:
        with pytest.raises(UnicodeEncodeError if isinstance(bad, str) else (TypeError, AttributeError)):
            TextBatch.from_strings(texts)


@pytest.mark.parametrize("texts", [[], [""], ["", "né", ""], ["abc"], ["日本", "\U00010000"]])
def test_the_slow_way_packs_the_same(texts, monkeypatch):
    fast = TextBatch.from_strings(iter(texts))
    monkeypatch.setattr(kernel, "_layout", lambda: None)
    slow = TextBatch.from_strings(tuple(texts))
    for one in (fast, slow):
        assert one.data.dtype == np.uint8 and one.offsets.dtype == np.int64
        assert (one.data.tobytes(), one.offsets.tolist()) == expected(texts)


def test_another_layout_is_refused(monkeypatch):
    monkeypatch.setattr(kernel.sys, "getsizeof", lambda text: 8 + len(text))
    assert kernel._layout.__wrapped__() is None


def test_the_list_of_the_caller_may_change_meanwhile():
    """The texts that are packed are those of a list of its own, which keeps them alive."""
    texts, stop = ["x" * 50 + str(i) for i in range(2000)], threading.Event()

    def change():
        while not stop.is_set():
            texts[:] = ["y" * 50 + str(i) for i in range(2000)]
            gc.collect(0)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            batch = TextBatch.from_strings(texts)
            assert {batch[0][:50], batch[1999][:50]} <= {"x" * 50, "y" * 50}
            assert batch.offsets[-1] == len(batch.data) == 2000 * 50 + 6890
    finally:
        stop.set()
        thread.join()
