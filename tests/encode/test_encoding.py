"""Encodings: every operation against that of tokenizers, on encodings that tokenizers made."""

import copy
import json
import pickle
import random

import pytest
import tokenizers

from gputok import Encoding


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
        assert [state(part) for part in encoding.overflowing] == [
            state(part) for part in expected.overflowing
        ]
        for i in range(14):
            for name in ("token_to_sequence", "token_to_chars", "token_to_word"):
                assert getattr(encoding, name)(i) == getattr(expected, name)(i), (name, i)
            for name in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars"):
                for sequence in (0, 1):
                    assert getattr(encoding, name)(i, sequence) == getattr(expected, name)(i, sequence), (
                        name,
                        i,
                    )


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
