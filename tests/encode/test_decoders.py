"""Decoders against those of tokenizers, on tokens made of the characters that each decoder treats specially."""

import pickle
import random

import pytest
import tokenizers
import tokenizers.decoders as theirs

import gputok.decoders as mine
from gputok import Regex, Tokenizer

MAKERS = {
    "bpe": lambda kind, regex: kind.BPEDecoder(),
    "bpe suffix": lambda kind, regex: kind.BPEDecoder(suffix="a"),
    "byte fallback": lambda kind, regex: kind.ByteFallback(),
    "byte level": lambda kind, regex: kind.ByteLevel(),
    "ctc": lambda kind, regex: kind.CTC(),
    "ctc raw": lambda kind, regex: kind.CTC(pad_token="a", word_delimiter_token="b", cleanup=False),
    "fuse": lambda kind, regex: kind.Fuse(),
    "metaspace": lambda kind, regex: kind.Metaspace(),
    "metaspace never": lambda kind, regex: kind.Metaspace("a", "never", False),
    "metaspace first": lambda kind, regex: kind.Metaspace(prepend_scheme="first"),
    "replace": lambda kind, regex: kind.Replace("▁", " "),
    "replace regex": lambda kind, regex: kind.Replace(regex("[ab]+|$"), "<>"),
    "replace nothing": lambda kind, regex: kind.Replace("", "-"),
    "strip": lambda kind, regex: kind.Strip("a", 1, 0),
    "strip right": lambda kind, regex: kind.Strip("▁", 0, 1),
    "word piece": lambda kind, regex: kind.WordPiece(),
    "word piece raw": lambda kind, regex: kind.WordPiece(prefix="a", cleanup=False),
    "llama": lambda kind, regex: kind.Sequence(
        [kind.Replace("▁", " "), kind.ByteFallback(), kind.Fuse(), kind.Strip(" ", 1, 0)]
    ),
    "empty": lambda kind, regex: kind.Sequence([]),
}
PARTS = [
    "a",
    "b",
    "▁",
    "##",
    " ",
    "<0xE2>",
    "<0x96>",
    "<0x81>",
    "<0x41>",
    "<0xzz>",
    "<0x+1>",
    "Ġ",
    "Ã©",
    "Ã",
    "é",
    "😀",
]
PARTS += ["</w>", "<pad>", "|", ".", " '", "n't", "do not", "\xad", "\n", "�"]


def tokens(rng: random.Random) -> list[str]:
    return ["".join(rng.choices(PARTS, k=rng.choice([0, 1, 1, 1, 2, 3]))) for _ in range(rng.randrange(8))]


@pytest.mark.parametrize("name", MAKERS)
def test_decode(name):
    found, expected = MAKERS[name](mine, Regex), MAKERS[name](theirs, tokenizers.Regex)
    rng = random.Random(name)
    for _ in range(400):
        given = tokens(rng)
        if "strip" in name:  # tokenizers fails where there are too few characters
            given = [token + "zz" for token in given]
        assert found.decode(given) == expected.decode(given), given


@pytest.mark.parametrize("name", MAKERS)
def test_forms(name):
    found, expected = MAKERS[name](mine, Regex), MAKERS[name](theirs, tokenizers.Regex)
    assert repr(found) == repr(expected)
    assert found.__getstate__() == expected.__getstate__()
    assert repr(pickle.loads(pickle.dumps(found))) == repr(expected)


def test_strip_of_a_short_token():
    """`Strip` takes no more than there is, where tokenizers fails."""
    assert mine.Strip("a", 2, 2).decode(["aaa", "a", ""]) == ""


def test_custom():
    class Joined:
        def decode_chain(self, tokens):
            return [f"{token}." for token in tokens]

    found, expected = mine.Decoder.custom(Joined()), theirs.Decoder.custom(Joined())
    assert found.decode(["a", "b"]) == expected.decode(["a", "b"]) == "a.b."
    assert mine.Sequence([mine.Fuse(), found]).decode(["a", "b"]) == "ab."
    with pytest.raises(TypeError, match="written in Python"):
        pickle.dumps(found)


def test_errors():
    with pytest.raises(ValueError, match="length 1"):
        mine.Strip("ab")
    with pytest.raises(ValueError, match="unknown variant"):
        mine.Metaspace(prepend_scheme="sometimes")
    with pytest.raises(TypeError, match="base class"):
        mine.Decoder()
    with pytest.raises(TypeError, match="decoders: 'tuple' object is not an instance of 'list'"):
        mine.Sequence((mine.Fuse(),))


@pytest.fixture(scope="module")
def llama3(shared_tokenizer):
    """In gputok and in tokenizers."""
    path = str(shared_tokenizer("llama3"))
    return Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)


def test_stream(llama3):
    """Step by step, with special tokens and broken characters between."""
    found, expected = llama3
    rng = random.Random(5)
    for skip in (True, False):
        for start in (None, expected.encode("What is 本?").ids):
            ids = expected.encode("👩🏽‍🚀 naïve 日本語 \U0001f9d1").ids + rng.choices(range(128_010), k=60)
            a, b = mine.DecodeStream(start, skip), theirs.DecodeStream(start, skip)
            for token_id in ids:
                assert a.step(found, token_id) == b.step(expected, token_id)
            assert a.step(found, ids[:7]) == b.step(expected, ids[:7])


def test_what_a_stream_holds_back(llama3):
    """All steps and `flush` give what `tokenizers` decodes; between them, `held_bytes` are what is missing."""
    found, expected = llama3
    rng = random.Random(6)
    for skip in (True, False):
        for start in ([], expected.encode("What is 本?").ids):
            prompt = expected.decode(start, skip)
            for text in ("naïve 👩🏽‍🚀", "x\ufffd", "", "日本<|eot_id|>語"):
                ids = expected.encode(text, add_special_tokens=False).ids
                ids = (
                    ids[: rng.randint(0, len(ids))] if rng.random() < 0.5 else [*ids, *rng.choices(range(128_010), k=9)]
                )
                stream, given = mine.DecodeStream(start, skip), ""
                assert stream.held_bytes(found) == b""
                for n, token_id in enumerate(ids, 1):
                    given += stream.step(found, token_id) or ""
                    whole = found.decode_bytes([*start, *ids[:n]], skip)
                    assert (prompt + given).encode() + stream.held_bytes(found) == whole or "\ufffd" in given
                    assert (prompt + given + stream.held_bytes(found).decode(errors="replace")) == expected.decode(
                        [*start, *ids[:n]], skip
                    )
                assert prompt + given + (stream.flush(found) or "") == expected.decode([*start, *ids], skip)
                assert stream.flush(found) is None and stream.held_bytes(found) == b""
                assert stream.step(found, 15339) == mine.DecodeStream(None, skip).step(found, 15339) == "hello"


def test_a_prompt_that_ends_within_a_character(llama3):
    """As in `tokenizers`, the text of such a prompt is held back, and given with the rest of the character."""
    found, expected = llama3
    first, *rest = expected.encode("🧑", add_special_tokens=False).ids
    a, b = mine.DecodeStream([first]), theirs.DecodeStream([first])
    assert a.held_bytes(found) == found.token_bytes(first)
    assert [a.step(found, id) for id in rest] == [b.step(expected, id) for id in rest]
    assert mine.DecodeStream([first]).flush(found) == "\ufffd"
