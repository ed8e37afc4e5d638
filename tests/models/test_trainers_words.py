"""Training WordLevel and WordPiece, compared with the installed `tokenizers`.

tokenizers numbers the prefixed characters of WordPiece in the order of a hash table. The order of each run is
read from its vocabulary and passed to gputok; everything else must then be equal.
"""

import copy
import dataclasses
import itertools
import json
import pickle
import random
import warnings

import pytest
import tokenizers

from gputok import AddedToken, Tokenizer, WordCounts, models, normalizers, pre_tokenizers, trainers

WORDS = ("ab", "abc", "aé#", "ab日本語", "a\U0001f600b", "#ab")


def random_counts(r: random.Random) -> dict[str, int]:
    letters, longest = r.choice(WORDS), r.choice([1, 3, 8, 20])
    words = ("".join(r.choices(letters, k=r.randint(1, longest))) for _ in range(r.choice([0, 5, 40, 40])))
    return {word: r.choice([1, 1, 1, 2, 3, 10]) for word in words}


def theirs(model, trainer, counts: dict[str, int]) -> dict[str, int]:
    """Without a pre-tokenizer each text is one word."""
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.train_from_iterator((word for word, n in counts.items() for _ in range(n)), trainer)
    return json.loads(tokenizer.to_str())["model"]["vocab"]


def ours(trainer, counts: dict[str, int], *, byte_level: bool = False) -> dict[str, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trainer.train(WordCounts.from_dict(counts, byte_level=byte_level)).vocab


# ---- WordLevel


def test_wordlevel_takes_the_most_frequent_words():
    trainer = trainers.WordLevelTrainer(vocab_size=4, min_frequency=2, special_tokens=["[UNK]"])
    counts = {"z": 3, "b": 2, "once": 1, "é": 2, "a": 2}
    assert [*ours(trainer, counts)] == ["[UNK]", "z", "a", "b"]
    trainer.vocab_size = 100
    assert [*ours(trainer, counts)] == ["[UNK]", "z", "a", "b", "é"]


@pytest.mark.parametrize("special_tokens", [[], ["[UNK]"], ["ab", "b", "ab", "[UNK]", "a"]], ids=str)
def test_wordlevel_is_equal(special_tokens):
    for seed in range(120):
        r = random.Random(seed)
        counts = random_counts(r)
        options = {
            "vocab_size": r.choice([0, 1, 2, 5, 10, 30_000]),
            "min_frequency": r.choice([0, 1, 2, 3, 11]),
            "special_tokens": special_tokens,
            "show_progress": False,
        }
        expected = theirs(tokenizers.models.WordLevel(), tokenizers.trainers.WordLevelTrainer(**options), counts)
        assert ours(trainers.WordLevelTrainer(**options), counts) == expected, (seed, options)


def test_wordlevel_of_bytes_writes_them_as_characters():
    """Words of a byte-level pre-tokenizer stay bytes until they are shown."""
    lines = ["größe größe 漢字\n", " Ähre größe", ""]
    vocabularies = []
    for package in (tokenizers, None):
        parts = (models, pre_tokenizers, trainers) if package is None else (
            package.models, package.pre_tokenizers, package.trainers)  # fmt: skip
        tokenizer = (Tokenizer if package is None else package.Tokenizer)(parts[0].WordLevel())
        tokenizer.pre_tokenizer = parts[1].ByteLevel(add_prefix_space=False)
        tokenizer.train_from_iterator(lines, parts[2].WordLevelTrainer(show_progress=False))
        vocabularies.append(tokenizer.get_vocab())
    assert vocabularies[0] == vocabularies[1] and "ĠgrÃ¶ÃŁe" in vocabularies[0]


# ---- WordPiece


def in_order_of(vocab: dict[str, int], options: dict) -> trainers.WordPieceTrainer:
    """A trainer that numbers the affixed characters as a vocabulary of tokenizers does."""

    class Merging(trainers.BpeTrainer):
        def _affixed_order(self, counts):
            return sorted(counts, key=vocab.__getitem__)

    class InTheirOrder(trainers.WordPieceTrainer):
        def _bpe_trainer(self):
            return Merging(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    return InTheirOrder(**options)


def equal_in_one_order_of_theirs(counts: dict[str, int], options: dict, tries: int = 40) -> bool:
    """The first try nearly always succeeds; if two merges make one string, tokenizers has several answers."""
    for _ in range(tries):
        trainer = tokenizers.trainers.WordPieceTrainer(**options)
        vocab = theirs(tokenizers.models.WordPiece(), trainer, counts)
        if ours(in_order_of(vocab, options), counts) == vocab:
            return True
    return False


def spelt_twice(counts: dict[str, int], options: dict) -> bool:
    """Returns True if two merges make one string, which needs a prefix made of characters of the text."""
    names = ("vocab_size", "min_frequency", "special_tokens", "initial_alphabet")
    names += ("continuing_subword_prefix", "end_of_word_suffix")
    bpe = trainers.BpeTrainer(**{"continuing_subword_prefix": "##"} | {k: options[k] for k in names if k in options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learnt = bpe.train(WordCounts.from_dict(counts))
    tokens = learnt.vocabulary.tokens
    prefix = bpe.continuing_subword_prefix
    made = [tokens[a] + tokens[b].removeprefix(prefix) for a, b in learnt.merges.tolist()]
    return len({*made}) < len(made)


def test_wordpiece_by_hand():
    """b##a##a twice, b##a five times: (b, ##a) 7 times, then (ba, ##a)."""
    trainer = trainers.WordPieceTrainer(vocab_size=8, special_tokens=["[UNK]"])
    assert [*ours(trainer, {"baa": 2, "ba": 5})] == ["[UNK]", "a", "b", "##a", "ba", "baa"]


OPTIONS = {
    "vocab_size": [0, 3, 10, 40],
    "min_frequency": [1, 2, 3, 20],
    "special_tokens": [["[UNK]", "a"], ["ab", "##b", "ab"], ["##a", "aab"]],
    "initial_alphabet": [["x", "a"], ["yz", ""], ["#", "日", "w"]],
    "continuing_subword_prefix": ["", "#", "a", "ab", "▁"],
    "end_of_word_suffix": ["", "</w>", "b"],
}


@pytest.mark.parametrize(
    "names", [(), *itertools.combinations(OPTIONS, 1), *itertools.combinations(OPTIONS, 2)], ids="-".join
)
def test_wordpiece_is_equal(names):
    for seed in range(12):
        r = random.Random(f"{names} {seed}")
        counts = random_counts(r)
        options = {"show_progress": False} | {name: r.choice(OPTIONS[name]) for name in names}
        assert equal_in_one_order_of_theirs(counts, options), (seed, counts, options)


def test_two_merges_that_make_one_string():
    """With "a" as the prefix, `b` + `aab` and `ba` + `ab` are both `bab`; the vocabulary has it once."""
    found = 0
    for seed in range(40):
        r = random.Random(seed)
        counts = {"".join(r.choices("ab", k=r.randint(1, 10))): r.choice([1, 2, 7]) for _ in range(20)}
        options = {"continuing_subword_prefix": r.choice("ab"), "vocab_size": 200, "show_progress": False}
        found += spelt_twice(counts, options)
        assert equal_in_one_order_of_theirs(counts, options), (seed, counts, options)
    assert found >= 10


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_limit_alphabet(limit):
    """Counts are powers of two, so that no two characters tie."""
    for seed in range(10):
        r = random.Random(seed)
        counts = {"".join(r.sample("abcdef", r.randint(1, 6))): 1 << i for i in range(8)}
        totals = [sum(n * word.count(c) for word, n in counts.items()) for c in "abcdef"]
        if len({*totals}) < 6:
            continue
        options = {"limit_alphabet": limit, "vocab_size": 30, "show_progress": False}
        assert equal_in_one_order_of_theirs(counts, options), (seed, counts)


def bert(package=None):
    """An untrained tokenizer of BERT's kind."""
    m, n, p, T = (models, normalizers, pre_tokenizers, Tokenizer) if package is None else (
        package.models, package.normalizers, package.pre_tokenizers, package.Tokenizer)  # fmt: skip
    tokenizer = T(m.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = n.BertNormalizer(), p.BertPreTokenizer()
    return tokenizer


def equal_on_text(lines: list[str], vocab_size: int) -> None:
    options = {"vocab_size": vocab_size, "special_tokens": ["[PAD]", "[UNK]"], "show_progress": False}
    upstream, tokenizer = bert(tokenizers), bert()
    upstream.train_from_iterator(lines, tokenizers.trainers.WordPieceTrainer(**options))
    vocab = upstream.get_vocab()
    tokenizer.train_from_iterator(lines, in_order_of(vocab, options))
    assert len(vocab) > 1000 and tokenizer.get_vocab() == vocab
    assert json.loads(tokenizer.to_str()) == json.loads(upstream.to_str())


@pytest.mark.parametrize("name", ["en", "code", "multi", "zh"])
def test_wordpiece_of_real_text(name, corpus_sample):
    equal_on_text(corpus_sample(name, 200_000).splitlines(keepends=True), 4000)


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "multi"])
def test_wordpiece_of_a_whole_corpus(name, corpus_sample):
    equal_on_text(corpus_sample(name, -1).splitlines(keepends=True), 30_000)


# ---- options


VALUES = {
    "vocab_size": 10,
    "min_frequency": 2,
    "show_progress": False,
    "special_tokens": ["<s>"],
    "limit_alphabet": 3,
    "initial_alphabet": ["b"],
    "continuing_subword_prefix": "@@",
    "end_of_word_suffix": "</w>",
}
KINDS = {"WordPieceTrainer": [*VALUES], "WordLevelTrainer": [*VALUES][:4]}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (kind, names)
        for kind, options in KINDS.items()
        for names in [(), *itertools.combinations(options, 1), tuple(options)]
    ],
    ids=str,
)
def test_options_are_attributes_and_shown_as_tokenizers_does(kind, names):
    options = {name: VALUES[name] for name in names}
    mine, upstream = getattr(trainers, kind)(**options), getattr(tokenizers.trainers, kind)(**options)
    assert repr(mine) == repr(upstream) == str(upstream)
    assert mine.__getstate__() == upstream.__getstate__()
    for name in KINDS[kind]:
        assert str(getattr(mine, name)) == str(getattr(upstream, name))
    by_setting, theirs_by_setting = getattr(trainers, kind)(), getattr(tokenizers.trainers, kind)()
    for name, value in options.items():
        setattr(by_setting, name, value)
        setattr(theirs_by_setting, name, value)
    assert repr(by_setting) == repr(theirs_by_setting) == repr(mine)


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_and_copy(kind):
    options = {name: VALUES[name] for name in KINDS[kind]}
    trainer = getattr(trainers, kind)(**options | {"special_tokens": [AddedToken("<m>", lstrip=True), "<s>"]})
    for twin in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert repr(twin) == repr(trainer)
        assert twin.special_tokens[0].lstrip and twin.special_tokens[0].special


WRONG = {"vocab_size": -1, "min_frequency": 1.5, "show_progress": 1, "special_tokens": ("a",), "limit_alphabet": "a"}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in WRONG if name in KINDS[kind]])
def test_wrong_values_are_refused_where_tokenizers_refuses_them(kind, name):
    errors = (TypeError, OverflowError)
    with pytest.raises(errors):
        getattr(tokenizers.trainers, kind)(**{name: WRONG[name]})
    with pytest.raises(errors, match=name):
        getattr(trainers, kind)(**{name: WRONG[name]})
    with pytest.raises(errors, match=name):
        setattr(getattr(trainers, kind)(), name, WRONG[name])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_corpus_warns(kind):
    trainer = getattr(trainers, kind)(special_tokens=["[UNK]"])
    with pytest.warns(UserWarning, match="no words") as warned:
        assert trainer.train(WordCounts.from_dict({})).vocab == {"[UNK]": 0}
    assert len(warned) == 1


@pytest.mark.parametrize("kind", ["BPE", "WordPiece", "WordLevel"])
def test_each_model_has_its_trainer(kind):
    """Without a trainer, the default trainer of the model learns the same tokens as in tokenizers."""
    lines = ["low lower lowest low"] * 3 + ["new newer newest"]
    upstream = tokenizers.Tokenizer(getattr(tokenizers.models, kind)())
    upstream.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    upstream.train_from_iterator(lines)
    tokenizer = Tokenizer(getattr(models, kind)())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(lines)
    assert {*tokenizer.get_vocab()} == {*upstream.get_vocab()}
    assert len(tokenizer.get_vocab()) > 5


def test_unigram_has_its_trainer():
    assert isinstance(models.Unigram().get_trainer(), trainers.UnigramTrainer)
