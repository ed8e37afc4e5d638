"""Texts some of whose segments are trusted: what `tokenizers` makes of their parts, for growing text and chats."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
import tokenizers
from test_added_tokens import LETTERS, NORMALIZERS, PRE_TOKENIZERS, pipeline, tokens, told_apart

import gputok
from gputok import AddedToken, models

COLUMNS = ("ids", "tokens", "offsets", "word_ids", "type_ids", "special_tokens_mask", "attention_mask", "sequence_ids")
REAL = ("llama3", "llama2", "qwen3", "claude", "minilm-bert")
PIECES = ("a", " ", "  ", "\n", "é", "e", "\u0301", "12", "<", "|>", "tok", "ﬁ")


def same(found, expected):
    for name in COLUMNS:
        assert getattr(found, name) == getattr(expected, name), name
    assert [one.ids for one in found.overflowing] == [one.ids for one in expected.overflowing]


def ids_as_text(theirs, text, add_special_tokens=False):
    """What `tokenizers` makes of a text whose special tokens are text."""
    kept = theirs.encode_special_tokens
    theirs.encode_special_tokens = True
    try:
        return theirs.encode(text, add_special_tokens=add_special_tokens)
    finally:
        theirs.encode_special_tokens = kept


def opened(path):
    return gputok.Tokenizer.from_file(str(path)), tokenizers.Tokenizer.from_file(str(path))


def random_segments(rng, atoms, trusted=None):
    texts = ["".join(rng.choices(atoms, k=rng.randint(0, 5))) for _ in range(rng.randint(1, 6))]
    return [(text, rng.random() < 0.5 if trusted is None else trusted) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_all_trusted_and_none(shared_tokenizer, name):
    """All trusted is `encode`, none is `encode_special_tokens`, with each column, template, truncation and padding."""
    ours, theirs = opened(shared_tokenizer(name))
    rng = random.Random(1)
    atoms = [*[token.content for token in theirs.get_added_tokens_decoder().values()][:12], *PIECES]
    for limited in (False, True):
        if limited:
            for one in (ours, theirs):
                one.enable_truncation(5, stride=1)
                one.enable_padding(length=8)
        for special in (False, True):
            for _ in range(25):
                segments = random_segments(rng, atoms, True)
                text = "".join(text for text, _ in segments)
                same(ours.encode_segments(segments, special), theirs.encode(text, add_special_tokens=special))
                segments = [(text, False) for text, _ in segments]
                same(ours.encode_segments(segments, special), ids_as_text(theirs, text, special))


def runs_of(segments):
    grouped = itertools.groupby(segments, lambda one: one[1])
    return [("".join(text for text, _ in some), trusted) for trusted, some in grouped]


def expected_ids(theirs, segments, protected):
    """The definition, by `tokenizers`: protected tokens of trusted runs alone; what is between is one text, without."""
    if all(trusted for _, trusted in segments):
        return theirs.encode("".join(text for text, _ in segments), add_special_tokens=False).ids
    parts, text = [], ""
    for run, trusted in runs_of(segments):
        at = 0
        if trusted:
            found = theirs.encode(run, add_special_tokens=False)
            for id, (start, end) in zip(found.ids, found.offsets, strict=True):
                if id in protected:
                    parts += [text + run[at:start], id]
                    text, at = "", end
        text += run[at:]
    parts.append(text)
    return [id for part in parts for id in ([part] if isinstance(part, int) else ids_as_text(theirs, part).ids)]


def all_special(theirs, contents):
    """The same tokenizer, in which these added tokens are special: `encode_special_tokens` makes text of them."""
    state = json.loads(theirs.to_str())
    for token in state["added_tokens"]:
        token["special"] |= token["content"] in contents
    return tokenizers.Tokenizer.from_str(json.dumps(state))


@pytest.mark.slow
@pytest.mark.parametrize("protect", ["special", "added", "list"])
@pytest.mark.parametrize("name", ["llama3", "llama2", "qwen3", "claude"])
def test_trusted_and_untrusted_segments(shared_tokenizer, name, protect):
    ours, theirs = opened(shared_tokenizer(name))
    for one in (ours, theirs):
        one.add_tokens(["tok<", "a tok", "\n\n"])
    added = {token.content: id for id, token in theirs.get_added_tokens_decoder().items()}
    contents = {"special": set(), "added": {*added}, "list": {"tok<"}}[protect]
    theirs = all_special(theirs, contents)
    protected = {id for id, token in theirs.get_added_tokens_decoder().items() if token.special}
    rng = random.Random(2)
    atoms = [*[*added][:6], *[*added][-3:], *PIECES]
    n_found = 0
    for _ in range(120):
        segments = random_segments(rng, atoms)
        found = ours.encode_segments(segments, protect=[*contents] if protect == "list" else protect)
        assert found.ids == expected_ids(theirs, segments, protected), segments
        text = "".join(text for text, _ in segments)
        n_found += len(protected & {*found.ids})
        for id, (start, end) in zip(found.ids, found.offsets, strict=True):
            if id in protected:
                assert added[text[start:end].strip(" ")] == id
    assert n_found > 20


@pytest.mark.parametrize("pre_tokenizer", PRE_TOKENIZERS)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_tokens_of_all_kinds(normalizer, pre_tokenizer):
    """Tokens that are normalized, take white space or are single words: trusted runs make them, nothing else does."""
    rng = random.Random(f"{normalizer} {pre_tokenizer}")
    part = NORMALIZERS[normalizer](tokenizers.normalizers)
    for _ in range(7):
        added = told_apart(tokens(rng), part)
        ours, theirs = (pipeline(package, normalizer, pre_tokenizer, added) for package in (gputok, tokenizers))
        # Without those that the model gives as well
        of_model = {*theirs.get_vocab(with_added_tokens=False).values()}
        special = {id for id, token in theirs.get_added_tokens_decoder().items() if token.special} - of_model
        for _ in range(7):
            segments = random_segments(rng, [*LETTERS, *(content for content, _ in added)])
            text = "".join(text for text, _ in segments)
            assert ours.encode_segments([(text, True)]).ids == theirs.encode(text).ids
            assert ours.encode_segments([(text, False)]).ids == ids_as_text(theirs, text).ids
            alone = [theirs.encode(run).ids if trusted else [] for run, trusted in runs_of(segments)]
            found = ours.encode_segments(segments)
            assert [id for id in found.ids if id in special] == [id for ids in alone for id in ids if id in special], (
                segments
            )


def small(*special, plain=()):
    tokenizer = gputok.Tokenizer(models.BPE({c: i for i, c in enumerate("<abx>\u0338")}, []))
    tokenizer.add_special_tokens([*special])
    tokenizer.add_tokens([*plain])
    return tokenizer


def test_untrusted_text_does_not_break_a_token():
    """An `x` after `<a>` forms a longer token, which must not take the `<a>` with it; nor may it complete a token."""
    for tokenizer, joined in (
        (small("<a>", "<a>x"), [*"<a>x"]),
        (small("<a>", plain=[AddedToken("<a>x", normalized=False)]), ["<a>x"]),
    ):
        assert tokenizer.encode_segments([("<a>", True), ("x", False)]).tokens == ["<a>", "x"]
        assert tokenizer.encode_segments([("<a", True), (">", False), ("x", True)]).tokens == joined
        assert tokenizer.encode_segments([("<a", True), ("", False), (">", True)]).tokens == [*"<a>"]
        assert tokenizer.encode_segments([("<a", True), (">", True)]).tokens == ["<a>"]
        assert tokenizer.encode("<a>x").tokens == ["<a>x"]
    # A combining mark after the token would make another character of its end
    tokenizer = small(AddedToken("<a>", normalized=True))
    tokenizer.normalizer = gputok.normalizers.NFC()
    found = tokenizer.encode_segments([("<a>", True), ("\u0338b", False)])
    assert found.tokens == ["<a>", "\u0338", "b"] and found.offsets == [(0, 3), (3, 4), (4, 5)]
    assert "<a>" not in tokenizer.encode("<a>\u0338b").tokens


def test_white_space_of_the_trusted_run_only():
    tokenizer = gputok.Tokenizer(models.BPE({"a": 0, " ": 1}, []))
    tokenizer.add_special_tokens([AddedToken("<s>", lstrip=True, rstrip=True)])
    found = tokenizer.encode_segments([("a ", False), (" <s> ", True), (" a", False)])
    assert found.offsets == [(0, 1), (1, 2), (2, 7), (7, 8), (8, 9)]


def test_arguments():
    tokenizer = small("<a>")
    assert tokenizer.encode_segments([]).ids == [] and tokenizer.encode_segments([("", False)]).ids == []
    assert tokenizer.encode_segments([["<a>", np.bool_(True)]]).tokens == ["<a>"]
    for wrong in ("ab", [("a",)], [(True, "a")], [("a", 1)], [("a", None)], [b"ab"], ["ab"]):
        with pytest.raises(TypeError, match="a segment must be"):
            tokenizer.encode_segments(wrong)
    with pytest.raises(ValueError, match="protect='all': must be 'special', 'added' or a list"):
        tokenizer.encode_segments([("a", True)], protect="all")
    with pytest.raises(ValueError, match="protect: '<b>' are no added tokens"):
        tokenizer.encode_segments([("a", True)], protect=["<a>", "<b>"])
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode_segments([("\ud800", True), ("a", False)])
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode_segments([("<a>", True), ("<a>", False)]).tokens == [*"<a><a>"]
