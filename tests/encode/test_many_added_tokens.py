"""Many added tokens at once, in calls and in files, as `tokenizers` has them."""

from __future__ import annotations

import json
import pickle
import random

import pytest
import tokenizers

import gputok
from gputok import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from gputok.pipeline import added_vocabulary


def check_added(tokenizer, tokens, texts):
    """Adds tokens at once, in two calls, and from a file; each gives what tokenizers gives."""
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    ours, in_two = Tokenizer.from_str(tokenizer.to_str()), Tokenizer.from_str(tokenizer.to_str())
    upstream = [
        tokenizers.AddedToken(**token.to_dict()) if isinstance(token, AddedToken) else token for token in tokens
    ]
    n = theirs.add_tokens(upstream)
    assert ours.add_tokens(tokens) == n
    half = len(tokens) // 2
    assert in_two.add_tokens(tokens[:half]) + in_two.add_tokens(tokens[half:]) == n
    assert json.loads(ours.to_str()) == json.loads(theirs.to_str())
    read = Tokenizer.from_str(ours.to_str())
    assert read.to_str() == ours.to_str() == in_two.to_str()
    read_by_theirs = tokenizers.Tokenizer.from_str(theirs.to_str())
    for one, other in ((ours, theirs), (in_two, theirs), (read, read_by_theirs)):
        expected = [(e.ids, e.tokens, e.offsets) for e in map(other.encode, texts)]
        assert [(e.ids, e.tokens, e.offsets) for e in map(one.encode, texts)] == expected
        ids = [ids for ids, _, _ in expected]
        assert one.decode_batch(ids) == other.decode_batch(ids)


@pytest.mark.parametrize("normalizer", [None, normalizers.Lowercase(), normalizers.Replace("a", "")])
def test_many_added_tokens(normalizer):
    rng = random.Random(7)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[X]": 2, "?": 3}, unk_token="?"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.WhitespaceSplit()
    words = ["".join(rng.choices("abAB[]é_", k=rng.randrange(1, 5))) for _ in range(2000)]
    if normalizer is not None:  # of tokens with one normalized content, tokenizers finds any
        words = [word for content, word in {normalizer.normalize_str(word): word for word in words}.items() if content]
    options = "single_word", "lstrip", "rstrip", "normalized", "special"
    tokens = [
        AddedToken(word, **{name: rng.random() < 0.2 for name in options}) if rng.random() < 0.5 else word
        for word in words
    ]
    texts = [" ".join(rng.choices([*words, "a", "b", "c"], k=8)) for _ in range(50)]
    more = [] if normalizer else ["a", "[X]", AddedToken("b", special=True)]
    check_added(tokenizer, [*tokens, *more, "", tokens[0]], texts)


def test_an_added_token_of_a_list_is_wrong():
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    for tokens in (["x", "\ud800"], ["\ud800", "\udc00"], ["x", AddedToken("y"), "\udfff"]):
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            tokenizer.add_tokens(tokens)
    assert tokenizer.get_vocab() == {"a": 0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": -1}, r"added_tokens\[1\]\.id: must be a whole number"),
        ({"id": True}, r"added_tokens\[1\]\.id: must be a whole number|added_tokens\[1\]\.id: .*bool"),
        ({"content": 3}, r"added_tokens\[1\]\.content"),
        ({"lstrip": 1}, r"added_tokens\[1\]\.lstrip"),
        ({"special": None}, r"added_tokens\[1\]\.special"),
        ({"content": "\ud800"}, r"added_tokens\[1\]\.content: holds half of a surrogate pair"),
    ],
)
def test_an_added_token_of_a_file_is_wrong(wrong, message):
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    tokenizer.add_tokens(["x", "y", "z"])
    form = json.loads(tokenizer.to_str())
    form["added_tokens"][1] |= wrong
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_str(json.dumps(form))
    for other in ({}, "xyz", 3, {"id": 1}, [["id"]], ["x"]):
        form["added_tokens"] = other
        with pytest.raises(ValueError, match="added_tokens"):
            Tokenizer.from_str(json.dumps(form))


def test_added_tokens_stay_what_they_were():
    given = gputok.AddedToken("x", lstrip=True)
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    tokenizer.add_tokens([given])
    given.content = "other"
    assert tokenizer.get_vocab() == {"a": 0, "x": 1}
    assert tokenizer.get_added_tokens_decoder() == {1: AddedToken("x", lstrip=True)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 12))])
def test_added_one_by_one(seed, monkeypatch):
    """Encoded after each: also by the tokenizer as it was before, and by copies that get other tokens next."""
    monkeypatch.setattr(added_vocabulary, "_FEW", [2, 1 << 10][seed % 2])  # mappings of two parts soon, or never
    rng = random.Random(seed)
    words = [*dict.fromkeys("".join(rng.choices("abAB [é_", k=rng.randrange(1, 6))).strip() or "a" for _ in range(90))]
    kinds = "single_word", "lstrip", "rstrip", "normalized", "special"
    texts = [" ".join(rng.choices([*words, "a", "b", "c"], k=30)) for _ in range(12)]
    pair = []
    for package in (gputok, tokenizers):
        made = package.Tokenizer(package.models.WordLevel({"[U]": 0, "a": 1, "ab": 2, "[": 3}, unk_token="[U]"))
        made.normalizer = [None, package.normalizers.Lowercase(), package.normalizers.NFD()][seed % 3]
        made.pre_tokenizer = package.pre_tokenizers.WhitespaceSplit()
        pair.append(made)
    if seed % 3 == 1:  # of tokens with one normalized content, tokenizers finds any
        words = [*{word.lower(): word for word in words}.values()]

    def same(ours, theirs):
        for text in rng.sample(texts, 4):
            one, other = ours.encode(text), theirs.encode(text)
            assert (one.ids, one.tokens, one.offsets) == (other.ids, other.tokens, other.offsets)
            # tokenizers decodes by the first options of a token that gets others
            assert i >= 9 or ours.decode(one.ids) == theirs.decode(one.ids)
        assert [e.ids for e in ours.encode_batch(texts)] == [e.ids for e in theirs.encode_batch(texts)]

    def add(pair, word):
        options = {name: rng.random() < 0.25 for name in kinds}
        door = rng.choice(["add_tokens", "add_special_tokens"])
        for made, package in zip(pair, (gputok, tokenizers), strict=True):
            getattr(made, door)([package.AddedToken(word, **options), *[word + "]"][: seed % 2]])
        same(*pair)

    for i, word in enumerate(words):
        # Now and then, a token that is known gets other options
        add(pair, rng.choice(words[: i + 1]) if i % 10 == 9 else word)
        if i % 16 == 8:
            copies = Tokenizer.of(pair[0].pipeline), tokenizers.Tokenizer.from_str(pair[1].to_str())
            before = Tokenizer.of(pair[0].pipeline), tokenizers.Tokenizer.from_str(pair[1].to_str())
            add(copies, f"<{i}>")
            add(pair, f"<{i}a>")
            same(*before)
            same(*copies)
    ours, theirs = pair
    assert json.loads(ours.to_str()) == json.loads(theirs.to_str())
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_vocab_size() == theirs.get_vocab_size()
    assert pickle.loads(pickle.dumps(ours)).to_str() == ours.to_str()
    for made in pair:
        made.encode_special_tokens = True
    same(*pair)


def test_one_more_of_many():
    """One more token copies no mapping of the others, and makes nothing of them anew."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.add_tokens([f"<{i}>" for i in range(5000)])
    tokenizer.encode("a")
    before, seen = tokenizer.pipeline.added, []
    assert isinstance(before.tokens, dict)
    tokenizer.add_tokens(["more"])
    added = tokenizer.pipeline.added
    original, added._finder = added._finder, lambda *given: seen.append([*given[3]]) or original(*given)
    assert tokenizer.encode("a <4999>more").ids == [0, 5000, 5001]
    assert seen == [[5001], [5001]]
    assert added.tokens.maps[1] is before.tokens and added.finder(True).edges is before.finder(True).edges
