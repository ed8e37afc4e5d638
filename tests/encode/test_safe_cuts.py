"""Models without a pre-tokenizer (Llama 2, Gemma, Mistral): text cut where no token crosses, against `tokenizers`."""

import itertools
import json
import random

import numpy as np
import pytest
import tokenizers
from gputok.kernels.cpu.lookup import side_by_side

import gputok
from gputok import models, normalizers, pre_tokenizers
from gputok.models.bpe.cuts import safe_cuts
from gputok.pipeline.encode.units import engine_of as engine_of_pipeline
from gputok.text.pieces import TextBatch
from gputok.text.way import Unit
from gputok.tokens.vocabulary import pack

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
REPLACE = normalizers.Replace(" ", "▁")
LLAMA2 = normalizers.Sequence([normalizers.Prepend("▁"), REPLACE])
GEMMA = pre_tokenizers.Split(" ", "merged_with_previous")


def random_model(rng, spaces_inside=False, **options):
    """A BPE with byte fallback, of merges of what earlier ones made; by default none has a space after a letter."""
    tokens = [*"▁ab.,é中国12\n"]
    merges = []
    while len(merges) < 40:
        pair = rng.choice(tokens), rng.choice(tokens)
        crosses = "▁" in pair[1] and pair[0].strip("▁")
        if "".join(pair) not in tokens and (spaces_inside or not crosses):
            merges.append(pair)
            tokens.append("".join(pair))
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", *BYTES, *tokens])}
    return models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True, **options)


def cuts_of(tokens):
    return safe_cuts(side_by_side(*pack(tokens), np.ones(len(tokens), bool))[0], "▁")


def random_texts(rng, n):
    stems = [*"ab.,é中国12\n xyß▁", " ", "  ", " a", "ab", "<s>", "<s>", "[x]", "😀"]
    return ["".join(rng.choices(stems, k=rng.choice([0, 1, 2, 8, 40]))) for _ in range(n)]


def tokenizer_of(model, normalizer=None, pre_tokenizer=None):
    tokenizer = gputok.Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens([gputok.AddedToken("<s>", normalized=False)])
    return tokenizer


def engine_of(tokenizer):
    """The engine that walks over lines, or None."""
    engine = engine_of_pipeline(tokenizer.pipeline)
    return engine if getattr(engine, "unit", None) == Unit.LINE else None


def check(tokenizer, texts):
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str()).encode_batch_fast(texts)
    expected = [encoding.ids for encoding in theirs]
    for threads in (1, 2):
        batches = list(tokenizer.encode_corpus(iter(texts), threads=threads))
        ids = [id for batch in batches for id in batch.ids.tolist()]
        sizes = [n for batch in batches for n in np.diff(batch.rows).tolist()]
        assert sizes == [len(one) for one in expected]
        assert ids == list(itertools.chain(*expected))


STEPS = {
    "Llama 2": (LLAMA2, None),
    "Gemma": (REPLACE, GEMMA),
    "Gemma 1": (REPLACE, None),
    "Mistral": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "always": (None, pre_tokenizers.Metaspace(split=False)),
    "never": (None, pre_tokenizers.Metaspace(prepend_scheme="never", split=False)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_ids_are_those_of_tokenizers(steps, seed):
    rng = random.Random(seed)
    tokenizer = tokenizer_of(random_model(rng), *steps)
    assert engine_of(tokenizer)
    texts = random_texts(rng, 300)
    check(tokenizer, texts)
    tokenizer.add_tokens([gputok.AddedToken("[x]", lstrip=True, rstrip=True, normalized=False)])
    check(tokenizer, texts)


@pytest.mark.parametrize("seed", range(3))
def test_tokens_that_are_looked_for_in_normalized_text(seed):
    rng = random.Random(seed)
    for steps, by_line in ((STEPS["Mistral"], True), (STEPS["Llama 2"], False)):
        tokenizer = tokenizer_of(random_model(rng), *steps)
        tokenizer.add_tokens([gputok.AddedToken("[x]", normalized=True)])
        assert (engine_of(tokenizer) is not None) == by_line
        check(tokenizer, random_texts(rng, 200))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"ignore_merges": True}, STEPS["Gemma"]),
        ({"dropout": 0.5}, STEPS["Gemma"]),
        ({"spaces_inside": True}, STEPS["Gemma"]),
        ({}, (None, None)),
        ({}, (normalizers.Sequence([REPLACE, normalizers.Lowercase()]), None)),
        ({}, (normalizers.Replace(gputok.Regex(" "), "▁"), None)),
        ({}, (REPLACE, pre_tokenizers.Split(" ", "removed", invert=True))),
        ({}, (REPLACE, pre_tokenizers.Split("a", "isolated"))),
        ({}, (REPLACE, pre_tokenizers.Metaspace(split=False))),
        ({}, (None, pre_tokenizers.Metaspace("_", split=False))),
    ],
)
def test_what_is_more_than_that_takes_its_steps(options, steps):
    rng = random.Random(5)
    tokenizer = tokenizer_of(random_model(rng, **options), *steps)
    assert engine_of(tokenizer) is None
    if "dropout" not in options:
        check(tokenizer, random_texts(rng, 100))


def test_without_all_byte_tokens_unknown_characters_are_fused():
    model = random_model(random.Random(6))
    vocabulary = {token: id for token, id in model.get_vocab().items() if token != "<0xC3>"}
    merges = [tuple(pair) for pair in model.to_dict()["merges"]]
    options = {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
    tokenizer = tokenizer_of(models.BPE(vocabulary, merges, **options), *STEPS["Gemma"])
    assert engine_of(tokenizer) is None
    check(tokenizer, ["ßß ßüa", *random_texts(random.Random(7), 100)])


def test_where_text_is_cut():
    def words(tokens, text):
        automaton = cuts_of(tokens)
        assert automaton is not None and automaton.gapless
        pieces = gputok.text.pieces.Pieces.from_batch(TextBatch.from_strings([text]))
        return pre_tokenizers.cut_pieces(pieces, automaton, "isolated").strings()

    tokens = ["th", "the", "▁the", "▁▁", "..", "▁.", "中国", "é."]
    assert words(tokens, "the  the the.") == ["the", "  the", " the", "."]
    assert words(tokens, "the▁the") == ["the", "▁the"]
    assert words(tokens, "a...b12") == ["a", "...", "b", "1", "2"]  # no token has a `b`, but it is a letter
    assert words(tokens, "中国人é.the") == ["中国", "人", "é.", "the"]
    assert cuts_of(["e▁"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["en", "code", "multi", "zh"])
def test_real_text(shared_tokenizer, corpus_sample, name):
    """Llama 2, and Gemma's steps around its vocabulary."""
    form = json.loads(shared_tokenizer("llama2").read_text())
    texts = [*corpus_sample(name, 150_000).split("\n\n"), corpus_sample(name, 50_000)]
    check(gputok.Tokenizer.from_str(json.dumps(form)), texts)
    form["normalizer"], form["pre_tokenizer"] = REPLACE.to_dict(), GEMMA.to_dict()
    check(gputok.Tokenizer.from_str(json.dumps(form)), texts)
