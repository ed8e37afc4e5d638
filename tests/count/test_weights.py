"""Weights of sources: whole numbers, exact counts, the same for any shards."""

import itertools
import json
import random
import re
import signal
from fractions import Fraction

import pytest
import tokenizers
from gputok.kernels.native.preparation import preparation

import gputok
from gputok import Tokenizer, WordCounts, cli, models, pre_tokenizers, trainers
from gputok.counts.weights import temperature_weights, whole_weights


def counted(seed):
    r = random.Random(seed)
    return WordCounts.from_dict({"".join(r.choices("abc", k=r.randint(1, 4))): r.randint(1, 99) for _ in range(40)})


def test_whole_weights():
    assert whole_weights(["0.3", "1.7", "12.5"]) == ([3, 17, 125], 10)
    assert whole_weights([2, 4, "6.0"]) == ([1, 2, 3], Fraction(1, 2))
    assert whole_weights([0.1, 0.2, 0.3]) == ([1, 2, 3], 10)  # as Python shows them, not 0.30000000000000004
    assert whole_weights(["1/3", "1e-2"]) == ([100, 3], 300)
    for wrong in ("0", "-1", "nan", "inf", "x", "", None, "1/0"):
        with pytest.raises(ValueError, match="must be"):
            whole_weights([wrong])


@pytest.mark.parametrize("temperature", [0, "0.3", 0.5, 0.7, 1])
def test_temperature_weights(temperature):
    sizes = [10**9, 3 * 10**7, 12345, 1, 10**12]
    (whole, scale), alpha = temperature_weights(sizes, temperature), float(temperature)
    total = sum(sizes)
    wanted = [(size / total) ** (alpha - 1) for size in sizes]
    for (a, want), (b, other) in itertools.combinations(zip(whole, wanted, strict=True), 2):
        assert a / b == pytest.approx(want / other, rel=0.0203)
    assert min(whole) == scale <= 50
    assert whole[sizes.index(max(sizes))] == scale
    assert temperature_weights(sizes, 1) == ([1] * 5, 1)
    assert temperature_weights([100, 25], 0) == ([1, 4], 1)
    assert temperature_weights([100, 0, 60], "0.5") == ([7, 1, 9], 7)  # no text, no weight
    for wrong in (-0.1, 1.1, "x", float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            temperature_weights(sizes, wrong)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_counts_are_exact_and_the_same_for_any_shards(seed):
    sources, weights = [counted(10 * seed + i) for i in range(3)], ["0.3", "1.7", "12.5"]
    merged = WordCounts.merge(sources, weights=weights)
    expected: dict[bytes, int] = {}
    for source, weight in zip(sources, (3, 17, 125), strict=True):
        for word, count in source.items():
            expected[word] = expected.get(word, 0) + weight * count
    assert dict(merged.items()) == expected and merged.scale == 10
    shards = [
        (WordCounts.from_dict({word: count}), weight)
        for source, weight in zip(sources, weights, strict=True)
        for word, count in source.items()
    ]
    random.Random(seed).shuffle(shards)
    again = WordCounts.merge((one for one, _ in shards), weights=[weight for _, weight in shards], memory_limit="64MB")
    assert again == merged
    parts = [WordCounts.merge([one, *sources[1:]], weights=weights) for one in (sources[0], counted(77))]
    assert WordCounts.merge(parts).scale == 10


def test_files_keep_the_scale(tmp_path):
    pytest.importorskip("pyarrow")
    weighted = WordCounts.merge([counted(1), counted(2)], weights=["0.5", "0.75"])
    weighted.save(tmp_path / "weighted.parquet")
    assert WordCounts.load(str(tmp_path / "weighted.parquet")).scale == 4
    assert WordCounts.load(str(tmp_path / "weighted.parquet")) == weighted
    counted(3).save(tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="can't be added up"):
        WordCounts.load([str(tmp_path / "weighted.parquet"), str(tmp_path / "plain.parquet")])
    with pytest.raises(ValueError, match="a weight for each"):
        WordCounts.merge([weighted, counted(3)])
    assert weighted.at_least(20).scale == weighted.spelled_out().scale == 4
    assert weighted != WordCounts(weighted.data, weighted.offsets, weighted.counts)


def test_refused():
    one = counted(1)
    with pytest.raises(ValueError, match="1 weights for 2 shards"):
        WordCounts.merge([one, one], weights=[1])
    with pytest.raises(ValueError, match="not both"):
        WordCounts.merge([one], weights=[1], temperature=1)
    with pytest.raises(ValueError, match=r"beyond 2\*\*62"):
        WordCounts.merge([one, one], weights=["1", "1e-18"])


def of_spaces():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def test_training_is_that_of_repeated_text():
    """A source of weight 1.5 beside one of 2: three and four times the text; thresholds count in whole weights."""
    r = random.Random(5)
    one, two = ([" ".join("".join(r.choices("abcd", k=5)) for _ in range(30)) for _ in range(9)] for _ in range(2))
    weighted, repeated = of_spaces(), of_spaces()
    weights = {"one": "1.5", "two": 2}
    options = {"vocab_size": 90, "show_progress": False}
    weighted.train(
        {"one": iter(one), "two": iter(two)}, trainers.BpeTrainer(min_frequency=3, **options), weights=weights
    )
    repeated.train_from_iterator(one * 3 + two * 4, trainers.BpeTrainer(min_frequency=6, **options))
    assert weighted.to_str() == repeated.to_str()
    trainer = trainers.BpeTrainer(min_frequency=3, **options)
    counts = weighted.count_words({"one": iter(one), "two": iter(two)}, weights=weights)
    weighted.train_from_word_counts(counts, trainer, min_count=2)
    assert trainer.min_frequency == 3
    repeated.train_from_word_counts(
        repeated.count_words(iter(one * 3 + two * 4)), trainers.BpeTrainer(min_frequency=6, **options), min_count=4
    )
    assert weighted.to_str() == repeated.to_str()


TRAINERS = {
    "BPE": trainers.BpeTrainer,
    "WordPiece": trainers.WordPieceTrainer,
    "WordLevel": trainers.WordLevelTrainer,
    "Unigram": trainers.UnigramTrainer,
}


def repeated_words(counts):
    """The text of weighted counts, of which each word occurs as often as it counts."""
    return [word.decode() for word, count in counts.items() for _ in range(count)]


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
@pytest.mark.parametrize("kind", TRAINERS)
@pytest.mark.parametrize("weights", [["0.5", "1"], ["0.25", "0.3"], ["3", "1.5"], None])
@pytest.mark.parametrize("times", [0, 1, 3])
def test_one_unit_of_thresholds_for_all_trainers(kind, weights, times):
    """Nothing is left out by default; `min_frequency` and `min_count` count occurrences in a source of weight 1."""
    r = random.Random(7)
    sources = [
        WordCounts.from_dict({"".join(r.choices("abcde", k=4)): min(9, int(1 / r.random())) for _ in range(n)})
        for n in (60, 150)
    ]
    counts = WordCounts.merge(sources, **({"temperature": "0.6"} if weights is None else {"weights": weights}))
    assert counts.scale == {"0.5": 2, "0.25": 20, "3": Fraction(2, 3)}.get(weights and weights[0], counts.scale)
    assert counts.scale == counts.threshold(1) or weights == ["3", "1.5"]
    given = {} if kind == "Unigram" else {"min_frequency": times}
    least = {} if kind == "Unigram" else {"min_frequency": counts.threshold(times)}
    options = {"vocab_size": 90, "show_progress": False}
    texts = repeated_words(counts)

    def tokenizer(library):
        made = library.Tokenizer(getattr(library.models, kind)())
        made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
        return made

    # tokenizers numbers characters of WordPiece in the order of a hash table, and adds floats of Unigram in one
    oracle = tokenizers if kind in ("BPE", "WordLevel") else gputok
    trainer = getattr(oracle.trainers, f"{kind.replace('BPE', 'Bpe')}Trainer")
    ours, directly, theirs = tokenizer(gputok), tokenizer(gputok), tokenizer(oracle)
    ours.train_from_word_counts(counts, TRAINERS[kind](**given, **options))
    TRAINERS[kind](**given, **options).train(counts).into(directly.model)
    theirs.train_from_iterator(texts, trainer(**least, **options))
    assert json.loads(ours.to_str()) == json.loads(directly.to_str()) == json.loads(theirs.to_str())

    ours.train_from_word_counts(counts, TRAINERS[kind](**options), min_count=times)
    least_count = counts.threshold(times)
    kept = [word.decode() for word, n in counts.items() if n >= least_count for _ in range(n)]
    theirs.train_from_iterator(kept, trainer(**options))
    assert json.loads(ours.to_str()) == json.loads(theirs.to_str())


@pytest.mark.parametrize("weights", [["0.5", "1"], ["3", "1.5"], None])
def test_extend_counts_in_the_same_unit(weights):
    r = random.Random(3)
    sources = [
        WordCounts.from_dict({"".join(r.choices("abcde", k=5)): min(9, int(1 / r.random())) for _ in range(n)})
        for n in (60, 150)
    ]
    counts = WordCounts.merge(sources, **({"temperature": "0.6"} if weights is None else {"weights": weights}))
    weighted, repeated = of_spaces(), of_spaces()
    for tokenizer in (weighted, repeated):
        tokenizer.train_from_iterator(["abc ace"], trainers.BpeTrainer(vocab_size=8, show_progress=False))
    with pytest.warns(UserWarning, match="that occur 4 times or more"):
        weighted.extend(counts, 500, min_frequency=4)
    with pytest.warns(UserWarning, match=f"that occur {counts.threshold(4)} times or more"):
        repeated.extend(iter(repeated_words(counts)), 500, min_frequency=counts.threshold(4))
    assert weighted.to_str() == repeated.to_str()
    for wrong in (-1, "2", True):
        with pytest.raises((TypeError, ValueError), match="min_frequency"):
            weighted.extend(counts, 1, min_frequency=wrong)
        with pytest.raises((TypeError, ValueError), match="min_count"):
            weighted.train_from_word_counts(counts, min_count=wrong)


def test_parity_training_counts_in_the_same_unit():
    r = random.Random(3)
    sources = [WordCounts.from_dict({"".join(r.choices("abcde", k=5)): 1 + i % 4 for i in range(80)}) for _ in range(4)]
    languages = [WordCounts.merge(sources[i : i + 2], weights=["0.5", "1"]) for i in (0, 2)]
    options = {"num_merges": 60, "ratio": [1.0, 1.0], "show_progress": False}
    weighted, repeated = of_spaces(), of_spaces()
    trainers.ParityBpeTrainer(min_frequency=4, **options).train(languages).into(weighted.model)
    texts = [[" ".join(repeated_words(counts))] for counts in languages]
    trainers.ParityBpeTrainer(min_frequency=8, **options).train_from_iterator(repeated, texts, progress=False)
    assert weighted.get_vocab() == repeated.get_vocab()


def test_the_proposed_min_count_is_in_the_same_unit():
    words = {f"{i:06}" * 9: 1 + i % 5 for i in range(20_000)}
    counts = WordCounts.merge([WordCounts.from_dict(words), WordCounts.from_dict({"x": 1})], weights=["1", "0.1"])
    assert counts.scale == 10
    trainer = trainers.BpeTrainer(vocab_size=99)
    with pytest.raises(MemoryError, match="min_count=") as raised:
        trainer.check_memory(counts, trainer.memory_needed(len(counts), len(counts.data)) // 2)
    found, n_words = re.search(r"min_count=(\d+) .* keeps ([\d,]+)", str(raised.value)).groups()
    assert len(counts.at_least(int(found))) == int(n_words.replace(",", "")) < len(counts)


def test_sources_are_named():
    tokenizer = of_spaces()
    with pytest.raises(ValueError, match="a weight for 'c', but no such source: the sources are a, b"):
        tokenizer.count_words({"a": iter(["x"]), "b": iter(["x"])}, weights={"c": 1})
    with pytest.raises(TypeError, match="mapping of names"):
        tokenizer.count_words(iter(["x"]), weights={"c": 1})
    with pytest.raises(ValueError, match="resume counts one source"):
        tokenizer.count_words({"a": ["x"]}, temperature=1, resume="folder")
    found = tokenizer.count_words({"a": iter(["x x x x"]), "b": iter(["y"])}, temperature=0)
    assert dict(found.items()) == {b"x": 4, b"y": 4}


def test_commands(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(preparation, "announced", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("so it goes\n" * 9)
    (tmp_path / "b.txt").write_text("if so\n" * 9)

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([*arguments])
        return (exit.value.code, *capsys.readouterr())

    weights = "--weight", "b.txt=2.5"
    assert run("count", "a.txt", "b.txt", *weights, "-o", "both.parquet")[0] == 0
    for name in ("a", "b"):
        assert run("count", f"{name}.txt", "-o", f"{name}.parquet")[0] == 0
    loaded = WordCounts.load("both.parquet")
    assert loaded.scale == 2 and dict(loaded.items())[b"so"] == 18
    size = "--vocab-size", "265", "-o"
    assert run("train", "a.txt", "b.txt", *weights, *size, "1.json")[0] == 0
    assert run("train", "both.parquet", "--from-counts", *size, "2.json")[0] == 0
    assert run("train", "a.parquet", "b.parquet", "--weight", "b.parquet=2.5", "--from-counts", *size, "3.json")[0] == 0
    first = json.loads((tmp_path / "1.json").read_text())
    assert first == json.loads((tmp_path / "2.json").read_text()) == json.loads((tmp_path / "3.json").read_text())
    assert run("train", "a.txt", "b.txt", "--temperature", "0", *size, "4.json")[0] == 0
    assert run("train", "a.txt", "b.txt", "--min-count", "0", *size, "5.json")[0] == 0
    assert run("train", "a.txt", "b.txt", "--min-count", "-1", *size, "6.json")[0] == 2
    status, _, err = run("train", "a.txt", "--weight", "c.txt=1", "-o", "x.json")
    assert status == 1 and "c.txt is not one of the inputs a.txt" in err
    status, _, err = run("train", "a.txt", "--weight", "a.txt=0", "-o", "x.json")
    assert status == 1 and "must be above 0" in err
