"""Models against `tokenizers`, asked live: the same tokens, ids, offsets, files, JSON, repr and pickle."""

import json
import random

import pytest
import tokenizers

from gputok import models

ALPHABET = ["a", "b", "c", "é", "漢", "😀", " "]


def tuples(tokens) -> list[tuple]:
    return [token.as_tuple() for token in tokens]


def answer(model, text):
    """The tokens of a text, or that there is an error."""
    try:
        return tuples(model.tokenize(text))
    except Exception:
        return "error"


def assert_same_tokens(ours, theirs, texts) -> None:
    for text in texts:
        assert answer(ours, text) == answer(theirs, text), text


def random_bpe(rng: random.Random) -> dict:
    """Arguments of a BPE with random merges, affixes, byte tokens, unknown token and holes in its alphabet."""
    prefix, suffix = rng.choice([None, "", "##", "é"]), rng.choice([None, None, "", "</w>"])
    letters = [letter for letter in ALPHABET if rng.random() < 0.8]
    tokens = dict.fromkeys(letters)
    for letter in letters:
        for before in ("", prefix or ""):
            for after in ("", suffix or ""):
                if rng.random() < 0.8:
                    tokens[before + letter + after] = None
    merges = []
    for _ in range(rng.randrange(40)):
        left, right = (rng.choice([*tokens] or ["a"]) for _ in range(2))
        cut = len((prefix or "").encode())
        if len(right.encode()) < cut or not tokens:
            continue
        try:
            joined = left + right.encode()[cut:].decode()
        except UnicodeDecodeError:
            continue
        tokens[joined] = None
        merges.append((left, right))
    if rng.random() < 0.5:
        for byte in range(256):
            if rng.random() < 0.9:
                tokens[f"<0x{byte:02X}>"] = None
    unk = rng.choice([None, "<unk>", "lacking"])
    if unk == "<unk>":
        tokens[unk] = None
    numbers = rng.sample(range(2 * len(tokens)), len(tokens))
    options = {
        "unk_token": unk,
        "continuing_subword_prefix": prefix,
        "end_of_word_suffix": suffix,
        "fuse_unk": rng.random() < 0.5,
        "byte_fallback": rng.random() < 0.5,
        "ignore_merges": rng.random() < 0.3,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"vocab": dict(zip(tokens, numbers, strict=True)), "merges": merges, **given}


def random_texts(rng: random.Random, n: int, longest: int = 30) -> list[str]:
    return ["".join(rng.choices([*ALPHABET, "z", "\0", "ß"], k=rng.randrange(longest))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(150))
def test_random_bpe(seed):
    rng = random.Random(seed)
    arguments = random_bpe(rng)
    ours, theirs = models.BPE(**arguments), tokenizers.models.BPE(**arguments)
    assert_same_tokens(ours, theirs, random_texts(rng, 40))
    assert_same_tokens(ours, theirs, ["".join(rng.choices("abé", k=400))])
    assert json.loads(ours.__getstate__()) == json.loads(theirs.__getstate__())
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
