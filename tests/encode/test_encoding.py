"""Encodings: every operation against that of tokenizers, on encodings that tokenizers made."""

import copy
import json
import pickle
import random

import pytest
import tokenizers

from gputok import Encoding, Tokenizer


def ours(theirs: tokenizers.Encoding) -> Encoding:
    """Converts an encoding of tokenizers, by the pickle form, which is the same in both."""
    encoding = Encoding()
    encoding.__setstate__(theirs.__getstate__())
    return encoding


def state(encoding) -> dict:
    """All attributes of an encoding."""
    return json.loads(encoding.__getstate__())


@pytest.fixture(scope="module")
def theirs() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({"[UNK]": 0, "a": 1, "b": 2, "##c": 3, "é": 4}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return tokenizer


def texts(rng: random.Random) -> str:
    return " ".join(rng.choice(["a", "ac", "acc", "bé", "zz", "é", "bc b"]) for _ in range(rng.randrange(8)))


def encodings(theirs: tokenizers.Tokenizer, rng: random.Random, pairs: float = 0.4) -> tokenizers.Encoding:
    """Single texts and pairs, truncated with overflowing parts or not, padded or not."""
    theirs.no_truncation()
    theirs.no_padding()
    if rng.random() < 0.5:
        length = rng.randint(4, 7)
        theirs.enable_truncation(length, stride=rng.randrange(2), direction=rng.choice(["left", "right"]))
    if rng.random() < 0.3:
        theirs.enable_padding(length=9, direction=rng.choice(["left", "right"]), pad_type_id=2)
    pair = (texts(rng),) if rng.random() < pairs else ()
    return theirs.encode(texts(rng), *pair)


ATTRIBUTES = [
    "ids",
    "type_ids",
    "tokens",
    "offsets",
    "attention_mask",
    "special_tokens_mask",
    "word_ids",
    "sequence_ids",
    "n_sequences",
]


def test_attributes_and_look_ups(theirs):
    rng = random.Random(1)
    for _ in range(200):
        expected = encodings(theirs, rng)
        encoding = ours(expected)
        assert repr(encoding) == repr(expected)
        assert len(encoding) == len(expected)
        for name in ATTRIBUTES:
            assert getattr(encoding, name) == getattr(expected, name), name
        assert [state(part) for part in encoding.overflowing] == [state(part) for part in expected.overflowing]
        for i in range(14):
            for name in ("token_to_sequence", "token_to_chars", "token_to_word"):
                assert getattr(encoding, name)(i) == getattr(expected, name)(i), (name, i)
            for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                for sequence in (0, 1):
                    assert getattr(encoding, name)(i, sequence) == getattr(expected, name)(i, sequence), (name, i)


def test_words_is_deprecated(theirs):
    with pytest.warns(DeprecationWarning, match="word_ids"):
        assert ours(theirs.encode("a b")).words == [0, 1]


def test_pad_truncate_and_merge(theirs):
    rng = random.Random(2)
    for _ in range(150):
        expected = [encodings(theirs, rng) for _ in range(rng.randint(1, 2))]
        found = [ours(encoding) for encoding in expected]
        for kind in rng.sample(range(4), rng.randint(1, 4)):  # at most one merge: what overflows multiplies
            i = rng.randrange(len(found))
            match kind:
                case 0:
                    options = {
                        "direction": rng.choice(["left", "right"]),
                        "pad_id": 7,
                        "pad_type_id": 1,
                        "pad_token": "P",
                    }
                    length = rng.randrange(12)
                    for encoding in (found[i], expected[i]):
                        encoding.pad(length, **options)
                case 1:
                    length, direction = rng.randint(0, 6), rng.choice(["left", "right"])
                    stride = rng.randrange(max(length, 1))
                    for encoding in (found[i], expected[i]):
                        encoding.truncate(length, stride, direction)
                case 2:
                    sequence = rng.randrange(3)
                    for encoding in (found[i], expected[i]):
                        encoding.set_sequence_id(sequence)
                case 3:
                    growing = rng.random() < 0.5
                    found[i] = Encoding.merge(found, growing)
                    expected[i] = tokenizers.Encoding.merge(expected, growing)
            assert state(found[i]) == state(expected[i])


def test_pickles_are_those_of_tokenizers(theirs):
    expected = theirs.encode('a "é" \\ zz')
    encoding = ours(expected)
    assert encoding.__getstate__() == expected.__getstate__()
    # the order of its sequence ranges is a hash table's there
    encoding = ours(expected := theirs.encode("a", "b"))
    for copied in (pickle.loads(pickle.dumps(encoding)), copy.deepcopy(encoding), copy.copy(encoding)):
        assert state(copied) == state(expected)


def test_empty():
    assert state(Encoding()) == state(tokenizers.Encoding())
    assert Encoding.merge([]).ids == []


def test_errors(theirs):
    encoding = ours(theirs.encode("a b a b"))
    with pytest.raises(ValueError, match="Unknown `direction`: `up`"):
        encoding.pad(9, direction="up")
    with pytest.raises(ValueError, match="stride"):
        encoding.truncate(2, stride=2)
    with pytest.raises(OverflowError):
        encoding.truncate(-1)
    with pytest.raises(OverflowError):
        encoding.char_to_token(-1)
    with pytest.raises(TypeError, match="Encoding"):
        Encoding.merge([1])


# -- byte offsets


def in_bytes(expected: tokenizers.Encoding, texts: tuple) -> list[tuple[int, int]]:
    """The offsets of `tokenizers` in bytes; those of special tokens and padding are (0, 0)."""
    found = []
    for (start, end), sequence, word in zip(expected.offsets, expected.sequence_ids, expected.word_ids, strict=True):
        text = "" if sequence is None else texts[sequence]
        if isinstance(text, tuple):
            text = "" if word is None else text[word]
        found.append((len(text[:start].encode()), len(text[:end].encode())))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3", "llama2", "qwen3", "minilm-bert"])
def test_offsets_in_bytes(shared_tokenizer, name):
    path, rng = str(shared_tokenizer(name)), random.Random(5)
    ours, theirs = Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)

    def text():
        return "".join(rng.choices(["a", " ", "é", "漢", "😀", "e\u0301", "12", "<s>"], k=rng.randint(1, 20)))

    for limited in (False, True):
        for one in (ours, theirs):
            one.no_truncation()
            one.no_padding()
            if limited:
                one.enable_truncation(7, stride=1)
                one.enable_padding(length=12)
        for _ in range(20):
            given = (text(), text())
            words = tuple(text() for _ in range(3))
            for texts, pretokenized in ((given, False), (given[:1], False), ((words,), True)):
                found = ours.encode(*texts, is_pretokenized=pretokenized)
                expected = theirs.encode(*texts, is_pretokenized=pretokenized)
                for a, b in zip([found, *found.overflowing], [expected, *expected.overflowing], strict=True):
                    assert a.offsets_in_bytes == in_bytes(b, texts), texts
        found = ours.post_process(ours.encode(given[0], add_special_tokens=False))
        assert found.offsets_in_bytes == in_bytes(theirs.encode(given[0]), given)


def test_an_encoding_without_its_text(theirs):
    for one in (ours(theirs.encode("é a")), Encoding.merge([ours(theirs.encode("a"))])):
        with pytest.raises(ValueError, match="no longer has its text"):
            _ = one.offsets_in_bytes
