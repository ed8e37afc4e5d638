"""Measures by vocabulary size: one encoding gives what an encoding by each smaller tokenizer gives."""

import collections
import json
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
import tokenizers
from resizing import byte_level, some_lines

from gputok import Tokenizer, WordCounts, models
from gputok.report import measures, report, sizes
from gputok.report.groups import evenness
from gputok.report.sizes import measure_sizes, renyi_efficiency


@pytest.mark.parametrize("seed", range(3))
def test_each_size_is_that_of_a_truncated_tokenizer(seed):
    tokenizer, lines = byte_level(some_lines(seed), 330), some_lines(seed + 10)
    words = tokenizer.count_words(iter(lines))
    sizes = [259, 270, 300, 333]
    found = measure_sizes(tokenizer.pipeline, sizes, {"text": words})
    n_bytes, n_words = words.n_bytes_of_text(), int(words.counts.sum())
    for size, row in zip(sizes, found.rows, strict=True):
        small = Tokenizer.from_str(tokenizer.to_str())
        small.truncate(size)
        usage: collections.Counter = collections.Counter()
        one = n_tokens = 0
        for word, count in words.items():
            data = np.frombuffer(word, np.uint8)
            ids, _ = small.model.encode_words(data, np.zeros(1, np.int64), np.array([len(data)]), byte_level=True)
            for id in ids.tolist():
                usage[id] += count
            one += count * (len(ids) == 1)
            n_tokens += count * len(ids)
        assert row.vocab_size == size and row.text == "text" and row.n_tokens == n_tokens
        assert row.bytes_per_token == n_bytes / n_tokens and row.tokens_per_pre_token == n_tokens / n_words
        assert row.one_token == one / n_words
        n_learned = len(small.get_vocab()) - len(small.get_added_tokens_decoder())
        assert row.unused == n_learned - len(usage) and row.unreachable == 0
        assert row.renyi == pytest.approx(renyi_efficiency(np.array([*usage.values()])))
    curve = tokenizer.compression_curve(words)
    assert curve.vocab_sizes.tolist() == [*range(259, 334)] and (np.diff(curve.n_tokens) <= 0).all()
    assert [curve.bytes_per_token(row.vocab_size) for row in found.rows] == [row.bytes_per_token for row in found.rows]
    with pytest.raises(ValueError, match="9 is not a size from 259 to 333"):
        curve.bytes_per_token(9)


def test_one_name_has_one_meaning(tmp_path):
    """`report` counts words between white space, and `sizes` pre-tokens: what both name alike is the same number."""
    tokenizer, text = byte_level(some_lines(0), 300), "don't stop, e.g. here: 1,2,3 (so it goes) ...\n" * 20
    (tmp_path / "text.txt").write_text(text)
    size = tokenizer.get_vocab_size()
    words = tokenizer.count_words([str(tmp_path / "text.txt")])
    row = measure_sizes(tokenizer.pipeline, [size], {"text": words}).rows[0]
    one = report(tokenizer, [str(tmp_path / "text.txt")]).tokenizers[0]
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    n_tokens = len(theirs.encode(text, add_special_tokens=False).ids)
    assert one.tokens_per_word == n_tokens / len(text.split())
    assert row.tokens_per_pre_token == n_tokens / len(theirs.pre_tokenizer.pre_tokenize_str(text))
    shared = {*row._fields} & {*dir(one)} - {"text"}
    assert shared == {"n_tokens", "bytes_per_token"}
    for name in shared:
        assert getattr(row, name) == getattr(one, name), name
    columns = {*sizes.COLUMNS} & {*measures.COLUMNS}
    assert columns == {"tokens", "bytes/token", "unused"}


def test_renyi_efficiency_is_that_of_tokenization_scorer():
    scorer = pytest.importorskip("tokenization_scorer")
    rng = np.random.default_rng(0)
    tokens = rng.zipf(1.3, 5000) % 97
    usage = np.bincount(tokens)
    text = [" ".join(map(str, line)) for line in tokens.reshape(-1, 50).tolist()]
    assert renyi_efficiency(usage) == pytest.approx(scorer.score(text, metric="renyi", power=2.5), rel=1e-12)
    assert renyi_efficiency(usage, 3.0) == pytest.approx(scorer.score(text, metric="renyi", power=3.0), rel=1e-12)


def test_parity_and_gini_compare_the_sources():
    tokenizer = byte_level(some_lines(0), 330)
    texts = {"all": some_lines(1), "one": some_lines(0)[:50], "two": some_lines(3, letters="uvwxyz")}
    words = {name: tokenizer.count_words(iter(lines)) for name, lines in texts.items()}
    found = measure_sizes(tokenizer.pipeline, [300], words, ["one", "two"])
    costs = [1 / row.bytes_per_token for row in found.rows if row.text != "all"]
    assert found.parity == {300: max(costs) / min(costs)} and found.parity[300] > 1.2
    assert found.gini[300] == pytest.approx(abs(costs[0] - costs[1]) / (2 * sum(costs)))
    assert evenness([1, 1, 1, 5]) == (5, pytest.approx(0.375))
    drawn = [line.get_xydata().T for line in found.figure().axes[0].lines]
    assert len(drawn) == 3 and all((np.diff(sizes) > 0).all() and (np.diff(each) >= 0).all() for sizes, each in drawn)
    assert measure_sizes(tokenizer.pipeline, [300], words, ["one"]).parity == {}


def test_unreachable_tokens_are_counted():
    model = models.BPE({"a": 0, "b": 1, "ab": 2, "bab": 3, "ba": 4}, [("a", "b"), ("b", "ab"), ("b", "a")])
    words = WordCounts.from_dict({"ab": 2})
    rows = measure_sizes(Tokenizer(model).pipeline, [3, 5], {"": words}).rows
    assert [row.unreachable for row in rows] == [0, 0]
    model = models.BPE({"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5}, [("a", "b"), ("b", "c"), ("a", "bc")])
    tokenizer = Tokenizer(model)
    assert measure_sizes(tokenizer.pipeline, [6], {"": words}).rows[0].unreachable == 1
    tokenizer.add_special_tokens(["abc"])
    found = measure_sizes(tokenizer.pipeline, [6], {"": words})
    assert found.rows[0].unreachable == 0 and found.table()[1][-2:] == ("4", "0")


def test_refused():
    tokenizer = byte_level(some_lines(0), 330)
    words = tokenizer.count_words(iter(["a"]))
    for size in (258, 334):
        with pytest.raises(ValueError, match=f"{size} is not a size from 259 .without merges. to 333"):
            measure_sizes(tokenizer.pipeline, [size], {"": words})
    with pytest.raises(ValueError, match="need a BPE model"):
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).compression_curve(iter(["a"]))


def test_command(tmp_path, monkeypatch, capsys):
    from gputok import cli

    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("a", "b", "test")):
        (tmp_path / f"{name}.txt").write_text("".join(some_lines(i)))

    def gputok(*arguments):
        with pytest.raises(SystemExit) as exit:
            cli.main([*arguments])
        return (exit.value.code, *capsys.readouterr())

    command = "sizes", "a.txt", "b.txt", "--vocab-sizes", "280,300", "--held-out", "test.txt"
    status, out, _ = gputok(*command)
    assert status == 0 and "held out" in out and "280: parity" in out
    status, out, err = gputok("sizes", "a.txt", "--vocab-sizes", "280,90k")
    assert status == 0 and "note: the text gives no more than " in err and "not the 90,000 " in err
    status, out, _ = gputok(*command, "--json", "--chart", "sizes.svg")
    found = json.loads(out)
    assert status == 0 and [row["text"] for row in found["sizes"]] == ["training", "held out", "a.txt", "b.txt"] * 2
    assert xml.etree.ElementTree.parse(tmp_path / "sizes.svg").getroot().tag.endswith("svg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = gputok(*command, "--chart", "sizes.png")
    assert status == 1 and "figures need matplotlib" in err
    status, _, err = gputok("sizes", "a.txt", "--vocab-sizes", "8k,x")
    assert status == 1 and "expected a number such as 32000 or 32k (k: thousand, M: million), not 'x'" in err
