"""Counts of any part of a text, and parts within a budget, are those of `encode`."""

import copy
import itertools
import json
import pickle
import random

import growing
import pytest
from typer.testing import CliRunner

from gputok.budgets import Part
from gputok.cli import app

NAMES = [
    "cl100k",
    "o200k",
    "Qwen 3",
    "Llama 2",
    "Gemma",
    "Mistral",
    "BERT",
    "T5",
    "single_word",
    "Unigram of texts",
    "no tokens",
]


def n_tokens(tokenizer, text):
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request):
    return growing.KINDS[request.param][1]()


def long_text(tokenizer, seed, n):
    rng = random.Random(seed)
    return "".join(
        rng.choices([*growing.atoms_of(tokenizer, rng), *(" ", "the ", " ab ", "Hello. ", "\n\n") * 10], k=n)
    )


def test_counts_are_those_of_encode(tokenizer):
    rng, text = random.Random(1), long_text(tokenizer, 1, 400)
    counts = tokenizer.counts(text)
    assert counts.between() == tokenizer.count(text) == n_tokens(tokenizer, text)
    assert tokenizer.count([text, "", text[:9]]) == [n_tokens(tokenizer, one) for one in (text, "", text[:9])]
    for _ in range(300):
        start = rng.randrange(len(text) + 1)
        stop = rng.choice([len(text), start, min(len(text), start + rng.randrange(300))])
        assert counts.between(start, stop) == n_tokens(tokenizer, text[start:stop]), (text, start, stop)
    for start, stop in ((-1, 2), (3, 2), (0, len(text) + 1)):
        with pytest.raises(ValueError, match="the text has"):
            counts.between(start, stop)


@pytest.mark.parametrize("overlap", [0, 7, 20])
@pytest.mark.parametrize("at", [None, ["\n\n", ". "], " "])
def test_parts_are_within_the_budget_and_leave_nothing_out(tokenizer, overlap, at):
    for seed in range(4):
        text = long_text(tokenizer, seed, 250)
        parts = tokenizer.split(text, 40, overlap=overlap, at=at)
        done = begun = 0
        for start, stop, n in parts:
            assert n == n_tokens(tokenizer, text[start:stop]) <= 40
            assert begun <= start <= done < stop
            assert not start or start > begun
            assert n_tokens(tokenizer, text[start:done]) <= overlap
            begun, done = start, stop
        assert done == len(text)
        assert len(parts) <= 2 * n_tokens(tokenizer, text) / (40 - overlap) + 2
        separators = [at] if isinstance(at, str) else at or []
        for part in parts[:-1]:
            some = text[part.start : part.stop]
            before = text[part.start : max(part.start, begun)]
            if any(one in some[:-1] for one in separators) and not before:
                assert some.endswith(tuple(separators))


def test_parts_are_full_and_end_at_words():
    tokenizer = growing.KINDS["cl100k"][1]()
    rng = random.Random(3)
    text = " ".join(rng.choices(["the", "Hello", "ab", "fooBar", "WORLD", "12"], k=4000))
    parts = tokenizer.split(text, 100)
    assert min(part.n_tokens for part in parts[:-1]) >= 95
    assert all(text[part.start] == " " for part in parts[1:])
    overlapping = tokenizer.split(text, 100, overlap=30)
    shared = [n_tokens(tokenizer, text[two.start : one.stop]) for one, two in itertools.pairwise(overlapping)]
    assert all(25 <= n <= 30 for n in shared)
    assert all(text[part.start] == " " for part in overlapping[1:])


def test_long_words_are_cut_between_characters():
    tokenizer = growing.KINDS["gpt2"][1]()
    text = "ab " + "漢" * 50 + " the"
    parts = tokenizer.split(text, 10)
    assert "".join(text[part.start : part.stop] for part in parts) == text
    assert all(part.n_tokens <= 10 for part in parts)
    with pytest.raises(ValueError, match="max_tokens=2: the character '漢' at 3 alone has 3 tokens"):
        tokenizer.split(text, 2)


def test_texts_and_wrong_arguments():
    tokenizer = growing.KINDS["gpt2"][1]()
    assert tokenizer.split("", 5) == [] == tokenizer.split([], 5)
    assert tokenizer.split(["the", ""], 5) == [[Part(0, 3, n_tokens(tokenizer, "the"))], []]
    for wrong in ({"max_tokens": 0}, {"max_tokens": 5, "overlap": 5}, {"max_tokens": 5, "overlap": -1}):
        with pytest.raises(ValueError, match=r"max_tokens|overlap"):
            tokenizer.split("the", **wrong)
    with pytest.raises(ValueError, match="at="):
        tokenizer.split("the", 5, at=["a", ""])
    with pytest.raises(TypeError, match="text"):
        tokenizer.counts(b"the")


def test_copies_of_counts(tokenizer):
    counts = tokenizer.counts(text := "so it goes, so it goes" * 20)
    for other in (pickle.loads(pickle.dumps(counts)), copy.copy(counts), copy.deepcopy(counts)):
        assert [other.between(3, i) for i in range(3, len(text))] == [counts.between(3, i) for i in range(3, len(text))]


def test_the_command_writes_parts_as_json_lines(tmp_path):
    tokenizer = growing.KINDS["gpt2"][1]()
    tokenizer.save(str(tmp_path / "t.json"))
    text = "the ab\nHello é " * 40
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in ("the", text)))
    options = ["-t", str(tmp_path / "t.json"), "--max-tokens", "50", "--overlap", "5", "--at", "\\n"]
    names = [str(tmp_path / name) for name in ("a.txt", "b.jsonl")]
    done = CliRunner().invoke(app, ["split", *names, *options])
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [
        {"document": i, "start": start, "stop": stop, "tokens": n, "text": one[start:stop]}
        for i, one in enumerate([text, "the", text])
        for start, stop, n in tokenizer.split(one, 50, overlap=5, at="\n")
    ]
    assert found == expected
    done = CliRunner().invoke(app, ["split", *names, *options, "-o", str(tmp_path / "parts.jsonl")])
    assert [json.loads(line) for line in (tmp_path / "parts.jsonl").read_text().splitlines()] == expected
