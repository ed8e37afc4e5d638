"""Texts whose bytes can't be numbered in 32 bits raise one clear error; no number overflows. Tests lower the limit."""

from __future__ import annotations

import numpy as np
import pytest

import gputok
from gputok import NormalizedString, models, normalizers, pre_tokenizers
from gputok.models import base
from gputok.pipeline.encode import stepwise as documents
from gputok.text import pieces as text
from gputok.text.pieces import Pieces, TextBatch

ERROR = (
    r"has 2,000,000,001 bytes, more than the 2,000,000,000 that can be numbered in 32 bits: cut this (text|word) "
    "into several"
)


def nothing(n: int) -> np.ndarray:
    """uint8[n] in the memory of one."""
    return np.broadcast_to(np.uint8(97), n)


def test_a_text_of_two_billion_bytes():
    n = text.LONGEST + 1
    batch = TextBatch(nothing(n + 1), np.array([0, 1, n + 1]))
    with pytest.raises(ValueError, match="text 1 " + ERROR):
        Pieces.from_batch(batch, aligned=True)
    tokenizer = gputok.Tokenizer(models.BPE({"a": 0}, []))
    for normalizer in (None, normalizers.NFD()):
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        with pytest.raises(ValueError, match="text 1 " + ERROR):
            documents.encode_documents(tokenizer, batch, offsets=True)


@pytest.mark.parametrize("byte_level", [False, True])
@pytest.mark.parametrize("name", ["bpe", "bpe with few bytes", "wordpiece", "unigram"])
def test_a_word_of_two_billion_bytes(name, byte_level):
    model = {
        "bpe": models.BPE({c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []),
        "bpe with few bytes": models.BPE({"a": 0}, []),
        "wordpiece": models.WordPiece({"a": 0, "?": 1}, "?"),
        "unigram": models.Unigram([("a", 0.0)], 0),
    }[name]
    start, end = np.array([0, 3]), np.array([3, 3 + text.LONGEST + 1])
    for ask in (model.tokenize_pieces, model.encode_words):
        with pytest.raises(ValueError, match="word 1 " + ERROR):
            ask(nothing(int(end[-1])), start, end, byte_level=byte_level)


def test_strings(monkeypatch):
    monkeypatch.setattr(text, "LONGEST", 9)
    for ask in (NormalizedString, pre_tokenizers.Whitespace().pre_tokenize_str, models.BPE({"a": 0}, []).tokenize):
        ask("ä" * 4)
        with pytest.raises(ValueError, match=r"0 has 10 bytes, more than the 9 "):
            ask("ä" * 5)


def test_a_text_that_is_not_short(monkeypatch):
    """Up to 64 KB are encoded in one call, which no text near the real limit comes to."""
    monkeypatch.setattr(text, "LONGEST", 69_999)
    encode = gputok.Tokenizer(models.BPE({"a": 0}, [])).encode
    encode("ä" * 34_999)
    with pytest.raises(ValueError, match=r"0 has 70,000 bytes, more than the 69,999 "):
        encode("ä" * 35_000)


def test_a_batch_may_be_longer(monkeypatch):
    """Many texts beside each other are more bytes than any of them."""
    tokenizer = gputok.Tokenizer(models.BPE({"ä": 0, "a": 1, "b": 2}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = ["ä b", "aä", "", "b ä"] * 5
    before = [(one.ids, one.offsets) for one in tokenizer.encode_batch(texts)]
    monkeypatch.setattr(text, "LONGEST", 9)
    monkeypatch.setattr(documents, "LONGEST", 9)
    assert [(one.ids, one.offsets) for one in tokenizer.encode_batch(texts)] == before


def test_byte_level_words_in_groups(monkeypatch):
    """Positions in the raw bytes are those in all bytes, whichever group a word is in."""
    model = models.WordPiece({"Ġ": 0, "##a": 1, "a": 2, "Ã": 3, "##¤": 4, "?": 5}, "?")
    data = np.frombuffer("xx a ä aa a äa".encode(), np.uint8)
    start, end = np.array([3, 5, 7, 10, 10]), np.array([4, 7, 7, 12, 10])
    expected = model.tokenize_pieces(data, start, end, byte_level=True)
    whole = base.slices
    monkeypatch.setattr(base, "slices", lambda start, end, n_bytes=1: whole(start, end, 1))
    found = model.tokenize_pieces(data, start, end, byte_level=True)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.tolist() == other.tolist()
    assert found.start.max() >= 10
