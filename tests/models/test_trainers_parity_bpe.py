"""ParityBpeTrainer: worked examples, its kernel compared with the plain version, and with the installed `tokenizers`.

tokenizers numbers affixed characters in the order of a hash table, but no merge depends on their ids; there the merges
and the set of tokens must be equal, everywhere else the ids too.
"""

import copy
import json
import math
import pickle
import random
import warnings

import numpy as np
import pytest
import tokenizers
import tokenizers.trainers
from gputok.kernels import ParityLimits
from gputok.kernels.cpu import train_parity_bpe as parity_bpe

from gputok import AddedToken, Tokenizer, WordCounts, models, normalizers, pre_tokenizers
from gputok.implementations import ByteLevelBPETokenizer
from gputok.trainers import BpeTrainer, ParityBpeTrainer
from tests import reference

Corpus = list[list[str]]  # a list of texts for each language


def theirs(train: Corpus, dev: Corpus | None = None, ratio=None, *, set_up=None, **options):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit() if set_up is None else set_up(tokenizers)
    trainer = tokenizers.trainers.ParityBpeTrainer(show_progress=False, **options)
    trainer.train_from_iterator(tokenizer, train, dev, ratio)
    return json.loads(tokenizer.to_str())


def ours(train: Corpus, dev: Corpus | None = None, ratio=None, *, set_up=None, **options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit() if set_up is None else set_up(gputok_parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ParityBpeTrainer(**options).train_from_iterator(tokenizer, train, dev, ratio, progress=False)
    return json.loads(tokenizer.to_str())


class gputok_parts:
    pre_tokenizers = pre_tokenizers


def merges(train: Corpus, *arguments, **options) -> list[str]:
    return [" ".join(merge) for merge in ours(train, *arguments, **options)["model"]["merges"]]


# ---- by hand


def test_languages_take_turns():
    """Both have four symbols ten times; the first of equals begins, and of equal pairs the last strings."""
    train = [["aabb"] * 10, ["ccdd"] * 10]
    assert merges(train, num_merges=6) == ["b b", "d d", "a bb", "c dd", "a abb", "c cdd"]


def test_development_text_decides_before_training_text():
    train, dev = [["ab"] * 10, ["cd"] * 5], [["ab"], ["cd"] * 10]
    assert merges(train, num_merges=2) == ["a b", "c d"]
    assert merges(train, dev, num_merges=2) == ["c d", "a b"]
    assert merges(train, dev, [1, 9], num_merges=2) == ["c d", "a b"]


def test_a_higher_ratio_gives_more_merges():
    train = [["abcdefgh"] * 10, ["ijklmnop"] * 10]
    assert merges(train, ratio=[1, 1], num_merges=4) == ["g h", "o p", "f gh", "n op"]
    assert merges(train, ratio=[1, 3], num_merges=4) == ["o p", "n op", "m nop", "l mnop"]


def test_with_a_window_no_language_gets_all_merges():
    train = [["aabb"] * 100, ["ccdd"]]
    assert merges(train, num_merges=4) == ["b b", "a bb", "a abb", "d d"]
    window = {"variant": "window", "window_size": 2, "alpha": 1.0}
    assert merges(train, num_merges=4, **window) == ["b b", "a bb", "d d", "a abb"]


def test_the_first_merges_are_those_of_all_languages():
    """c d occurs six times in all, as often as a b, but its strings are last; the first language prefers a b."""
    train = [["ab"] * 5 + ["cd"], ["ab"] + ["cd"] * 5]
    assert merges(train, num_merges=2) == ["a b", "c d"]
    assert merges(train, num_merges=2, global_merges=1) == ["c d", "a b"]


def test_total_symbols_counts_the_tokens_before_any_merge():
    """a, b and c, and <s>; then there are ##b and ##c, too."""
    options = {"total_symbols": True, "special_tokens": ["<s>"]}
    train = [["ab", "abc", "bb", "cb"] * 5]
    assert len(merges(train, num_merges=5, **options)) == 1
    assert len(merges(train, num_merges=7, continuing_subword_prefix="##", **options)) == 1
    assert merges(train, num_merges=3, **options) == []


def test_one_language_is_trained_like_plain_bpe_but_for_ties():
    r = random.Random(0)
    texts = ["".join(r.choices("abcd", k=9)) for _ in range(60)]
    parity, plain = Tokenizer(models.BPE()), Tokenizer(models.BPE())
    ParityBpeTrainer(num_merges=3).train_from_iterator(parity, [texts], progress=False)
    plain.train_from_iterator(texts, BpeTrainer(vocab_size=7, show_progress=False))
    assert parity.get_vocab() == plain.get_vocab()


# ---- the kernel against the plain version


def random_texts(r: random.Random, n: int, letters: str | None = None) -> Corpus:
    alphabets = [letters or r.choice(["ab", "abc", "abcdef", "aé日", "a\U0001f600b#"]) for _ in range(n)]
    return [
        [
            " ".join("".join(r.choices(letters, k=r.randint(1, r.choice([2, 9])))) for _ in range(r.randint(1, 6)))
            for _ in range(r.choice([0, 1, 8, 20]))
        ]
        for letters in alphabets
    ]


@pytest.mark.parametrize("slice_length", [1, 2_000_000])
def test_kernel(slice_length):
    """Random words, few letters, with a prefix that lets strings be spelt twice in half of the cases."""
    learnt = 0
    for seed in range(60):
        r = random.Random(seed)
        n = r.randint(1, 4)
        letters = r.choice(["ab", "abc", "aé日x"])
        words = ["".join(r.choices(letters, k=r.randint(0, 9))) for _ in range(r.choice([0, 3, 30, 90]))]
        tokens = [c.encode() for c in sorted(letters)]
        limits = ParityLimits(
            n,
            r.choice([0, 3, 1000, 1000, 1000]),
            r.choice([0, 2, 5]),
            r.choice([2**62, 2**62, 2, 4]),
            r.choice([b"", tokens[0], b"##"]),
            r.choice([0, 0, 3, 1000]),
            r.random() < 0.5,
            r.choice([(), tuple(r.choice([0.5, 1.0, 3.0]) for _ in range(n))]),
            r.choice([0, 1, 4]),
            r.choice([0.1, 0.5, 0.7]),
        )
        arguments = (
            np.array([sorted(letters).index(c) for word in words for c in word], np.uint32),
            np.cumsum([0, *map(len, words)], dtype=np.int64),
            np.array([r.choice([1, 2, 7]) for _ in words], np.int64),
            np.array([r.randrange(2 * n) for _ in words], np.int64),
            np.frombuffer(b"".join(tokens), np.uint8),
            np.cumsum([0, *map(len, tokens)], dtype=np.int64),
            limits,
        )
        expected = reference.train_parity_bpe(*arguments)
        found = parity_bpe.train_parity_bpe(*arguments, slice_length=slice_length)
        for name, a, b in zip(expected._fields, found, expected, strict=True):
            assert np.array_equal(a, b), (seed, name, limits)
        learnt += len(expected.left)
    assert learnt > 400


# ---- against tokenizers


def random_options(r: random.Random) -> dict:
    choices = {
        "num_merges": [0, 3, 20, 500],
        "min_frequency": [0, 2, 3],
        "global_merges": [1, 4, 30],
        "total_symbols": [True],
        "special_tokens": [["<s>", "a"], ["ab", "b", "ab"]],
        "initial_alphabet": [["x", "a"], ["日"]],
        "max_token_length": [0, 1, 2, 3, 5],
        "continuing_subword_prefix": ["", "##"],
        "end_of_word_suffix": ["", "</w>"],
    }
    options = {name: r.choice(values) for name, values in choices.items() if r.random() < 0.3}
    if r.random() < 0.5:
        options |= {
            "variant": "window",
            "window_size": r.choice([1, 2, 5, 100]),
            "alpha": r.choice([1.0, 1.5, 2.0, 3.0]),
        }
    return options


def balance(r: random.Random, train: Corpus, letters: str | None = None) -> tuple[Corpus | None, list[float] | None]:
    """(dev, ratio): neither, one of them, or both; with a ratio a language without text makes tokenizers loop."""
    n = len(train)
    dev = random_texts(r, n, letters) if r.random() < 0.4 else None
    ratio = [r.choice([0.5, 1.0, 1.0, 2.57]) for _ in range(n)] if r.random() < 0.5 and all(train) else None
    return dev, ratio


def assert_equal(mine: dict, upstream: dict, where) -> None:
    model, expected = mine["model"], upstream["model"]
    assert model["merges"] == expected["merges"], where
    assert {*model["vocab"]} == {*expected["vocab"]}, where
    if not expected["continuing_subword_prefix"] and not expected["end_of_word_suffix"]:
        assert mine == upstream, where


@pytest.fixture
def stuck(monkeypatch):
    """Whether tokenizers wouldn't return: it looks for a language that isn't chosen too often, but all others are
    exhausted. The plain version is run beside the kernel to tell; so it is held to be equal here, too.
    """
    choose_language, train_parity_bpe = reference.choose_language, parity_bpe.train_parity_bpe
    found = []

    def watched(urgency, recent, limits):
        chosen = choose_language(urgency, recent, limits)
        too_often = limits.window and recent.count(chosen) / limits.window > limits.threshold
        found.append(too_often and -math.inf in urgency[1:])
        return chosen

    def both(*arguments):
        learnt = train_parity_bpe(*arguments)
        for a, b in zip(learnt, reference.train_parity_bpe(*arguments), strict=True):
            assert np.array_equal(a, b)
        return learnt

    def answer():
        was, found[:] = any(found), []
        return was

    monkeypatch.setitem(reference.train_parity_bpe.__globals__, "choose_language", watched)
    monkeypatch.setattr(parity_bpe, "train_parity_bpe", both)
    return answer


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.full) for part in range(1, 8))])
def test_random_corpora(part, stuck):
    compared = learnt = 0
    for seed in range(part, 400, 8):
        r = random.Random(seed)
        train = random_texts(r, r.randint(1, 4))
        options, (dev, ratio) = random_options(r), balance(r, train)
        mine = ours(train, dev, ratio, **options)
        if stuck():
            continue
        assert_equal(mine, theirs(train, dev, ratio, **options), (seed, train, dev, ratio, options))
        compared += 1
        learnt += len(mine["model"]["merges"])
    assert compared > 30 and learnt > 500


def test_two_merges_that_make_one_string(stuck):
    """With a prefix made of characters of the text, but without development words, which tokenizers can lose then."""
    twice = 0
    for seed in range(50):
        r = random.Random(seed)
        train = random_texts(r, r.randint(1, 3), "ab")
        options = random_options(r) | {"continuing_subword_prefix": r.choice(["a", "b", "ab"])}
        ratio = balance(r, train)[1]
        mine = ours(train, None, ratio, **options)
        if stuck():
            continue
        upstream = theirs(train, None, ratio, **options)
        assert_equal(mine, upstream, (seed, train, ratio, options))
        prefix = options["continuing_subword_prefix"]
        made = [a + b.removeprefix(prefix) for a, b in upstream["model"]["merges"]]
        twice += len({*made}) < len(made)
    assert twice > 10


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_limit_alphabet(limit):
    """No two characters are equally frequent. A development word with a dropped one does not count at all."""
    train = [["abc" * 3, "a" * 40, "bd"], ["b" * 30 + "c", "ca" * 9]]
    dev = [["ab", "ad"], ["abc", "cc"]]
    for options in ({}, {"end_of_word_suffix": "</w>"}):
        options = options | {"limit_alphabet": limit, "num_merges": 20}
        assert_equal(ours(train, dev, **options), theirs(train, dev, **options), options)


def byte_level(package):
    return package.pre_tokenizers.ByteLevel(add_prefix_space=False)


@pytest.mark.parametrize("variant", ["base", "window"])
def test_real_text(variant, corpus_sample):
    """Four corpora as languages, one of them the development text's half."""
    texts = [corpus_sample(name, 20_000).splitlines(keepends=True) for name in ("en", "code", "multi", "zh")]
    train, dev = [lines[::2] for lines in texts], [lines[1::2] for lines in texts]
    options = {"num_merges": 800, "variant": variant, "special_tokens": ["<s>"], "set_up": byte_level}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    for more in ((dev, None), (None, [1.0, 1.2, 2.0, 2.57])):
        for extra in ({}, {"global_merges": 300}):
            both = options | extra | {"initial_alphabet": alphabet}
            assert ours(train, *more, **both) == theirs(train, *more, **both)


def test_the_tokenizer_that_is_trained():
    """Its normalizer and pre-tokenizer are used, added tokens don't cut words, and the model is a new one."""
    results = []
    for T, m, n, p, trainer in (
        (tokenizers.Tokenizer, tokenizers.models, tokenizers.normalizers, tokenizers.pre_tokenizers,
         tokenizers.trainers.ParityBpeTrainer),
        (Tokenizer, models, normalizers, pre_tokenizers, ParityBpeTrainer),
    ):  # fmt: skip
        tokenizer = T(m.BPE(unk_token="?", dropout=0.5))
        tokenizer.normalizer, tokenizer.pre_tokenizer = n.Lowercase(), p.Whitespace()
        tokenizer.add_tokens(["bc"])
        train = trainer(num_merges=9, special_tokens=["<s>", "[x]"], show_progress=False).train_from_iterator
        train(tokenizer, [["ABCD abcd xbcy", ["bc", "Bc"]], iter(["dcba", "DCBA ba"])])
        results.append((json.loads(tokenizer.to_str())["model"], tokenizer.encode("<s> ABC [x] dcba").tokens))
    assert results[0] == results[1]


def test_a_ready_made_tokenizer_can_be_trained():
    ready = ByteLevelBPETokenizer()
    ready.add_tokens(["bc"])
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for tokenizer in (ready, plain):
        trainer = ParityBpeTrainer(num_merges=5, special_tokens=["<s>"], show_progress=False)
        trainer.train_from_iterator(tokenizer, [["abcd abcd xbcy"] * 3, ["dcba dcba"]])
    assert ready.model.get_vocab() == plain.get_vocab()


# ---- options


VALUES = {
    "num_merges": 5,
    "variant": "window",
    "min_frequency": 2,
    "ratio": [1, 2.5],
    "global_merges": 3,
    "window_size": 7,
    "alpha": 1.5,
    "total_symbols": True,
    "special_tokens": ["<s>"],
    "show_progress": False,
    "limit_alphabet": 4,
    "initial_alphabet": ["a"],
    "continuing_subword_prefix": "##",
    "end_of_word_suffix": "</w>",
    "max_token_length": 3,
}


@pytest.mark.parametrize("names", [(), *((name,) for name in VALUES), tuple(VALUES)], ids="-".join)
def test_options_are_attributes_and_shown_as_tokenizers_does(names):
    options = {name: VALUES[name] for name in names}
    mine, upstream = ParityBpeTrainer(**options), tokenizers.trainers.ParityBpeTrainer(**options)
    assert repr(mine) == repr(upstream) and str(mine) == str(upstream)
    assert mine.__getstate__() == upstream.__getstate__()
    for name in {*VALUES} - {"ratio"}:  # which has no attribute there
        assert str(getattr(mine, name)) == str(getattr(upstream, name))
    if {"variant", "ratio"}.isdisjoint(names):  # which can't be set there
        mine, upstream = ParityBpeTrainer(), tokenizers.trainers.ParityBpeTrainer()
        for name, value in options.items():
            setattr(mine, name, value)
            setattr(upstream, name, value)
        assert mine.__getstate__() == upstream.__getstate__()


@pytest.mark.parametrize("alpha", [1, -1, 0.1, 1e-7, 1e22, float("nan"), float("inf")])
def test_alpha_is_shown_alike(alpha):
    assert repr(ParityBpeTrainer(alpha=alpha)) == repr(tokenizers.trainers.ParityBpeTrainer(alpha=alpha))


def test_positions_pickle_and_copy():
    assert repr(ParityBpeTrainer(5, "window")) == repr(tokenizers.trainers.ParityBpeTrainer(5, "window"))
    trainer = ParityBpeTrainer(**VALUES | {"special_tokens": [AddedToken("<m>", lstrip=True), "<s>"]})
    for twin in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert twin.__getstate__() == trainer.__getstate__()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_merges", -1),
        ("num_merges", None),
        ("variant", "Window"),
        ("variant", None),
        ("ratio", 3),
        ("ratio", ["a"]),
        ("alpha", "x"),
        ("window_size", 2.0),
        ("total_symbols", 1),
        ("special_tokens", ("a",)),
        ("special_tokens", [1]),
        ("initial_alphabet", "abc"),
    ],
)
def test_wrong_values_are_refused_where_tokenizers_refuses_them(name, value):
    errors = (TypeError, ValueError, OverflowError)
    with pytest.raises(errors):
        tokenizers.trainers.ParityBpeTrainer(**{name: value})
    with pytest.raises(errors, match=name):
        ParityBpeTrainer(**{name: value})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "at least one language"),
        (([["a"]], []), {}, "1 languages to train on, but 0"),
        (([["a"]], [["a"], ["b"]]), {}, "1 languages to train on, but 2"),
        (([["a"], ["b"]], None, [1]), {}, "2 languages to train on, but 1 ratios"),
        (([["a"], ["b"]], None, [1, -1]), {}, "positive finite numbers, not -1"),
        (([["a"], ["b"]],), {"ratio": [1, float("inf")]}, "not inf"),
        (([["a"]],), {"variant": "window", "window_size": 0}, "window_size"),
        (([["a"]],), {"variant": "window", "alpha": -1}, "alpha .* not -1.0"),
    ],
)
def test_contradictory_arguments_are_refused(arguments, options, message):
    with pytest.raises((ValueError, RuntimeError)):
        theirs(*arguments, **options)
    with pytest.raises(ValueError, match=message):
        ours(*arguments, **options)


def test_unusual_input():
    with pytest.warns(UserWarning, match="no words"):
        assert len(ParityBpeTrainer().train([WordCounts.from_dict({})]).merges) == 0
    # tokenizers does not return from this one
    assert merges([["ab"], [], ["cdef"]], ratio=[1, 1, 1]) == ["a b", "e f", "d ef", "c def"]
    for tokenizer, trainer in (
        (Tokenizer(models.BPE()), ParityBpeTrainer()),
        (tokenizers.Tokenizer(tokenizers.models.BPE()), tokenizers.trainers.ParityBpeTrainer()),
    ):
        with pytest.raises(TypeError, match="Trainer"):
            tokenizer.train_from_iterator(["a"], trainer)


def test_progress_and_interruption():
    words = [WordCounts.from_dict({"abcd": 3, "abc": 2}), WordCounts.from_dict({"xyz": 2})]
    calls = []
    ParityBpeTrainer(num_merges=3).train(words, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("merge", 3, 3)

    def stop(*call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ParityBpeTrainer().train(words, progress=stop)
